"""Reading a log for ever: faults are waited out, a gap is never stepped over."""

from collections.abc import AsyncGenerator, Callable

import msgspec

from seawall.replica.clock import Clock
from seawall.replica.log import Entry, Log, LogFault, ReadGap
from seawall.replica.tasks import end_iteration

BACK_OFF_S = 0.05
BACK_OFF_MAX_S = 2.0
_DOUBLINGS_MAX = 10


class ReadFault(msgspec.Struct, frozen=True, tag=True):
    """The log could not be read at `seq`; the reader tries again, `attempt` times so far."""

    seq: int
    reason: str
    attempt: int


def compute_back_off_s(attempt: int) -> float:
    """Return how long to wait after the `attempt`-th fault in a row: doubling, bounded."""
    assert attempt >= 1
    return min(BACK_OFF_MAX_S, BACK_OFF_S * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX))


async def read_steadily(
    log: Log, clock: Clock, first_seq: int, on_fault: Callable[[ReadFault], None]
) -> AsyncGenerator[Entry, None]:
    """Yield every entry from `first_seq` on, in order and without a gap, whatever the log does.

    Ends only when the log ends its own reading (closed, or an archive read to its end).
    """
    next_seq = first_seq
    attempt = 0
    while True:
        entries = log.read(next_seq)
        try:
            async for entry in entries:
                if entry.seq != next_seq:
                    raise ReadGap(f"expected entry {next_seq}, was given {entry.seq}")
                attempt = 0
                next_seq += 1
                yield entry
            return
        except LogFault as fault:
            attempt += 1
            on_fault(ReadFault(seq=next_seq, reason=repr(fault), attempt=attempt))
        finally:
            await end_iteration(entries)
        await clock.sleep(compute_back_off_s(attempt))
