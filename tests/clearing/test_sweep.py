"""Kernels against their plain twins: every figure of every account, to the last unit (MARG-*)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing import breakers, margin, marks
from seawall.clearing.kernels import classes
from seawall.clearing.kernels.sweep import EQUITY_MAX, FROZEN
from seawall.clearing.layout import (
    AT_NS,
    BALANCE,
    EQUITY,
    EVALUATED,
    HALT_UNTIL,
    INITIAL,
    MAINTENANCE,
    MARK_NOTIONAL,
    MARK_VALUE,
    MODE,
    PRICE,
    SEQ,
    STATE,
    TOUCHED,
)
from seawall.clearing.ledger import touch
from seawall.clearing.standing import class_of
from seawall.clearing.state import State
from seawall.protocol.commands import Mode, Style
from seawall.protocol.events import AccountState
from seawall.protocol.units import AMOUNT_MAX
from tests.clearing import builders, distress
from tests.clearing.builders import DEPOSIT, FIRST, INVERSE, LINEAR, USD, XBT
from tests.clearing.distress import Plan, Trade, figures, plans


def explained(state: State, row: int) -> tuple[int, int, int]:
    """Return what the plain twin says of an account as it stands."""
    told = margin.explain(state, margin.view_of(state, row))
    return told.equity_minor, told.maintenance_minor, told.initial_minor


def sweep_against_twin(state: State) -> list[int]:
    """Sweep, and compare each account with its twin from before the sweep; return the changed."""
    builders.enter(state)
    rows = list(distress.clients(state))
    expected = {row: explained(state, row) for row in rows}
    before = {row: figures(state, row) for row in rows}
    changed: list[int] = margin.sweep(state).tolist()
    for row in rows:
        assert figures(state, row) == expected[row]
    assert changed == [row for row in rows if before[row] != expected[row]]
    return changed


@given(plan=plans())
def test_sweep_equals_its_plain_twin(plan: Plan) -> None:
    state = distress.build(plan)
    sweep_against_twin(state)
    for ticks in plan.prices:
        builders.move(state, ticks)
        sweep_against_twin(state)


@given(plan=plans(), doubt=st.sampled_from((1, 2, 3)))
def test_sweep_equals_its_plain_twin_in_doubt(plan: Plan, doubt: int) -> None:
    state = distress.build(plan)
    sweep_against_twin(state)
    for ticks in plan.prices:
        # Only some of the sources speak, or none: too few, stale.
        at_ns = state.scalar[AT_NS] + 4 * 60 * 10**9
        sources = builders.SOURCES[: doubt - 1]
        if sources:
            feeds = {builders.INDEX_FEED: ticks, builders.TRADED_FEED: ticks}
            builders.publish(state, feeds, sources=sources, observed_ns=at_ns)
        builders.tick(state, at_ns)
        before = {row: figures(state, row) for row in distress.clients(state)}
        sweep_against_twin(state)
        if doubt == 1:
            for row in distress.clients(state):
                if marks.is_doubtful(state, row):
                    assert state.account[row, MAINTENANCE] >= before[row][1]
                    assert state.account[row, INITIAL] >= before[row][2]


@given(plan=plans())
def test_one_row_is_evaluated_as_the_sweep_does(plan: Plan) -> None:
    state = distress.build(plan)
    builders.move(state, plan.prices[0])
    expected = {row: explained(state, row) for row in distress.clients(state)}
    for row in distress.clients(state):
        flags = margin.evaluate_row(state, row)
        assert figures(state, row) == expected[row]
        assert state.account[row, EVALUATED] == state.scalar[SEQ]
        frozen = marks.is_doubtful(state, row) or breakers.account_halted(state, row)
        assert bool(flags & FROZEN) == frozen


@given(plan=plans(), halted=st.sampled_from((0, 1, 2, 3, 4)))
def test_classes_and_freezes_equal_their_plain_twins(plan: Plan, halted: int) -> None:
    state = distress.build(plan)
    builders.move(state, plan.prices[0])
    if halted:
        state.instrument[halted, HALT_UNTIL] = state.scalar[AT_NS] + 1
    margin.sweep(state)
    books, prices = margin.books_of(state), margin.prices_of(state)
    span = (FIRST, FIRST + distress.ACCOUNTS)
    rows, wanted = np.empty(span[1], np.int32), np.empty(span[1], np.int32)
    warn_ppb = state.parameter("warn_ppb")
    now_ns = state.scalar[AT_NS]
    count = classes.list_moves(books, prices, span, now_ns, warn_ppb, rows, wanted)
    moves = dict(zip(rows[:count].tolist(), wanted[:count].tolist(), strict=True))
    for row in distress.clients(state):
        frozen = marks.is_doubtful(state, row) or breakers.account_halted(state, row)
        assert bool(classes.read_flags(books, prices, row)) == frozen
        expected = class_of(state, row)
        if frozen:
            expected = min(expected, AccountState.CALLED)
        assert moves.get(row, AccountState.HEALTHY) == expected


@given(
    lots=st.lists(st.integers(-30_000, 30_000).filter(bool), min_size=15, max_size=40),
    ticks=st.integers(20_000, 90_000),
    mode=st.sampled_from((Mode.CROSS, Mode.PORTFOLIO)),
)
def test_positions_in_extension_rows_count(lots: list[int], ticks: int, mode: Mode) -> None:
    contracts = [builders.linear(name=f"P{i}", risk_unit=1 + i % 3) for i in range(40)]
    state = builders.house(2, mode=mode, contracts=contracts)
    for unit in (1, 3):
        held = [i for i in range(1, 41) if 1 + (i - 1) % 3 == unit]
        builders.attest(state, {i: [i, -2 * i, 500 - i] for i in held[1:]}, scale=50, unit=unit)
    for instrument, held_lots in enumerate(lots, 1):
        buyer, seller = (FIRST, FIRST + 1) if held_lots > 0 else (FIRST + 1, FIRST)
        value = 50_000 * 100_000
        builders.trade(state, buyer, seller, instrument, abs(held_lots), value)
    builders.move(state, ticks)
    sweep_against_twin(state)
    told = margin.explain(state, margin.view_of(state, FIRST))
    assert len(told.positions) == len(lots)
    assert bool(told.units) == (mode == Mode.PORTFOLIO)


@given(
    value=st.integers(-(1 << 62), 1 << 62),
    notional=st.integers(0, 1 << 62),
    price=st.integers(0, 1 << 62),
    balance=st.integers(-AMOUNT_MAX, AMOUNT_MAX),
    lots=st.integers(1, 10**6),
)
def test_nothing_wraps_whatever_the_words_say(
    value: int, notional: int, price: int, balance: int, lots: int
) -> None:
    """Beyond every bound that listing proves, figures saturate and stay comparable."""
    state = builders.house(2, deposits=())
    builders.trade(state, FIRST, FIRST + 1, INVERSE, lots, -(10**15) // 50_000)
    builders.trade(state, FIRST, FIRST + 1, LINEAR, lots, 50_000 * 100_000)
    for row, sign in ((FIRST, 1), (FIRST + 1, -1)):
        state.account[row, BALANCE + XBT] = sign * balance
        state.account[row, BALANCE + USD] = -sign * balance
    for instrument in (LINEAR, INVERSE):
        state.instrument[instrument, MARK_VALUE] = value
        state.instrument[instrument, MARK_NOTIONAL] = notional
    state.asset[XBT, PRICE] = price
    sweep_against_twin(state)
    for row in (FIRST, FIRST + 1):
        assert -AMOUNT_MAX <= state.account[row, EQUITY] <= EQUITY_MAX
        assert 0 <= state.account[row, MAINTENANCE] <= state.account[row, INITIAL] <= AMOUNT_MAX


def test_a_requirement_too_large_to_count_is_never_covered() -> None:
    state = builders.house(2, deposits=())
    builders.trade(state, FIRST, FIRST + 1, LINEAR, 10**6, 50_000 * 100_000)
    state.account[FIRST, BALANCE + USD] = AMOUNT_MAX
    state.instrument[LINEAR, MARK_NOTIONAL] = AMOUNT_MAX
    state.instrument[LINEAR, MARK_VALUE] = AMOUNT_MAX
    margin.sweep(state)
    assert state.account[FIRST, EQUITY] == EQUITY_MAX
    assert state.account[FIRST, INITIAL] == AMOUNT_MAX
    assert class_of(state, FIRST) != AccountState.HEALTHY


def test_only_accounts_that_are_due_are_evaluated() -> None:
    """CALL-01: positions, a state other than healthy, or a touch since the last evaluation."""
    state = builders.house(5)
    builders.trade(state, FIRST, FIRST + 1, LINEAR, 10, 50_000 * 100_000)
    builders.deposit(state, FIRST + 2, XBT, 10**8)
    state.account[FIRST + 3, STATE] = AccountState.WARNED
    for _ in range(3):
        builders.enter(state)
        margin.sweep(state)
    seq = state.scalar[SEQ]
    evaluated = [state.account[row, EVALUATED] == seq for row in distress.clients(state)]
    # The fourth is re-evaluated because it is warned; the last has nothing to re-evaluate.
    assert evaluated == [True, True, True, True, False]
    builders.enter(state)
    touch(state, FIRST + 4)
    margin.sweep(state)
    assert state.account[FIRST + 4, EVALUATED] == seq + 1
    assert state.account[FIRST + 4, TOUCHED] == seq + 1


def test_house_accounts_have_no_requirement() -> None:
    state = builders.house(2)
    builders.trade(state, distress.FUND, FIRST, LINEAR, 10, 50_000 * 100_000)
    margin.sweep(state)
    assert state.account[distress.FUND, EVALUATED] == 0
    assert state.account[distress.FUND, MAINTENANCE] == 0


@pytest.mark.parametrize("style", list(Style))
@pytest.mark.parametrize("is_call", [True, False])
@given(plan=plans(instruments=(4,)), strike=st.integers(30_000, 70_000))
def test_options_of_either_style_and_side_equal_their_twin(
    style: Style, is_call: bool, plan: Plan, strike: int
) -> None:
    contracts = (
        *builders.CONTRACTS[:3],
        builders.option(style=style, is_call=is_call, strike_ticks=strike),
    )
    state = distress.build(plan, contracts=contracts)
    for ticks in plan.prices:
        builders.move(state, ticks, after_ns=10**9)
        sweep_against_twin(state)


def test_an_idle_house_changes_nothing() -> None:
    state = builders.house(3)
    distress.open_trade(state, Trade(0, 1, LINEAR, 100, 50_000))
    builders.enter(state)
    assert margin.sweep(state).tolist() == [FIRST, FIRST + 1, FIRST + 2]
    builders.enter(state)
    assert margin.sweep(state).tolist() == []
    assert figures(state, FIRST + 2) == (DEPOSIT, 0, 0)
    assert state.account[FIRST, MODE] == Mode.CROSS
