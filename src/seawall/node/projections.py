"""The projection: what released outcomes add up to, for people and screens. It decides nothing.

Built from entry 1 or from a bookmark, the same entries always give the same projection.
"""

from typing import Any

import msgspec

from seawall.node.joined import Joined
from seawall.protocol.codec import SignedBatch, unpack_int32, unpack_int64
from seawall.protocol.effects import AnyEffect
from seawall.protocol.events import (
    AccountClosed,
    AccountLines,
    AccountsMoved,
    AccountsOpened,
    AccountState,
    CallIssued,
    CallMet,
    CallOverdue,
    EffectExpired,
    EffectReported,
    FundingPaid,
    HaltEnded,
    HaltStarted,
    IndexMoved,
    InstrumentListed,
    LiquidationEnded,
    LiquidationStarted,
    MarksMoved,
    ParameterSet,
    ReplicasSet,
    RiskActivated,
    RiskLapsed,
    RulesActivated,
    ShortfallFound,
    SourceDeviated,
    Started,
    TimeMoved,
    TradesRecorded,
    WithdrawalAccepted,
)
from seawall.protocol.ids import INSURANCE

LINE_HEAD_CELLS = 7
MOVED_CELLS = 6
FILL_CELLS = 5


class Quote(msgspec.Struct, array_like=True):
    """A mark or an index: ticks, grade, and the entry that moved it last."""

    ticks: int
    grade: int
    seq: int


class Line(msgspec.Struct, array_like=True):
    """An account as the books showed it at `seq`; the three sums count only if `evaluated`."""

    seq: int
    state: int
    equity_minor: int
    maintenance_minor: int
    initial_minor: int
    evaluated: bool
    balances: tuple[int, ...]
    positions: tuple[tuple[int, int, int], ...]
    """(instrument, lots, cost)"""


class Call(msgspec.Struct, array_like=True):
    """A margin call that is neither met nor overdue."""

    seq: int
    amount_minor: int
    deadline_ns: int


class Liquidation(msgspec.Struct, array_like=True):
    """A liquidation under way."""

    seq: int
    equity_minor: int
    maintenance_minor: int
    overdue: bool


class Halt(msgspec.Struct, array_like=True):
    """A halt in force."""

    seq: int
    until_ns: int
    why: str


class Counts(msgspec.Struct, array_like=True):
    """How often things happened since entry 1; amounts in minor units of the valuation asset."""

    entries: int = 0
    entries_repeated: int = 0
    commands: int = 0
    fills_posted: int = 0
    fills_refused: int = 0
    accounts_opened: int = 0
    accounts_closed: int = 0
    withdrawals: int = 0
    deviations: int = 0
    halts: int = 0
    calls_issued: int = 0
    calls_met: int = 0
    calls_overdue: int = 0
    liquidations_started: int = 0
    shortfall_minor: int = 0
    fund_paid_minor: int = 0
    deleveraged_minor: int = 0
    socialised_minor: int = 0
    effects_done: int = 0
    effects_failed: int = 0
    effects_expired: int = 0


