"""Contract terms: what may be listed, and the one way from a price to the value of a lot (PROD-*).

A term is checked here once, so that no product of lots and value, of deduction and rate, or of
index and factor can leave int64 later: kernels rely on it.
"""

from collections.abc import Iterator
from itertools import pairwise

from seawall.clearing.layout import (
    ASSET,
    ASSET_FEED,
    ASSET_LISTED,
    ASSET_VALUE_PER_TICK,
    ASSETS_USED,
    AT_NS,
    BASIS_MAX_PPB,
    BASIS_WEIGHT_PPB,
    EXPIRY,
    FEED_GRADE,
    FEED_USED,
    FUNDING_INTEREST_PPB,
    FUNDING_INTERVAL,
    FUNDING_MAX_PPB,
    FUNDING_NEXT,
    HAIRCUT_PPB,
    INDEX_FEED,
    INITIAL_FACTOR_PPB,
    INSTRUMENTS_USED,
    INVERSE_NUMERATOR,
    IS_CALL,
    KIND,
    LIABILITY_HAIRCUT_PPB,
    LOTS_MAX,
    MAKER_FEE_PPB,
    MARK_GRADE,
    ORDER_BAND_PPB,
    PRICE,
    PRICE_FEED,
    PRICE_GRADE,
    PRICE_MAX,
    PRICE_MIN,
    RISK_UNIT,
    SETTLEMENT_WINDOW,
    SHORT_FLOOR_PPB,
    SHORT_RATE_PPB,
    SLICE_PPB,
    STATUS,
    STATUS_TRADING,
    STATUS_WAITING,
    STRIKE_TICKS,
    STYLE,
    TAKER_FEE_PPB,
    TIER_COUNT,
    TIER_DEDUCTION,
    TIER_FLOOR,
    TIER_RATE,
    TIERS_MAX,
    UNIT,
    VALUE_PER_TICK,
    VALUE_SCALE,
)
from seawall.clearing.ledger import touch_instrument
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.state import State
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AssetTerms, InstrumentTerms, Kind, ListInstrument, Style, Tier
from seawall.protocol.events import Grade, InstrumentListed
from seawall.protocol.genesis import Limits
from seawall.protocol.units import AMOUNT_MAX, PPB, mul_div_floor

PRICE_TICKS_MAX = 1 << 40
"""Largest published price (MARK-01), and so the largest index."""
VALUE_SCALES = tuple(10**digits for digits in range(10))
"""PPB times the largest still fits int64: fees and funding divide by the product."""
DECIMALS_MAX = 18
FEE_MAX_PPB = PPB // 10
FACTOR_MAX_PPB = 1000 * PPB
NAME_LENGTH_MAX = 64

PERPETUALS = (Kind.LINEAR_PERPETUAL, Kind.INVERSE_PERPETUAL)
INVERSES = (Kind.INVERSE_PERPETUAL, Kind.INVERSE_FUTURE)
LIVE = (STATUS_TRADING, STATUS_WAITING)

# Term -> (least, most), checked in this order after kind, asset and feeds (PROD-03).
RANGES: dict[str, tuple[int, int]] = {
    "style": (Style.VARIATION, Style.PREMIUM),
    "lots_max": (1, AMOUNT_MAX),
    "price_min": (1, AMOUNT_MAX),
    "price_max": (1, AMOUNT_MAX),
    "maker_fee_ppb": (-FEE_MAX_PPB, FEE_MAX_PPB),
    "taker_fee_ppb": (-FEE_MAX_PPB, FEE_MAX_PPB),
    "initial_factor_ppb": (PPB, FACTOR_MAX_PPB),
    "basis_max_ppb": (0, PPB),
    "basis_weight_ppb": (0, PPB),
    "funding_interval_ns": (0, AMOUNT_MAX),
    "funding_max_ppb": (0, PPB),
    "funding_interest_ppb": (-PPB, PPB),
    "expiry_ns": (0, AMOUNT_MAX),
    "settlement_window_ns": (0, AMOUNT_MAX),
    "strike_ticks": (0, AMOUNT_MAX),
    "short_rate_ppb": (0, PPB),
    "short_floor_ppb": (0, PPB),
    "order_band_ppb": (0, PPB),
    "slice_ppb": (0, PPB),
}

