"""Messages between replicas and their readers on the bus, one versioned byte form."""

from typing import TypeVar

import msgspec

from seawall.replica.proofs import Proof
from seawall.replica.votes import Certificate

FORMAT_VERSION = 1
ANSWER_OUTCOME_BYTES_MAX = 7 << 20
"""Outcome bytes in one answer: as many as the largest single outcome has."""
HANDOVERS_MAX = 8
ANSWER_TIMEOUT_S = 1.0

T = TypeVar("T")


class OutcomeMessage(msgspec.Struct, frozen=True, array_like=True):
    """What a replica says an entry brought forth; worth nothing until a certificate covers it."""

    seq: int
    entry_digest: bytes
    outcome: bytes


class OutcomesAsked(msgspec.Struct, frozen=True, array_like=True):
    """A reader asks for the outcomes of `first_seq` to `last_seq`, both included."""

    first_seq: int
    last_seq: int


class OutcomesAnswered(msgspec.Struct, frozen=True, array_like=True):
    """The first of the outcomes asked for that are still held, in order, and the way on.

    `oldest_seq` is the oldest outcome held (0: none); what came before is to be replayed from
    `archive`, a name that means something to the operator of this house.
    """

    replica: str
    outcomes: tuple[OutcomeMessage, ...]
    certificate: Certificate | None
    handovers: tuple[Proof, ...]
    oldest_seq: int
    archive: str


class Status(msgspec.Struct, frozen=True, array_like=True):
    """How a replica is, published about once a second.

    `lag_entries` is the log's newest seq minus the replica's; below zero the log has lost
    entries. `read_faults` counts faults of the log since the process began.
    """

    replica: str
    epoch: int
    seq: int
    chain: bytes
    certified_seq: int
    lag_entries: int
    phase: str
    offences: int
    oldest_outcome_seq: int
    read_faults: int
    snapshot_seq: int
    at_ns: int


def encode(message: msgspec.Struct) -> bytes:
    """Return the bytes of a message: the format version, then MessagePack."""
    return bytes((FORMAT_VERSION,)) + msgspec.msgpack.encode(message)


def decode(kind: type[T], data: bytes) -> T | None:
    """Return the message of type `kind` in `data`, None if there is none."""
    if data[:1] != bytes((FORMAT_VERSION,)):
        return None
    try:
        return msgspec.msgpack.decode(memoryview(data)[1:], type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
