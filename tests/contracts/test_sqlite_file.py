"""What a SQLite log owes to its disk, and what it says when the disk does not keep its word."""

import asyncio
import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from seawall.replica.log import (
    Appended,
    AppendRefused,
    AppendUnknown,
    Entry,
    LogUnavailable,
    ReadGap,
)
from seawall.replica.logs.sqlite import (
    CHUNK_ENTRIES_MAX,
    DiskFull,
    FileDamaged,
    FileForeign,
    RowDamaged,
    SqliteLog,
)
from tests.contracts.sites import HANG_S, read_all, take

ENTRIES = 40
# Two sound rows, each in the other's place.
SWAP = """
UPDATE entry SET seq = -seq WHERE seq IN (5, 6);
UPDATE entry SET seq = 11 + seq WHERE seq < 0;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed log of `ENTRIES` entries, the payload of each easy to find in the file."""

    async def write() -> None:
        log = SqliteLog(tmp_path / "log.db")
        for seq in range(1, ENTRIES + 1):
            await log.append(f"s:{seq}", b"<payload %02d>" % seq * 8)
        await log.close()

    asyncio.run(write())
    return tmp_path / "log.db"


async def read_until_fault(path: Path, first_seq: int = 1) -> tuple[list[int], Exception]:
    """The sequences that were read, and how reading ended."""
    log = SqliteLog(path)
    seqs: list[int] = []
    entries = log.read(first_seq)
    try:
        async with asyncio.timeout(HANG_S):
            while True:
                seqs.append((await anext(entries)).seq)
    except (RowDamaged, FileDamaged, ReadGap) as fault:
        return seqs, fault
    finally:
        await log.close()


async def open_and_read(path: Path) -> None:
    log = SqliteLog(path)
    try:
        await read_all(log)
    finally:
        await log.close()


