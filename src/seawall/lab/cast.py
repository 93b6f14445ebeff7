"""Who takes part in the demo: senders with their keys, replicas, assets, contracts, genesis."""

import msgspec

from seawall.protocol.codec import pack_int32, pack_int64
from seawall.protocol.commands import (
    AssetTerms,
    InstrumentTerms,
    Kind,
    ListInstrument,
    PublishRisk,
    ReplicaTerms,
    Role,
    Style,
    Tier,
)
from seawall.protocol.digest import digest
from seawall.protocol.genesis import Genesis, Limits, Parameters, SenderTerms
from seawall.protocol.signatures import SigningKey
from seawall.protocol.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_SECOND, PPB

INDEX_FEED, PERP_FEED = 1, 2
USD, XBT = 0, 1
LINEAR, INVERSE = 1, 2
RISK_UNIT = 1
PRICE_MIN, PRICE_MAX = 100_00, 100_000_00
"""A hundred dollars to a hundred thousand, in cents."""

LINEAR_VALUE_PER_TICK = 10
"""A lot is a thousandth of a coin: one cent of price is ten micro-dollars."""
INVERSE_NUMERATOR = 100 * 10**12
"""A lot is one dollar of coin, in 10^-12 coin: 100 cents over the price in cents."""

SOURCES = ("source-real", "source-synthetic-1", "source-synthetic-2")
CLOCKS = ("clock-1", "clock-2", "clock-3")
REPORTERS = ("reporter-1", "reporter-2")
DESKS = ("desk-1", "desk-2", "desk-3", "desk-4")
MAKERS, RISK, ATTESTOR, GOVERNOR, EFFECTS = "makers", "risk", "attestor", "governor", "effects"
REPLICAS = ("replica-1", "replica-2", "replica-3")

ROLES: tuple[tuple[str, int], ...] = (
    *((name, int(Role.PRICES)) for name in SOURCES),
    *((name, int(Role.CLOCK)) for name in CLOCKS),
    *((name, int(Role.TRADES | Role.CUSTODY)) for name in REPORTERS),
    *((name, int(Role.CLIENT)) for name in DESKS),
    (MAKERS, int(Role.CLIENT)),
    (RISK, int(Role.RISK)),
    (ATTESTOR, int(Role.ATTEST)),
    (GOVERNOR, int(Role.GOVERN | Role.OPERATE)),
    (EFFECTS, int(Role.EFFECTS)),
)
SENDER_IDS = {name: place for place, (name, _) in enumerate(ROLES, 1)}

STREAM_TRADES, STREAM_DEPOSITS = 1, 2
CASES_MAX = 2048
"""Liquidations open at once, so that what a single tick says of them fits one outcome."""
AUDITED_MAX, SAMPLED = 5000, 250
"""Accounts up to which the auditor sees every line, and how many it sees of more."""

FUNDING_INTERVAL_NS = 4 * NS_PER_HOUR
"""BitMEX paid at 04, 12 and 20 UTC. Periods here begin at midnight (FUND-02), so that eight hours
would pay at 00, 08 and 16; every four hours pays at all six."""

FUND_USD_PER_TRADER, FUND_XBT_PER_TRADER = 300 * 10**6, 125 * 10**4
FUND_FLOOR_PER_TRADER = 220 * 10**6
"""What the fund keeps for what it has taken over and not sold yet; below it, winners pay."""

# Price moves of the risk rows in percent: worst of these is the requirement in portfolio mode.
MOVES = (-16, -14, -12, -10, -8, -6, -4, -2, 0, 2, 4, 6, 8, 10, 12, 14, 16)


class Cast(msgspec.Struct, frozen=True):
    """The genesis and all keys, derived from the seed: nothing of this guards real money."""

    genesis: Genesis
    sender_seeds: dict[int, bytes]
    """sender id -> key seed"""
    replica_seeds: dict[str, bytes]


def key_seed(seed: int, name: str) -> bytes:
    """Return a reproducible key seed: for demonstrations and tests only."""
    return digest(f"{seed}:{name}".encode(), person=b"seawall/demokey")


