"""Expiry: positions close at the mean of the index over the last window (SETL-01)."""

from seawall.clearing.holders import holders
from seawall.clearing.instruments import compute_value, live_instruments
from seawall.clearing.layout import (
    AT_NS,
    EXPIRY,
    FEED_GRADE,
    INDEX,
    INDEX_FEED,
    IS_CALL,
    KIND,
    MARK_TICKS,
    MARK_VALUE,
    OPEN_INTEREST,
    PRICE_MAX,
    PRICE_MIN,
    SETTLEMENT_SAMPLES,
    SETTLEMENT_SUM,
    SETTLEMENT_WINDOW,
    STATUS,
    STATUS_SETTLED,
    STATUS_WAITING,
    STRIKE_TICKS,
)
from seawall.clearing.ledger import touch_instrument
from seawall.clearing.outcome import Out
from seawall.clearing.positions import post_side
from seawall.clearing.state import State
from seawall.protocol.commands import Kind
from seawall.protocol.events import Grade, InstrumentSettled

SAMPLES_MAX = 1 << 22
"""Times the largest index, 2**40, the sum of samples still fits int64."""


def step_settlement(state: State, out: Out) -> None:
    """Sample the index in the last window; settle what has expired, or postpone it."""
    now = state.scalar[AT_NS]
    for instrument in live_instruments(state):
        expiry_ns = state.instrument[instrument, EXPIRY]
        if not expiry_ns or now < expiry_ns - state.instrument[instrument, SETTLEMENT_WINDOW]:
            continue
        feed = state.instrument[instrument, INDEX_FEED]
        fresh = state.feed[feed, FEED_GRADE] == Grade.FRESH
        if fresh and now <= expiry_ns:
            _sample(state, instrument, state.feed[feed, INDEX])
        if now < expiry_ns:
            continue
        samples = state.instrument[instrument, SETTLEMENT_SAMPLES]
        if samples:
            _settle(state, out, instrument, state.instrument[instrument, SETTLEMENT_SUM] // samples)
        elif fresh:
            _settle(state, out, instrument, state.feed[feed, INDEX])
        else:
            # No new trades, and no settlement at a price that nobody vouches for.
            state.instrument[instrument, STATUS] = STATUS_WAITING


def compute_final_ticks(state: State, instrument: int, index: int) -> int:
    """Return the price at which positions close, given the final index.

    A future closes at the index, an option at what exercise is worth; both are held within the
    price bounds of the listing, for which lots times value was proven to fit.
    """
    most = state.instrument[instrument, PRICE_MAX]
    if state.instrument[instrument, KIND] != Kind.OPTION:
        return min(max(index, state.instrument[instrument, PRICE_MIN]), most)
    gain = index - state.instrument[instrument, STRIKE_TICKS]
    return min(max(gain if state.instrument[instrument, IS_CALL] else -gain, 0), most)


def _sample(state: State, instrument: int, index: int) -> None:
    if state.instrument[instrument, SETTLEMENT_SAMPLES] < SAMPLES_MAX:
        state.instrument[instrument, SETTLEMENT_SUM] += index
        state.instrument[instrument, SETTLEMENT_SAMPLES] += 1


def _settle(state: State, out: Out, instrument: int, index: int) -> None:
    """Close every position against the house at the final value, without fee.

    The event carries a future's final price, and the final index of an option's underlying.
    """
    ticks = compute_final_ticks(state, instrument, index)
    value = compute_value(state, instrument, ticks)
    rows, lots = holders(state, instrument)
    for row, held in zip(rows.tolist(), lots.tolist(), strict=True):
        post_side(state, row, instrument, -held, value)
    assert state.instrument[instrument, OPEN_INTEREST] == 0
    state.instrument[instrument, STATUS] = STATUS_SETTLED
    state.instrument[instrument, MARK_TICKS] = ticks
    state.instrument[instrument, MARK_VALUE] = value
    touch_instrument(state, instrument)
    is_option = state.instrument[instrument, KIND] == Kind.OPTION
    out.event(InstrumentSettled(instrument, index if is_option else ticks))
