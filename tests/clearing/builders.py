"""A small house to test in: two assets, four contracts, three price sources and some accounts.

The valuation asset is USD with 6 decimals, XBT has 8. A tick of the XBT index is 0.1 USD. One lot
of the linear contracts is 0.001 XBT, one of the inverse perpetual is 1 USD.

`house()` opens one, `publish` and `tick` move its prices and time, `deposit` and `trade` its books.
None of them goes through signed batches: what they call is what `Machine.apply` calls.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from seawall.clearing import breakers, funding, marks, riskbook, settlement
from seawall.clearing.accounts import apply_open_accounts
from seawall.clearing.house import check_genesis, open_house
from seawall.clearing.instruments import apply_list_instrument
from seawall.clearing.layout import AT_NS, BALANCE, FEED_USED, SEQ
from seawall.clearing.ledger import post
from seawall.clearing.outcome import Out
from seawall.clearing.positions import post_side
from seawall.clearing.state import State
from seawall.protocol.codec import encode_any, pack_int32, pack_int64
from seawall.protocol.commands import (
    AssetTerms,
    AttestRisk,
    InstrumentTerms,
    Kind,
    ListInstrument,
    Mode,
    OpenAccounts,
    PublishPrices,
    PublishRisk,
    ReplicaTerms,
    Role,
    Style,
    Tier,
)
from seawall.protocol.digest import digest
from seawall.protocol.events import Why
from seawall.protocol.genesis import Genesis, Limits, Parameters, SenderTerms
from seawall.protocol.ids import EXTERNAL, HOUSE_ROWS, account_row
from seawall.protocol.signatures import SigningKey
from seawall.protocol.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_SECOND, PPB

START_NS = 1_000 * NS_PER_HOUR
SKEW_NS = 10 * NS_PER_MINUTE
"""Wider than the default: tests jump ahead by minutes, prices first."""
PRICED_NS = START_NS + NS_PER_SECOND
"""Time of the first tick and its prices."""
DAY_NS = 24 * NS_PER_HOUR
EXPIRY_NS = START_NS + 7 * DAY_NS

USD, XBT = 0, 1
INDEX_FEED, TRADED_FEED = 1, 2
LINEAR, INVERSE, FUTURE, CALL = 1, 2, 3, 4
RISK_UNIT = 1
PRICE = 50_000
"""5,000 USD in ticks of 0.1."""
DEPOSIT = 10_000 * 10**6

# Senders by id, in the order of genesis.
CLOCK, SOURCE_A, SOURCE_B, SOURCE_C, TRADES, CUSTODY, CLIENT, RISK, ATTEST = range(1, 10)
GOVERN, OPERATE, EFFECTS = range(10, 13)
SOURCES = (SOURCE_A, SOURCE_B, SOURCE_C)
ROLES = (
    *(Role.CLOCK, Role.PRICES, Role.PRICES, Role.PRICES, Role.TRADES, Role.CUSTODY, Role.CLIENT),
    *(Role.RISK, Role.ATTEST, Role.GOVERN, Role.OPERATE, Role.EFFECTS),
)
FIRST = HOUSE_ROWS
"""Row of the first client account."""

LIMITS = Limits(
    accounts_max=256,
    extensions_max=32,
    instruments_max=48,
    feeds_max=8,
    sources_max=8,
    units_max=4,
    rows_max=16,
    cases_max=64,
    outbox_max=256,
)


def sender_key(sender_id: int) -> SigningKey:
    """Return the key that the sender of this id signs batches with."""
    return SigningKey(digest(bytes([sender_id]), person=b"seawall/test"))


def genesis(
    *, parameters: Parameters | None = None, limits: Limits = LIMITS, **asset_terms: Any
) -> Genesis:
    """Return the first entry of the small house; `asset_terms` change those of XBT."""
    xbt = AssetTerms("XBT", 8, PPB // 20, PPB // 20, INDEX_FEED, 100_000)
    return Genesis(
        name="small",
        at_ns=START_NS,
        rules_version=1,
        limits=limits,
        assets=(AssetTerms("USD", 6), msgspec.structs.replace(xbt, **asset_terms)),
        senders=tuple(
            SenderTerms(f"sender {i}", sender_key(i).public_key, role)
            for i, role in enumerate(ROLES, 1)
        ),
        replicas=(ReplicaTerms("only", sender_key(0).public_key),),
        parameters=parameters or Parameters(clock_skew_max_ns=SKEW_NS),
    )


# Contracts ----------------------------------------------------------------------------------

TIERS = (
    Tier(0, PPB // 100),
    Tier(100_000 * 10**6, PPB // 50),
    Tier(1_000_000 * 10**6, PPB // 20),
)


def linear(**changes: Any) -> InstrumentTerms:
    """Return a linear perpetual: one lot is 0.001 XBT, settled in USD."""
    terms = InstrumentTerms(
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
        tiers=TIERS,
        initial_factor_ppb=2 * PPB,
        basis_max_ppb=PPB // 100,
        basis_weight_ppb=PPB // 10,
        funding_interval_ns=8 * NS_PER_HOUR,
        funding_max_ppb=PPB // 200,
        funding_interest_ppb=PPB // 10_000,
        risk_unit=RISK_UNIT,
        order_band_ppb=PPB // 50,
        slice_ppb=PPB // 4,
    )
    return msgspec.structs.replace(terms, **changes)


def inverse(**changes: Any) -> InstrumentTerms:
    """Return an inverse perpetual: one lot is 1 USD, settled in XBT."""
    terms = linear(
        name="XBT-INVERSE",
        kind=Kind.INVERSE_PERPETUAL,
        asset_id=XBT,
        value_scale=10**6,
        value_per_tick=0,
        inverse_numerator=10**15,
        lots_max=1_000_000,
        price_min=1_000,
    )
    return msgspec.structs.replace(terms, **changes)


def future(**changes: Any) -> InstrumentTerms:
    """Return a linear future that expires a week after the start."""
    terms = linear(
        name="XBT-WEEK",
        kind=Kind.LINEAR_FUTURE,
        funding_interval_ns=0,
        expiry_ns=EXPIRY_NS,
        settlement_window_ns=30 * NS_PER_MINUTE,
    )
    return msgspec.structs.replace(terms, **changes)


def option(**changes: Any) -> InstrumentTerms:
    """Return a premium-paid call, struck at 6,000 USD, that expires with the future."""
    terms = future(
        name="XBT-WEEK-6000-C",
        kind=Kind.OPTION,
        price_feed=0,
        style=Style.PREMIUM,
        strike_ticks=60_000,
        is_call=True,
        short_rate_ppb=3 * PPB // 20,
        short_floor_ppb=PPB // 10,
    )
    return msgspec.structs.replace(terms, **changes)


CONTRACTS = (linear(), inverse(), future(), option())


# The house ----------------------------------------------------------------------------------


def house(
    accounts: int = 4,
    *,
    mode: Mode = Mode.CROSS,
    deposits: Sequence[tuple[int, int]] = ((USD, DEPOSIT),),
    contracts: Sequence[InstrumentTerms] = CONTRACTS,
    parameters: Parameters | None = None,
    limits: Limits = LIMITS,
    priced: bool = True,
    **asset_terms: Any,
) -> State:
    """Return an open house with its contracts listed and marked at PRICE.

    Parameters
    ----------
    accounts : client accounts, in rows FIRST and up
    deposits : (asset, minor units) that each of them starts with
    priced : whether all sources have published PRICE on all feeds and one tick has passed
    asset_terms : changes to those of XBT
    """
    opening = genesis(parameters=parameters, limits=limits, **asset_terms)
    assert check_genesis(opening) is None
    state = open_house(opening, bytes(32))
    out = enter(state)
    for terms in contracts:
        assert apply_list_instrument(state, ListInstrument(terms), GOVERN, out) is None
    if accounts:
        assert apply_open_accounts(state, OpenAccounts(accounts, mode), CLIENT, out) is None
    for row in range(FIRST, FIRST + accounts):
        for asset, amount in deposits:
            deposit(state, row, asset, amount)
    if priced:
        move(state, PRICE, after_ns=PRICED_NS - START_NS)
    return state


def enter(state: State) -> Out:
    """Begin the next entry."""
    state.scalar[SEQ] += 1
    state.touched_count[0] = 0
    return Out(state)


def tick(state: State, at_ns: int) -> Out:
    """Let time be `at_ns` and take the steps of prices, in the machine's order."""
    assert at_ns >= state.scalar[AT_NS]
    out = enter(state)
    state.scalar[AT_NS] = at_ns
    marks.step_prices(state, out)
    breakers.step_halts(state, out)
    settlement.step_settlement(state, out)
    funding.step_funding(state, out)
    riskbook.step_lapses(state, out)
    return out


