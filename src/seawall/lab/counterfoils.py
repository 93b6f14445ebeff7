"""Counterfoils: what clients asked for and what they were told, kept apart from the gateway.

A counterfoil names commands by their digests, so that they can be looked for in the log by what
they say and not by where the gateway claims to have put them.
"""

import msgspec

from seawall.node.receipts import Answer, Receipt, Refused
from seawall.protocol.codec import encode_any
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AnyCommand
from seawall.protocol.digest import digest

Print = bytes
"""A command and who asked for it, in 16 bytes."""


class Counterfoil(msgspec.Struct):
    """One request: who asked for what, and the answer."""

    sender_id: int
    prints: tuple[Print, ...]
    receipt: Receipt | None = None
    refused: Reject | None = None


def print_of(sender_id: int, command: AnyCommand) -> Print:
    """Return what tells a command of a sender from all others."""
    body = sender_id.to_bytes(8, "little") + encode_any(command)
    return digest(body, person=b"seawall/counterf")[:16]


class Counterfoils:
    """All requests of a run, by ticket; a `node.witness.Witness`."""

    def __init__(self) -> None:
        self.by_ticket: dict[int, Counterfoil] = {}
        self.answered_count = 0

    def asked(self, ticket: int, sender_id: int, commands: tuple[AnyCommand, ...]) -> None:
        """Note that a client asked for commands."""
        prints = tuple(print_of(sender_id, command) for command in commands)
        self.by_ticket[ticket] = Counterfoil(sender_id, prints)

    def acknowledged(self, ticket: int, receipt: Receipt) -> None:
        """Note that the client was told that the log holds them."""
        self.by_ticket[ticket].receipt = receipt

    def refused(self, ticket: int, refused: Refused) -> None:
        """Note that the client was told why not, or that it is not known."""
        self.by_ticket[ticket].refused = refused.code

    def answered(self, ticket: int, answer: Answer) -> None:
        """Note that the outcome was released."""
        del ticket, answer
        self.answered_count += 1
