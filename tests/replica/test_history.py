"""The history: bounded, and what it proves or hands out is what was computed."""

import msgspec

from seawall.replica.buses.subjects import DATA_BYTES_MAX
from seawall.replica.history import History
from seawall.replica.machine import OUTCOME_BYTES_MAX
from seawall.replica.messages import OutcomesAnswered, encode
from seawall.replica.proofs import verify_proof
from tests.replica.course import Course

COURSE = Course(40, "a", "b", "c")


def test_entries_and_outcomes_are_held_within_their_bounds() -> None:
    history = History(seq=0, chain=bytes(32), entries_max=10, outcome_bytes_max=1000)
    for _ in range(100):
        history.append(entry_digest=bytes(32), outcome=bytes(300), epoch=1)
    assert (history.seq, history.oldest_seq, history.oldest_outcome_seq) == (100, 91, 98)
    assert history.at(90) is None
    assert history.chain_at(89) is None
    base = history.chain_at(90)
    assert base is not None
    assert [step.seq for step in history.span(1, 999)] == list(range(91, 101))
    history.append(entry_digest=bytes(32), outcome=bytes(5000), epoch=1)
    # The newest outcome is always held, however large.
    assert history.oldest_outcome_seq == 101


def test_an_answer_fits_a_message_and_has_at_least_one_outcome() -> None:
    history = History(seq=0, chain=bytes(32))
    sizes = [10, 400, 400, 400, 2000, 10]
    for size in sizes:
        history.append(entry_digest=bytes(32), outcome=bytes(size), epoch=1)

    def held(first: int, last: int) -> list[int]:
        return [message.seq for message in history.outcomes(first, last, bytes_max=1000)]

    assert held(1, 99) == [1, 2, 3]
    assert held(4, 99) == [4]
    assert held(5, 99) == [5]
    assert held(6, 99) == [6]
    assert held(2, 2) == [2]
    assert held(0, 99) == held(7, 99) == []


def test_the_largest_answer_fits_one_bus_message() -> None:
    course = Course(3, *(f"r{index:02d}" for index in range(15)))
    history = History(seq=0, chain=bytes(32))
    for size in (10, OUTCOME_BYTES_MAX):
        history.append(entry_digest=bytes(32), outcome=bytes(size), epoch=1)
    span = course.certificate(3)
    votes = tuple(msgspec.structs.replace(vote, chains=vote.chains * 256) for vote in span.votes)
    answered = OutcomesAnswered(
        replica="r00",
        outcomes=tuple(history.outcomes(2, 2, bytes_max=OUTCOME_BYTES_MAX)),
        certificate=msgspec.structs.replace(span, votes=votes),
        handovers=(),
        oldest_seq=1,
        archive="",
    )
    assert len(encode(answered)) < DATA_BYTES_MAX


def test_a_proof_needs_every_link_and_the_certified_chain() -> None:
    message = COURSE.messages[9]
    good = COURSE.history.prove(message, COURSE.certificate(14))
    assert good is not None
    assert verify_proof(good, COURSE.anchor) is None
    assert COURSE.history.prove(message, COURSE.certificate(9)) is None
    other = msgspec.structs.replace(COURSE.certificate(14), chain=bytes(32))
    assert COURSE.history.prove(message, other) is None
    ahead = msgspec.structs.replace(COURSE.certificate(14), seq=99)
    assert COURSE.history.prove(message, ahead) is None
