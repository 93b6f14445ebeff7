"""The log in memory: for tests, notebooks and the simulator; it forgets with its process."""

import asyncio
from collections.abc import AsyncGenerator

from seawall.replica.log import Appended, AppendRefused, Entry, LogUnavailable
from seawall.replica.logs.bounds import check_message, check_start

ENTRIES_PER_TURN = 64


class MemoryStore:
    """What outlives a `MemoryLog`: open several logs on one store to play several processes.

    Message ids are remembered for ever.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.seq_by_message_id: dict[str, int] = {}
        self.logs: list[MemoryLog] = []

    def store(self, message_id: str, payload: bytes) -> Appended:
        """Number and keep the message, or say where it is already."""
        known_seq = self.seq_by_message_id.get(message_id)
        if known_seq is not None:
            return Appended(seq=known_seq, duplicate=True)
        seq = len(self.entries) + 1
        self.entries.append(Entry(seq=seq, payload=bytes(payload)))
        self.seq_by_message_id[message_id] = seq
        for log in self.logs:
            log.wake()
        return Appended(seq=seq, duplicate=False)


class MemoryLog:
    """One process' view of a `MemoryStore`.

    Uses no clock, no thread and no timer: under a loop with virtual time it is deterministic.
    """

    def __init__(self, store: MemoryStore | None = None) -> None:
        self._store = MemoryStore() if store is None else store
        self._news = asyncio.Event()
        self._closed = False
        self._store.logs.append(self)

    def wake(self) -> None:
        """Tell the waiting readers that the store has grown."""
        self._news.set()

    async def append(self, message_id: str, payload: bytes) -> Appended:
        """Store the message at once; see `Log.append`."""
        if self._closed:
            raise AppendRefused("the log is closed")
        check_message(message_id, payload)
        return self._store.store(message_id, payload)

    async def read(self, first_seq: int) -> AsyncGenerator[Entry, None]:
        """Yield from the store and wait for more; see `Log.read`."""
        assert first_seq >= 1
        check_start(first_seq, len(self._store.entries))
        seq = first_seq
        while not self._closed:
            if seq <= len(self._store.entries):
                yield self._store.entries[seq - 1]
                seq += 1
                if seq % ENTRIES_PER_TURN == 0:
                    # A long replay must leave the loop to others now and then.
                    await asyncio.sleep(0)
                continue
            self._news.clear()
            await self._news.wait()

    async def last_seq(self) -> int:
        """Sequence of the newest entry, 0 for an empty log."""
        if self._closed:
            raise LogUnavailable("the log is closed")
        return len(self._store.entries)

    async def close(self) -> None:
        """End the readers of this log; the store stays."""
        if not self._closed:
            self._closed = True
            self._store.logs.remove(self)
            self._news.set()
