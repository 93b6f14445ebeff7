"""The voter: which of the applied entries a replica has yet to sign."""

from collections.abc import Mapping

from seawall.protocol.signatures import SigningKey
from seawall.replica.history import History
from seawall.replica.machine import Roster
from seawall.replica.votes import VOTE_SPAN_MAX, Vote, cast_vote

VOTES_KEPT = 8


class Voter:
    """Signs consecutive entries once each, at most `VOTE_SPAN_MAX` a vote, one epoch a vote."""

    def __init__(self, *, name: str, key: SigningKey) -> None:
        self._name = name
        self._key = key
        self.voted_seq = 0
        self.newest: tuple[Vote, ...] = ()

    def start_before(self, seq: int) -> None:
        """Make `seq` the next entry to sign; what was signed earlier is not repeated."""
        assert seq >= 1
        self.voted_seq = seq - 1
        self.newest = ()

    def next_vote(self, history: History, rosters: Mapping[int, Roster]) -> Vote | None:
        """Return the vote for the oldest entries not signed yet, None when there are none.

        Entries of an epoch to which this replica does not belong are passed over in silence.
        """
        while self.voted_seq < history.seq:
            first_seq = max(self.voted_seq + 1, history.oldest_seq)
            steps = list(history.span(first_seq, first_seq + VOTE_SPAN_MAX - 1))
            if not steps:
                return None
            epoch = steps[0].epoch
            steps = [step for step in steps if step.epoch == epoch]
            self.voted_seq = steps[-1].seq
            roster = rosters.get(epoch)
            if roster is None or roster.key_of(self._name) != self._key.public_key:
                continue
            vote = cast_vote(
                self._key,
                roster=roster,
                replica=self._name,
                first_seq=first_seq,
                chains=b"".join(step.chain for step in steps),
            )
            self.newest = (*self.newest, vote)[-VOTES_KEPT:]
            return vote
        return None
