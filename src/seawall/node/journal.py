"""The journal: what a sender has signed and not yet seen released, kept across a crash."""

import asyncio
import os
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from seawall.protocol.digest import digest

LENGTH_BYTES = 4
CHECK_BYTES = 8
HEAD_BYTES = LENGTH_BYTES + CHECK_BYTES
RECORD_BYTES_MAX = 1 << 22


class Request(msgspec.Struct, frozen=True, array_like=True):
    """One submission inside a batch: `count` commands from `index` on.

    `request_id` is what the client calls it, empty if it does not care; `commands_digest`
    tells a repeat from another request under the same name.
    """

    request_id: str
    commands_digest: bytes
    index: int
    count: int


class Sent(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A signed batch that is, or will be, on its way."""

    number: int
    payload: bytes
    requests: tuple[Request, ...]


class Done(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The batch of this number was released at `seq`, applied or `refused` whole."""

    number: int
    seq: int
    refused: bool


class Past(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A settled batch without its payload, so that its requests are still known by name."""

    number: int
    seq: int
    entry_digest: bytes
    requests: tuple[Request, ...]


Record = Sent | Done | Past

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


class JournalFault(Exception):
    """The journal's disk did not take a record; nothing of it is in the journal."""


class Journal(Protocol):
    """Records in order. A record outlives the process once written, the machine once synced."""

    def load(self) -> list[Record]:
        """Return every whole record; what a crash tore off at the end was never relied upon."""
        ...

    def write(self, record: Record) -> None:
        """Append a record. Raises `JournalFault` when the disk does not take it."""
        ...

    async def sync(self) -> None:
        """Return when all that is written would survive a loss of power."""
        ...

    def rewrite(self, records: list[Record]) -> None:
        """Replace all records by these, at once or not at all. Raises `JournalFault`."""
        ...

    def size_bytes(self) -> int:
        """Return how much is written, to judge when a rewrite is worth it."""
        ...

    def close(self) -> None:
        """Let go of the file; nothing is written any more."""
        ...


class Journals(Protocol):
    """Where a node's journals are, by name."""

    def open(self, name: str) -> Journal:
        """Return the journal of this name, an empty one if it is new."""
        ...

    def names(self) -> list[str]:
        """Return the names of those that exist, in order."""
        ...


def frame_record(record: Record) -> bytes:
    """Return the record's bytes: length, check, body."""
    body = _encoder.encode(record)
    assert len(body) <= RECORD_BYTES_MAX
    check = digest(body, person=b"seawall/journal")[:CHECK_BYTES]
    return len(body).to_bytes(LENGTH_BYTES, "little") + check + body


def parse_records(data: bytes) -> tuple[list[Record], int]:
    """Return the whole records at the front of `data` and how many bytes they take."""
    records: list[Record] = []
    offset = 0
    while offset + HEAD_BYTES <= len(data):
        length = int.from_bytes(data[offset : offset + LENGTH_BYTES], "little")
        check = data[offset + LENGTH_BYTES : offset + HEAD_BYTES]
        body = data[offset + HEAD_BYTES : offset + HEAD_BYTES + length]
        if len(body) < length:
            break
        if digest(body, person=b"seawall/journal")[:CHECK_BYTES] != check:
            break
        records.append(_decoder.decode(body))
        offset += HEAD_BYTES + length
    return records, offset


def sync_folder(folder: Path) -> None:
    """Return when the names in `folder` would survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class MemoryJournal:
    """A journal on a `bytearray` that outlives it: for tests, notebooks and the simulator."""

    def __init__(self, store: bytearray | None = None) -> None:
        self._store = bytearray() if store is None else store

    def load(self) -> list[Record]:
        """Return every whole record."""
        records, whole = parse_records(bytes(self._store))
        del self._store[whole:]
        return records

    def write(self, record: Record) -> None:
        """Append a record."""
        self._store += frame_record(record)

    async def sync(self) -> None:
        """Nothing to wait for."""

    def rewrite(self, records: list[Record]) -> None:
        """Replace all records."""
        self._store[:] = b"".join(frame_record(record) for record in records)

    def size_bytes(self) -> int:
        """Return how much is written."""
        return len(self._store)

    def close(self) -> None:
        """Nothing to let go of."""


class FileJournal:
    """A journal in one file, readable by its owner only: it holds what clients asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._size_bytes = 0

    def load(self) -> list[Record]:
        """Read the file and cut off what a crash tore; an absent file is an empty journal."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        data = self._path.read_bytes() if self._path.exists() else b""
        records, whole = parse_records(data)
        self._open()
        assert self._file is not None
        self._file.truncate(whole)
        self._size_bytes = whole
        return records

    def write(self, record: Record) -> None:
        """Append a record; the operating system holds it from here on."""
        assert self._file is not None
        framed = frame_record(record)
        try:
            written = self._file.write(framed)
        except OSError as fault:
            self._file.truncate(self._size_bytes)
            raise JournalFault(f"{self._path.name}: {fault.strerror}") from fault
        if written != len(framed):
            # A torn record would hide all that follow it.
            self._file.truncate(self._size_bytes)
            raise JournalFault(f"{self._path.name}: the disk took {written} of {len(framed)} bytes")
        self._size_bytes += len(framed)

    async def sync(self) -> None:
        """Wait, in a thread, until the disk holds all that was written."""
        assert self._file is not None
        # A descriptor of its own, for a rewrite may close the file meanwhile.
        descriptor = os.dup(self._file.fileno())
        try:
            await asyncio.to_thread(os.fdatasync, descriptor)
        except OSError as fault:
            raise JournalFault(f"{self._path.name}: {fault.strerror}") from fault
        finally:
            os.close(descriptor)

    def rewrite(self, records: list[Record]) -> None:
        """Write a new file beside the old one and put it in its place."""
        data = b"".join(frame_record(record) for record in records)
        beside = self._path.with_suffix(".new")
        try:
            with beside.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as fault:
            beside.unlink(missing_ok=True)
            raise JournalFault(f"{self._path.name}: {fault.strerror}") from fault
        # What is open is the old file, which has no name any more.
        self._open()
        self._size_bytes = len(data)
        try:
            sync_folder(self._path.parent)
        except OSError as fault:
            raise JournalFault(f"{self._path.name}: {fault.strerror}") from fault

    def size_bytes(self) -> int:
        """Return how much is written."""
        return self._size_bytes

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        self.close()
        # Unbuffered: what is written has left the process, whatever happens to it next.
        self._file = self._path.open("ab", buffering=0)
        os.fchmod(self._file.fileno(), 0o600)


class MemoryJournals:
    """Journals that outlive the node that writes them, not the process."""

    def __init__(self) -> None:
        self.stores: dict[str, bytearray] = {}

    def open(self, name: str) -> MemoryJournal:
        """Return the journal of this name."""
        return MemoryJournal(self.stores.setdefault(name, bytearray()))

    def names(self) -> list[str]:
        """Return the names of those that exist, in order."""
        return sorted(self.stores)


class JournalFolder:
    """Journals in one folder, a file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> FileJournal:
        """Return the journal of this name; its file appears when it is loaded."""
        return FileJournal(self._folder / f"{name}.journal")

    def names(self) -> list[str]:
        """Return the names of those that exist, in order."""
        return sorted(path.stem for path in self._folder.glob("*.journal"))
