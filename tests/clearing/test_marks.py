"""MARK-01 to MARK-05: publication, medians and their grades, marks, asset prices and doubt."""

import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing.instruments import apply_list_instrument
from seawall.clearing.layout import (
    AT_NS,
    BASIS,
    DOUBT_SINCE,
    FEE_NOTIONAL,
    FEED_GRADE,
    FRESH_AT,
    INDEX,
    MARK_GRADE,
    MARK_NOTIONAL,
    MARK_TICKS,
    MARK_VALUE,
    PREVIOUS_INDEX,
    PRICE,
    PRICE_GRADE,
    SEQ,
    TOUCHED_INSTRUMENT,
    UNDERLYING_VALUE,
)
from seawall.clearing.marks import apply_publish_prices, compute_median, is_doubtful
from seawall.clearing.outcome import Out
from seawall.clearing.state import State
from seawall.protocol.codec import pack_int32, pack_int64, unpack_int32, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import ListInstrument, PublishPrices
from seawall.protocol.events import Grade, IndexMoved, MarksMoved, SourceDeviated
from seawall.protocol.genesis import Parameters
from seawall.protocol.units import NS_PER_MINUTE, NS_PER_SECOND, PPB
from tests.clearing.builders import (
    CALL,
    DAY_NS,
    FIRST,
    FUTURE,
    INDEX_FEED,
    INVERSE,
    LINEAR,
    PRICED_NS,
    SKEW_NS,
    SOURCE_A,
    SOURCE_B,
    SOURCE_C,
    START_NS,
    TRADED_FEED,
    USD,
    XBT,
    attest,
    deposit,
    enter,
    future,
    house,
    linear,
    move,
    option,
    publish,
    tick,
    trade,
)
from tests.clearing.builders import (
    PRICE as START_TICKS,
)

STALE_NS = Parameters().stale_ns


def events(out: Out, kind: Any) -> list[Any]:
    return [event for event in out.events if isinstance(event, kind)]


# Publication (MARK-01) ----------------------------------------------------------------------


def prices(
    observed_ns: int = START_NS, feeds: Any = (1,), values: Any = (50_000,)
) -> PublishPrices:
    return PublishPrices(observed_ns, pack_int32([*feeds]), pack_int64([*values]))


@pytest.mark.parametrize(
    ("command", "code", "field"),
    [
        (PublishPrices(START_NS, b"", b""), Reject.COLUMN_LENGTH, "feeds"),
        (PublishPrices(START_NS, b"\1\0\0", bytes(8)), Reject.COLUMN_LENGTH, "feeds"),
        (prices(values=(1, 2)), Reject.COLUMN_LENGTH, "values"),
        (prices(feeds=(1,) * 16_385, values=(1,) * 16_385), Reject.COLUMN_LONG, "feeds"),
        (prices(feeds=(0,)), Reject.FEED_UNKNOWN, "feeds[0]"),
        (prices(feeds=(-1,)), Reject.FEED_UNKNOWN, "feeds[0]"),
        (prices(feeds=(8,)), Reject.FEED_UNKNOWN, "feeds[0]"),
        (prices(feeds=(1, 3), values=(1, 1)), Reject.FEED_UNKNOWN, "feeds[1]"),
        (prices(values=(0,)), Reject.PRICE_RANGE, "values[0]"),
        (prices(feeds=(1, 2), values=(1, -1)), Reject.PRICE_RANGE, "values[1]"),
        (prices(values=((1 << 40) + 1,)), Reject.PRICE_RANGE, "values[0]"),
        (prices(START_NS + NS_PER_SECOND + SKEW_NS + 1), Reject.TIME_RANGE, "observed_at_ns"),
        (prices(START_NS - 1), Reject.TIME_RANGE, "observed_at_ns"),
        (prices(-1), Reject.TIME_RANGE, "observed_at_ns"),
    ],
)
def test_a_wrong_publication_is_named_and_leaves_no_trace(
    command: PublishPrices, code: Reject, field: str
) -> None:
    state = house(0)
    before = state.digest()
    out = Out(state)
    assert apply_publish_prices(state, command, SOURCE_A, out) == (code, field)
    assert out.events == []
    assert state.digest() == before


