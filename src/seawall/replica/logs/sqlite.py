"""The log in one SQLite file: for a laptop, a test, a notebook; durable on one machine."""

import asyncio
import hashlib
import os
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from seawall.replica.log import (
    Appended,
    AppendRefused,
    AppendUnknown,
    Entry,
    LogFault,
    LogUnavailable,
    ReadGap,
)
from seawall.replica.logs.bounds import check_message, check_start

APPLICATION_ID = 0x5EA3A11
FORMAT_VERSION = 1
GROUP_ENTRIES_MAX = 64
CHUNK_ENTRIES_MAX = 16
BUSY_WAIT_S = 5.0
Result = TypeVar("Result")

SCHEMA = """
CREATE TABLE entry (
  seq INTEGER PRIMARY KEY,
  message_id TEXT NOT NULL UNIQUE,
  digest BLOB NOT NULL,
  payload BLOB NOT NULL
) STRICT
"""


class FileDamaged(LogFault):
    """SQLite cannot make sense of the file: restore it from a copy."""

    code = "log.file_damaged"


class FileForeign(LogFault):
    """The file is no log of ours, or was written by a later version."""

    code = "log.file_foreign"


class DiskFull(LogFault):
    """No room left on the disk; nothing is damaged."""

    code = "log.disk_full"


class RowDamaged(LogFault):
    """The row at `seq` is not what was appended: nothing from it on may be applied."""

    code = "log.row_damaged"

    def __init__(self, seq: int) -> None:
        super().__init__(f"{self.code}: entry {seq} does not match its digest")
        self.seq = seq