class Projection(msgspec.Struct):
    """Read models of one house, up to entry `seq`.

    Attributes
    ----------
    states : accounts that are not healthy, by id
    lines : newest books of accounts that entries touched; empty if `keeps_lines` is off
    fund : balances of the insurance fund, one per asset; empty until it is first touched
    outbox : effects that are neither reported nor expired, by (seq, index)
    refused_entries, rejected_commands : how often, by code
    """

    keeps_lines: bool = True
    seq: int = 0
    at_ns: int = 0
    name: str = ""
    rules_version: int = 0
    epoch: int = 0
    instruments: dict[int, str] = {}
    marks: dict[int, Quote] = {}
    indices: dict[int, Quote] = {}
    states: dict[int, int] = {}
    lines: dict[int, Line] = {}
    fund: tuple[int, ...] = ()
    calls: dict[int, Call] = {}
    liquidations: dict[int, Liquidation] = {}
    ends: dict[int, int] = {}
    halts: dict[int, Halt] = {}
    funding_ppb: dict[int, int] = {}
    risk_expires_ns: dict[int, int] = {}
    parameters: dict[str, tuple[int, int]] = {}
    outbox: dict[tuple[int, int], AnyEffect] = {}
    refused_entries: dict[int, int] = {}
    rejected_commands: dict[int, int] = {}
    counts: Counts = msgspec.field(default_factory=Counts)

    def take(self, joined: Joined) -> None:
        """Take in the next released entry."""
        assert joined.seq == self.seq + 1
        self.seq = joined.seq
        self.counts.entries += 1
        if joined.refusal is not None:
            _add(self.refused_entries, joined.refusal.code)
            return
        if joined.repeat_of is not None:
            self.counts.entries_repeated += 1
            return
        if isinstance(joined.content, SignedBatch):
            self.counts.commands += len(joined.content.batch.commands)
        for rejected in joined.rejected.values():
            _add(self.rejected_commands, rejected.code)
        for index, effect in enumerate(joined.outcome.effects):
            self.outbox[joined.seq, index] = effect
        for event in joined.outcome.events:
            self._take_event(event)

    def accounts_by_state(self) -> dict[str, int]:
        """Return how many open client accounts are in which state."""
        counts = {state.name.lower(): 0 for state in AccountState}
        for state in self.states.values():
            counts[AccountState(state).name.lower()] += 1
        opened = self.counts.accounts_opened - self.counts.accounts_closed
        counts["healthy"] = opened - len(self.states)
        return counts

    def _take_event(self, event: Any) -> None:
        match event:
            case AccountLines():
                self._take_lines(event)
            case AccountsMoved():
                self._take_states(unpack_int64(event.cells))
            case MarksMoved():
                self._take_quotes(self.marks, event.instruments, event.ticks, event.grades)
            case IndexMoved():
                self._take_quotes(self.indices, event.feeds, event.values, event.grades)
            case TimeMoved():
                self.at_ns = event.at_ns
            case TradesRecorded():
                codes = unpack_int64(event.results)[::FILL_CELLS]
                posted = codes.count(0)
                self.counts.fills_posted += posted
                self.counts.fills_refused += len(codes) - posted
            case EffectReported() | EffectExpired():
                self._take_effect_end(event)
            case CallIssued() | CallMet() | CallOverdue():
                self._take_call(event)
            case LiquidationStarted() | LiquidationEnded() | ShortfallFound():
                self._take_liquidation(event)
            case HaltStarted() | HaltEnded():
                self._take_halt(event)
            case _:
                self._take_rare(event)

    def _take_lines(self, event: AccountLines) -> None:
        cells = unpack_int64(event.cells)
        start = 0
        while start < len(cells):
            balances_end = start + LINE_HEAD_CELLS + cells[start + 6]
            end = balances_end + 1 + 3 * cells[balances_end]
            account_id = cells[start]
            if account_id == INSURANCE:
                self.fund = cells[start + LINE_HEAD_CELLS : balances_end]
            if self.keeps_lines:
                self.lines[account_id] = Line(
                    seq=self.seq,
                    state=cells[start + 1],
                    equity_minor=cells[start + 2],
                    maintenance_minor=cells[start + 3],
                    initial_minor=cells[start + 4],
                    evaluated=cells[start + 5] == 1,
                    balances=cells[start + LINE_HEAD_CELLS : balances_end],
                    positions=_triples(cells[balances_end + 1 : end]),
                )
            start = end

    def _take_states(self, cells: tuple[int, ...]) -> None:
        for start in range(0, len(cells), MOVED_CELLS):
            account_id, state = cells[start], cells[start + 2]
            if state == AccountState.HEALTHY:
                self.states.pop(account_id, None)
            else:
                self.states[account_id] = state

    def _take_quotes(
        self, quotes: dict[int, Quote], ids: bytes, ticks: bytes, grades: bytes
    ) -> None:
        columns = zip(unpack_int32(ids), unpack_int64(ticks), grades, strict=True)
        for quoted_id, quote_ticks, grade in columns:
            quotes[quoted_id] = Quote(quote_ticks, grade, self.seq)

    def _take_effect_end(self, event: EffectReported | EffectExpired) -> None:
        self.outbox.pop((event.seq, event.index), None)
        if isinstance(event, EffectExpired):
            self.counts.effects_expired += 1
        elif event.status == 1:
            self.counts.effects_done += 1
        else:
            self.counts.effects_failed += 1

    def _take_call(self, event: CallIssued | CallMet | CallOverdue) -> None:
        if isinstance(event, CallIssued):
            self.counts.calls_issued += 1
            self.calls[event.account_id] = Call(self.seq, event.amount_minor, event.deadline_ns)
            return
        self.calls.pop(event.account_id, None)
        if isinstance(event, CallMet):
            self.counts.calls_met += 1
        else:
            self.counts.calls_overdue += 1

    def _take_liquidation(
        self, event: LiquidationStarted | LiquidationEnded | ShortfallFound
    ) -> None:
        if isinstance(event, LiquidationStarted):
            self.counts.liquidations_started += 1
            self.liquidations[event.account_id] = Liquidation(
                self.seq, event.equity_minor, event.maintenance_minor, event.overdue
            )
            # Whoever is liquidated is no longer asked for money.
            self.calls.pop(event.account_id, None)
        elif isinstance(event, LiquidationEnded):
            self.liquidations.pop(event.account_id, None)
            _add(self.ends, event.end)
        else:
            self.counts.shortfall_minor += event.shortfall_minor
            self.counts.fund_paid_minor += event.fund_paid_minor
            self.counts.deleveraged_minor += event.deleveraged_minor
            self.counts.socialised_minor += event.socialised_minor

    def _take_halt(self, event: HaltStarted | HaltEnded) -> None:
        if isinstance(event, HaltStarted):
            self.counts.halts += 1
            self.halts[event.instrument_id] = Halt(self.seq, event.until_ns, event.why)
        else:
            self.halts.pop(event.instrument_id, None)

    def _take_rare(self, event: Any) -> None:
        match event:
            case Started():
                self.name = event.name
                self.rules_version = self.epoch = 1
            case RulesActivated():
                self.rules_version = event.version
            case ReplicasSet():
                self.epoch = event.epoch
            case ParameterSet():
                self.parameters[event.name] = (event.value, event.effective_ns)
            case InstrumentListed():
                self.instruments[event.instrument_id] = event.name
            case AccountsOpened():
                self.counts.accounts_opened += len(event.accounts) // 8
            case AccountClosed():
                self.counts.accounts_closed += 1
                self.states.pop(event.account_id, None)
                self.lines.pop(event.account_id, None)
            case WithdrawalAccepted():
                self.counts.withdrawals += 1
            case SourceDeviated():
                self.counts.deviations += 1
            case FundingPaid():
                self.funding_ppb[event.instrument_id] = event.rate_ppb
            case RiskActivated():
                self.risk_expires_ns[event.unit_id] = event.expires_at_ns
            case RiskLapsed():
                self.risk_expires_ns.pop(event.unit_id, None)
            case _:
                # Postings, transfers and the like: the lines above show what they led to.
                return


def _add(counts: dict[int, int], key: int) -> None:
    counts[key] = counts.get(key, 0) + 1


def _triples(cells: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    return tuple(
        (cells[start], cells[start + 1], cells[start + 2]) for start in range(0, len(cells), 3)
    )
