"""Sealed files: a record with a magic word, a format version and a digest over every byte."""

from typing import TypeVar

import msgspec

from seawall.protocol.digest import DIGEST_BYTES, digest

FORMAT_VERSION = 1
MAGIC_BYTES = 8
_PERSON = b"seawall/sealed"
_HEAD_BYTES = MAGIC_BYTES + 1

T = TypeVar("T")


def seal(magic: bytes, record: msgspec.Struct) -> bytes:
    """Return the bytes of a file that holds `record` and nothing else."""
    assert len(magic) == MAGIC_BYTES
    body = magic + bytes((FORMAT_VERSION,)) + msgspec.msgpack.encode(record)
    return body + digest(body, person=_PERSON)


def unseal(magic: bytes, kind: type[T], data: bytes) -> T | str:
    """Return the record of such a file, or what is wrong with it: any flipped bit is."""
    body, said = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if len(body) <= _HEAD_BYTES:
        return "too short"
    if digest(body, person=_PERSON) != said:
        return "bytes differ from their digest"
    if body[:MAGIC_BYTES] != magic:
        return "another kind of file"
    if body[MAGIC_BYTES] > FORMAT_VERSION:
        return "written by a later version"
    if body[MAGIC_BYTES] != FORMAT_VERSION:
        return "unknown version"
    try:
        return msgspec.msgpack.decode(memoryview(body)[_HEAD_BYTES:], type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        return f"malformed: {wrong}"
