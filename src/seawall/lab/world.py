"""The world: one house, one seed, one thread; faults first, then healing, then the verdict."""

import asyncio
import random
from collections import Counter

import msgspec

from seawall.lab.charter import KEYS, REPLICAS, ROLES, draw_genesis
from seawall.lab.checker import History, check_effects, judge
from seawall.lab.clockwork import Stalled, VirtualLoop, play
from seawall.lab.desk import Desk
from seawall.lab.nemesis import Nemesis
from seawall.lab.stations import (
    GatewayStation,
    ReplicaStation,
    Site,
    Station,
    WatchStation,
    describe,
)
from seawall.lab.tape import Tape
from seawall.lab.venue import Venue
from seawall.lab.weather import Weather
from seawall.lab.wires import WATCH, Wires
from seawall.lab.workload import Workload
from seawall.protocol.codec import encode_genesis, log_id_of
from seawall.replica import routing
from seawall.replica.log import Entry
from seawall.replica.machine import Roster
from seawall.replica.messages import Status

ENTRIES = 200
FAULTY_MAX_S = 240.0
"""Virtual seconds that the faulty phase may take before it is healed, full log or not."""
HEAL_MAX_S = 90.0
"""Virtual seconds after the last fault by which everything must have caught up."""
WATCH_S = 0.1
VOTE_INTERVALS_S = (0.005, 0.02, 0.05)
"""The production interval, and longer ones, in which votes span more entries."""
INTAKE_SENDERS = tuple(name for name in ROLES if name.split()[0] in ("clock", "source", "venue"))
OFFICE_SENDERS = tuple(name for name in ROLES if name not in INTAKE_SENDERS and name != "client b")


class Result(msgspec.Struct, frozen=True):
    """What became of one seed.

    Attributes
    ----------
    verdict : "valid", "invalid" or "unknown"
    reason : the first witness against it, empty if valid
    trace_digest : equal for equal seeds, over everything that reached the log or was released
    """

    seed: int
    entries: int
    verdict: str
    reason: str
    trace_digest: str
    faults: dict[str, int]
    states: dict[str, int]
    virtual_s: float


