"""The lane of one sender into the log: a batch at a time, retried until it is known to be in."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from seawall.node.clock import Backoff, Clock
from seawall.node.joined import Joined
from seawall.node.journal import Done, Journal, JournalFault, Past, Record, Sent
from seawall.protocol.codec import SignedBatch, decode_payload, entry_digest
from seawall.protocol.codes import Reject
from seawall.replica.log import Log, LogFault

BATCHES_IN_FLIGHT_MAX = 8
"""Per gateway. With hundreds a log node that was cut off takes minutes to rejoin."""
JOURNAL_BYTES_MAX = 32 << 20
BATCHES_REMEMBERED_MAX = 256
"""Settled batches whose requests are still known by name."""


class Numbers(Protocol):
    """What is known, from released entries, of the numbers that senders have used."""

    @property
    def seq(self) -> int:
        """Sequence of the newest released entry."""
        ...

    def lookup(self, sender_id: int, number: int, body_digest: bytes) -> int | Reject:
        """Return where this batch was applied, 0 if its number is still to come, or why not."""
        ...

    def last_number(self, sender_id: int) -> int:
        """Return the newest number that the machine accepted, 0 for none."""
        ...


class Outbound:
    """The way out that all lanes of a gateway share: the log, and how much may be in flight."""

    def __init__(
        self, log: Log, clock: Clock, *, in_flight_max: int = BATCHES_IN_FLIGHT_MAX
    ) -> None:
        self.log = log
        self.clock = clock
        self.faults_in_row = 0
        self.faults_count = 0
        self.acknowledged_seq = 0
        self._slots = asyncio.Semaphore(in_flight_max)

    async def append(self, message_id: str, payload: bytes) -> tuple[int, bool]:
        """Try once; return (seq, duplicate). Raises `LogFault`."""
        async with self._slots:
            try:
                appended = await self.log.append(message_id, payload)
            except LogFault:
                self.faults_in_row += 1
                self.faults_count += 1
                raise
        self.faults_in_row = 0
        self.acknowledged_seq = max(self.acknowledged_seq, appended.seq)
        return appended.seq, appended.duplicate


class Parcel:
    """A signed batch between its journal record and the release of its outcome."""

    def __init__(self, sent: Sent) -> None:
        signed = decode_payload(sent.payload)
        assert isinstance(signed, SignedBatch)
        self.number = sent.number
        self.payload = sent.payload
        self.requests = sent.requests
        self.signed = signed
        self.entry_digest = entry_digest(sent.payload)
        self.seq = 0
        """Where the log holds it, 0 while that is unknown."""
        self.settled = asyncio.Event()
        self.refusal: tuple[int, str] | None = None
        self.joined: Joined | None = None
        """The entry that settled it; None if that lies before what this node has read."""
        self.refused_copies: dict[int, Joined] = {}
        """Copies that the machine refused, by seq, while the log's answer is outstanding."""

    def past(self, seq: int) -> Past:
        """Return what is remembered once the batch was applied at `seq`."""
        return Past(self.number, seq, self.entry_digest, self.requests)


