"""The charter of a simulated house: its genesis, its keys, its contracts, drawn from one seed."""

import random
from collections.abc import Sequence

import msgspec

from seawall.protocol.commands import (
    AssetTerms,
    InstrumentTerms,
    Kind,
    ReplicaTerms,
    Role,
    Style,
    Tier,
)
from seawall.protocol.digest import digest
from seawall.protocol.genesis import Genesis, Limits, Parameters, SenderTerms
from seawall.protocol.signatures import SigningKey
from seawall.protocol.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_SECOND, PPB

START_NS = 1_000 * NS_PER_HOUR
USD, XBT = 0, 1
INDEX_FEED, TRADED_FEED = 1, 2
LINEAR, INVERSE, FUTURE, CALL = 1, 2, 3, 4
RISK_UNIT = 1
PRICE_TICKS = 50_000
"""5,000 USD in ticks of 0.1."""
USD_UNIT = 10**6
XBT_UNIT = 10**8
REPLICAS = ("ra", "rb", "rc")

ROLES = {
    "clock a": Role.CLOCK,
    "clock b": Role.CLOCK,
    "clock c": Role.CLOCK,
    "source a": Role.PRICES,
    "source b": Role.PRICES,
    "source c": Role.PRICES,
    "venue a": Role.TRADES | Role.CUSTODY,
    "venue b": Role.TRADES | Role.CUSTODY,
    "client a": Role.CLIENT,
    "client b": Role.CLIENT,
    "risk": Role.RISK,
    "attest": Role.ATTEST,
    "govern": Role.GOVERN,
    "operate": Role.OPERATE,
    "effects": Role.EFFECTS,
    "spare": Role.CLIENT,
}
IDS = {name: index for index, name in enumerate(ROLES, 1)}
CLOCKS = ("clock a", "clock b", "clock c")
SOURCES = ("source a", "source b", "source c")
VENUES = ("venue a", "venue b")
CLIENTS = ("client a", "client b")

LIMITS = Limits(
    accounts_max=64,
    extensions_max=8,
    instruments_max=8,
    feeds_max=6,
    sources_max=4,
    senders_max=24,
    units_max=3,
    rows_max=8,
    outbox_max=64,
    cases_max=16,
    reports_max=16,
    streams_max=8,
    recents_max=32,
    column_max=64,
    clocks_max=4,
)


def key_of(name: str) -> SigningKey:
    """Return the key of a sender or replica, the same in every run."""
    return SigningKey(digest(name.encode(), person=b"seawall/sim"))


KEYS = {name: key_of(name) for name in (*ROLES, *REPLICAS)}


def draw_parameters(chance: random.Random) -> Parameters:
    """Return the policy of one house: short deadlines, so that much happens in few ticks."""
    return Parameters(
        sources_min=chance.choice((1, 2, 2)),
        halt_after_ns=chance.choice((4, 5, 8)) * NS_PER_MINUTE,
        halt_scale_ppb=PPB // chance.choice((2, 4)),
        velocity_ppb=PPB // chance.choice((3, 5, 8)),
        velocity_halt_ns=chance.choice((10, 60)) * NS_PER_SECOND,
        call_deadline_ns=chance.choice((2, 5, 20)) * NS_PER_MINUTE,
        orders_per_tick_max=chance.choice((2, 8, 64)),
        order_ttl_ns=chance.choice((1, 2, 4)) * NS_PER_MINUTE,
        liquidation_deadline_ns=chance.choice((2, 4, 10)) * NS_PER_MINUTE,
        fund_floor_minor=chance.choice((0, 0, 100 * USD_UNIT)),
        adl_winners_max=chance.choice((1, 4, 64)),
        reports_min=chance.choice((1, 2)),
        payout_ttl_ns=chance.choice((2, 10, 60)) * NS_PER_MINUTE,
        governance_delay_ns=chance.choice((0, 1, 2, 5)) * NS_PER_MINUTE,
        audit_lines_max=chance.choice((4, 5000, 5000)),
        checkpoint_entries=chance.choice((15, 25, 40)),
    )


def draw_genesis(chance: random.Random) -> Genesis:
    """Return entry 1 of a simulated house."""
    return Genesis(
        name=f"simulated {chance.randrange(1 << 32):08x}",
        at_ns=START_NS,
        rules_version=1,
        limits=LIMITS,
        assets=(
            AssetTerms("USD", 6),
            AssetTerms("XBT", 8, PPB // 20, PPB // 20, INDEX_FEED, 100_000),
        ),
        senders=tuple(
            SenderTerms(name, KEYS[name].public_key, roles) for name, roles in ROLES.items()
        ),
        replicas=voters(REPLICAS),
        parameters=draw_parameters(chance),
    )


def voters(names: Sequence[str]) -> tuple[ReplicaTerms, ...]:
    """Return the terms of a replica set, in this order."""
    return tuple(ReplicaTerms(name, KEYS[name].public_key) for name in names)


def linear() -> InstrumentTerms:
    """Return a linear perpetual: one lot is 0.001 XBT, settled in USD."""
    return InstrumentTerms(
        name="XBT-PERP",
        kind=Kind.LINEAR_PERPETUAL,
        asset_id=USD,
        index_feed=INDEX_FEED,
        price_feed=TRADED_FEED,
        value_scale=1_000,
        value_per_tick=100_000,
        inverse_numerator=0,
        style=Style.VARIATION,
        lots_max=1_000_000,
        price_min=100,
        price_max=10_000_000,
        maker_fee_ppb=-PPB // 40_000,
        taker_fee_ppb=PPB // 2_000,
        tiers=(Tier(0, PPB // 100), Tier(20_000 * USD_UNIT, PPB // 50)),
        initial_factor_ppb=2 * PPB,
        basis_max_ppb=PPB // 100,
        basis_weight_ppb=PPB // 10,
        funding_interval_ns=10 * NS_PER_MINUTE,
        funding_max_ppb=PPB // 200,
        funding_interest_ppb=PPB // 10_000,
        risk_unit=RISK_UNIT,
        order_band_ppb=PPB // 50,
        slice_ppb=PPB // 3,
    )


def contracts(*, expiry_ns: int) -> tuple[InstrumentTerms, ...]:
    """Return a perpetual of each kind, a future that expires soon, and a call by published value.

    One lot of the inverse perpetual is 1 USD.
    """
    replace = msgspec.structs.replace
    perpetual = linear()
    inverse = replace(
        perpetual,
        name="XBT-INV",
        kind=Kind.INVERSE_PERPETUAL,
        asset_id=XBT,
        value_per_tick=0,
        # One USD in value units (0.001 satoshi) times ticks of 0.1 USD.
        inverse_numerator=10 * XBT_UNIT * 1_000,
        lots_max=10_000_000,
        risk_unit=0,
    )
    future = replace(
        perpetual,
        name="XBT-FUT",
        kind=Kind.LINEAR_FUTURE,
        funding_interval_ns=0,
        funding_max_ppb=0,
        funding_interest_ppb=0,
        expiry_ns=expiry_ns,
        settlement_window_ns=5 * NS_PER_MINUTE,
        risk_unit=0,
    )
    call = replace(
        future,
        name="XBT-CALL",
        kind=Kind.OPTION,
        style=Style.PREMIUM,
        price_feed=0,
        expiry_ns=expiry_ns + 20 * NS_PER_MINUTE,
        strike_ticks=PRICE_TICKS,
        is_call=True,
        short_rate_ppb=PPB // 5,
        short_floor_ppb=PPB // 10,
        risk_unit=RISK_UNIT,
    )
    return perpetual, inverse, future, call
