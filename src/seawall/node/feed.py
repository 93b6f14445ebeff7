"""The feed: every entry of the log joined with its certified outcome, in order, each once."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import msgspec

from seawall.node.clock import Backoff, Clock
from seawall.node.joined import Joined, join
from seawall.protocol.codec import entry_digest, outcome_digest
from seawall.protocol.commands import ReplicaTerms
from seawall.protocol.digest import genesis_chain, next_chain
from seawall.replica.assembly import Position, Released
from seawall.replica.bus import Bus
from seawall.replica.log import Entry, Log
from seawall.replica.machine import Roster, StateMachine
from seawall.replica.reading import ReadFault, read_steadily
from seawall.replica.release import FellBehind, Follower

Notice = Callable[[object], None]


class Start(msgspec.Struct, frozen=True, array_like=True):
    """Where a reader goes on: the last entry it has taken, and who votes after it."""

    position: Position
    roster: Roster


class Mismatch(msgspec.Struct, frozen=True, tag=True):
    """A log node served other bytes for an entry than a majority of replicas has applied."""

    seq: int
    entry_digest: bytes
    certified_entry_digest: bytes


class HistoryForeign(Exception):
    """The log does not lead to where this reader stands: it is another house's, or damaged."""


def ignore(_: object) -> None:
    """Let a notice pass."""


def roster_of_terms(log_id: bytes, epoch: int, replicas: tuple[ReplicaTerms, ...]) -> Roster:
    """Return the roster that the terms of a replica set describe."""
    keys = sorted((terms.name, terms.public_key) for terms in replicas)
    return Roster(log_id=log_id, epoch=epoch, keys=tuple(keys))


def start_of(log_id: bytes, roster: Roster) -> Start:
    """Return the start before entry 1."""
    return Start(Position(seq=0, chain=genesis_chain(log_id)), roster)


class Feed:
    """Joins what the log holds with what replicas certify.

    Parameters
    ----------
    new_machine : makes an empty machine: to learn of new rosters, and to fill in outcomes that
        no replica holds any more. What is filled in lies on the chain that the next certificate
        proves, or nothing follows it.
    notice : is told what goes wrong and who voted how; must not raise
    """

    def __init__(
        self,
        log: Log,
        bus: Bus,
        clock: Clock,
        *,
        start: Start,
        new_machine: Callable[[], StateMachine],
        notice: Notice = ignore,
    ) -> None:
        self.start = start
        """Where a reader would go on that has taken all that was yielded."""
        self._log = log
        self._bus = bus
        self._clock = clock
        self._new_machine = new_machine
        self._roster_of = new_machine().roster_of
        self._notice = notice
        self._follower: Follower | None = None

    @property
    def certified_seq(self) -> int:
        """Newest certified entry heard of; what is yielded may still be behind."""
        return 0 if self._follower is None else self._follower.certified_seq

    async def joined(self) -> AsyncGenerator[Joined, None]:
        """Yield joined entries until the bus ends; a slow taker slows only itself.

        Raises
        ------
        HistoryForeign
            If the log cannot be this reader's.
        """
        while True:
            follower = self._follower = self._new_follower()
            try:
                async with aclosing(self._live(follower)) as live:
                    async for joined in live:
                        yield joined
            except FellBehind:
                # All that is certified so far can be computed here as well as anywhere.
                async with aclosing(self._fill_in(follower.certified_seq)) as filled:
                    async for joined in filled:
                        yield joined
            else:
                return

    def _new_follower(self) -> Follower:
        return Follower(
            bus=self._bus,
            clock=self._clock,
            roster=self.start.roster,
            roster_of=self._roster_of,
            position=self.start.position,
            notice=self._notice,
        )

    async def _live(self, follower: Follower) -> AsyncGenerator[Joined, None]:
        """Yield what the follower releases; it follows changes of the roster by itself."""
        entries = self._entries()
        released_stream = follower.released()
        try:
            async for released in released_stream:
                entry, entries = await self._entry_of(released, entries)
                joined = join(
                    entry.seq, entry.payload, released.outcome, entry_digest=released.entry_digest
                )
                roster = self._roster_of(released.outcome) if joined.seq > 1 else None
                self._advance(released.chain, roster)
                yield joined
        finally:
            await released_stream.aclose()
            await entries.aclose()

    async def _entry_of(
        self, released: Released, entries: AsyncGenerator[Entry, None]
    ) -> tuple[Entry, AsyncGenerator[Entry, None]]:
        """Return the entry with the very bytes that were certified, and the reader to go on with.

        A node of the log that serves other bytes is ill; reading again gets to another one.
        """
        backoff = Backoff(self._clock)
        while True:
            entry = await anext(entries)
            assert entry.seq == released.seq
            found = entry_digest(entry.payload)
            if found == released.entry_digest:
                return entry, entries
            self._notice(Mismatch(entry.seq, found, released.entry_digest))
            await entries.aclose()
            await backoff.pause()
            entries = self._entries()

    async def _fill_in(self, goal_seq: int) -> AsyncGenerator[Joined, None]:
        """Yield what a machine of our own makes of the entries up to `goal_seq`."""
        machine = self._new_machine()
        start = self.start
        chain = b""
        async with aclosing(self._entries(1)) as entries:
            async for entry in entries:
                outcome = machine.apply(entry.seq, entry.payload)
                digest_now = entry_digest(entry.payload)
                if entry.seq == 1:
                    chain = genesis_chain(digest_now)
                chain = next_chain(chain, entry.seq, digest_now, outcome_digest(outcome))
                if entry.seq == start.position.seq and chain != start.position.chain:
                    raise HistoryForeign(f"another chain at entry {entry.seq}")
                if entry.seq > start.position.seq:
                    self._advance(chain, machine.roster())
                    yield join(entry.seq, entry.payload, outcome, entry_digest=digest_now)
                if entry.seq >= goal_seq:
                    return
                # A long replay must let others run.
                await asyncio.sleep(0)

    def _advance(self, chain: bytes, roster: Roster | None) -> None:
        seq = self.start.position.seq + 1
        self.start = Start(Position(seq=seq, chain=chain), roster or self.start.roster)

    def _entries(self, first_seq: int | None = None) -> AsyncGenerator[Entry, None]:
        if first_seq is None:
            first_seq = self.start.position.seq + 1
        return read_steadily(self._log, self._clock, first_seq, self._on_fault)

    def _on_fault(self, fault: ReadFault) -> None:
        self._notice(fault)


class Taker(msgspec.Struct, frozen=True):
    """Whoever takes joined entries; `take` must not wait."""

    take: Callable[[Joined], None]


async def follow(joined_stream: AsyncIterator[Joined], takers: tuple[Taker, ...]) -> None:
    """Hand every joined entry to all takers, in order of the takers."""
    async for joined in joined_stream:
        for taker in takers:
            taker.take(joined)
