"""Requirements worked out by hand and by others in print (MARG-01 to MARG-03, COLL-01, MARK-05)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing import margin
from seawall.clearing.instruments import compute_value
from seawall.clearing.layout import (
    AT_NS,
    BALANCE,
    EQUITY,
    INITIAL,
    MAINTENANCE,
    MARK_GRADE,
    TIER_DEDUCTION,
    UNDERLYING_VALUE,
)
from seawall.clearing.margin import Explained
from seawall.clearing.state import State
from seawall.protocol.commands import InstrumentTerms, Mode, Style, Tier
from seawall.protocol.events import Grade
from seawall.protocol.units import NS_PER_HOUR, PPB
from tests.clearing import builders
from tests.clearing.builders import CALL, DEPOSIT, FIRST, FUTURE, INVERSE, LINEAR, USD, XBT

MICRO = 10**6


def explain(state: State, row: int = FIRST) -> Explained:
    return margin.explain(state, margin.view_of(state, row))


def hold(state: State, instrument: int, lots: int, ticks: int) -> None:
    """Give the first account a position at a price, against the second one."""
    value = compute_value(state, instrument, ticks)
    sides = (FIRST, FIRST + 1) if lots > 0 else (FIRST + 1, FIRST)
    builders.trade(state, *sides, instrument, abs(lots), value)


# Published cases ----------------------------------------------------------------------------

# Binance USD-M BTCUSDT ladder: floors in USD, rates, and the published amounts taken off.
LADDER = (
    (0, "0.004", 0),
    (50_000, "0.005", 50),
    (250_000, "0.01", 1_300),
    (1_000_000, "0.025", 16_300),
    (10_000_000, "0.05", 266_300),
    (20_000_000, "0.10", 1_266_300),
    (50_000_000, "0.125", 2_516_300),
    (100_000_000, "0.15", 5_016_300),
)


def ppb(rate: str) -> int:
    whole, _, fraction = rate.partition(".")
    return int(whole + fraction.ljust(9, "0"))


def cents(**changes: Any) -> InstrumentTerms:
    """Return a linear perpetual of 0.001 coins a lot with a tick of a cent."""
    tiers = tuple(Tier(floor * MICRO, ppb(rate)) for floor, rate, _ in LADDER)
    wanted = {"value_scale": 1, "value_per_tick": 10, "lots_max": 10**9, "tiers": tiers}
    return builders.linear(price_min=1, **{**wanted, **changes})


def test_tier_deductions_are_those_that_binance_publishes() -> None:
    """Binance support FAQ, maintenance margin ladder of BTCUSDT: amounts per tier."""
    state = builders.house(0, contracts=(cents(),))
    told = [state.tier[1, tier, TIER_DEDUCTION] for tier in range(len(LADDER))]
    assert told == [amount * MICRO for _, _, amount in LADDER]


def test_maintenance_of_binance_worked_example() -> None:
    """Binance support FAQ: 109.488 BTC at 31,967.27 requires 71,200.81144 USDT."""
    state = builders.house(2, contracts=(cents(),))
    hold(state, 1, 109_488, 3_248_198)
    builders.move(state, 3_196_727)
    (term,) = explain(state).positions
    assert term.tier == 3
    assert term.required_minor == 71_200_811_444  # in print without the last digit
    assert term.unrealised_minor == -56_354_568_480  # in print -56,354.57


# wallet, unrealised and maintenance of what else is held (folded into the balance: constants),
# contract terms, lots, entry ticks, published liquidation price in ticks
CROSSINGS = {
    "BTCUSDT beside ETHUSDT": (
        (1_535_443_010_000, -448_192_890_000, 356_512_508_000),
        cents(),
        (109_488, 3_248_198),
        2_631_689,
    ),
    "ETHUSDT beside BTCUSDT": (
        (1_535_443_010_000, -56_354_570_000, 71_200_811_440),
        # 10 % less 135,365: a tier from 2,707,300 on that follows one of 5 %.
        cents(tiers=(Tier(0, PPB // 20), Tier(2_707_300 * MICRO, PPB // 10))),
        (3_683_979, 145_684),
        115_326,
    ),
}


@pytest.mark.parametrize("name", CROSSINGS)
def test_liquidation_price_of_binance_worked_examples(name: str) -> None:
    """Binance support FAQ, "How to calculate liquidation price of USD-M futures", cross margin."""
    (wallet, others_gain, others_margin), terms, (lots, entry), published = CROSSINGS[name]
    state = builders.house(2, contracts=(terms,), deposits=())
    builders.deposit(state, FIRST, USD, wallet + others_gain - others_margin)
    hold(state, 1, lots, entry)
    builders.move(state, published + 1)
    above = explain(state)
    assert above.equity_minor >= above.maintenance_minor
    builders.move(state, published - 1)
    below = explain(state)
    assert below.equity_minor < below.maintenance_minor


def test_inverse_maintenance_of_bybit_worked_example() -> None:
    """Bybit Help Center: 60,000 USD of inverse at 50,000 with 0.5 % requires 0.006 BTC."""
    terms = builders.inverse(tiers=(Tier(0, PPB // 200),), initial_factor_ppb=20 * PPB)
    state = builders.house(2, contracts=(terms,))
    hold(state, 1, 60_000, 500_000)
    builders.move(state, 500_000)
    told = explain(state)
    assert told.maintenance_minor == 6 * 50 * MICRO  # 0.006 BTC at 50,000
    assert told.initial_minor == 120 * 50 * MICRO  # published: 0.12 BTC at ten times


# Deribit, inverse options: initial margin = max(15 % - out of the money, 10 %) + mark, per coin.
SHORT_OPTIONS = {
    "call 60,000": (True, 60_000, "0.12", "0.02"),
    "call 45,000": (True, 45_000, "0.27", "0.12"),
    "put 55,000": (False, 55_000, "0.27", "0.12"),
}


@pytest.mark.parametrize("name", SHORT_OPTIONS)
def test_short_option_requires_what_deribit_does_beside_the_mark(name: str) -> None:
    """Deribit, "Margin (legacy)" rules at an underlying of 50,000; equity carries the mark here."""
    is_call, strike, initial, mark = SHORT_OPTIONS[name]
    terms = builders.option(is_call=is_call, strike_ticks=strike * 10)
    state = builders.house(2, contracts=(*builders.CONTRACTS[:3], terms))
    builders.attest(state, {CALL: [0]}, values={CALL: 1})
    builders.move(state, 500_000)
    hold(state, CALL, -1_000, 1_000)
    (term,) = explain(state).positions
    expected = (ppb(initial) - ppb(mark)) * 50_000 * MICRO // PPB
    assert term.required_minor == expected


# By hand ------------------------------------------------------------------------------------


def test_linear_position_in_the_second_tier() -> None:
    """25 XBT at 5,000 = 125,000 USD: 1 % of 100,000 and 2 % of 25,000 is 1,500."""
    state = builders.house(2)
    hold(state, LINEAR, -25_000, 50_000)
    told = explain(state)
    assert told.equity_minor == DEPOSIT
    assert told.maintenance_minor == 1_500 * MICRO
    assert told.initial_minor == 3_000 * MICRO
    assert told.positions[0].tier == 1


def test_a_tier_begins_at_its_floor() -> None:
    """At 150,003 units exactly: ⌈40 %⌉ less ⌊30 %⌋ is one more than ⌈10 %⌉, the tier below."""
    tiers = (Tier(0, PPB // 10), Tier(150_003, 2 * PPB // 5))
    terms = builders.linear(value_scale=1, value_per_tick=1, lots_max=10**9, tiers=tiers)
    state = builders.house(2, contracts=(terms,))
    builders.move(state, 50_001)
    hold(state, 1, 3, 50_001)
    margin.sweep(state)
    told = explain(state)
    assert (told.positions[0].tier, told.maintenance_minor) == (1, 60_002 - 45_000)
    assert state.account[FIRST, MAINTENANCE] == 15_002
    hold(state, 1, -1, 50_001)
    assert explain(state).positions[0].tier == 0


def test_gains_settled_in_coins_are_cut_and_losses_charged() -> None:
    """100,000 USD inverse from 5,000 to 5,500: 1.818181.. XBT at 5,500, less or plus 5 %."""
    state = builders.house(2)
    hold(state, INVERSE, 100_000, 50_000)
    builders.move(state, 55_000)
    gain, loss = explain(state), explain(state, FIRST + 1)
    coins = 100_000 * (10**15 // 50_000 - 10**15 // 55_000) // 10**6
    assert gain.assets[1].unrealised_minor == coins
    assert gain.assets[1].raw_minor == coins * 5_500 * MICRO // 10**8
    assert gain.assets[1].value_minor == gain.assets[1].raw_minor * 95 // 100
    assert loss.assets[1].value_minor == loss.assets[1].raw_minor * 105 // 100
    assert gain.equity_minor == DEPOSIT + gain.assets[1].value_minor


def test_long_option_requires_nothing_if_paid_for_and_its_value_if_not() -> None:
    for style, required in ((Style.PREMIUM, 0), (Style.VARIATION, 500 * 10**8 // 1_000)):
        terms = builders.option(style=style)
        state = builders.house(2, contracts=(*builders.CONTRACTS[:3], terms))
        builders.attest(state, {CALL: [0]}, values={CALL: 10**8})
        builders.move(state, 50_000)
        hold(state, CALL, 500, 1_000)
        (term,) = explain(state).positions
        assert term.required_minor == required
        assert term.initial_minor == 2 * required


def test_portfolio_requirement_is_the_worst_row_over_the_unit() -> None:
    """+100 linear and -60 future: rows give 100 * (-30) + 60 * 35 = -900 and 100 * 40 - 60 * 90."""
    state = builders.house(2, mode=Mode.PORTFOLIO)
    builders.attest(state, {LINEAR: [-30, 40, 0], FUTURE: [-35, 90, 0]}, scale=MICRO)
    hold(state, LINEAR, 100, 50_000)
    hold(state, FUTURE, -60, 50_000)
    told = explain(state)
    (unit,) = told.units
    assert unit.binding_row == 1
    assert unit.loss_minor == told.maintenance_minor == 1_400 * MICRO
    assert told.initial_minor == 2_800 * MICRO
    assert unit.alone_minor == (5 + 3) * MICRO
    margin.sweep(state)
    assert state.account[FIRST, MAINTENANCE] == 1_400 * MICRO


def test_portfolio_positions_outside_the_rows_count_by_themselves() -> None:
    state = builders.house(2, mode=Mode.PORTFOLIO)
    builders.attest(state, {LINEAR: [-30, 40, 0]}, scale=MICRO)
    hold(state, LINEAR, 100, 50_000)
    hold(state, FUTURE, -60, 50_000)
    told = explain(state)
    assert [term.unit_id for term in told.positions] == [1, 0]
    assert told.maintenance_minor == (3_000 + 3) * MICRO


def test_a_portfolio_that_only_gains_requires_nothing() -> None:
    state = builders.house(2, mode=Mode.PORTFOLIO)
    builders.attest(state, {LINEAR: [5, 40, 1]}, scale=MICRO)
    hold(state, LINEAR, 100, 50_000)
    told = explain(state)
    assert (told.maintenance_minor, told.units[0].binding_row) == (0, 2)


def test_lapsed_rows_count_at_least_what_the_positions_require_alone() -> None:
    """MARG-03: after the expiry the larger of both holds, and initial is half as much again."""
    state = builders.house(2, mode=Mode.PORTFOLIO)
    expires_ns = state.scalar[AT_NS] + 1
    builders.attest(state, {LINEAR: [0, 1]}, scale=1, expires_ns=expires_ns)
    hold(state, LINEAR, 1_000, 50_000)
    assert explain(state).maintenance_minor == 0
    builders.move(state, 50_000)
    told = explain(state)
    assert told.units[0].lapsed
    assert told.maintenance_minor == 50 * MICRO
    assert told.initial_minor == 150 * MICRO


def test_doubt_holds_requirements_and_raises_initial() -> None:
    """MARK-05, MARG-02: a smaller position does not release what was required before the doubt."""
    state = builders.house(2)
    hold(state, LINEAR, 10_000, 50_000)
    margin.sweep(state)
    builders.tick(state, state.scalar[AT_NS] + NS_PER_HOUR)
    margin.sweep(state)
    assert state.instrument[LINEAR, MARK_GRADE] == Grade.STALE
    assert state.account[FIRST, MAINTENANCE] == 500 * MICRO
    assert state.account[FIRST, INITIAL] == 1_500 * MICRO
    hold(state, LINEAR, -9_000, 50_000)
    margin.sweep(state)
    told = explain(state)
    assert told.doubtful
    assert told.stale
    assert state.account[FIRST, MAINTENANCE] == 500 * MICRO
    assert state.account[FIRST, INITIAL] == 1_500 * MICRO
    builders.move(state, 50_000)
    margin.sweep(state)
    assert state.account[FIRST, MAINTENANCE] == 50 * MICRO
    assert state.account[FIRST, INITIAL] == 100 * MICRO


def test_a_doubtful_asset_holds_requirements_of_whoever_settles_in_it() -> None:
    """The contract has a feed of its own, but its gains are coins: their price is doubtful."""
    terms = builders.inverse(index_feed=3, price_feed=0)
    state = builders.house(2, contracts=(terms,), priced=False)
    builders.publish(state, {3: 50_000})
    builders.tick(state, state.scalar[AT_NS] + 1)
    hold(state, 1, 10_000, 50_000)
    assert state.instrument[1, MARK_GRADE] == Grade.FRESH
    assert explain(state).doubtful
    assert not explain(state).stale


@given(
    lots=st.integers(1, 500_000),
    more=st.integers(1, 500_000),
    ticks=st.integers(1_000, 90_000),
    instrument=st.sampled_from((LINEAR, INVERSE)),
)
def test_requirement_grows_with_size_and_is_continuous_at_tiers(
    lots: int, more: int, ticks: int, instrument: int
) -> None:
    state = builders.house(0)
    builders.move(state, ticks)
    small, base_small, _ = margin.compute_required(state, instrument, lots)
    large, base_large, _ = margin.compute_required(state, instrument, lots + more)
    assert margin.compute_required(state, instrument, -lots)[0] == small
    # No jump at a tier: what is added is at most the top rate on what was added, and rounding.
    assert small <= large <= small + (base_large - base_small) // 20 + 2


@given(under=st.integers(1, 10**12), strike=st.integers(1, 10**6), is_call=st.booleans())
def test_short_option_requires_between_floor_and_rate(
    under: int, strike: int, is_call: bool
) -> None:
    terms = builders.option(is_call=is_call, strike_ticks=strike)
    state = builders.house(0, contracts=(*builders.CONTRACTS[:3], terms))
    state.instrument[CALL, UNDERLYING_VALUE] = under
    one, _, _ = margin.compute_required(state, CALL, -1_000)
    assert -(-under // 10) <= one <= -(-under * 3 // 20) + 1
    in_the_money = under >= strike * 100_000 if is_call else under <= strike * 100_000
    if in_the_money:
        assert one == -(-under * 3 // 20)


def test_explained_terms_add_up_to_what_they_explain() -> None:
    state = builders.house(2, mode=Mode.PORTFOLIO, deposits=((USD, DEPOSIT), (XBT, 10**8)))
    builders.attest(state, {LINEAR: [-30, 40]}, scale=MICRO)
    for instrument in (LINEAR, INVERSE, FUTURE):
        hold(state, instrument, 100 * instrument, 51_000)
    margin.sweep(state)
    told = explain(state)
    assert told.equity_minor == sum(term.value_minor for term in told.assets)
    alone = sum(term.required_minor for term in told.positions if not term.unit_id)
    assert told.maintenance_minor == alone + sum(u.maintenance_minor for u in told.units)
    assert told.equity_minor == state.account[FIRST, EQUITY]
    assert told.raw_equity_minor > told.equity_minor
    assert state.account[FIRST, BALANCE + XBT] == told.assets[1].balance_minor
