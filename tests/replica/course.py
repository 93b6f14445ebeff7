"""A log, its outcomes and chain, and certificates for any of it: what votes would have proved."""

from seawall.protocol.codec import entry_digest
from seawall.protocol.digest import genesis_chain
from seawall.replica.assembly import Position, Released
from seawall.replica.history import History
from seawall.replica.log import Entry
from seawall.replica.machine import Roster
from seawall.replica.messages import OutcomeMessage
from seawall.replica.proofs import Proof
from seawall.replica.votes import Certificate, Vote, cast_vote
from tests.replica.reference import Ledger, addition, enrolment, genesis, key_of, roster_for


class Course:
    """A machine and its history, entry by entry.

    Parameters
    ----------
    enrol_at : at which entries which members take over
    """

    def __init__(
        self, entries: int, *names: str, enrol_at: dict[int, tuple[str, ...]] | None = None
    ) -> None:
        self.names = names
        self.anchor = roster_for(*names)
        self.machine = Ledger()
        self.history = History()
        self.history.found(genesis_chain(self.anchor.log_id))
        self.start = Position(seq=0, chain=self.history.chain)
        self.entries: list[Entry] = []
        self.messages: list[OutcomeMessage] = []
        self.rosters: dict[int, Roster] = {}
        self.pages: dict[int, list[bytes]] = {}
        for seq in range(1, entries + 1):
            self.rosters[seq] = self.anchor if seq == 1 else self.machine.roster()
            payload = genesis(*names) if seq == 1 else addition(seq)
            if enrol_at is not None and seq in enrol_at:
                payload = enrolment(*enrol_at[seq])
            self._append(seq, payload)

    def _append(self, seq: int, payload: bytes) -> None:
        self.entries.append(Entry(seq=seq, payload=payload))
        outcome = self.machine.apply(seq, payload)
        self.messages.append(
            self.history.append(
                entry_digest=entry_digest(payload),
                outcome=outcome,
                epoch=self.rosters[seq].epoch,
            )
        )
        if seq % 10 == 0:
            self.pages[seq] = list(self.machine.pages())

    def vote(self, name: str, first_seq: int, last_seq: int) -> Vote:
        return cast_vote(
            key_of(name),
            roster=self.rosters[first_seq],
            replica=name,
            first_seq=first_seq,
            chains=b"".join(step.chain for step in self.history.span(first_seq, last_seq)),
        )

    def certificate(self, seq: int, *names: str, roster: Roster | None = None) -> Certificate:
        chain = self.history.chain_at(seq)
        assert chain is not None
        voters = self.rosters[seq] if roster is None else roster
        members = [name for name, _ in voters.keys]
        votes = tuple(
            cast_vote(key_of(name), roster=voters, replica=name, first_seq=seq, chains=chain)
            for name in names or members[: voters.majority]
        )
        return Certificate(
            log_id=voters.log_id, epoch=voters.epoch, seq=seq, chain=chain, votes=votes
        )

    def proof(self, seq: int, certified_seq: int | None = None) -> Proof:
        certificate = self.certificate(certified_seq or seq)
        proof = self.history.prove(self.messages[seq - 1], certificate)
        assert proof is not None
        return proof

    def released(self, seq: int, certified_seq: int | None = None) -> Released:
        message = self.messages[seq - 1]
        chain = self.history.chain_at(seq)
        assert chain is not None
        return Released(
            seq=seq,
            chain=chain,
            entry_digest=message.entry_digest,
            outcome=message.outcome,
            certificate=self.certificate(certified_seq or seq),
        )
