"""The one place where a node asks what time it is; the simulator hands in its own clock."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for what people read, monotonic time for patience, and sleep."""

    def now_ns(self) -> int:
        """Wall time since the epoch; it may jump, so nothing is decided by it."""
        ...

    def monotonic_ns(self) -> int:
        """Time that never runs backwards; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ns(self) -> int:
        """Wall time since the epoch."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Time since some fixed point."""
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """Let the event loop run others for `seconds`."""
        await asyncio.sleep(seconds)


class Backoff:
    """Pauses between tries: each twice the last, up to a limit; `reset` after a success.

    There is no jitter: at most a handful of senders share a gateway, and a simulation must see
    the same pauses for the same seed.
    """

    def __init__(self, clock: Clock, *, first_s: float = 0.02, longest_s: float = 1.0) -> None:
        assert 0 < first_s <= longest_s
        self._clock = clock
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def reset(self) -> None:
        """Start again with the shortest pause."""
        self._next_s = self._first_s

    async def pause(self) -> None:
        """Sleep for the next, longer pause."""
        pause_s = self._next_s
        self._next_s = min(2 * pause_s, self._longest_s)
        await self._clock.sleep(pause_s)
