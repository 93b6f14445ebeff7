"""An event loop in virtual time: one thread, no waiting, the same order of events in every run."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from math import ceil
from typing import Any, TypeVar, TypeVarTuple

from seawall.protocol.units import NS_PER_SECOND

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
EPOCH_NS = 1_700_000_000 * NS_PER_SECOND
"""What a simulated wall clock shows when a run begins."""
GRID_HZ = 1_000.0
"""Timers end on a grid of a millisecond, which makes turns of the loop few and busy."""


class Stalled(Exception):
    """Everything waits for something that nothing will bring about."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer when nothing is ready; a run without timers is stalled."""

    def __init__(self) -> None:
        super().__init__(_Jump(self))
        self.virtual_s = 0.0
        self.broken: list[str] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self.virtual_s

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a timer, on the grid: what falls between two of its lines happens in one turn."""
        return super().call_at(ceil(when * GRID_HZ) / GRID_HZ, callback, *args, context=context)

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what nobody awaited: in a simulation a bug must never pass unseen."""
        wrong = context.get("exception")
        self.broken.append(f"{context.get('message')}: {wrong!r}")


class _Jump(selectors.BaseSelector):
    """A selector without files: told to wait, it moves the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Remember a file, which will never become ready."""
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = selectors.SelectorKey(fileobj, number, events, data)
        self._keys[number] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Forget a file."""
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return nothing, later."""
        if timeout is None:
            raise Stalled("nothing is ready and no timer is set")
        if timeout > 0:
            self._loop.virtual_s += timeout
        return []

    def get_map(self) -> dict[int, selectors.SelectorKey]:  # type: ignore[override]
        """Return the files registered, by number."""
        return self._keys


class SimClock:
    """A node's clock: its own idea of the date, the loop's timers, and a gate while it is paused.

    Parameters
    ----------
    drift : how many true seconds a second of this clock lasts
    """

    def __init__(self, loop: VirtualLoop, *, offset_ns: int = 0, drift: float = 1.0) -> None:
        self.offset_ns = offset_ns
        self.paused: asyncio.Event | None = None
        """Set while the node stands still; whoever resumes it sets the event."""
        self._loop = loop
        self._drift = drift

    def now_ns(self) -> int:
        """Return the date as this node sees it; it may jump."""
        return EPOCH_NS + self.offset_ns + int(self._loop.virtual_s * NS_PER_SECOND)

    def monotonic_ns(self) -> int:
        """Return time that never runs backwards."""
        return int(self._loop.virtual_s * NS_PER_SECOND)

    async def sleep(self, seconds: float) -> None:
        """Wait by the loop's timers, and for as long as the node is paused."""
        await asyncio.sleep(seconds * self._drift)
        await self.awake()

    async def awake(self) -> None:
        """Return once the node is not paused."""
        while self.paused is not None:
            await self.paused.wait()


def play(coroutine: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run to the end in virtual time; what was left running is cancelled."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(coroutine)
