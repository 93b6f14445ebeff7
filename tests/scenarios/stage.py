"""Where a transcript plays: one machine fed with signed entries, and what must hold after each.

Each entry is applied twice, by the machine that has run from the start and by one restored from its
pages just before. Both must answer and be alike to the byte. What an entry refused must have left
no trace: the state equals that of the same entry without the refused parts.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from seawall.clearing import invariants
from seawall.clearing.kernels.fills import RESULT_CELLS
from seawall.clearing.layout import (
    ASSET,
    AT_NS,
    BALANCE,
    DELEVERAGED,
    FUND_PAID,
    ID,
    LIFE,
    LIFE_OPEN,
    SEQ,
    SHORTFALL,
    SOCIALISED,
    VARIATION,
)
from seawall.clearing.machine import Machine
from seawall.clearing.positions import positions
from seawall.clearing.state import State
from seawall.oversight.auditor import Auditor
from seawall.protocol.codec import (
    decode_outcome,
    encode_batch,
    encode_genesis,
    log_id_of,
    unpack_int64,
)
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    AnyCommand,
    Batch,
    ListInstrument,
    RecordDeposits,
    RecordTrades,
)
from seawall.protocol.events import (
    Checkpointed,
    EntryRefused,
    InstrumentListed,
    Outcome,
    Rejected,
    Repeated,
    TradesRecorded,
)
from seawall.protocol.genesis import Genesis
from seawall.protocol.ids import HOUSE_ROWS
from seawall.protocol.signatures import SigningKey
from tests.scenarios import figures
from tests.scenarios.cast import ASSETS, HOUSE_ACCOUNTS, key_of
from tests.scenarios.telling import Names, is_refusal, tell

FILL_COLUMNS = {"buyers": 8, "sellers": 8, "instruments": 4, "lots": 8, "prices": 8, "flags": 1}


class Seen(msgspec.Struct):
    """What some transcript has shown."""

    codes: set[int]
    messages: set[str]
    """Names of events and effects."""


class Stage:
    """One house under play."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.auditor = Auditor()
        self.names = Names()
        self.numbers: dict[str, int] = {}
        self.told: dict[tuple[int, int], RecordTrades | RecordDeposits] = {}
        self.proposed: dict[int, bytes] = {}
        """risk unit -> digest of the last proposal"""
        self.keys: dict[bytes, SigningKey] = {}
        """Keys that transcripts named, by their public half."""
        self.log_id = bytes(32)
        self.payloads: list[bytes] = []
        self.outcomes: list[bytes] = []
        self.sent = b""
        """The last entry that a sender meant so, for a resend."""
        self.polls: object = None
        """Log and tally, when a transcript asks for them."""
        self.lines = False
        self.seen = Seen(set(), set())
        self.findings: list[str] = []

    @property
    def state(self) -> State:
        """The state of a house that is open."""
        assert self.machine.state is not None
        return self.machine.state

    @property
    def now_ns(self) -> int:
        """Machine time."""
        return self.state.scalar[AT_NS]

    # Entries --------------------------------------------------------------------------------

    def open(self, genesis: Genesis) -> list[str]:
        """Let the house open with this first entry."""
        payload = encode_genesis(genesis)
        self.log_id = log_id_of(payload)
        self.names.senders = [sender.name for sender in genesis.senders]
        self.names.accounts.update(HOUSE_ACCOUNTS)
        return self.apply(payload)

    def key(self, name: str) -> SigningKey:
        """Return the key of a name."""
        key = key_of(name)
        self.keys[key.public_key] = key
        return key

    def key_in_force(self, sender: str, state: State | None) -> SigningKey:
        """Return the key that a state has for a sender, its first one if that was revoked."""
        assert state is not None
        first = self.key(sender)
        known = {person.name: person.public_key for person in state.tables.senders}
        return self.keys.get(known.get(sender, b""), first)

    def send(
        self, sender: str, *commands: AnyCommand, signer: str = "", **changes: Any
    ) -> list[str]:
        """Apply a signed batch of a sender; `changes` are to the batch's fields."""
        number = self.numbers.get(sender, 0) + 1
        sender_id = self.names.senders.index(sender) + 1 if sender in self.names.senders else 99
        batch = Batch(self.log_id, sender_id, number, commands)
        batch = msgspec.structs.replace(batch, **changes)
        before = self.state.tables.senders
        key = self.key(signer) if signer else self.key_in_force(sender, self.state)
        self.sent = encode_batch(batch, key)
        told = self.apply(self.sent, batch)
        if sender_id <= len(before):
            self.numbers[sender] = self.state.tables.senders[sender_id - 1].number
        return told

    def apply(self, payload: bytes, batch: Batch | None = None) -> list[str]:
        """Apply one entry and check all that must hold; return what it did, in words."""
        pages = list(self.state.pages()) if self.machine.state else []
        seq = self.machine.seq + 1
        told = self.machine.apply(seq, payload)
        outcome = decode_outcome(told)
        self.payloads.append(payload)
        self.outcomes.append(told)
        if pages:
            restored = _restored(pages)
            assert restored.apply(seq, payload) == told
            assert restored.digest() == self.machine.digest()
            self._check_no_trace(pages, outcome, batch)
        if self.machine.state:
            invariants.check_full(self.state)
            self._note_listings(outcome, batch)
        self._check_conservation()
        self.findings += [str(f) for f in self.auditor.follow(seq, payload, told)]
        self._note(outcome)
        return list(tell(self.names, outcome, lines=self.lines))

    def _note_listings(self, outcome: Outcome, batch: Batch | None) -> None:
        listed = [e for e in outcome.events if isinstance(e, InstrumentListed)]
        asked = [c.terms for c in batch.commands if isinstance(c, ListInstrument)] if batch else []
        for event in listed:
            self.names.contracts.append(next(terms for terms in asked if terms.name == event.name))
        self.names.senders += [s.name for s in self.state.tables.senders[len(self.names.senders) :]]

    def _note(self, outcome: Outcome) -> None:
        for event in outcome.events:
            self.seen.messages.add(type(event).__name__)
            if isinstance(event, EntryRefused | Rejected):
                self.seen.codes.add(event.code)
            if isinstance(event, TradesRecorded):
                self.seen.codes.update(unpack_int64(event.results)[::RESULT_CELLS])
        self.seen.messages.update(type(effect).__name__ for effect in outcome.effects)

    # What must hold -------------------------------------------------------------------------

    def _check_no_trace(self, pages: list[bytes], outcome: Outcome, batch: Batch | None) -> None:
        """Compare with a machine that saw the same entry without what was refused."""
        # A report that another command set free (-1) was no part of this entry.
        refusals = [e for e in outcome.events if is_refusal(e) and getattr(e, "command", 0) >= 0]
        if any(isinstance(event, EntryRefused | Repeated) for event in outcome.events):
            assert len([e for e in outcome.events if not isinstance(e, Checkpointed)]) == 1
            other = _restored(pages)
            other.seq = self.machine.seq
            assert _traces(other.state) == _traces(self.state)
            return
        assert batch is not None
        kept, spent = _without_refused(batch, outcome)
        if not refusals and len(kept) == len(batch.commands) and kept == list(batch.commands):
            return
        other = _restored(pages)
        if kept:
            again = msgspec.structs.replace(batch, commands=tuple(kept))
            sender = self.names.senders[batch.sender_id - 1]
            payload = encode_batch(again, self.key_in_force(sender, other.state))
            clean = decode_outcome(other.apply(self.machine.seq, payload))
            assert not any(getattr(e, "command", -1) >= 0 for e in clean.events if is_refusal(e))
        number = batch.sender_id - 1
        assert _traces(other.state, sender=number, streams=spent) == _traces(
            self.state, sender=number, streams=spent
        )

    def _check_conservation(self) -> None:
        """Sum every asset and instrument by plain addition, apart from `invariants`."""
        if not self.machine.state:
            return
        assert not any(sum(parts.values()) for parts in self.sums())
        lots: dict[int, int] = {}
        for row in self.rows():
            for instrument, held, _ in positions(self.state, row):
                lots[instrument] = lots.get(instrument, 0) + held
        assert not any(lots.values())

    def rows(self) -> Iterator[int]:
        """Yield the rows of open accounts."""
        for row in range(1, len(self.state.used("accounts"))):
            if self.state.account[row, LIFE] == LIFE_OPEN:
                yield row

    def sums(self) -> list[dict[str, int]]:
        """Return per asset what all clients, each house account and all variation accounts hold."""
        found = []
        for asset in range(len(ASSETS)):
            parts = {"clients": 0}
            for row in self.rows():
                name = (
                    self.names.account(self.state.account[row, ID])
                    if row < HOUSE_ROWS
                    else "clients"
                )
                parts[name] = parts.get(name, 0) + self.state.account[row, BALANCE + asset]
            parts["variation"] = sum(
                self.state.instrument[i, VARIATION]
                for i in range(1, len(self.names.contracts) + 1)
                if self.state.instrument[i, ASSET] == asset
            )
            found.append(parts)
        return found

    def conservation(self) -> list[str]:
        """Return the lines that end a transcript: every asset sums to zero, and so do losses."""
        if not self.machine.state:
            return ["= no house"]
        told = []
        for asset, parts in enumerate(self.sums()):
            terms = [
                f"{name} {figures.amount(minor, asset)}"
                for name, minor in parts.items()
                if minor or name == "clients"
            ]
            told.append(f"= {' + '.join(terms)} = {figures.amount(sum(parts.values()), asset)}")
        words = (FUND_PAID, DELEVERAGED, SOCIALISED)
        shortfall = self.state.scalar[SHORTFALL]
        if shortfall:
            paid = [figures.amount(self.state.scalar[word], 0) for word in words]
            told.append(
                "= shortfall {} = fund {} + deleveraged {} + socialised {}".format(
                    figures.amount(shortfall, 0), *paid
                )
            )
        return told


