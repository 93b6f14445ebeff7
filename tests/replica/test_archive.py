"""The archive: what was certified, outside the broker, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from seawall.replica.archive import Archive, ArchiveFault, ArchiveLog, segment_name
from seawall.replica.assembly import Position, Released
from seawall.replica.binder import Binder, archive_released, export_log
from seawall.replica.disk import FolderDisk, MemoryDisk
from seawall.replica.log import AppendRefused, LogFault
from seawall.replica.logs.memory import MemoryLog, MemoryStore
from seawall.replica.segments import Segment, verify_segment
from tests.replica.course import Course
from tests.replica.reference import Ledger, Liar, roster_for
from tests.replica.virtual import play

TRIO = ("a", "b", "c")
COURSE = Course(40, *TRIO)
ROSTERS = {1: COURSE.anchor}


def segment(first_seq: int, last_seq: int, *, certified: bool = True) -> Segment:
    chain = COURSE.history.chain_at(first_seq - 1)
    assert chain is not None
    binder = Binder(COURSE.anchor.log_id, Position(seq=first_seq - 1, chain=chain))
    for seq in range(first_seq, last_seq + 1):
        binder.put(COURSE.entries[seq - 1].payload, COURSE.messages[seq - 1].outcome)
    return binder.bind(COURSE.certificate(last_seq) if certified else None)


def end(seq: int) -> Position:
    chain = COURSE.history.chain_at(seq)
    assert chain is not None
    return Position(seq=seq, chain=chain)


async def filled(*lasts: int, disk: MemoryDisk | None = None) -> Archive:
    archive = Archive(MemoryDisk() if disk is None else disk)
    first = 1
    for last in lasts:
        assert await archive.add(segment(first, last), ROSTERS) == end(last)
        first = last + 1
    return archive


def test_segments_end_to_end_verify_and_replay_to_the_same_outcomes() -> None:
    async def scene() -> None:
        archive = await filled(7, 8, 40)
        assert await archive.find_end() == end(40)
        assert await archive.verify(ROSTERS) == end(40)
        replayed = [step async for step in archive.replay(Ledger())]
        assert [(step.seq, step.payload) for step in replayed] == [
            (entry.seq, entry.payload) for entry in COURSE.entries
        ]
        assert [step.outcome for step in replayed] == [m.outcome for m in COURSE.messages]

    play(scene())


def test_a_machine_that_computes_otherwise_is_told_where() -> None:
    async def scene() -> None:
        archive = await filled(40)
        with pytest.raises(ArchiveFault, match="entry 23 "):
            async for _ in archive.replay(Liar(23)):
                pass

    play(scene())


def test_any_flipped_byte_of_a_segment_is_found() -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        archive = await filled(4, 8, 12, disk=disk)
        name = segment_name(5, 8)
        whole = disk.files[name]
        for at in range(len(whole)):
            spoilt = bytearray(whole)
            spoilt[at] ^= 1 << (at % 8)
            disk.files[name] = bytes(spoilt)
            with pytest.raises(ArchiveFault, match=name):
                await archive.verify(ROSTERS)
        for spoilt in (bytearray(whole[:-1]), bytearray(whole + b"\0"), bytearray()):
            disk.files[name] = bytes(spoilt)
            with pytest.raises(ArchiveFault, match=name):
                await archive.verify(ROSTERS)

    play(scene())


def test_a_missing_or_renamed_segment_is_found() -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        archive = await filled(4, 8, 12, disk=disk)
        held = disk.files.pop(segment_name(5, 8))
        with pytest.raises(ArchiveFault, match="do not continue 4"):
            await archive.verify(ROSTERS)
        disk.files[segment_name(5, 7)] = held
        with pytest.raises(ArchiveFault, match="other entries"):
            await archive.verify(ROSTERS)

    play(scene())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"certificate": None}, "no certificate"),
        ({"certificate": COURSE.certificate(8, "a")}, "no majority"),
        ({"certificate": COURSE.certificate(7)}, "another entry"),
        ({"records": ()}, "no entries"),
        ({"records": segment(1, 8).records[::-1]}, "entry 1 is not the genesis"),
        ({"chain_before": bytes(32)}, "does not begin at genesis"),
        ({"log_id": bytes(32)}, "entry 1 is not the genesis"),
        ({"log_id": b""}, "malformed digest"),
        ({"first_seq": 0}, "malformed first_seq"),
    ],
)
def test_what_is_not_certified_does_not_enter(change: dict[str, object], reason: str) -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        bad = msgspec.structs.replace(segment(1, 8), **change)
        with pytest.raises(ArchiveFault, match=reason):
            await Archive(disk).add(bad, ROSTERS)
        assert disk.files == {}

    play(scene())


def test_a_changed_outcome_digest_or_payload_breaks_the_chain() -> None:
    good = segment(1, 8)
    assert verify_segment(good, ROSTERS) is None
    for index in range(1, 8):
        for change in ({"outcome_digest": bytes(32)}, {"payload": b"other"}):
            records = list(good.records)
            records[index] = msgspec.structs.replace(records[index], **change)
            bad = msgspec.structs.replace(good, records=tuple(records))
            assert verify_segment(bad, ROSTERS) == "the chain does not lead to the certificate"
    assert verify_segment(good, {}) == "certified by unknown epoch 1"
    assert verify_segment(good, {1: roster_for("a", "b")}) == "another log"


def test_a_segment_that_does_not_continue_the_archive_is_refused() -> None:
    async def scene() -> None:
        archive = await filled(8)
        for first, last in ((1, 8), (8, 12), (10, 12)):
            with pytest.raises(ArchiveFault, match="do not continue 8"):
                await archive.add(segment(first, last), ROSTERS)
        assert await archive.add(segment(9, 12), ROSTERS) == end(12)

    play(scene())


class RottenDisk(MemoryDisk):
    async def write(self, name: str, chunks: object) -> None:
        self.files[name] = b"rot"


def test_what_does_not_read_back_never_counted() -> None:
    async def scene() -> None:
        archive = Archive(RottenDisk())
        with pytest.raises(ArchiveFault):
            await archive.add(segment(1, 8), ROSTERS)

    play(scene())


async def releases(*seqs: int, certified_seq: int | None = None) -> AsyncIterator[Released]:
    for seq in seqs:
        yield COURSE.released(seq, certified_seq)


def log_of_course() -> MemoryLog:
    store = MemoryStore()
    for entry in COURSE.entries:
        store.store(f"m{entry.seq}", entry.payload)
    return MemoryLog(store)


def test_releases_become_segments_that_close_at_certified_entries() -> None:
    async def scene() -> None:
        archive = Archive(MemoryDisk())
        log = log_of_course()

        async def released() -> AsyncIterator[Released]:
            for seq in range(1, 31):
                # Certificates come every third entry only.
                yield COURSE.released(seq, -(-seq // 3) * 3)

        binder = Binder(COURSE.anchor.log_id, COURSE.start, segment_entries=4)
        ends = [
            reached
            async for reached in archive_released(
                archive, log, released(), binder=binder, rosters=lambda: ROSTERS
            )
        ]
        assert [reached.seq for reached in ends] == [6, 12, 18, 24, 30]
        assert await archive.verify(ROSTERS) == end(30)
        # After a restart it goes on behind what the archive holds.
        found = await archive.find_end()
        assert found is not None
        binder = Binder(COURSE.anchor.log_id, found, segment_entries=4)
        more = archive_released(
            archive, log, releases(*range(31, 41)), binder=binder, rosters=lambda: ROSTERS
        )
        assert [reached.seq async for reached in more] == [34, 38]
        assert await archive.verify(ROSTERS) == end(38)

    play(scene())


def test_a_log_that_holds_other_bytes_than_were_certified_is_not_archived() -> None:
    async def scene() -> None:
        archive = Archive(MemoryDisk())
        binder = Binder(COURSE.anchor.log_id, COURSE.start, segment_entries=4)
        twisted = archive_released(
            archive, log_of_course(), releases(1, 2, 4), binder=binder, rosters=lambda: ROSTERS
        )
        with pytest.raises(ArchiveFault, match="entry 4"):
            await anext(twisted)

    play(scene())


def test_a_whole_log_is_exported_under_one_certificate(tmp_path: Path) -> None:
    async def scene() -> None:
        archive = Archive(FolderDisk(tmp_path, writer="export"))
        certificate = COURSE.certificate(37)
        exported = await export_log(
            archive, log_of_course(), Ledger(), certificate, segment_entries=10
        )
        assert exported == end(37)
        assert [(s.first_seq, s.last_seq) for s in await archive.spans()] == [
            (1, 10),
            (11, 20),
            (21, 30),
            (31, 37),
        ]
        assert await archive.verify(ROSTERS) == end(37)
        with pytest.raises(ArchiveFault, match="not empty"):
            await export_log(archive, log_of_course(), Ledger(), certificate)

    asyncio.run(scene())


def test_a_machine_that_does_not_reach_the_certificate_exports_nothing_certified() -> None:
    async def scene() -> None:
        archive = Archive(MemoryDisk())
        with pytest.raises(ArchiveFault, match="does not reach"):
            await export_log(
                archive, log_of_course(), Liar(5), COURSE.certificate(37), segment_entries=10
            )
        with pytest.raises(ArchiveFault, match="nothing in this archive is certified"):
            await archive.verify(ROSTERS)

    play(scene())


def test_the_archive_reads_as_a_log_that_ends() -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        log = ArchiveLog(await filled(7, 20, disk=disk))
        assert await log.last_seq() == 20
        assert [entry async for entry in log.read(1)] == COURSE.entries[:20]
        assert [entry async for entry in log.read(15)] == COURSE.entries[14:20]
        assert [entry async for entry in log.read(21)] == []
        with pytest.raises(AppendRefused):
            await log.append("id", b"x")
        disk.files[segment_name(8, 20)] = b""
        with pytest.raises(LogFault):
            async for _ in log.read(1):
                pass
        assert await ArchiveLog(Archive(MemoryDisk())).last_seq() == 0

    play(scene())
