"""The synthetic population: Pareto sizes, mixed sides, leverage, margin modes and collateral."""

import math
import random

import msgspec

from seawall.lab.cast import DESKS, INVERSE, LINEAR, USD, XBT
from seawall.protocol.commands import Mode

PARETO_SHAPE = 1.16
"""The 80:20 shape: a fifth of the traders hold four fifths of the collateral."""
COLLATERAL_MIN_USD, COLLATERAL_MAX_USD = 200, 20_000_000
LEVERAGES = (1, 2, 3, 5, 8, 10, 15, 20, 25, 33, 40)
LEVERAGE_WEIGHTS = (6, 12, 14, 18, 10, 14, 8, 8, 5, 3, 2)
LONG_SHARE = 0.68
ISOLATED_SHARE, PORTFOLIO_SHARE = 0.15, 0.10
XBT_COLLATERAL_SHARE = 0.45


class Trader(msgspec.Struct, frozen=True):
    """What one trader brings and holds when the replay starts."""

    desk: str
    mode: int
    isolated: bool
    asset: int
    collateral_minor: int
    instrument: int
    lots: int
    """Signed: long > 0."""


def make_population(seed: int, count: int, price_ticks: int) -> list[Trader]:
    """Return `count` traders; equal seeds give equal populations.

    Parameters
    ----------
    price_ticks : price at which collateral and positions are sized
    """
    rng = random.Random(f"population:{seed}")
    return [_make_trader(rng, price_ticks) for _ in range(count)]


def _make_trader(rng: random.Random, price_ticks: int) -> Trader:
    usd = min(COLLATERAL_MIN_USD * rng.paretovariate(PARETO_SHAPE), COLLATERAL_MAX_USD)
    leverage = rng.choices(LEVERAGES, LEVERAGE_WEIGHTS)[0]
    kind = rng.random()
    mode = Mode.PORTFOLIO if kind < PORTFOLIO_SHARE else Mode.CROSS
    isolated = PORTFOLIO_SHARE <= kind < PORTFOLIO_SHARE + ISOLATED_SHARE
    # Rows of 16 % bound what a portfolio account can open at all.
    if mode == Mode.PORTFOLIO:
        leverage = min(leverage, 3)
    side = 1 if rng.random() < LONG_SHARE else -1
    in_coin = rng.random() < XBT_COLLATERAL_SHARE
    instrument = INVERSE if in_coin else LINEAR
    exposure_usd = usd * leverage * rng.uniform(0.6, 0.95)
    price_usd = price_ticks / 100
    lots = exposure_usd if instrument == INVERSE else exposure_usd / price_usd * 1000
    collateral = usd / price_usd * 10**8 if in_coin else usd * 10**6
    return Trader(
        desk=rng.choice(DESKS),
        mode=mode,
        isolated=isolated,
        asset=XBT if in_coin else USD,
        collateral_minor=math.floor(collateral),
        instrument=instrument,
        lots=side * max(1, math.floor(lots)),
    )
