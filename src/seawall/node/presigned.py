"""Batches that clients sign themselves: taken in their order, kept and retried like our own."""

import asyncio
from collections import deque
from collections.abc import Callable

from seawall.node.journal import Journal, Request, Sent
from seawall.node.lane import Lane, Numbers, Outbound, Parcel
from seawall.node.receipts import Answer, Receipt, Submission
from seawall.node.sender import place_of
from seawall.protocol.codec import SignedBatch
from seawall.protocol.codes import Reject

QUEUE_MAX = 16
"""Batches of one client that may wait for their turn."""
REMEMBERED_MAX = 1024


class Presigned:
    """The lane of one client.

    A refused batch is not signed anew, for the key is the client's: the client hears the code.
    """

    def __init__(
        self,
        sender_id: int,
        outbound: Outbound,
        journal: Journal,
        numbers: Numbers,
        *,
        on_answer: Callable[[int, Answer], None],
    ) -> None:
        self.sender_id = sender_id
        self.lane = Lane(sender_id, outbound, journal, numbers, self._on_settled)
        self._numbers = numbers
        self._on_answer = on_answer
        self._queue: deque[Parcel] = deque()
        self._under_way: Parcel | None = None
        self._submissions: dict[bytes, Submission] = {}
        self._news = asyncio.Event()
        self.lane.open()
        for parcel in self.lane.kept.values():
            self._queue.append(parcel)
            self._submissions[parcel.entry_digest] = Submission(parcel.signed.batch.commands)

    def find(self, entry_digest: bytes) -> Submission | None:
        """Return the submission of exactly these bytes; None if refused whole, or forgotten."""
        known = self._submissions.get(entry_digest)
        return None if known is not None and known.refused else known

    def has_room(self, count: int) -> bool:
        """Tell whether a batch, of however many commands, may wait."""
        del count
        return len(self._queue) < QUEUE_MAX

    def check_number(self, signed: SignedBatch, *, current: bool) -> tuple[Reject, str] | None:
        """Return why this number cannot be the client's next one, with the field.

        Parameters
        ----------
        current : whether all that the log holds is released, so that a gap is certainly one

        Rejects
        -------
        NUMBER_REUSED, NUMBER_GAP
        """
        number = signed.batch.number
        newest = self._numbers.last_number(self.sender_id)
        waiting = [parcel.number for parcel in (*self.lane.kept.values(), *self._queue)]
        newest = max([newest, *waiting])
        if number <= newest:
            return Reject.NUMBER_REUSED, "number"
        if number > newest + 1 and current:
            return Reject.NUMBER_GAP, "number"
        return None

    def enqueue(self, payload: bytes, signed: SignedBatch) -> Submission:
        """Let a checked batch wait for its turn."""
        batch = signed.batch
        whole = Request("", b"", 0, len(batch.commands))
        parcel = Parcel(Sent(batch.number, payload, (whole,)))
        submission = Submission(batch.commands)
        self._submissions[parcel.entry_digest] = submission
        self._queue.append(parcel)
        self._forget_oldest()
        self._news.set()
        return submission

    def withdraw(self, submission: Submission) -> bool:
        """Take back a batch whose turn has not come; tell whether that was so."""
        for parcel in self._queue:
            if parcel is self._under_way:
                continue
            if self._submissions.get(parcel.entry_digest) is submission:
                self._queue.remove(parcel)
                del self._submissions[parcel.entry_digest]
                return True
        return False

    def waiting(self) -> list[Submission]:
        """Return the submissions whose answer is still to come."""
        return [known for known in self._submissions.values() if not known.settled]

    async def run(self) -> None:
        """Send what a crash left over, then whatever comes, for ever."""
        while True:
            if not self._queue:
                self._news.clear()
                await self._news.wait()
                continue
            # It leaves the queue only when it is in the log: its number is taken all the while.
            parcel = self._under_way = self._queue[0]
            await self.lane.send(parcel)
            self._queue.popleft()
            self._under_way = None
            submission = self._submissions[parcel.entry_digest]
            if not submission.settled:
                submission.acknowledge(self._place(parcel))

    def _on_settled(self, parcel: Parcel) -> None:
        submission = self._submissions.get(parcel.entry_digest)
        if submission is None:
            return
        submission.acknowledge(self._place(parcel))
        submission.refused = parcel.refusal is not None
        answer = submission.settle(parcel.joined)
        if answer is not None:
            self._on_answer(submission.ticket, answer)

    def _place(self, parcel: Parcel) -> Receipt:
        return place_of(parcel, parcel.requests[0])

    def _forget_oldest(self) -> None:
        while len(self._submissions) > REMEMBERED_MAX:
            oldest = next(iter(self._submissions))
            if not self._submissions[oldest].settled:
                return
            del self._submissions[oldest]
