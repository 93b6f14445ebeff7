"""The watch of the drill: gaps are those of clients, whatever clocks and reporters still get in."""

from seawall.lab.watch import Watch
from seawall.node.clock import Clock
from seawall.node.receipts import Receipt


class ClientWatch(Watch):
    """A watch whose pulse of acknowledgements is that of some senders alone.

    A sender may have so many batches unreleased and then waits. With every replica dead, clients
    wait long before a clock does, whose ticks would pass for an intake that never stopped.

    Attributes
    ----------
    held_seq : the newest entry that anybody was told of
    """

    def __init__(self, clock: Clock, client_ids: frozenset[int]) -> None:
        super().__init__(clock, lambda _: None)
        self.held_seq = 0
        self._client_ids = client_ids

    def acknowledged(self, ticket: int, receipt: Receipt) -> None:
        """Note that somebody was told that the log holds their commands."""
        self.held_seq = max(self.held_seq, receipt.seq)
        if receipt.sender_id in self._client_ids:
            super().acknowledged(ticket, receipt)
        else:
            self.counterfoils.acknowledged(ticket, receipt)
