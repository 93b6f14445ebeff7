"""Digests and the chain that binds every outcome to all that came before it."""

import hashlib

DIGEST_BYTES = 32


def digest(data: bytes, *, person: bytes = b"") -> bytes:
    """Return the 32-byte blake2b of `data`; `person` (at most 16 bytes) separates uses."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES, person=person).digest()


def genesis_chain(log_id: bytes) -> bytes:
    """Return the chain before entry 1: it already binds the log's identity."""
    return digest(log_id, person=b"seawall/genesis")


def next_chain(chain: bytes, seq: int, entry_digest: bytes, outcome_digest: bytes) -> bytes:
    """Return H(chain, seq, entry, outcome): equal chains mean equal histories and outcomes.

    Source
    ------
    RDND-02. The entry and the outcome enter by their own 32-byte digests, so that a light reader
    can follow the chain without the entries.
    """
    assert len(chain) == DIGEST_BYTES
    assert len(entry_digest) == DIGEST_BYTES
    assert len(outcome_digest) == DIGEST_BYTES
    link = chain + seq.to_bytes(8, "little") + entry_digest + outcome_digest
    return digest(link, person=b"seawall/chain")
