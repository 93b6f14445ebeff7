"""The tally: which chain a majority agreed on, and who said otherwise. Pure and bounded."""

from collections import deque
from collections.abc import Iterable

import msgspec

from seawall.replica.findings import (
    BadVote,
    Certified,
    Dissent,
    Equivocation,
    Finding,
    Readmitted,
    Split,
)
from seawall.replica.machine import Roster, check_roster
from seawall.replica.quarantine import OFFENCES_MAX
from seawall.replica.votes import Certificate, Vote, check_vote

WINDOW_ENTRIES = 2048


class Agreed(msgspec.Struct, frozen=True):
    """The certified chain of one entry, with the votes that certify it."""

    chain: bytes
    votes: tuple[Vote, ...]


class Ballots:
    """The newest votes of one member, by entry.

    The window belongs to the member: whoever floods the tally with far-off entries pushes out
    nothing but its own votes.
    """

    def __init__(self, window_entries: int) -> None:
        self.cast: dict[int, tuple[bytes, Vote]] = {}
        self.newest_signature = b""
        self.offences = 0
        self.offence_seq = 0
        self.quarantined = False
        self._window_entries = window_entries

    def put(self, seq: int, chain: bytes, vote: Vote) -> None:
        """Record the chain voted for `seq`; the newest vote stands."""
        self.cast[seq] = (chain, vote)

    def trim(self) -> None:
        """Forget the oldest entries once they are as many again as the window holds."""
        if len(self.cast) > 2 * self._window_entries:
            newest = sorted(self.cast)[-self._window_entries :]
            self.cast = {seq: self.cast[seq] for seq in newest}

    def isolate(self, seq: int) -> None:
        """Stop counting this member: none of its votes stands."""
        assert not self.quarantined
        self.quarantined = True
        self.offences += 1
        self.offence_seq = seq
        self.cast.clear()


