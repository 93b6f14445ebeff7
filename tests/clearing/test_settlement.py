"""SETL-01: expiry at the mean of the index over the last window, or later when it is in doubt."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing.invariants import check_full
from seawall.clearing.kernels.fills import RESULT_CELLS, Fills, post_fills
from seawall.clearing.layout import (
    AT_NS,
    BALANCE,
    ID,
    MARK_TICKS,
    OPEN_COST,
    OPEN_INTEREST,
    POSITION_COUNT,
    RESIDUAL,
    SEQ,
    SETTLEMENT_SAMPLES,
    STATUS,
    STATUS_SETTLED,
    STATUS_TRADING,
    STATUS_WAITING,
    VARIATION,
)
from seawall.clearing.outcome import Out
from seawall.clearing.rounding import step_rounding
from seawall.clearing.settlement import compute_final_ticks
from seawall.clearing.state import State
from seawall.clearing.trades import book_of
from seawall.protocol.codes import Reject
from seawall.protocol.commands import InstrumentTerms, Kind, Style
from seawall.protocol.events import InstrumentSettled
from seawall.protocol.units import NS_PER_HOUR, NS_PER_MINUTE
from tests.clearing.builders import (
    DEPOSIT,
    EXPIRY_NS,
    FIRST,
    USD,
    XBT,
    balances,
    enter,
    future,
    house,
    inverse,
    move,
    option,
    tick,
    trade,
)

WINDOW_NS = 30 * NS_PER_MINUTE
PER_TICK = 100_000
"""Value units of one linear lot per tick; 1,000 of them are one minor unit."""


def settled(out: Out) -> list[Any]:
    return [event for event in out.events if isinstance(event, InstrumentSettled)]


def until(state: State, at_ns: int, ticks: int) -> Out:
    """Tick at a time with fresh prices at `ticks`."""
    return move(state, ticks, after_ns=at_ns - state.scalar[AT_NS])


def expire(state: State, ticks: int) -> Out:
    """Reach the expiry with one sample."""
    return until(state, EXPIRY_NS, ticks)


def test_the_final_price_is_the_mean_of_the_window() -> None:
    state = house(2, contracts=[future(price_feed=0)])
    trade(state, FIRST, FIRST + 1, 1, 10, 50_000 * PER_TICK)
    until(state, EXPIRY_NS - WINDOW_NS - 1, 99_000)
    assert state.instrument[1, SETTLEMENT_SAMPLES] == 0
    until(state, EXPIRY_NS - WINDOW_NS, 60_000)
    until(state, EXPIRY_NS - NS_PER_MINUTE, 61_000)
    out = until(state, EXPIRY_NS, 61_001)
    # 182,001 over 3 is 60,667.
    assert settled(out) == [InstrumentSettled(1, 60_667)]
    gain = 10 * 10_667 * PER_TICK // 1_000
    assert balances(state, USD)[FIRST] == DEPOSIT + gain
    assert balances(state, USD)[FIRST + 1] == DEPOSIT - gain
    assert state.account[FIRST, POSITION_COUNT] == 0
    assert state.instrument[1, STATUS] == STATUS_SETTLED
    check_full(state)


def test_what_is_seen_after_expiry_does_not_count_if_the_window_was_sampled() -> None:
    state = house(0, contracts=[future(price_feed=0)])
    until(state, EXPIRY_NS - 1, 60_000)
    assert settled(until(state, EXPIRY_NS + NS_PER_HOUR, 70_000)) == [InstrumentSettled(1, 60_000)]


def test_a_settled_contract_settles_once() -> None:
    state = house(0, contracts=[future(price_feed=0)])
    assert len(settled(expire(state, 60_000))) == 1
    assert settled(move(state, 61_000)) == []
    assert state.instrument[1, MARK_TICKS] == 60_000


def test_without_a_fresh_sample_it_waits_and_nobody_trades() -> None:
    state = house(2, contracts=[future(price_feed=0)])
    trade(state, FIRST, FIRST + 1, 1, 10, 50_000 * PER_TICK)
    assert settled(tick(state, EXPIRY_NS)) == []
    assert state.instrument[1, STATUS] == STATUS_WAITING
    assert settled(tick(state, EXPIRY_NS + NS_PER_HOUR)) == []
    assert fill(state, 1, 50_000) == Reject.INSTRUMENT_CLOSED
    assert balances(state, USD)[FIRST] == DEPOSIT
    # The first fresh index settles, whatever time it is.
    assert settled(until(state, EXPIRY_NS + 2 * NS_PER_HOUR, 49_000)) == [
        InstrumentSettled(1, 49_000)
    ]
    assert balances(state, USD)[FIRST] == DEPOSIT - 10 * 1_000 * PER_TICK // 1_000
    assert fill(state, 1, 50_000) == Reject.INSTRUMENT_CLOSED


def fill(state: State, instrument: int, ticks: int) -> int:
    """Post one lot between the first two clients; return its code."""
    enter(state)
    ids = [state.account[row, ID] for row in (FIRST, FIRST + 1)]
    fills = Fills(
        np.array(ids[:1], np.int64),
        np.array(ids[1:], np.int64),
        np.array([instrument], np.int32),
        np.array([1], np.int64),
        np.array([ticks], np.int64),
        np.array([1], np.uint8),
    )
    results = np.zeros((1, RESULT_CELLS), np.int64)
    post_fills(fills, book_of(state), state.scalar[SEQ], 1, results)
    return int(results[0, 0])


def test_until_expiry_it_trades() -> None:
    state = house(2, contracts=[future(price_feed=0)])
    until(state, EXPIRY_NS - 1, 50_000)
    assert state.instrument[1, STATUS] == STATUS_TRADING
    assert fill(state, 1, 50_000) == 0


# Options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_call", "index", "payoff"),
    [
        *((True, 59_999, 0), (True, 60_000, 0), (True, 60_001, 1), (True, 75_000, 15_000)),
        *((False, 60_001, 0), (False, 60_000, 0), (False, 59_999, 1), (False, 100, 59_900)),
    ],
)
def test_an_option_closes_at_what_exercise_is_worth(is_call: bool, index: int, payoff: int) -> None:
    state = house(2, contracts=[option(is_call=is_call)])
    trade(state, FIRST, FIRST + 1, 1, 10, 2_000 * PER_TICK)
    premium = 10 * 2_000 * PER_TICK // 1_000
    assert balances(state, USD)[FIRST] == DEPOSIT - premium
    # The event tells the index; the strike makes the payoff of it.
    assert settled(expire(state, index)) == [InstrumentSettled(1, index)]
    assert balances(state, USD)[FIRST] == DEPOSIT - premium + 10 * payoff * PER_TICK // 1_000
    check_full(state)


def test_both_styles_of_an_option_end_with_the_same_money() -> None:
    results = []
    for style in (Style.PREMIUM, Style.VARIATION):
        state = house(2, contracts=[option(style=style)])
        trade(state, FIRST, FIRST + 1, 1, 10, 2_000 * PER_TICK)
        expire(state, 63_000)
        results.append(balances(state, USD))
    assert results[0] == results[1]


# Any contract, any positions ----------------------------------------------------------------

KINDS = [
    future(price_feed=0),
    future(price_feed=0, value_scale=10**6),
    inverse(kind=Kind.INVERSE_FUTURE, price_feed=0, funding_interval_ns=0, expiry_ns=EXPIRY_NS),
    option(),
    option(is_call=False, style=Style.VARIATION, value_scale=10**6, value_per_tick=99_999),
]
crowds = st.lists(
    st.tuples(
        st.integers(0, 5), st.integers(0, 5), st.integers(1, 1_000), st.integers(1_000, 90_000)
    ),
    max_size=12,
)


@given(st.sampled_from(KINDS), crowds, st.integers(1_000, 90_000))
def test_settlement_conserves_money(terms: InstrumentTerms, crowd: Any, index: int) -> None:
    """Σ balances stays zero, and once its residue is swept nothing is left in the contract."""
    state = house(6, contracts=[terms], deposits=[(USD, 10**12), (XBT, 10**12)])
    for buyer, seller, lots, ticks in crowd:
        if buyer != seller:
            worth = ticks * terms.value_per_tick or -(terms.inverse_numerator // ticks)
            trade(state, FIRST + buyer, FIRST + seller, 1, lots, worth)
    out = expire(state, index)
    step_rounding(state, out)
    assert settled(out)
    assert state.instrument[1, OPEN_INTEREST] == 0
    assert state.instrument[1, OPEN_COST] == 0
    assert state.instrument[1, VARIATION] == 0
    assert state.instrument[1, RESIDUAL] == 0
    for asset in (USD, XBT):
        assert int(state.used("accounts")[:, BALANCE + asset].sum()) == 0
    check_full(state)


@given(st.sampled_from(KINDS), st.integers(1, 1 << 40))
def test_the_final_price_keeps_to_the_listed_bounds(terms: InstrumentTerms, index: int) -> None:
    state = house(0, contracts=[terms], priced=False)
    ticks = compute_final_ticks(state, 1, index)
    assert 0 <= ticks <= terms.price_max
    if terms.kind != Kind.OPTION:
        assert ticks >= terms.price_min
        assert ticks == index or index < terms.price_min or index > terms.price_max
