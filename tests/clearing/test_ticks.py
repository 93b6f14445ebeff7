"""Machine time: no minority of clocks hurries or stops it (TIME-01)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.clearing.layout import AT_NS
from seawall.clearing.outcome import Out
from seawall.clearing.ticks import AT_NS_MAX, apply_tick
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Tick
from seawall.protocol.events import TimeMoved
from tests.clearing import builders
from tests.clearing.builders import START_NS

SECOND = 10**9


@settings(max_examples=200)
@given(
    st.integers(1, 7),
    st.lists(st.tuples(st.integers(0, 6), st.integers(-5, 100)), max_size=40),
)
def test_time_is_the_largest_lower_median_yet(count: int, drawn: list[tuple[int, int]]) -> None:
    state = builders.house(0, priced=False)
    clocks = range(100, 100 + count)
    state.tables.clocks = dict.fromkeys(clocks, START_NS)
    told, now = dict.fromkeys(clocks, START_NS), START_NS
    for place, seconds in drawn:
        clock, at_ns = clocks[place % count], START_NS + seconds * SECOND
        out = builders.enter(state)
        refusal = apply_tick(state, Tick(at_ns), clock, out)
        assert refusal == ((Reject.TIME_RANGE, "at_ns") if at_ns < told[clock] else None)
        told[clock] = max(told[clock], at_ns)
        median = sorted(told.values())[(count - 1) // 2]
        assert out.events == ([TimeMoved(median)] if median > now else [])
        now = max(now, median)
        assert state.scalar[AT_NS] == now


@given(st.integers(1, 3), st.lists(st.integers(0, 10**12), min_size=3, max_size=3))
def test_a_hasty_minority_moves_nothing(liars: int, ahead: list[int]) -> None:
    """Of seven clocks three lie: time is one that an honest clock has said."""
    state = builders.house(0, priced=False)
    clocks = range(100, 107)
    state.tables.clocks = dict.fromkeys(clocks, START_NS)
    for clock, lie in zip(clocks[:liars], ahead, strict=False):
        apply_tick(state, Tick(START_NS + lie), clock, Out(state))
    assert state.scalar[AT_NS] == START_NS
    for clock in clocks[3:]:
        apply_tick(state, Tick(START_NS + SECOND), clock, Out(state))
    assert START_NS <= state.scalar[AT_NS] <= START_NS + SECOND


def test_no_clock_goes_beyond_all_deadlines() -> None:
    state = builders.house(0, priced=False)
    clock = next(iter(state.tables.clocks))
    refusal = apply_tick(state, Tick(AT_NS_MAX + 1), clock, Out(state))
    assert refusal == (Reject.TIME_RANGE, "at_ns")
    assert apply_tick(state, Tick(AT_NS_MAX), clock, Out(state)) is None
