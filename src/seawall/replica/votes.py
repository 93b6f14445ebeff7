"""Votes and certificates: what a replica signs, and what a majority of signatures proves."""

from collections.abc import Iterator

import msgspec

from seawall.protocol.digest import DIGEST_BYTES, digest
from seawall.protocol.signatures import SIGNATURE_BYTES, SigningKey, verify
from seawall.replica.machine import ROSTER_MAX, Roster

VOTE_SPAN_MAX = 256
SEQ_MAX = (1 << 63) - 1


class Vote(msgspec.Struct, frozen=True, array_like=True):
    """A replica's word: after entry `first_seq + i` its chain was `chains[32 i : 32 i + 32]`."""

    log_id: bytes
    epoch: int
    replica: str
    first_seq: int
    chains: bytes
    signature: bytes

    @property
    def last_seq(self) -> int:
        """Sequence of the last entry voted on."""
        return self.first_seq + len(self.chains) // DIGEST_BYTES - 1

    def chain_at(self, seq: int) -> bytes | None:
        """Return the chain voted for `seq`, None outside the span."""
        if not self.first_seq <= seq <= self.last_seq:
            return None
        offset = (seq - self.first_seq) * DIGEST_BYTES
        return self.chains[offset : offset + DIGEST_BYTES]

    def each(self) -> Iterator[tuple[int, bytes]]:
        """Yield (seq, chain), oldest first."""
        for offset in range(0, len(self.chains), DIGEST_BYTES):
            yield (
                self.first_seq + offset // DIGEST_BYTES,
                self.chains[offset : offset + DIGEST_BYTES],
            )


class Certificate(msgspec.Struct, frozen=True, array_like=True):
    """Equal votes of a majority: proof that `chain`, and all that it binds, was agreed on."""

    log_id: bytes
    epoch: int
    seq: int
    chain: bytes
    votes: tuple[Vote, ...]


def digest_vote(vote: Vote) -> bytes:
    """Return what the signature covers: every other field, each of stated length."""
    name = vote.replica.encode()
    head = (
        vote.log_id
        + vote.epoch.to_bytes(8, "little")
        + vote.first_seq.to_bytes(8, "little")
        + len(name).to_bytes(2, "little")
        + name
    )
    return digest(head + vote.chains, person=b"seawall/vote")


def cast_vote(
    key: SigningKey, *, roster: Roster, replica: str, first_seq: int, chains: bytes
) -> Vote:
    """Return a signed vote for consecutive entries from `first_seq` on."""
    vote = Vote(
        log_id=roster.log_id,
        epoch=roster.epoch,
        replica=replica,
        first_seq=first_seq,
        chains=chains,
        signature=b"",
    )
    assert check_shape(vote) is None
    return msgspec.structs.replace(vote, signature=key.sign(digest_vote(vote)))


def check_shape(vote: Vote) -> str | None:
    """Return what is malformed about a vote, whoever cast it."""
    chains_count, rest = divmod(len(vote.chains), DIGEST_BYTES)
    if rest != 0 or not 1 <= chains_count <= VOTE_SPAN_MAX:
        return "malformed: chains"
    if not 1 <= vote.first_seq <= SEQ_MAX - VOTE_SPAN_MAX:
        return "malformed: first_seq"
    if not 0 <= vote.epoch <= SEQ_MAX:
        return "malformed: epoch"
    if len(vote.log_id) != DIGEST_BYTES:
        return "malformed: log_id"
    return None


def check_vote(vote: Vote, roster: Roster) -> str | None:
    """Return why `vote` does not count under `roster`, None if it does."""
    if (wrong := check_shape(vote)) is not None:
        return wrong
    if vote.log_id != roster.log_id:
        return "another log"
    if vote.epoch != roster.epoch:
        return "another epoch"
    public_key = roster.key_of(vote.replica)
    if public_key is None:
        return "unknown replica"
    if len(vote.signature) != SIGNATURE_BYTES:
        return "malformed: signature"
    if not verify(public_key, digest_vote(vote), vote.signature):
        return "signature"
    return None


def verify_certificate(certificate: Certificate, roster: Roster) -> str | None:
    """Return what is wrong with a certificate, None if it proves its chain.

    Needs nothing but the public keys, so any outsider can check it.
    """
    if certificate.log_id != roster.log_id:
        return "another log"
    if certificate.epoch != roster.epoch:
        return "another epoch"
    if len(certificate.votes) > ROSTER_MAX:
        return "more votes than a roster can cast"
    voters: list[str] = []
    for vote in certificate.votes:
        if (wrong := check_vote(vote, roster)) is not None:
            return f"vote of {vote.replica}: {wrong}"
        if vote.chain_at(certificate.seq) != certificate.chain:
            return f"vote of {vote.replica}: another chain"
        if vote.replica in voters:
            return f"vote of {vote.replica}: counted twice"
        voters.append(vote.replica)
    if len(voters) < roster.majority:
        return "no majority"
    return None