def make_cast(seed: int, accounts: int, at_ns: int) -> Cast:
    """Return who takes part when `accounts` traders do, from `at_ns` on."""
    # In a crowd nobody is warned before the call, and the fund pays to its last coin before the
    # winners do: ranking a hundred thousand of them for each default takes minutes.
    crowded = accounts > AUDITED_MAX
    sender_seeds = {SENDER_IDS[name]: key_seed(seed, name) for name, _ in ROLES}
    replica_seeds = {name: key_seed(seed, name) for name in REPLICAS}
    genesis = Genesis(
        name="seawall-demo",
        at_ns=at_ns,
        rules_version=1,
        # Traders, one isolated sub-account for some, the makers and the house.
        limits=Limits(accounts_max=2 * accounts + 64, cases_max=min(accounts + 64, CASES_MAX)),
        assets=(
            AssetTerms("USD", 6),
            AssetTerms(
                "XBT",
                8,
                haircut_ppb=PPB // 20,
                liability_haircut_ppb=PPB // 20,
                feed_id=INDEX_FEED,
                value_per_tick=10_000,
            ),
        ),
        senders=tuple(
            SenderTerms(name, SigningKey(sender_seeds[SENDER_IDS[name]]).public_key, roles)
            for name, roles in ROLES
        ),
        replicas=tuple(
            ReplicaTerms(name, SigningKey(replica_seeds[name]).public_key) for name in REPLICAS
        ),
        parameters=Parameters(
            # Every source observes once a minute, so a price half a minute old is a missed one.
            stale_ns=45 * NS_PER_SECOND,
            reports_min=2,
            halt_after_ns=5 * NS_PER_MINUTE,
            call_deadline_ns=NS_PER_HOUR,
            checkpoint_entries=500,
            orders_per_tick_max=256,
            # A lock of withdrawals is in force at once and lifted this much later.
            governance_delay_ns=10 * NS_PER_MINUTE,
            audit_lines_max=SAMPLED if crowded else AUDITED_MAX,
            fund_floor_minor=0 if crowded else FUND_FLOOR_PER_TRADER * accounts,
            warn_ppb=PPB if crowded else PPB + PPB // 4,
        ),
    )
    return Cast(genesis, sender_seeds, replica_seeds)


def contracts() -> tuple[ListInstrument, ListInstrument]:
    """Return the linear and the inverse perpetual on the same index."""
    tiers = (
        Tier(0, PPB // 200),
        Tier(1_000_000 * 10**6, PPB // 100),
        Tier(10_000_000 * 10**6, PPB // 40),
    )
    shared = InstrumentTerms(
        name="XBT-USD-LINEAR",
        kind=Kind.LINEAR_PERPETUAL,
        asset_id=USD,
        index_feed=INDEX_FEED,
        price_feed=PERP_FEED,
        value_scale=1,
        value_per_tick=LINEAR_VALUE_PER_TICK,
        inverse_numerator=0,
        style=Style.VARIATION,
        lots_max=10**9,
        price_min=PRICE_MIN,
        price_max=PRICE_MAX,
        maker_fee_ppb=-PPB // 10_000,
        taker_fee_ppb=5 * PPB // 10_000,
        tiers=tiers,
        initial_factor_ppb=2 * PPB,
        basis_max_ppb=PPB // 200,
        basis_weight_ppb=PPB // 10,
        funding_interval_ns=FUNDING_INTERVAL_NS,
        funding_max_ppb=PPB // 400,
        risk_unit=RISK_UNIT,
        order_band_ppb=PPB // 50,
        slice_ppb=PPB // 4,
    )
    inverse = msgspec.structs.replace(
        shared,
        name="XBT-USD-INVERSE",
        kind=Kind.INVERSE_PERPETUAL,
        asset_id=XBT,
        # At the lowest price a lot is worth most: the bound of an amount sets the limit.
        lots_max=4 * 10**8,
        value_scale=10_000,
        value_per_tick=0,
        inverse_numerator=INVERSE_NUMERATOR,
    )
    return ListInstrument(shared), ListInstrument(inverse)


def risk_arrays(price_ticks: int, expires_at_ns: int) -> PublishRisk:
    """Return the profit of one long lot of each contract under each price move, in micro-dollars.

    Linear: move times price. Inverse: at the moved price a lot of one dollar gains the move in
    dollars, whatever the price. Prices come in half dollars, so every cell is exact and no
    rounding favours either side.
    """
    linear = [price_ticks * LINEAR_VALUE_PER_TICK * move // 100 for move in MOVES]
    inverse = [10**6 * move // 100 for move in MOVES]
    return PublishRisk(
        unit_id=RISK_UNIT,
        row_count=len(MOVES),
        scale=1,
        expires_at_ns=expires_at_ns,
        instruments=pack_int32([LINEAR, INVERSE]),
        rows=pack_int32([*linear, *inverse]),
        values=pack_int64([0, 0]),
        row_names=tuple(f"price {move:+d} %" for move in MOVES),
    )
