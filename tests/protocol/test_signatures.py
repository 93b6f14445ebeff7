"""Signatures: what counts as one, and that remembering a verdict changes no answer."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from seawall.protocol import signatures
from seawall.protocol.digest import digest
from seawall.protocol.signatures import VERDICTS_MAX, SigningKey, verify

SEED = bytes(range(32))
KEY = SigningKey(SEED)
SAID = digest(b"said")
# By the library itself, so that nothing of it passed through the memory of our own.
SIGNED_ELSEWHERE = Ed25519PrivateKey.from_private_bytes(SEED).sign(SAID)


def test_what_another_process_signed_counts() -> None:
    assert verify(KEY.public_key, SAID, SIGNED_ELSEWHERE)


def test_the_same_digest_always_signs_alike() -> None:
    assert KEY.sign(SAID) == SIGNED_ELSEWHERE


def test_one_bit_of_anything_and_it_does_not_count() -> None:
    signature = KEY.sign(digest(b"mine"))
    whole = (KEY.public_key, digest(b"mine"), signature)
    assert verify(*whole)
    for place, part in enumerate(whole):
        for bit in (0, 7, 8 * len(part) - 1):
            turned = bytearray(part)
            turned[bit // 8] ^= 1 << bit % 8
            changed = [*whole[:place], bytes(turned), *whole[place + 1 :]]
            for _ in range(2):
                assert not verify(*changed)
    assert verify(*whole)


def test_a_wrong_length_is_no_signature_and_no_error() -> None:
    signature = KEY.sign(SAID)
    assert not verify(KEY.public_key, SAID, signature[:-1])
    assert not verify(KEY.public_key, SAID, b"")
    assert not verify(KEY.public_key[:-1], SAID, signature)
    assert not verify(b"", SAID, signature)


def test_another_key_did_not_sign_it() -> None:
    assert not verify(SigningKey(bytes(32)).public_key, SAID, KEY.sign(SAID))


def test_the_memory_is_bounded_and_forgetting_changes_no_answer() -> None:
    forged = bytes(64)
    assert not verify(KEY.public_key, SAID, forged)
    for number in range(VERDICTS_MAX + 1):
        verify(b"short", number.to_bytes(32, "little"), b"")
    known = signatures._verdicts._known
    assert len(known) == VERDICTS_MAX
    assert (KEY.public_key, SAID, forged) not in known
    assert not verify(KEY.public_key, SAID, forged)
    assert verify(KEY.public_key, SAID, SIGNED_ELSEWHERE)
