"""The voter: each entry signed once, in order, under the roster that votes on it."""

from seawall.replica.history import History
from seawall.replica.machine import Roster
from seawall.replica.voter import VOTES_KEPT, Voter
from seawall.replica.votes import VOTE_SPAN_MAX, check_vote
from tests.replica.reference import key_of, keys_of

LOG_ID = bytes([7]) * 32


def roster(epoch: int, *names: str) -> Roster:
    return Roster(log_id=LOG_ID, epoch=epoch, keys=keys_of(*names))


def history_of(*epochs: int, entries_max: int = 4096) -> History:
    history = History(seq=0, chain=bytes(32), entries_max=entries_max)
    for epoch in epochs:
        history.append(entry_digest=bytes(32), outcome=b"x", epoch=epoch)
    return history


def spans(voter: Voter, history: History, rosters: dict[int, Roster]) -> list[tuple[int, int, int]]:
    found = []
    while (vote := voter.next_vote(history, rosters)) is not None:
        assert check_vote(vote, rosters[vote.epoch]) is None
        for seq, chain in vote.each():
            assert chain == history.chain_at(seq)
        found.append((vote.epoch, vote.first_seq, vote.last_seq))
    return found


def test_every_entry_is_signed_once_and_in_bounded_spans() -> None:
    voter = Voter(name="a", key=key_of("a"))
    voter.start_before(1)
    history = history_of(*[1] * (2 * VOTE_SPAN_MAX + 5))
    rosters = {1: roster(1, "a", "b")}
    span = VOTE_SPAN_MAX
    assert spans(voter, history, rosters) == [
        (1, 1, span),
        (1, span + 1, 2 * span),
        (1, 2 * span + 1, 2 * span + 5),
    ]
    assert spans(voter, history, rosters) == []
    history.append(entry_digest=bytes(32), outcome=b"y", epoch=1)
    assert spans(voter, history, rosters) == [(1, 2 * span + 6, 2 * span + 6)]
    assert len(voter.newest) == 4 <= VOTES_KEPT


def test_a_vote_never_spans_two_epochs_and_strangers_are_silent() -> None:
    voter = Voter(name="a", key=key_of("a"))
    voter.start_before(2)
    history = history_of(1, 1, 1, 2, 2, 3, 4, 4)
    rosters = {
        1: roster(1, "a", "b"),
        2: roster(2, "b", "c"),
        3: roster(3, "a", "c"),
        4: roster(4, "a", "b", "c"),
    }
    assert spans(voter, history, rosters) == [(1, 2, 3), (3, 6, 6), (4, 7, 8)]
    assert voter.voted_seq == 8


def test_a_name_that_stands_for_another_key_is_a_stranger() -> None:
    voter = Voter(name="a", key=key_of("another"))
    voter.start_before(1)
    assert spans(voter, history_of(1, 1), {1: roster(1, "a", "b")}) == []


def test_what_the_history_has_forgotten_is_passed_over() -> None:
    voter = Voter(name="a", key=key_of("a"))
    voter.start_before(1)
    history = history_of(*[1] * 100, entries_max=10)
    assert spans(voter, history, {1: roster(1, "a")}) == [(1, 91, 100)]
