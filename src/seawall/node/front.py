"""The front of a node: gateway, feed, projection and interpreter, run as one."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from seawall.node.bookmark import Bookmark, encode_bookmark, write_bookmark
from seawall.node.clock import Clock
from seawall.node.effects import Door, Interpreter
from seawall.node.feed import Feed, Notice, Start, Taker, follow, ignore, roster_of_terms, start_of
from seawall.node.gateway import Gateway, Intake
from seawall.node.journal import Journals
from seawall.node.projections import Projection
from seawall.protocol.codec import encode_genesis, log_id_of
from seawall.protocol.commands import Role
from seawall.protocol.genesis import Genesis
from seawall.protocol.signatures import SigningKey
from seawall.replica.bus import Bus
from seawall.replica.disk import Disk
from seawall.replica.log import Log
from seawall.replica.machine import StateMachine
from seawall.replica.tasks import race

BOOKMARK_ENTRIES = 1000
"""Far fewer than the outcomes that replicas hold, so that a restart finds all it has missed."""
BOOKMARK_INTERVAL_S = 1.0


class FrontDoors(msgspec.Struct, frozen=True):
    """All through which the front touches the world.

    Without a `disk` it reads from entry 1 at each start. Without a `venue` nobody here executes
    effects.
    """

    log: Log
    bus: Bus
    clock: Clock
    journals: Journals
    disk: Disk | None = None
    venue: Door | None = None


class Front:
    """What a node runs towards its clients.

    Parameters
    ----------
    keys : of the senders that are signed for here, by sender id
    bookmark : as `read_bookmark` returned it
    notice : see `Feed`
    """

    def __init__(
        self,
        genesis: Genesis,
        keys: Mapping[int, SigningKey],
        doors: FrontDoors,
        *,
        new_machine: Callable[[], StateMachine],
        intake: Intake | None = None,
        bookmark: Bookmark | None = None,
    ) -> None:
        log_id = log_id_of(encode_genesis(genesis))
        self.gateway = Gateway(log_id, doors.log, doors.clock, keys, doors.journals, intake=intake)
        self.projection = Projection()
        self.notice: Notice = ignore
        self.takers: list[Taker] = []
        """More who take every joined entry; to be added before `run`."""
        self._doors = doors
        self.feed = Feed(
            doors.log,
            doors.bus,
            doors.clock,
            start=_start(genesis, log_id) if bookmark is None else bookmark.start,
            new_machine=new_machine,
            notice=self._tell,
        )
        self.interpreter: Interpreter | None = None
        reporter = _find_reporter(genesis, keys)
        if doors.venue is not None and reporter:
            self.interpreter = Interpreter(
                reporter,
                self.gateway,
                doors.venue,
                doors.log,
                doors.clock,
                lambda: self.feed.certified_seq,
            )
        self._marked_seq = 0
        if bookmark is not None:
            self._resume(bookmark)

    async def run(self) -> None:
        """Serve until cancelled; a bug in any part ends all of it."""
        parts: list[Coroutine[Any, Any, None]] = [self.gateway.run(), self._follow()]
        if self.interpreter is not None:
            parts.append(self.interpreter.run())
        if self._doors.disk is not None:
            parts.append(self._keep_bookmark())
        await race(*parts)

    async def save(self) -> bool:
        """Write the bookmark now; tell whether there was a disk and it took it."""
        if self._doors.disk is None:
            return False
        # Nothing waits between the feed's step and its takers', so they stand at one entry.
        assert self.feed.start.position.seq == self.projection.seq
        self._marked_seq = self.projection.seq
        data = encode_bookmark(Bookmark(self.feed.start, self.gateway.register, self.projection))
        return await write_bookmark(self._doors.disk, data)

    def figures(self) -> dict[str, float]:
        """Return what operators watch, by name; see `telemetry.Telemetry.add`."""
        figures: dict[str, float] = {
            "released_seq": self.projection.seq,
            "certified_seq": self.feed.certified_seq,
            "ahead_entries": self.gateway.ahead_entries,
            "kept_batches": self.gateway.kept_batches,
            "pending_effects": len(self.projection.outbox),
            "log_faults_total": self.gateway.outbound.faults_count,
        }
        if self.interpreter is not None:
            done = self.interpreter.figures
            for name in done.__struct_fields__:
                figures[f"effects_{name}_total"] = getattr(done, name)
        return figures

    async def _follow(self) -> None:
        takers = [Taker(self.gateway.take), Taker(self.projection.take)]
        if self.interpreter is not None:
            takers.append(Taker(self.interpreter.take))
        await follow(self.feed.joined(), (*takers, *self.takers))

    def _tell(self, what: object) -> None:
        self.notice(what)

    async def _keep_bookmark(self) -> None:
        while True:
            await self._doors.clock.sleep(BOOKMARK_INTERVAL_S)
            if self.projection.seq >= self._marked_seq + BOOKMARK_ENTRIES:
                await self.save()

    def _resume(self, bookmark: Bookmark) -> None:
        self.projection = bookmark.projection
        self._marked_seq = bookmark.projection.seq
        self.gateway.resume(bookmark.register)
        if self.interpreter is not None:
            self.interpreter.resume(
                bookmark.projection.seq, bookmark.projection.at_ns, bookmark.projection.outbox
            )


def _start(genesis: Genesis, log_id: bytes) -> Start:
    return start_of(log_id, roster_of_terms(log_id, 1, genesis.replicas))


def _find_reporter(genesis: Genesis, keys: Mapping[int, SigningKey]) -> int:
    """Return the first sender of whom we hold the key and who may report effects, 0 for none."""
    for sender_id, terms in enumerate(genesis.senders, 1):
        if sender_id in keys and terms.roles & Role.EFFECTS:
            return sender_id
    return 0
