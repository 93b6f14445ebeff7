"""The replica: reads the log, applies, chains, votes; finds itself outvoted, and comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable

from seawall.protocol.codec import entry_digest, log_id_of
from seawall.protocol.digest import genesis_chain
from seawall.protocol.signatures import SigningKey
from seawall.replica.bus import Message
from seawall.replica.checkpoints import Checkpointer
from seawall.replica.disk import DiskFault
from seawall.replica.doors import DiskTrouble, Doors, Notice, PhaseChanged, Settings, ignore
from seawall.replica.evidence import Offence
from seawall.replica.findings import BadVote, Certified, Dissent
from seawall.replica.handovers import Handovers
from seawall.replica.history import History
from seawall.replica.log import Entry, LogFault
from seawall.replica.machine import OUTCOME_BYTES_MAX, Roster, StateMachine, check_roster
from seawall.replica.messages import (
    ANSWER_OUTCOME_BYTES_MAX,
    HANDOVERS_MAX,
    OutcomeMessage,
    OutcomesAnswered,
    OutcomesAsked,
    Status,
    decode,
    encode,
)
from seawall.replica.proofs import Proof
from seawall.replica.quarantine import (
    Phase,
    Standing,
    begin_catch_up,
    drop_state,
    outvote,
    rejoin,
)
from seawall.replica.reading import ReadFault, read_steadily
from seawall.replica.restoring import find_snapshot, read_genesis_roster
from seawall.replica.snapshots import Restored
from seawall.replica.tally import Tally
from seawall.replica.tasks import race
from seawall.replica.voter import Voter
from seawall.replica.votes import Certificate, Vote

EPOCHS_KEPT = 2


class Replica:
    """One live replica of the machine.

    No replica leads. This one applies every entry of the log, signs the chain of outcomes and
    listens to what the others signed. When a majority certifies another chain than its own it
    stops voting at once, keeps the evidence, drops its state, restores a certified one, catches
    up and votes again when its chain is the newest certified one.

    A bug in the machine asserts; nobody catches it here and `run` ends with it.

    Parameters
    ----------
    key : signs votes; its public key stands in the roster under `name`
    new_machine : returns an empty machine
    notice : is told what happens, at once and in order; must not raise
    """

    def __init__(
        self,
        *,
        name: str,
        key: SigningKey,
        doors: Doors,
        new_machine: Callable[[], StateMachine],
        settings: Settings | None = None,
        notice: Callable[[Notice], None] = ignore,
    ) -> None:
        self.name = name
        self.standing = Standing()
        self._doors = doors
        self._new_machine = new_machine
        self._settings = Settings() if settings is None else settings
        self._notice = notice
        self._machine = new_machine()
        self._history = self._new_history()
        self._handovers = Handovers()
        self._voter = Voter(name=name, key=key)
        self._rosters: dict[int, Roster] = {}
        self._tallies: dict[int, Tally] = {}
        self._newest: Certificate | None = None
        self._agreed: Certificate | None = None
        self._offence: Offence | None = None
        self._to_settle = False
        self._head_seq = 0
        self._loud_seq = 1
        self._stalled = False
        self._read_faults = 0
        self._votes_sent = 0
        self._pending = asyncio.Event()
        self._doubt = asyncio.Event()
        self._checkpointer: Checkpointer | None = None
        if doors.snapshots is not None:
            self._checkpointer = Checkpointer(
                doors.snapshots,
                prove=self._prove,
                handovers=lambda: self._handovers.proved,
                notice=notice,
            )

    @property
    def machine(self) -> StateMachine:
        """The machine as it is now: for queries, never for writing; it changes when restored."""
        return self._machine

    def status(self) -> Status:
        """Return how this replica is."""
        return Status(
            replica=self.name,
            epoch=self._machine.roster().epoch,
            seq=self._history.seq,
            chain=self._history.chain,
            certified_seq=0 if self._newest is None else self._newest.seq,
            lag_entries=self._head_seq - self._history.seq,
            phase=self.standing.phase.value,
            offences=self.standing.offences,
            oldest_outcome_seq=self._history.oldest_outcome_seq,
            read_faults=self._read_faults,
            snapshot_seq=0 if self._checkpointer is None else self._checkpointer.sealed_seq,
            at_ns=self._doors.clock.now_ns(),
        )

    async def run(self) -> None:
        """Live until the log ends, the task is cancelled or the machine asserts."""
        bus = self._doors.bus
        votes = bus.subscribe("vote.>")
        # The group is the replica itself: each request is meant for one of them.
        await bus.serve(f"outcomes.{self.name}", self._answer, group=self.name)
        writing = () if self._checkpointer is None else (self._checkpointer.run(),)
        await race(
            self._follow(),
            self._listen(votes),
            self._cast(),
            self._report(),
            self._watch_head(),
            *writing,
        )

    # Reading and applying.

    async def _follow(self) -> None:
        await self._begin()
        while self.standing.phase is not Phase.OUT:
            self._stalled = False
            await race(self._read(), self._doubt.wait(), self._watch_progress())
            if self._doubt.is_set():
                self._doubt.clear()
                await self._regain()
            elif not self._stalled:
                return
        # Out for good: still there to be asked how it is.
        await asyncio.Event().wait()

    async def _read(self) -> None:
        entries = read_steadily(
            self._doors.log, self._doors.clock, self._history.seq + 1, self._on_read_fault
        )
        async for entry in entries:
            message = self._apply(entry)
            if self.standing.phase is Phase.VOTING and entry.seq >= self._loud_seq:
                await self._doors.bus.publish(f"outcome.{self.name}", encode(message))
            # Neither the log nor the bus need have waited: let the others run.
            await asyncio.sleep(0)

    async def _watch_progress(self) -> None:
        """Return when the log has more than it gives: the serving node is ill in silence."""
        seq_before = self._history.seq
        waited_s = 0.0
        while waited_s < self._settings.stall_s:
            await self._doors.clock.sleep(self._settings.status_interval_s)
            waited_s += self._settings.status_interval_s
            if self._history.seq != seq_before or self._head_seq <= seq_before:
                seq_before, waited_s = self._history.seq, 0.0
        self._stalled = True
        self._on_read_fault(ReadFault(seq=seq_before + 1, reason="stalled", attempt=1))

    def _on_read_fault(self, fault: ReadFault) -> None:
        self._read_faults += 1
        self._notice(fault)

    def _apply(self, entry: Entry) -> OutcomeMessage:
        """Apply one entry, chain its outcome and hold it against what is certified already."""
        machine, history = self._machine, self._history
        assert entry.seq == history.seq + 1
        if entry.seq == 1:
            log_id = log_id_of(entry.payload)
            assert self._settings.log_id in (b"", log_id)
            history.found(genesis_chain(log_id))
        roster_before = machine.roster()
        outcome = machine.apply(entry.seq, entry.payload)
        assert len(outcome) <= OUTCOME_BYTES_MAX
        assert machine.seq == entry.seq
        roster = machine.roster()
        voters = roster if entry.seq == 1 else roster_before
        message = history.append(
            entry_digest=entry_digest(entry.payload), outcome=outcome, epoch=voters.epoch
        )
        if roster != roster_before:
            self._install(roster)
            if entry.seq > 1:
                self._handovers.due.append(message)
        self._take_checkpoint(message)
        certificate = self._certificate_at(entry.seq)
        if certificate is not None:
            self._judge(certificate)
        self._pending.set()
        return message

    def _install(self, roster: Roster) -> None:
        """Count votes for a roster from now on, beside the one before it."""
        if not roster.keys:
            return
        assert check_roster(roster) is None
        self._rosters[roster.epoch] = roster
        known = self._tallies.get(roster.epoch)
        if known is None or known.roster != roster:
            self._tallies[roster.epoch] = Tally(roster)
        for epoch in sorted(self._tallies)[:-EPOCHS_KEPT]:
            del self._tallies[epoch]
        for epoch in sorted(self._rosters)[:-HANDOVERS_MAX]:
            del self._rosters[epoch]

    # Votes.

    async def _cast(self) -> None:
        """Sign what was applied: at once when it is quiet, else once an interval."""
        while True:
            await self._pending.wait()
            self._pending.clear()
            while self.standing.phase is Phase.VOTING:
                vote = self._voter.next_vote(self._history, self._rosters)
                if vote is None:
                    break
                self._votes_sent += 1
                self._hear(vote)
                await self._doors.bus.publish(f"vote.{self.name}", encode(vote))
            await self._doors.clock.sleep(self._settings.vote_interval_s)

    async def _listen(self, votes: AsyncIterator[Message]) -> None:
        async for message in votes:
            vote = decode(Vote, message.data)
            if vote is None:
                sender = message.subject.removeprefix("vote.")
                self._notice(BadVote(replica=sender, reason="malformed"))
            else:
                self._hear(vote)

    def _hear(self, vote: Vote) -> None:
        # A vote of an unknown epoch is early or late, and comes again: no reason to blame.
        tally = self._tallies.get(vote.epoch)
        if tally is None:
            return
        for finding in tally.add(vote):
            self._notice(finding)
            if isinstance(finding, Certified):
                if self._newest is None or finding.certificate.seq > self._newest.seq:
                    self._newest = finding.certificate
                self._judge(finding.certificate)
            elif isinstance(finding, Dissent) and finding.replica == self.name:
                certificate = tally.certificate_at(finding.seq)
                assert certificate is not None
                self._judge(certificate)

    def _certificate_at(self, seq: int) -> Certificate | None:
        for tally in self._tallies.values():
            certificate = tally.certificate_at(seq)
            if certificate is not None:
                return certificate
        return None

    def _judge(self, certificate: Certificate) -> None:
        """Hold the own chain against a certified one, where both are known."""
        own = self._history.chain_at(certificate.seq)
        if own is None:
            return
        if own != certificate.chain:
            self._be_outvoted(certificate, own)
            return
        if self._agreed is None or certificate.seq > self._agreed.seq:
            self._agreed = certificate
        self._handovers.prove(self._history, self._certificate_at)
        if self._checkpointer is not None:
            self._checkpointer.stir()
        newest = self._newest
        if newest is not None and certificate.seq >= newest.seq:
            standing = rejoin(self.standing, certified_seq=certificate.seq, agrees=True)
            if standing.phase is not self.standing.phase:
                self._voter.start_before(certificate.seq)
                self._to_settle = True
                self._change(standing)
                self._pending.set()

    # Quarantine.

    def _change(self, standing: Standing) -> None:
        self.standing = standing
        self._notice(PhaseChanged(standing=standing))

    def _be_outvoted(self, certificate: Certificate, own: bytes) -> None:
        if self.standing.phase not in (Phase.VOTING, Phase.CATCHING_UP):
            return
        voted_seq = self._voter.voted_seq if self._voter.newest else 0
        standing = outvote(self.standing, seq=certificate.seq, voted_seq=voted_seq)
        self._offence = Offence(
            replica=self.name,
            index=standing.offences,
            seq=certificate.seq,
            chain=own,
            certificate=certificate,
            voted_seq=standing.voted_seq,
            votes=self._voter.newest,
            at_ns=self._doors.clock.now_ns(),
        )
        if self._checkpointer is not None:
            self._checkpointer.drop()
        self._change(standing)
        self._doubt.set()

    async def _regain(self) -> None:
        """Keep the evidence, drop the state, take a certified one."""
        assert self._offence is not None
        if self._doors.evidence is not None:
            try:
                await self._doors.evidence.keep(self._offence)
            except DiskFault as fault:
                self._notice(DiskTrouble(reason=str(fault)))
        self._change(drop_state(self.standing))
        self._machine = self._new_machine()
        self._history = self._new_history()
        self._handovers = Handovers()
        self._rosters = {}
        self._agreed = None
        self._to_settle = False
        if self.standing.phase is Phase.RESTORING:
            await self._restore()
            self._change(begin_catch_up(self.standing))

    async def _settle(self) -> None:
        """Write down that this replica has rejoined, so that after a restart it votes at once."""
        self._to_settle = False
        if self._doors.evidence is None:
            return
        try:
            await self._doors.evidence.settle()
        except DiskFault as fault:
            self._notice(DiskTrouble(reason=str(fault)))

    # Starting and restoring.

    async def _begin(self) -> None:
        if self._doors.evidence is not None:
            try:
                self.standing = await self._doors.evidence.standing()
            except DiskFault as fault:
                self._notice(DiskTrouble(reason=str(fault)))
        if self.standing.phase is Phase.OUT:
            self._change(self.standing)
            return
        await self._restore()
        if self.standing.phase is Phase.RESTORING:
            self._change(begin_catch_up(self.standing))

    async def _restore(self) -> None:
        """Take the newest certified snapshot, else stay empty and replay from entry 1."""
        if self._doors.snapshots is not None:
            restored, refused = await find_snapshot(
                self._doors.snapshots, self._new_machine, self._read_anchor
            )
            for snapshot in refused:
                self._notice(snapshot)
            if restored is not None:
                self._resume(restored)
        try:
            self._head_seq = await self._doors.log.last_seq()
        except LogFault as fault:
            self._on_read_fault(ReadFault(seq=0, reason=repr(fault), attempt=1))
        # Nobody asks for outcomes older than any replica holds, so they pass in silence.
        held_seq = self._head_seq - self._settings.entries_held_max
        self._loud_seq = max(held_seq, self._history.oldest_seq, self.standing.voted_seq + 1)
        self._voter.start_before(self._loud_seq)
        self._pending.set()

    async def _read_anchor(self) -> Roster | None:
        if self._settings.anchor is not None:
            return self._settings.anchor
        return await read_genesis_roster(
            self._doors.log, self._doors.clock, self._new_machine, self._on_read_fault
        )

    def _resume(self, restored: Restored) -> None:
        """Go on from a snapshot as if its entry had just been applied."""
        checkpoint = restored.checkpoint
        self._machine = restored.machine
        roster = self._machine.roster()
        changed = self._machine.roster_of(checkpoint.outcome) is not None
        voters_epoch = roster.epoch - 1 if changed and checkpoint.seq > 1 else roster.epoch
        self._history = self._new_history(seq=checkpoint.seq - 1, chain=checkpoint.chain_before)
        self._history.append(
            entry_digest=checkpoint.entry_digest, outcome=checkpoint.outcome, epoch=voters_epoch
        )
        self._handovers = Handovers(restored.handovers)
        self._install(roster)
        if self._checkpointer is not None:
            self._checkpointer.sealed_seq = checkpoint.seq

    def _new_history(self, *, seq: int = 0, chain: bytes = b"") -> History:
        return History(
            seq=seq,
            chain=chain,
            entries_max=self._settings.entries_held_max,
            outcome_bytes_max=self._settings.outcome_bytes_held_max,
        )

    # Checkpoints.

    def _take_checkpoint(self, message: OutcomeMessage) -> None:
        if self._checkpointer is None or self._checkpointer.busy:
            return
        state_digest = self._machine.checkpoint_of(message.outcome)
        # During a long replay nobody votes on what passes, so nothing of it could be sealed.
        if state_digest is not None and message.seq >= self._loud_seq:
            self._checkpointer.take(message, state_digest, self._machine.pages())

    def _prove(self, message: OutcomeMessage) -> Proof | str | None:
        if self._history.chain_at(message.seq - 1) is None:
            return "not certified in time"
        newest = self._agreed
        if newest is None or newest.seq < message.seq or self._handovers.due:
            return None
        return self._history.prove(message, self._certificate_at(message.seq) or newest)

    # Telling others.

    async def _answer(self, data: bytes) -> bytes:
        """Answer a reader; a replica in doubt about itself says nothing of outcomes."""
        asked = decode(OutcomesAsked, data)
        trusted = self.standing.phase is Phase.VOTING
        outcomes: list[OutcomeMessage] = []
        if asked is not None and trusted:
            outcomes = self._history.outcomes(
                asked.first_seq, asked.last_seq, bytes_max=ANSWER_OUTCOME_BYTES_MAX
            )
        return encode(
            OutcomesAnswered(
                replica=self.name,
                outcomes=tuple(outcomes),
                certificate=self._agreed,
                handovers=self._handovers.proved[-HANDOVERS_MAX:],
                oldest_seq=self._history.oldest_outcome_seq if trusted else 0,
                archive=self._settings.archive,
            )
        )

    async def _report(self) -> None:
        """Publish the status; repeat the last vote when nothing new was said: it may be lost."""
        votes_sent = 0
        while True:
            status = encode(self.status())
            await self._doors.bus.publish(f"status.{self.name}", status)
            if self.standing.phase is Phase.VOTING:
                await self._repeat_vote(since=votes_sent)
                votes_sent = self._votes_sent
                if self._to_settle:
                    await self._settle()
                if self._handovers.due:
                    await self._seek_handover()
            await self._doors.clock.sleep(self._settings.status_interval_s)

    async def _repeat_vote(self, *, since: int) -> None:
        if self._votes_sent == since:
            for vote in self._voter.newest[-1:]:
                await self._doors.bus.publish(f"vote.{self.name}", encode(vote))

    async def _seek_handover(self) -> None:
        peers = [name for name, _ in self._machine.roster().keys if name != self.name]
        await self._handovers.seek(self._doors.bus, peers, self._history, self._rosters)

    async def _watch_head(self) -> None:
        while True:
            try:
                self._head_seq = await self._doors.log.last_seq()
            except LogFault as fault:
                self._on_read_fault(ReadFault(seq=0, reason=repr(fault), attempt=1))
            await self._doors.clock.sleep(self._settings.status_interval_s)
