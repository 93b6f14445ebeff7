"""Segments: runs of log entries with the digests of their outcomes, each proving its own chain."""

from collections.abc import Mapping

import msgspec

from seawall.protocol.codec import entry_digest, log_id_of
from seawall.protocol.digest import DIGEST_BYTES, genesis_chain
from seawall.replica.log import PAYLOAD_BYTES_MAX
from seawall.replica.machine import Roster
from seawall.replica.proofs import Link, extend_chain
from seawall.replica.sealed import seal, unseal
from seawall.replica.votes import Certificate, verify_certificate

MAGIC = b"SWSEGMT\n"


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One entry as the log held it, and the digest of what it brought forth."""

    payload: bytes
    outcome_digest: bytes

    @property
    def link(self) -> Link:
        """Return what the entry adds to the chain."""
        return Link(entry_digest=entry_digest(self.payload), outcome_digest=self.outcome_digest)


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive entries from `first_seq` on; the certificate, if any, is of the last one.

    Without its own certificate a segment is as good as the next one that has one.
    """

    log_id: bytes
    first_seq: int
    chain_before: bytes
    records: tuple[Record, ...]
    certificate: Certificate | None

    @property
    def last_seq(self) -> int:
        """Sequence of the last entry."""
        return self.first_seq + len(self.records) - 1

    def compute_chain(self) -> bytes:
        """Return the chain after the last entry."""
        links = (record.link for record in self.records)
        return extend_chain(self.chain_before, self.first_seq, links)


def encode_segment(segment: Segment) -> bytes:
    """Return the bytes of a segment file."""
    return seal(MAGIC, segment)


def decode_segment(data: bytes) -> Segment | str:
    """Return the segment in `data`, or what is wrong with the bytes."""
    return unseal(MAGIC, Segment, data)


def check_segment(segment: Segment) -> str | None:
    """Return what is wrong with a segment apart from its certificate."""
    if not segment.records:
        return "no entries"
    if segment.first_seq < 1:
        return "malformed first_seq"
    digests = (segment.log_id, segment.chain_before)
    if any(len(value) != DIGEST_BYTES for value in digests):
        return "malformed digest"
    for seq, record in enumerate(segment.records, segment.first_seq):
        if not 1 <= len(record.payload) <= PAYLOAD_BYTES_MAX:
            return f"entry {seq}: size"
        if len(record.outcome_digest) != DIGEST_BYTES:
            return f"entry {seq}: malformed outcome digest"
    if segment.first_seq == 1:
        if log_id_of(segment.records[0].payload) != segment.log_id:
            return "entry 1 is not the genesis of this log"
        if segment.chain_before != genesis_chain(segment.log_id):
            return "the chain does not begin at genesis"
    return None


def verify_segment(segment: Segment, rosters: Mapping[int, Roster]) -> str | None:
    """Return what is wrong with a segment, None if one of `rosters` certified it."""
    if (wrong := check_segment(segment)) is not None:
        return wrong
    certificate = segment.certificate
    if certificate is None:
        return "no certificate"
    roster = rosters.get(certificate.epoch)
    if roster is None:
        return f"certified by unknown epoch {certificate.epoch}"
    if roster.log_id != segment.log_id:
        return "another log"
    if certificate.seq != segment.last_seq:
        return "the certificate is of another entry"
    if certificate.chain != segment.compute_chain():
        return "the chain does not lead to the certificate"
    return verify_certificate(certificate, roster)
