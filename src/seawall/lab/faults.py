"""Faults: what is broken on purpose while prices fall, when, and how long it took to heal."""

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from seawall.lab.cast import REPLICAS, SOURCES
from seawall.lab.pulse import Window
from seawall.lab.watch import Watch, until
from seawall.node.clock import Clock
from seawall.node.house import House
from seawall.protocol.units import NS_PER_MINUTE
from seawall.replica.quarantine import Phase

LIAR_MODULE = "seawall.lab.liar"
LIE_SIGNAL = signal.SIGUSR1
VICTIM, LIAR = REPLICAS[0], REPLICAS[2]
LYING_SOURCE = SOURCES[1]
LYING_MINUTES = 5
WATCHED_ENTRIES = 20
"""Gaps are looked for until this many entries more were released than the log held at the fault:
long enough to see whether releases went on, short enough that the ordinary tail stays out."""
PATIENCE_S = 90.0


class Kind(StrEnum):
    """What is broken."""

    REPLICA_KILLED = "replica_killed"
    REPLICA_LIED = "replica_lied"
    LOG_LEADER_KILLED = "log_leader_killed"
    SOURCE_LIED = "source_lied"
    VENUE_OUTAGE = "venue_outage"


class Plan(msgspec.Struct, frozen=True):
    """When each fault is due, in market time; all while prices fall."""

    replica_killed: datetime
    replica_lied: datetime
    log_leader_killed: datetime
    source_lied: datetime


PLANS = {
    ("march-2020", False): Plan(
        replica_killed=datetime(2020, 3, 12, 10, 40, tzinfo=UTC),
        log_leader_killed=datetime(2020, 3, 12, 23, 10, tzinfo=UTC),
        replica_lied=datetime(2020, 3, 13, 1, 45, tzinfo=UTC),
        source_lied=datetime(2020, 3, 13, 2, 7, tzinfo=UTC),
    ),
    ("march-2020", True): Plan(
        replica_killed=datetime(2020, 3, 13, 0, 40, tzinfo=UTC),
        replica_lied=datetime(2020, 3, 13, 1, 45, tzinfo=UTC),
        log_leader_killed=datetime(2020, 3, 13, 2, 1, tzinfo=UTC),
        source_lied=datetime(2020, 3, 13, 2, 7, tzinfo=UTC),
    ),
    ("may-2021", False): Plan(
        replica_killed=datetime(2021, 5, 19, 11, 22, tzinfo=UTC),
        replica_lied=datetime(2021, 5, 19, 12, 42, tzinfo=UTC),
        log_leader_killed=datetime(2021, 5, 19, 12, 47, tzinfo=UTC),
        source_lied=datetime(2021, 5, 19, 13, 1, tzinfo=UTC),
    ),
    ("may-2021", True): Plan(
        replica_killed=datetime(2021, 5, 19, 12, 6, tzinfo=UTC),
        replica_lied=datetime(2021, 5, 19, 12, 42, tzinfo=UTC),
        log_leader_killed=datetime(2021, 5, 19, 12, 47, tzinfo=UTC),
        source_lied=datetime(2021, 5, 19, 13, 1, tzinfo=UTC),
    ),
}


class Incident(msgspec.Struct):
    """One fault as it happened; times are monotonic."""

    kind: Kind
    who: str
    at_seq: int
    market_ns: int
    watched: Window
    """Where gaps are looked for."""
    healed_ns: int = 0
    """0 while it has not healed."""


