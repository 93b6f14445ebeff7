"""All that did happen. Columns are little-endian bytes; int64 unless a field says otherwise."""

from enum import IntEnum

import msgspec

from seawall.protocol.commands import ReplicaTerms
from seawall.protocol.effects import AnyEffect


class Why(IntEnum):
    """Reason of a posting."""

    DEPOSIT = 1
    WITHDRAWAL = 2
    PAYOUT = 3
    PAYOUT_RETURNED = 4
    TRANSFER = 5
    FUNDING = 6
    ROUNDING = 7
    TAKEOVER = 8
    FUND_PAYMENT = 9
    DELEVERAGING = 10
    SOCIALISED_LOSS = 11
    SETTLEMENT = 12


class Grade(IntEnum):
    """Quality of a price; each action names the worst grade it tolerates."""

    FRESH = 0
    DEVIATING = 1
    STALE = 2
    TOO_FEW = 3


class AccountState(IntEnum):
    """From healthy to closed."""

    HEALTHY = 0
    WARNED = 1
    CALLED = 2
    LIQUIDATING = 3


class CaseEnd(IntEnum):
    """How a liquidation ended."""

    RESTORED = 1
    TAKEN_OVER = 2
    DEFAULTED = 3


class Event(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of all events; the tag is the class name."""


class EntryRefused(Event, frozen=True):
    """The whole entry was refused."""

    code: int
    field: str


class Rejected(Event, frozen=True):
    """One command was refused; `field` names what was wrong with it."""

    command: int
    code: int
    field: str


class Repeated(Event, frozen=True):
    """The same batch was applied before, at `seq`."""

    number: int
    seq: int


class Started(Event, frozen=True):
    """The house opened."""

    name: str


class TimeMoved(Event, frozen=True):
    """Machine time advanced."""

    at_ns: int


class RulesActivated(Event, frozen=True):
    """New rules hold from the next entry on."""

    version: int


class ParameterSet(Event, frozen=True):
    """A parameter has, or at `effective_ns` will have, a new value."""

    name: str
    value: int
    effective_ns: int


class SenderChanged(Event, frozen=True):
    """A sender was admitted, or its key changed."""

    sender_id: int


class ReplicasSet(Event, frozen=True):
    """The replica set that votes from the next entry on; in genesis, on entry 1 as well."""

    log_id: bytes
    epoch: int
    replicas: tuple[ReplicaTerms, ...]


class InstrumentListed(Event, frozen=True):
    """An instrument trades."""

    instrument_id: int
    name: str


class AccountsOpened(Event, frozen=True):
    """New accounts, in the order asked for."""

    accounts: bytes


class AccountClosed(Event, frozen=True):
    """An account closed."""

    account_id: int


class ModeSet(Event, frozen=True):
    """An account changed its margin mode."""

    account_id: int
    mode: int


class Posted(Event, frozen=True):
    """Double-entry postings: per asset the amounts sum to zero (variation accounts included)."""

    why: int
    accounts: bytes
    """account ids; a negative one is minus the instrument id of a variation account"""
    assets: bytes
    """int32"""
    amounts: bytes


class DepositsRecorded(Event, frozen=True):
    """A deposit report was booked."""

    stream: int
    number: int


class TradesRecorded(Event, frozen=True):
    """A trade report was booked: per fill code, realised profit and fee of buyer and seller."""

    stream: int
    number: int
    results: bytes
    """5 cells a fill: code (0 posted), realised_buyer, realised_seller, fee_buyer, fee_seller"""


class ReportPending(Event, frozen=True):
    """A report waits for more reporters."""

    stream: int
    number: int
    reporters: int


class ReportsDisagree(Event, frozen=True):
    """Two reporters said different things under one number."""

    stream: int
    number: int
    sender_id: int


class WithdrawalAccepted(Event, frozen=True):
    """Money left the account for transit; the payout is in the outbox."""

    account_id: int
    asset_id: int
    amount_minor: int


class IndexMoved(Event, frozen=True):
    """New medians of feeds."""

    feeds: bytes
    """int32"""
    values: bytes
    grades: bytes
    """uint8"""


class SourceDeviated(Event, frozen=True):
    """A source is out of line with the median of its peers."""

    sender_id: int
    feed_id: int
    value: int
    median: int


class MarksMoved(Event, frozen=True):
    """New marks, all at once."""

    instruments: bytes
    """int32"""
    ticks: bytes
    grades: bytes
    """uint8"""


class FundingPaid(Event, frozen=True):
    """A funding period ended; `rounding` went to the rounding account."""

    instrument_id: int
    rate_ppb: int
    paid_minor: int
    received_minor: int
    rounding_minor: int


class InstrumentSettled(Event, frozen=True):
    """An instrument expired at its final value."""

    instrument_id: int
    final_ticks: int


class RiskProposed(Event, frozen=True):
    """Risk arrays wait for attestation."""

    unit_id: int
    report_digest: bytes


class RiskActivated(Event, frozen=True):
    """Attested risk arrays count from now on."""

    unit_id: int
    report_digest: bytes
    expires_at_ns: int


class RiskLapsed(Event, frozen=True):
    """The unit's arrays expired; the conservative default holds."""

    unit_id: int


class AccountsMoved(Event, frozen=True):
    """Accounts changed state: 6 cells each."""

    cells: bytes
    """account, state before, state after, equity, maintenance, initial"""


class CallIssued(Event, frozen=True):
    """A margin call: bring `amount_minor` of the valuation asset by `deadline_ns`."""

    account_id: int
    amount_minor: int
    deadline_ns: int


class CallMet(Event, frozen=True):
    """A call was met in time or by the market."""

    account_id: int


class CallOverdue(Event, frozen=True):
    """A call's deadline passed unmet: the account is liquidated."""

    account_id: int


class LiquidationStarted(Event, frozen=True):
    """Equity fell below maintenance (or a call was overdue)."""

    account_id: int
    equity_minor: int
    maintenance_minor: int
    overdue: bool


class LiquidationEnded(Event, frozen=True):
    """A case closed (`CaseEnd`)."""

    account_id: int
    end: int
    equity_minor: int


class PositionTransferred(Event, frozen=True):
    """Lots moved from one account to another at the mark, outside the market."""

    from_account: int
    to_account: int
    instrument_id: int
    lots: int


class ShortfallFound(Event, frozen=True):
    """A bankrupt account, all amounts in the valuation asset: shortfall = the three that follow."""

    account_id: int
    shortfall_minor: int
    fund_paid_minor: int
    deleveraged_minor: int
    socialised_minor: int


class Deleveraged(Event, frozen=True):
    """A winner was closed against a bankrupt account and gave up `amount_minor` of the asset."""

    account_id: int
    against: int
    instrument_id: int
    lots: int
    amount_minor: int


class HaltStarted(Event, frozen=True):
    """Trading-related actions on the instrument (0: all) stop until a time."""

    instrument_id: int
    until_ns: int
    why: str


class HaltEnded(Event, frozen=True):
    """A halt ended."""

    instrument_id: int


class EffectReported(Event, frozen=True):
    """An effect left the outbox with this status."""

    seq: int
    index: int
    status: int


class EffectExpired(Event, frozen=True):
    """An effect left the outbox unexecuted."""

    seq: int
    index: int


class AccountLines(Event, frozen=True):
    """What the books say of the accounts that this entry touched, for the auditor.

    Per account: id, state, equity, maintenance, initial, evaluated (1 if the three are of this
    entry), number of balances, balances..., number of positions, (instrument, lots, cost)...
    """

    cells: bytes
    touched: int
    """How many accounts the entry touched; fewer lines than that means a sample."""


class InstrumentLines(Event, frozen=True):
    """Per instrument touched: id, open interest, variation, residual, open cost, mark ticks."""

    cells: bytes


class Checkpointed(Event, frozen=True):
    """Digest of the whole state after the entry before this one's lines were cut."""

    state_digest: bytes


AnyEvent = (
    EntryRefused
    | Rejected
    | Repeated
    | Started
    | TimeMoved
    | RulesActivated
    | ParameterSet
    | SenderChanged
    | ReplicasSet
    | InstrumentListed
    | AccountsOpened
    | AccountClosed
    | ModeSet
    | Posted
    | DepositsRecorded
    | TradesRecorded
    | ReportPending
    | ReportsDisagree
    | WithdrawalAccepted
    | IndexMoved
    | SourceDeviated
    | MarksMoved
    | FundingPaid
    | InstrumentSettled
    | RiskProposed
    | RiskActivated
    | RiskLapsed
    | AccountsMoved
    | CallIssued
    | CallMet
    | CallOverdue
    | LiquidationStarted
    | LiquidationEnded
    | PositionTransferred
    | ShortfallFound
    | Deleveraged
    | HaltStarted
    | HaltEnded
    | EffectReported
    | EffectExpired
    | AccountLines
    | InstrumentLines
    | Checkpointed
)


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What one entry did; effect i of the outcome has the key `seq:i`."""

    seq: int
    events: tuple[AnyEvent, ...]
    effects: tuple[AnyEffect, ...]