class SqliteLog:
    """A log in a SQLite file in WAL mode; an entry is synced to disk before it is acknowledged.

    One row holds one message. Message ids are remembered for ever (a unique index). Appends that
    wait together share one commit. Each row carries a blake2b digest that is checked on reading;
    a bad row raises `RowDamaged`. Several processes may open one file: each group of appends is
    one transaction, and readers look for the entries of other processes every `poll_s`.

    Parameters
    ----------
    threaded : run SQLite calls in a worker thread, so that a disk sync does not stop the loop;
        False makes every call in the loop's own thread.
    read_only : open an existing file for reading; every append is refused.
    poll_s : how often a waiting reader looks for entries of other processes; None for never.
    """

    def __init__(
        self,
        path: Path,
        *,
        threaded: bool = True,
        read_only: bool = False,
        poll_s: float | None = 0.05,
    ) -> None:
        self._threaded = threaded
        self._poll_s = poll_s
        self._closed = False
        self._ill = False
        self._news = asyncio.Event()
        self._waiting: list[_Waiting] = []
        self._flusher: asyncio.Task[None] | None = None
        # The writer goes first: it makes the file if there is none.
        self._writer = None if read_only else _Handle(_open(path, _prepare_writer, "rwc"))
        try:
            self._reader = _Handle(_open(path, _check_format, "ro"))
        except LogFault:
            if self._writer is not None:
                self._writer.close()
            raise

    async def append(self, message_id: str, payload: bytes) -> Appended:
        """Store and sync the message; see `Log.append`."""
        check_message(message_id, payload)
        if self._closed or self._writer is None:
            raise AppendRefused("the log is closed" if self._closed else "opened read-only")
        waiting = _Waiting(message_id, bytes(payload))
        self._waiting.append(waiting)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.get_running_loop().create_task(self._flush(self._writer))
        return await waiting.answer

    async def read(self, first_seq: int) -> AsyncGenerator[Entry, None]:
        """Yield from the file and wait for more; see `Log.read`.

        Raises
        ------
        RowDamaged, FileDamaged
            The disk gave back something else than what was written.
        """
        assert first_seq >= 1
        check_start(first_seq, await self.last_seq())
        seq = first_seq
        while self._is_open():
            chunk = await self._chunk(seq)
            for entry in chunk:
                if not self._is_open():
                    return
                if entry.seq != seq:
                    raise ReadGap(f"entry {seq} is missing, the next one is {entry.seq}")
                yield entry
                seq += 1
            if not chunk:
                await self._wait_for_news()

    async def last_seq(self) -> int:
        """Sequence of the newest entry, 0 for an empty log."""
        return await self._run(lambda: self._reader.use(_last_seq))

    async def close(self) -> None:
        """Finish the appends under way, then close the file; reading ends."""
        if self._closed:
            return
        self._closed = True
        self._news.set()
        if self._flusher is not None:
            await self._flusher
        self._reader.close()
        if self._writer is not None:
            self._writer.close()

    def _is_open(self) -> bool:
        return not self._closed

    async def _run(self, call: Callable[[], Result]) -> Result:
        if self._threaded:
            return await asyncio.to_thread(call)
        # Same turns as with a thread: a long replay must leave the loop to others.
        await asyncio.sleep(0)
        return call()

    async def _chunk(self, first_seq: int) -> list[Entry]:
        try:
            return await self._run(lambda: self._reader.use(lambda db: _fetch(db, first_seq)))
        except LogUnavailable:
            if self._closed:
                return []
            raise

    async def _wait_for_news(self) -> None:
        self._news.clear()
        if self._closed:
            return
        try:
            async with asyncio.timeout(self._poll_s):
                await self._news.wait()
        except TimeoutError:
            return

    async def _flush(self, writer: "_Handle") -> None:
        """Commit what is waiting, group by group, until nothing waits."""
        while self._waiting:
            group = self._waiting[:GROUP_ENTRIES_MAX]
            del self._waiting[: len(group)]
            try:
                answers = await self._run(partial(self._commit, writer, group))
            except LogFault as fault:
                for waiting in group:
                    waiting.fail(fault)
            else:
                for waiting, answer in zip(group, answers, strict=True):
                    waiting.succeed(answer)
            self._news.set()

    def _commit(self, writer: "_Handle", group: "list[_Waiting]") -> list[Appended]:
        """Write a group in one transaction; the sync happens inside COMMIT."""
        if self._ill:
            raise AppendRefused("an earlier commit failed in the disk: open the log anew")
        try:
            answers = writer.use(lambda db: _insert_all(db, group))
        except LogFault as fault:
            writer.use(_roll_back)
            raise AppendRefused(f"not stored: {fault}") from fault
        try:
            writer.use(lambda db: db.execute("COMMIT"))
        except LogFault as fault:
            # After a failed sync nobody can say what the disk holds, and a second sync may report
            # success for pages that were dropped. Only opening the file anew tells the truth.
            self._ill = not isinstance(fault, DiskFull)
            writer.use(_roll_back)
            raise AppendUnknown(f"commit failed: {fault}") from fault
        return answers


class _Waiting:
    """An append that waits for its group to be committed."""

    def __init__(self, message_id: str, payload: bytes) -> None:
        self.message_id = message_id
        self.payload = payload
        self.answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()

    def succeed(self, appended: Appended) -> None:
        if not self.answer.done():
            self.answer.set_result(appended)

    def fail(self, fault: LogFault) -> None:
        if not self.answer.done():
            self.answer.set_exception(fault)


