"""An event loop in virtual time: one thread, no waiting, the same order of events in every run."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heappop, heappush
from math import ceil
from types import TracebackType
from typing import Any, TypeVar, TypeVarTuple

from seawall.protocol.units import NS_PER_SECOND

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
EPOCH_NS = 1_700_000_000 * NS_PER_SECOND
"""What a simulated wall clock shows when a run begins."""
GRID_HZ = 1_000
"""Timers end on a grid of a millisecond, which makes turns of the loop few and busy."""
NS_PER_STEP = NS_PER_SECOND // GRID_HZ


class Stalled(Exception):
    """Everything waits for something that nothing will bring about."""


class Due(asyncio.TimerHandle):
    """A callback that waits for its turn; without one it was called off."""

    __slots__ = ("act", "args", "scope")

    def __init__(self, act: Callable[..., object], args: tuple[Any, ...], scope: Context) -> None:
        # The parent's own fields serve loops that print their callbacks; this one does not.
        self.act: Callable[..., object] | None = act
        self.args = args
        self.scope = scope

    def cancel(self) -> None:
        """Call it off."""
        self.act = None

    def cancelled(self) -> bool:
        """Tell whether it was called off, or has had its turn."""
        return self.act is None

    def __repr__(self) -> str:
        return f"Due({self.act!r})"


class VirtualLoop(asyncio.BaseEventLoop):
    """Jumps to the next timer when nothing is ready; a run without timers is stalled.

    Timers of one millisecond are a list under that millisecond, in the order in which they were
    set, so that keeping thousands of them in order costs next to nothing.

    Attributes
    ----------
    broken : what went wrong in places where nobody awaits the result
    """

    def __init__(self) -> None:
        super().__init__()
        self.broken: list[str] = []
        self._step = 0
        self._turn: deque[Due] = deque()
        self._due_by_step: dict[int, list[Due]] = {}
        self._steps: list[int] = []
        self._guard = _Guard(self.broken)
        self.set_exception_handler(self._note)

    @property
    def virtual_s(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._step / GRID_HZ

    @property
    def virtual_ns(self) -> int:
        """The same in nanoseconds."""
        return self._step * NS_PER_STEP

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._step / GRID_HZ

    def get_debug(self) -> bool:
        """Return False; every future asks."""
        return False

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Let a callback have its turn after all that are ready now."""
        due = Due(callback, args, copy_context() if context is None else context)
        self._turn.append(due)
        return due

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Do as `call_soon`: there is one thread, and nobody to wake."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a timer; see `call_at`."""
        return self.call_at(self._step / GRID_HZ + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Set a timer, on the grid: what falls between two of its lines happens in one turn."""
        due = Due(callback, args, copy_context() if context is None else context)
        # A sum of seconds may be a hair beyond the line that is meant.
        step = max(self._step, ceil(when * GRID_HZ - 1e-6))
        same = self._due_by_step.get(step)
        if same is None:
            self._due_by_step[step] = [due]
            heappush(self._steps, step)
        else:
            same.append(due)
        return due

    def _run_once(self) -> None:
        """Give everybody who is ready a turn; `run_forever` calls this again and again."""
        turn = self._turn
        while not turn:
            self._jump()
        with self._guard:
            for _ in range(len(turn)):
                due = turn.popleft()
                act = due.act
                if act is not None:
                    due.act = None
                    due.scope.run(act, *due.args)

    def _jump(self) -> None:
        """Move the clock to the next timer that was not called off."""
        if not self._steps:
            raise Stalled("nothing is ready and no timer is set")
        step = heappop(self._steps)
        self._turn.extend(due for due in self._due_by_step.pop(step) if due.act is not None)
        if self._turn:
            self._step = step

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what nobody awaited: in a simulation a bug must never pass unseen."""
        wrong = context.get("exception")
        self.broken.append(f"{context.get('message')}: {wrong!r}")

    def _process_events(self, event_list: list[Any]) -> None:
        """Do nothing: no file is ever watched."""


class _Guard:
    """Notes what a callback raises and lets the rest of the turn go on, as every loop does."""

    def __init__(self, broken: list[str]) -> None:
        self._broken = broken

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        wrong: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if wrong is None or isinstance(wrong, KeyboardInterrupt | SystemExit):
            return False
        self._broken.append(f"a callback raised {wrong!r}")
        return True


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
        return EPOCH_NS + self.offset_ns + self._loop.virtual_ns

    def monotonic_ns(self) -> int:
        """Return time that never runs backwards."""
        return self._loop.virtual_ns

    async def sleep(self, seconds: float) -> None:
        """Wait by the loop's timers, and for as long as the node is paused."""
        await asyncio.sleep(seconds * self._drift)
        if self.paused is not None:
            await self.awake()

    async def awake(self) -> None:
        """Return once the node is not paused."""
        while self.paused is not None:
            await self.paused.wait()


def play(coroutine: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run to the end in virtual time; what was left running is cancelled."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(coroutine)