# Term -> word of the instrument row that keeps it.
WORDS: dict[str, int] = {
    "kind": KIND,
    "asset_id": ASSET,
    "index_feed": INDEX_FEED,
    "price_feed": PRICE_FEED,
    "value_scale": VALUE_SCALE,
    "value_per_tick": VALUE_PER_TICK,
    "inverse_numerator": INVERSE_NUMERATOR,
    "style": STYLE,
    "lots_max": LOTS_MAX,
    "price_min": PRICE_MIN,
    "price_max": PRICE_MAX,
    "maker_fee_ppb": MAKER_FEE_PPB,
    "taker_fee_ppb": TAKER_FEE_PPB,
    "initial_factor_ppb": INITIAL_FACTOR_PPB,
    "basis_max_ppb": BASIS_MAX_PPB,
    "basis_weight_ppb": BASIS_WEIGHT_PPB,
    "funding_interval_ns": FUNDING_INTERVAL,
    "funding_max_ppb": FUNDING_MAX_PPB,
    "funding_interest_ppb": FUNDING_INTEREST_PPB,
    "expiry_ns": EXPIRY,
    "settlement_window_ns": SETTLEMENT_WINDOW,
    "strike_ticks": STRIKE_TICKS,
    "is_call": IS_CALL,
    "short_rate_ppb": SHORT_RATE_PPB,
    "short_floor_ppb": SHORT_FLOOR_PPB,
    "risk_unit": RISK_UNIT,
    "order_band_ppb": ORDER_BAND_PPB,
    "slice_ppb": SLICE_PPB,
}
assert {*WORDS} == {*InstrumentTerms.__struct_fields__} - {"name", "tiers"}
assert {*RANGES} < {*WORDS}
assert PPB * VALUE_SCALES[-1] <= AMOUNT_MAX


