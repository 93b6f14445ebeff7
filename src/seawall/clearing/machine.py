"""The machine: `apply` is the only writer of state. One line per command, one order of steps."""

from collections.abc import Iterable, Iterator
from typing import Any, assert_never

import msgspec

from seawall.clearing import (
    accounts,
    authority,
    breakers,
    calls,
    cash,
    funding,
    governance,
    house,
    instruments,
    invariants,
    lines,
    liquidation,
    margin,
    marks,
    outbox,
    reports,
    riskbook,
    rounding,
    settlement,
    ticks,
)
from seawall.clearing.layout import AT_NS, EPOCH, SEQ
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.state import State
from seawall.protocol.codec import (
    SignedBatch,
    decode_outcome,
    decode_payload,
    encode_outcome,
    log_id_of,
)
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    ActivateRules,
    AddSender,
    AnyCommand,
    AttestRisk,
    CloseAccount,
    ConfirmReport,
    ListInstrument,
    OpenAccounts,
    OpenSubAccounts,
    PublishPrices,
    PublishRisk,
    RecordDeposits,
    RecordTrades,
    ReplicaTerms,
    ReportEffect,
    RotateKey,
    SetHalt,
    SetMode,
    SetParameter,
    SetReplicas,
    Tick,
    Transfer,
    Withdraw,
)
from seawall.protocol.events import (
    Checkpointed,
    EntryRefused,
    Outcome,
    Rejected,
    Repeated,
    ReplicasSet,
    Started,
)
from seawall.protocol.genesis import Genesis
from seawall.protocol.units import is_int64


class Machine:
    """One deterministic clearing house, driven by the entries of one log from the first on."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.seq = 0
        self.invariants_checked = 0

    def apply(self, seq: int, payload: bytes) -> bytes:
        """Return the canonical outcome of entry `seq`; total, whatever the bytes say.

        Raises
        ------
        AssertionError
            A bug, or rules newer than this build: the replica stops.
        """
        assert seq == self.seq + 1
        self.seq = seq
        decoded = decode_payload(payload)
        if isinstance(decoded, Genesis):
            outcome = self._open(seq, decoded, payload)
        elif self.state is None:
            outcome = _refused(seq, Reject.GENESIS_MISPLACED, "payload")
        elif isinstance(decoded, Reject):
            self.state.scalar[SEQ] = seq
            outcome = self._close(Out(self.state), [EntryRefused(decoded, "payload")])
        else:
            outcome = self._apply_batch(self.state, seq, decoded)
        return encode_outcome(outcome)

    def _open(self, seq: int, genesis: Genesis, payload: bytes) -> Outcome:
        if seq != 1:
            if self.state is None:
                return _refused(seq, Reject.GENESIS_MISPLACED, "payload")
            self.state.scalar[SEQ] = seq
            return self._close(Out(self.state), [EntryRefused(Reject.GENESIS_MISPLACED, "payload")])
        refusal = house.check_genesis(genesis)
        if refusal:
            return _refused(seq, *refusal)
        self.state = house.open_house(genesis, log_id_of(payload))
        out = Out(self.state)
        out.event(Started(genesis.name))
        out.event(ReplicasSet(*self.replicas()))
        return self._close(out, [])

    def _apply_batch(self, state: State, seq: int, signed: SignedBatch) -> Outcome:
        state.scalar[SEQ] = seq
        state.touched_count[0] = 0
        out = Out(state)
        verdict = authority.check_batch(state, signed)
        if isinstance(verdict, Reject):
            return self._close(out, [EntryRefused(verdict, _ENTRY_FIELDS[verdict])])
        if verdict:
            return self._close(out, [Repeated(signed.batch.number, verdict)])
        authority.remember(state, signed, seq)
        before_ns = state.scalar[AT_NS]
        for place, command in enumerate(signed.batch.commands):
            refusal = (
                _check_integers(command)
                or _check_once(command, out)
                or _apply(state, command, signed.batch.sender_id, out)
            )
            if refusal:
                out.event(Rejected(place, *refusal))
            if isinstance(command, Tick) and state.scalar[AT_NS] > before_ns:
                before_ns = state.scalar[AT_NS]
                _step(state, out)
        lines.cut(state, out, evaluated=out.swept)
        return self._close(out, [])

    def _close(self, out: Out, events: list[Any]) -> Outcome:
        """Check what must hold, checkpoint when it is time, and seal the outcome."""
        state = out.state
        for event in events:
            out.event(event)
        self.invariants_checked += invariants.check_entry(state)
        seq = state.scalar[SEQ]
        if seq % state.parameter("checkpoint_entries") == 0:
            self.invariants_checked += invariants.check_full(state)
            out.event(Checkpointed(state.digest()))
        return Outcome(seq, tuple(out.events), tuple(out.effects))

    # What a replica needs of any state machine ------------------------------------------------

    def replicas(self) -> tuple[bytes, int, tuple[ReplicaTerms, ...]]:
        """Return the log id, the epoch and the replica set in state; empty before genesis."""
        if self.state is None:
            return b"", 0, ()
        tables = self.state.tables
        return tables.log_id, self.state.scalar[EPOCH], tables.replicas

    @staticmethod
    def checkpoint_of(outcome: bytes) -> bytes | None:
        """Return the state digest that an outcome certifies, if its entry was a checkpoint."""
        # Most outcomes have no such event, and none without its name can have one.
        if Checkpointed.__name__.encode() not in outcome:
            return None
        events = decode_outcome(outcome).events
        last = events[-1] if events else None
        return last.state_digest if isinstance(last, Checkpointed) else None

    def digest(self) -> bytes:
        """Return the digest of the state; of nothing before genesis."""
        return self.state.digest() if self.state else bytes(32)

    def pages(self) -> Iterator[bytes]:
        """Yield the canonical state in bounded pages."""
        assert self.state is not None
        yield from self.state.pages()

    def restore(self, pages: Iterable[bytes]) -> None:
        """Become the machine that yielded `pages`; the caller compares the digest."""
        self.state = State.from_pages(pages)
        self.seq = self.state.scalar[SEQ]


_ENTRY_FIELDS = {
    Reject.LOG_WRONG: "log_id",
    Reject.SENDER_UNKNOWN: "sender_id",
    Reject.SIGNATURE_BAD: "signature",
    Reject.NUMBER_OLD: "number",
    Reject.NUMBER_REUSED: "number",
    Reject.NUMBER_GAP: "number",
    Reject.COMMANDS_EMPTY: "commands",
    Reject.COMMANDS_MANY: "commands",
}


def _refused(seq: int, code: Reject, field: str) -> Outcome:
    return Outcome(seq, (EntryRefused(code, field),), ())


def _check_integers(command: msgspec.Struct) -> Refusal | None:
    """Return the first integer, nested ones included, that no int64 column could hold."""
    for name in command.__struct_fields__:
        value = getattr(command, name)
        if isinstance(value, int):
            if not is_int64(value):
                return Reject.TERMS_RANGE, name
        elif isinstance(value, msgspec.Struct):
            refusal = _check_integers(value)
            if refusal:
                return refusal[0], f"{name}.{refusal[1]}"
        elif isinstance(value, tuple):
            for place, part in enumerate(value):
                refusal = _check_integers(part) if isinstance(part, msgspec.Struct) else None
                if refusal:
                    return refusal[0], f"{name}[{place}].{refusal[1]}"
    return None


def _check_once(command: AnyCommand, out: Out) -> Refusal | None:
    """Refuse a second step of time in one entry: an entry's work has a bound (TIME-01)."""
    return (Reject.TIME_RANGE, "at_ns") if isinstance(command, Tick) and out.swept else None


