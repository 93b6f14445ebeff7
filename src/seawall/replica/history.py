"""The history of a replica: its chain, and the newest entries with their outcomes. Bounded."""

from collections import deque
from collections.abc import Iterator

import msgspec

from seawall.protocol.codec import outcome_digest
from seawall.protocol.digest import next_chain
from seawall.replica.messages import OutcomeMessage
from seawall.replica.proofs import LINKS_MAX, Link, Proof
from seawall.replica.votes import Certificate

OUTCOME_BYTES_HELD_MAX = 64 << 20


class Applied(msgspec.Struct, frozen=True):
    """One applied entry: its link, the chain after it, and the epoch that votes on it."""

    seq: int
    link: Link
    chain: bytes
    epoch: int


class History:
    """What a replica has computed since it was made or restored, the newest `entries_max` of it.

    Parameters
    ----------
    seq, chain : the position to go on from; (0, b"") before the log's identity is known
    """

    def __init__(
        self,
        *,
        seq: int = 0,
        chain: bytes = b"",
        entries_max: int = LINKS_MAX,
        outcome_bytes_max: int = OUTCOME_BYTES_HELD_MAX,
    ) -> None:
        assert entries_max >= 1
        self.seq = seq
        self.chain = chain
        self._base_seq = seq
        self._base_chain = chain
        self._entries_max = entries_max
        self._outcome_bytes_max = outcome_bytes_max
        self._applied: deque[Applied] = deque()
        self._outcomes: deque[OutcomeMessage] = deque()
        self._outcome_bytes = 0

    def found(self, chain: bytes) -> None:
        """Set the chain before entry 1, once the log's identity is known."""
        assert self.seq == 0
        self.chain = chain
        self._base_chain = chain

    def append(self, *, entry_digest: bytes, outcome: bytes, epoch: int) -> OutcomeMessage:
        """Take the outcome of the next entry into the chain; forget the oldest if need be."""
        self.seq += 1
        link = Link(entry_digest=entry_digest, outcome_digest=outcome_digest(outcome))
        self.chain = next_chain(self.chain, self.seq, link.entry_digest, link.outcome_digest)
        self._applied.append(Applied(seq=self.seq, link=link, chain=self.chain, epoch=epoch))
        if len(self._applied) > self._entries_max:
            oldest = self._applied.popleft()
            self._base_seq, self._base_chain = oldest.seq, oldest.chain
        message = OutcomeMessage(seq=self.seq, entry_digest=entry_digest, outcome=outcome)
        self._outcomes.append(message)
        self._outcome_bytes += len(outcome)
        while len(self._outcomes) > 1 and (
            self._outcome_bytes > self._outcome_bytes_max or len(self._outcomes) > self._entries_max
        ):
            self._outcome_bytes -= len(self._outcomes.popleft().outcome)
        return message

    @property
    def oldest_seq(self) -> int:
        """Sequence of the oldest entry still held; one beyond `seq` for none."""
        return self._base_seq + 1

    @property
    def oldest_outcome_seq(self) -> int:
        """Sequence of the oldest outcome still held, 0 for none."""
        return self._outcomes[0].seq if self._outcomes else 0

    def chain_at(self, seq: int) -> bytes | None:
        """Return the chain after entry `seq`, None if it is ahead or forgotten."""
        if seq == self._base_seq:
            return self._base_chain
        applied = self.at(seq)
        return None if applied is None else applied.chain

    def at(self, seq: int) -> Applied | None:
        """Return what was applied at `seq`, None if it is ahead or forgotten."""
        if not self._base_seq < seq <= self.seq:
            return None
        return self._applied[seq - self._base_seq - 1]

    def span(self, first_seq: int, last_seq: int) -> Iterator[Applied]:
        """Yield what is held of the entries from `first_seq` to `last_seq`."""
        for seq in range(max(first_seq, self._base_seq + 1), min(last_seq, self.seq) + 1):
            yield self._applied[seq - self._base_seq - 1]

    def outcomes(self, first_seq: int, last_seq: int, *, bytes_max: int) -> list[OutcomeMessage]:
        """Return what is held from `first_seq` on, one at least, up to `bytes_max` bytes."""
        oldest_seq = self.oldest_outcome_seq
        if oldest_seq == 0 or not oldest_seq <= first_seq <= self.seq:
            return []
        chosen: list[OutcomeMessage] = []
        size = 0
        for seq in range(first_seq, min(last_seq, self.seq) + 1):
            message = self._outcomes[seq - oldest_seq]
            size += len(message.outcome)
            if chosen and size > bytes_max:
                break
            chosen.append(message)
        return chosen

    def prove(self, message: OutcomeMessage, certificate: Certificate) -> Proof | None:
        """Return the proof that `message` lies on the certified chain, None if links are gone."""
        chain_before = self.chain_at(message.seq - 1)
        links = tuple(step.link for step in self.span(message.seq + 1, certificate.seq))
        if chain_before is None or len(links) != certificate.seq - message.seq:
            return None
        if self.chain_at(certificate.seq) != certificate.chain or len(links) > LINKS_MAX:
            return None
        return Proof(
            seq=message.seq,
            chain_before=chain_before,
            entry_digest=message.entry_digest,
            outcome=message.outcome,
            links=links,
            certificate=certificate,
        )
