"""The `Disk` contract: named files that appear whole or not at all.

Snapshots, segments and evidence live on it; a simulator brings one that tears and rots.
"""

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_TEMPORARY = ".tmp-"


class DiskFault(Exception):
    """The disk refused or lost something; what was whole before still is."""


class Disk(Protocol):
    """A flat folder of immutable files."""

    async def write(self, name: str, chunks: Sequence[bytes]) -> None:
        """Store a file durably under `name`, whole or not at all; replaces an older one.

        Raises
        ------
        DiskFault
            If it cannot; no file of this name is then half there.
        """
        ...

    async def read(self, name: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return `size` bytes from `offset` on (all by default), fewer at the end of the file.

        Raises
        ------
        DiskFault
            If there is no such file or it cannot be read.
        """
        ...

    async def names(self) -> list[str]:
        """Return the names of all whole files, sorted."""
        ...

    async def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is no fault."""
        ...


def _check_name(name: str) -> None:
    assert _NAME.fullmatch(name) is not None, name


class FolderDisk:
    """A folder of the file system: temporary name, fsync, rename, fsync of the folder.

    Parameters
    ----------
    writer : one word that no other process writing to the folder uses; its temporary files
        from before a crash are removed
    """

    def __init__(self, path: Path, *, writer: str) -> None:
        _check_name(writer)
        self._path = path
        self._prefix = f"{_TEMPORARY}{writer}-"
        path.mkdir(parents=True, exist_ok=True)
        for stale in path.glob(f"{self._prefix}*"):
            stale.unlink(missing_ok=True)

    async def write(self, name: str, chunks: Sequence[bytes]) -> None:
        """Store a file; see `Disk.write`. A worker thread does the waiting."""
        _check_name(name)
        await asyncio.to_thread(self._write, name, chunks)

    def _write(self, name: str, chunks: Sequence[bytes]) -> None:
        temporary = self._path / f"{self._prefix}{name}"
        try:
            with temporary.open("wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path / name)
            # The new name itself must survive a power cut, not only the bytes behind it.
            folder = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as fault:
            raise DiskFault(f"{name}: {fault}") from fault

    async def read(self, name: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a part of a file; see `Disk.read`."""
        _check_name(name)
        return await asyncio.to_thread(self._read, name, offset, size)

    def _read(self, name: str, offset: int, size: int | None) -> bytes:
        try:
            with (self._path / name).open("rb") as file:
                file.seek(offset)
                return file.read() if size is None else file.read(size)
        except OSError as fault:
            raise DiskFault(f"{name}: {fault}") from fault

    async def names(self) -> list[str]:
        """Return the names of all whole files; see `Disk.names`."""
        try:
            found = [path.name for path in self._path.iterdir()]
        except OSError as fault:
            raise DiskFault(str(fault)) from fault
        return sorted(name for name in found if _NAME.fullmatch(name) is not None)

    async def remove(self, name: str) -> None:
        """Remove a file; see `Disk.remove`."""
        _check_name(name)
        try:
            (self._path / name).unlink(missing_ok=True)
        except OSError as fault:
            raise DiskFault(f"{name}: {fault}") from fault


class MemoryDisk:
    """A disk in memory, for the embedded house, tests and the simulator; `files` may be abused."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def write(self, name: str, chunks: Sequence[bytes]) -> None:
        """Store a file; see `Disk.write`."""
        _check_name(name)
        self.files[name] = b"".join(chunks)

    async def read(self, name: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a part of a file; see `Disk.read`."""
        _check_name(name)
        data = self.files.get(name)
        if data is None:
            raise DiskFault(f"{name}: no such file")
        return data[offset:] if size is None else data[offset : offset + size]

    async def names(self) -> list[str]:
        """Return the names of all files; see `Disk.names`."""
        return sorted(self.files)

    async def remove(self, name: str) -> None:
        """Remove a file; see `Disk.remove`."""
        _check_name(name)
        self.files.pop(name, None)
