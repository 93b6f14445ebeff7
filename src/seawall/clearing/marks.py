"""Prices: sources publish, each tick takes the median of the fresh ones and marks all at once.

Between ticks nothing moves, so no account is judged on half-updated prices (MARK-01 to MARK-05).
"""

from typing import NamedTuple

from seawall.clearing import breakers
from seawall.clearing.columns import check_columns
from seawall.clearing.instruments import (
    PERPETUALS,
    PRICE_TICKS_MAX,
    compute_notional,
    compute_value,
    live_instruments,
)
from seawall.clearing.layout import (
    ASSET,
    ASSET_FEED,
    ASSET_VALUE_PER_TICK,
    ASSETS_USED,
    AT_NS,
    BALANCE,
    BASIS,
    BASIS_MAX_PPB,
    BASIS_WEIGHT_PPB,
    DOUBT_SINCE,
    EXPIRY,
    FEE_NOTIONAL,
    FEED_GRADE,
    FEED_USED,
    FRESH_AT,
    INDEX,
    INDEX_FEED,
    KIND,
    MARK_GRADE,
    MARK_NOTIONAL,
    MARK_TICKS,
    MARK_VALUE,
    OPTION_VALUE,
    PREVIOUS_INDEX,
    PRICE,
    PRICE_FEED,
    PRICE_GRADE,
    PRICE_MAX,
    PRICE_MIN,
    RISK_ROWS_KNOWN,
    RISK_UNIT,
    SOURCE_DEVIATES,
    SOURCE_OBSERVED,
    SOURCE_VALUE,
    UNDERLYING_VALUE,
    UNIT_EXPIRES,
    UNIT_STATUS,
    VALUE_PER_TICK,
)
from seawall.clearing.ledger import touch_instrument
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.positions import positions
from seawall.clearing.state import State
from seawall.protocol.codec import pack_int32, pack_int64, unpack_int32, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Kind, PublishPrices
from seawall.protocol.events import Grade, IndexMoved, MarksMoved, SourceDeviated
from seawall.protocol.units import NS_PER_HOUR, PPB, mul_div_floor

BASIS_LIFE_NS = 30 * 24 * NS_PER_HOUR
"""A dated future's basis is clamped in proportion to its life up to this, in full beyond."""
UNIT_ACTIVE = 1


class Median(NamedTuple):
    """What the fresh prices of one feed say together."""

    value: int
    """0 when there is none."""
    grade: Grade
    deviating: tuple[bool, ...]
    """Per fresh price, in the order given."""


class Move(NamedTuple):
    """What one tick did to one index."""

    feed: int
    before: int
    grade_before: int
    doubt_ns: int
    """How long the doubt lasted that ended now, else 0."""


# Publication --------------------------------------------------------------------------------


def add_source(state: State, sender_id: int) -> None:
    """Give a sender the next source column; it publishes nothing until it does."""
    assert len(state.tables.sources) < state.limits.sources_max
    assert sender_id not in state.tables.sources
    state.tables.sources.append(sender_id)


def apply_publish_prices(
    state: State, command: PublishPrices, sender_id: int, out: Out
) -> Refusal | None:
    """Keep what a source observed; indices move at the next tick (MARK-01).

    Rejects
    -------
    COLUMN_LENGTH, COLUMN_LONG, FEED_UNKNOWN, PRICE_RANGE, TIME_RANGE.
    """
    refusal = check_columns(state, command, (("feeds", 4), ("values", 8)))
    if refusal:
        return refusal
    feeds, values = unpack_int32(command.feeds), unpack_int64(command.values)
    for place, feed in enumerate(feeds):
        if not 0 < feed < state.limits.feeds_max or not state.feed[feed, FEED_USED]:
            return Reject.FEED_UNKNOWN, f"feeds[{place}]"
    for place, value in enumerate(values):
        if not 1 <= value <= PRICE_TICKS_MAX:
            return Reject.PRICE_RANGE, f"values[{place}]"
    observed_ns = command.observed_at_ns
    if observed_ns > state.scalar[AT_NS] + state.parameter("clock_skew_max_ns"):
        return Reject.TIME_RANGE, "observed_at_ns"
    column = state.tables.sources.index(sender_id)
    if any(observed_ns < state.source[column, feed, SOURCE_OBSERVED] for feed in feeds):
        return Reject.TIME_RANGE, "observed_at_ns"
    for feed, value in zip(feeds, values, strict=True):
        state.source[column, feed, SOURCE_VALUE] = value
        state.source[column, feed, SOURCE_OBSERVED] = observed_ns
    return None


