"""Snapshots: only certified states come back, whatever happened to the files."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from seawall.replica.checkpoints import Checkpointer, SnapshotAbandoned, SnapshotSealed
from seawall.replica.disk import Disk, DiskFault, FolderDisk, MemoryDisk
from seawall.replica.proofs import Proof
from seawall.replica.sealed import seal
from seawall.replica.snapshots import (
    MAGIC,
    Restored,
    Seal,
    SnapshotRefused,
    SnapshotStore,
    pages_name,
    seal_name,
)
from tests.replica.course import Course
from tests.replica.reference import Ledger, addition, roster_for
from tests.replica.virtual import play

TRIO = ("a", "b", "c")
ROSTER = roster_for(*TRIO)


async def write(store: SnapshotStore, seq: int, *, certified_seq: int = 0) -> None:
    pages = await store.write_pages(seq, COURSE.pages[seq])
    proof = COURSE.proof(seq, certified_seq or seq)
    await store.write_seal(Seal(checkpoint=proof, pages=pages, handovers=()))


COURSE = Course(40, *TRIO)


async def restore(disk: Disk) -> tuple[Restored | None, list[SnapshotRefused]]:
    return await SnapshotStore(disk).restore(Ledger, ROSTER)


@pytest.mark.parametrize("certified_seq", [20, 21, 33])
def test_a_snapshot_comes_back_with_its_chain(certified_seq: int) -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        await write(SnapshotStore(disk), 20, certified_seq=certified_seq)
        restored, refused = await restore(disk)
        assert refused == []
        assert restored is not None
        assert restored.machine.seq == restored.checkpoint.seq == 20
        assert restored.checkpoint.chain == COURSE.history.chain_at(20)
        # What it does next is what the machine that never stopped did.
        for seq in range(21, 41):
            restored.machine.apply(seq, addition(seq))
        assert restored.machine.digest() == COURSE.machine.digest()

    play(scene())


def test_any_flipped_byte_of_pages_or_seal_is_refused_and_named() -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        await write(SnapshotStore(disk), 10)
        whole = dict(disk.files)
        for name in sorted(whole):
            for at in range(len(whole[name])):
                spoilt = bytearray(whole[name])
                spoilt[at] ^= 1 << (at % 8)
                disk.files = whole | {name: bytes(spoilt)}
                restored, refused = await restore(disk)
                assert restored is None, (name, at)
                assert [snapshot.name for snapshot in refused] == [seal_name(10)]

    play(scene())


def test_cut_short_grown_or_missing_files_are_refused() -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        await write(SnapshotStore(disk), 10)
        whole = dict(disk.files)
        for name in sorted(whole):
            for spoilt in (whole[name][:-1], whole[name] + b"\0", b""):
                disk.files = whole | {name: spoilt}
                restored, refused = await restore(disk)
                assert restored is None
                assert len(refused) == 1
        disk.files = {seal_name(10): whole[seal_name(10)]}
        restored, refused = await restore(disk)
        assert (restored, len(refused)) == (None, 1)
        disk.files = {pages_name(10): whole[pages_name(10)]}
        assert await restore(disk) == (None, [])

    play(scene())


def test_a_spoilt_snapshot_gives_way_to_the_one_before() -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        store = SnapshotStore(disk)
        for seq in (10, 20, 30):
            await write(store, seq)
        disk.files[pages_name(30)] = bytes(len(disk.files[pages_name(30)]))
        del disk.files[pages_name(20)]
        restored, refused = await restore(disk)
        assert restored is not None
        assert restored.checkpoint.seq == 10
        assert [snapshot.name for snapshot in refused] == [seal_name(30), seal_name(20)]

    play(scene())


def resealed(disk: MemoryDisk, changed: Seal) -> None:
    """What an intruder with write access, but without keys, can do."""
    disk.files[seal_name(changed.checkpoint.seq)] = seal(MAGIC, changed)


def test_a_forged_seal_is_refused() -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        store = SnapshotStore(disk)
        await write(store, 10)
        pages = await store.write_pages(10, COURSE.pages[10])
        other_pages = await store.write_pages(20, COURSE.pages[20])
        proof = COURSE.proof(10)
        replace = msgspec.structs.replace
        alone = COURSE.certificate(10, "a")
        strangers = roster_for("x", "y", "z")
        foreign = COURSE.certificate(10, "x", "y", roster=strangers)
        forged = {
            "no majority": replace(proof, certificate=alone),
            "another log": replace(proof, certificate=foreign),
            "the chain does not lead": replace(proof, outcome=COURSE.messages[20].outcome),
            "the links do not end": replace(proof, certificate=COURSE.certificate(12)),
            "malformed digest": replace(proof, chain_before=b""),
        }
        for reason, checkpoint in forged.items():
            resealed(disk, Seal(checkpoint=checkpoint, pages=pages, handovers=()))
            restored, refused = await restore(disk)
            assert restored is None
            assert reason in refused[0].reason
        resealed(disk, Seal(checkpoint=proof, pages=other_pages, handovers=()))
        assert "not those of the certified state" in (await restore(disk))[1][0].reason
        # A certified outcome that is no checkpoint says nothing about a state.
        plain = COURSE.proof(11)
        resealed(disk, Seal(checkpoint=plain, pages=pages, handovers=()))
        assert "no checkpoint" in (await restore(disk))[1][0].reason

    play(scene())


def test_only_the_newest_are_kept_and_half_written_ones_go() -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        store = SnapshotStore(disk, kept=2)
        await store.write_pages(10, COURSE.pages[10])
        for seq in (20, 30, 40):
            await write(store, seq)
        assert await store.sealed() == [40, 30]
        assert await disk.names() == sorted(
            name(seq) for seq in (30, 40) for name in (pages_name, seal_name)
        )

    play(scene())


def test_the_folder_keeps_files_whole_and_forgets_what_a_crash_left(tmp_path: Path) -> None:
    (tmp_path / ".tmp-a-left.pages").write_bytes(b"half")
    (tmp_path / ".tmp-b-left.pages").write_bytes(b"another writer's")
    disk = FolderDisk(tmp_path, writer="a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-b-left.pages"]

    async def scene() -> None:
        await disk.write("one", (b"ab", b"cd"))
        await disk.write("one", (b"efgh",))
        assert await disk.names() == ["one"]
        assert await disk.read("one") == b"efgh"
        assert await disk.read("one", offset=1, size=2) == b"fg"
        assert await disk.read("one", offset=3, size=9) == b"h"
        with pytest.raises(DiskFault):
            await disk.read("two")
        await disk.remove("one")
        await disk.remove("one")
        assert await disk.names() == []
        (tmp_path / "folder").mkdir()
        with pytest.raises(DiskFault):
            await disk.write("folder", (b"x",))

    asyncio.run(scene())


def test_a_snapshot_on_a_real_folder(tmp_path: Path) -> None:
    async def scene() -> None:
        await write(SnapshotStore(FolderDisk(tmp_path, writer="a")), 30)
        restored, refused = await restore(FolderDisk(tmp_path, writer="b"))
        assert refused == []
        assert restored is not None
        assert restored.machine.digest() == COURSE.machine.checkpoint_of(
            COURSE.messages[29].outcome
        )

    asyncio.run(scene())


class Bench:
    """A checkpointer at work on the course, with a prover of the test's own."""

    def __init__(self, disk: Disk) -> None:
        self.notices: list[SnapshotSealed | SnapshotAbandoned] = []
        self.proofs: dict[int, Proof | str] = {}
        self.checkpointer = Checkpointer(
            SnapshotStore(disk),
            prove=lambda message: self.proofs.get(message.seq),
            handovers=tuple,
            notice=self.notices.append,
        )

    def take(self, seq: int) -> None:
        message = COURSE.messages[seq - 1]
        state_digest = COURSE.machine.checkpoint_of(message.outcome)
        assert state_digest is not None
        self.checkpointer.take(message, state_digest, COURSE.pages[seq])

    async def idle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


