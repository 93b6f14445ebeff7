"""The auditor: follows the log with books of its own and says where the house differs.

It reads the payload of each entry, decides by itself what must happen, and holds the certified
outcome against that. The only things it takes from the outcome are decisions, which it checks,
and verdicts on which the rules are silent, which it counts.
"""

import msgspec

from seawall.oversight.cases import DECIDED
from seawall.oversight.comparing import check_conservation, compare_events, compare_lines
from seawall.oversight.doors import DOORS
from seawall.oversight.findings import Coverage, Finding
from seawall.oversight.house import Context, House
from seawall.oversight.numbering import check_entry, consume_number
from seawall.oversight.orders import close_orders
from seawall.oversight.record import Record
from seawall.oversight.shapes import is_readable
from seawall.protocol.codec import SignedBatch, decode_outcome, decode_payload, log_id_of
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AnyCommand, Role
from seawall.protocol.events import (
    Deleveraged,
    EntryRefused,
    LiquidationEnded,
    LiquidationStarted,
    Outcome,
    PositionTransferred,
    Posted,
    Repeated,
    ReplicasSet,
    ShortfallFound,
    Started,
)
from seawall.protocol.genesis import Genesis
from seawall.protocol.units import is_int64

DECISIONS = (LiquidationStarted, LiquidationEnded, PositionTransferred, Deleveraged, ShortfallFound)


class Auditor:
    """Books of its own, from entry 1 on."""

    def __init__(self, *, findings_max: int = 256) -> None:
        """Keep at most `findings_max` findings of one entry; all of them are counted."""
        self.house: House | None = None
        self.seq = 0
        self.record: Record | None = None
        """What the last entry told and what the auditor says of it."""
        self._findings_max = findings_max
        self._compared = self._disagreements = self._trusted = 0
        self._accounts_compared = self._accounts_touched = 0

    @property
    def coverage(self) -> Coverage:
        """How much was looked at so far."""
        return Coverage(
            entries=self.seq,
            compared=self._compared,
            disagreements=self._disagreements,
            trusted=self._trusted,
            accounts_compared=self._accounts_compared,
            accounts_touched=self._accounts_touched,
        )

    def follow(self, seq: int, payload: bytes, outcome: bytes) -> list[Finding]:
        """Audit one entry and return the disagreements; entries come in order, from 1.

        The books always follow the auditor's own reading, so what is told wrongly once differs
        for as long as the house keeps it.
        """
        assert seq == self.seq + 1
        self.seq = seq
        record = self._open_record(seq, outcome)
        self.record = record
        record.claim("AUDT-01", "outcome: seq", seq, record.told.seq)
        if self.house is not None:
            self.house.books.start_entry(seq)
        self._apply_payload(record, payload)
        compare_events(record)
        if self.house is not None:
            check_conservation(self.house, record)
            compared, touched = compare_lines(self.house, record)
            self._accounts_compared += compared
            self._accounts_touched += touched
        self._compared += record.compared
        self._trusted += record.trusted
        self._disagreements += len(record.findings)
        return record.findings[: self._findings_max]

    def _open_record(self, seq: int, outcome: bytes) -> Record:
        try:
            told = decode_outcome(outcome)
        except msgspec.DecodeError as fault:
            record = Record(seq, Outcome(seq, (), ()))
            record.find("AUDT-01", "outcome", "readable bytes", fault)
            return record
        assets = len(self.house.assets) if self.house is not None else 0
        whole = tuple(event for event in told.events if is_readable(event, assets))
        record = Record(seq, Outcome(told.seq, whole, told.effects))
        if len(whole) < len(told.events):
            record.find("AUDT-01", "outcome: readable events", len(told.events), len(whole))
        return record

    def _apply_payload(self, record: Record, payload: bytes) -> None:
        read = decode_payload(payload)
        if self.house is None and self.seq > 1:
            # Nothing but a refusal can come of it; whether the bytes are read at all is not ruled.
            record.trusted += 1
            record.say(EntryRefused(_told_code(record), ""))
        elif isinstance(read, Reject):
            record.say(EntryRefused(read, ""))
        elif isinstance(read, Genesis):
            self._open_house(record, read, payload)
        elif self.house is None:
            record.say(EntryRefused(Reject.GENESIS_MISPLACED, ""))
        else:
            self._apply_batch(record, self.house, read)

    def _open_house(self, record: Record, genesis: Genesis, payload: bytes) -> None:
        refused = any(isinstance(event, EntryRefused) for event in record.told.events)
        if self.seq != 1:
            record.say(EntryRefused(Reject.GENESIS_MISPLACED, ""))
        elif refused or not genesis.assets:
            # Which terms make no house is not ruled.
            record.trusted += 1
            record.say(EntryRefused(_told_code(record), ""))
        else:
            self.house = House(genesis, log_id_of(payload))
            record.say(Started(genesis.name))
            record.say(ReplicasSet(self.house.log_id, 1, genesis.replicas))

    def _apply_batch(self, record: Record, house: House, signed: SignedBatch) -> None:
        found = check_entry(house, signed)
        if isinstance(found, Reject):
            record.say(EntryRefused(found, ""))
            return
        if isinstance(found, Repeated):
            record.say(found)
            return
        consume_number(house, found, signed, record.seq)
        context = Context(house, record, found)
        for index, command in enumerate(signed.batch.commands):
            door = DOORS[type(command)]
            verdict = _check_door(context, command, door.roles) or door.judge(context, command)
            if record.judge(index, command, verdict, door.rule):
                door.act(context, command)
        close_orders(context)
        _check_outside(record)


def _told_code(record: Record) -> int:
    codes = [each.code for each in record.told.events if isinstance(each, EntryRefused)]
    return codes[0] if codes else Reject.MALFORMED


def _check_door(context: Context, command: AnyCommand, role: Role) -> int:
    """Return what every command is checked for first: its integers, then the sender's role."""
    if not all(is_int64(each) for each in _integers(command)):
        return Reject.TERMS_RANGE
    return Reject.ROLE_MISSING if role and not context.sender.roles & role else 0


def _integers(struct: msgspec.Struct) -> list[int]:
    """Return every integer of a struct and of the structs inside it."""
    found: list[int] = []
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, int):
            found.append(value)
        elif isinstance(value, msgspec.Struct):
            found += _integers(value)
        elif isinstance(value, tuple):
            for each in value:
                found += _integers(each) if isinstance(each, msgspec.Struct) else []
    return found


def _check_outside(record: Record) -> None:
    """Nobody is liquidated between ticks."""
    for event in record.outside_steps():
        decided = isinstance(event, DECISIONS)
        if decided or (isinstance(event, Posted) and event.why in DECIDED):
            record.find("LIQD-01", type(event).__name__, "only at a tick", event)
