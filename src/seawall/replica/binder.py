"""The binder: turns what the log holds and what was certified into archived segments."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

from seawall.protocol.codec import entry_digest, outcome_digest
from seawall.protocol.digest import genesis_chain
from seawall.replica.archive import Archive, ArchiveFault
from seawall.replica.assembly import Position, Released
from seawall.replica.log import Log
from seawall.replica.machine import Roster, StateMachine
from seawall.replica.segments import Record, Segment
from seawall.replica.tasks import end_iteration
from seawall.replica.votes import Certificate

SEGMENT_ENTRIES = 1024
SEGMENT_BYTES = 16 << 20


class Binder:
    """Collects records until they make a segment."""

    def __init__(
        self, log_id: bytes, after: Position, *, segment_entries: int = SEGMENT_ENTRIES
    ) -> None:
        self._segment_entries = segment_entries
        self._log_id = log_id
        self._after = after
        self._records: list[Record] = []
        self._size_bytes = 0

    @property
    def seq(self) -> int:
        """Sequence of the last entry bound or waiting to be."""
        return self._after.seq + len(self._records)

    @property
    def full(self) -> bool:
        """Whether the records make a segment of the usual size."""
        return len(self._records) >= self._segment_entries or self._size_bytes >= SEGMENT_BYTES

    def put(self, payload: bytes, outcome: bytes) -> None:
        """Add the next entry."""
        self._records.append(Record(payload=payload, outcome_digest=outcome_digest(outcome)))
        self._size_bytes += len(payload)

    def bind(self, certificate: Certificate | None) -> Segment:
        """Return the segment and begin the next one behind it."""
        segment = Segment(
            log_id=self._log_id,
            first_seq=self._after.seq + 1,
            chain_before=self._after.chain,
            records=tuple(self._records),
            certificate=certificate,
        )
        self._after = Position(seq=segment.last_seq, chain=segment.compute_chain())
        self._records, self._size_bytes = [], 0
        return segment


async def archive_released(
    archive: Archive,
    log: Log,
    released: AsyncIterator[Released],
    *,
    binder: Binder,
    rosters: Callable[[], Mapping[int, Roster]],
) -> AsyncGenerator[Position, None]:
    """Archive what is released, for ever; yield each new end, behind which the log may forget.

    Parameters
    ----------
    released : a follower's releases, from where the binder stands on
    binder : begun at the archive's end, or at genesis for an empty one
    rosters : returns the rosters known by now, by epoch

    Raises
    ------
    ArchiveFault
        If the log holds other bytes than were certified.
    """
    entries = log.read(binder.seq + 1)
    try:
        async for release in released:
            entry = await anext(entries)
            if (entry.seq, entry_digest(entry.payload)) != (release.seq, release.entry_digest):
                raise ArchiveFault(f"entry {release.seq} of the log is not the certified one")
            binder.put(entry.payload, release.outcome)
            if binder.full and release.certificate.seq == release.seq:
                yield await archive.add(binder.bind(release.certificate), rosters())
    finally:
        await end_iteration(entries)


async def export_log(
    archive: Archive,
    log: Log,
    machine: StateMachine,
    certificate: Certificate,
    *,
    segment_entries: int = SEGMENT_ENTRIES,
) -> Position:
    """Write entries 1 to `certificate.seq` into an empty archive, outcomes computed anew.

    The one certificate stands in the last segment and covers the others by the chain.

    Raises
    ------
    ArchiveFault
        If the archive is not empty, or `machine` does not reach the certified chain.
    """
    if await archive.find_end() is not None:
        raise ArchiveFault("the archive to export to is not empty")
    start = Position(seq=0, chain=genesis_chain(certificate.log_id))
    binder = Binder(certificate.log_id, start, segment_entries=segment_entries)
    entries = log.read(1)
    end = start
    try:
        async for entry in entries:
            binder.put(entry.payload, machine.apply(entry.seq, entry.payload))
            if entry.seq == certificate.seq:
                last = binder.bind(certificate)
                if last.compute_chain() != certificate.chain:
                    raise ArchiveFault("this machine does not reach the certified chain")
                return await archive.write(last)
            if binder.full:
                end = await archive.write(binder.bind(None))
    finally:
        await end_iteration(entries)
    raise ArchiveFault(f"the log ended at {end.seq}, before the certificate")
