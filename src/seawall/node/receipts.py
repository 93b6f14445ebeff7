"""What a client gets back: a receipt once its commands are durable, an answer once released."""

import asyncio
from typing import TypeVar

import msgspec

from seawall.node.joined import Joined
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AnyCommand
from seawall.protocol.effects import AnyEffect
from seawall.protocol.events import AnyEvent, Event, Outcome, Rejected

E = TypeVar("E", bound=Event)


class Refused(msgspec.Struct, frozen=True):
    """The gateway did not take the commands; `field` names what was wrong, `detail` says more."""

    code: Reject
    field: str
    detail: str = ""


class Receipt(msgspec.Struct, frozen=True):
    """The log holds the commands durably: `count` of them, from `index` of entry `seq` on.

    `entry_digest` is of the very bytes that the log holds, so nobody can swap them unnoticed.
    """

    seq: int
    index: int
    count: int
    sender_id: int
    number: int
    entry_digest: bytes


class Answer(msgspec.Struct, frozen=True):
    """What a majority of replicas says became of the commands of a receipt.

    Attributes
    ----------
    seq : the entry that decided; only after a lost journal another one than the receipt's
    outcome : the whole entry's, other commands of its batch included
    rejections : by position among the receipt's own commands; empty if all were applied
    """

    receipt: Receipt
    seq: int
    outcome: Outcome
    rejections: tuple[Rejected, ...]

    @property
    def rejected(self) -> Rejected | None:
        """The first refusal, or None."""
        return self.rejections[0] if self.rejections else None

    @property
    def events(self) -> tuple[AnyEvent, ...]:
        """The events of the entry."""
        return self.outcome.events

    def first(self, kind: type[E]) -> E:
        """Return the first event of a kind. Raises `LookupError` when the entry has none."""
        for event in self.outcome.events:
            if isinstance(event, kind):
                return event
        raise LookupError(f"entry {self.seq} has no {kind.__name__}")

    @property
    def effects(self) -> tuple[AnyEffect, ...]:
        """The effects of the entry; effect i has the key `seq:i`."""
        return self.outcome.effects


class Stopped(Exception):
    """The gateway stopped; whether and how the commands were applied must be asked again."""


def answer_receipt(receipt: Receipt, place: Receipt, joined: Joined) -> Answer:
    """Return what the joined entry says of the commands that stand at `place` in it."""
    refusal = joined.refusal
    if refusal is not None:
        rejections = tuple(
            Rejected(position, refusal.code, refusal.field) for position in range(receipt.count)
        )
    else:
        rejections = tuple(
            Rejected(position, event.code, event.field)
            for position in range(receipt.count)
            if (event := joined.rejected.get(place.index + position)) is not None
        )
    return Answer(receipt, joined.seq, joined.outcome, rejections)


class Submission:
    """Commands on their way from a client to a released outcome.

    Attributes
    ----------
    ticket : the gateway's own name of it, for its history
    receipt : the first one given; None until the log holds the commands
    place : where the commands stand in the log; differs from `receipt` after a second try
    settled : whether the outcome was released
    refused : whether the whole entry was refused, which left no trace
    """

    def __init__(
        self,
        commands: tuple[AnyCommand, ...],
        *,
        request_id: str = "",
        commands_digest: bytes = b"",
        size_bytes: int = 0,
        alone: bool = False,
    ) -> None:
        self.commands = commands
        self.request_id = request_id
        self.commands_digest = commands_digest
        self.size_bytes = size_bytes
        self.alone = alone
        self.count = len(commands)
        self.ticket = 0
        self.tries = 0
        self.receipt: Receipt | None = None
        self.place: Receipt | None = None
        self.settled = False
        self.refused = False
        self.acknowledged = asyncio.Event()
        self._waiters: list[asyncio.Future[Answer | None]] = []

    def acknowledge(self, place: Receipt) -> None:
        """The log holds the commands at `place`; the client keeps the first receipt."""
        self.place = place
        if self.receipt is None:
            self.receipt = place
            self.acknowledged.set()

    def settle(self, joined: Joined | None) -> Answer | None:
        """Return the answer and hand it to all who wait; it is not kept, it can be large.

        Parameters
        ----------
        joined : None if the deciding entry lies before what this node has read
        """
        assert self.receipt is not None
        assert self.place is not None
        self.settled = True
        self.commands = ()
        answer = None if joined is None else answer_receipt(self.receipt, self.place, joined)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(answer)
        self._waiters.clear()
        return answer

    def stop(self, reason: Stopped) -> None:
        """Tell all who wait that no answer will come from this gateway."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(reason)
        self._waiters.clear()

    def watch(self) -> "asyncio.Future[Answer | None]":
        """Return a future of the answer; the submission is not settled yet."""
        assert not self.settled
        waiter: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter
