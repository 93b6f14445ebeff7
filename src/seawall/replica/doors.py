"""What a replica is given: its doors to the world, its settings, and whom it tells what happens."""

import msgspec

from seawall.replica.bus import Bus
from seawall.replica.checkpoints import SnapshotAbandoned, SnapshotSealed
from seawall.replica.clock import Clock
from seawall.replica.evidence import EvidenceStore
from seawall.replica.findings import Finding
from seawall.replica.history import OUTCOME_BYTES_HELD_MAX
from seawall.replica.log import Log
from seawall.replica.machine import Roster
from seawall.replica.proofs import LINKS_MAX
from seawall.replica.quarantine import Standing
from seawall.replica.reading import ReadFault
from seawall.replica.snapshots import SnapshotRefused, SnapshotStore


class PhaseChanged(msgspec.Struct, frozen=True, tag=True):
    """The replica entered another phase; the standing says why."""

    standing: Standing


class DiskTrouble(msgspec.Struct, frozen=True, tag=True):
    """A disk failed the replica, which goes on without what was asked of it."""

    reason: str


Notice = (
    Finding
    | ReadFault
    | SnapshotRefused
    | SnapshotSealed
    | SnapshotAbandoned
    | PhaseChanged
    | DiskTrouble
)


def ignore(_: Notice) -> None:
    """Let a notice pass."""


class Doors(msgspec.Struct, frozen=True):
    """All through which a replica touches the world; without disks it keeps nothing."""

    log: Log
    bus: Bus
    clock: Clock
    snapshots: SnapshotStore | None = None
    evidence: EvidenceStore | None = None


class Settings(msgspec.Struct, frozen=True):
    """How a replica behaves towards others; what it computes depends on none of this.

    `anchor` is the roster to trust from the start; without it entry 1 of the log is believed.
    `log_id`, if given, is the only log that is followed. After `stall_s` without an entry that
    the log says it has, reading begins anew.
    """

    vote_interval_s: float = 0.005
    status_interval_s: float = 1.0
    stall_s: float = 5.0
    entries_held_max: int = LINKS_MAX
    outcome_bytes_held_max: int = OUTCOME_BYTES_HELD_MAX
    archive: str = ""
    anchor: Roster | None = None
    log_id: bytes = b""