class Tally:
    """Counts the votes of one roster; a new epoch gets a new tally.

    Votes may come in any order, twice or never. An entry has at most one certified chain, and
    none without a majority of the roster; members in quarantine do not count towards it. A
    member leaves quarantine by voting the certified chain of an entry after its offence.

    Parameters
    ----------
    window_entries : how many entries per member, and how many certified ones, are remembered
    """

    def __init__(self, roster: Roster, *, window_entries: int = WINDOW_ENTRIES) -> None:
        assert check_roster(roster) is None
        assert window_entries >= 1
        self.roster = roster
        self.certified_seq = 0
        self._window_entries = window_entries
        self._ballots = {name: Ballots(window_entries) for name, _ in roster.keys}
        self._agreed: dict[int, Agreed] = {}
        self._split_seq = 0

    def quarantined(self) -> tuple[str, ...]:
        """Return the names of the members whose votes do not count now."""
        return tuple(name for name, ballots in self._ballots.items() if ballots.quarantined)

    def certified_chain_at(self, seq: int) -> bytes | None:
        """Return the chain that a majority voted at `seq`, None if unknown or forgotten."""
        agreed = self._agreed.get(seq)
        return None if agreed is None else agreed.chain

    def certificate_at(self, seq: int) -> Certificate | None:
        """Return the proof of the certified chain at exactly `seq`, None if there is none."""
        agreed = self._agreed.get(seq)
        if agreed is None:
            return None
        return Certificate(
            log_id=self.roster.log_id,
            epoch=self.roster.epoch,
            seq=seq,
            chain=agreed.chain,
            votes=agreed.votes,
        )

    def add(self, vote: Vote) -> list[Finding]:
        """Count a vote and return what follows from it, the newest certificate first."""
        if (reason := check_vote(vote, self.roster)) is not None:
            return [BadVote(replica=vote.replica, reason=reason)]
        ballots = self._ballots[vote.replica]
        if vote.signature == ballots.newest_signature:
            return []
        ballots.newest_signature = vote.signature
        floor_seq = self.certified_seq - self._window_entries
        cast = [(seq, chain) for seq, chain in vote.each() if seq > floor_seq]
        if not ballots.quarantined:
            twofold = self._find_equivocation(ballots, cast, vote)
            if twofold is not None:
                ballots.isolate(twofold.seq)
                return [twofold]
        certified_seq_old = self.certified_seq
        for seq, chain in cast:
            ballots.put(seq, chain, vote)
        findings = self._settle(seq for seq, _ in cast)
        self._trim()
        if self.certified_seq > certified_seq_old:
            newest = self.certificate_at(self.certified_seq)
            assert newest is not None
            findings.insert(0, Certified(newest))
        return findings

    def _find_equivocation(
        self, ballots: Ballots, cast: list[tuple[int, bytes]], vote: Vote
    ) -> Equivocation | None:
        for seq, chain in cast:
            before = ballots.cast.get(seq)
            if before is not None and before[0] != chain:
                return Equivocation(replica=vote.replica, seq=seq, evidence=(before[1], vote))
        return None

    def _settle(self, seqs: Iterable[int]) -> list[Finding]:
        """Count the given entries, and those that a readmitted member's votes reopen."""
        findings: list[Finding] = []
        waiting = deque(seqs)
        while waiting:
            seq = waiting.popleft()
            if seq not in self._agreed:
                findings += self._count(seq)
            if seq in self._agreed:
                for name, ballots in self._ballots.items():
                    found = self._compare(name, ballots, seq)
                    if found is None:
                        continue
                    findings.append(found)
                    if isinstance(found, Readmitted):
                        waiting.extend(sorted(ballots.cast))
        return findings

    def _count(self, seq: int) -> list[Finding]:
        votes_by_chain: dict[bytes, list[Vote]] = {}
        absent_count = 0
        for ballots in self._ballots.values():
            if ballots.quarantined:
                continue
            if seq not in ballots.cast:
                absent_count += 1
                continue
            chain, vote = ballots.cast[seq]
            votes_by_chain.setdefault(chain, []).append(vote)
        most = max((len(votes) for votes in votes_by_chain.values()), default=0)
        if most >= self.roster.majority:
            for chain, votes in votes_by_chain.items():
                if len(votes) == most:
                    self._agreed[seq] = Agreed(chain=chain, votes=tuple(votes))
            self.certified_seq = max(self.certified_seq, seq)
            return []
        if most + absent_count >= self.roster.majority or len(votes_by_chain) < 2:
            return []
        if self._split_seq > self.certified_seq:
            return []  # said already; what follows a split is split as well
        self._split_seq = seq
        return [Split(seq=seq, evidence=tuple(v for vs in votes_by_chain.values() for v in vs))]

    def _compare(self, name: str, ballots: Ballots, seq: int) -> Finding | None:
        """Hold one member's vote against the certified chain of `seq`."""
        if seq not in ballots.cast:
            return None
        chain, vote = ballots.cast[seq]
        agreed = self._agreed[seq]
        if not ballots.quarantined:
            if chain == agreed.chain:
                return None
            ballots.isolate(seq)
            return Dissent(
                replica=name,
                seq=seq,
                chain=chain,
                certified_chain=agreed.chain,
                evidence=(vote, *agreed.votes),
            )
        if chain != agreed.chain or seq <= ballots.offence_seq:
            return None
        if ballots.offences >= OFFENCES_MAX:
            return None
        ballots.quarantined = False
        # What it said of entries up to here is no longer of interest; what follows is compared.
        ballots.cast = {at: said for at, said in ballots.cast.items() if at >= seq}
        return Readmitted(replica=name, seq=seq)

    def _trim(self) -> None:
        for ballots in self._ballots.values():
            ballots.trim()
        if len(self._agreed) > 2 * self._window_entries:
            newest = sorted(self._agreed)[-self._window_entries :]
            self._agreed = {seq: self._agreed[seq] for seq in newest}