class Lane:
    """Sends the numbered batches of one sender in order and keeps each until it is released.

    Parameters
    ----------
    on_settled : told of each batch once its outcome is certified, in order of the log

    Invariants
    ----------
    One batch is unacknowledged at a time. A batch is in the journal before it leaves, and its
    bytes never change: a retry, also after a restart, is the same message.
    """

    def __init__(
        self,
        sender_id: int,
        outbound: Outbound,
        journal: Journal,
        numbers: Numbers,
        on_settled: Callable[[Parcel], None],
    ) -> None:
        self.sender_id = sender_id
        self.kept: dict[bytes, Parcel] = {}
        """Batches not yet released, by entry digest, in order of their numbers."""
        self.past: deque[Past] = deque(maxlen=BATCHES_REMEMBERED_MAX)
        self.journal_faults_count = 0
        self._outbound = outbound
        self._journal = journal
        self._numbers = numbers
        self._on_settled = on_settled

    def open(self) -> int:
        """Load the journal; return the next number to use, 0 if the journal does not tell."""
        next_number = 0
        for record in self._journal.load():
            if isinstance(record, Sent):
                parcel = Parcel(record)
                self.kept[parcel.entry_digest] = parcel
                next_number = record.number + 1
            elif isinstance(record, Past):
                self.past.append(record)
                next_number = record.number + 1
            else:
                self._forget(record)
                # A refused number was not used up, and those behind it were refused as well.
                next_number = 0 if record.refused else max(next_number, record.number + 1)
        return next_number

    def close(self) -> None:
        """Let go of the journal's file, once nothing is sent any more."""
        self._journal.close()

    @property
    def troubled(self) -> bool:
        """Whether the last try of any lane of this gateway failed."""
        return self._outbound.faults_in_row > 0

    async def send(self, parcel: Parcel) -> None:
        """Return when the log holds the batch durably; retry for as long as that takes."""
        if parcel.settled.is_set():
            return  # left over by a crash, and released before its turn came
        if parcel.entry_digest not in self.kept:
            await self._insist(lambda: self._write(parcel))
        if parcel.seq == 0:
            # Synced first: a log that holds what a loss of power then takes from the journal
            # would be given the same request again under the next number.
            await self._insist(self._journal.sync)
            await self._insist(lambda: self._append(parcel))

    async def drained(self) -> None:
        """Return when nothing is kept any more."""
        while self.kept:
            await next(iter(self.kept.values())).settled.wait()

    def take(self, joined: Joined) -> None:
        """Settle the batch of a released entry, if it is one of ours."""
        parcel = self.kept.get(joined.entry_digest)
        if parcel is None:
            return
        if joined.refusal is not None:
            parcel.refused_copies[joined.seq] = joined
            self._settle_refused(parcel)
            return
        parcel.seq = joined.seq
        parcel.joined = joined
        if joined.repeat_of is not None:
            # The first copy was released before this node began to read.
            parcel.seq = joined.repeat_of
            parcel.joined = None
        self._settle(parcel)

    async def _insist(self, act: Callable[[], Awaitable[None]]) -> None:
        backoff = Backoff(self._outbound.clock)
        while True:
            try:
                await act()
            except (LogFault, JournalFault) as fault:
                self.journal_faults_count += isinstance(fault, JournalFault)
                await backoff.pause()
            else:
                return

    async def _write(self, parcel: Parcel) -> None:
        self._journal.write(Sent(parcel.number, parcel.payload, parcel.requests))
        self.kept[parcel.entry_digest] = parcel

    async def _append(self, parcel: Parcel) -> None:
        """Try until the log holds a copy that was not refused before this node could see it."""
        copy = 0
        while parcel.seq == 0:
            message_id = self._message_id(parcel, copy)
            seq, duplicate = await self._outbound.append(message_id, parcel.payload)
            if parcel.seq != 0:
                return  # released while the log's answer was on its way
            if not duplicate or seq > self._numbers.seq or seq in parcel.refused_copies:
                parcel.seq = seq
                self._settle_refused(parcel)
                return
            # The log has known this very message since before this node began to keep it.
            applied = self._numbers.lookup(self.sender_id, parcel.number, parcel.signed.body_digest)
            if applied == 0:
                # That copy was refused; the same bytes need another name to enter again.
                copy += 1
                continue
            parcel.seq = seq if isinstance(applied, Reject) else applied
            if applied is Reject.NUMBER_REUSED:
                parcel.refusal = (applied, "number")
            self._settle(parcel)

    def _settle_refused(self, parcel: Parcel) -> None:
        """Settle the batch if the copy that the log answered for was refused whole.

        Another copy's refusal settles nothing: the one that the log holds may yet be applied,
        and what is sent again under a new number would then be applied twice.
        """
        joined = parcel.refused_copies.get(parcel.seq)
        if joined is not None and joined.refusal is not None:
            parcel.refusal = (joined.refusal.code, joined.refusal.field)
            parcel.joined = joined
            self._settle(parcel)

    def _message_id(self, parcel: Parcel, copy: int) -> str:
        """Return the id by which the log tells a retry from another message.

        It names the bytes too: the same number over other bytes must reach the machine, which
        answers NUMBER_REUSED, and not be taken for a retry and lost.
        """
        log_id = parcel.signed.batch.log_id.hex()[:16]
        name = f"{log_id}.{self.sender_id}.{parcel.number}.{parcel.entry_digest.hex()[:16]}"
        return f"{name}.{copy}" if copy else name

    def _settle(self, parcel: Parcel) -> None:
        del self.kept[parcel.entry_digest]
        done = Done(parcel.number, parcel.seq, parcel.refusal is not None)
        if parcel.refusal is None:
            self.past.append(parcel.past(parcel.seq))
        try:
            self._journal.write(done)
            if self._journal.size_bytes() > JOURNAL_BYTES_MAX:
                self._journal.rewrite(self._digest_records())
        except JournalFault:
            # Without the record a restart sends the batch again, and the machine says so.
            self.journal_faults_count += 1
        parcel.settled.set()
        self._on_settled(parcel)

    def _digest_records(self) -> list[Record]:
        kept = [
            Sent(parcel.number, parcel.payload, parcel.requests) for parcel in self.kept.values()
        ]
        return [*self.past, *kept]

    def _forget(self, done: Done) -> None:
        for digest_of_entry, parcel in list(self.kept.items()):
            if parcel.number == done.number:
                del self.kept[digest_of_entry]
                if not done.refused:
                    self.past.append(parcel.past(done.seq))
