"""Genesis, the first entry: limits, assets, senders, replicas and parameters are data."""

import msgspec

from seawall.protocol.commands import AssetTerms, ReplicaTerms
from seawall.protocol.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_SECOND, PPB

RULES_VERSION = 1
"""Newest rules this build knows."""

# An outcome has a largest size, so one entry has a largest amount of work (STEP-01).
COMMANDS_MAX = 1000
"""Commands in one batch."""
MOVES_MAX = 1 << 14
"""Accounts that one step moves to another state; the others, by row, are moved at the next."""


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """Sizes of the preallocated state; a house never grows beyond them."""

    accounts_max: int = 4096
    extensions_max: int = 256
    """Extension rows: 16 more positions each."""
    instruments_max: int = 64
    feeds_max: int = 32
    sources_max: int = 8
    senders_max: int = 32
    units_max: int = 8
    rows_max: int = 32
    """Risk rows of a unit, a multiple of 8."""
    outbox_max: int = 4096
    cases_max: int = 4096
    """Open liquidation cases."""
    reports_max: int = 64
    """Reports waiting for their second reporter."""
    streams_max: int = 16
    recents_max: int = 1024
    """Outcomes kept per sender to answer repeats."""
    column_max: int = 16384
    """Cells in one column of a command."""
    clocks_max: int = 8


class SenderTerms(msgspec.Struct, frozen=True, array_like=True):
    """A sender known from the start; ids follow the order, from 1."""

    name: str
    public_key: bytes
    roles: int


class Parameters(msgspec.Struct, frozen=True, array_like=True):
    """Policy as numbers; `SetParameter` changes one by name. Rule pages say what each means."""

    # Prices: MARK-*.
    stale_ns: int = 3 * NS_PER_MINUTE
    deviation_ppb: int = PPB // 50
    sources_min: int = 2
    clock_skew_max_ns: int = 2 * NS_PER_MINUTE
    halt_after_ns: int = 5 * NS_PER_MINUTE
    halt_scale_ppb: int = PPB // 2
    halt_max_ns: int = NS_PER_HOUR
    velocity_ppb: int = PPB // 5
    velocity_halt_ns: int = 2 * NS_PER_MINUTE
    # Margin: MARG-*, CALL-*.
    warn_ppb: int = PPB + PPB // 4
    call_deadline_ns: int = NS_PER_HOUR
    stale_initial_ppb: int = PPB + PPB // 2
    # Liquidation: LIQD-*.
    restore_ppb: int = PPB + PPB // 10
    orders_per_tick_max: int = 64
    order_ttl_ns: int = 2 * NS_PER_MINUTE
    liquidation_deadline_ns: int = 10 * NS_PER_MINUTE
    fund_floor_minor: int = 0
    adl_winners_max: int = 64
    # Doors: LEDG-*, GOVN-*.
    reports_min: int = 1
    payout_ttl_ns: int = NS_PER_HOUR
    governance_delay_ns: int = 24 * NS_PER_HOUR
    withdrawals_locked: int = 0
    # Oversight.
    audit_lines_max: int = 5000
    checkpoint_entries: int = 1000
    """A state digest enters the outcome of every entry whose seq is a multiple of this."""


class Genesis(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Entry 1. Its digest is the log's identity, bound into every chain, batch and vote."""

    name: str
    at_ns: int
    rules_version: int
    limits: Limits
    assets: tuple[AssetTerms, ...]
    senders: tuple[SenderTerms, ...]
    replicas: tuple[ReplicaTerms, ...]
    parameters: Parameters = Parameters()
    operators_min: int = 1
    """How many OPERATE senders must agree to void an entry."""


assert NS_PER_SECOND * 60 == NS_PER_MINUTE
