"""Release: in order, each once, only what a majority computed, whoever sent it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.protocol.digest import DIGEST_BYTES
from seawall.replica.assembly import TAKEN_MAX, Assembly, Misreported, Position
from seawall.replica.findings import Certified
from seawall.replica.machine import OUTCOME_BYTES_MAX, Roster
from seawall.replica.messages import OutcomeMessage, OutcomesAnswered
from seawall.replica.proofs import follow_handovers
from seawall.replica.votes import verify_certificate
from tests.replica.course import Course
from tests.replica.reference import Ledger

TRIO = ("a", "b", "c")
COURSE = Course(40, *TRIO)
TURNED = Course(40, *TRIO, enrol_at={15: ("b", "c", "d"), 25: ("d", "e", "f", "g", "h")})


def assembly_of(course: Course = COURSE, *, position: Position | None = COURSE.start) -> Assembly:
    return Assembly(course.anchor, roster_of=Ledger().roster_of, position=position)


def lie(seq: int, word: bytes = b"lie") -> OutcomeMessage:
    return msgspec.structs.replace(COURSE.messages[seq - 1], outcome=word)


def seqs(assembly: Assembly) -> list[int]:
    taken: list[int] = []
    while got := assembly.take():
        taken += [released.seq for released in got]
    return taken


def vote_all(assembly: Assembly, first: int, last: int, course: Course = COURSE) -> None:
    for name in ("a", "b"):
        assembly.hear_vote(course.vote(name, first, last))


def test_nothing_without_a_certificate_and_nothing_without_the_outcome() -> None:
    assembly = assembly_of()
    for message in COURSE.messages[:5]:
        for source in TRIO:
            assembly.hear_outcome(source, message)
    assert assembly.take() == []
    assembly.hear_vote(COURSE.vote("a", 1, 5))
    assert assembly.take() == []
    assembly.hear_vote(COURSE.vote("b", 2, 6))
    (first, *rest) = assembly.take()
    # Only entries from 2 on have two votes; the chain through 1 is covered by those.
    assert [first.seq, *(released.seq for released in rest)] == [1, 2, 3, 4, 5]
    assert first.certificate.seq == 2
    assert assembly.find_hole() is None
    assembly.hear_vote(COURSE.vote("c", 6, 9))
    assert assembly.take() == []
    assert assembly.find_hole() == 6
    assembly.hear_outcome("c", COURSE.messages[5])
    assert seqs(assembly) == [6]


def test_an_older_entry_that_is_settled_late_does_not_wait_for_a_newer_one() -> None:
    assembly = assembly_of()
    assembly.hear_outcome("a", COURSE.messages[0])
    assembly.hear_vote(COURSE.vote("a", 1, 2))
    assembly.hear_vote(COURSE.vote("b", 2, 2))
    assert assembly.take() == []
    assembly.hear_vote(COURSE.vote("b", 1, 1))
    assert seqs(assembly) == [1]


def test_one_honest_source_is_enough_where_votes_are_known() -> None:
    assembly = assembly_of()
    vote_all(assembly, 1, 3)
    for seq in (1, 2, 3):
        for source in ("a", "b"):
            assembly.hear_outcome(source, lie(seq))
    assert assembly.take() == []
    assert assembly.find_hole() == 1
    for seq in (1, 2, 3):
        assembly.hear_outcome("c", COURSE.messages[seq - 1])
    released = assembly.take()
    assert [one.outcome for one in released] == [m.outcome for m in COURSE.messages[:3]]
    assert Misreported(replica="a", seq=2) in assembly.wrong
    assert {wrong.replica for wrong in assembly.wrong} == {"a", "b"}


def test_where_votes_were_lost_the_next_certified_chain_decides() -> None:
    assembly = assembly_of()
    # Votes for entry 8 only; two sources tell the same lie about entry 4.
    vote_all(assembly, 8, 8)
    for seq in range(1, 9):
        for source in TRIO:
            told = lie(seq) if seq == 4 and source != "c" else COURSE.messages[seq - 1]
            assembly.hear_outcome(source, told)
    assert seqs(assembly) == list(range(1, 9))
    assert assembly.position == Position(seq=8, chain=COURSE.history.chain_at(8) or b"")


def test_when_all_paths_lead_astray_the_range_is_asked_for_again() -> None:
    assembly = assembly_of()
    vote_all(assembly, 8, 8)
    for seq in range(1, 9):
        assembly.hear_outcome("a", lie(seq) if seq == 4 else COURSE.messages[seq - 1])
        assembly.hear_outcome("b", lie(seq) if seq == 6 else COURSE.messages[seq - 1])
    assembly.hear_outcome("a", lie(6, b"a's own lie"))
    assert assembly.take() == []
    assert assembly.find_hole() == 1
    answered = OutcomesAnswered("c", tuple(COURSE.messages[:8]), None, (), 1, "")
    assembly.hear_answer("c", answered)
    assert seqs(assembly) == list(range(1, 9))


def test_a_source_that_changes_its_word_has_one_word() -> None:
    assembly = assembly_of()
    for turn in range(1000):
        assembly.hear_outcome("a", lie(1, str(turn).encode()))
    assembly.hear_outcome("stranger", COURSE.messages[0])
    assert len(assembly._held[1]) == 1
    assert assembly._held_bytes == len(b"999")
    vote_all(assembly, 1, 1)
    assert assembly.take() == []
    assembly.hear_outcome("a", COURSE.messages[0])
    assert seqs(assembly) == [1]
    assert assembly._held_bytes == 0


def test_memory_is_bounded_and_what_was_let_go_can_come_again() -> None:
    assembly = Assembly(
        COURSE.anchor,
        roster_of=Ledger().roster_of,
        position=COURSE.start,
        window_entries=10,
        held_bytes_max=50,
    )
    for message in COURSE.messages[::-1]:
        assembly.hear_outcome("a", message)
        assert assembly._held_bytes <= max(50, len(message.outcome))
    assert max(assembly._held) <= 10
    vote_all(assembly, 1, 40)
    taken = 0
    while taken < 40:
        taken += len(seqs(assembly))
        hole = assembly.find_hole()
        if hole is not None:
            assembly.hear_outcome("b", COURSE.messages[hole - 1])
    assert taken == 40


def test_a_taker_is_given_bounded_portions() -> None:
    course = Course(3 * TAKEN_MAX, *TRIO)
    assembly = assembly_of(course, position=course.start)
    vote_all(assembly, 1, 3 * TAKEN_MAX, course)
    for message in course.messages:
        assembly.hear_outcome("a", message)
    assert [len(assembly.take()) for _ in range(4)] == [TAKEN_MAX] * 3 + [0]


def test_from_the_newest_certificate_on() -> None:
    assembly = assembly_of(position=None)
    assembly.hear_outcome("a", COURSE.messages[0])
    assert assembly.find_hole() is None
    vote_all(assembly, 10, 20)
    assert assembly.position == Position(seq=20, chain=COURSE.history.chain_at(20) or b"")
    vote_all(assembly, 21, 22)
    for message in COURSE.messages:
        assembly.hear_outcome("a", message)
    assert seqs(assembly) == [21, 22]


def test_malformed_outcomes_are_not_held() -> None:
    assembly = assembly_of()
    assembly.hear_outcome("a", OutcomeMessage(1, bytes(DIGEST_BYTES - 1), b"x"))
    assembly.hear_outcome("a", OutcomeMessage(0, bytes(DIGEST_BYTES), b"x"))
    assembly.hear_outcome("a", OutcomeMessage(1 << 62, bytes(DIGEST_BYTES), b"x"))
    assembly.hear_outcome("a", OutcomeMessage(1, bytes(DIGEST_BYTES), bytes(OUTCOME_BYTES_MAX + 1)))
    assert assembly._held == {}


def test_a_change_of_roster_is_followed_when_it_is_certified() -> None:
    assembly = assembly_of(TURNED, position=TURNED.start)
    for message in TURNED.messages:
        for source in ("b", "d"):
            assembly.hear_outcome(source, message)
    for first, last, voters in ((1, 15, "ab"), (16, 25, "bd"), (26, 40, "efg")):
        for name in voters:
            assembly.hear_vote(TURNED.vote(name, first, last))
        released = []
        while got := assembly.take():
            released += got
        assert [one.seq for one in released] == list(range(first, last + 1))
        for one in released:
            assert verify_certificate(one.certificate, TURNED.rosters[one.seq]) is None
        # Members that join send outcomes from now on; what they sent earlier did not count.
        for message in TURNED.messages:
            assembly.hear_outcome("d", message)
    assert sorted(assembly.rosters) == [1, 2, 3]


def test_the_old_roster_cannot_certify_beyond_its_time() -> None:
    assembly = assembly_of(TURNED, position=TURNED.start)
    for message in TURNED.messages:
        assembly.hear_outcome("b", message)
    vote_all(assembly, 1, 15, TURNED)
    assert seqs(assembly)[-1] == 15
    stale = TURNED.certificate(16, "a", "b", roster=TURNED.anchor)
    for vote in stale.votes:
        assembly.hear_vote(vote)
    assert assembly.take() == []


def test_handovers_carry_a_reader_over_a_change_whose_votes_it_missed() -> None:
    handovers = (TURNED.proof(15), TURNED.proof(25))
    rosters = follow_handovers(TURNED.anchor, handovers, Ledger().roster_of)
    assert isinstance(rosters, dict)
    assert rosters[3] == TURNED.rosters[40]
    for broken in (
        handovers[::-1],
        handovers[1:],
        (handovers[0], handovers[0]),
        (TURNED.proof(14),),
        (msgspec.structs.replace(handovers[0], outcome=b"x"),),
        (msgspec.structs.replace(handovers[0], certificate=TURNED.certificate(15, "a")),),
    ):
        found = follow_handovers(TURNED.anchor, broken, Ledger().roster_of)
        assert isinstance(found, str) or max(found) == 2
    assembly = assembly_of(TURNED, position=TURNED.start)
    newest = TURNED.certificate(40)
    outcomes = tuple(TURNED.messages)
    assembly.hear_answer("b", OutcomesAnswered("b", (), newest, handovers, 1, ""))
    assert max(assembly.rosters) == 3
    assembly.hear_answer("e", OutcomesAnswered("e", outcomes, newest, handovers, 1, ""))
    assert seqs(assembly) == list(range(1, 41))


def test_a_handover_leads_to_the_next_epoch_of_the_same_log_only() -> None:
    proof = TURNED.proof(15)
    right = TURNED.rosters[16]
    replace = msgspec.structs.replace
    assert follow_handovers(TURNED.anchor, (proof,), lambda _: right) == {
        1: TURNED.anchor,
        2: right,
    }
    wrong: tuple[Roster | None, ...] = (
        replace(right, epoch=3),
        replace(right, epoch=1),
        replace(right, log_id=bytes(32)),
        replace(right, keys=()),
        None,
    )
    for named in wrong:
        read = {proof.outcome: named}
        assert isinstance(follow_handovers(TURNED.anchor, (proof,), read.get), str)


@settings(max_examples=200)
@given(
    heard=st.lists(
        st.tuples(st.sampled_from(TRIO), st.integers(1, 12), st.booleans()), max_size=60
    ),
    voted=st.lists(
        st.tuples(st.sampled_from(TRIO), st.integers(1, 12), st.integers(0, 4)), max_size=20
    ),
    data=st.data(),
)
def test_whatever_arrives_in_whatever_order(
    heard: list[tuple[str, int, bool]],
    voted: list[tuple[str, int, int]],
    data: st.DataObject,
) -> None:
    """Member c lies in outcomes at will; votes are honest, lost and repeated at will."""
    assembly = assembly_of()
    steps = [("outcome", *step) for step in heard] + [("vote", *step) for step in voted]
    taken: list[int] = []
    told: dict[int, list[str]] = {}
    for kind, name, seq, more in data.draw(st.permutations(steps)):
        if kind == "vote":
            assembly.hear_vote(COURSE.vote(str(name), int(seq), int(seq) + int(more)))
        else:
            false = bool(more) and name == "c"
            message = lie(int(seq)) if false else COURSE.messages[int(seq) - 1]
            assembly.hear_outcome(str(name), message)
            if not false and name != "c":
                told.setdefault(int(seq), []).append(str(name))
        for released in assembly.take():
            assert released.outcome == COURSE.messages[released.seq - 1].outcome
            assert released.certificate.seq >= released.seq
            assert verify_certificate(released.certificate, COURSE.anchor) is None
            taken.append(released.seq)
    assert taken == list(range(1, len(taken) + 1))
    assert all(wrong.replica == "c" for wrong in assembly.wrong)
    # Liveness: where an honest member spoke of every entry up to a certified one, all is out.
    reached = 0
    while reached + 1 in told:
        reached += 1
    certified = [s for s in range(1, reached + 1) if assembly.tally.certified_chain_at(s)]
    if not any(name == "c" and false for name, _, false in heard):
        assert len(taken) >= max(certified, default=0)
    # And once an honest replica has answered for everything, there is nothing left to wait for.
    answered = OutcomesAnswered("a", tuple(COURSE.messages[:20]), None, (), 1, "")
    assembly.hear_answer("a", answered)
    taken += seqs(assembly)
    assert len(taken) == assembly.certified_seq
    assert assembly.find_hole() is None


def test_findings_of_the_tally_are_passed_on() -> None:
    assembly = assembly_of()
    assembly.hear_vote(COURSE.vote("a", 1, 2))
    findings = assembly.hear_vote(COURSE.vote("b", 1, 2))
    assert [type(finding) for finding in findings] == [Certified]


@pytest.mark.parametrize("epoch", [0, 2])
def test_votes_of_another_epoch_are_not_held_against_anybody(epoch: int) -> None:
    assembly = assembly_of()
    other = Roster(log_id=COURSE.anchor.log_id, epoch=epoch, keys=COURSE.anchor.keys)
    for vote in COURSE.certificate(4, roster=other).votes:
        assert assembly.hear_vote(vote) == []
    assert assembly.certified_seq == 0
