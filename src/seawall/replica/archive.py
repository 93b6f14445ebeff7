"""The archive: the log outside the broker, for ever. What is not verified does not count."""

import re
from collections.abc import AsyncGenerator, Mapping

import msgspec

from seawall.protocol.codec import outcome_digest
from seawall.replica.assembly import Position
from seawall.replica.disk import Disk, DiskFault
from seawall.replica.log import Appended, AppendRefused, Entry, LogUnavailable, ReadGap
from seawall.replica.machine import Roster, StateMachine
from seawall.replica.segments import (
    Segment,
    check_segment,
    decode_segment,
    encode_segment,
    verify_segment,
)

_NAME = re.compile(r"segment-(\d{20})-(\d{20})\.log")


class ArchiveFault(Exception):
    """The archive, or what was to enter it, is not what was certified."""


class Span(msgspec.Struct, frozen=True):
    """One segment file, by the entries that its name says it holds."""

    name: str
    first_seq: int
    last_seq: int


class Replayed(msgspec.Struct, frozen=True):
    """An archived entry and the outcome that a machine computed again, byte for byte the same."""

    seq: int
    payload: bytes
    outcome: bytes


def segment_name(first_seq: int, last_seq: int) -> str:
    """Return the name of the file that holds these entries."""
    return f"segment-{first_seq:020d}-{last_seq:020d}.log"


def _check_continues(end: Position | None, segment: Segment) -> None:
    if end is None:
        return
    if (segment.first_seq, segment.chain_before) != (end.seq + 1, end.chain):
        raise ArchiveFault(f"entries from {segment.first_seq} on do not continue {end.seq}")


class Archive:
    """Segments on one disk, end to end from entry 1 or from where the archive was begun."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def spans(self) -> list[Span]:
        """Return the segment files there are, in order."""
        found = [(name, _NAME.fullmatch(name)) for name in await self._disk.names()]
        return [
            Span(name=name, first_seq=int(match[1]), last_seq=int(match[2]))
            for name, match in found
            if match is not None
        ]

    async def load(self, span: Span) -> Segment:
        """Return a segment that is whole and what its name says; its certificate is not judged.

        Raises
        ------
        ArchiveFault
            If a bit of it has changed.
        DiskFault
            If it cannot be read.
        """
        segment = decode_segment(await self._disk.read(span.name))
        if isinstance(segment, str):
            raise ArchiveFault(f"{span.name}: {segment}")
        if (wrong := check_segment(segment)) is not None:
            raise ArchiveFault(f"{span.name}: {wrong}")
        if (segment.first_seq, segment.last_seq) != (span.first_seq, span.last_seq):
            raise ArchiveFault(f"{span.name}: holds other entries than its name says")
        return segment

    async def find_end(self) -> Position | None:
        """Return the last archived entry and its chain, None for an empty archive."""
        spans = await self.spans()
        if not spans:
            return None
        segment = await self.load(spans[-1])
        return Position(seq=segment.last_seq, chain=segment.compute_chain())

    async def add(self, segment: Segment, rosters: Mapping[int, Roster]) -> Position:
        """Write a certified segment behind the last one; return the verified end.

        The segment counts once it was read back from the disk and verified again. Up to that
        entry, and no further, the broker may forget.

        Raises
        ------
        ArchiveFault
            If it is not certified, does not continue the archive or does not read back.
        """
        if (wrong := verify_segment(segment, rosters)) is not None:
            raise ArchiveFault(f"entries from {segment.first_seq} on: {wrong}")
        return await self.write(segment)

    async def write(self, segment: Segment) -> Position:
        """Write a segment whose certificate is nobody's concern yet; return the new end.

        Raises
        ------
        ArchiveFault
            If it does not continue the archive or does not read back.
        """
        _check_continues(await self.find_end(), segment)
        span = Span(
            name=segment_name(segment.first_seq, segment.last_seq),
            first_seq=segment.first_seq,
            last_seq=segment.last_seq,
        )
        await self._disk.write(span.name, (encode_segment(segment),))
        if await self.load(span) != segment:
            await self._disk.remove(span.name)
            raise ArchiveFault(f"{span.name}: does not read back as written")
        return Position(seq=segment.last_seq, chain=segment.compute_chain())

    async def segments(self) -> AsyncGenerator[Segment, None]:
        """Yield all segments in order, each continuing the one before.

        Raises
        ------
        ArchiveFault
            At the first segment that is damaged, missing or out of line.
        """
        end: Position | None = None
        for span in await self.spans():
            segment = await self.load(span)
            _check_continues(end, segment)
            end = Position(seq=segment.last_seq, chain=segment.compute_chain())
            yield segment

    async def verify(self, rosters: Mapping[int, Roster]) -> Position:
        """Return the certified end, after checking every byte, link and certificate up to it.

        Raises
        ------
        ArchiveFault
            With the first thing that is wrong.
        """
        certified: Position | None = None
        async for segment in self.segments():
            if segment.certificate is None:
                continue
            if (wrong := verify_segment(segment, rosters)) is not None:
                raise ArchiveFault(f"entries from {segment.first_seq} on: {wrong}")
            certified = Position(seq=segment.last_seq, chain=segment.compute_chain())
        if certified is None:
            raise ArchiveFault("nothing in this archive is certified")
        return certified

    async def replay(self, machine: StateMachine) -> AsyncGenerator[Replayed, None]:
        """Apply all archived entries to an empty machine; every outcome must be the archived one.

        Raises
        ------
        ArchiveFault
            At the first entry whose outcome differs: the archive or the machine is wrong.
        """
        async for segment in self.segments():
            for seq, record in enumerate(segment.records, segment.first_seq):
                outcome = machine.apply(seq, record.payload)
                if outcome_digest(outcome) != record.outcome_digest:
                    raise ArchiveFault(f"entry {seq} has another outcome than the archived one")
                yield Replayed(seq=seq, payload=record.payload, outcome=outcome)


class ArchiveLog:
    """The archive as a `Log` for replay: nothing can be appended, and reading ends at its end."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def append(self, message_id: str, payload: bytes) -> Appended:
        """Refuse: history is never written here."""
        raise AppendRefused("an archive takes no entries")

    async def read(self, first_seq: int) -> AsyncGenerator[Entry, None]:
        """Yield entries from `first_seq` on and end with the archive; see `Log.read`."""
        try:
            async for segment in self._archive.segments():
                for seq, record in enumerate(segment.records, segment.first_seq):
                    if seq >= first_seq:
                        yield Entry(seq=seq, payload=record.payload)
        except DiskFault as fault:
            raise LogUnavailable(str(fault)) from fault
        except ArchiveFault as fault:
            raise ReadGap(str(fault)) from fault

    async def last_seq(self) -> int:
        """Sequence of the last archived entry, 0 for an empty archive."""
        try:
            spans = await self._archive.spans()
        except DiskFault as fault:
            raise LogUnavailable(str(fault)) from fault
        return spans[-1].last_seq if spans else 0

    async def close(self) -> None:
        """Do nothing: there is no connection."""
