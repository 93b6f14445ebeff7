"""The stations of a simulated house: production processes that start, pause, die and come back."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from seawall.lab.charter import IDS, KEYS
from seawall.lab.clockwork import SimClock, VirtualLoop
from seawall.lab.platters import Drawer, Platter
from seawall.lab.seats import Liar
from seawall.lab.tape import Tape, TapeReader
from seawall.lab.venue import Venue, VenueDoor
from seawall.lab.weather import Weather
from seawall.lab.wires import Endpoint, Wires
from seawall.node.effects import Interpreter
from seawall.node.feed import Feed, Taker, follow, start_of
from seawall.node.gateway import Gateway, Intake
from seawall.node.wiring import ClearingMachine
from seawall.protocol.digest import genesis_chain
from seawall.protocol.signatures import SigningKey
from seawall.protocol.units import NS_PER_SECOND
from seawall.replica.assembly import Misreported, Position, Released
from seawall.replica.doors import Doors, Notice, PhaseChanged, Settings
from seawall.replica.evidence import EvidenceStore
from seawall.replica.findings import Dissent, Equivocation, Finding
from seawall.replica.machine import Roster, StateMachine
from seawall.replica.messages import decode, encode
from seawall.replica.quarantine import Phase, Standing
from seawall.replica.release import Follower
from seawall.replica.replica import Replica
from seawall.replica.snapshots import SnapshotStore
from seawall.replica.tasks import race
from seawall.replica.votes import Vote, cast_vote

T = TypeVar("T")

INTAKE = Intake(patience_s=2.0, ahead_entries_max=64)
SKEW_S = 5.0


class Lost(Exception):
    """The process that was to answer is gone."""


class Site(msgspec.Struct, frozen=True):
    """What all stations of one run share."""

    loop: VirtualLoop
    weather: Weather
    wires: Wires
    tape: Tape
    roster: Roster
    suspect: str
    """The one replica that may lie, vote twice and be served corrupted entries."""
    vote_interval_s: float


class Station:
    """One place where a process runs, life after life.

    Attributes
    ----------
    stopped : why a life ended by itself, which no process of this house may
    named : (name, finding) -> when anybody here first accused them of it
    """

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.name = name
        self.lives = 0
        self.stopped: list[str] = []
        self.named: dict[tuple[str, str], float] = {}
        self.clock = SimClock(site.loop)
        self._bus: Endpoint | None = None
        self._reader: TapeReader | None = None
        self._task: asyncio.Task[None] | None = None
        self._calls: dict[asyncio.Future[Any], None] = {}

    @property
    def is_up(self) -> bool:
        """Whether the process lives, paused or not."""
        return self._task is not None

    def start(self) -> None:
        """Begin a life: new process, new clock, the same disks."""
        assert self._task is None
        weather = self.site.weather
        self.lives += 1
        skewed_s = weather.chance.uniform(-SKEW_S, SKEW_S)
        self.clock = SimClock(
            self.site.loop,
            offset_ns=int(skewed_s * NS_PER_SECOND),
            drift=weather.chance.uniform(0.99, 1.01),
        )
        self._bus = self._plug_in()
        suspect = self.name == self.site.suspect
        self._reader = TapeReader(self.site.tape, self.name, self.clock, suspect=suspect)
        self._task = asyncio.create_task(self._live(self._bus, self._reader))
        self._task.add_done_callback(self._note_end)

    async def kill(self, *, power_lost: bool = False) -> None:
        """End the life between two steps of the process; nothing of it acts any more."""
        task, bus, reader = self._task, self._bus, self._reader
        if task is None or bus is None or reader is None:
            return
        self._task = None
        bus.unplug()
        reader.hang_up()
        self._end_life(power_lost=power_lost)
        # In the order in which they began: a set would end them by their addresses.
        calls, self._calls = self._calls, {}
        ending = (task, *calls)
        for each in ending:
            each.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await bus.drop_answers()

    def pause(self) -> None:
        """Stand still, as under SIGSTOP."""
        if self.clock.paused is None:
            self.clock.paused = asyncio.Event()

    def go_on(self) -> None:
        """Continue after a pause."""
        if self.clock.paused is not None:
            self.clock.paused.set()
            self.clock.paused = None
            if self._bus is not None and self.is_up:
                self._bus.go_on()

    async def call(self, act: Coroutine[Any, Any, T]) -> T:
        """Run a request inside the process. Raises `Lost` if the process dies before it ends."""
        work = asyncio.create_task(act)
        calls = self._calls
        calls[work] = None
        try:
            await asyncio.wait((work,))
        finally:
            work.cancel()
            calls.pop(work, None)
        if calls is not self._calls or work.cancelled():
            raise Lost(self.name)
        return work.result()

    def _plug_in(self) -> Endpoint:
        return self.site.wires.endpoint(self.name, self.clock)

    async def _live(self, bus: Endpoint, reader: TapeReader) -> None:
        raise AssertionError("a station is one of the kinds below")

    def _end_life(self, *, power_lost: bool) -> None:
        """Let nothing of this life reach a disk."""

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        wrong = task.exception()
        if self._task is task or wrong is not None:
            self.stopped.append(f"{self.name}: {describe(wrong)}")

    def _hear(self, notice: object) -> None:
        if isinstance(notice, Dissent | Equivocation):
            key = (notice.replica, type(notice).__name__)
            self.named.setdefault(key, self.site.loop.virtual_s)
        elif isinstance(notice, Misreported):
            self.named.setdefault((notice.replica, "Misreported"), self.site.loop.virtual_s)


def describe(wrong: BaseException | None) -> str:
    """Return where and how a process ended, in one line."""
    if wrong is None:
        return "ended"
    if isinstance(wrong, BaseExceptionGroup):
        return describe(wrong.exceptions[0])
    trace = wrong.__traceback__
    place = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_filename.rpartition('seawall/')[2]}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next
    return f"{wrong!r} at {place}"


class TwoFaced(Endpoint):
    """The network place of the suspect, which now and then signs a second chain as well."""

    roster: Roster | None = None

    async def publish(self, subject: str, data: bytes) -> None:
        """Publish, and contradict oneself."""
        await super().publish(subject, data)
        if not subject.startswith("vote.") or self._closed or self.roster is None:
            return
        if not self._wires.weather.strikes("replica_votes_twice"):
            return
        vote = decode(Vote, data)
        assert vote is not None
        chains = self._wires.weather.chance.randbytes(len(vote.chains))
        second = cast_vote(
            KEYS[self.name],
            roster=msgspec.structs.replace(self.roster, epoch=vote.epoch),
            replica=self.name,
            first_seq=vote.first_seq,
            chains=chains,
        )
        await super().publish(subject, encode(second))


class ReplicaStation(Station):
    """A replica with its disks.

    Attributes
    ----------
    phases, notices : what the replicas of all lives told, in order
    lies : entries of which it told a lie
    early : returns to voting that came too early
    """

    def __init__(self, site: Site, name: str) -> None:
        super().__init__(site, name)
        self.snapshots = Platter(site.weather, self.clock)
        self.evidence = Platter(site.weather, self.clock)
        self.replica: Replica | None = None
        self.phases: list[str] = []
        self.notices: list[str] = []
        self.lies: list[int] = []
        self.early: list[str] = []

    def _plug_in(self) -> Endpoint:
        if self.name != self.site.suspect:
            return super()._plug_in()
        bus = TwoFaced(self.site.wires, self.name, self.clock)
        bus.roster = self.site.roster
        self.site.wires.buses.append(bus)
        return bus

    async def _live(self, bus: Endpoint, reader: TapeReader) -> None:
        self.snapshots.clock = self.evidence.clock = self.clock
        replica = Replica(
            name=self.name,
            key=KEYS[self.name],
            doors=Doors(
                log=reader,
                bus=bus,
                clock=self.clock,
                snapshots=SnapshotStore(self.snapshots, kept=2),
                evidence=EvidenceStore(self.evidence, replica=self.name),
            ),
            new_machine=self._new_machine,
            settings=Settings(
                log_id=self.site.roster.log_id, vote_interval_s=self.site.vote_interval_s
            ),
            notice=self._take_notice,
        )
        self.replica = replica
        await replica.run()

    def _check_return(self, standing: Standing) -> None:
        """Whoever votes again after an offence has nothing left that it might sign anew."""
        assert self.replica is not None
        certified_seq = self.replica.status().certified_seq
        if standing.phase is Phase.VOTING and certified_seq <= standing.voted_seq:
            self.early.append(
                f"{self.name} votes again at {certified_seq} and had signed {standing.voted_seq}"
            )

    def _new_machine(self) -> StateMachine:
        if self.name != self.site.suspect:
            return ClearingMachine()
        liar = Liar(self.site.weather)
        liar.lies = self.lies
        return liar

    def _take_notice(self, notice: Notice) -> None:
        self._hear(notice)
        if isinstance(notice, PhaseChanged):
            self.phases.append(notice.standing.phase.value)
            self._check_return(notice.standing)
        self.notices.append(type(notice).__name__)


class GatewayStation(Station):
    """A gateway with the feed that drives it, and the interpreter of effects if it has a venue.

    Parameters
    ----------
    senders : names of those whose keys it holds
    venue : where effects take place; None if effects are another station's
    """

    def __init__(
        self,
        site: Site,
        name: str,
        senders: tuple[str, ...],
        *,
        venue: Venue | None = None,
    ) -> None:
        super().__init__(site, name)
        self.interpreter: Interpreter | None = None
        self._venue = venue
        self.drawer = Drawer(site.weather, self.clock)
        self.gateway: Gateway | None = None
        self._keys: dict[int, SigningKey] = {IDS[sender]: KEYS[sender] for sender in senders}

    async def _live(self, bus: Endpoint, reader: TapeReader) -> None:
        site = self.site
        self.drawer.clock = self.clock
        gateway = Gateway(
            site.roster.log_id, reader, self.clock, self._keys, self.drawer, intake=INTAKE
        )
        feed = Feed(
            reader,
            bus,
            self.clock,
            start=start_of(site.roster.log_id, site.roster),
            new_machine=ClearingMachine,
            notice=self._hear,
        )
        self.gateway = gateway
        takers = [Taker(gateway.take)]
        work: list[Coroutine[Any, Any, None]] = [gateway.run()]
        if self._venue is not None:
            door = VenueDoor(
                self._venue, site.weather, self.clock, lambda: site.wires.certified_seq
            )
            interpreter = Interpreter(
                IDS["effects"], gateway, door, reader, self.clock, lambda: feed.certified_seq
            )
            door.interpreter = self.interpreter = interpreter
            takers.append(Taker(interpreter.take))
            work.append(interpreter.run())
        await race(*work, follow(feed.joined(), tuple(takers)))

    def _end_life(self, *, power_lost: bool) -> None:
        self.gateway = None
        self.interpreter = None
        self.drawer.end_life(power_lost=power_lost)


class WatchStation(Station):
    """An outsider who knows only public keys, follows what is released, and never dies."""

    def __init__(self, site: Site, name: str, *, on_released: Callable[[Released], None]) -> None:
        super().__init__(site, name)
        self._on_released = on_released

    async def _live(self, bus: Endpoint, reader: TapeReader) -> None:
        roster = self.site.roster
        follower = Follower(
            bus=bus,
            clock=self.clock,
            roster=roster,
            roster_of=ClearingMachine().roster_of,
            position=Position(seq=0, chain=genesis_chain(roster.log_id)),
            notice=self._take_finding,
        )
        async for released in follower.released():
            self._on_released(released)

    def _take_finding(self, finding: Finding | Misreported) -> None:
        self._hear(finding)
