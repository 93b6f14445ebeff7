"""The gateway: commands in, receipts once they are durable, answers once they are released."""

import asyncio
from collections.abc import Mapping

import msgspec

from seawall.node.clock import Backoff, Clock
from seawall.node.joined import Joined
from seawall.node.journal import Journals
from seawall.node.lane import BATCHES_IN_FLIGHT_MAX, Outbound
from seawall.node.presigned import Presigned
from seawall.node.progress import Progress, Recent
from seawall.node.receipts import (
    Answer,
    Receipt,
    Refused,
    Stopped,
    Submission,
    answer_receipt,
)
from seawall.node.register import Register
from seawall.node.sender import Sender, Signer, Sizes, make_submission
from seawall.node.witness import NoWitness, Witness
from seawall.protocol.codec import SignedBatch, decode_payload, entry_digest
from seawall.protocol.codes import Reject
from seawall.protocol.commands import ActivateRules, AnyCommand
from seawall.protocol.genesis import RULES_VERSION
from seawall.protocol.signatures import SigningKey
from seawall.replica.log import PAYLOAD_BYTES_MAX, Log, LogFault

ENVELOPE_BYTES = 256
"""More than format, signature, log id, sender and number take in a payload."""


class Intake(msgspec.Struct, frozen=True):
    """When a gateway says no, and how long it tries before it does."""

    sizes: Sizes = Sizes()
    ahead_entries_max: int = 1024
    """Entries that the log may hold beyond what is released."""
    patience_s: float = 15.0
    """How long a client waits for durability; a log that lost its leader takes 4 to 9 s."""
    in_flight_max: int = BATCHES_IN_FLIGHT_MAX
    head_poll_s: float = 0.5