class _Handle:
    """A connection, used by one thread at a time; SQLite's errors leave it as our faults."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._closed = False

    def use(self, call: Callable[[sqlite3.Connection], Result]) -> Result:
        with self._lock:
            # A cancelled reader leaves its thread behind; it may arrive here after `close`.
            if self._closed:
                raise LogUnavailable("the log is closed")
            try:
                return call(self._db)
            except sqlite3.DatabaseError as error:
                raise _as_fault(error) from error

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._db.close()


def _as_fault(error: sqlite3.DatabaseError) -> LogFault:
    # The low byte is the primary code, whatever the extended one says.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return FileDamaged(f"{FileDamaged.code}: {error}")
    if code == sqlite3.SQLITE_FULL:
        return DiskFull(f"{DiskFull.code}: {error}")
    return LogUnavailable(f"sqlite: {error}")


def _open(
    path: Path, prepare: Callable[[sqlite3.Connection], None], mode: str
) -> sqlite3.Connection:
    """Open the file; its name is on disk too when this returns."""
    uri = f"file:{quote(str(path))}?mode={mode}"
    try:
        db = sqlite3.connect(
            uri, uri=True, timeout=BUSY_WAIT_S, isolation_level=None, check_same_thread=False
        )
    except sqlite3.OperationalError as error:
        raise LogUnavailable(f"{path}: {error}") from error
    try:
        prepare(db)
        _sync_folder(path.parent)
    except sqlite3.DatabaseError as error:
        db.close()
        raise _as_fault(error) from error
    except (LogFault, OSError):
        db.close()
        raise
    return db


def _prepare_writer(db: sqlite3.Connection) -> None:
    """Demand durability of the connection, and make the table in an empty file."""
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise LogUnavailable(f"no write-ahead log on this file system: {mode}")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA fullfsync = ON")
    db.execute("BEGIN IMMEDIATE")
    (objects,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if objects == 0:
        db.execute(SCHEMA)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    db.execute("COMMIT")
    _check_format(db)


def _check_format(db: sqlite3.Connection) -> None:
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        raise FileForeign(f"{FileForeign.code}: not a log of this program")
    if version != FORMAT_VERSION:
        raise FileForeign(f"{FileForeign.code}: format {version}, this is {FORMAT_VERSION}")


def _sync_folder(folder: Path) -> None:
    """Make the file's name durable: syncing a file does not sync the folder that names it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _last_seq(db: sqlite3.Connection) -> int:
    (seq,) = db.execute("SELECT coalesce(max(seq), 0) FROM entry").fetchone()
    return int(seq)


def _insert_all(db: sqlite3.Connection, group: list[_Waiting]) -> list[Appended]:
    """Begin a transaction and insert what is new; the caller commits or rolls back."""
    db.execute("BEGIN IMMEDIATE")
    seq_last = _last_seq(db)
    answers = []
    for waiting in group:
        known = db.execute(
            "SELECT seq FROM entry WHERE message_id = ?", (waiting.message_id,)
        ).fetchone()
        if known is not None:
            answers.append(Appended(seq=known[0], duplicate=True))
            continue
        seq_last += 1
        digest = _digest(seq_last, waiting.message_id, waiting.payload)
        db.execute(
            "INSERT INTO entry (seq, message_id, digest, payload) VALUES (?, ?, ?, ?)",
            (seq_last, waiting.message_id, digest, waiting.payload),
        )
        answers.append(Appended(seq=seq_last, duplicate=False))
    return answers


def _roll_back(db: sqlite3.Connection) -> None:
    # SQLite may have rolled back by itself already.
    if db.in_transaction:
        db.execute("ROLLBACK")


def _fetch(db: sqlite3.Connection, first_seq: int) -> list[Entry]:
    """The next sound entries; raises `RowDamaged` once the first of them is bad."""
    rows = db.execute(
        "SELECT seq, message_id, digest, payload FROM entry WHERE seq >= ? ORDER BY seq LIMIT ?",
        (first_seq, CHUNK_ENTRIES_MAX),
    ).fetchall()
    entries: list[Entry] = []
    for seq, message_id, digest, payload in rows:
        if digest != _digest(seq, message_id, payload):
            if entries:
                # What is sound is delivered first; the next call starts at the bad row.
                break
            raise RowDamaged(seq)
        entries.append(Entry(seq=seq, payload=payload))
    return entries


def _digest(seq: int, message_id: str, payload: bytes) -> bytes:
    """Bind payload, id and place together, so that swapped rows are found as well."""
    name = message_id.encode()
    digest = hashlib.blake2b(digest_size=32, person=b"seawall.log.row1")
    digest.update(seq.to_bytes(8, "little") + len(name).to_bytes(2, "little") + name)
    digest.update(payload)
    return digest.digest()