def test_nothing_moves_before_the_tick() -> None:
    state = house(0)
    before = state.instruments.copy()
    publish(state, {INDEX_FEED: 60_000, TRADED_FEED: 60_000})
    assert (state.instruments == before).all()
    assert state.feed[INDEX_FEED, INDEX] == START_TICKS


def test_each_source_has_its_own_column() -> None:
    state = house(0)
    publish(state, {INDEX_FEED: 50_001}, sources=[SOURCE_A])
    publish(state, {INDEX_FEED: 50_003}, sources=[SOURCE_B])
    publish(state, {INDEX_FEED: 50_002}, sources=[SOURCE_C])
    tick(state, START_NS + 2 * NS_PER_SECOND)
    assert state.feed[INDEX_FEED, INDEX] == 50_002


# The median and its grade (MARK-02) ---------------------------------------------------------

ticks = st.integers(1, 1 << 40)
near = st.integers(990_000, 1_010_000)


@given(st.lists(ticks | near, max_size=9), st.integers(1, 9), st.integers(0, PPB))
def test_the_median_is_the_textbook_one(fresh: list[int], least: int, deviation_ppb: int) -> None:
    median = compute_median(fresh, sources_min=least, deviation_ppb=deviation_ppb)
    if not fresh:
        assert median == (0, Grade.STALE, ())
        return
    low, high = statistics.median_low(fresh), statistics.median_high(fresh)
    assert median.value == (low + high) // 2
    out_of_line = [abs(v - median.value) * PPB > deviation_ppb * median.value for v in fresh]
    assert list(median.deviating) == out_of_line
    if len(fresh) < least:
        assert median.grade == Grade.TOO_FEW
    elif out_of_line.count(True) * 2 >= len(fresh):
        assert median.grade == Grade.DEVIATING
    else:
        assert median.grade == Grade.FRESH


