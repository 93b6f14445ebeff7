"""How far the released entries have come, and whoever waits for one of them. Also the newest."""

import asyncio
import heapq
from collections import deque

from seawall.node.joined import Joined

RECENT_BYTES_MAX = 32 << 20


class Progress:
    """The newest released seq, with waiters."""

    def __init__(self) -> None:
        self.seq = 0
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def advance(self, seq: int) -> None:
        """Wake all who wait for `seq` or less."""
        self.seq = max(self.seq, seq)
        while self._waiters and self._waiters[0][0] <= self.seq:
            _, _, waiter = heapq.heappop(self._waiters)
            if not waiter.done():
                waiter.set_result(None)

    async def reached(self, seq: int) -> None:
        """Return once entry `seq` is released."""
        if seq <= self.seq:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiters, (seq, self._count, waiter))
        await waiter

    def stop(self, reason: Exception) -> None:
        """Tell all who wait that it will not come to pass here."""
        for _, _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(reason)
        self._waiters.clear()


class Recent:
    """The newest joined entries, as many as fit `bytes_max` bytes."""

    def __init__(self, *, bytes_max: int = RECENT_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._held: deque[Joined] = deque()

    def take(self, joined: Joined) -> None:
        """Hold the next entry and let the oldest go when there is no room."""
        self._held.append(joined)
        self._bytes += _size(joined)
        while self._bytes > self._bytes_max and len(self._held) > 1:
            self._bytes -= _size(self._held.popleft())

    def at(self, seq: int) -> Joined | None:
        """Return entry `seq`, None if it is no longer, or not yet, held."""
        if not self._held:
            return None
        index = seq - self._held[0].seq
        return self._held[index] if 0 <= index < len(self._held) else None


def _size(joined: Joined) -> int:
    # Decoded, the outcome takes about as much again as its bytes.
    return len(joined.payload) + 2 * len(joined.outcome_bytes)