def _restored(pages: list[bytes]) -> Machine:
    machine = Machine()
    machine.restore(pages)
    return machine


def _traces(state: State | None, *, sender: int = -1, streams: bool = False) -> list[bytes]:
    """Return the pages of a state but for the entry's number and what a refusal spends.

    Parameters
    ----------
    sender : place of the sender whose number the batch spent
    streams : whether a report was refused when it came to be booked, which spends its number
    """
    assert state is not None
    copy = State.from_pages(list(state.pages()))
    copy.scalar[SEQ] = 0
    if sender >= 0:
        copy.tables.senders[sender].number = 0
        copy.tables.senders[sender].recents = {}
    if streams:
        copy.tables.streams, copy.tables.reports = {}, {}
    return list(copy.pages())


def _without_refused(batch: Batch, outcome: Outcome) -> tuple[list[AnyCommand], bool]:
    """Return the commands that were accepted, refused fills cut out, and whether a report fell."""
    refused = {e.command: e.code for e in outcome.events if isinstance(e, Rejected)}
    results = [unpack_int64(e.results) for e in outcome.events if isinstance(e, TradesRecorded)]
    kept: list[AnyCommand] = []
    spent = Reject.AMOUNT_OVERFLOW in refused.values()
    for place, command in enumerate(batch.commands):
        if place in refused:
            continue
        if isinstance(command, RecordTrades) and len(results) == 1:
            codes = results[0][::RESULT_CELLS]
            count = len(command.flags)
            if len(codes) == count and any(codes):
                spent = True
                cut = _cut_fills(command, [i for i, code in enumerate(codes) if not code])
                kept += [cut] if cut.flags else []
                continue
        kept.append(command)
    return kept, spent


def _cut_fills(command: RecordTrades, places: list[int]) -> RecordTrades:
    columns = {
        name: b"".join(getattr(command, name)[i * size : (i + 1) * size] for i in places)
        for name, size in FILL_COLUMNS.items()
    }
    return msgspec.structs.replace(command, **columns)