# The tick -----------------------------------------------------------------------------------


def step_prices(state: State, out: Out) -> None:
    """Move indices, trip breakers, then move marks and asset prices (MARK-02, 03, 04; BRKR-*)."""
    moves = [
        _move_index(state, out, feed)
        for feed in range(1, state.limits.feeds_max)
        if state.feed[feed, FEED_USED]
    ]
    changed = [
        move.feed
        for move in moves
        if state.feed[move.feed, INDEX] != move.before
        or state.feed[move.feed, FEED_GRADE] != move.grade_before
    ]
    if changed:
        out.event(
            IndexMoved(
                pack_int32(changed),
                pack_int64([state.feed[feed, INDEX] for feed in changed]),
                bytes(state.feed[feed, FEED_GRADE] for feed in changed),
            )
        )
    for move in moves:
        if state.feed[move.feed, FEED_GRADE] == Grade.FRESH:
            breakers.trip(state, out, move.feed, before=move.before, doubt_ns=move.doubt_ns)
    _move_marks(state, out)
    for asset in range(1, state.scalar[ASSETS_USED]):
        feed = state.asset[asset, ASSET_FEED]
        state.asset[asset, PRICE] = (
            state.feed[feed, INDEX] * state.asset[asset, ASSET_VALUE_PER_TICK]
        )
        state.asset[asset, PRICE_GRADE] = state.feed[feed, FEED_GRADE]


def compute_median(fresh: list[int], *, sources_min: int, deviation_ppb: int) -> Median:
    """Return the median of fresh prices with its grade (MARK-02).

    Rounding
    --------
    Of an even number of prices the mean of the middle two, rounded down.

    Invariants
    ----------
    While fewer than half of the prices are wrong, the median lies between the least and the
    greatest of the right ones.
    """
    if not fresh:
        return Median(0, Grade.STALE, ())
    ranked, middle = sorted(fresh), len(fresh) // 2
    median = ranked[middle]
    if len(fresh) % 2 == 0:
        median = (ranked[middle - 1] + median) // 2
    allowed = deviation_ppb * median
    deviating = tuple(abs(value - median) * PPB > allowed for value in fresh)
    if len(fresh) < sources_min:
        grade = Grade.TOO_FEW
    elif 2 * sum(deviating) >= len(fresh):
        # The middle of two camps is nobody's price.
        grade = Grade.DEVIATING
    else:
        grade = Grade.FRESH
    return Median(median, grade, deviating)


def _move_index(state: State, out: Out, feed: int) -> Move:
    """Take the median of one feed; without a fresh one the index stays where it was last good."""
    now = state.scalar[AT_NS]
    oldest_ns = now - state.parameter("stale_ns")
    columns, values = [], []
    for column in range(len(state.tables.sources)):
        value = state.source[column, feed, SOURCE_VALUE]
        if value and state.source[column, feed, SOURCE_OBSERVED] >= oldest_ns:
            columns.append(column)
            values.append(value)
    median = compute_median(
        values,
        sources_min=state.parameter("sources_min"),
        deviation_ppb=state.parameter("deviation_ppb"),
    )
    for column, value, deviates in zip(columns, values, median.deviating, strict=True):
        if deviates and not state.source[column, feed, SOURCE_DEVIATES]:
            sender_id = state.tables.sources[column]
            out.event(SourceDeviated(sender_id, feed, value, median.value))
        state.source[column, feed, SOURCE_DEVIATES] = int(deviates)
    before, since_ns = state.feed[feed, INDEX], state.feed[feed, DOUBT_SINCE]
    grade_before = state.feed[feed, FEED_GRADE]
    state.feed[feed, FEED_GRADE] = median.grade
    if median.grade != Grade.FRESH:
        state.feed[feed, DOUBT_SINCE] = since_ns or now
        return Move(feed, before, grade_before, 0)
    state.feed[feed, DOUBT_SINCE] = 0
    state.feed[feed, FRESH_AT] = now
    state.feed[feed, PREVIOUS_INDEX] = before
    state.feed[feed, INDEX] = median.value
    return Move(feed, before, grade_before, now - since_ns if since_ns else 0)


def _move_marks(state: State, out: Out) -> None:
    moved = [instrument for instrument in live_instruments(state) if _move_mark(state, instrument)]
    if moved:
        out.event(
            MarksMoved(
                pack_int32(moved),
                pack_int64([state.instrument[i, MARK_TICKS] for i in moved]),
                bytes(state.instrument[i, MARK_GRADE] for i in moved),
            )
        )