class Gateway:
    """Takes commands for the senders whose keys it holds, and batches that clients signed.

    Parameters
    ----------
    keys : by sender id; what these senders say is signed here

    Attributes
    ----------
    witness : keeps the history of requests; none unless it is replaced

    Notes
    -----
    `run` and `take` drive it: `run` sends, `take` is called with every released entry in order.
    """

    def __init__(
        self,
        log_id: bytes,
        log: Log,
        clock: Clock,
        keys: Mapping[int, SigningKey],
        journals: Journals,
        *,
        intake: Intake | None = None,
    ) -> None:
        self.witness: Witness = NoWitness()
        self.register = Register()
        self.progress = Progress()
        self.intake = Intake() if intake is None else intake
        self.outbound = Outbound(log, clock, in_flight_max=self.intake.in_flight_max)
        self.log_end_seq = 0
        self._log = log
        self._clock = clock
        self._journals = journals
        self._recent = Recent()
        self._tickets = 0
        self._start_seq: int | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._senders = {
            sender_id: Sender(
                Signer(log_id, sender_id, key),
                self.outbound,
                journals.open(f"sender-{sender_id}"),
                self.register,
                sizes=self.intake.sizes,
                on_answer=self._on_answer,
            )
            for sender_id, key in sorted(keys.items())
        }
        self._clients: dict[int, Presigned] = {}
        for name in journals.names():
            kind, _, sender_id = name.partition("-")
            if kind == "client":
                self._open_client(int(sender_id))

    @property
    def ahead_entries(self) -> int:
        """How many entries the log is known to hold beyond what is released."""
        end_seq = max(self.log_end_seq, self.outbound.acknowledged_seq)
        return max(0, end_seq - self.progress.seq)

    @property
    def kept_batches(self) -> int:
        """How many batches are on their way or not released yet."""
        return sum(len(lane.lane.kept) for lane in self._lanes())

    def resume(self, register: Register) -> None:
        """Go on from a bookmark; before anything is taken."""
        assert self.register.seq == 0
        self.register.copy_from(register)
        self.progress.advance(register.seq)

    async def submit(
        self,
        sender_id: int,
        commands: tuple[AnyCommand, ...],
        *,
        request_id: str = "",
        alone: bool = False,
    ) -> Receipt | Refused:
        """Return a receipt once the log holds the commands durably, together and in order.

        Parameters
        ----------
        request_id : the client's own name of the request; a repeat gets the first one's receipt
        alone : give the commands an entry of their own, so that all its events are theirs

        Rejects
        -------
        SENDER_UNKNOWN, COMMANDS_EMPTY, NUMBER_REUSED (the name, with other commands),
        BACKLOG, LOG_DOWN (certainly not in the log), UNKNOWN_OUTCOME (it may come to be in the
        log: ask again by the same name), RULES_FUTURE, BATCH_LARGE
        """
        ticket = self._ask(sender_id, commands)
        sender = self._senders.get(sender_id)
        if sender is None:
            return self._refuse(ticket, Refused(Reject.SENDER_UNKNOWN, "sender_id"))
        submission = make_submission(commands, request_id=request_id, alone=alone)
        submission.ticket = ticket
        known = sender.find(request_id)
        if known is not None:
            if known.commands_digest != submission.commands_digest:
                return self._refuse(ticket, Refused(Reject.NUMBER_REUSED, "request_id"))
            return await self._acknowledge(ticket, known, sender)
        refused = check_content(commands, submission.size_bytes)
        refused = refused or self._check_room(sender, len(commands))
        if refused is not None:
            return self._refuse(ticket, refused)
        sender.enqueue(submission)
        return await self._acknowledge(ticket, submission, sender)

    async def submit_signed(self, payload: bytes) -> Receipt | Refused:
        """Return a receipt once the log holds this signed batch durably.

        The same bytes always get the same receipt, as long as the machine remembers the number.

        Rejects
        -------
        MALFORMED, VERSION_FUTURE, GENESIS_MISPLACED; as `clearing.authority.check_batch`, as far
        as the register can tell; ROLE_MISSING if no command can pass; then as `submit`
        """
        signed = decode_payload(payload)
        if not isinstance(signed, SignedBatch):
            code = signed if isinstance(signed, Reject) else Reject.GENESIS_MISPLACED
            return self._refuse(self._ask(0, ()), Refused(code, "payload"))
        batch = signed.batch
        ticket = self._ask(batch.sender_id, batch.commands)
        refusal = self.register.check_sender(signed)
        if refusal is None and batch.sender_id in self._senders:
            # Two pens for one sender would use each other's numbers.
            refusal = Reject.SENDER_UNKNOWN, "sender_id"
        if refusal is not None:
            return self._refuse(ticket, Refused(*refusal))
        client = self._clients.get(batch.sender_id) or self._open_client(batch.sender_id)
        known = client.find(entry_digest(payload))
        if known is None:
            checked = self._check_signed(client, signed, len(payload))
            if isinstance(checked, Refused):
                return self._refuse(ticket, checked)
            if checked:
                return self._applied_before(ticket, payload, signed, checked)
            known = client.enqueue(payload, signed)
            known.ticket = ticket
        return await self._acknowledge(ticket, known, client)

    async def wait_released(self, receipt: Receipt) -> Answer | None:
        """Return what became of the commands of a receipt, as soon as a majority says so.

        None: it was released, but this node no longer has the outcome at hand; the archive has.

        Raises
        ------
        Stopped
            If the gateway stops before.
        """
        lane = self._senders.get(receipt.sender_id) or self._clients.get(receipt.sender_id)
        known = None
        if isinstance(lane, Sender):
            known = lane.find_place(receipt.entry_digest, receipt.index)
        elif isinstance(lane, Presigned):
            known = lane.find(receipt.entry_digest)
        if known is not None and not known.settled:
            return await known.watch()
        place = receipt
        if known is not None and known.place is not None:
            place = known.place
        await self.progress.reached(place.seq)
        joined = self._recent.at(place.seq)
        return None if joined is None else answer_receipt(receipt, place, joined)

    def take(self, joined: Joined) -> None:
        """Take in the next released entry: settle what waits for it."""
        self.register.take(joined)
        self._recent.take(joined)
        if isinstance(joined.content, SignedBatch):
            sender_id = joined.content.batch.sender_id
            lane = self._senders.get(sender_id) or self._clients.get(sender_id)
            if lane is not None:
                lane.lane.take(joined)
        self.progress.advance(joined.seq)

    async def run(self) -> None:
        """Send whatever is submitted until cancelled; what was left from before goes first."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._watch_log_end())
                for sender in self._senders.values():
                    tasks.create_task(sender.run(self._reach_start))
                for client in self._clients.values():
                    tasks.create_task(client.run())
        finally:
            self._tasks = None
            stopped = Stopped("the gateway stopped before the answer came")
            self.progress.stop(stopped)
            for lane in self._lanes():
                for submission in lane.waiting():
                    submission.stop(stopped)
                lane.lane.close()

    @property
    def _caught_up(self) -> bool:
        return self._start_seq is not None and self.progress.seq >= self._start_seq

    async def _reach_start(self) -> None:
        """Return once all that the log held when this gateway started is released."""
        while self._start_seq is None:
            await self._clock.sleep(self.intake.head_poll_s / 10)
        await self.progress.reached(self._start_seq)

    async def _watch_log_end(self) -> None:
        backoff = Backoff(self._clock)
        while True:
            try:
                self.log_end_seq = await self._log.last_seq()
            except LogFault:
                await backoff.pause()
                continue
            backoff.reset()
            if self._start_seq is None:
                self._start_seq = self.log_end_seq
            await self._clock.sleep(self.intake.head_poll_s)

    def _open_client(self, sender_id: int) -> Presigned:
        client = Presigned(
            sender_id,
            self.outbound,
            self._journals.open(f"client-{sender_id}"),
            self.register,
            on_answer=self._on_answer,
        )
        self._clients[sender_id] = client
        if self._tasks is not None:
            self._tasks.create_task(client.run())
        return client

    def _on_answer(self, ticket: int, answer: Answer) -> None:
        self.witness.answered(ticket, answer)

    def _ask(self, sender_id: int, commands: tuple[AnyCommand, ...]) -> int:
        self._tickets += 1
        self.witness.asked(self._tickets, sender_id, commands)
        return self._tickets

    def _refuse(self, ticket: int, refused: Refused) -> Refused:
        self.witness.refused(ticket, refused)
        return refused

    def _check_signed(
        self, client: Presigned, signed: SignedBatch, size_bytes: int
    ) -> Refused | int:
        """Return where the batch was applied before, 0 if it may enter the log, or why not."""
        batch = signed.batch
        applied_seq = self.register.lookup(batch.sender_id, batch.number, signed.body_digest)
        if isinstance(applied_seq, Reject):
            return Refused(applied_seq, "number")
        if applied_seq:
            return applied_seq
        current = self._caught_up and self.ahead_entries == 0
        refusal = client.check_number(signed, current=current) or self.register.check_roles(batch)
        if refusal is not None:
            return Refused(*refusal)
        refused = check_content(batch.commands, size_bytes)
        return refused or self._check_room(client, len(batch.commands)) or 0

    def _applied_before(
        self, ticket: int, payload: bytes, signed: SignedBatch, seq: int
    ) -> Receipt:
        batch = signed.batch
        receipt = Receipt(
            seq=seq,
            index=0,
            count=len(batch.commands),
            sender_id=batch.sender_id,
            number=batch.number,
            entry_digest=entry_digest(payload),
        )
        self.witness.acknowledged(ticket, receipt)
        return receipt

    def _check_room(self, lane: Sender | Presigned, count: int) -> Refused | None:
        if self.ahead_entries > self.intake.ahead_entries_max:
            detail = f"{self.ahead_entries} entries are not released yet"
            return Refused(Reject.BACKLOG, "log", detail)
        if not lane.has_room(count):
            return Refused(Reject.BACKLOG, "sender_id", "the sender's queue is full")
        return None

    def _lanes(self) -> list[Sender | Presigned]:
        return [*self._senders.values(), *self._clients.values()]

    async def _acknowledge(
        self, ticket: int, submission: Submission, lane: Sender | Presigned
    ) -> Receipt | Refused:
        """Wait until the submission is durable, or for as long as a client is to wait."""
        if not submission.acknowledged.is_set():
            await self._wait(submission.acknowledged)
        if submission.receipt is not None:
            self.witness.acknowledged(ticket, submission.receipt)
            return submission.receipt
        troubled = lane.lane.troubled
        if lane.withdraw(submission):
            code = Reject.LOG_DOWN if troubled else Reject.BACKLOG
            return self._refuse(ticket, Refused(code, "log", "not sent"))
        return self._refuse(ticket, Refused(Reject.UNKNOWN_OUTCOME, "log", "still being sent"))

    async def _wait(self, event: asyncio.Event) -> None:
        tasks = (
            asyncio.ensure_future(event.wait()),
            asyncio.ensure_future(self._clock.sleep(self.intake.patience_s)),
        )
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()


def check_content(commands: tuple[AnyCommand, ...], size_bytes: int) -> Refused | None:
    """Return why these commands must not enter a log, whoever asks.

    Rejects
    -------
    COMMANDS_EMPTY, RULES_FUTURE, BATCH_LARGE
    """
    if not commands:
        return Refused(Reject.COMMANDS_EMPTY, "commands")
    for command in commands:
        if isinstance(command, ActivateRules) and command.version > RULES_VERSION:
            return Refused(
                Reject.RULES_FUTURE, "version", f"this build knows rules up to {RULES_VERSION}"
            )
    if size_bytes + ENVELOPE_BYTES > PAYLOAD_BYTES_MAX:
        return Refused(Reject.BATCH_LARGE, "commands", f"{size_bytes} bytes")
    return None
