"""Proofs: that one outcome lies on a certified chain, and which roster handed over to which."""

from collections.abc import Callable, Iterable

import msgspec

from seawall.protocol.codec import outcome_digest
from seawall.protocol.digest import DIGEST_BYTES, next_chain
from seawall.replica.machine import Roster, check_roster
from seawall.replica.votes import Certificate, verify_certificate

LINKS_MAX = 4096


class Link(msgspec.Struct, frozen=True, array_like=True):
    """What one entry adds to the chain."""

    entry_digest: bytes
    outcome_digest: bytes


class Proof(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of `seq`, the chain before it, and the links up to a certificate."""

    seq: int
    chain_before: bytes
    entry_digest: bytes
    outcome: bytes
    links: tuple[Link, ...]
    certificate: Certificate

    @property
    def chain(self) -> bytes:
        """Return the chain after the entry."""
        return next_chain(
            self.chain_before, self.seq, self.entry_digest, outcome_digest(self.outcome)
        )


def extend_chain(chain: bytes, first_seq: int, links: Iterable[Link]) -> bytes:
    """Return the chain after `links`, the first of which belongs to entry `first_seq`."""
    for seq, link in enumerate(links, first_seq):
        chain = next_chain(chain, seq, link.entry_digest, link.outcome_digest)
    return chain


def _is_digest(*values: bytes) -> bool:
    return all(len(value) == DIGEST_BYTES for value in values)


def verify_proof(proof: Proof, roster: Roster) -> str | None:
    """Return what is wrong with `proof`, None if `roster` certified the chain it lies on."""
    if not _is_digest(proof.chain_before, proof.entry_digest):
        return "malformed digest"
    if not all(_is_digest(link.entry_digest, link.outcome_digest) for link in proof.links):
        return "malformed link"
    if not 1 <= proof.seq < 1 << 62:
        return "malformed seq"
    if len(proof.links) > LINKS_MAX:
        return "too many links"
    if proof.certificate.seq != proof.seq + len(proof.links):
        return "the links do not end at the certificate"
    if extend_chain(proof.chain, proof.seq + 1, proof.links) != proof.certificate.chain:
        return "the chain does not lead to the certificate"
    return verify_certificate(proof.certificate, roster)


def follow_handovers(
    anchor: Roster,
    handovers: Iterable[Proof],
    roster_of: Callable[[bytes], Roster | None],
) -> dict[int, Roster] | str:
    """Return the rosters by epoch that lead on from a trusted one, or what breaks the line.

    Each handover is certified by the roster before it, so trust in `anchor` is trust in all.
    Handovers from epochs before the anchor's are skipped.
    """
    rosters = {anchor.epoch: anchor}
    newest = anchor
    for proof in handovers:
        if proof.certificate.epoch < newest.epoch:
            continue
        if (wrong := verify_proof(proof, newest)) is not None:
            return f"handover at {proof.seq}: {wrong}"
        roster = roster_of(proof.outcome)
        if roster is None:
            return f"handover at {proof.seq}: the outcome names no roster"
        if check_roster(roster) is not None:
            return f"handover at {proof.seq}: the roster is malformed"
        if roster.log_id != newest.log_id or roster.epoch != newest.epoch + 1:
            return f"handover at {proof.seq}: not the next epoch"
        rosters[roster.epoch] = roster
        newest = roster
    return rosters