class World:
    """Everything inside one run."""

    def __init__(self, seed: int, entries: int) -> None:
        self.entries = entries
        self.loop = VirtualLoop()
        chance = random.Random(seed)
        self.weather = Weather(chance)
        genesis = draw_genesis(chance)
        payload = encode_genesis(genesis)
        self.roster = Roster(
            log_id=log_id_of(payload),
            epoch=1,
            keys=tuple((name, KEYS[name].public_key) for name in sorted(REPLICAS)),
        )
        self.tape = Tape(self.loop, self.weather)
        self.tape.entries.append(Entry(seq=1, payload=payload))
        self.wires = Wires(self.loop, self.weather, majority=len(REPLICAS) // 2 + 1)
        self.site = Site(
            self.loop,
            self.weather,
            self.wires,
            self.tape,
            self.roster,
            chance.choice(REPLICAS),
            chance.choice(VOTE_INTERVALS_S),
        )
        self.history = History(self.site)
        self.replicas = [ReplicaStation(self.site, name) for name in REPLICAS]
        intake = GatewayStation(self.site, "ga", INTAKE_SENDERS)
        self.venue = Venue(self.weather, self.loop.time)
        office = GatewayStation(self.site, "gb", OFFICE_SENDERS, venue=self.venue)
        self.gateways = [intake, office]
        self.watch = WatchStation(self.site, WATCH, on_released=self.history.take_released)
        homes = {
            **dict.fromkeys(INTAKE_SENDERS, intake),
            **dict.fromkeys(OFFICE_SENDERS, office),
            "client b": intake,
        }
        self.desk = Desk(self.site, homes)
        self.workload = Workload(self.desk, self.weather)
        self.venue.on_done = self.workload.take_done
        self.mortal: list[Station] = [*self.replicas, *self.gateways]
        self.nemesis = Nemesis(self.site, self.mortal, self.replicas)

    async def run(self) -> str:
        """Live through the faulty phase and the healing; return what failed to heal, or ''."""
        for station in (*self.mortal, self.watch):
            station.start()
        nemesis = asyncio.create_task(self.nemesis.run())
        reading = asyncio.create_task(self._read())
        trading = asyncio.create_task(self._trade())
        await asyncio.wait((trading,), timeout=FAULTY_MAX_S)
        tasks = (trading, nemesis, reading)
        for task in tasks:
            task.cancel()
        for wrong in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(wrong, Exception):
                self.history.blame(f"a client or the nemesis was stopped: {describe(wrong)}")
        self.weather.calm = True
        await self.nemesis.heal()
        missing = await self._converge()
        await self.workload.stop()
        for station in (*self.mortal, self.watch):
            await station.kill()
        return missing

    async def _trade(self) -> None:
        await self.workload.open()
        while len(self.tape.entries) < self.entries and not self._is_broken():
            await self.workload.round()

    async def _read(self) -> None:
        """Read as a client that wants to see what it has been acknowledged, now and then."""
        while True:
            await asyncio.sleep(self.weather.chance.uniform(0.02, 0.2))
            receipts = [r.receipt.seq for r in self.desk.requests[-9:] if r.receipt is not None]
            min_seq = max(receipts, default=0)
            readers = [
                reader_of(station.replica.status(), self.weather.chance.randrange(3))
                for station in self.replicas
                if station.is_up and station.replica is not None
            ]
            chosen = routing.choose_reader(readers, region="north", min_seq=min_seq)
            if isinstance(chosen, routing.Unroutable):
                self.history.states[f"read.{chosen.value}"] += 1
                continue
            self.history.states["read.answered"] += 1
            if chosen.seq < min_seq:
                self.history.blame(f"a read from {min_seq} on was answered at {chosen.seq}")
            if chosen.phase != "voting":
                self.history.blame(f"a read was answered by {chosen.replica}, {chosen.phase}")

    def _is_broken(self) -> bool:
        return any(station.stopped for station in (*self.mortal, self.watch))

    async def _converge(self) -> str:
        """Wait until all have caught up; return who has not, or ''."""
        waited_s = 0.0
        missing = self._missing()
        while missing and waited_s < HEAL_MAX_S and not self._is_broken():
            await asyncio.sleep(WATCH_S)
            waited_s += WATCH_S
            missing = self._missing()
        self.history.note("healed", f"{waited_s:.1f}")
        return missing

    def _missing(self) -> str:
        """Return what keeps the house from being whole again, or ''."""
        if not self.workload.idle:
            return "a request is still without an answer"
        end_seq = len(self.tape.entries)
        for station in self.replicas:
            if station.replica is None:
                return f"{station.name} has not begun"
            status = station.replica.status()
            if status.phase == "out":
                continue
            if (status.seq, status.phase) != (end_seq, "voting"):
                return f"{station.name} is {status.phase} at {status.seq} of {end_seq}"
            if status.certified_seq != end_seq:
                return f"{station.name} knows certificates up to {status.certified_seq}"
        for gateway in self.gateways:
            if gateway.gateway is None or gateway.gateway.progress.seq != end_seq:
                return f"{gateway.name} has not heard of everything"
            if gateway.gateway.kept_batches:
                return f"{gateway.name} keeps batches that are not released"
            interpreter = gateway.interpreter
            if interpreter is not None and any(
                effect.expires_at_ns >= interpreter.at_ns for effect in interpreter.outbox.values()
            ):
                return f"{gateway.name} has effects that are neither done nor expired"
        if self.history.released_seq != end_seq:
            return f"released up to {self.history.released_seq} of {end_seq}"
        return ""


def reader_of(status: Status, reads_waiting: int) -> routing.Reader:
    """Return a replica as a router of reads sees it."""
    return routing.Reader(
        replica=status.replica,
        region="north" if status.replica == REPLICAS[0] else "south",
        seq=status.seq,
        lag_entries=status.lag_entries,
        phase=status.phase,
        reads_waiting=reads_waiting,
    )


def run(seed: int, *, entries: int = ENTRIES, mutant: str | None = None) -> Result:
    """Return what becomes of one seed; the same seed always gives the same result.

    Parameters
    ----------
    entries : length of the log after which the house is healed and judged
    mutant : name of a bug from `lab.mutants` to break the house with
    """
    if mutant is not None:
        from seawall.lab.mutants import broken

        with broken(mutant):
            return _run(seed, entries)
    return _run(seed, entries)


def _run(seed: int, entries: int) -> Result:
    world = World(seed, entries)
    missing = ""
    try:
        missing = play(world.run(), world.loop)
    except Stalled as stalled:
        missing = f"stalled: {stalled}"
    history = world.history
    for station in (*world.mortal, world.watch):
        for stopped in station.stopped:
            history.blame(f"a process stopped: {stopped}")
    for broken_off in world.loop.broken:
        history.blame(f"nobody awaited: {broken_off}")
    if not history.witnesses and missing:
        history.blame(f"not whole again {HEAL_MAX_S:.0f} s after the last fault: {missing}")
    for forbidden in world.venue.wrong:
        history.blame(forbidden)
    check_effects(history, world.venue)
    verdict = judge(history, world.desk.requests, world.replicas, world.gateways, world.watch)
    states = Counter(history.states)
    for station in world.replicas:
        states.update(f"replica.{phase}" for phase in station.phases)
        states.update(f"notice.{kind}" for kind in station.notices)
    return Result(
        seed=seed,
        entries=len(world.tape.entries),
        verdict=verdict,
        reason=history.witnesses[0] if history.witnesses else "",
        trace_digest=history.trace_digest(),
        faults=dict(sorted(world.weather.struck.items())),
        states=dict(sorted(states.items())),
        virtual_s=round(world.loop.virtual_s, 3),
    )
