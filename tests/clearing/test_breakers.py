"""BRKR-01 to BRKR-03: halts after an outage, after a jump and by an operator's word."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing.breakers import account_halted, apply_set_halt, is_halted, trip
from seawall.clearing.layout import (
    AT_NS,
    FEED_GRADE,
    HALT_ALL_UNTIL,
    HALT_UNTIL,
    INDEX,
    STATUS,
    STATUS_SETTLED,
)
from seawall.clearing.outcome import Out
from seawall.clearing.state import State
from seawall.protocol.codes import Reject
from seawall.protocol.commands import SetHalt
from seawall.protocol.events import Grade, HaltEnded, HaltStarted
from seawall.protocol.genesis import Parameters
from seawall.protocol.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_SECOND
from tests.clearing.builders import (
    FIRST,
    FUTURE,
    INDEX_FEED,
    INVERSE,
    LINEAR,
    OPERATE,
    PRICED_NS,
    enter,
    house,
    linear,
    move,
    publish,
    tick,
    trade,
)

NORMAL = Parameters()


def halts(out: Out) -> list[Any]:
    return [event for event in out.events if isinstance(event, HaltStarted | HaltEnded)]


def quiet(state: State, for_ns: int) -> Out:
    """Let time pass without prices."""
    return tick(state, state.scalar[AT_NS] + for_ns)


# BRKR-01 ------------------------------------------------------------------------------------


def test_an_outage_is_followed_by_half_its_length_of_calm() -> None:
    state = house(0, contracts=[linear()])
    quiet(state, NORMAL.stale_ns + 1)
    doubt_since_ns = state.scalar[AT_NS]
    assert state.feed[INDEX_FEED, FEED_GRADE] == Grade.STALE
    # Twenty minutes in doubt at a scale of one half.
    out = move(state, 50_000, after_ns=20 * NS_PER_MINUTE)
    until_ns = doubt_since_ns + 30 * NS_PER_MINUTE
    assert halts(out) == [HaltStarted(LINEAR, until_ns, "outage")]
    assert is_halted(state, LINEAR)
    assert halts(move(state, 50_000, after_ns=10 * NS_PER_MINUTE - 1)) == []
    assert is_halted(state, LINEAR)
    assert halts(move(state, 50_000, after_ns=1)) == [HaltEnded(LINEAR)]
    assert not is_halted(state, LINEAR)


@pytest.mark.parametrize(
    ("doubt_ns", "halt_ns"),
    [
        (NORMAL.halt_after_ns - 1, 0),
        (NORMAL.halt_after_ns, NORMAL.halt_after_ns // 2),
        (90 * NS_PER_MINUTE + 1, 45 * NS_PER_MINUTE),
        (3 * NS_PER_HOUR, NORMAL.halt_max_ns),
    ],
)
def test_the_halt_scales_with_the_doubt_up_to_a_limit(doubt_ns: int, halt_ns: int) -> None:
    state = house(0, contracts=[linear()])
    quiet(state, NORMAL.stale_ns + 1)
    move(state, 50_000, after_ns=doubt_ns)
    until_ns = state.instrument[LINEAR, HALT_UNTIL]
    assert until_ns == (state.scalar[AT_NS] + halt_ns if halt_ns else 0)


def test_only_what_stands_on_the_feed_is_halted() -> None:
    contracts = [linear(), linear(name="OTHER", index_feed=3)]
    state = house(0, contracts=contracts, priced=False)
    publish(state, {1: 50_000, 2: 50_000, 3: 700})
    tick(state, PRICED_NS)
    publish(state, {3: 700}, observed_ns=PRICED_NS + 8 * NS_PER_MINUTE)
    tick(state, PRICED_NS + 8 * NS_PER_MINUTE)
    state.scalar[AT_NS] += 8 * NS_PER_MINUTE
    publish(state, {1: 50_000, 2: 50_000, 3: 700})
    out = tick(state, state.scalar[AT_NS])
    assert halts(out) == [HaltStarted(1, state.scalar[AT_NS] + 4 * NS_PER_MINUTE, "outage")]
    assert not is_halted(state, 2)


def test_a_settled_instrument_is_not_halted() -> None:
    state = house(0, contracts=[linear(), linear(name="OTHER")])
    state.instrument[2, STATUS] = STATUS_SETTLED
    assert [event.instrument_id for event in halts(move(state, 80_000))] == [1]


# BRKR-02 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ticks", "halted"), [(60_000, False), (60_001, True), (40_000, False), (39_999, True)]
)
def test_a_jump_beyond_the_limit_halts(ticks: int, halted: bool) -> None:
    # The limit is a fifth of 50,000 against the index at the previous tick.
    state = house(0)
    out = move(state, ticks)
    until_ns = state.scalar[AT_NS] + NORMAL.velocity_halt_ns
    expected = [HaltStarted(i, until_ns, "velocity") for i in (1, 2, 3, 4)] if halted else []
    assert halts(out) == expected
    assert is_halted(state, FUTURE) == halted


def test_the_first_index_is_no_jump() -> None:
    state = house(0, contracts=[linear()], priced=False)
    assert halts(move(state, 50_000)) == []


# Merging ------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 6 * NS_PER_HOUR), st.booleans()), max_size=6))
def test_halts_merge_by_the_later_end(trips: list[tuple[int, bool]]) -> None:
    """Against the maximum of all ends, which grows and is never a sum."""
    state = house(0, contracts=[linear()])
    ends = [0]
    now = state.scalar[AT_NS]
    for doubt_ns, jumps in trips:
        before = 1 if jumps else state.feed[INDEX_FEED, INDEX]
        trip(state, enter(state), INDEX_FEED, before=before, doubt_ns=doubt_ns)
        if doubt_ns >= NORMAL.halt_after_ns:
            ends.append(now + min(doubt_ns // 2, NORMAL.halt_max_ns))
        if jumps:
            ends.append(now + NORMAL.velocity_halt_ns)
        assert state.instrument[LINEAR, HALT_UNTIL] == max(ends)


def test_a_shorter_halt_neither_shortens_nor_is_told() -> None:
    state = house(0, contracts=[linear()])
    until_ns = state.scalar[AT_NS] + 9 * NS_PER_HOUR
    assert apply_set_halt(state, SetHalt(LINEAR, until_ns), OPERATE, enter(state)) is None
    assert halts(move(state, 80_000)) == []
    assert state.instrument[LINEAR, HALT_UNTIL] == until_ns


# BRKR-03 ------------------------------------------------------------------------------------


def test_an_operator_halts_and_resumes_one_instrument() -> None:
    state = house(0)
    now = state.scalar[AT_NS]
    out = enter(state)
    assert apply_set_halt(state, SetHalt(LINEAR, now + NS_PER_HOUR), OPERATE, out) is None
    assert halts(out) == [HaltStarted(LINEAR, now + NS_PER_HOUR, "operator")]
    assert is_halted(state, LINEAR)
    assert not is_halted(state, INVERSE)
    out = enter(state)
    assert apply_set_halt(state, SetHalt(LINEAR, 0), OPERATE, out) is None
    assert halts(out) == [HaltEnded(LINEAR)]
    assert not is_halted(state, LINEAR)
    # Resuming what runs is no event.
    out = enter(state)
    assert apply_set_halt(state, SetHalt(LINEAR, 0), OPERATE, out) is None
    assert halts(out) == []


def test_an_operator_cannot_shorten_a_halt_by_mistake() -> None:
    state = house(0)
    now = state.scalar[AT_NS]
    apply_set_halt(state, SetHalt(LINEAR, now + NS_PER_HOUR), OPERATE, enter(state))
    out = enter(state)
    apply_set_halt(state, SetHalt(LINEAR, now + 1), OPERATE, out)
    assert halts(out) == [HaltStarted(LINEAR, now + NS_PER_HOUR, "operator")]


def test_a_halt_of_all_covers_every_instrument_and_ends_by_itself() -> None:
    state = house(2)
    trade(state, FIRST, FIRST + 1, INVERSE, 5, -20_000_000_000)
    now = state.scalar[AT_NS]
    apply_set_halt(state, SetHalt(0, now + NS_PER_MINUTE), OPERATE, enter(state))
    assert all(is_halted(state, i) for i in (1, 2, 3, 4))
    assert account_halted(state, FIRST)
    assert halts(move(state, 50_000, after_ns=NS_PER_MINUTE)) == [HaltEnded(0)]
    assert state.scalar[HALT_ALL_UNTIL] == 0
    assert not account_halted(state, FIRST)


def test_an_account_is_halted_by_what_it_holds() -> None:
    state = house(3)
    trade(state, FIRST, FIRST + 1, INVERSE, 5, -20_000_000_000)
    until_ns = state.scalar[AT_NS] + NS_PER_SECOND
    apply_set_halt(state, SetHalt(INVERSE, until_ns), OPERATE, enter(state))
    assert account_halted(state, FIRST)
    assert account_halted(state, FIRST + 1)
    assert not account_halted(state, FIRST + 2)


@pytest.mark.parametrize(
    ("instrument", "until_ns", "code", "field"),
    [
        (5, PRICED_NS + 1, Reject.INSTRUMENT_UNKNOWN, "instrument_id"),
        (-1, PRICED_NS + 1, Reject.INSTRUMENT_UNKNOWN, "instrument_id"),
        (LINEAR, PRICED_NS, Reject.TIME_RANGE, "until_ns"),
        (LINEAR, -1, Reject.TIME_RANGE, "until_ns"),
        (0, 1, Reject.TIME_RANGE, "until_ns"),
    ],
)
def test_a_wrong_halt_is_named_and_leaves_no_trace(
    instrument: int, until_ns: int, code: Reject, field: str
) -> None:
    state = house(0)
    before = state.digest()
    out = Out(state)
    assert apply_set_halt(state, SetHalt(instrument, until_ns), OPERATE, out) == (code, field)
    assert out.events == []
    assert state.digest() == before


def test_no_length_of_halt_without_a_scale() -> None:
    state = house(0, contracts=[linear()], parameters=Parameters(halt_scale_ppb=0))
    quiet(state, NORMAL.stale_ns + 1)
    assert halts(move(state, 50_000, after_ns=NS_PER_HOUR)) == []