def test_no_seal_before_the_certificate() -> None:
    async def scene() -> None:
        disk = MemoryDisk()
        bench = Bench(disk)
        running = asyncio.create_task(bench.checkpointer.run())
        bench.take(10)
        assert bench.checkpointer.busy
        await bench.idle()
        bench.checkpointer.stir()
        await bench.idle()
        assert await disk.names() == [pages_name(10)]
        bench.proofs[10] = COURSE.proof(10, 14)
        bench.checkpointer.stir()
        await bench.idle()
        assert bench.notices == [SnapshotSealed(seq=10)]
        assert (bench.checkpointer.sealed_seq, bench.checkpointer.busy) == (10, False)
        # An outvoted replica's state is not kept, and the next checkpoint is as good as any.
        bench.take(20)
        await bench.idle()
        bench.checkpointer.drop()
        bench.take(30)
        bench.proofs[30] = COURSE.proof(30)
        await bench.idle()
        assert bench.notices[1:] == [
            SnapshotAbandoned(seq=20, reason="outvoted"),
            SnapshotSealed(seq=30),
        ]
        bench.take(40)
        bench.proofs[40] = "not certified in time"
        await bench.idle()
        assert bench.notices[3:] == [SnapshotAbandoned(seq=40, reason="not certified in time")]
        assert await SnapshotStore(disk).sealed() == [30, 10]
        assert pages_name(40) not in await disk.names()
        running.cancel()

    play(scene())


def test_pages_that_are_not_the_announced_state_stop_the_replica() -> None:
    async def scene() -> None:
        bench = Bench(MemoryDisk())
        running = asyncio.create_task(bench.checkpointer.run())
        message = COURSE.messages[9]
        state_digest = COURSE.machine.checkpoint_of(message.outcome)
        assert state_digest is not None
        bench.checkpointer.take(message, state_digest, COURSE.pages[20])
        with pytest.raises(AssertionError):
            await running

    play(scene())


class FullDisk(MemoryDisk):
    async def write(self, name: str, chunks: object) -> None:
        raise DiskFault("no room")


def test_a_full_disk_costs_a_snapshot_and_nothing_else() -> None:
    async def scene() -> None:
        bench = Bench(FullDisk())
        running = asyncio.create_task(bench.checkpointer.run())
        bench.take(10)
        await bench.idle()
        assert bench.notices == [SnapshotAbandoned(seq=10, reason="no room")]
        assert not bench.checkpointer.busy
        running.cancel()

    play(scene())
