"""Where a log or a bus under test lives: how to open one, and how to crash what is behind it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from seawall.node.cluster import LocalCluster
from seawall.replica.bus import Bus
from seawall.replica.buses.memory import MemoryHub
from seawall.replica.log import Appended, AppendRefused, AppendUnknown, Entry, Log
from seawall.replica.logs.jetstream import JetStreamLog, NatsBus, NatsLink, create_stream
from seawall.replica.logs.memory import MemoryLog, MemoryStore
from seawall.replica.logs.sqlite import SqliteLog

# Ends a test that hangs; no test measures with it.
HANG_S = 40.0
MESSAGES_MAX = 4


class LogSite(Protocol):
    """One log, opened as often as a test likes."""

    async def open(self) -> Log:
        """Another process' view of the same log."""
        ...

    async def crash(self) -> None:
        """End abruptly what holds the log, as often as it takes, and bring it back."""
        ...

    async def close(self) -> None:
        """Close all that was opened."""
        ...


class MemorySite:
    """A store; a crash closes the logs on it, for nothing in memory outlives more."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._logs: list[MemoryLog] = []

    async def open(self) -> Log:
        log = MemoryLog(self._store)
        self._logs.append(log)
        return log

    async def crash(self) -> None:
        await self.close()

    async def close(self) -> None:
        for log in self._logs:
            await log.close()


class SqliteSite:
    """A file; a crash copies file and write-ahead log as they lie and goes on with the copy."""

    def __init__(self, folder: Path, *, threaded: bool) -> None:
        self._folder = folder
        self._threaded = threaded
        self._logs: list[SqliteLog] = []
        self._crashes_count = 0

    @property
    def path(self) -> Path:
        return self._folder / f"log{self._crashes_count}.db"

    async def open(self) -> Log:
        log = SqliteLog(self.path, threaded=self._threaded, poll_s=0.01)
        self._logs.append(log)
        return log

    async def crash(self) -> None:
        # Another process copies: to close a file here would drop SQLite's locks on it.
        before = self.path
        self._crashes_count += 1
        for suffix in ("", "-wal"):
            copy = await asyncio.create_subprocess_exec(
                "cp", f"{before}{suffix}", f"{self.path}{suffix}"
            )
            assert await copy.wait() == 0

    async def close(self) -> None:
        for log in self._logs:
            await log.close()


class JetStreamSite:
    """A stream on a cluster; a crash is SIGKILL to all of its nodes at once."""

    def __init__(self, cluster: LocalCluster, stream: str) -> None:
        # The same processes, seen with this stream in mind.
        self.cluster = LocalCluster(cluster.folder, stream=stream)
        self.stream = stream
        self._links: list[NatsLink] = []
        self._logs: list[JetStreamLog] = []

    async def prepare(self) -> None:
        """Create the stream."""
        await create_stream(await self._link(), stream=self.stream)

    async def open(self) -> JetStreamLog:
        log = JetStreamLog(await self._link(), stream=self.stream)
        self._logs.append(log)
        return log

    async def crash(self) -> None:
        await self.cluster.kill_all()
        for name in self.cluster.names:
            await self.cluster.restart(name, wait=False)
        for name in self.cluster.names:
            await self.cluster.wait_healthy(name)

    async def close(self) -> None:
        for log in self._logs:
            await log.close()
        for link in self._links:
            await link.close()

    async def _link(self) -> NatsLink:
        # Each link begins at another node, as processes do.
        link = await NatsLink.open(self.cluster.urls(len(self._links)), name=self.stream)
        self._links.append(link)
        return link


class BusSite(Protocol):
    """One network, with as many endpoints as a test likes."""

    async def open(self) -> Bus:
        """A new endpoint whose subscriptions hold `MESSAGES_MAX` messages."""
        ...

    async def close(self) -> None:
        """Close all endpoints."""
        ...


class MemoryBusSite:
    """Endpoints of one hub."""

    def __init__(self) -> None:
        self._hub = MemoryHub()
        self._buses: list[Bus] = []

    async def open(self) -> Bus:
        bus = self._hub.bus(messages_max=MESSAGES_MAX)
        self._buses.append(bus)
        return bus

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()


class NatsBusSite:
    """Endpoints on different nodes of a cluster."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self._buses: list[Bus] = []

    async def open(self) -> Bus:
        link = await NatsLink.open(self._cluster.urls(len(self._buses)), name="bus")
        bus = NatsBus(link, owns_link=True, messages_max=MESSAGES_MAX)
        self._buses.append(bus)
        return bus

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()


async def take(entries: AsyncIterator[Entry], count: int) -> list[Entry]:
    """The next `count` entries."""
    taken: list[Entry] = []
    async with asyncio.timeout(HANG_S):
        while len(taken) < count:
            taken.append(await anext(entries))
    return taken


async def read_all(log: Log, first_seq: int = 1) -> list[Entry]:
    """What the log holds now from `first_seq` on."""
    return await take(log.read(first_seq), await log.last_seq() - first_seq + 1)


async def insist(log: Log, message_id: str, payload: bytes) -> Appended:
    """Append as a gateway does: the same id again until it is acknowledged."""
    async with asyncio.timeout(HANG_S):
        while True:
            try:
                return await log.append(message_id, payload)
            except (AppendRefused, AppendUnknown):
                await asyncio.sleep(0.05)
