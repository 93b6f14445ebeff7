"""The register: who may send, with which key, roles and numbers, as released outcomes tell.

The same questions that the machine asks of a batch, asked early, so that a client gets its code
without a round trip. The machine alone decides: the register may be some entries behind.
"""

import msgspec

from seawall.clearing.authority import ROLES
from seawall.node.joined import Joined
from seawall.protocol.codec import SignedBatch
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AddSender, Batch, RotateKey
from seawall.protocol.events import SenderChanged
from seawall.protocol.genesis import COMMANDS_MAX, Genesis, SenderTerms
from seawall.protocol.signatures import verify


class Known(msgspec.Struct, array_like=True):
    """A sender: `recents` has number -> (seq, body digest) of its newest batches."""

    name: str
    public_key: bytes
    roles: int
    number: int = 0
    recents: dict[int, tuple[int, bytes]] = {}


class Register(msgspec.Struct):
    """All senders of one log, up to the entry that was taken last.

    Attributes
    ----------
    seq : the entry that was taken last
    senders : sender i + 1 at index i
    """

    seq: int = 0
    log_id: bytes = b""
    recents_max: int = 1
    senders: list[Known] = []

    def copy_from(self, other: "Register") -> None:
        """Become equal to another register."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(other, name))

    def find(self, sender_id: int) -> Known | None:
        """Return the sender of this id, or None."""
        return self.senders[sender_id - 1] if 0 < sender_id <= len(self.senders) else None

    def last_number(self, sender_id: int) -> int:
        """Return the newest number that the machine accepted from the sender, 0 for none."""
        known = self.find(sender_id)
        return 0 if known is None else known.number

    def lookup(self, sender_id: int, number: int, body_digest: bytes) -> int | Reject:
        """Return the seq at which this batch was applied, 0 if its number is still to come.

        Rejects
        -------
        NUMBER_OLD, NUMBER_REUSED
        """
        known = self.find(sender_id)
        if known is None or number > known.number:
            return 0
        kept = known.recents.get(number)
        if kept is None:
            return Reject.NUMBER_OLD
        seq, digest_then = kept
        return seq if digest_then == body_digest else Reject.NUMBER_REUSED

    def check_sender(self, signed: SignedBatch) -> tuple[Reject, str] | None:
        """Return why nothing from this sender under this key is taken, with the field.

        Rejects
        -------
        LOG_WRONG, SENDER_UNKNOWN, SIGNATURE_BAD, COMMANDS_EMPTY
        """
        batch = signed.batch
        if batch.log_id != self.log_id:
            return Reject.LOG_WRONG, "log_id"
        known = self.find(batch.sender_id)
        if known is None or not known.public_key:
            return Reject.SENDER_UNKNOWN, "sender_id"
        if not verify(known.public_key, signed.body_digest, signed.signature):
            return Reject.SIGNATURE_BAD, "signature"
        if not batch.commands:
            return Reject.COMMANDS_EMPTY, "commands"
        if len(signed.batch.commands) > COMMANDS_MAX:
            return Reject.COMMANDS_MANY, "commands"
        return None

    def check_roles(self, batch: Batch) -> tuple[Reject, str] | None:
        """Return why no command of the batch can pass; if one can, the machine answers each.

        Rejects
        -------
        ROLE_MISSING
        """
        known = self.find(batch.sender_id)
        roles = 0 if known is None else known.roles
        if any(roles & ROLES[type(command)] for command in batch.commands):
            return None
        return Reject.ROLE_MISSING, "sender"

    def take(self, joined: Joined) -> None:
        """Take in the next released entry."""
        assert joined.seq == self.seq + 1
        self.seq = joined.seq
        if not joined.is_applied:
            return
        if isinstance(joined.content, Genesis):
            self._open(joined.content, joined.entry_digest)
        elif isinstance(joined.content, SignedBatch):
            self._count(joined.seq, joined.content)
            if any(isinstance(event, SenderChanged) for event in joined.outcome.events):
                self._change(joined, joined.content.batch)

    def _open(self, genesis: Genesis, log_id: bytes) -> None:
        self.log_id = log_id
        self.recents_max = genesis.limits.recents_max
        for terms in genesis.senders:
            self._admit(terms)

    def _admit(self, terms: SenderTerms | AddSender) -> None:
        self.senders.append(Known(terms.name, terms.public_key, terms.roles))

    def _count(self, seq: int, signed: SignedBatch) -> None:
        known = self.find(signed.batch.sender_id)
        assert known is not None
        known.number = signed.batch.number
        known.recents[signed.batch.number] = (seq, signed.body_digest)
        if len(known.recents) > self.recents_max:
            del known.recents[next(iter(known.recents))]

    def _change(self, joined: Joined, batch: Batch) -> None:
        for place, command in enumerate(batch.commands):
            if place in joined.rejected:
                continue
            if isinstance(command, AddSender):
                self._admit(command)
            elif isinstance(command, RotateKey):
                known = self.find(command.sender_id)
                assert known is not None
                known.public_key = command.public_key
