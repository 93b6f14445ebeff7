"""The tally: one certified chain, never without a majority, and every liar by name."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.protocol.digest import digest
from seawall.replica.findings import (
    BadVote,
    Certified,
    Dissent,
    Equivocation,
    Finding,
    Readmitted,
    Split,
    verify_dissent,
    verify_equivocation,
)
from seawall.replica.quarantine import OFFENCES_MAX
from seawall.replica.tally import Tally
from seawall.replica.votes import VOTE_SPAN_MAX, Vote, cast_vote, verify_certificate
from tests.replica.reference import key_of, roster_for

FIVE = ("a", "b", "c", "d", "e")
TRIO = ("a", "b", "c")


def chain(seq: int, story: str = "") -> bytes:
    return digest(f"{story}/{seq}".encode())


def vote(
    name: str, first: int, last: int, story: str = "", names: Sequence[str] = TRIO, epoch: int = 1
) -> Vote:
    return cast_vote(
        key_of(name),
        roster=roster_for(*names, epoch=epoch),
        replica=name,
        first_seq=first,
        chains=b"".join(chain(seq, story) for seq in range(first, last + 1)),
    )


def kinds(findings: Sequence[Finding]) -> list[str]:
    return [type(finding).__name__ for finding in findings]


def test_two_of_three_certify_all_up_to_the_newest_common_entry() -> None:
    tally = Tally(roster_for(*TRIO))
    assert tally.add(vote("a", 1, 9)) == []
    (certified,) = tally.add(vote("c", 4, 12))
    assert isinstance(certified, Certified)
    assert certified.certificate.seq == tally.certified_seq == 9
    assert verify_certificate(certified.certificate, roster_for(*TRIO)) is None
    assert tally.certified_chain_at(5) == chain(5)
    assert tally.certified_chain_at(3) is None
    assert tally.certified_chain_at(10) is None
    older = tally.certificate_at(5)
    assert older is not None
    assert verify_certificate(older, roster_for(*TRIO)) is None


def test_the_first_differing_entry_is_named_with_proof() -> None:
    tally = Tally(roster_for(*TRIO))
    tally.add(vote("b", 1, 3))
    tally.add(vote("b", 4, 9, "lie"))
    tally.add(vote("a", 1, 9))
    certified, dissent = tally.add(vote("c", 1, 9))
    assert isinstance(certified, Certified)
    assert isinstance(dissent, Dissent)
    assert (dissent.replica, dissent.seq) == ("b", 4)
    assert (dissent.chain, dissent.certified_chain) == (chain(4, "lie"), chain(4))
    assert verify_dissent(dissent, roster_for(*TRIO)) is None
    assert tally.quarantined() == ("b",)


def test_a_late_liar_is_found_as_well() -> None:
    tally = Tally(roster_for(*TRIO))
    tally.add(vote("a", 1, 9))
    tally.add(vote("b", 1, 9))
    (dissent,) = tally.add(vote("c", 2, 5, "lie"))
    assert isinstance(dissent, Dissent)
    assert (dissent.replica, dissent.seq) == ("c", 2)


def test_whoever_signs_two_chains_for_one_entry_is_named_and_does_not_count() -> None:
    tally = Tally(roster_for(*TRIO))
    tally.add(vote("b", 1, 5))
    (found,) = tally.add(vote("b", 5, 6, "other"))
    assert isinstance(found, Equivocation)
    assert (found.replica, found.seq) == ("b", 5)
    assert verify_equivocation(found, roster_for(*TRIO)) is None
    # Neither of its words counts: a alone is no majority.
    assert tally.add(vote("a", 1, 6)) == []
    assert tally.certified_seq == 0
    assert kinds(tally.add(vote("c", 1, 6)))[:1] == ["Certified"]


def test_evidence_that_proves_nothing_is_refused() -> None:
    roster = roster_for(*TRIO)
    honest, lie = vote("a", 5, 5), vote("a", 5, 5, "lie")
    majority = (vote("b", 5, 5), vote("c", 5, 5))
    good = Dissent("a", 5, chain(5, "lie"), chain(5), (lie, *majority))
    assert verify_dissent(good, roster) is None
    for bad in (
        Dissent("a", 5, chain(5), chain(5), (honest, *majority)),
        Dissent("b", 5, chain(5, "lie"), chain(5), (lie, *majority)),
        Dissent("a", 5, chain(5, "lie"), chain(5), (lie, majority[0])),
        Dissent("a", 5, chain(5, "lie"), chain(5), ()),
        Dissent("a", 4, chain(5, "lie"), chain(5), (lie, *majority)),
    ):
        assert verify_dissent(bad, roster) is not None
    assert verify_equivocation(Equivocation("a", 5, (honest, lie)), roster) is None
    assert verify_equivocation(Equivocation("a", 5, (honest, honest)), roster) is not None
    assert verify_equivocation(Equivocation("a", 6, (honest, lie)), roster) is not None
    assert verify_equivocation(Equivocation("b", 5, (honest, lie)), roster) is not None


def test_a_quarantined_vote_does_not_count_until_it_is_the_certified_one() -> None:
    tally = Tally(roster_for(*TRIO))
    for name, story in (("a", ""), ("b", ""), ("c", "lie")):
        tally.add(vote(name, 1, 5, story))
    assert tally.quarantined() == ("c",)
    # It agrees from now on, but nobody else has said so yet.
    assert tally.add(vote("c", 6, 7)) == []
    assert tally.add(vote("a", 6, 7)) == []
    assert tally.certified_seq == 5
    findings = tally.add(vote("b", 6, 7))
    assert kinds(findings) == ["Certified", "Readmitted"]
    assert findings[1] == Readmitted(replica="c", seq=6)
    # Now its vote makes a majority again.
    tally.add(vote("c", 8, 8))
    assert kinds(tally.add(vote("a", 8, 8))) == ["Certified"]


def test_the_chain_before_the_offence_readmits_nobody() -> None:
    tally = Tally(roster_for(*TRIO))
    for name in ("a", "b"):
        tally.add(vote(name, 1, 5))
    assert kinds(tally.add(vote("c", 4, 5, "lie"))) == ["Dissent"]
    assert tally.add(vote("c", 1, 4)) == []
    assert tally.quarantined() == ("c",)
    assert kinds(tally.add(vote("c", 5, 5))) == ["Readmitted"]


def test_who_is_outvoted_too_often_stays_out() -> None:
    tally = Tally(roster_for(*TRIO))
    seq = 1
    for _ in range(OFFENCES_MAX):
        for name, story in (("a", ""), ("b", ""), ("c", "lie")):
            findings = tally.add(vote(name, seq, seq, story))
        assert kinds(findings) == ["Dissent"]
        for name in TRIO:
            tally.add(vote(name, seq + 1, seq + 1))
        seq += 2
    assert tally.quarantined() == ("c",)


def test_without_a_possible_majority_a_split_is_reported_once_and_nothing_is_certified() -> None:
    tally = Tally(roster_for(*TRIO))
    tally.add(vote("a", 1, 2))
    tally.add(vote("b", 1, 2))
    tally.add(vote("c", 1, 2))
    assert tally.add(vote("a", 3, 4, "x")) == []
    assert tally.add(vote("b", 3, 4, "y")) == []
    (split,) = tally.add(vote("c", 3, 4, "z"))
    assert isinstance(split, Split)
    assert split.seq == 3
    assert {v.replica for v in split.evidence} == set(TRIO)
    assert tally.certified_seq == 2


def test_a_readmitted_vote_can_end_a_split() -> None:
    tally = Tally(roster_for(*TRIO))
    tally.add(vote("a", 1, 3))
    tally.add(vote("b", 1, 3))
    assert kinds(tally.add(vote("c", 2, 2, "lie"))) == ["Dissent"]
    tally.add(vote("a", 4, 4))
    assert kinds(tally.add(vote("b", 4, 4, "lie"))) == ["Split"]
    findings = tally.add(vote("c", 3, 4))
    assert kinds(findings) == ["Certified", "Readmitted", "Dissent"]
    assert tally.certified_chain_at(4) == chain(4)
    assert tally.quarantined() == ("b",)


def test_a_readmitted_vote_settles_what_it_said_of_newer_entries() -> None:
    tally = Tally(roster_for(*TRIO))
    tally.add(vote("a", 1, 3))
    tally.add(vote("b", 1, 3))
    assert kinds(tally.add(vote("c", 2, 2, "lie"))) == ["Dissent"]
    assert tally.add(vote("c", 4, 5)) == []
    assert tally.add(vote("a", 4, 5)) == []
    findings = tally.add(vote("b", 4, 4))
    assert kinds(findings) == ["Certified", "Readmitted"]
    # Entry 5 has the votes of a and c, and b was never needed for it.
    assert tally.certified_seq == 5


def test_strangers_other_epochs_and_forgeries_are_bad_votes() -> None:
    tally = Tally(roster_for(*TRIO))
    stranger = vote("d", 1, 1, names=("a", "b", "c", "d"))
    assert tally.add(stranger) == [BadVote("d", "another log")]
    assert tally.add(vote("a", 1, 1, epoch=2)) == [BadVote("a", "another epoch")]


def test_a_flood_of_far_off_votes_pushes_out_only_the_flooder() -> None:
    window = 64
    tally = Tally(roster_for(*TRIO), window_entries=window)
    for index in range(20):
        first = 1_000_000 + index * VOTE_SPAN_MAX
        tally.add(vote("c", first, first + VOTE_SPAN_MAX - 1))
    for first in range(1, 2000, 10):
        tally.add(vote("a", first, first + 9))
        tally.add(vote("b", first, first + 9))
    assert tally.certified_seq == 2000
    held = sum(len(ballots.cast) for ballots in tally._ballots.values()) + len(tally._agreed)
    assert held <= 4 * (2 * window + VOTE_SPAN_MAX)


Step = tuple[str, int, int, int]


@st.composite
def schedules(draw: st.DrawFn) -> tuple[int, list[str], list[Step]]:
    """Who lies from where on, and votes in any order, some twice, some never."""
    members = draw(st.sampled_from((1, 2, 3, 4, 5)))
    names = list(FIVE[:members])
    faulty = draw(st.integers(0, (members - 1) // 2))
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(names),
                st.integers(1, 12),
                st.integers(0, 5),
                # Which story a faulty member tells in this vote; the honest know only one.
                st.integers(0, 2),
            ),
            max_size=40,
        )
    )
    return faulty, names, steps


@settings(max_examples=300)
@given(schedules())
def test_in_any_order_with_loss_and_repetition(
    schedule: tuple[int, list[str], list[Step]],
) -> None:
    faulty_count, names, steps = schedule
    roster = roster_for(*names)
    faulty = names[len(names) - faulty_count :]
    tally = Tally(roster)
    certified: dict[int, bytes] = {}
    honest_words: dict[int, list[str]] = {}
    for name, first, length, story in steps:
        told = f"lie{story}" if name in faulty and story else ""
        cast = vote(name, first, first + length, told, names)
        for seq in range(first, first + length + 1):
            if told == "" and name not in honest_words.setdefault(seq, []):
                honest_words[seq].append(name)
        for finding in tally.add(cast):
            match finding:
                case Certified(certificate):
                    assert verify_certificate(certificate, roster) is None
                    voters = {v.replica for v in certificate.votes}
                    assert len(voters) >= roster.majority
                    assert certificate.seq > max(certified, default=0)
                    certified[certificate.seq] = certificate.chain
                case Dissent(replica):
                    assert replica in faulty
                    assert verify_dissent(finding, roster) is None
                case Equivocation(replica):
                    assert replica in faulty
                    assert verify_equivocation(finding, roster) is None
                case Readmitted(replica):
                    assert replica in faulty
                case Split() | BadVote():
                    raise AssertionError("a minority of liars cannot split the rest")
        # What is certified stays so, and it is the honest story.
        for seq in range(1, 20):
            at_seq = tally.certified_chain_at(seq)
            assert at_seq in (None, chain(seq))
    # Wherever enough honest members spoke, their chain is certified.
    for seq, speakers in honest_words.items():
        if len([name for name in speakers if name not in faulty]) >= roster.majority:
            assert tally.certified_chain_at(seq) == chain(seq)


@settings(max_examples=100)
@given(
    st.permutations([(n, s) for n in TRIO for s in range(1, 6)]),
    st.sampled_from((1, 2, 3)),
)
def test_the_order_of_votes_does_not_matter(order: list[tuple[str, int]], lies_from: int) -> None:
    tally = Tally(roster_for(*TRIO))
    found: list[Finding] = []
    for name, seq in order:
        story = "lie" if name == "c" and seq >= lies_from else ""
        found += tally.add(vote(name, seq, seq, story))
    assert tally.certified_seq == 5
    assert [tally.certified_chain_at(seq) for seq in range(1, 6)] == [
        chain(seq) for seq in range(1, 6)
    ]
    dissents = [finding for finding in found if isinstance(finding, Dissent)]
    assert [dissent.replica for dissent in dissents] == ["c"]
    assert tally.quarantined() == ("c",)


@pytest.mark.parametrize("names", [FIVE[:n] for n in (2, 3, 4, 5)])
def test_one_less_than_a_majority_certifies_nothing(names: tuple[str, ...]) -> None:
    roster = roster_for(*names)
    tally = Tally(roster)
    for name in names[: roster.majority - 1]:
        for seq in range(1, 30):
            assert tally.add(vote(name, seq, seq, names=names)) == []
    assert tally.certified_seq == 0
    assert tally.certificate_at(1) is None
