"""Ed25519 over 32-byte digests: the only file that knows the cryptography library."""

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY_BYTES = 32
SIGNATURE_BYTES = 64
VERDICTS_MAX = 8192


class SigningKey:
    """A private key made from a 32-byte seed; whoever makes the seed answers for its randomness."""

    def __init__(self, seed: bytes) -> None:
        assert len(seed) == KEY_BYTES
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key: bytes = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, message_digest: bytes) -> bytes:
        """Return the 64-byte signature of a digest; the same digest always signs alike."""
        signature = self._key.sign(message_digest)
        _verdicts.keep((self.public_key, message_digest, signature), True)
        return signature


class _Verdicts:
    """What is known of signatures, up to `VERDICTS_MAX` of them; the oldest is forgotten.

    A verdict is a pure function of what it is about, so that a memory of it changes no answer.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bytes], bool] = {}

    def recall(self, asked: tuple[bytes, bytes, bytes]) -> bool | None:
        return self._known.get(asked)

    def keep(self, asked: tuple[bytes, bytes, bytes], verdict: bool) -> None:
        self._known[asked] = verdict
        if len(self._known) > VERDICTS_MAX:
            del self._known[next(iter(self._known))]


_verdicts = _Verdicts()


@lru_cache(maxsize=256)
def _load(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)


def verify(public_key: bytes, message_digest: bytes, signature: bytes) -> bool:
    """Tell whether `signature` was made over `message_digest` by the owner of `public_key`.

    Pure, hence remembered: replicas of one process verify a vote once, and what this process
    has signed itself not at all. A key or signature of the wrong length is an unverified one,
    not an error.
    """
    asked = (public_key, message_digest, signature)
    verdict = _verdicts.recall(asked)
    if verdict is None:
        verdict = _compute(public_key, message_digest, signature)
        _verdicts.keep(asked, verdict)
    return verdict


def _compute(public_key: bytes, message_digest: bytes, signature: bytes) -> bool:
    if len(public_key) != KEY_BYTES:
        return False
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        _load(public_key).verify(signature, message_digest)
    except InvalidSignature:
        return False
    return True
