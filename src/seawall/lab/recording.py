"""A recorded log: an archive folder or a SQLite log file, read once through from entry 1."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from seawall.replica.archive import Archive, ArchiveFault
from seawall.replica.disk import DiskFault, FolderDisk
from seawall.replica.log import Log, LogFault
from seawall.replica.logs.sqlite import SqliteLog
from seawall.replica.votes import Certificate

T = TypeVar("T")


class RecordingFault(Exception):
    """The recording cannot be read, or is not what it should be; `code` is for programs."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Recorded(msgspec.Struct, frozen=True):
    """One entry with what the recording knows of its outcome.

    Attributes
    ----------
    outcome_digest : empty if the recording holds entries only
    certificate : of this very entry, where the recording has one
    """

    seq: int
    payload: bytes
    outcome_digest: bytes = b""
    certificate: Certificate | None = None


class Recording:
    """Opens whichever of the two it is.

    Raises
    ------
    RecordingFault
        `not_found`, `not_a_log`, `damaged` or `empty`.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise RecordingFault("not_found", f"{path} does not exist")
        self._archive: Archive | None = None
        self._log: Log | None = None
        if path.is_dir():
            self._archive = Archive(FolderDisk(path, writer="reader"))
            return
        try:
            self._log = SqliteLog(path, threaded=False, read_only=True, poll_s=None)
        except LogFault as fault:
            raise RecordingFault("not_a_log", str(fault)) from fault

    async def last_seq(self) -> int:
        """Sequence of the last entry."""
        try:
            if self._log is not None:
                last = await self._log.last_seq()
            else:
                assert self._archive is not None
                spans = await self._archive.spans()
                last = spans[-1].last_seq if spans else 0
        except (LogFault, DiskFault, ArchiveFault) as fault:
            raise RecordingFault("damaged", str(fault)) from fault
        if last == 0:
            raise RecordingFault("empty", "there are no entries in it")
        return last

    async def entries(self) -> AsyncIterator[Recorded]:
        """Yield every entry from 1 to the last."""
        last = await self.last_seq()
        try:
            if self._log is not None:
                async for entry in self._log.read(1):
                    yield Recorded(entry.seq, entry.payload)
                    if entry.seq == last:
                        return
            else:
                assert self._archive is not None
                async for segment in self._archive.segments():
                    for seq, record in enumerate(segment.records, segment.first_seq):
                        certificate = segment.certificate if seq == segment.last_seq else None
                        yield Recorded(seq, record.payload, record.outcome_digest, certificate)
        except (LogFault, DiskFault, ArchiveFault) as fault:
            raise RecordingFault("damaged", str(fault)) from fault

    async def close(self) -> None:
        """Close the file, if it is one."""
        if self._log is not None:
            await self._log.close()


async def using(path: Path, read: Callable[[Recording], Awaitable[T]]) -> T:
    """Open a recording, read it, close it."""
    recording = Recording(path)
    try:
        return await read(recording)
    finally:
        await recording.close()
