"""The real one-minute bars that the demo replays, as integers."""

from datetime import UTC, datetime
from importlib.resources import as_file, files
from itertools import pairwise

import msgspec
import polars as pl

from seawall.protocol.units import NS_PER_MINUTE

TICKS_PER_USD = 100
OBSERVED_TRADES_MIN = 20
"""A minute with fewer trades is one in which the venue showed no price worth observing: during the
outage of 13 March 2020, 02:16 UTC, no minute had more than 13, and every quiet hour has more."""


class Bar(msgspec.Struct, frozen=True):
    """One minute, stamped at its end; prices in ticks of one cent."""

    at_ns: int
    high: int
    low: int
    close: int
    volume_usd: int
    observed: bool
    """Whether the venue traded enough in this minute for its price to count as observed."""


class Scenario(msgspec.Struct, frozen=True):
    """A crash: the file that holds it and the stretch that is replayed."""

    name: str
    file: str
    start: datetime
    end: datetime
    quick_start: datetime
    quick_end: datetime


SCENARIOS = {
    "march-2020": Scenario(
        "march-2020",
        "xbtusd_1m_2020-03-08_16.parquet",
        datetime(2020, 3, 12, 0, 1, tzinfo=UTC),
        datetime(2020, 3, 14, 0, 0, tzinfo=UTC),
        datetime(2020, 3, 13, 0, 30, tzinfo=UTC),
        datetime(2020, 3, 13, 2, 50, tzinfo=UTC),
    ),
    "may-2021": Scenario(
        "may-2021",
        "xbtusd_1m_2021-05-17_24.parquet",
        datetime(2021, 5, 19, 0, 1, tzinfo=UTC),
        datetime(2021, 5, 20, 0, 0, tzinfo=UTC),
        datetime(2021, 5, 19, 11, 30, tzinfo=UTC),
        datetime(2021, 5, 19, 13, 50, tzinfo=UTC),
    ),
}


def read_bars(scenario: Scenario, *, quick: bool = False) -> list[Bar]:
    """Return the bars of the stretch, one a minute without a gap, oldest first.

    Source
    ------
    lab/data/README.md: BitMEX XBTUSD, stamped at the bar's end.
    """
    start = scenario.quick_start if quick else scenario.start
    end = scenario.quick_end if quick else scenario.end
    with as_file(files("seawall.lab") / "data" / scenario.file) as path:
        table = pl.read_parquet(path).filter(pl.col("timestamp").is_between(start, end))
    bars = [
        Bar(
            at_ns=int(stamp.timestamp()) * 1_000_000_000,
            # The feed's `open` is the last close, so a bar can lie off its own close at the edges.
            high=_ticks(max(high, close)),
            low=_ticks(min(low, close)),
            close=_ticks(close),
            volume_usd=volume,
            observed=trades >= OBSERVED_TRADES_MIN,
        )
        for stamp, _, high, low, close, trades, volume in table.iter_rows()
    ]
    assert bars
    assert all(b.at_ns - a.at_ns == NS_PER_MINUTE for a, b in pairwise(bars))
    return bars


def _ticks(usd: float) -> int:
    return round(usd * TICKS_PER_USD)
