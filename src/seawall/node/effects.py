"""The interpreter: does what certified outcomes ask of the world, once per key, and reports it."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import msgspec

from seawall.node.clock import Backoff, Clock
from seawall.node.joined import Joined
from seawall.node.progress import Progress
from seawall.node.receipts import Answer, Receipt, Refused, Stopped
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AnyCommand, EffectStatus, ReportEffect
from seawall.protocol.effects import AnyEffect
from seawall.protocol.events import EffectExpired, EffectReported, TimeMoved
from seawall.protocol.genesis import Genesis
from seawall.replica.log import Log, LogFault

Key = tuple[int, int]
"""(seq, index) of an effect; `seq:index` is the client order id that the world is given."""

IN_FLIGHT_MAX = 16
"""Of each kind of effect: a bank that does not answer must not keep orders from the market."""
TRY_AGAIN = (Reject.BACKLOG, Reject.LOG_DOWN, Reject.UNKNOWN_OUTCOME)


class DoorFault(Exception):
    """The world did not answer; whether the effect took place must be asked before a retry."""


class Door(Protocol):
    """A venue, a bank, a pager: where effects take place.

    A door that honours the key does nothing twice under one key. For any other the interpreter
    asks `query` before each further try.
    """

    async def execute(self, key: str, effect: AnyEffect) -> EffectStatus:
        """Let the effect take place and return how it ended. Raises `DoorFault`."""
        ...

    async def query(self, key: str) -> EffectStatus | None:
        """Return how the effect of this key ended, None if it never began. Raises `DoorFault`."""
        ...


class Intake(Protocol):
    """What the interpreter needs of a gateway."""

    async def submit(
        self,
        sender_id: int,
        commands: tuple[AnyCommand, ...],
        *,
        request_id: str = "",
        alone: bool = False,
    ) -> Receipt | Refused:
        """See `gateway.Gateway.submit`."""
        ...

    async def wait_released(self, receipt: Receipt) -> Answer | None:
        """See `gateway.Gateway.wait_released`."""
        ...


class Figures(msgspec.Struct):
    """What the interpreter has done since it started."""

    executed: int = 0
    found_ended: int = 0
    """Effects that the door already knew: begun by an earlier life, or before a lost answer."""
    faults: int = 0
    reported: int = 0
    expired: int = 0
    late: int = 0
    """Effects that took place and expired before their report was in: an operator must look."""
    unknown: int = 0
    """Effects that were begun and expired while the door could not say what became of them."""


class Interpreter:
    """Executes pending effects.

    An effect is begun only if it is pending and not expired at the newest certified entry, and
    not before all has been read that the log held when this interpreter started: what an earlier
    life did may be reported there.

    Parameters
    ----------
    sender_id : who signs the reports; its role is EFFECTS
    certified_seq : returns the newest certified entry that this node has heard of

    Notes
    -----
    `take` is called with every released entry in order; `run` acts.
    """

    def __init__(
        self,
        sender_id: int,
        gateway: Intake,
        door: Door,
        log: Log,
        clock: Clock,
        certified_seq: Callable[[], int],
    ) -> None:
        self.outbox: dict[Key, AnyEffect] = {}
        self.at_ns = 0
        self.figures = Figures()
        self._sender_id = sender_id
        self._gateway = gateway
        self._door = door
        self._log = log
        self._clock = clock
        self._certified_seq = certified_seq
        self._progress = Progress()
        self._start_seq = 0
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._in_flight: Counter[type[AnyEffect]] = Counter()
        self._ended: set[Key] = set()
        self._overtaken: set[Key] = set()
        self._news = asyncio.Event()

    def resume(self, seq: int, at_ns: int, outbox: dict[Key, AnyEffect]) -> None:
        """Go on from entry `seq`, when it was `at_ns` and these effects were pending."""
        self.at_ns = at_ns
        self.outbox = dict(outbox)
        self._progress.advance(seq)

    def take(self, joined: Joined) -> None:
        """Take in the next released entry: what is pending now, and what time it is."""
        if isinstance(joined.content, Genesis):
            self.at_ns = max(self.at_ns, joined.content.at_ns)
        for event in joined.outcome.events:
            if isinstance(event, TimeMoved):
                self.at_ns = event.at_ns
            elif isinstance(event, EffectReported):
                self.figures.reported += 1
                self._remove((event.seq, event.index))
            elif isinstance(event, EffectExpired):
                key = (event.seq, event.index)
                self.figures.expired += 1
                if key in self._tasks:
                    self._overtaken.add(key)
                self._remove(key)
        for index, effect in enumerate(joined.outcome.effects):
            self.outbox[joined.seq, index] = effect
        self._progress.advance(joined.seq)
        self._news.set()

    async def run(self) -> None:
        """Execute and report until cancelled."""
        self._start_seq = await self._find_log_end()
        await self._progress.reached(self._start_seq)
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._news.clear()
                for key, effect in list(self.outbox.items()):
                    if key in self._tasks or key in self._ended:
                        continue
                    if self._in_flight[type(effect)] < IN_FLIGHT_MAX:
                        self._in_flight[type(effect)] += 1
                        self._tasks[key] = tasks.create_task(self._see_through(key, type(effect)))
                await self._news.wait()

    def _remove(self, key: Key) -> None:
        self.outbox.pop(key, None)
        self._ended.discard(key)

    def _is_due(self, key: Key) -> bool:
        effect = self.outbox.get(key)
        return effect is not None and effect.expires_at_ns >= self.at_ns

    async def _find_log_end(self) -> int:
        backoff = Backoff(self._clock)
        while True:
            try:
                return await self._log.last_seq()
            except LogFault:
                await backoff.pause()

    async def _see_through(self, key: Key, kind: type[AnyEffect]) -> None:
        """Execute one effect and report it; leave it alone when it is no longer wanted."""
        try:
            status = await self._carry_out(key)
            if status is not None:
                await self._report(key, status)
                if key in self._overtaken and status is EffectStatus.DONE:
                    self.figures.late += 1
            if key in self.outbox:
                # Expired, in an entry that is not released yet, or the gateway stopped.
                self._ended.add(key)
        finally:
            self._overtaken.discard(key)
            self._in_flight[kind] -= 1
            del self._tasks[key]
            self._news.set()

    async def _carry_out(self, key: Key) -> EffectStatus | None:
        """Return how the effect ended, None if it was not begun or nobody knows any more."""
        name = f"{key[0]}:{key[1]}"
        backoff = Backoff(self._clock)
        begun = key[0] <= self._start_seq
        while True:
            try:
                if begun:
                    ended = await self._door.query(name)
                    if ended is not None:
                        self.figures.found_ended += 1
                        return ended
                # What is certified by now may say that it is no longer wanted.
                await self._progress.reached(self._certified_seq())
                if not self._is_due(key):
                    return None
                begun = True
                ended = await self._door.execute(name, self.outbox[key])
            except DoorFault:
                self.figures.faults += 1
                if key not in self.outbox:
                    self.figures.unknown += 1
                    return None
                await backoff.pause()
            else:
                self.figures.executed += 1
                return ended

    async def _report(self, key: Key, status: EffectStatus) -> None:
        """Report until the effect has left the outbox, by this report or otherwise."""
        backoff = Backoff(self._clock)
        report = ReportEffect(*key, status)
        attempt = 0
        while key in self.outbox:
            said = await self._gateway.submit(
                self._sender_id, (report,), request_id=f"effect:{key[0]}:{key[1]}:{attempt}"
            )
            if isinstance(said, Receipt):
                try:
                    answer = await self._gateway.wait_released(said)
                except Stopped:
                    return
                await self._progress.reached(said.seq if answer is None else answer.seq)
                # Still pending: the report was refused, for whatever reason; say it again.
                attempt += 1
            else:
                # Anything else means that the gateway was wired without the reporter's key.
                assert said.code in TRY_AGAIN
            if key in self.outbox:
                await backoff.pause()