def flip_bit(path: Path, marker: bytes) -> None:
    """What a rotting disk does, 20 bytes behind `marker`."""
    content = bytearray(path.read_bytes())
    content[content.index(marker) + 20] ^= 0x10
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    """Keep the first half of the file."""
    os.truncate(path, path.stat().st_size // 2)


def copy_torn(path: Path, wal_bytes: int) -> Path:
    """The file and the first `wal_bytes` of its write-ahead log, as a crash would leave them.

    Another process copies: to close the file in this one would drop SQLite's locks on it.
    """
    torn = path.with_name("torn.db")
    subprocess.run(["cp", path, torn], check=True)
    with torn.with_name("torn.db-wal").open("wb") as wal:
        subprocess.run(["head", "-c", str(wal_bytes), f"{path}-wal"], check=True, stdout=wal)
    return torn


def edit(path: Path, statement: str) -> None:
    """Do to the file what no log does."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(statement)
        db.commit()


@contextlib.contextmanager
def file_size_limited(bytes_max: int) -> Iterator[None]:
    """The kernel refuses to let any file of this process grow beyond `bytes_max`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_every_commit_is_synced(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    assert log._writer is not None
    settings = [
        log._writer.use(lambda db, name=name: db.execute(f"PRAGMA {name}").fetchone()[0])  # type: ignore[misc]
        for name in ("journal_mode", "synchronous", "fullfsync")
    ]
    # synchronous 2 is FULL: the write-ahead log is synced inside every COMMIT.
    assert settings == ["wal", 2, 1]
    await log.close()


async def test_appends_that_wait_together_share_a_commit(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    assert log._writer is not None
    statements: list[str] = []
    log._writer.use(lambda db: db.set_trace_callback(statements.append))
    answers = await asyncio.gather(*(log.append(f"s:{n}", b"x") for n in range(100)))
    assert [answer.seq for answer in answers] == list(range(1, 101))
    # One group of the largest size and one of the rest.
    assert statements.count("COMMIT") == 2
    await log.close()


@pytest.mark.parametrize("seq", [1, 7, CHUNK_ENTRIES_MAX, CHUNK_ENTRIES_MAX + 1, ENTRIES])
async def test_a_flipped_bit_is_found_at_its_row(path: Path, seq: int) -> None:
    flip_bit(path, b"<payload %02d>" % seq)
    seqs, fault = await read_until_fault(path)
    assert seqs == list(range(1, seq))
    assert isinstance(fault, RowDamaged)
    assert fault.seq == seq
    assert fault.code == "log.row_damaged"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entry SET payload = x'00' WHERE seq = 5",
        "UPDATE entry SET message_id = 's:other' WHERE seq = 5",
        "UPDATE entry SET digest = x'00' WHERE seq = 5",
        SWAP,
    ],
)
async def test_a_row_is_bound_to_its_place(path: Path, damage: str) -> None:
    edit(path, damage)
    seqs, fault = await read_until_fault(path)
    assert seqs == [1, 2, 3, 4]
    assert isinstance(fault, RowDamaged)


async def test_a_missing_row_is_a_gap(path: Path) -> None:
    edit(path, "DELETE FROM entry WHERE seq = 5")
    seqs, fault = await read_until_fault(path)
    assert seqs == [1, 2, 3, 4]
    assert isinstance(fault, ReadGap)


async def test_a_lost_end_is_noticed_by_who_has_read_it(path: Path) -> None:
    edit(path, "DELETE FROM entry WHERE seq > 30")
    seqs, fault = await read_until_fault(path, ENTRIES + 1)
    assert seqs == []
    assert isinstance(fault, ReadGap)


async def test_a_file_cut_short_is_damaged(path: Path) -> None:
    cut_short(path)
    with pytest.raises(FileDamaged, match=r"log\.file_damaged"):
        await open_and_read(path)


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_torn_write_ahead_log_keeps_what_was_synced(tmp_path: Path, threaded: bool) -> None:
    path = tmp_path / "log.db"
    wal = tmp_path / "log.db-wal"
    log = SqliteLog(path, threaded=threaded)
    sizes = []
    for seq in range(1, 6):
        await log.append(f"s:{seq}", b"%d" % seq * 100)
        sizes.append(wal.stat().st_size)
    torn = copy_torn(path, sizes[4] - 1)
    await log.close()
    log = SqliteLog(torn)
    assert [entry.seq for entry in await read_all(log)] == [1, 2, 3, 4]
    assert await log.append("s:5", b"again") == Appended(seq=5, duplicate=False)
    await log.close()


@pytest.mark.parametrize("content", [b"no database at all, but some text" * 99, b"SQLite format 4"])
def test_a_file_of_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(content)
    with pytest.raises(FileDamaged):
        SqliteLog(path)
    assert path.read_bytes() == content


def test_a_file_of_another_program_is_refused(tmp_path: Path, path: Path) -> None:
    edit(tmp_path / "other.db", "CREATE TABLE account (id INTEGER); PRAGMA user_version = 1")
    with pytest.raises(FileForeign, match="not a log"):
        SqliteLog(tmp_path / "other.db")
    edit(path, "PRAGMA user_version = 2")
    with pytest.raises(FileForeign, match="format 2"):
        SqliteLog(path)


async def test_a_failing_disk_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = SqliteLog(path)
    await log.append("s:1", b"x")
    limit = (tmp_path / "log.db-wal").stat().st_size + 5000
    with file_size_limited(limit), pytest.raises(AppendUnknown):
        await log.append("s:2", bytes(100_000))
    # Fit again or not: what the disk holds is known only by opening the file anew.
    with pytest.raises(AppendRefused, match="open the log anew"):
        await log.append("s:2", bytes(100_000))
    await log.close()
    log = SqliteLog(path)
    assert (await log.append("s:2", bytes(100_000))).seq == 2
    assert (await log.append("s:3", b"y")).seq == 3
    assert [len(entry.payload) for entry in await read_all(log)] == [1, 100_000, 1]
    await log.close()


async def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    await log.append("s:1", b"x")
    assert log._writer is not None
    log._writer.use(lambda db: db.execute("PRAGMA max_page_count = 10").fetchone())
    with pytest.raises(AppendRefused) as refused:
        await log.append("s:2", bytes(100_000))
    assert isinstance(refused.value.__cause__, DiskFull)
    assert await log.last_seq() == 1
    log._writer.use(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())
    assert await log.append("s:2", bytes(100_000)) == Appended(seq=2, duplicate=False)
    await log.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from seawall.replica.logs.sqlite import SqliteLog

async def write():
    log = SqliteLog(Path(sys.argv[1]))
    for number in range(1_000_000):
        appended = await log.append(f"s:{number}", b"%d" % number)
        print(number, appended.seq, flush=True)

asyncio.run(write())
"""


def write_until_killed(path: Path) -> dict[int, int]:
    """Run a writer, kill it after its hundredth entry; the sequences it saw acknowledged."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    acked = [writer.stdout.readline() for _ in range(100)]
    writer.kill()
    acked += writer.stdout.read().splitlines(keepends=True)
    writer.stdout.close()
    assert writer.wait() == -9
    return {int(line.split()[0]): int(line.split()[1]) for line in acked if line.endswith(b"\n")}


async def test_what_a_killed_process_had_acknowledged_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    seq_by_number = await asyncio.to_thread(write_until_killed, path)
    log = SqliteLog(path)
    entries = await read_all(log)
    assert {int(entry.payload): entry.seq for entry in entries}.items() >= seq_by_number.items()
    # At most the one that was under way is there beyond those.
    assert len(entries) - len(seq_by_number) in (0, 1)
    assert (await log.append("s:3", b"3")) == Appended(seq=4, duplicate=True)
    await log.close()


async def test_two_openings_append_to_one_file(tmp_path: Path) -> None:
    logs = [SqliteLog(tmp_path / "log.db", poll_s=0.01) for _ in range(2)]

    async def append_many(sender: int) -> list[int]:
        return [(await logs[sender].append(f"{sender}:{n}", b"x")).seq for n in range(50)]

    async def follow(entries: AsyncIterator[Entry]) -> list[int]:
        return [entry.seq for entry in await take(entries, 100)]

    seqs, others, read = await asyncio.gather(
        append_many(0), append_many(1), follow(logs[1].read(1))
    )
    assert sorted(seqs + others) == list(range(1, 101))
    assert read == list(range(1, 101))
    for log in logs:
        await log.close()


async def test_a_log_opened_for_reading_takes_nothing(path: Path) -> None:
    log = SqliteLog(path, read_only=True)
    assert len(await read_all(log)) == ENTRIES
    with pytest.raises(AppendRefused, match="read-only"):
        await log.append("s:new", b"x")
    await log.close()


def test_a_log_that_is_not_there_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable):
        SqliteLog(tmp_path / "none.db", read_only=True)
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(LogUnavailable):
        SqliteLog(tmp_path / "no" / "folder.db")


async def test_closing_finishes_what_was_begun(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    begun = [asyncio.ensure_future(log.append(f"s:{n}", b"x")) for n in range(200)]
    await asyncio.sleep(0)
    await log.close()
    assert [(await append).seq for append in begun] == list(range(1, 201))
    shutil.copy(tmp_path / "log.db", tmp_path / "copy.db")
    copy = SqliteLog(tmp_path / "copy.db")
    assert await copy.last_seq() == 200
    await copy.close()
