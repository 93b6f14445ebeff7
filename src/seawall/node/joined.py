"""An entry joined with its released outcome: what every reader of a node is fed with."""

import msgspec

from seawall.protocol.codec import SignedBatch, decode_outcome, decode_payload
from seawall.protocol.codes import Reject
from seawall.protocol.events import EntryRefused, Outcome, Rejected, Repeated
from seawall.protocol.genesis import Genesis


class Joined(msgspec.Struct, frozen=True):
    """One certified step of the house: what was asked, and what a majority says came of it.

    Attributes
    ----------
    refusal : of the whole entry, if it was refused
    repeat_of : where the same batch was applied before, None for a first time
    rejected : the commands that were refused, by their position in the batch
    """

    seq: int
    payload: bytes
    entry_digest: bytes
    content: SignedBatch | Genesis | Reject
    outcome_bytes: bytes
    outcome: Outcome
    refusal: EntryRefused | None
    repeat_of: int | None
    rejected: dict[int, Rejected]

    @property
    def is_applied(self) -> bool:
        """Whether the entry did something, if only to refuse its commands one by one."""
        return self.refusal is None and self.repeat_of is None


def join(seq: int, payload: bytes, outcome_bytes: bytes, *, entry_digest: bytes) -> Joined:
    """Return the entry and its outcome, both decoded.

    Raises
    ------
    msgspec.DecodeError
        If the outcome is of a format that this build does not know.
    """
    outcome = decode_outcome(outcome_bytes)
    assert outcome.seq == seq
    first = outcome.events[0] if outcome.events else None
    return Joined(
        seq=seq,
        payload=payload,
        entry_digest=entry_digest,
        content=decode_payload(payload),
        outcome_bytes=outcome_bytes,
        outcome=outcome,
        refusal=first if isinstance(first, EntryRefused) else None,
        repeat_of=first.seq if isinstance(first, Repeated) else None,
        rejected={event.command: event for event in outcome.events if isinstance(event, Rejected)},
    )
