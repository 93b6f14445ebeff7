"""Routing: which replica answers a read. Pure: the same statuses give the same choice."""

from collections.abc import Iterable
from enum import Enum

import msgspec

from seawall.replica.quarantine import Phase

LAG_ENTRIES_MAX = 64


class Reader(msgspec.Struct, frozen=True):
    """A replica as far as reads are concerned."""

    replica: str
    region: str
    seq: int
    lag_entries: int
    phase: str
    reads_waiting: int


class Unroutable(Enum):
    """Why no replica may answer, by precedence: the first one that leaves nobody."""

    NO_REPLICA = "NO_REPLICA"
    NONE_VOTING = "NONE_VOTING"
    ALL_LAGGING = "ALL_LAGGING"
    SEQ_NOT_REACHED = "SEQ_NOT_REACHED"


def choose_reader(
    readers: Iterable[Reader],
    *,
    region: str,
    min_seq: int = 0,
    lag_entries_max: int = LAG_ENTRIES_MAX,
) -> Reader | Unroutable:
    """Return the replica that answers: own region first, then least loaded, then by name.

    Parameters
    ----------
    min_seq : the reader has seen this entry acknowledged and must not be answered from before it
    """
    candidates = list(readers)
    if not candidates:
        return Unroutable.NO_REPLICA
    candidates = [reader for reader in candidates if reader.phase == Phase.VOTING.value]
    if not candidates:
        return Unroutable.NONE_VOTING
    # A negative lag means that the log lost entries: such a replica knows what nobody may know.
    candidates = [reader for reader in candidates if 0 <= reader.lag_entries <= lag_entries_max]
    if not candidates:
        return Unroutable.ALL_LAGGING
    candidates = [reader for reader in candidates if reader.seq >= min_seq]
    if not candidates:
        return Unroutable.SEQ_NOT_REACHED
    return min(
        candidates,
        key=lambda reader: (reader.region != region, reader.reads_waiting, reader.replica),
    )
