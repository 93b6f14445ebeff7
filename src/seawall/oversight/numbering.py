"""Whether an entry counts at all: log, sender, signature, number, repeat (LEDG-01, LEDG-02)."""

from seawall.oversight.house import House, Sender
from seawall.protocol.codec import SignedBatch
from seawall.protocol.codes import Reject
from seawall.protocol.events import Repeated
from seawall.protocol.genesis import COMMANDS_MAX
from seawall.protocol.signatures import verify


def check_entry(house: House, signed: SignedBatch) -> Reject | Repeated | Sender:
    """Return the sender whose batch is applied, the repeat it is, or why it is refused whole."""
    batch = signed.batch
    if batch.log_id != house.log_id:
        return Reject.LOG_WRONG
    sender = house.senders.get(batch.sender_id)
    if sender is None or not sender.public_key:
        return Reject.SENDER_UNKNOWN
    if not verify(sender.public_key, signed.body_digest, signed.signature):
        return Reject.SIGNATURE_BAD
    if batch.number > sender.last_number + 1:
        return Reject.NUMBER_GAP
    if batch.number <= sender.last_number:
        return _find_repeat(sender, batch.number, signed.body_digest)
    if not batch.commands:
        return Reject.COMMANDS_EMPTY
    return sender if len(batch.commands) <= COMMANDS_MAX else Reject.COMMANDS_MANY


def _find_repeat(sender: Sender, number: int, body_digest: bytes) -> Reject | Repeated:
    known = sender.recents.get(number)
    if known is None:
        return Reject.NUMBER_OLD
    return Repeated(number, known[1]) if known[0] == body_digest else Reject.NUMBER_REUSED


def consume_number(house: House, sender: Sender, signed: SignedBatch, seq: int) -> None:
    """Remember the batch as applied, and forget the oldest beyond the limit."""
    sender.last_number = signed.batch.number
    sender.recents[signed.batch.number] = (signed.body_digest, seq)
    while len(sender.recents) > house.limits.recents_max:
        del sender.recents[next(iter(sender.recents))]
