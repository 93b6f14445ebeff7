"""Who and what a transcript may name: senders, assets, contract templates, the first entry."""

from typing import Any

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
from seawall.protocol.ids import (
    DEFAULT_FUND,
    EXTERNAL,
    FEES,
    INSURANCE,
    ROUNDING,
    SKIN_IN_THE_GAME,
    TRANSIT,
)
from seawall.protocol.signatures import SigningKey
from seawall.protocol.units import NS_PER_HOUR, NS_PER_MINUTE, PPB

START_NS = 1_583_971_200 * 10**9
"""Midnight of 12 March 2020."""
DAY_NS = 24 * NS_PER_HOUR

ROLES = {
    "clock": Role.CLOCK,
    "alpha": Role.PRICES,
    "beta": Role.PRICES,
    "gamma": Role.PRICES,
    "venue": Role.TRADES,
    "venue-2": Role.TRADES,
    "custody": Role.CUSTODY,
    "custody-2": Role.CUSTODY,
    "client": Role.CLIENT,
    "client-2": Role.CLIENT,
    "risk": Role.RISK,
    "attest": Role.ATTEST,
    "model": Role.RISK | Role.ATTEST,
    "govern": Role.GOVERN,
    "operate": Role.OPERATE,
    "effects": Role.EFFECTS,
}
"""The senders of a house, in the order of their ids; more can be named by `house clock-2=CLOCK`."""

HOUSE_ACCOUNTS = {
    "fees": FEES,
    "insurance": INSURANCE,
    "rounding": ROUNDING,
    "external": EXTERNAL,
    "transit": TRANSIT,
    "skin": SKIN_IN_THE_GAME,
    "default-fund": DEFAULT_FUND,
}
FEEDS = {"index": 1, "traded": 2}
USD, XBT = 0, 1

LIMITS = Limits(
    accounts_max=32,
    extensions_max=4,
    instruments_max=40,
    feeds_max=4,
    sources_max=4,
    units_max=4,
    rows_max=8,
    cases_max=8,
    outbox_max=32,
    reports_max=8,
    streams_max=4,
    recents_max=16,
    column_max=64,
    clocks_max=4,
)

ASSETS = (
    AssetTerms("USD", 6),
    AssetTerms("XBT", 8, PPB // 20, PPB // 20, FEEDS["index"], 100_000),
)

# A tick is 0.1 USD. A lot is 0.001 XBT, of the inverse contract 1 USD.
_PERPETUAL = InstrumentTerms(
    name="PERP",
    kind=Kind.LINEAR_PERPETUAL,
    asset_id=USD,
    index_feed=FEEDS["index"],
    price_feed=FEEDS["traded"],
    value_scale=1_000,
    value_per_tick=100_000,
    inverse_numerator=0,
    style=Style.VARIATION,
    lots_max=1_000_000,
    price_min=100,
    price_max=10_000_000,
    maker_fee_ppb=0,
    taker_fee_ppb=0,
    tiers=(
        Tier(0, PPB // 100),
        Tier(100_000 * 10**6, PPB // 50),
        Tier(1_000_000 * 10**6, PPB // 20),
    ),
    initial_factor_ppb=2 * PPB,
    basis_max_ppb=PPB // 100,
    basis_weight_ppb=PPB // 10,
    funding_interval_ns=8 * NS_PER_HOUR,
    funding_max_ppb=PPB // 200,
    funding_interest_ppb=PPB // 10_000,
    risk_unit=1,
    order_band_ppb=PPB // 50,
    slice_ppb=PPB // 4,
)


def _from(terms: InstrumentTerms, **changes: Any) -> InstrumentTerms:
    return msgspec.structs.replace(terms, **changes)


_INVERSE = {
    "asset_id": XBT,
    "value_scale": 10**6,
    "value_per_tick": 0,
    "inverse_numerator": 10**15,
    "price_min": 1_000,
}
_DATED = {
    "funding_interval_ns": 0,
    "expiry_ns": START_NS + 7 * DAY_NS,
    "settlement_window_ns": 30 * NS_PER_MINUTE,
}
_FUTURE = _from(_PERPETUAL, name="FUT", kind=Kind.LINEAR_FUTURE, **_DATED)
_CALL = _from(
    _FUTURE,
    name="CALL",
    kind=Kind.OPTION,
    price_feed=0,
    style=Style.PREMIUM,
    strike_ticks=60_000,
    is_call=True,
    short_rate_ppb=3 * PPB // 20,
    short_floor_ppb=PPB // 10,
)
CONTRACTS = {
    "PERP": _PERPETUAL,
    "INV": _from(_PERPETUAL, name="INV", kind=Kind.INVERSE_PERPETUAL, **_INVERSE),
    "FUT": _FUTURE,
    "INVFUT": _from(_FUTURE, name="INVFUT", kind=Kind.INVERSE_FUTURE, **_INVERSE),
    "CALL": _CALL,
    "PUT": _from(_CALL, name="PUT", is_call=False, strike_ticks=40_000),
}
"""Templates by name; `list FUT2 like=FUT` gives a second future."""


def key_of(name: str) -> SigningKey:
    """Return the key of the sender or replica of this name."""
    return SigningKey(digest(name.encode(), person=b"seawall/cast"))


def make_genesis(more: dict[str, Role]) -> Genesis:
    """Return the first entry of the house that transcripts play in, with more senders."""
    return Genesis(
        name="small",
        at_ns=START_NS,
        rules_version=1,
        limits=LIMITS,
        assets=ASSETS,
        senders=tuple(
            SenderTerms(name, key_of(name).public_key, roles)
            for name, roles in (ROLES | more).items()
        ),
        replicas=tuple(ReplicaTerms(name, key_of(name).public_key) for name in ("r1", "r2", "r3")),
        parameters=Parameters(halt_scale_ppb=0, velocity_halt_ns=0),
    )


def changed(value: Any, path: str, new: object) -> Any:
    """Return a struct with one part replaced; the path is such as `limits.rows_max`, `tiers[0]`."""
    return _changed(value, path.replace("[", ".").replace("]", "").split("."), new)


def _changed(value: Any, path: list[str], new: object) -> Any:
    if not path:
        return new
    head, *rest = path
    if isinstance(value, tuple):
        place = int(head)
        return (*value[:place], _changed(value[place], rest, new), *value[place + 1 :])
    part = _changed(getattr(value, head), rest, new)
    return msgspec.structs.replace(value, **{head: part})