class Faults:
    """Breaks things when they are due, one at a time: two could take the majority away.

    Attributes
    ----------
    incidents : in order of their beginning
    waited_ns : how long the market stood still until the fault before had healed
    """

    def __init__(
        self, plan: Plan, house: House, watch: Watch, clock: Clock, say: Callable[[str], None]
    ) -> None:
        self.incidents: list[Incident] = []
        self.waited_ns = 0
        self._house = house
        self._watch = watch
        self._clock = clock
        self._say = say
        self._market_ns = 0
        self._lie_from_ns = _ns(plan.source_lied)
        self._lie: Incident | None = None
        due = (
            (plan.replica_killed, self._kill_replica),
            (plan.replica_lied, self._make_lie),
            (plan.log_leader_killed, self._kill_log_leader),
        )
        self._due = sorted((_ns(at), at.isoformat(), act) for at, act in due)
        self._task: asyncio.Task[None] | None = None

    async def begin_minute(self, market_ns: int) -> str | None:
        """Start what is due in this minute; return the source that lies in it, if one does."""
        self._market_ns = market_ns
        if self._due and market_ns >= self._due[0][0]:
            began_ns = self._clock.monotonic_ns()
            await self._end_last()
            self.waited_ns += self._clock.monotonic_ns() - began_ns
            _, _, act = self._due.pop(0)
            self._task = asyncio.create_task(act())
        return self._lying_source(market_ns)

    async def heal(self) -> None:
        """Return when all that was begun has healed, or will not."""
        await self._end_last()
        self._lying_source(self._lie_from_ns + LYING_MINUTES * NS_PER_MINUTE)

    async def _end_last(self) -> None:
        if self._task is not None:
            await self._task
            self._task = None

    def _lying_source(self, market_ns: int) -> str | None:
        until_ns = self._lie_from_ns + LYING_MINUTES * NS_PER_MINUTE
        if self._lie_from_ns <= market_ns < until_ns:
            if self._lie is None:
                self._lie = self._begin(Kind.SOURCE_LIED, LYING_SOURCE)
            return LYING_SOURCE
        if self._lie is not None:
            self._end_watch(self._lie)
            self._lie.healed_ns = self._clock.monotonic_ns()
            self._lie = None
        return None

    # What is broken.

    async def _kill_replica(self) -> None:
        await self._flowing()
        incident = self._begin(Kind.REPLICA_KILLED, VICTIM)
        await self._house.kill(VICTIM)
        await self._watch_on(incident)
        self._house.launch(VICTIM)
        if await self._votes_again(VICTIM):
            self._heal(incident, "has caught up and votes again")

    async def _make_lie(self) -> None:
        await self._flowing()
        incident = self._begin(Kind.REPLICA_LIED, LIAR)
        self._house.crew.signal(LIAR, LIE_SIGNAL)
        await self._watch_on(incident)
        named = await until(lambda: bool(self._watch.proofs), patience_s=PATIENCE_S)
        if named and await self._votes_again(LIAR, after_seq=self._watch.proofs[0].seq):
            self._heal(incident, "was named, restored a certified state and votes again")

    async def _kill_log_leader(self) -> None:
        leader = await self._house.cluster.leader_of_stream()
        await self._flowing()
        incident = self._begin(Kind.LOG_LEADER_KILLED, leader)
        await self._house.kill(leader)
        await self._watch_on(incident)
        await self._house.cluster.restart(leader)
        self._heal(incident, "has copied what it missed")

    async def _flowing(self) -> None:
        """Return when entries are being released: a pause of the market is no gap of a fault."""
        seq = self._watch.chronicle.seq
        await until(lambda: self._watch.chronicle.seq > seq, patience_s=PATIENCE_S, poll_s=0.001)

    async def _watch_on(self, incident: Incident) -> None:
        """Leave things broken until enough was released to see what it does."""
        held_seq = max((beat.seq for beat in self._watch.pulse.acknowledged[-50:]), default=0)
        goal_seq = held_seq + WATCHED_ENTRIES
        await until(
            lambda: self._watch.chronicle.seq >= goal_seq, patience_s=PATIENCE_S, poll_s=0.002
        )
        self._end_watch(incident)

    async def _votes_again(self, name: str, *, after_seq: int = 0) -> bool:
        began_ns = self._clock.monotonic_ns()

        def votes() -> bool:
            heard_ns, status = self._watch.statuses.get(name, (0, None))
            if status is None or heard_ns < began_ns:
                return False
            caught_up = status.seq >= max(after_seq, self._watch.chronicle.seq - 50)
            return caught_up and status.phase == Phase.VOTING.value

        return await until(votes, patience_s=PATIENCE_S)

    def _begin(self, kind: Kind, who: str) -> Incident:
        now_ns = self._clock.monotonic_ns()
        incident = Incident(
            kind, who, self._watch.chronicle.seq, self._market_ns, Window(now_ns, now_ns)
        )
        self.incidents.append(incident)
        self._say(f"{kind.value}: {who}, at entry {incident.at_seq:,}")
        return incident

    def _end_watch(self, incident: Incident) -> None:
        incident.watched = Window(incident.watched.start_ns, self._clock.monotonic_ns())

    def _heal(self, incident: Incident, how: str) -> None:
        incident.healed_ns = self._clock.monotonic_ns()
        self._say(f"{incident.who} {how}")


def _ns(at: datetime) -> int:
    return int(at.timestamp()) * 10**9
