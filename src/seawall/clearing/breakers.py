"""Halts: after an outage, after a jump, or by an operator's word; merged by the later end (BRKR-*).

While a halt runs no liquidation of its holders starts or goes on, they withdraw nothing and new
risk is refused. Fills are facts and post all the same.
"""

from seawall.clearing.instruments import live_instruments
from seawall.clearing.layout import AT_NS, HALT_ALL_UNTIL, HALT_UNTIL, INDEX, INDEX_FEED
from seawall.clearing.ledger import is_instrument
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.positions import positions
from seawall.clearing.state import State
from seawall.protocol.codes import Reject
from seawall.protocol.commands import SetHalt
from seawall.protocol.events import HaltEnded, HaltStarted
from seawall.protocol.units import PPB, mul_div_floor

ALL = 0
"""In place of an instrument: every one of them."""


def is_halted(state: State, instrument: int) -> bool:
    """Tell whether a halt of the instrument, or of all, runs now."""
    until_ns = max(state.instrument[instrument, HALT_UNTIL], state.scalar[HALT_ALL_UNTIL])
    return until_ns > state.scalar[AT_NS]


def account_halted(state: State, row: int) -> bool:
    """Tell whether the account holds an instrument that is halted."""
    return any(is_halted(state, instrument) for instrument, _, _ in positions(state, row))


def apply_set_halt(state: State, command: SetHalt, sender_id: int, out: Out) -> Refusal | None:
    """Halt or resume one instrument or all by an operator's word (BRKR-03).

    A running halt is never shortened but by resuming first.

    Rejects
    -------
    INSTRUMENT_UNKNOWN, TIME_RANGE.
    """
    instrument = command.instrument_id
    if instrument != ALL and not is_instrument(state, instrument):
        return Reject.INSTRUMENT_UNKNOWN, "instrument_id"
    if command.until_ns and command.until_ns <= state.scalar[AT_NS]:
        return Reject.TIME_RANGE, "until_ns"
    if command.until_ns:
        until_ns = max(command.until_ns, _until(state, instrument))
        _set_until(state, instrument, until_ns)
        out.event(HaltStarted(instrument, until_ns, "operator"))
    elif _until(state, instrument):
        _set_until(state, instrument, 0)
        out.event(HaltEnded(instrument))
    return None


def trip(state: State, out: Out, feed: int, *, before: int, doubt_ns: int) -> None:
    """Halt what stands on a fresh index after an outage or a jump (BRKR-01, BRKR-02).

    Parameters
    ----------
    before : index at the previous tick, 0 if there was none
    doubt_ns : length of the doubt that ended at this tick, else 0
    """
    now = state.scalar[AT_NS]
    if doubt_ns and doubt_ns >= state.parameter("halt_after_ns"):
        scaled_ns = mul_div_floor(doubt_ns, state.parameter("halt_scale_ppb"), PPB)
        halt_ns = min(scaled_ns, state.parameter("halt_max_ns"))
        _halt_feed(state, out, feed, now + halt_ns, "outage")
    moved = abs(state.feed[feed, INDEX] - before)
    if before and moved * PPB > state.parameter("velocity_ppb") * before:
        _halt_feed(state, out, feed, now + state.parameter("velocity_halt_ns"), "velocity")


def step_halts(state: State, out: Out) -> None:
    """End the halts whose time has passed."""
    now = state.scalar[AT_NS]
    for instrument in (ALL, *live_instruments(state)):
        if 0 < _until(state, instrument) <= now:
            _set_until(state, instrument, 0)
            out.event(HaltEnded(instrument))


def _halt_feed(state: State, out: Out, feed: int, until_ns: int, why: str) -> None:
    """Halt every instrument on an index, unless one already is until then or later."""
    for instrument in live_instruments(state):
        if state.instrument[instrument, INDEX_FEED] != feed:
            continue
        if until_ns > max(_until(state, instrument), state.scalar[AT_NS]):
            _set_until(state, instrument, until_ns)
            out.event(HaltStarted(instrument, until_ns, why))


def _until(state: State, instrument: int) -> int:
    if instrument == ALL:
        return state.scalar[HALT_ALL_UNTIL]
    return state.instrument[instrument, HALT_UNTIL]


def _set_until(state: State, instrument: int, until_ns: int) -> None:
    if instrument == ALL:
        state.scalar[HALT_ALL_UNTIL] = until_ns
    else:
        state.instrument[instrument, HALT_UNTIL] = until_ns
