"""All that may be asked of the clearing house. Columns are little-endian bytes of one cell size.

A command is imperative and says nothing about who sends it: the signed batch does.
"""

from enum import IntEnum, IntFlag

import msgspec


class Role(IntFlag):
    """What a sender may ask for; one bit each."""

    CLOCK = 1
    PRICES = 2
    TRADES = 4
    CUSTODY = 8
    CLIENT = 16
    RISK = 32
    ATTEST = 64
    GOVERN = 128
    OPERATE = 256
    EFFECTS = 512


class Kind(IntEnum):
    """What an instrument is; of a pair the odd is worth its price, the even one over its price."""

    LINEAR_PERPETUAL = 1
    INVERSE_PERPETUAL = 2
    LINEAR_FUTURE = 3
    INVERSE_FUTURE = 4
    OPTION = 5


class Style(IntEnum):
    """How a position is paid for."""

    VARIATION = 0
    """Nothing moves at the trade; profit and loss do when it is realised."""
    PREMIUM = 1
    """The value moves in cash at the trade; equity carries lots times value."""


class Mode(IntEnum):
    """How an account's requirement is computed; an isolated position is a cross sub-account."""

    HOUSE = 0
    CROSS = 1
    PORTFOLIO = 2


class Command(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of all commands; the tag is the class name."""


# Time and governance ------------------------------------------------------------------------


class Tick(Command, frozen=True):
    """A clock source says what time it is; machine time is the monotone median of all sources."""

    at_ns: int


class ActivateRules(Command, frozen=True):
    """From the next entry on the rules of `version` hold; earlier entries replay as they were."""

    version: int


class SetParameter(Command, frozen=True):
    """Change a parameter by name (`genesis.Parameters`); loosening waits, tightening does not."""

    name: str
    value: int


class AddSender(Command, frozen=True):
    """Admit a sender; ids are given in order."""

    name: str
    public_key: bytes
    roles: int


class RotateKey(Command, frozen=True):
    """Replace a sender's key; an empty key revokes it. By the sender itself or governance."""

    sender_id: int
    public_key: bytes


class ReplicaTerms(msgspec.Struct, frozen=True, array_like=True):
    """A voter: its name and the key it signs votes with."""

    name: str
    public_key: bytes


class SetReplicas(Command, frozen=True):
    """Replace the replica set; its epoch rises by one and votes carry it."""

    replicas: tuple[ReplicaTerms, ...]


class Tier(msgspec.Struct, frozen=True, array_like=True):
    """From `floor_minor` of notional (valuation asset) on, `rate_ppb` of what lies above it."""

    floor_minor: int
    rate_ppb: int


class AssetTerms(msgspec.Struct, frozen=True, array_like=True):
    """An asset; the first one listed is the valuation asset, worth one of itself."""

    name: str
    decimals: int
    haircut_ppb: int = 0
    liability_haircut_ppb: int = 0
    feed_id: int = 0
    """Index whose price values one whole unit; 0 only for the valuation asset."""
    value_per_tick: int = 0
    """Valuation minor units of one whole unit, per tick of the feed."""


class InstrumentTerms(msgspec.Struct, frozen=True, array_like=True):
    """Contract terms; PROD-01 says which fields each kind uses."""

    name: str
    kind: int
    asset_id: int
    index_feed: int
    price_feed: int
    """Feed of traded (mid) prices, for the basis; 0 means the mark is the index."""
    value_scale: int
    """Value units per minor unit of the settlement asset, a power of ten."""
    value_per_tick: int
    """Linear and option: value units of one lot per tick of price."""
    inverse_numerator: int
    """Inverse: value units times ticks; a lot is worth minus this over the price."""
    style: int
    lots_max: int
    price_min: int
    price_max: int
    maker_fee_ppb: int
    taker_fee_ppb: int
    tiers: tuple[Tier, ...]
    initial_factor_ppb: int
    """Initial = maintenance times this, at least one."""
    basis_max_ppb: int = 0
    basis_weight_ppb: int = 0
    funding_interval_ns: int = 0
    funding_max_ppb: int = 0
    funding_interest_ppb: int = 0
    expiry_ns: int = 0
    settlement_window_ns: int = 0
    strike_ticks: int = 0
    is_call: bool = False
    short_rate_ppb: int = 0
    """Short option: this share of the underlying less what it is out of the money ..."""
    short_floor_ppb: int = 0
    """... but at least this share of the underlying."""
    risk_unit: int = 0
    order_band_ppb: int = 0
    """Liquidation orders: limit price this far from the mark, against the account."""
    slice_ppb: int = 0
    """Liquidation orders: share of the position in one slice."""


class ListInstrument(Command, frozen=True):
    """Open an instrument for trading; ids are given in order."""

    terms: InstrumentTerms


class SetHalt(Command, frozen=True):
    """Halt (`until_ns` > now) or resume (0) one instrument, or all of them (id 0)."""

    instrument_id: int
    until_ns: int


# Accounts and cash --------------------------------------------------------------------------


class OpenAccounts(Command, frozen=True):
    """Open `count` client accounts of one mode for the sender; the event names their ids."""

    count: int
    mode: int
    member_id: int = 0


class OpenSubAccounts(Command, frozen=True):
    """Open one isolated sub-account (cross, no recourse) under each parent."""

    parents: bytes
    """int64 account ids"""


class CloseAccount(Command, frozen=True):
    """Close an empty account; its id is never used again."""

    account_id: int


class SetMode(Command, frozen=True):
    """Move an account between cross and portfolio margin."""

    account_id: int
    mode: int


class RecordDeposits(Command, frozen=True):
    """Custody received these amounts. Booked when enough reporters say the same."""

    stream: int
    number: int
    accounts: bytes
    """int64 account ids"""
    assets: bytes
    """int32 asset ids"""
    amounts: bytes
    """int64 minor units, > 0"""


class Withdraw(Command, frozen=True):
    """Ask for a payout to a registered destination."""

    account_id: int
    asset_id: int
    amount_minor: int
    destination: int


class Transfer(Command, frozen=True):
    """Move money between two accounts of the sender."""

    from_account: int
    to_account: int
    asset_id: int
    amount_minor: int


# Trades and prices --------------------------------------------------------------------------


class RecordTrades(Command, frozen=True):
    """Fills that happened, in order. Facts: each posts or is refused on its own (LEDG-05)."""

    stream: int
    number: int
    buyers: bytes
    """int64 account ids"""
    sellers: bytes
    """int64 account ids"""
    instruments: bytes
    """int32 instrument ids"""
    lots: bytes
    """int64, > 0"""
    prices: bytes
    """int64 ticks"""
    flags: bytes
    """uint8; bit 0: the buyer took liquidity"""


class ConfirmReport(Command, frozen=True):
    """A second reporter vouches for a report by its digest, without repeating its columns."""

    stream: int
    number: int
    report_digest: bytes


class PublishPrices(Command, frozen=True):
    """One source's prices as it observed them; the sender is the source."""

    observed_at_ns: int
    feeds: bytes
    """int32 feed ids"""
    values: bytes
    """int64 ticks, > 0"""


class PublishRisk(Command, frozen=True):
    """Propose integer risk arrays (and option values) of one unit; they count once attested."""

    unit_id: int
    row_count: int
    scale: int
    """Valuation minor units of one cell, the unit's common exponent as a factor, > 0."""
    expires_at_ns: int
    instruments: bytes
    """int32 instrument ids"""
    rows: bytes
    """int32, instrument-major, `row_count` cells each: profit of one long lot in the scenario"""
    values: bytes
    """int64 value of one lot, value units, for options; 0 elsewhere"""
    row_names: tuple[str, ...] = ()


class AttestRisk(Command, frozen=True):
    """A second, independent pricer agrees with the proposed arrays of this digest."""

    unit_id: int
    report_digest: bytes


# Effects ------------------------------------------------------------------------------------


class EffectStatus(IntEnum):
    """What became of an effect."""

    DONE = 1
    FAILED = 2


class ReportEffect(Command, frozen=True):
    """What happened to an effect; clears the outbox."""

    seq: int
    index: int
    status: int


AnyCommand = (
    Tick
    | ActivateRules
    | SetParameter
    | AddSender
    | RotateKey
    | SetReplicas
    | ListInstrument
    | SetHalt
    | OpenAccounts
    | OpenSubAccounts
    | CloseAccount
    | SetMode
    | RecordDeposits
    | Withdraw
    | Transfer
    | RecordTrades
    | ConfirmReport
    | PublishPrices
    | PublishRisk
    | AttestRisk
    | ReportEffect
)


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """One sender's numbered commands: one entry of the log."""

    log_id: bytes
    sender_id: int
    number: int
    commands: tuple[AnyCommand, ...]
