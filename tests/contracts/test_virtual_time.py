"""The memory log and bus run under a loop that owns the time: no clock, no thread, no socket."""

import asyncio
import selectors
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from seawall.replica.bus import RequestFailed
from seawall.replica.buses.memory import MemoryHub
from seawall.replica.logs.memory import MemoryLog, MemoryStore

TRACE = list[tuple[float, str]]


class NothingComes(selectors.BaseSelector):
    """Waits by moving the clock; a wait without end is a deadlock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits and nothing will ever happen"
        self.now_s += max(0.0, timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """An hour takes no time."""

    def __init__(self) -> None:
        self._selected = NothingComes()
        super().__init__(self._selected)

    def time(self) -> float:
        return self._selected.now_s


async def play(trace: TRACE) -> None:
    """Two readers, three writers, a vote and a question, with pauses of minutes."""
    loop = asyncio.get_running_loop()
    store, hub = MemoryStore(), MemoryHub()
    logs = [MemoryLog(store) for _ in range(2)]
    buses = [hub.bus() for _ in range(2)]

    async def read(name: str, log: MemoryLog) -> None:
        async for entry in log.read(1):
            trace.append((loop.time(), f"{name} {entry.seq} {entry.payload.decode()}"))
            await buses[0].publish("vote.r1", entry.payload)
            await asyncio.sleep(7.0)

    async def write(sender: int) -> None:
        for number in range(40):
            await asyncio.sleep(60.0 * sender)
            await logs[sender % 2].append(f"{sender}:{number}", b"%d:%d" % (sender, number))

    async def hear() -> None:
        async for message in buses[1].subscribe("vote.>"):
            trace.append((loop.time(), f"heard {message.data.decode()}"))

    async def answer(data: bytes) -> bytes:
        await asyncio.sleep(1800.0)
        return data

    await buses[1].serve("query.seq", answer, group="replicas")
    tasks = [
        asyncio.ensure_future(task)
        for task in (read("a", logs[0]), read("b", logs[1]), hear(), *map(write, (1, 2, 3)))
    ]
    with pytest.raises(RequestFailed):
        await buses[0].request("query.seq", b"?", timeout_s=1799.0)
    assert loop.time() == 1799.0
    assert await buses[0].request("query.seq", b"?", timeout_s=1801.0) == b"?"
    assert loop.time() == 3599.0
    await asyncio.gather(*tasks[3:])
    await asyncio.sleep(3600.0)
    for log in logs:
        await log.close()
    for bus in buses:
        await bus.close()
    await asyncio.gather(*tasks[:3])


def run_once() -> TRACE:
    trace: TRACE = []
    loop = VirtualLoop()
    threads_before = threading.active_count()
    try:
        loop.run_until_complete(play(trace))
        assert threading.active_count() == threads_before
    finally:
        loop.close()
    return trace


def test_two_runs_are_equal() -> None:
    trace = run_once()
    assert sum(line.startswith("a ") for _, line in trace) == 120
    assert sum(line.startswith("heard ") for _, line in trace) == 240
    assert trace[-1][0] > 3600.0
    assert run_once() == trace