@given(st.lists(near, min_size=1, max_size=5), st.data())
def test_a_lying_minority_cannot_leave_the_honest_range(honest: list[int], data: Any) -> None:
    lies = data.draw(st.lists(ticks, max_size=len(honest) - 1))
    mixed = data.draw(st.permutations(honest + lies))
    median = compute_median(mixed, sources_min=1, deviation_ppb=PPB // 50)
    assert min(honest) <= median.value <= max(honest)


@given(st.lists(near, min_size=3, max_size=5), st.data())
def test_a_lying_minority_cannot_stop_the_index(honest: list[int], data: Any) -> None:
    """Honest sources within 1 % of a price stay FRESH at a band of 2.1 %, whatever others say."""
    lies = data.draw(st.lists(ticks, max_size=(len(honest) - 1) // 2))
    median = compute_median(honest + lies, sources_min=3, deviation_ppb=21 * PPB // 1000)
    assert median.grade == Grade.FRESH


def test_two_sources_apart_are_nobodys_price() -> None:
    median = compute_median([50_000, 60_000], sources_min=2, deviation_ppb=PPB // 50)
    assert median.grade == Grade.DEVIATING
    assert median.deviating == (True, True)


def test_the_mean_of_the_middle_two_is_cut() -> None:
    median = compute_median([4, 1, 2, 9], sources_min=1, deviation_ppb=PPB)
    assert median.value == 3
    assert compute_median([2, 3], sources_min=1, deviation_ppb=PPB).value == 2


def test_a_deviating_source_is_named_once_until_it_is_back() -> None:
    state = house(0)

    def say(liar_ticks: int) -> list[SourceDeviated]:
        at_ns = state.scalar[AT_NS] + NS_PER_SECOND
        publish(state, {INDEX_FEED: 50_000}, sources=[SOURCE_A, SOURCE_B], observed_ns=at_ns)
        publish(state, {INDEX_FEED: liar_ticks}, sources=[SOURCE_C], observed_ns=at_ns)
        out = tick(state, at_ns)
        assert state.feed[INDEX_FEED, INDEX] == 50_000
        assert state.feed[INDEX_FEED, FEED_GRADE] == Grade.FRESH
        return events(out, SourceDeviated)

    # The band is 2 %: 1,000 ticks of 50,000, inclusive.
    assert say(49_000) == []
    assert say(48_999) == [SourceDeviated(SOURCE_C, INDEX_FEED, 48_999, 50_000)]
    assert say(40_000) == []
    assert say(50_000) == []
    assert say(90_000) == [SourceDeviated(SOURCE_C, INDEX_FEED, 90_000, 50_000)]


def test_freshness_goes_by_observation_not_arrival() -> None:
    """A backlog that arrives now is as old as it is: it cannot refresh the index."""
    state = house(0)
    late_ns = PRICED_NS + STALE_NS + NS_PER_MINUTE
    publish(state, {INDEX_FEED: 40_000, TRADED_FEED: 40_000}, observed_ns=START_NS + NS_PER_SECOND)
    tick(state, late_ns)
    assert state.feed[INDEX_FEED, FEED_GRADE] == Grade.STALE
    assert state.feed[INDEX_FEED, INDEX] == START_TICKS
    assert state.feed[INDEX_FEED, DOUBT_SINCE] == late_ns
    assert state.instrument[LINEAR, MARK_TICKS] == START_TICKS
    assert state.instrument[LINEAR, MARK_GRADE] == Grade.STALE


def test_a_price_is_fresh_up_to_the_last_nanosecond() -> None:
    state = house(0)
    tick(state, PRICED_NS + STALE_NS)
    assert state.feed[INDEX_FEED, FEED_GRADE] == Grade.FRESH
    tick(state, PRICED_NS + STALE_NS + 1)
    assert state.feed[INDEX_FEED, FEED_GRADE] == Grade.STALE


def test_the_last_good_index_stays_until_enough_sources_are_back() -> None:
    state = house(0)
    at_ns = PRICED_NS + STALE_NS + NS_PER_MINUTE
    publish(state, {INDEX_FEED: 40_000}, sources=[SOURCE_A], observed_ns=at_ns)
    out = tick(state, at_ns)
    assert state.feed[INDEX_FEED, INDEX] == START_TICKS
    assert state.feed[INDEX_FEED, FEED_GRADE] == Grade.TOO_FEW
    (moved,) = events(out, IndexMoved)
    assert unpack_int32(moved.feeds) == (INDEX_FEED, TRADED_FEED)
    assert [*moved.grades] == [Grade.TOO_FEW, Grade.STALE]
    publish(state, {INDEX_FEED: 41_000}, sources=[SOURCE_B], observed_ns=at_ns + 1)
    tick(state, at_ns + 1)
    # The middle of 40,000 and 41,000; both lie within 2 % of it.
    assert state.feed[INDEX_FEED, INDEX] == 40_500
    assert state.feed[INDEX_FEED, PREVIOUS_INDEX] == START_TICKS
    assert state.feed[INDEX_FEED, FEED_GRADE] == Grade.FRESH
    assert state.feed[INDEX_FEED, FRESH_AT] == at_ns + 1
    assert state.feed[INDEX_FEED, DOUBT_SINCE] == 0


def test_an_unmoved_price_makes_no_event() -> None:
    state = house(0)
    assert events(tick(state, START_NS + 2 * NS_PER_SECOND), (IndexMoved, MarksMoved)) == []


told = st.dictionaries(
    st.sampled_from([SOURCE_A, SOURCE_B, SOURCE_C]),
    st.tuples(st.integers(0, 5 * NS_PER_MINUTE), near | ticks),
)


@given(st.lists(st.tuples(st.integers(1, 4 * NS_PER_MINUTE), told), max_size=8))
def test_only_a_fresh_median_moves_an_index(steps: list[tuple[int, Any]]) -> None:
    """Against a naive reading of MARK-02 over all that was ever published."""
    state = house(0, contracts=[linear(price_feed=0)])
    known = dict.fromkeys((SOURCE_A, SOURCE_B, SOURCE_C), (PRICED_NS, START_TICKS))
    expected = START_TICKS
    for after_ns, said in steps:
        at_ns = state.scalar[AT_NS] + after_ns
        for source, (age_ns, value) in said.items():
            command = prices(at_ns - age_ns, values=(value,))
            refusal = apply_publish_prices(state, command, source, Out(state))
            # Nobody may take back a newer observation.
            assert (refusal is None) == (at_ns - age_ns >= known[source][0])
            if refusal is None:
                known[source] = (at_ns - age_ns, value)
        tick(state, at_ns)
        fresh = [value for seen_ns, value in known.values() if seen_ns >= at_ns - STALE_NS]
        middle = (
            int(statistics.median_low(fresh) + statistics.median_high(fresh)) // 2 if fresh else 0
        )
        far = [value for value in fresh if 50 * abs(value - middle) > middle]
        if len(fresh) >= 2 and 2 * len(far) < len(fresh):
            expected = middle
            assert state.feed[INDEX_FEED, FEED_GRADE] == Grade.FRESH
        else:
            assert state.feed[INDEX_FEED, FEED_GRADE] != Grade.FRESH
        assert state.feed[INDEX_FEED, INDEX] == expected
        assert state.instrument[1, MARK_TICKS] == min(max(expected, 100), 10_000_000)


# Marks (MARK-03) ----------------------------------------------------------------------------


def test_the_basis_follows_the_traded_price_slowly_and_not_far() -> None:
    state = house(0)
    # 1,000 ticks above is clamped to 1 % of 50,000 = 500; a tenth of the way is 50.
    move(state, 50_000, traded=51_000)
    assert state.instrument[LINEAR, BASIS] == 50
    assert state.instrument[LINEAR, MARK_TICKS] == 50_050
    # Then a tenth of 500 - 50.
    move(state, 50_000, traded=51_000)
    assert state.instrument[LINEAR, BASIS] == 95
    # Downwards: a tenth of -500 - 95 is -59.5, rounded down to -60.
    move(state, 50_000, traded=40_000)
    assert state.instrument[LINEAR, BASIS] == 35
    assert state.instrument[INVERSE, MARK_TICKS] == 50_035
    assert state.instrument[INVERSE, MARK_VALUE] == -(10**15 // 50_035)
    assert state.instrument[INVERSE, MARK_NOTIONAL] == 10**15 // 50_035


@given(st.lists(st.tuples(near, near), min_size=1, max_size=6))
def test_the_mark_never_leaves_the_band_around_the_index(steps: list[tuple[int, int]]) -> None:
    state = house(0, parameters=Parameters(velocity_ppb=10 * PPB))
    widest = 0
    for index, traded in steps:
        move(state, index, traded=traded)
        # The basis is an average of samples, each within 1 % of the index of its own time.
        widest = max(widest, index // 100)
        assert abs(state.instrument[LINEAR, MARK_TICKS] - index) <= widest
        assert state.instrument[LINEAR, BASIS] == state.instrument[INVERSE, BASIS]


def test_a_doubtful_traded_price_only_freezes_the_basis() -> None:
    state = house(0)
    move(state, 50_000, traded=51_000)
    at_ns = state.scalar[AT_NS] + STALE_NS + NS_PER_MINUTE
    publish(state, {INDEX_FEED: 52_000}, observed_ns=at_ns)
    tick(state, at_ns)
    assert state.feed[TRADED_FEED, FEED_GRADE] == Grade.STALE
    assert state.instrument[LINEAR, BASIS] == 50
    assert state.instrument[LINEAR, MARK_TICKS] == 52_050
    assert state.instrument[LINEAR, MARK_GRADE] == Grade.FRESH


def test_a_doubtful_index_freezes_marks_whatever_else_moves() -> None:
    """Neither a traded price nor a newly attested option value moves a mark in doubt."""
    state = house(0)
    attest(state, {CALL: [0, 1]}, values={CALL: 100_000})
    move(state, 50_000, traded=50_000)
    before = state.instruments[:, [BASIS, MARK_TICKS, MARK_VALUE, MARK_NOTIONAL]].copy()
    attest(state, {CALL: [0, 1]}, values={CALL: 900_000})
    state.scalar[AT_NS] += STALE_NS + 1
    publish(state, {TRADED_FEED: 51_000})
    tick(state, state.scalar[AT_NS])
    assert [state.instrument[i, MARK_GRADE] for i in (1, 2, 3, 4)] == [Grade.STALE] * 4
    assert (state.instruments[:, [BASIS, MARK_TICKS, MARK_VALUE, MARK_NOTIONAL]] == before).all()
    move(state, 50_000)
    assert state.instrument[CALL, MARK_VALUE] == 900_000


def test_a_futures_basis_narrows_over_its_last_month() -> None:
    state = house(0, contracts=[future(basis_weight_ppb=PPB, expiry_ns=START_NS + 60 * DAY_NS)])
    # More than 30 days to go: all of 1 % of the index.
    move(state, 50_000, traded=60_000)
    assert state.instrument[1, BASIS] == 500
    move(state, 50_000, traded=60_000, after_ns=START_NS + 45 * DAY_NS - state.scalar[AT_NS])
    assert state.instrument[1, BASIS] == 250
    move(state, 50_000, traded=40_000, after_ns=12 * DAY_NS)
    assert state.instrument[1, BASIS] == -50


def test_marks_stay_within_the_listed_bounds() -> None:
    state = house(0, contracts=[linear(price_feed=0, price_min=49_000, price_max=51_000)])
    move(state, 60_000)
    assert state.instrument[1, MARK_TICKS] == 51_000
    move(state, 30_000)
    assert state.instrument[1, MARK_TICKS] == 49_000


def test_all_marks_move_in_one_event() -> None:
    state = house(0)
    (moved,) = events(move(state, 51_000), MarksMoved)
    assert unpack_int32(moved.instruments) == (LINEAR, INVERSE, FUTURE)
    assert unpack_int64(moved.ticks) == (51_000, 51_000, 51_000)
    assert [*moved.grades] == [Grade.FRESH] * 3


def test_without_any_index_there_is_no_mark() -> None:
    state = house(0, priced=False)
    tick(state, START_NS + NS_PER_SECOND)
    for instrument in (LINEAR, INVERSE, FUTURE, CALL):
        assert state.instrument[instrument, MARK_TICKS] == 0
        assert state.instrument[instrument, MARK_GRADE] == Grade.TOO_FEW


def test_an_option_is_marked_at_its_attested_value() -> None:
    state = house(0)
    assert state.instrument[CALL, MARK_GRADE] == Grade.STALE
    # 123,456,789 value units are 1,234 ticks of 100,000, cut.
    attest(state, {CALL: [0, 1]}, values={CALL: 123_456_789})
    (moved,) = events(move(state, 51_000), MarksMoved)
    assert CALL in unpack_int32(moved.instruments)
    assert state.instrument[CALL, MARK_VALUE] == 123_456_789
    assert state.instrument[CALL, MARK_TICKS] == 1_234
    assert state.instrument[CALL, MARK_GRADE] == Grade.FRESH
    # 5,100 USD for 0.001 XBT, in value units.
    assert state.instrument[CALL, UNDERLYING_VALUE] == 5_100_000_000
    assert state.instrument[CALL, MARK_NOTIONAL] == 5_100_000_000
    assert state.instrument[CALL, FEE_NOTIONAL] == 5_100_000_000


def test_a_lapsed_option_keeps_its_mark_in_doubt_but_its_size_follows_the_index() -> None:
    state = house(0)
    expires_ns = START_NS + 10 * NS_PER_MINUTE
    attest(state, {CALL: [0, 1]}, values={CALL: 100_000}, expires_ns=expires_ns)
    move(state, 50_000, after_ns=expires_ns - state.scalar[AT_NS])
    assert state.instrument[CALL, MARK_GRADE] == Grade.FRESH
    move(state, 51_000, after_ns=1)
    assert state.instrument[CALL, MARK_GRADE] == Grade.STALE
    assert state.instrument[CALL, MARK_VALUE] == 100_000
    assert state.instrument[CALL, UNDERLYING_VALUE] == 5_100_000_000


def test_an_options_size_is_held_within_the_proven_bound() -> None:
    state = house(0, contracts=[option(price_max=50_500)])
    move(state, 60_000)
    assert state.instrument[1, UNDERLYING_VALUE] == 50_500 * 100_000


# Assets (MARK-04) and doubt (MARK-05) -------------------------------------------------------


def test_an_asset_is_priced_by_its_feed() -> None:
    state = house(0)
    # 5,000 USD a coin, in minor units.
    assert state.asset[XBT, PRICE] == 5_000 * 10**6
    assert state.asset[XBT, PRICE_GRADE] == Grade.FRESH
    tick(state, PRICED_NS + STALE_NS + 1)
    assert state.asset[XBT, PRICE] == 5_000 * 10**6
    assert state.asset[XBT, PRICE_GRADE] == Grade.STALE
    assert state.asset[USD, PRICE_GRADE] == Grade.FRESH


def doubtful_house() -> State:
    """Two feeds: index 1 goes stale, index 3 stays fresh under the second instrument."""
    contracts = [linear(price_feed=0), linear(name="OTHER", index_feed=3, price_feed=0)]
    state = house(4, contracts=contracts, priced=False)
    publish(state, {1: 50_000, 3: 700})
    tick(state, START_NS + NS_PER_SECOND)
    at_ns = PRICED_NS + STALE_NS + 1
    publish(state, {3: 700}, observed_ns=at_ns)
    trade(state, FIRST, FIRST + 1, 1, 5, 5_000_000_000)
    trade(state, FIRST + 2, FIRST + 1, 2, 5, 70_000_000)
    tick(state, at_ns)
    return state


def test_doubt_is_about_what_the_account_holds() -> None:
    state = doubtful_house()
    assert state.instrument[1, MARK_GRADE] == Grade.STALE
    assert state.instrument[2, MARK_GRADE] == Grade.FRESH
    assert is_doubtful(state, FIRST)
    assert is_doubtful(state, FIRST + 1)
    assert not is_doubtful(state, FIRST + 2)
    assert not is_doubtful(state, FIRST + 3)
    deposit(state, FIRST + 3, XBT, 1)
    assert is_doubtful(state, FIRST + 3)


def test_the_asset_that_a_position_settles_in_counts_even_without_a_balance() -> None:
    state = house(2)
    trade(state, FIRST, FIRST + 1, INVERSE, 5, -20_000_000_000)
    assert not is_doubtful(state, FIRST)
    state.asset[XBT, PRICE_GRADE] = Grade.STALE
    assert is_doubtful(state, FIRST)


def test_a_new_instrument_has_no_mark_until_the_next_tick() -> None:
    state = house(0)
    apply_list_instrument(state, ListInstrument(linear(name="LATE")), 0, enter(state))
    assert state.instrument[5, MARK_GRADE] == Grade.TOO_FEW
    tick(state, START_NS + 2 * NS_PER_SECOND)
    assert state.instrument[5, MARK_TICKS] == START_TICKS
    assert state.instrument[5, MARK_GRADE] == Grade.FRESH


def test_moved_marks_touch_their_instruments() -> None:
    state = house(0)
    move(state, 51_000)
    assert state.instrument[LINEAR, TOUCHED_INSTRUMENT] == state.scalar[SEQ]
    assert state.instrument[CALL, TOUCHED_INSTRUMENT] != state.scalar[SEQ]
