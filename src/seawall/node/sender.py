"""One sender's commands: collected into numbered, signed batches, one on its way at a time."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from seawall.node.journal import Journal, Request, Sent
from seawall.node.lane import Lane, Numbers, Outbound, Parcel
from seawall.node.receipts import Answer, Receipt, Submission
from seawall.protocol.codec import encode_any, encode_batch
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AnyCommand, Batch
from seawall.protocol.digest import digest
from seawall.protocol.signatures import SigningKey

K = TypeVar("K")

REMEMBERED_MAX = 4096
"""Submissions that are still known by name after they were settled."""
TRIES_MAX = 3
RENUMBERED = (Reject.NUMBER_GAP, Reject.NUMBER_REUSED)
"""Refusals that say: not one of these commands was applied, only the number was wrong."""


class Sizes(msgspec.Struct, frozen=True):
    """How much a sender collects, queues and keeps."""

    batch_bytes: int = 128 << 10
    """A batch is closed at this size; one larger submission travels alone."""
    batch_commands: int = 1000
    queue_commands: int = 20_000
    """Commands that may wait for their batch."""
    kept_batches: int = 64
    """Batches that may be in the log and not yet released."""


def make_submission(
    commands: tuple[AnyCommand, ...], *, request_id: str = "", alone: bool = False
) -> Submission:
    """Return a submission that knows its size and, if it has a name, what it asks for."""
    encoded = [encode_any(command) for command in commands]
    body = b"".join(encoded) if request_id else b""
    return Submission(
        commands,
        request_id=request_id,
        commands_digest=digest(body, person=b"seawall/request") if request_id else b"",
        size_bytes=sum(map(len, encoded)),
        alone=alone,
    )


class Signer:
    """A sender's pen: its id and key, for one log."""

    def __init__(self, log_id: bytes, sender_id: int, key: SigningKey) -> None:
        self.sender_id = sender_id
        self._log_id = log_id
        self._key = key

    def sign(self, number: int, commands: tuple[AnyCommand, ...]) -> bytes:
        """Return the payload of a batch."""
        return encode_batch(Batch(self._log_id, self.sender_id, number, commands), self._key)


