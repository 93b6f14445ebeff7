"""Machine time: the monotone median of what the clock sources last said (TIME-01)."""

from seawall.clearing.layout import AT_NS
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.state import State
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Tick
from seawall.protocol.events import TimeMoved
from seawall.protocol.units import AMOUNT_MAX

AT_NS_MAX = AMOUNT_MAX
"""In the year 2116: a deadline some decades after it still fits a column."""


def apply_tick(state: State, command: Tick, sender_id: int, out: Out) -> Refusal | None:
    """Note a clock's time and advance machine time when the median does.

    Rejects
    -------
    TIME_RANGE : the tick lies before the same clock's last one, or beyond all deadlines.
    """
    clocks = state.tables.clocks
    if not clocks[sender_id] <= command.at_ns <= AT_NS_MAX:
        return Reject.TIME_RANGE, "at_ns"
    clocks[sender_id] = command.at_ns
    told = sorted(clocks.values())
    # The lower of the middle two: with an even number of clocks half of them cannot hurry time.
    median = told[(len(told) - 1) // 2]
    if median > state.scalar[AT_NS]:
        state.scalar[AT_NS] = median
        out.event(TimeMoved(median))
    return None
