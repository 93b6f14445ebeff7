"""The shipped market data is what its README says it is."""

from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files

import polars as pl
import pytest

MARCH_2020 = "xbtusd_1m_2020-03-08_16.parquet"
MAY_2021 = "xbtusd_1m_2021-05-17_24.parquet"
HALTS = "bitmex_trading_halts_derived_2018_2021.parquet"


def read(name: str) -> pl.DataFrame:
    with as_file(files("seawall.lab") / "data" / name) as path:
        return pl.read_parquet(path)


@pytest.mark.parametrize(
    ("name", "rows", "open_outside", "without_trades"),
    [(MARCH_2020, 12_960, 360, 17), (MAY_2021, 11_520, 1_616, 1)],
)
def test_bars_have_the_shape_that_the_readme_states(
    name: str, rows: int, open_outside: int, without_trades: int
) -> None:
    bars = read(name)
    assert list(bars.schema.items()) == [
        ("timestamp", pl.Datetime("ms", "UTC")),
        *((price, pl.Float64) for price in ("open", "high", "low", "close")),
        ("trades", pl.Int32),
        ("volume_usd", pl.Int64),
    ]
    assert bars.height == rows
    assert sum(bars.null_count().row(0)) == 0
    assert bars["timestamp"].diff().drop_nulls().unique().to_list() == [timedelta(minutes=1)]
    assert bars.filter(pl.col("open") != pl.col("close").shift(1)).is_empty()
    assert bars.filter(~pl.col("open").is_between("low", "high")).height == open_outside
    assert bars.filter(~pl.col("close").is_between("low", "high")).is_empty()
    assert bars.filter(pl.col("trades") == 0).height == without_trades
    for column in ("open", "high", "low", "close"):
        assert (bars[column] * 2 % 1).sum() == 0, "prices are multiples of half a dollar"


@pytest.mark.parametrize(
    ("name", "low", "stamped"),
    [
        (MARCH_2020, 3_596.0, datetime(2020, 3, 13, 2, 16, tzinfo=UTC)),
        (MAY_2021, 28_157.0, datetime(2021, 5, 19, 13, 11, tzinfo=UTC)),
    ],
)
def test_the_low_of_each_crash_is_where_the_readme_says(
    name: str, low: float, stamped: datetime
) -> None:
    bars = read(name)
    lowest = bars.filter(pl.col("low") == bars["low"].min())
    assert lowest.select("timestamp", "low").rows() == [(stamped, low)]


def test_the_venue_all_but_stopped_on_13_march_2020() -> None:
    bars = read(MARCH_2020)
    first, last = (datetime(2020, 3, 13, 2, minute, tzinfo=UTC) for minute in (17, 30))
    outage = bars.filter(pl.col("timestamp").is_between(first, last))
    assert outage.height == 14
    assert outage["trades"].max() == 13
    assert outage.filter(pl.col("trades") == 0).height == 4


def test_halts_name_the_outage_of_13_march_2020() -> None:
    halts = read(HALTS)
    assert halts.height == 25
    assert halts["class"].value_counts().sort("class").rows() == [("halt", 11), ("slowdown", 14)]
    start = datetime(2020, 3, 13, 2, 16, tzinfo=UTC)
    assert halts.filter(pl.col("start") == start).select("minutes", "class").rows() == [
        (17, "halt")
    ]
