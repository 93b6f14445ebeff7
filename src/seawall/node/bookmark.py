"""The bookmark: how far a node has read, and what it made of it, so that it need not start over."""

import msgspec

from seawall.node.feed import Start
from seawall.node.projections import Projection
from seawall.node.register import Register
from seawall.protocol.digest import DIGEST_BYTES, digest
from seawall.replica.disk import Disk, DiskFault

FILE_NAME = "bookmark"
FORMAT_VERSION = 1


class Bookmark(msgspec.Struct, frozen=True, array_like=True):
    """A place in the log, with the read models as they are there."""

    start: Start
    register: Register
    projection: Projection


def encode_bookmark(bookmark: Bookmark) -> bytes:
    """Return the bookmark's bytes, checked by a digest."""
    body = bytes((FORMAT_VERSION,)) + msgspec.msgpack.encode(bookmark)
    return digest(body, person=b"seawall/mark") + body


def decode_bookmark(data: bytes) -> Bookmark | None:
    """Return the bookmark, None if the bytes are damaged or of another build's shape."""
    body = data[DIGEST_BYTES:]
    if digest(body, person=b"seawall/mark") != data[:DIGEST_BYTES]:
        return None
    if body[:1] != bytes((FORMAT_VERSION,)):
        return None
    try:
        return msgspec.msgpack.decode(memoryview(body)[1:], type=Bookmark)
    except msgspec.ValidationError:
        return None


async def read_bookmark(disk: Disk, log_id: bytes) -> Bookmark | None:
    """Return this log's bookmark, None if there is none of use: then reading begins at entry 1."""
    try:
        if FILE_NAME not in await disk.names():
            return None
        bookmark = decode_bookmark(await disk.read(FILE_NAME))
    except DiskFault:
        return None
    if bookmark is None or bookmark.start.roster.log_id != log_id:
        return None
    return bookmark


async def write_bookmark(disk: Disk, data: bytes) -> bool:
    """Write an encoded bookmark in place of the last one; tell whether the disk took it."""
    try:
        await disk.write(FILE_NAME, (data,))
    except DiskFault:
        return False
    return True
