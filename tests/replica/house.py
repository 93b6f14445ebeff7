"""A house of replicas in one loop: a log, a lossy bus, and a disk for each replica."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from seawall.replica.assembly import Misreported, Position, Released
from seawall.replica.bus import Message
from seawall.replica.buses.memory import MemoryBus, MemoryHub
from seawall.replica.clock import LoopClock
from seawall.replica.disk import MemoryDisk
from seawall.replica.doors import Doors, Notice, PhaseChanged, Settings
from seawall.replica.evidence import EvidenceStore
from seawall.replica.findings import Finding
from seawall.replica.log import Log
from seawall.replica.logs.memory import MemoryLog, MemoryStore
from seawall.replica.machine import StateMachine
from seawall.replica.quarantine import Phase
from seawall.replica.release import Follower
from seawall.replica.replica import Replica
from seawall.replica.snapshots import SnapshotStore
from tests.replica.reference import Ledger, addition, genesis, key_of, roster_for

WAIT_S = 600.0
STEP_S = 0.01


class LossyHub(MemoryHub):
    """Loses one message in `lost_in` (0: none), by a seed of its own.

    `deaf_to` is the beginning of subjects that nobody hears.
    """

    def __init__(self, *, lost_in: int = 0, seed: int = 1) -> None:
        super().__init__()
        self.lost_in = lost_in
        self.chance = random.Random(seed)
        self.cut: list[MemoryBus] = []
        self.deaf_to: str | None = None
        self.heard: list[Message] = []

    def carry(self, sender: MemoryBus, message: Message) -> None:
        self.heard.append(message)
        if sender in self.cut:
            return
        if self.deaf_to is not None and message.subject.startswith(self.deaf_to):
            return
        for bus in self.buses:
            if bus in self.cut:
                continue
            if self.lost_in and self.chance.randrange(self.lost_in) == 0:
                continue
            bus.hear(message)


class House:
    """Replicas by name; each may be killed, started again and given another machine."""

    def __init__(self, *names: str, hub: LossyHub | None = None) -> None:
        self.names = names
        self.store = MemoryStore()
        self.hub = LossyHub() if hub is None else hub
        self.disks = {name: MemoryDisk() for name in names}
        self.evidence = {name: MemoryDisk() for name in names}
        self.machines: dict[str, Callable[[], StateMachine]] = dict.fromkeys(names, Ledger)
        self.logs: dict[str, Callable[[], Log]] = {}
        self.settings = Settings()
        self.replicas: dict[str, Replica] = {}
        self.buses: dict[str, MemoryBus] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.notices: dict[str, list[Notice]] = {name: [] for name in names}
        self.appended = 0

    async def append(self, payload: bytes) -> int:
        self.appended += 1
        return self.store.store(f"m{self.appended}", payload).seq

    async def append_many(self, count: int, *, padding: bytes = b"", pause_s: float = 0.0) -> int:
        seq = 0
        for _ in range(count):
            seq = await self.append(addition(self.appended, padding=padding))
            if pause_s:
                await asyncio.sleep(pause_s)
        return seq

    def start(self, name: str, *, snapshots: bool = True) -> Replica:
        assert name not in self.tasks
        bus = self.hub.bus()
        doors = Doors(
            log=self.logs[name]() if name in self.logs else MemoryLog(self.store),
            bus=bus,
            clock=LoopClock(),
            snapshots=SnapshotStore(self.disks[name]) if snapshots else None,
            evidence=EvidenceStore(self.evidence[name], replica=name),
        )
        replica = Replica(
            name=name,
            key=key_of(name),
            doors=doors,
            new_machine=self.machines[name],
            settings=self.settings,
            notice=self.notices[name].append,
        )
        self.replicas[name] = replica
        self.buses[name] = bus
        self.tasks[name] = asyncio.create_task(replica.run())
        return replica

    async def kill(self, name: str) -> None:
        task = self.tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.buses.pop(name).close()

    async def until(self, condition: Callable[[], bool], what: str = "") -> None:
        """Wait in virtual time; a task that ended with a bug ends the test with it."""
        waited_s = 0.0
        while not condition():
            for task in self.tasks.values():
                if task.done():
                    task.result()
            await asyncio.sleep(STEP_S)
            waited_s += STEP_S
            assert waited_s < WAIT_S, f"waited in vain: {what}"

    async def until_applied(self, seq: int, *names: str) -> None:
        chosen = names or tuple(self.replicas)
        await self.until(
            lambda: all(self.replicas[name].status().seq == seq for name in chosen),
            f"seq {seq} at {chosen}",
        )

    async def until_certified(self, seq: int, *names: str) -> None:
        chosen = names or tuple(self.replicas)
        await self.until(
            lambda: all(self.replicas[name].status().certified_seq >= seq for name in chosen),
            f"certificate of {seq} at {chosen}",
        )

    def phases(self, name: str) -> list[Phase]:
        return [n.standing.phase for n in self.notices[name] if isinstance(n, PhaseChanged)]

    def follower(
        self,
        *,
        position: Position | None = None,
        notices: list[Finding | Misreported] | None = None,
    ) -> Follower:
        heard: list[Finding | Misreported] = [] if notices is None else notices
        return Follower(
            bus=self.hub.bus(),
            clock=LoopClock(),
            roster=roster_for(*self.names),
            roster_of=Ledger().roster_of,
            position=position,
            notice=heard.append,
        )


@asynccontextmanager
async def open_house(
    *names: str, hub: LossyHub | None = None, checkpoint_entries: int = 10
) -> AsyncIterator[House]:
    """A house whose log is founded and whose replicas are still to be started."""
    house = House(*names, hub=hub)
    await house.append(genesis(*names, checkpoint_entries=checkpoint_entries))
    try:
        yield house
    finally:
        for name in list(house.tasks):
            await house.kill(name)


async def take(follower: Follower, last_seq: int) -> list[Released]:
    """Everything released up to `last_seq`, then leave."""
    got: list[Released] = []
    stream = follower.released()
    try:
        async with asyncio.timeout(WAIT_S):
            async for released in stream:
                got.append(released)
                if released.seq >= last_seq:
                    break
    finally:
        await stream.aclose()
    return got