def publish(
    state: State,
    values: dict[int, int],
    *,
    sources: Sequence[int] = SOURCES,
    observed_ns: int | None = None,
) -> None:
    """Let sources observe the same values {feed: ticks}, now unless said."""
    command = PublishPrices(
        state.scalar[AT_NS] if observed_ns is None else observed_ns,
        pack_int32([*values]),
        pack_int64([*values.values()]),
    )
    for sender_id in sources:
        refusal = marks.apply_publish_prices(state, command, sender_id, Out(state))
        assert refusal is None, refusal


def move(
    state: State, ticks: int, *, traded: int | None = None, after_ns: int = NS_PER_MINUTE
) -> Out:
    """Let all sources see every feed in use at `ticks` a while later, and tick.

    Parameters
    ----------
    traded : price of TRADED_FEED, where it differs
    """
    used = (feed for feed in range(state.limits.feeds_max) if state.feed[feed, FEED_USED])
    values = dict.fromkeys(used, ticks)
    if traded is not None:
        values[TRADED_FEED] = traded
    # Time passes first: a source may not be further ahead of the machine than the skew allows.
    state.scalar[AT_NS] += after_ns
    publish(state, values)
    return tick(state, state.scalar[AT_NS])


def deposit(state: State, row: int, asset: int, amount: int) -> None:
    """Bring money in from the outside world."""
    legs = [(row, asset, amount), (account_row(EXTERNAL), asset, -amount)]
    post(state, Out(state), Why.DEPOSIT, legs)


