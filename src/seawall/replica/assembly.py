"""The assembly: outcomes from anybody, released in order once votes certify them. Pure, bounded."""

from collections.abc import Callable, Iterator

import msgspec

from seawall.protocol.codec import outcome_digest
from seawall.protocol.digest import DIGEST_BYTES, next_chain
from seawall.replica.findings import Certified, Finding
from seawall.replica.machine import OUTCOME_BYTES_MAX, Roster
from seawall.replica.messages import OutcomeMessage, OutcomesAnswered
from seawall.replica.proofs import LINKS_MAX, Link, follow_handovers
from seawall.replica.tally import Tally
from seawall.replica.votes import Certificate, Vote

WINDOW_ENTRIES = LINKS_MAX
"""As many as a replica holds, so all that can still be asked for fits here."""
HELD_BYTES_MAX = 96 << 20
TAKEN_MAX = 64


class Released(msgspec.Struct, frozen=True):
    """An outcome that a majority computed; the certificate is of this entry or a later one.

    Attributes
    ----------
    chain : after this entry
    """

    seq: int
    chain: bytes
    entry_digest: bytes
    outcome: bytes
    certificate: Certificate


class Position(msgspec.Struct, frozen=True):
    """A place in the log and the chain there, known to be good."""

    seq: int
    chain: bytes


class Misreported(msgspec.Struct, frozen=True, tag=True):
    """A replica sent an outcome that does not lead to the certified chain."""

    replica: str
    seq: int


class Candidate:
    """What some replicas say that an entry brought forth."""

    def __init__(self, message: OutcomeMessage, source: str) -> None:
        self.message = message
        self.sources = [source]
        self.link = Link(
            entry_digest=message.entry_digest, outcome_digest=outcome_digest(message.outcome)
        )

    def chain_after(self, chain: bytes) -> bytes:
        """Return the chain if this is what happened."""
        return next_chain(chain, self.message.seq, self.link.entry_digest, self.link.outcome_digest)


def _release(candidate: Candidate, chain: bytes, certificate: Certificate) -> Released:
    return Released(
        seq=candidate.message.seq,
        chain=chain,
        entry_digest=candidate.message.entry_digest,
        outcome=candidate.message.outcome,
        certificate=certificate,
    )


