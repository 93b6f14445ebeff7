"""Release: a reader's view of the house, outcomes in order and only when a majority agreed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

from seawall.replica.assembly import Assembly, Misreported, Position, Released
from seawall.replica.bus import Bus, Message, RequestFailed
from seawall.replica.clock import Clock
from seawall.replica.findings import BadVote, Finding
from seawall.replica.machine import Roster
from seawall.replica.messages import (
    ANSWER_TIMEOUT_S,
    OutcomeMessage,
    OutcomesAnswered,
    OutcomesAsked,
    decode,
    encode,
)
from seawall.replica.tasks import end_iteration, race
from seawall.replica.votes import Vote

ASK_INTERVAL_S = 0.05
SILENCE_S = 2.0
ASKED_MAX = 1024


class FellBehind(Exception):
    """No replica still holds what comes next: go on from the archive, or from a later position."""

    def __init__(self, *, released_seq: int, oldest_seq: int, archive: str) -> None:
        super().__init__(f"released up to {released_seq}, held from {oldest_seq} on")
        self.released_seq = released_seq
        self.oldest_seq = oldest_seq
        self.archive = archive


def ignore(_: Finding | Misreported) -> None:
    """Let a finding pass."""


class Follower:
    """Follows votes and outcomes of all replicas; asks again for what the bus lost.

    Parameters
    ----------
    roster : the voters at `position`, trusted; changes are followed when certified
    roster_of : as `StateMachine.roster_of`
    position : where to go on; None for the newest certified entry that is heard of
    notice : is told what the tally finds; must not raise
    """

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        roster: Roster,
        roster_of: Callable[[bytes], Roster | None],
        position: Position | None = None,
        notice: Callable[[Finding | Misreported], None] = ignore,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._notice = notice
        self._assembly = Assembly(roster, roster_of=roster_of, position=position)
        self._news = asyncio.Event()
        self._turn = 0
        self._asked_seq = 0
        self._asked: list[str] = []
        self._beyond: dict[str, int] = {}

    @property
    def certified_seq(self) -> int:
        """Sequence of the newest certified entry heard of; release may still wait for outcomes."""
        return self._assembly.certified_seq

    @property
    def rosters(self) -> Mapping[int, Roster]:
        """The rosters met so far, by epoch."""
        return self._assembly.rosters

    @property
    def position(self) -> Position | None:
        """Where the follower stands: the last entry released, None before the first certificate."""
        return self._assembly.position

    async def released(self) -> AsyncGenerator[Released, None]:
        """Yield outcomes in order, each once, for ever; a slow taker slows only itself.

        Raises
        ------
        FellBehind
            When a majority no longer holds the next outcome.
        """
        votes = self._bus.subscribe("vote.>")
        outcomes = self._bus.subscribe("outcome.>")
        listening = asyncio.create_task(
            race(self._hear_votes(votes), self._hear_outcomes(outcomes), self._ask())
        )
        listening.add_done_callback(lambda _: self._news.set())
        try:
            while True:
                self._news.clear()
                taken = self._assembly.take()
                for misreported in self._assembly.wrong:
                    self._notice(misreported)
                self._assembly.wrong.clear()
                for released in taken:
                    yield released
                if not taken and listening.done():
                    listening.result()
                    return
                if not taken:
                    await self._news.wait()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await end_iteration(votes)
            await end_iteration(outcomes)

    def _stir(self) -> None:
        """Wake whoever takes what is released, if there may be something to take."""
        if self._assembly.worth_a_look:
            self._news.set()

    async def _hear_votes(self, votes: AsyncIterator[Message]) -> None:
        async for message in votes:
            vote = decode(Vote, message.data)
            if vote is None:
                sender = message.subject.removeprefix("vote.")
                self._notice(BadVote(replica=sender, reason="malformed"))
                continue
            for finding in self._assembly.hear_vote(vote):
                self._notice(finding)
            self._stir()

    async def _hear_outcomes(self, outcomes: AsyncIterator[Message]) -> None:
        async for message in outcomes:
            outcome = decode(OutcomeMessage, message.data)
            if outcome is not None:
                self._assembly.hear_outcome(message.subject.removeprefix("outcome."), outcome)
                self._stir()

    async def _ask(self) -> None:
        """Ask one replica after the other for a hole that stays open, or out of a long silence."""
        hole_before: int | None = None
        position_before = self._assembly.position
        # Whoever begins asks at once: nobody may have anything to say for a while.
        quiet_s = SILENCE_S
        while True:
            await self._clock.sleep(ASK_INTERVAL_S)
            position = self._assembly.position
            quiet_s = 0.0 if position != position_before else quiet_s + ASK_INTERVAL_S
            position_before = position
            hole = self._assembly.find_hole()
            if hole is not None and hole == hole_before:
                hole = await self._fill(hole)
                quiet_s = 0.0
            elif quiet_s >= SILENCE_S:
                # Without a position only the newest certificate is of use.
                await self._ask_next(0 if position is None else position.seq + 1)
                quiet_s = 0.0
            hole_before = hole

    async def _fill(self, hole: int | None) -> int | None:
        """Ask as long as each answer brings the hole forward; return the hole that is left."""
        while hole is not None:
            await self._ask_next(hole)
            hole_now = self._assembly.find_hole()
            if hole_now is not None and hole_now <= hole:
                return hole_now
            hole = hole_now
        return None

    async def _ask_next(self, first_seq: int) -> None:
        names = [name for name, _ in self._assembly.tally.roster.keys]
        source = names[self._turn % len(names)]
        self._turn += 1
        if first_seq != self._asked_seq:
            self._asked_seq, self._asked, self._beyond = first_seq, [], {}
        if source not in self._asked:
            self._asked.append(source)
        asked = OutcomesAsked(first_seq=first_seq, last_seq=first_seq + ASKED_MAX - 1)
        try:
            data = await self._bus.request(
                f"outcomes.{source}", encode(asked), timeout_s=ANSWER_TIMEOUT_S
            )
        except RequestFailed:
            return
        answered = decode(OutcomesAnswered, data)
        if answered is None:
            return
        for finding in self._assembly.hear_answer(source, answered):
            self._notice(finding)
        self._stir()
        if 0 < first_seq <= self._assembly.certified_seq:
            self._check_reach(source, first_seq, answered)

    def _check_reach(self, source: str, first_seq: int, answered: OutcomesAnswered) -> None:
        """Give up when all were asked and a majority, hence an honest one, holds it no longer."""
        if answered.oldest_seq > first_seq:
            self._beyond[source] = answered.oldest_seq
        everybody = len(self._asked) >= len(self._assembly.tally.roster.keys)
        if everybody and len(self._beyond) >= self._assembly.tally.roster.majority:
            position = self._assembly.position
            raise FellBehind(
                released_seq=0 if position is None else position.seq,
                oldest_seq=min(self._beyond.values()),
                archive=answered.archive,
            )
