"""Findings: what a tally concludes from votes, each with the signatures that prove it."""

import msgspec

from seawall.replica.machine import Roster
from seawall.replica.votes import Certificate, Vote, check_vote, verify_certificate


class Certified(msgspec.Struct, frozen=True, tag=True):
    """A majority agreed on the newest entry yet; the chain covers all entries below it."""

    certificate: Certificate


class Dissent(msgspec.Struct, frozen=True, tag=True):
    """A member voted another chain than the certified one: it is quarantined.

    `seq` is the first entry at which this was seen; `evidence` is its vote, then the majority's.
    """

    replica: str
    seq: int
    chain: bytes
    certified_chain: bytes
    evidence: tuple[Vote, ...]


class Equivocation(msgspec.Struct, frozen=True, tag=True):
    """A member signed two chains for one entry: it is quarantined, whoever is right."""

    replica: str
    seq: int
    evidence: tuple[Vote, Vote]


class BadVote(msgspec.Struct, frozen=True, tag=True):
    """A vote that does not count; `replica` is who it claims to be from."""

    replica: str
    reason: str


class Split(msgspec.Struct, frozen=True, tag=True):
    """No majority can form at `seq` from those who may vote: nothing more is released."""

    seq: int
    evidence: tuple[Vote, ...]


class Readmitted(msgspec.Struct, frozen=True, tag=True):
    """A quarantined member voted the certified chain at `seq`: its votes count again."""

    replica: str
    seq: int


Finding = Certified | Dissent | Equivocation | BadVote | Split | Readmitted


def verify_dissent(dissent: Dissent, roster: Roster) -> str | None:
    """Return what is wrong with the evidence, None if it proves the dissent to an outsider."""
    if not dissent.evidence:
        return "no evidence"
    vote, majority = dissent.evidence[0], dissent.evidence[1:]
    if (wrong := check_vote(vote, roster)) is not None:
        return wrong
    if vote.replica != dissent.replica:
        return "the vote of another replica"
    if vote.chain_at(dissent.seq) != dissent.chain:
        return "the vote says something else"
    if dissent.chain == dissent.certified_chain:
        return "the chains are equal"
    certificate = Certificate(
        log_id=roster.log_id,
        epoch=roster.epoch,
        seq=dissent.seq,
        chain=dissent.certified_chain,
        votes=majority,
    )
    return verify_certificate(certificate, roster)


def verify_equivocation(equivocation: Equivocation, roster: Roster) -> str | None:
    """Return what is wrong with the evidence, None if it proves two signatures for one entry."""
    chains: list[bytes] = []
    for vote in equivocation.evidence:
        if (wrong := check_vote(vote, roster)) is not None:
            return wrong
        if vote.replica != equivocation.replica:
            return "the vote of another replica"
        chain = vote.chain_at(equivocation.seq)
        if chain is None:
            return "the vote does not cover the entry"
        chains.append(chain)
    if chains[0] == chains[1]:
        return "the votes are equal"
    return None
