"""Wiring: the only file where the concrete classes of a node meet."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import msgspec

from seawall.clearing.house import check_genesis
from seawall.clearing.machine import Machine
from seawall.node.bookmark import read_bookmark
from seawall.node.charter import Charter, CharterFault
from seawall.node.clock import Backoff, SystemClock
from seawall.node.effects import Door
from seawall.node.feed import Feed, Notice, roster_of_terms, start_of
from seawall.node.front import Front, FrontDoors
from seawall.node.gateway import Intake
from seawall.node.journal import JournalFolder
from seawall.protocol.codec import decode_outcome
from seawall.protocol.events import ReplicasSet
from seawall.protocol.signatures import SigningKey
from seawall.replica.bus import Bus
from seawall.replica.buses.memory import MemoryHub
from seawall.replica.disk import FolderDisk
from seawall.replica.doors import Doors, Settings
from seawall.replica.doors import Notice as ReplicaNotice
from seawall.replica.evidence import EvidenceStore
from seawall.replica.log import Entry, Log, LogFault
from seawall.replica.logs.jetstream import JetStreamLog, NatsBus, NatsLink
from seawall.replica.logs.sqlite import SqliteLog
from seawall.replica.machine import NOBODY, Roster, StateMachine
from seawall.replica.reading import read_steadily
from seawall.replica.replica import Replica
from seawall.replica.snapshots import SnapshotStore

MachineFactory = Callable[[], StateMachine]
PATIENCE_S = 60.0


class ClearingMachine(Machine):
    """The clearing house in the words of `replica.machine.StateMachine`."""

    def __init__(self) -> None:
        super().__init__()
        self._roster = NOBODY

    def roster(self) -> Roster:
        """Return the replica set in state: who votes on the next entry."""
        log_id, epoch, replicas = self.replicas()
        # Asked for with every entry, and made anew with an epoch only.
        if (self._roster.log_id, self._roster.epoch) != (log_id, epoch):
            self._roster = roster_of_terms(log_id, epoch, replicas)
        return self._roster

    def roster_of(self, outcome: bytes) -> Roster | None:
        """Return the replica set that this outcome puts in force, if it does."""
        # Most outcomes have no such event, and none without its name can have one.
        if ReplicasSet.__name__.encode() not in outcome:
            return None
        sets = [event for event in decode_outcome(outcome).events if isinstance(event, ReplicasSet)]
        if not sets:
            return None
        return roster_of_terms(sets[-1].log_id, sets[-1].epoch, sets[-1].replicas)


class Network(msgspec.Struct, frozen=True):
    """A process's way to the log and to the other processes."""

    log: Log
    bus: Bus


async def open_nats(
    stack: AsyncExitStack, urls: Sequence[str], name: str, *, patience_s: float = PATIENCE_S
) -> Network:
    """Connect to the broker; closed with the stack.

    Raises
    ------
    LogUnavailable
        None of its nodes answered in time.
    """
    link = await NatsLink.open(urls, name=name, patience_s=patience_s)
    stack.push_async_callback(link.close)
    log = JetStreamLog(link)
    stack.push_async_callback(log.close)
    bus = NatsBus(link)
    stack.push_async_callback(bus.close)
    return Network(log=log, bus=bus)


def open_sqlite(stack: AsyncExitStack, path: Path) -> Log:
    """Open the embedded log, made if it is not there; closed with the stack."""
    log = SqliteLog(path, poll_s=None)
    stack.push_async_callback(log.close)
    return log


def open_hub(stack: AsyncExitStack) -> Callable[[], Bus]:
    """Return a maker of buses that hear each other in this process; closed with the stack."""
    hub = MemoryHub()

    def connect() -> Bus:
        bus = hub.bus()
        stack.push_async_callback(bus.close)
        return bus

    return connect


class ReplicaPlan(msgspec.Struct, frozen=True):
    """What one replica is, apart from its network; it keeps snapshots and evidence in `folder`."""

    name: str
    key: SigningKey
    folder: Path
    settings: Settings = Settings()
    new_machine: MachineFactory = ClearingMachine


def make_replica(
    plan: ReplicaPlan, network: Network, notice: Callable[[ReplicaNotice], None]
) -> Replica:
    """Return the replica that the plan describes."""
    evidence = FolderDisk(plan.folder / "evidence", writer=plan.name)
    snapshots = FolderDisk(plan.folder / "snapshots", writer=plan.name)
    return Replica(
        name=plan.name,
        key=plan.key,
        doors=Doors(
            log=network.log,
            bus=network.bus,
            clock=SystemClock(),
            snapshots=SnapshotStore(snapshots),
            evidence=EvidenceStore(evidence, replica=plan.name),
        ),
        new_machine=plan.new_machine,
        settings=plan.settings,
        notice=notice,
    )


async def make_front(
    charter: Charter,
    network: Network,
    folder: Path,
    *,
    venue: Door | None = None,
    intake: Intake | None = None,
) -> Front:
    """Return the front of a node that keeps its journals and its bookmark in `folder`.

    It signs for all senders whose keys the charter has.
    """
    disk = FolderDisk(folder / "bookmark", writer="front")
    return Front(
        charter.genesis,
        charter.sender_keys(),
        FrontDoors(
            log=network.log,
            bus=network.bus,
            clock=SystemClock(),
            journals=JournalFolder(folder / "journals"),
            disk=disk,
            venue=venue,
        ),
        new_machine=ClearingMachine,
        intake=intake,
        bookmark=await read_bookmark(disk, charter.log_id),
    )


def make_feed(charter: Charter, network: Network, notice: Notice) -> Feed:
    """Return a feed from entry 1 on."""
    roster = roster_of_terms(charter.log_id, 1, charter.genesis.replicas)
    return Feed(
        network.log,
        network.bus,
        SystemClock(),
        start=start_of(charter.log_id, roster),
        new_machine=ClearingMachine,
        notice=notice,
    )


async def append_genesis(charter: Charter, log: Log) -> None:
    """Make the charter's genesis entry 1 of the log, if the log is empty.

    Raises
    ------
    CharterFault
        The machine would refuse this genesis, or the log is another house's.
    """
    refusal = check_genesis(charter.genesis)
    if refusal is not None:
        raise CharterFault(f"genesis: {refusal[1]}: {refusal[0].name}")
    backoff = Backoff(SystemClock())
    while True:
        try:
            await log.append(f"genesis.{charter.log_id.hex()}", charter.payload)
            entry = await read_first(log)
        except LogFault:
            await backoff.pause()
            continue
        if entry.payload != charter.payload:
            raise CharterFault("the log belongs to another house")
        return


async def read_first(log: Log) -> Entry:
    """Return entry 1, as soon as there is one. Raises `LogFault`."""
    async with aclosing(read_steadily(log, SystemClock(), 1, lambda _: None)) as entries:
        return await anext(entries)
