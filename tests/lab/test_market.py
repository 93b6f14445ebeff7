"""Bars, population, sources, crowd and book: what is real stays real, what is seeded repeats."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from seawall.lab.bars import SCENARIOS, Bar, read_bars
from seawall.lab.cast import INVERSE, LINEAR, SOURCES, USD, XBT, make_cast, risk_arrays
from seawall.lab.faults import PLANS
from seawall.lab.flow import LIE_PPB, Book, Crowd, Feeds
from seawall.lab.paper import Paper
from seawall.lab.population import make_population
from seawall.protocol.codec import unpack_int32, unpack_int64
from seawall.protocol.commands import EffectStatus, Mode
from seawall.protocol.effects import Payout, PlaceOrder
from seawall.protocol.units import PPB

BAR = Bar(at_ns=0, high=500_000, low=490_000, close=495_000, volume_usd=1_000_000, observed=True)
MARCH = read_bars(SCENARIOS["march-2020"])


def test_the_outages_are_the_real_ones() -> None:
    silent = [datetime.fromtimestamp(b.at_ns / 1e9, UTC) for b in MARCH if not b.observed]
    first = datetime(2020, 3, 13, 2, 17, tzinfo=UTC)
    assert silent[0] == first
    assert [(at - first).seconds // 60 for at in silent[:14]] == list(range(14))
    # The second outage of that day, around noon.
    assert sum(at.hour in {11, 12} for at in silent) == 22
    assert all(bar.observed for bar in read_bars(SCENARIOS["may-2021"]))


def test_every_fault_is_due_while_prices_fall() -> None:
    for (name, quick), plan in PLANS.items():
        bars = {bar.at_ns: bar.close for bar in read_bars(SCENARIOS[name], quick=quick)}
        for field in plan.__struct_fields__:
            at_ns = int(getattr(plan, field).timestamp()) * 10**9
            assert bars[at_ns + 10 * 60 * 10**9] < bars[at_ns], (name, quick, field)


def test_the_population_is_mixed_and_seeded() -> None:
    traders = make_population(7, 2000, 795_900)
    assert traders == make_population(7, 2000, 795_900)
    assert traders != make_population(8, 2000, 795_900)
    assert {t.instrument for t in traders} == {LINEAR, INVERSE}
    assert {t.asset for t in traders} == {USD, XBT}
    assert {t.mode for t in traders} == {Mode.CROSS, Mode.PORTFOLIO}
    assert any(t.isolated for t in traders)
    assert any(t.lots > 0 for t in traders)
    assert any(t.lots < 0 for t in traders)
    worth = sorted(
        (
            t.collateral_minor if t.asset == USD else t.collateral_minor * 7959 // 100
            for t in traders
        ),
        reverse=True,
    )
    # Pareto 80:20, within what 2,000 draws allow.
    assert 0.55 < sum(worth[:400]) / sum(worth) < 0.95


def test_risk_rows_are_exact() -> None:
    for bar in MARCH[:500]:
        arrays = risk_arrays(bar.close, 1)
        for row, move in zip(unpack_int32(arrays.rows)[:17], arrays.row_names, strict=True):
            percent = int(move.split()[1])
            assert row * 100 == bar.close * 10 * percent


def test_sources_tell_the_real_close_or_a_little_beside_it() -> None:
    told = Feeds(1, MARCH).observe(0, None)
    values = [unpack_int64(prices.values)[0] for prices in told.values()]
    assert values[0] == MARCH[0].close
    assert all(abs(value - MARCH[0].close) * 5_000 <= MARCH[0].close for value in values)


def test_a_lie_changes_nothing_else() -> None:
    honest, lying = Feeds(1, MARCH), Feeds(1, MARCH)
    for minute in range(20):
        true = honest.observe(minute, None)
        false = lying.observe(minute, SOURCES[1] if minute == 10 else None)
        differing = [name for name in SOURCES if true[name] != false[name]]
        assert differing == ([SOURCES[1]] if minute == 10 else [])
        if differing:
            index = unpack_int64(true[SOURCES[1]].values)[0]
            assert unpack_int64(false[SOURCES[1]].values)[0] == index + index * LIE_PPB // PPB


def test_nobody_observes_or_trades_while_the_venue_stands_still() -> None:
    silent = next(place for place, bar in enumerate(MARCH) if not bar.observed)
    assert Feeds(1, MARCH).observe(silent, None) == {}
    assert Crowd(1, [(1, LINEAR)], [2]).trade(MARCH[silent]) == []
    book = Book()
    book.open_minute(MARCH[silent])
    assert book.fill(LINEAR, -1, 1) is None


@given(
    lots=st.integers(-(10**7), 10**7).filter(bool),
    limit=st.integers(400_000, 600_000),
    instrument=st.sampled_from((LINEAR, INVERSE)),
)
def test_a_fill_is_inside_the_limit_and_never_more_than_asked(
    lots: int, limit: int, instrument: int
) -> None:
    book = Book()
    book.open_minute(BAR)
    found = book.fill(instrument, lots, limit)
    if found is not None:
        filled, price = found
        assert 0 < filled <= abs(lots)
        assert price <= limit if lots > 0 else price >= limit


def test_the_book_runs_dry_within_a_minute_and_fills_again() -> None:
    book = Book()
    book.open_minute(BAR)
    taken = book.fill(INVERSE, -(10**9), 1)
    assert taken is not None
    assert taken[0] == BAR.volume_usd // 10
    assert book.fill(INVERSE, -1, 1) is None
    book.open_minute(BAR)
    assert book.fill(INVERSE, -1, 1) is not None


async def test_paper_doors_honour_the_key() -> None:
    asked: list[tuple[int, int, int, int]] = []

    def trade(account: int, instrument: int, lots: int, limit: int) -> bool:
        asked.append((account, instrument, lots, limit))
        return len(asked) == 1

    paper = Paper(trade)
    order = PlaceOrder(1, 5, LINEAR, -3, 400_000)
    assert await paper.query("9:0") is None
    assert await paper.execute("9:0", order) == EffectStatus.DONE
    assert await paper.execute("9:0", order) == EffectStatus.DONE
    assert asked == [(5, LINEAR, -3, 400_000)]
    assert paper.asked_again == ["9:0"]
    assert await paper.query("9:0") == EffectStatus.DONE
    assert await paper.execute("9:1", order) == EffectStatus.FAILED
    for _ in range(2):
        await paper.execute("9:2", Payout(1, 5, XBT, 70, 1))
    assert paper.paid_minor == {XBT: 70}


def test_equal_seeds_make_equal_houses() -> None:
    assert make_cast(1, 200, 5) == make_cast(1, 200, 5)
    assert make_cast(1, 200, 5).genesis != make_cast(2, 200, 5).genesis
