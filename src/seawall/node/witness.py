"""The witness: whoever keeps the history of what was asked of a gateway and what it said."""

from typing import Protocol

from seawall.node.receipts import Answer, Receipt, Refused
from seawall.protocol.commands import AnyCommand


class Witness(Protocol):
    """Told of every request by its ticket, at once and in order; must not raise."""

    def asked(self, ticket: int, sender_id: int, commands: tuple[AnyCommand, ...]) -> None:
        """Note that a client asked for commands."""
        ...

    def acknowledged(self, ticket: int, receipt: Receipt) -> None:
        """Note that the client was told that the log holds them."""
        ...

    def refused(self, ticket: int, refused: Refused) -> None:
        """Note that the client was told why not, or that it is not known."""
        ...

    def answered(self, ticket: int, answer: Answer) -> None:
        """Note that the outcome was released."""
        ...


class NoWitness:
    """Keeps no history."""

    def asked(self, ticket: int, sender_id: int, commands: tuple[AnyCommand, ...]) -> None:
        """Forget it."""

    def acknowledged(self, ticket: int, receipt: Receipt) -> None:
        """Forget it."""

    def refused(self, ticket: int, refused: Refused) -> None:
        """Forget it."""

    def answered(self, ticket: int, answer: Answer) -> None:
        """Forget it."""