def compute_value(state: State, instrument: int, ticks: int) -> int:
    """Return what one lot is worth at a price, in value units of the settlement asset, signed.

    Parameters
    ----------
    ticks : price > 0; of an option its own price >= 0

    Rounding
    --------
    Inverse contracts: towards zero, the same for both sides, so nothing is made or lost by it.

    Source
    ------
    PROD-01.
    """
    if state.instrument[instrument, KIND] in INVERSES:
        return -(state.instrument[instrument, INVERSE_NUMERATOR] // ticks)
    return ticks * state.instrument[instrument, VALUE_PER_TICK]


def compute_notional(state: State, instrument: int, ticks: int) -> int:
    """Return the size of one lot at a price, in value units, >= 0; of an option at the index.

    Source
    ------
    PROD-02: a value may be negative (inverse) or tiny (an option), so no requirement rests on it.
    """
    return abs(compute_value(state, instrument, ticks))


def is_perpetual(state: State, instrument: int) -> bool:
    """Tell whether the contract never expires."""
    return state.instrument[instrument, KIND] in PERPETUALS


def live_instruments(state: State) -> Iterator[int]:
    """Yield the instruments that are not settled, ascending."""
    for instrument in range(1, state.scalar[INSTRUMENTS_USED]):
        if state.instrument[instrument, STATUS] in LIVE:
            yield instrument


def use_feed(state: State, feed: int) -> None:
    """Begin to compute an index for the feed; until the first one its grade is the worst."""
    if not state.feed[feed, FEED_USED]:
        state.feed[feed, FEED_USED] = 1
        state.feed[feed, FEED_GRADE] = Grade.TOO_FEW


# Assets -------------------------------------------------------------------------------------


def check_asset(limits: Limits, terms: AssetTerms, *, valuation: bool) -> Refusal | None:
    """Return why genesis may not list this asset, or None (PROD-04).

    Parameters
    ----------
    valuation : whether it is the first one, in which everything is valued; it has no feed
    """
    if not terms.name:
        return Reject.TERMS_RANGE, "name"
    if not 0 <= terms.decimals <= DECIMALS_MAX:
        return Reject.TERMS_RANGE, "decimals"
    if not 0 <= terms.haircut_ppb <= PPB:
        return Reject.TERMS_RANGE, "haircut_ppb"
    if not 0 <= terms.liability_haircut_ppb <= PPB:
        return Reject.TERMS_RANGE, "liability_haircut_ppb"
    if valuation:
        if terms.feed_id:
            return Reject.TERMS_RANGE, "feed_id"
        return (Reject.TERMS_RANGE, "value_per_tick") if terms.value_per_tick else None
    if not 0 < terms.feed_id < limits.feeds_max:
        return Reject.FEED_UNKNOWN, "feed_id"
    # The price of a whole unit at the largest index must fit.
    if not 0 < terms.value_per_tick <= AMOUNT_MAX // PRICE_TICKS_MAX:
        return Reject.TERMS_RANGE, "value_per_tick"
    return None


def list_asset(state: State, terms: AssetTerms) -> None:
    """List an asset that `check_asset` passed; the first one values all others."""
    asset = state.scalar[ASSETS_USED]
    state.asset[asset, ASSET_LISTED] = 1
    state.asset[asset, UNIT] = 10**terms.decimals
    state.asset[asset, HAIRCUT_PPB] = terms.haircut_ppb
    state.asset[asset, LIABILITY_HAIRCUT_PPB] = terms.liability_haircut_ppb
    if asset == 0:
        state.asset[asset, PRICE] = 10**terms.decimals
    else:
        state.asset[asset, ASSET_FEED] = terms.feed_id
        state.asset[asset, ASSET_VALUE_PER_TICK] = terms.value_per_tick
        state.asset[asset, PRICE_GRADE] = Grade.TOO_FEW
        use_feed(state, terms.feed_id)
    state.tables.asset_names.append(terms.name)
    state.scalar[ASSETS_USED] = asset + 1


# Instruments --------------------------------------------------------------------------------


def apply_list_instrument(
    state: State, command: ListInstrument, sender_id: int, out: Out
) -> Refusal | None:
    """Open an instrument for trading (PROD-03).

    Rejects
    -------
    In order of the checks: TERMS_RANGE (kind), ASSET_UNKNOWN, FEED_UNKNOWN, TERMS_RANGE (the
    rest), NAME_TAKEN, INSTRUMENTS_FULL.
    """
    refusal = check_terms(state, command.terms)
    if refusal:
        return refusal[0], f"terms.{refusal[1]}"
    instrument = state.scalar[INSTRUMENTS_USED]
    if instrument >= state.limits.instruments_max:
        return Reject.INSTRUMENTS_FULL, "terms"
    _write(state, instrument, command.terms)
    out.event(InstrumentListed(instrument, command.terms.name))
    return None


def check_terms(state: State, terms: InstrumentTerms) -> Refusal | None:
    """Return the first term that is out of range or contradicts another, or None (PROD-03)."""
    if terms.kind not in tuple(Kind):
        return Reject.TERMS_RANGE, "kind"
    if not 0 <= terms.asset_id < state.scalar[ASSETS_USED]:
        return Reject.ASSET_UNKNOWN, "asset_id"
    if not 0 < terms.index_feed < state.limits.feeds_max:
        return Reject.FEED_UNKNOWN, "index_feed"
    if not 0 <= terms.price_feed < state.limits.feeds_max:
        return Reject.FEED_UNKNOWN, "price_feed"
    for name, (least, most) in RANGES.items():
        if not least <= getattr(terms, name) <= most:
            return Reject.TERMS_RANGE, name
    field = (
        _wrong_value(terms)
        or _wrong_tier(terms.tiers)
        or _wrong_life(terms, now_ns=state.scalar[AT_NS])
        or _wrong_option(terms)
    )
    if field:
        return Reject.TERMS_RANGE, field
    if not 0 <= terms.risk_unit < state.limits.units_max:
        return Reject.TERMS_RANGE, "risk_unit"
    if len(terms.name) > NAME_LENGTH_MAX:
        return Reject.TERMS_RANGE, "name"
    if not terms.name or terms.name in state.tables.instrument_names:
        return Reject.NAME_TAKEN, "name"
    return None


def _wrong_value(terms: InstrumentTerms) -> str:
    """Return the term by which lots times value could be nothing or leave int64, or ''."""
    if terms.price_max < terms.price_min:
        return "price_max"
    if terms.value_scale not in VALUE_SCALES:
        return "value_scale"
    if terms.kind in INVERSES:
        # A lot that is worth nothing at a high price would need no margin there.
        if terms.inverse_numerator < terms.price_max:
            return "inverse_numerator"
        value_max = terms.inverse_numerator // terms.price_min
    else:
        if terms.value_per_tick <= 0:
            return "value_per_tick"
        # Of an option both the premium and the underlying are held within the price bounds.
        value_max = terms.price_max * terms.value_per_tick
    return "lots_max" if terms.lots_max * value_max > AMOUNT_MAX else ""


def _wrong_tier(tiers: tuple[Tier, ...]) -> str:
    """Return 'tiers' unless floors rise from zero and rates do not fall."""
    if not 1 <= len(tiers) <= TIERS_MAX or tiers[0].floor_minor != 0:
        return "tiers"
    if tiers[0].rate_ppb <= 0 or tiers[-1].rate_ppb > PPB:
        return "tiers"
    for lower, upper in pairwise(tiers):
        if upper.floor_minor <= lower.floor_minor or upper.rate_ppb < lower.rate_ppb:
            return "tiers"
    return ""


def _wrong_life(terms: InstrumentTerms, *, now_ns: int) -> str:
    """Return the term that contradicts the contract's life: for ever with funding, or an end."""
    if terms.kind in PERPETUALS:
        if terms.expiry_ns:
            return "expiry_ns"
        return "" if terms.funding_interval_ns else "funding_interval_ns"
    return "" if terms.expiry_ns > now_ns else "expiry_ns"


def _wrong_option(terms: InstrumentTerms) -> str:
    """Return the term by which an option could be sold without a requirement, or ''."""
    if terms.kind != Kind.OPTION:
        return "style" if terms.style == Style.PREMIUM else ""
    if not terms.strike_ticks:
        return "strike_ticks"
    return "" if terms.short_floor_ppb else "short_floor_ppb"


def _write(state: State, instrument: int, terms: InstrumentTerms) -> None:
    """Fill the instrument's row and tiers; it has no mark before the next tick."""
    for name, word in WORDS.items():
        state.instrument[instrument, word] = int(getattr(terms, name))
    state.instrument[instrument, STATUS] = STATUS_TRADING
    state.instrument[instrument, MARK_GRADE] = Grade.TOO_FEW
    if terms.kind in PERPETUALS:
        periods = state.scalar[AT_NS] // terms.funding_interval_ns + 1
        state.instrument[instrument, FUNDING_NEXT] = periods * terms.funding_interval_ns
    state.instrument[instrument, TIER_COUNT] = len(terms.tiers)
    deduction = rate_below = 0
    for place, tier in enumerate(terms.tiers):
        # Rounded down: what is taken off a requirement is rounded against the account.
        deduction += mul_div_floor(tier.floor_minor, tier.rate_ppb - rate_below, PPB)
        rate_below = tier.rate_ppb
        state.tier[instrument, place, TIER_FLOOR] = tier.floor_minor
        state.tier[instrument, place, TIER_RATE] = tier.rate_ppb
        state.tier[instrument, place, TIER_DEDUCTION] = deduction
    use_feed(state, terms.index_feed)
    if terms.price_feed:
        use_feed(state, terms.price_feed)
    state.tables.instrument_names.append(terms.name)
    state.scalar[INSTRUMENTS_USED] = instrument + 1
    touch_instrument(state, instrument)
