"""One canonical byte form, versioned: equal messages are equal bytes and nothing else decodes.

Payload of an entry: format version (1 byte), kind (1 byte), then either the genesis body, or the
64-byte signature and the batch body. Bodies are MessagePack arrays in field order.
"""

import struct

import msgspec

from seawall.protocol.codes import Reject
from seawall.protocol.commands import Batch
from seawall.protocol.digest import digest
from seawall.protocol.events import Outcome
from seawall.protocol.genesis import Genesis
from seawall.protocol.signatures import SIGNATURE_BYTES, SigningKey

FORMAT_VERSION = 1
KIND_GENESIS = 0
KIND_BATCH = 1
HEADER_BYTES = 2

_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(Batch)
_genesis_decoder = msgspec.msgpack.Decoder(Genesis)
_outcome_decoder = msgspec.msgpack.Decoder(Outcome)


class SignedBatch(msgspec.Struct, frozen=True):
    """A decoded batch with what its signature must cover."""

    batch: Batch
    body_digest: bytes
    signature: bytes


def encode_genesis(genesis: Genesis) -> bytes:
    """Return the payload of entry 1."""
    return bytes((FORMAT_VERSION, KIND_GENESIS)) + _encoder.encode(genesis)


def log_id_of(payload: bytes) -> bytes:
    """Return the log's identity: the entry digest of its genesis payload."""
    return entry_digest(payload)


def entry_digest(payload: bytes) -> bytes:
    """Return the digest that stands for an entry in the chain."""
    return digest(payload, person=b"seawall/entry")


def outcome_digest(outcome: bytes) -> bytes:
    """Return the digest that stands for an outcome in the chain."""
    return digest(outcome, person=b"seawall/outcome")


def encode_batch(batch: Batch, key: SigningKey) -> bytes:
    """Return the payload of a batch, signed by its sender."""
    body = _encoder.encode(batch)
    signature = key.sign(digest(body, person=b"seawall/batch"))
    return bytes((FORMAT_VERSION, KIND_BATCH)) + signature + body


def decode_payload(payload: bytes) -> SignedBatch | Genesis | Reject:
    """Return what an entry says, or why it cannot be read.

    Only the canonical form passes: what is decoded must encode to the very same bytes.
    """
    if len(payload) <= HEADER_BYTES:
        return Reject.MALFORMED
    if payload[0] > FORMAT_VERSION:
        return Reject.VERSION_FUTURE
    if payload[0] != FORMAT_VERSION:
        return Reject.MALFORMED
    if payload[1] == KIND_GENESIS:
        return _decode_genesis(payload[HEADER_BYTES:])
    if payload[1] != KIND_BATCH:
        return Reject.MALFORMED
    return _decode_batch(
        payload[HEADER_BYTES : HEADER_BYTES + SIGNATURE_BYTES],
        payload[HEADER_BYTES + SIGNATURE_BYTES :],
    )


def _decode_genesis(body: bytes) -> Genesis | Reject:
    try:
        genesis = _genesis_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Reject.MALFORMED
    return genesis if _encoder.encode(genesis) == body else Reject.MALFORMED


def _decode_batch(signature: bytes, body: bytes) -> SignedBatch | Reject:
    try:
        batch = _batch_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Reject.MALFORMED
    if _encoder.encode(batch) != body:
        return Reject.MALFORMED
    return SignedBatch(batch, digest(body, person=b"seawall/batch"), signature)


def encode_outcome(outcome: Outcome) -> bytes:
    """Return the canonical bytes of an outcome."""
    return _encoder.encode(outcome)


def decode_outcome(data: bytes) -> Outcome:
    """Return the outcome of certified bytes.

    Raises
    ------
    msgspec.DecodeError
        If the bytes are no outcome of this format.
    """
    return _outcome_decoder.decode(data)


def encode_any(value: object) -> bytes:
    """Return the canonical bytes of any protocol struct, for digests of parts."""
    return _encoder.encode(value)


def pack_int64(values: list[int]) -> bytes:
    """Return a column of int64 cells, little-endian. Raises `struct.error` beyond int64."""
    return struct.pack(f"<{len(values)}q", *values)


def pack_int32(values: list[int]) -> bytes:
    """Return a column of int32 cells, little-endian."""
    return struct.pack(f"<{len(values)}i", *values)


def unpack_int64(column: bytes) -> tuple[int, ...]:
    """Return the cells of an int64 column."""
    return struct.unpack(f"<{len(column) // 8}q", column)


def unpack_int32(column: bytes) -> tuple[int, ...]:
    """Return the cells of an int32 column."""
    return struct.unpack(f"<{len(column) // 4}i", column)
