"""PROD-01 to PROD-04: values, notionals and what may be listed."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing.instruments import (
    apply_list_instrument,
    check_asset,
    check_terms,
    compute_notional,
    compute_value,
)
from seawall.clearing.layout import (
    ASSETS_USED,
    AT_NS,
    FEED_GRADE,
    FUNDING_INTERVAL,
    FUNDING_NEXT,
    INSTRUMENTS_USED,
    MARK_GRADE,
    PRICE,
    PRICE_GRADE,
    TIER_DEDUCTION,
    UNIT,
)
from seawall.clearing.state import State
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AssetTerms, InstrumentTerms, Kind, ListInstrument, Style, Tier
from seawall.protocol.events import Grade, InstrumentListed
from seawall.protocol.units import AMOUNT_MAX, PPB, mul_div_ceil
from tests.clearing.builders import (
    CALL,
    EXPIRY_NS,
    FUTURE,
    GOVERN,
    INVERSE,
    LIMITS,
    LINEAR,
    START_NS,
    enter,
    future,
    house,
    inverse,
    linear,
    option,
)
from tests.clearing.builders import (
    PRICE as START_TICKS,
)

STATE = house(0, priced=False)
"""Only read by the tests that share it."""


def test_a_linear_lot_is_worth_its_price() -> None:
    # 5,000 USD for 0.001 XBT is 5 USD: 5,000,000 minor units of 1,000 value units each.
    assert compute_value(STATE, LINEAR, START_TICKS) == 5_000_000 * 1_000
    assert compute_value(STATE, FUTURE, START_TICKS) == 5_000_000 * 1_000


def test_an_inverse_lot_is_worth_minus_its_coins() -> None:
    # 1 USD at 5,000 USD is 0.0002 XBT: 20,000 satoshi of 10**6 value units each.
    assert compute_value(STATE, INVERSE, START_TICKS) == -20_000 * 10**6
    assert compute_notional(STATE, INVERSE, START_TICKS) == 20_000 * 10**6
    # 10**15 / 30,000 is 33,333,333,333 and a third, which is cut off.
    assert compute_value(STATE, INVERSE, 30_000) == -33_333_333_333


def test_a_rising_price_is_a_gain_for_the_long_side_of_either_kind() -> None:
    for instrument in (LINEAR, INVERSE, FUTURE, CALL):
        low, high = (compute_value(STATE, instrument, ticks) for ticks in (49_999, 50_001))
        assert high > low


@given(st.integers(1_000, 10_000_000))
def test_an_inverse_value_is_cut_towards_zero(ticks: int) -> None:
    exact = Fraction(10**15, ticks)
    value = compute_value(STATE, INVERSE, ticks)
    assert -exact <= value < 1 - exact
    assert compute_notional(STATE, INVERSE, ticks) == -value


@given(st.integers(1, 10_000_000), st.sampled_from([LINEAR, FUTURE, CALL]))
def test_a_notional_is_never_negative(ticks: int, instrument: int) -> None:
    assert compute_notional(STATE, instrument, ticks) == compute_value(STATE, instrument, ticks) > 0


# Listing ------------------------------------------------------------------------------------


def test_listing_announces_the_instrument_and_waits_for_a_mark() -> None:
    state = house(0, priced=False)
    out = enter(state)
    terms = linear(name="SECOND", index_feed=5, price_feed=0)
    assert apply_list_instrument(state, ListInstrument(terms), GOVERN, out) is None
    listed = state.scalar[INSTRUMENTS_USED] - 1
    assert out.events == [InstrumentListed(listed, "SECOND")]
    assert state.tables.instrument_names[listed] == "SECOND"
    assert state.instrument[listed, MARK_GRADE] == Grade.TOO_FEW
    assert state.feed[5, FEED_GRADE] == Grade.TOO_FEW


def test_the_first_payment_is_at_the_next_multiple_of_the_interval() -> None:
    interval_ns = STATE.instrument[LINEAR, FUNDING_INTERVAL]
    next_ns = STATE.instrument[LINEAR, FUNDING_NEXT]
    assert next_ns % interval_ns == 0
    assert START_NS < next_ns <= START_NS + interval_ns


WRONG: list[tuple[InstrumentTerms, Reject, str]] = [
    (linear(kind=0), Reject.TERMS_RANGE, "kind"),
    (linear(kind=6), Reject.TERMS_RANGE, "kind"),
    (linear(asset_id=2), Reject.ASSET_UNKNOWN, "asset_id"),
    (linear(asset_id=-1), Reject.ASSET_UNKNOWN, "asset_id"),
    (linear(index_feed=0), Reject.FEED_UNKNOWN, "index_feed"),
    (linear(index_feed=8), Reject.FEED_UNKNOWN, "index_feed"),
    (linear(price_feed=-1), Reject.FEED_UNKNOWN, "price_feed"),
    (linear(price_feed=8), Reject.FEED_UNKNOWN, "price_feed"),
    (linear(style=2), Reject.TERMS_RANGE, "style"),
    (linear(style=Style.PREMIUM), Reject.TERMS_RANGE, "style"),
    (linear(lots_max=0), Reject.TERMS_RANGE, "lots_max"),
    (linear(lots_max=AMOUNT_MAX), Reject.TERMS_RANGE, "lots_max"),
    (linear(price_min=0), Reject.TERMS_RANGE, "price_min"),
    (linear(price_max=99), Reject.TERMS_RANGE, "price_max"),
    (linear(value_scale=0), Reject.TERMS_RANGE, "value_scale"),
    (linear(value_scale=20), Reject.TERMS_RANGE, "value_scale"),
    (linear(value_scale=10**10), Reject.TERMS_RANGE, "value_scale"),
    (linear(value_per_tick=0), Reject.TERMS_RANGE, "value_per_tick"),
    (linear(value_per_tick=-1), Reject.TERMS_RANGE, "value_per_tick"),
    (inverse(inverse_numerator=0), Reject.TERMS_RANGE, "inverse_numerator"),
    (inverse(price_max=10**15 + 1), Reject.TERMS_RANGE, "inverse_numerator"),
    (inverse(price_min=1), Reject.TERMS_RANGE, "lots_max"),
    (linear(maker_fee_ppb=-PPB // 10 - 1), Reject.TERMS_RANGE, "maker_fee_ppb"),
    (linear(taker_fee_ppb=PPB // 10 + 1), Reject.TERMS_RANGE, "taker_fee_ppb"),
    (linear(tiers=()), Reject.TERMS_RANGE, "tiers"),
    (linear(tiers=(Tier(1, PPB // 100),)), Reject.TERMS_RANGE, "tiers"),
    (linear(tiers=(Tier(0, 0),)), Reject.TERMS_RANGE, "tiers"),
    (linear(tiers=(Tier(0, PPB + 1),)), Reject.TERMS_RANGE, "tiers"),
    (linear(tiers=(Tier(0, 10), Tier(0, 20))), Reject.TERMS_RANGE, "tiers"),
    (linear(tiers=(Tier(0, 20), Tier(5, 10))), Reject.TERMS_RANGE, "tiers"),
    (linear(tiers=tuple(Tier(i, 10 + i) for i in range(9))), Reject.TERMS_RANGE, "tiers"),
    (linear(initial_factor_ppb=PPB - 1), Reject.TERMS_RANGE, "initial_factor_ppb"),
    (linear(basis_max_ppb=-1), Reject.TERMS_RANGE, "basis_max_ppb"),
    (linear(basis_weight_ppb=PPB + 1), Reject.TERMS_RANGE, "basis_weight_ppb"),
    (linear(funding_interval_ns=0), Reject.TERMS_RANGE, "funding_interval_ns"),
    (linear(funding_max_ppb=PPB + 1), Reject.TERMS_RANGE, "funding_max_ppb"),
    (linear(funding_interest_ppb=-PPB - 1), Reject.TERMS_RANGE, "funding_interest_ppb"),
    (linear(expiry_ns=EXPIRY_NS), Reject.TERMS_RANGE, "expiry_ns"),
    (future(expiry_ns=0), Reject.TERMS_RANGE, "expiry_ns"),
    (future(expiry_ns=START_NS), Reject.TERMS_RANGE, "expiry_ns"),
    (future(settlement_window_ns=-1), Reject.TERMS_RANGE, "settlement_window_ns"),
    (option(expiry_ns=START_NS), Reject.TERMS_RANGE, "expiry_ns"),
    (option(strike_ticks=0), Reject.TERMS_RANGE, "strike_ticks"),
    (option(short_floor_ppb=0), Reject.TERMS_RANGE, "short_floor_ppb"),
    (linear(name="x" * 65), Reject.TERMS_RANGE, "name"),
    (linear(order_band_ppb=PPB + 1), Reject.TERMS_RANGE, "order_band_ppb"),
    (linear(slice_ppb=-1), Reject.TERMS_RANGE, "slice_ppb"),
    (linear(risk_unit=4), Reject.TERMS_RANGE, "risk_unit"),
    (linear(risk_unit=-1), Reject.TERMS_RANGE, "risk_unit"),
    (linear(name=""), Reject.NAME_TAKEN, "name"),
    (linear(name="XBT-WEEK"), Reject.NAME_TAKEN, "name"),
]


@pytest.mark.parametrize(
    ("terms", "code", "field"), WRONG, ids=[f"{field}-{i}" for i, (_, _, field) in enumerate(WRONG)]
)
def test_a_wrong_term_is_named_and_leaves_no_trace(
    terms: InstrumentTerms, code: Reject, field: str
) -> None:
    named = terms if field == "name" else msgspec.structs.replace(terms, name="NEW")
    before = STATE.digest()
    out = enter_nothing(STATE)
    refusal = apply_list_instrument(STATE, ListInstrument(named), GOVERN, out)
    assert refusal == (code, f"terms.{field}")
    assert out.events == []
    assert STATE.digest() == before


def enter_nothing(state: State) -> Any:
    """Return an empty outcome without beginning an entry, so that the digest can be compared."""
    out = enter(state)
    state.scalar[0] -= 1
    return out


def test_a_full_table_refuses_the_next_instrument() -> None:
    limits = msgspec.structs.replace(LIMITS, instruments_max=3)
    state = house(0, contracts=[linear(), inverse()], limits=limits, priced=False)
    refusal = apply_list_instrument(state, ListInstrument(future()), GOVERN, enter(state))
    assert refusal == (Reject.INSTRUMENTS_FULL, "terms")


def test_the_first_wrong_term_in_order_is_the_one_named() -> None:
    terms = linear(kind=9, asset_id=9, index_feed=99, lots_max=0)
    assert check_terms(STATE, terms) == (Reject.TERMS_RANGE, "kind")
    terms = msgspec.structs.replace(terms, kind=Kind.LINEAR_PERPETUAL)
    assert check_terms(STATE, terms) == (Reject.ASSET_UNKNOWN, "asset_id")
    terms = msgspec.structs.replace(terms, asset_id=0)
    assert check_terms(STATE, terms) == (Reject.FEED_UNKNOWN, "index_feed")


big = st.integers(1, AMOUNT_MAX) | st.integers(1, 1 << 24)


@given(big, big, big, big, st.sampled_from([linear, inverse, option]))
def test_what_is_listed_cannot_overflow(
    lots: int, low: int, high: int, factor: int, kind: Any
) -> None:
    terms = kind(
        name="NEW",
        lots_max=lots,
        price_min=min(low, high),
        price_max=max(low, high),
        value_per_tick=factor,
        inverse_numerator=factor,
    )
    if check_terms(STATE, terms) is not None:
        return
    for ticks in (terms.price_min, terms.price_max):
        value = factor // ticks if kind is inverse else ticks * factor
        assert 0 < lots * value <= AMOUNT_MAX


# Tiers --------------------------------------------------------------------------------------


@st.composite
def tier_tables(draw: st.DrawFn) -> tuple[Tier, ...]:
    floors = draw(st.lists(st.integers(1, 10**15), unique=True, max_size=7))
    rates = draw(st.lists(st.integers(1, PPB), min_size=len(floors) + 1, max_size=len(floors) + 1))
    return tuple(map(Tier, [0, *sorted(floors)], sorted(rates)))


@given(tier_tables(), st.integers(0, 2 * 10**15))
def test_deductions_make_tiers_marginal(tiers: tuple[Tier, ...], notional: int) -> None:
    """Rate times notional less the deduction is the marginal sum, or up to a unit a tier more."""
    state = house(0, contracts=[linear(tiers=tiers)], priced=False)
    place = max(i for i, tier in enumerate(tiers) if tier.floor_minor <= notional)
    charged = mul_div_ceil(notional, tiers[place].rate_ppb, PPB)
    required = charged - state.tier[1, place, TIER_DEDUCTION]
    tops = [tier.floor_minor for tier in tiers[1:]] + [notional]
    exact = sum(
        (
            Fraction(tier.rate_ppb, PPB) * max(min(top, notional) - tier.floor_minor, 0)
            for tier, top in zip(tiers, tops, strict=True)
        ),
        Fraction(0),
    )
    assert exact <= required < exact + 1 + place


# Assets -------------------------------------------------------------------------------------


def test_assets_start_unpriced_but_for_the_valuation_asset() -> None:
    assert STATE.scalar[ASSETS_USED] == 2
    assert STATE.asset[0, PRICE] == STATE.asset[0, UNIT] == 10**6
    assert STATE.asset[0, PRICE_GRADE] == Grade.FRESH
    assert STATE.asset[1, PRICE] == 0
    assert STATE.asset[1, PRICE_GRADE] == Grade.TOO_FEW


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"name": ""}, Reject.TERMS_RANGE, "name"),
        ({"decimals": 19}, Reject.TERMS_RANGE, "decimals"),
        ({"decimals": -1}, Reject.TERMS_RANGE, "decimals"),
        ({"haircut_ppb": PPB + 1}, Reject.TERMS_RANGE, "haircut_ppb"),
        ({"liability_haircut_ppb": -1}, Reject.TERMS_RANGE, "liability_haircut_ppb"),
        ({"feed_id": 0}, Reject.FEED_UNKNOWN, "feed_id"),
        ({"feed_id": 8}, Reject.FEED_UNKNOWN, "feed_id"),
        ({"value_per_tick": 0}, Reject.TERMS_RANGE, "value_per_tick"),
        ({"value_per_tick": 1 << 22}, Reject.TERMS_RANGE, "value_per_tick"),
    ],
)
def test_a_wrong_asset_is_named(changes: dict[str, Any], code: Reject, field: str) -> None:
    terms = msgspec.structs.replace(AssetTerms("XBT", 8, 0, 0, 1, 100_000), **changes)
    assert check_asset(LIMITS, terms, valuation=False) == (code, field)


def test_the_valuation_asset_has_no_price_of_its_own() -> None:
    assert check_asset(LIMITS, AssetTerms("USD", 6), valuation=True) is None
    fed = AssetTerms("USD", 6, feed_id=1)
    assert check_asset(LIMITS, fed, valuation=True) == (Reject.TERMS_RANGE, "feed_id")
    priced = AssetTerms("USD", 6, value_per_tick=1)
    assert check_asset(LIMITS, priced, valuation=True) == (Reject.TERMS_RANGE, "value_per_tick")


def test_time_is_taken_from_the_log() -> None:
    state = house(0, contracts=[], priced=False)
    state.scalar[AT_NS] = EXPIRY_NS
    assert check_terms(state, future()) == (Reject.TERMS_RANGE, "expiry_ns")
