"""An event loop in virtual time: waiting costs nothing, and the same test runs the same way."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer when nothing is ready to run."""

    def __init__(self) -> None:
        super().__init__(_Impatient(self))
        self.virtual_s = 0.0

    def time(self) -> float:
        return self.virtual_s


class _Impatient(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        # Only threads and sockets wake a loop without timers, and these tests have none.
        assert timeout is not None, "everything waits for ever"
        if timeout > 0:
            self._loop.virtual_s += timeout
        return super().select(0)


def play(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time; what was left running is cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)
