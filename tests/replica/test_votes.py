"""Votes and certificates: what counts, and what an outsider with only public keys can check."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.replica.machine import Roster, check_roster
from seawall.replica.messages import (
    OutcomeMessage,
    OutcomesAnswered,
    OutcomesAsked,
    Status,
    decode,
    encode,
)
from seawall.replica.votes import (
    VOTE_SPAN_MAX,
    Certificate,
    Vote,
    cast_vote,
    check_vote,
    verify_certificate,
)
from tests.replica.reference import key_of, keys_of, roster_for

ROSTER = roster_for("a", "b", "c")
CHAINS = b"".join(bytes([i]) * 32 for i in range(5))


def vote_of(name: str, *, chains: bytes = CHAINS, roster: Roster = ROSTER, first: int = 7) -> Vote:
    return cast_vote(key_of(name), roster=roster, replica=name, first_seq=first, chains=chains)


def certificate_of(*names: str, seq: int = 9) -> Certificate:
    votes = tuple(vote_of(name) for name in names)
    return Certificate(
        log_id=ROSTER.log_id, epoch=1, seq=seq, chain=bytes([seq - 7]) * 32, votes=votes
    )


def test_a_vote_covers_each_entry_of_its_span_and_no_other() -> None:
    vote = vote_of("a")
    assert check_vote(vote, ROSTER) is None
    assert (vote.first_seq, vote.last_seq) == (7, 11)
    assert list(vote.each()) == [(7 + i, bytes([i]) * 32) for i in range(5)]
    assert [vote.chain_at(seq) for seq in (6, 9, 12)] == [None, bytes([2]) * 32, None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"replica": "d"}, "unknown replica"),
        ({"replica": "b"}, "signature"),
        ({"epoch": 2}, "another epoch"),
        ({"log_id": bytes(32)}, "another log"),
        ({"log_id": b""}, "malformed: log_id"),
        ({"first_seq": 8}, "signature"),
        ({"first_seq": 0}, "malformed: first_seq"),
        ({"first_seq": (1 << 63) - 1}, "malformed: first_seq"),
        ({"epoch": -1}, "malformed: epoch"),
        ({"chains": b""}, "malformed: chains"),
        ({"chains": CHAINS[:-1]}, "malformed: chains"),
        ({"chains": CHAINS[:-32]}, "signature"),
        ({"chains": bytes(32 * (VOTE_SPAN_MAX + 1))}, "malformed: chains"),
        ({"signature": b""}, "malformed: signature"),
        ({"signature": bytes(64)}, "signature"),
    ],
)
def test_a_vote_changed_in_any_field_does_not_count(change: dict[str, object], reason: str) -> None:
    assert check_vote(msgspec.structs.replace(vote_of("a"), **change), ROSTER) == reason


@given(at=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_a_vote_with_any_byte_flipped_on_the_wire_is_refused_or_is_the_same_vote(
    at: int, flip: int
) -> None:
    vote = vote_of("a")
    data = bytearray(encode(vote))
    data[at % len(data)] ^= flip
    read = decode(Vote, bytes(data))
    assert read is None or read == vote or check_vote(read, ROSTER) is not None


def test_a_majority_certifies_and_the_proof_needs_only_public_keys() -> None:
    for names in (("a", "b"), ("c", "a"), ("a", "b", "c")):
        certificate = certificate_of(*names)
        again = decode(Certificate, encode(certificate))
        assert again == certificate
        assert again is not None
        assert verify_certificate(again, ROSTER) is None


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (certificate_of("a"), "no majority"),
        (certificate_of(), "no majority"),
        (certificate_of("a", "a"), "vote of a: counted twice"),
        (certificate_of(*"ab" * 8), "more votes than a roster can cast"),
        (msgspec.structs.replace(certificate_of("a", "b"), seq=8), "vote of a: another chain"),
        (msgspec.structs.replace(certificate_of("a", "b"), seq=12), "vote of a: another chain"),
        (msgspec.structs.replace(certificate_of("a", "b"), epoch=2), "another epoch"),
        (msgspec.structs.replace(certificate_of("a", "b"), log_id=bytes(32)), "another log"),
    ],
)
def test_a_certificate_that_proves_nothing_is_refused(
    certificate: Certificate, reason: str
) -> None:
    assert verify_certificate(certificate, ROSTER) == reason


def test_a_vote_of_one_epoch_does_not_count_in_the_next_with_the_same_keys() -> None:
    later = Roster(log_id=ROSTER.log_id, epoch=2, keys=ROSTER.keys)
    moved = msgspec.structs.replace(vote_of("a"), epoch=2)
    assert check_vote(moved, later) == "signature"
    assert check_vote(vote_of("a", roster=later), later) is None


def test_a_certificate_of_strangers_is_refused() -> None:
    strangers = Roster(log_id=ROSTER.log_id, epoch=1, keys=keys_of("a", "x", "y"))
    votes = tuple(vote_of(name, roster=strangers) for name in ("x", "y"))
    certificate = Certificate(
        log_id=ROSTER.log_id, epoch=1, seq=9, chain=bytes([2]) * 32, votes=votes
    )
    assert verify_certificate(certificate, strangers) is None
    assert verify_certificate(certificate, ROSTER) == "vote of x: unknown replica"


@given(st.binary(max_size=80))
def test_rubbish_is_no_message(data: bytes) -> None:
    for kind in (Vote, Certificate, OutcomeMessage, OutcomesAsked, OutcomesAnswered, Status):
        decode(kind, b"\x01" + data)


def test_a_name_in_no_utf_8_is_malformed() -> None:
    data = encode(vote_of("a"))
    at = data.index(b"\xa1a") + 1
    assert decode(Vote, data[:at] + b"\xff" + data[at + 1 :]) is None


def test_a_future_wire_version_is_not_read() -> None:
    data = encode(vote_of("a"))
    assert decode(Vote, data) == vote_of("a")
    assert decode(Vote, bytes([data[0] + 1]) + data[1:]) is None
    assert decode(Vote, b"") is None


@pytest.mark.parametrize(("members", "majority"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (15, 8)])
def test_a_majority_is_more_than_half_of_all_members(members: int, majority: int) -> None:
    names = [f"r{i:02d}" for i in range(members)]
    roster = Roster(log_id=bytes(32), epoch=1, keys=keys_of(*names))
    assert check_roster(roster) is None
    assert roster.majority == majority


def test_a_malformed_roster_is_refused() -> None:
    key = key_of("a").public_key
    other = key_of("b").public_key
    bad: list[tuple[tuple[str, bytes], ...]] = [
        (),
        (("b", key), ("a", other)),
        (("a", key), ("a", other)),
        (("a", key), ("b", key)),
        (("a.b", key),),
        (("", key),),
        (("a", key[:-1]),),
        tuple((f"r{i:02d}", bytes([i]) * 32) for i in range(16)),
    ]
    for keys in bad:
        assert check_roster(Roster(log_id=bytes(32), epoch=1, keys=keys)) is not None
    assert check_roster(Roster(log_id=b"", epoch=1, keys=(("a", key),))) is not None
