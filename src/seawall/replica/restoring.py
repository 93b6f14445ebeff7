"""Restoring: the newest certified snapshot that a replica can find and trust."""

from collections.abc import Awaitable, Callable

from seawall.replica.clock import Clock
from seawall.replica.disk import DiskFault
from seawall.replica.log import Log
from seawall.replica.machine import Roster, StateMachine
from seawall.replica.reading import ReadFault, read_steadily
from seawall.replica.snapshots import Restored, SnapshotRefused, SnapshotStore


async def read_genesis_roster(
    log: Log,
    clock: Clock,
    new_machine: Callable[[], StateMachine],
    on_fault: Callable[[ReadFault], None],
) -> Roster | None:
    """Return the roster that entry 1 names; a log that is down, or empty, is waited for."""
    entries = read_steadily(log, clock, 1, on_fault)
    try:
        async for entry in entries:
            machine = new_machine()
            machine.apply(entry.seq, entry.payload)
            return machine.roster()
    finally:
        await entries.aclose()
    return None


async def find_snapshot(
    store: SnapshotStore,
    new_machine: Callable[[], StateMachine],
    read_anchor: Callable[[], Awaitable[Roster | None]],
) -> tuple[Restored | None, list[SnapshotRefused]]:
    """Return the newest snapshot that holds, and the newer ones that do not, each with its why.

    Parameters
    ----------
    read_anchor : returns the roster to trust; called only when there is a snapshot to judge
    """
    try:
        sealed = await store.sealed()
        anchor = await read_anchor() if sealed else None
        if anchor is None:
            return None, []
        return await store.restore(new_machine, anchor)
    except DiskFault as fault:
        return None, [SnapshotRefused(name="all", reason=str(fault))]