def trade(state: State, buyer: int, seller: int, instrument: int, lots: int, value: int) -> None:
    """Novate a trade between two rows at `value` a lot (value units), without fees."""
    post_side(state, buyer, instrument, lots, value)
    post_side(state, seller, instrument, -lots, value)


def attest(
    state: State,
    rows: dict[int, Sequence[int]],
    *,
    values: dict[int, int] | None = None,
    scale: int = 1,
    expires_ns: int | None = None,
    unit: int = RISK_UNIT,
) -> Out:
    """Activate risk rows {instrument: cells} and option values {instrument: value units}."""
    command = PublishRisk(
        unit_id=unit,
        row_count=len(next(iter(rows.values()))),
        scale=scale,
        expires_at_ns=state.scalar[AT_NS] + DAY_NS if expires_ns is None else expires_ns,
        instruments=pack_int32([*rows]),
        rows=pack_int32([cell for row in rows.values() for cell in row]),
        values=pack_int64([(values or {}).get(instrument, 0) for instrument in rows]),
    )
    out = enter(state)
    refusal = riskbook.apply_publish_risk(state, command, RISK, out)
    assert refusal is None, refusal
    told = digest(encode_any(command), person=b"seawall/risk")
    refusal = riskbook.apply_attest_risk(state, AttestRisk(unit, told), ATTEST, out)
    assert refusal is None, refusal
    return out


def balances(state: State, asset: int) -> dict[int, int]:
    """Return {row: balance} of the rows that have one."""
    used = state.used("accounts")[:, BALANCE + asset]
    return {row: int(amount) for row, amount in enumerate(used) if amount}