def _step(state: State, out: Out) -> None:
    """Advance everything that time moves, in the one order of STEP-01."""
    outbox.step_outbox(state, out)
    governance.step_changes(state, out)
    marks.step_prices(state, out)
    breakers.step_halts(state, out)
    settlement.step_settlement(state, out)
    funding.step_funding(state, out)
    riskbook.step_lapses(state, out)
    margin.sweep(state)
    out.swept = True
    calls.step_calls(state, out)
    liquidation.step_liquidation(state, out)
    rounding.step_rounding(state, out)


def _apply(state: State, command: AnyCommand, sender_id: int, out: Out) -> Refusal | None:
    """Apply one command, or return why not; a refusal leaves no trace."""
    if not authority.may(state, sender_id, command):
        return Reject.ROLE_MISSING, "sender"
    match command:
        case Tick():
            return ticks.apply_tick(state, command, sender_id, out)
        case PublishPrices():
            return marks.apply_publish_prices(state, command, sender_id, out)
        case RecordTrades():
            return reports.apply_record_trades(state, command, sender_id, out)
        case RecordDeposits():
            return reports.apply_record_deposits(state, command, sender_id, out)
        case ConfirmReport():
            return reports.apply_confirm_report(state, command, sender_id, out)
        case Withdraw():
            return cash.apply_withdraw(state, command, sender_id, out)
        case Transfer():
            return cash.apply_transfer(state, command, sender_id, out)
        case OpenAccounts():
            return accounts.apply_open_accounts(state, command, sender_id, out)
        case OpenSubAccounts():
            return accounts.apply_open_sub_accounts(state, command, sender_id, out)
        case CloseAccount():
            return accounts.apply_close_account(state, command, sender_id, out)
        case SetMode():
            return accounts.apply_set_mode(state, command, sender_id, out)
        case ReportEffect():
            return outbox.apply_report_effect(state, command, sender_id, out)
        case PublishRisk():
            return riskbook.apply_publish_risk(state, command, sender_id, out)
        case AttestRisk():
            return riskbook.apply_attest_risk(state, command, sender_id, out)
        case ListInstrument():
            return instruments.apply_list_instrument(state, command, sender_id, out)
        case SetHalt():
            return breakers.apply_set_halt(state, command, sender_id, out)
        case SetParameter():
            return governance.apply_set_parameter(state, command, sender_id, out)
        case AddSender():
            return governance.apply_add_sender(state, command, sender_id, out)
        case RotateKey():
            return governance.apply_rotate_key(state, command, sender_id, out)
        case SetReplicas():
            return governance.apply_set_replicas(state, command, sender_id, out)
        case ActivateRules():
            return governance.apply_activate_rules(state, command, sender_id, out)
        case _:
            assert_never(command)
