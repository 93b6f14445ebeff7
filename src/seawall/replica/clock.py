"""The `Clock` contract: replicas wait and stamp by it, so a simulator can own their time."""

import asyncio
from typing import Protocol

from seawall.protocol.units import NS_PER_SECOND


class Clock(Protocol):
    """Whatever tells the time here. Outcomes never depend on it."""

    def now_ns(self) -> int:
        """Return nanoseconds since an epoch of the clock's own choice, for diagnostics."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; zero lets others run."""
        ...


class LoopClock:
    """The running event loop's own time, so that a loop in virtual time needs no other clock."""

    def now_ns(self) -> int:
        """Return the loop's time in nanoseconds."""
        return int(asyncio.get_running_loop().time() * NS_PER_SECOND)

    async def sleep(self, seconds: float) -> None:
        """Wait by the loop's own timers."""
        await asyncio.sleep(seconds)