class Assembly:
    """Rebuilds the chain from entry digests and outcomes and lets out what is certified.

    Any source may lie: a candidate counts when the chain through it is certified. Where no
    votes are known for an entry, the next certified chain after it decides.

    Parameters
    ----------
    roster : who votes; trusted
    roster_of : as `StateMachine.roster_of`; is shown certified outcomes only
    position : release what follows it; None for the newest certified entry there is
    """

    def __init__(
        self,
        roster: Roster,
        *,
        roster_of: Callable[[bytes], Roster | None],
        position: Position | None,
        window_entries: int = WINDOW_ENTRIES,
        held_bytes_max: int = HELD_BYTES_MAX,
    ) -> None:
        self.position = position
        self.tally = Tally(roster)
        self.rosters = {roster.epoch: roster}
        self.certified_seq = 0
        self.wrong: list[Misreported] = []
        self._roster_of = roster_of
        self._window_entries = window_entries
        self._held_bytes_max = held_bytes_max
        self._held: dict[int, list[Candidate]] = {}
        self._held_bytes = 0
        self._disputed_seq = 0
        self._stopped_seq = 0
        self._worth_a_look = True

    @property
    def worth_a_look(self) -> bool:
        """Whether `take` may have something to give; it is certain to have nothing if not."""
        return self._worth_a_look

    def hear_vote(self, vote: Vote) -> list[Finding]:
        """Count a vote; return what the tally finds. Other epochs' votes are early or late."""
        if vote.epoch != self.tally.roster.epoch:
            return []
        findings = self.tally.add(vote)
        # Also a vote that certifies nothing newer may settle an entry that held the walk up.
        self._worth_a_look = True
        for finding in findings:
            if isinstance(finding, Certified):
                certificate = finding.certificate
                self.certified_seq = max(self.certified_seq, certificate.seq)
                if self.position is None:
                    self.position = Position(seq=certificate.seq, chain=certificate.chain)
        return findings

    def hear_outcome(self, source: str, message: OutcomeMessage) -> None:
        """Hold what `source` says of an entry, in place of what it said before."""
        if self.position is None or self.tally.roster.key_of(source) is None:
            return
        if not 0 < message.seq - self.position.seq <= self._window_entries:
            return
        if len(message.entry_digest) != DIGEST_BYTES or len(message.outcome) > OUTCOME_BYTES_MAX:
            return
        candidates = self._held.setdefault(message.seq, [])
        self._worth_a_look |= message.seq <= self._stopped_seq
        said = next((c for c in candidates if source in c.sources), None)
        if said is not None and said.message == message:
            return
        if said is not None:
            self._withdraw(candidates, said, source)
        same = next((c for c in candidates if c.message == message), None)
        if same is not None:
            same.sources.append(source)
        else:
            candidates.append(Candidate(message, source))
            self._held_bytes += len(message.outcome)
        self._make_room()

    def hear_answer(self, source: str, answered: OutcomesAnswered) -> list[Finding]:
        """Take in an answer: outcomes, a certificate, changes of roster; nothing is trusted."""
        self._follow_roster(answered)
        findings: list[Finding] = []
        if answered.certificate is not None:
            for vote in answered.certificate.votes:
                findings += self.hear_vote(vote)
        for message in answered.outcomes:
            self.hear_outcome(source, message)
        return findings

    def take(self) -> list[Released]:
        """Return what can be released now, in order, at most about `TAKEN_MAX`; [] for nothing."""
        taken: list[Released] = []
        while self._worth_a_look and len(taken) < TAKEN_MAX:
            walked = self._walk()
            if not walked:
                self._worth_a_look = False
            for released in walked:
                taken.append(released)
                self._advance(released)
        return taken

    def find_hole(self) -> int | None:
        """Return the first entry that is certified but not held, or held only in wrong versions."""
        if self.position is None:
            return None
        if self._disputed_seq > self.position.seq:
            return self._disputed_seq
        last_seq = min(self.certified_seq, self.position.seq + self._window_entries)
        for seq in range(self.position.seq + 1, last_seq + 1):
            if seq not in self._held:
                return seq
        return None

    # How a chain is walked.

    def _walk(self) -> list[Released]:
        """Return the entries up to the next certified one, by the first path that gets there."""
        if self.position is None:
            return []
        for guide in ("", *(name for name, _ in self.tally.roster.keys)):
            path: list[tuple[Candidate, bytes]] = []
            certificate: Certificate | None = None
            for candidate, chain in self._path(self.position, guide):
                path.append((candidate, chain))
                certificate = self.tally.certificate_at(candidate.message.seq)
                if certificate is not None:
                    break
            self._stopped_seq = self.position.seq + len(path) + 1
            if certificate is None:
                return []
            last, last_chain = path[-1]
            if certificate.chain == last_chain:
                self._blame(last)
                return [_release(candidate, chain, certificate) for candidate, chain in path]
        # Every way leads astray: somebody must be asked again for all of it.
        self._disputed_seq = self.position.seq + 1
        return []

    def _path(self, position: Position, guide: str) -> Iterator[tuple[Candidate, bytes]]:
        """Yield candidates and the chain after each, as far as they are held and may be certified.

        Where a certified chain is known it decides, else what the `guide` said, else what most
        sources said.
        """
        chain = position.chain
        for seq in range(position.seq + 1, self.certified_seq + 1):
            candidates = self._held.get(seq)
            if not candidates:
                return
            certified_chain = self.tally.certified_chain_at(seq)
            ranked = sorted(
                candidates,
                key=lambda said: (
                    guide not in said.sources,
                    -len(said.sources),
                    said.link.outcome_digest,
                ),
            )
            chains = [said.chain_after(chain) for said in ranked]
            index = chains.index(certified_chain) if certified_chain in chains else 0
            chain = chains[index]
            yield ranked[index], chain

    def _blame(self, right: Candidate) -> None:
        for candidate in self._held.get(right.message.seq, []):
            if candidate is not right:
                self.wrong += [
                    Misreported(replica=source, seq=right.message.seq)
                    for source in candidate.sources
                ]

    def _advance(self, released: Released) -> None:
        assert self.position is not None
        assert released.seq == self.position.seq + 1
        self.position = Position(seq=released.seq, chain=released.chain)
        for candidate in self._held.pop(released.seq):
            self._held_bytes -= len(candidate.message.outcome)
        roster = self._roster_of(released.outcome)
        if roster is not None and roster.epoch == self.tally.roster.epoch + 1:
            self._change_roster(roster)

    # Changes of roster, and bounds.

    def _follow_roster(self, answered: OutcomesAnswered) -> None:
        rosters = follow_handovers(self.tally.roster, answered.handovers, self._roster_of)
        if isinstance(rosters, str):
            return
        newest = rosters[max(rosters)]
        if newest.epoch > self.tally.roster.epoch:
            self._change_roster(newest)

    def _change_roster(self, roster: Roster) -> None:
        # What the old set certified and was not yet released, the new set's chain covers too.
        self.tally = Tally(roster)
        self.rosters[roster.epoch] = roster
        self._worth_a_look = True

    def _withdraw(self, candidates: list[Candidate], said: Candidate, source: str) -> None:
        said.sources.remove(source)
        if not said.sources:
            candidates.remove(said)
            self._held_bytes -= len(said.message.outcome)

    def _make_room(self) -> None:
        """Let go of the furthest entries; they can be asked for again."""
        while self._held_bytes > self._held_bytes_max and len(self._held) > 1:
            for candidate in self._held.pop(max(self._held)):
                self._held_bytes -= len(candidate.message.outcome)