def _move_mark(state: State, instrument: int) -> bool:
    """Mark one instrument unless its grade forbids; tell whether mark or grade changed."""
    line, feed = state.instrument, state.instrument[instrument, INDEX_FEED]
    before = (line[instrument, MARK_TICKS], line[instrument, MARK_GRADE])
    index, grade = state.feed[feed, INDEX], state.feed[feed, FEED_GRADE]
    is_option = line[instrument, KIND] == Kind.OPTION
    if is_option:
        grade = max(grade, _grade_option(state, instrument))
        _move_underlying(state, instrument, index)
    if not index:
        grade = Grade.TOO_FEW
    if grade == Grade.FRESH and is_option:
        value = line[instrument, OPTION_VALUE]
        line[instrument, MARK_VALUE] = value
        line[instrument, MARK_TICKS] = value // line[instrument, VALUE_PER_TICK]
    elif grade == Grade.FRESH:
        ticks = _clamp(
            index + _move_basis(state, instrument, index),
            line[instrument, PRICE_MIN],
            line[instrument, PRICE_MAX],
        )
        line[instrument, MARK_TICKS] = ticks
        line[instrument, MARK_VALUE] = compute_value(state, instrument, ticks)
        line[instrument, MARK_NOTIONAL] = compute_notional(state, instrument, ticks)
    line[instrument, MARK_GRADE] = grade
    if line[instrument, MARK_TICKS] != before[0]:
        touch_instrument(state, instrument)
    return before != (line[instrument, MARK_TICKS], grade)


def _grade_option(state: State, instrument: int) -> int:
    """Return STALE unless attested, unexpired arrays give the option its value."""
    unit = state.instrument[instrument, RISK_UNIT]
    known = unit and state.instrument[instrument, RISK_ROWS_KNOWN]
    if not known or state.unit[unit, UNIT_STATUS] != UNIT_ACTIVE:
        return Grade.STALE
    lapsed = state.scalar[AT_NS] > state.unit[unit, UNIT_EXPIRES]
    return Grade.STALE if lapsed else Grade.FRESH


def _move_underlying(state: State, instrument: int, index: int) -> None:
    """Size an option at the last good index, held within the bound proven at its listing."""
    held = min(index, state.instrument[instrument, PRICE_MAX])
    underlying = compute_notional(state, instrument, held)
    state.instrument[instrument, UNDERLYING_VALUE] = underlying
    state.instrument[instrument, MARK_NOTIONAL] = underlying
    state.instrument[instrument, FEE_NOTIONAL] = underlying


def _move_basis(state: State, instrument: int, index: int) -> int:
    """Smooth the basis towards the traded price, if that is fresh, and return it in ticks."""
    line, feed = state.instrument, state.instrument[instrument, PRICE_FEED]
    basis = line[instrument, BASIS]
    if not feed or state.feed[feed, FEED_GRADE] != Grade.FRESH:
        return basis
    widest = mul_div_floor(index, line[instrument, BASIS_MAX_PPB], PPB)
    if line[instrument, KIND] not in PERPETUALS:
        left_ns = max(line[instrument, EXPIRY] - state.scalar[AT_NS], 0)
        widest = widest * min(left_ns, BASIS_LIFE_NS) // BASIS_LIFE_NS
    sample = _clamp(state.feed[feed, INDEX] - index, -widest, widest)
    basis += mul_div_floor(sample - basis, line[instrument, BASIS_WEIGHT_PPB], PPB)
    line[instrument, BASIS] = basis
    return basis


def _clamp(value: int, least: int, most: int) -> int:
    return min(max(value, least), most)


# Doubt --------------------------------------------------------------------------------------


def is_doubtful(state: State, row: int) -> bool:
    """Tell whether anything the account's equity rests on is not fresh (MARK-05).

    That is each instrument it holds, the asset that one settles in, and each asset with a
    balance; the valuation asset is worth itself and never in doubt.
    """
    for instrument, _, _ in positions(state, row):
        if state.instrument[instrument, MARK_GRADE] != Grade.FRESH:
            return True
        if state.asset[state.instrument[instrument, ASSET], PRICE_GRADE] != Grade.FRESH:
            return True
    return any(
        state.account[row, BALANCE + asset] and state.asset[asset, PRICE_GRADE] != Grade.FRESH
        for asset in range(1, state.scalar[ASSETS_USED])
    )