class Sender:
    """Signs for one sender.

    Parameters
    ----------
    caught_up : returns once `numbers` covers all that the log held when this sender started

    Invariants
    ----------
    Numbers have no gap. No command is signed under two numbers unless the machine has refused
    the first entry whole, without a trace. Commands enter the log in the order of their
    submission, unless somebody else uses the sender's key and takes a number away.
    """

    def __init__(
        self,
        signer: Signer,
        outbound: Outbound,
        journal: Journal,
        numbers: Numbers,
        *,
        sizes: Sizes,
        on_answer: Callable[[int, Answer], None],
    ) -> None:
        self.sender_id = signer.sender_id
        self.queued_commands = 0
        self.lane = Lane(signer.sender_id, outbound, journal, numbers, self._on_settled)
        self._signer = signer
        self._on_answer = on_answer
        self._numbers = numbers
        self._sizes = sizes
        self._queue: deque[Submission] = deque()
        self._returned: list[Submission] = []
        self._places: OrderedDict[tuple[bytes, int], Submission] = OrderedDict()
        self._named: OrderedDict[str, Submission] = OrderedDict()
        self._news = asyncio.Event()
        self._number = self.lane.open()
        self._restore()

    def find(self, request_id: str) -> Submission | None:
        """Return the submission of this name, None if there was none or it is forgotten."""
        return self._named.get(request_id) if request_id else None

    def find_place(self, entry_digest: bytes, index: int) -> Submission | None:
        """Return the submission of a receipt, None if it is forgotten."""
        return self._places.get((entry_digest, index))

    def has_room(self, count: int) -> bool:
        """Tell whether `count` more commands may wait."""
        return self.queued_commands + count <= self._sizes.queue_commands

    def enqueue(self, submission: Submission) -> None:
        """Let the submission wait for its batch; the caller has asked for room."""
        if submission.request_id:
            self._named[submission.request_id] = submission
        self.queued_commands += submission.count
        self._queue.append(submission)
        self._news.set()

    def withdraw(self, submission: Submission) -> bool:
        """Take back a submission that is in no batch yet; tell whether that was so."""
        if submission not in self._queue:
            return False
        self._queue.remove(submission)
        self.queued_commands -= submission.count
        self._named.pop(submission.request_id, None)
        return True

    def waiting(self) -> list[Submission]:
        """Return the submissions whose answer is still to come."""
        placed = [known for known in self._places.values() if not known.settled]
        return [*placed, *self._queue]

    async def run(self, caught_up: Callable[[], Awaitable[None]]) -> None:
        """Send what a crash left over, then whatever is queued, for ever."""
        for parcel in list(self.lane.kept.values()):
            await self._deliver(parcel)
        while True:
            if self._number == 0:
                # After a refusal: everything behind it was refused too, or is about to be.
                await self.lane.drained()
                await caught_up()
                self._number = self._numbers.last_number(self.sender_id) + 1
                self._queue.extendleft(reversed(self._returned))
                self._returned.clear()
            if not self._queue or len(self.lane.kept) >= self._sizes.kept_batches:
                self._news.clear()
                await self._news.wait()
                continue
            await self._deliver(self._pack())

    async def _deliver(self, parcel: Parcel) -> None:
        await self.lane.send(parcel)
        for request in parcel.requests:
            submission = self._places.get((parcel.entry_digest, request.index))
            if submission is not None and not submission.settled:
                submission.acknowledge(place_of(parcel, request))

    def _pack(self) -> Parcel:
        """Close the next batch: whole submissions, in order, up to the batch's size."""
        chosen: list[Submission] = []
        commands: list[AnyCommand] = []
        size_bytes = 0
        requests: list[Request] = []
        while self._queue:
            submission = self._queue[0]
            count = len(commands) + submission.count
            size_bytes += submission.size_bytes
            if chosen and (
                submission.alone
                or chosen[0].alone
                or count > self._sizes.batch_commands
                or size_bytes > self._sizes.batch_bytes
            ):
                break
            chosen.append(self._queue.popleft())
            requests.append(
                Request(
                    submission.request_id,
                    submission.commands_digest,
                    len(commands),
                    submission.count,
                )
            )
            commands.extend(submission.commands)
        self.queued_commands -= len(commands)
        payload = self._signer.sign(self._number, tuple(commands))
        parcel = Parcel(Sent(self._number, payload, tuple(requests)))
        for submission, request in zip(chosen, requests, strict=True):
            self._place(parcel.entry_digest, request.index, submission)
        self._number += 1
        return parcel

    def _place(self, entry_digest: bytes, index: int, submission: Submission) -> None:
        submission.tries += 1
        self._places[entry_digest, index] = submission
        _forget_oldest(self._places)
        _forget_oldest(self._named)

    def _on_settled(self, parcel: Parcel) -> None:
        renumber = parcel.refusal is not None and parcel.refusal[0] in RENUMBERED
        if parcel.refusal is not None:
            self._number = 0
        for request in parcel.requests:
            submission = self._places.get((parcel.entry_digest, request.index))
            if submission is None:
                continue
            submission.acknowledge(place_of(parcel, request))
            if renumber and submission.tries < TRIES_MAX:
                self.queued_commands += submission.count
                self._returned.append(submission)
                continue
            submission.refused = parcel.refusal is not None
            answer = submission.settle(parcel.joined)
            if answer is not None:
                self._on_answer(submission.ticket, answer)
        self._news.set()

    def _restore(self) -> None:
        """Know again, after a restart, what was asked: by name, and by place in its batch."""
        for past in self.lane.past:
            for request in past.requests:
                submission = self._recall((), past.entry_digest, request)
                submission.acknowledge(
                    Receipt(
                        past.seq,
                        request.index,
                        request.count,
                        self.sender_id,
                        past.number,
                        past.entry_digest,
                    )
                )
                submission.settle(None)
        for parcel in self.lane.kept.values():
            commands = parcel.signed.batch.commands
            for request in parcel.requests:
                own = commands[request.index : request.index + request.count]
                self._recall(own, parcel.entry_digest, request)

    def _recall(
        self, commands: tuple[AnyCommand, ...], entry_digest: bytes, request: Request
    ) -> Submission:
        submission = Submission(
            commands, request_id=request.request_id, commands_digest=request.commands_digest
        )
        submission.count = request.count
        self._place(entry_digest, request.index, submission)
        if request.request_id:
            self._named[request.request_id] = submission
        return submission


def place_of(parcel: Parcel, request: Request) -> Receipt:
    """Return where a request of the batch stands in the log."""
    return Receipt(
        seq=parcel.seq,
        index=request.index,
        count=request.count,
        sender_id=parcel.signed.batch.sender_id,
        number=parcel.number,
        entry_digest=parcel.entry_digest,
    )


def _forget_oldest(known: OrderedDict[K, Submission]) -> None:
    """Drop settled submissions beyond `REMEMBERED_MAX`; one that is under way stays."""
    while len(known) > REMEMBERED_MAX:
        key, oldest = next(iter(known.items()))
        if not oldest.settled:
            return
        del known[key]
