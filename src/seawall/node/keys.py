"""Key seeds in files that only their owner can read."""

import os
from pathlib import Path

from seawall.protocol.signatures import KEY_BYTES, SigningKey

OTHERS = 0o077
"""Permission bits of group and world: a seed may have none of them."""


class KeyFault(Exception):
    """A key file is missing, readable by others, or no seed."""


def read_key(path: Path) -> SigningKey:
    """Return the key whose seed is in the file, as 64 hex digits.

    Raises
    ------
    KeyFault
        The message names the file and what to do.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as fault:
        raise KeyFault(f"{path}: cannot be read ({fault})") from fault
    if mode & OTHERS:
        raise KeyFault(f"{path}: others may read it; chmod 600 it and change the key")
    try:
        seed = bytes.fromhex(text.strip())
    except ValueError as fault:
        raise KeyFault(f"{path}: not hex digits") from fault
    if len(seed) != KEY_BYTES:
        raise KeyFault(f"{path}: {len(seed)} bytes, a seed has {KEY_BYTES}")
    return SigningKey(seed)


def write_seed(path: Path, seed: bytes) -> None:
    """Write a new key file; refuses to replace one, for a lost key cannot be had again."""
    assert len(seed) == KEY_BYTES
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(seed.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


def make_seed() -> bytes:
    """Return a new seed from the operating system's randomness."""
    return os.urandom(KEY_BYTES)
