"""Warned, called, met, overdue: who is told what, and when nothing is done (CALL-*, MARK-05)."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing import breakers, calls, margin, marks
from seawall.clearing.layout import (
    AT_NS,
    CALL_DEADLINE,
    CASE,
    EQUITY,
    INITIAL,
    MAINTENANCE,
    MARGIN_CALLS,
    STATE,
)
from seawall.clearing.state import State
from seawall.protocol.codec import unpack_int64
from seawall.protocol.commands import SetHalt
from seawall.protocol.effects import PlaceOrder
from seawall.protocol.events import (
    AccountsMoved,
    AccountState,
    CallIssued,
    CallMet,
    CallOverdue,
    Deleveraged,
    Grade,
    LiquidationStarted,
    PositionTransferred,
    Posted,
    ShortfallFound,
    Why,
)
from seawall.protocol.units import NS_PER_HOUR, NS_PER_MINUTE
from tests.clearing import builders, distress
from tests.clearing.builders import CALL, FIRST, INDEX_FEED, LINEAR, USD
from tests.clearing.distress import Plan, Trade, calm, of, plans

MICRO = 10**6


def long_of(lots: int = 20_000, *, dollars: int = 10_000, **changes: int) -> State:
    """Return a house whose first account is long at 5,000 USD with so many dollars.

    With 20,000 lots (100,000 USD; just in the second tier) maintenance is 1,000 USD and initial
    2,000 USD at that price; each tick of 0.1 USD moves equity by 2 USD.
    """
    state = builders.house(3, deposits=(), parameters=calm(**changes))
    builders.deposit(state, FIRST, USD, dollars * MICRO)
    builders.deposit(state, FIRST + 1, USD, 10**6 * MICRO)
    distress.open_trade(state, Trade(0, 1, LINEAR, lots, 50_000))
    return state


def standing(state: State, row: int = FIRST) -> AccountState:
    return AccountState(state.account[row, STATE])


def test_an_account_is_warned_called_and_recovers() -> None:
    state = long_of()
    assert standing(state) == AccountState.HEALTHY
    # 3,800 ticks down: 2,400 USD of equity against 1,848 of initial, times 1.25 is 2,310.
    assert not of(distress.move(state, 46_200), AccountsMoved)
    out = distress.move(state, 46_100)
    assert standing(state) == AccountState.WARNED
    (moved,) = of(out, AccountsMoved)
    cells = (2_200 * MICRO, 922 * MICRO, 1_844 * MICRO)
    names = (distress.account(state, FIRST), AccountState.HEALTHY, AccountState.WARNED)
    assert tuple(unpack_int64(moved.cells)) == (*names, *cells)
    assert not of(out, CallIssued)

    out = distress.move(state, 45_800)
    (call,) = of(out, CallIssued)
    assert standing(state) == AccountState.CALLED
    assert call.amount_minor == (1_832 - 1_600) * MICRO
    assert call.deadline_ns == state.scalar[AT_NS] + NS_PER_HOUR
    assert state.account[FIRST, CALL_DEADLINE] == call.deadline_ns
    assert state.scalar[MARGIN_CALLS] == 1

    assert not of(distress.move(state, 45_810), CallIssued)
    assert state.account[FIRST, CALL_DEADLINE] == call.deadline_ns
    out = distress.move(state, 48_000)
    assert of(out, CallMet) == [CallMet(distress.account(state, FIRST))]
    assert standing(state) == AccountState.HEALTHY
    assert state.account[FIRST, CALL_DEADLINE] == 0


def test_bringing_exactly_what_was_called_meets_the_call() -> None:
    state = long_of()
    (call,) = of(distress.move(state, 45_800), CallIssued)
    builders.deposit(state, FIRST, USD, call.amount_minor)
    assert of(distress.move(state, 45_800), CallMet)
    assert state.account[FIRST, EQUITY] == state.account[FIRST, INITIAL]
    assert standing(state) == AccountState.WARNED


def test_equity_equal_to_maintenance_is_called_and_one_unit_less_is_liquidated() -> None:
    """Hyperliquid, liquidations: an account at its maintenance is not liquidated, below it is."""
    state = long_of()
    distress.move(state, 45_600)
    gap = state.account[FIRST, EQUITY] - state.account[FIRST, MAINTENANCE]
    assert gap > 0
    builders.deposit(state, FIRST, USD, -gap)
    distress.move(state, 45_600)
    assert state.account[FIRST, EQUITY] == state.account[FIRST, MAINTENANCE]
    assert standing(state) == AccountState.CALLED
    builders.deposit(state, FIRST, USD, -1)
    out = distress.move(state, 45_600)
    (started,) = of(out, LiquidationStarted)
    assert started.maintenance_minor - started.equity_minor == 1
    assert not started.overdue
    assert standing(state) == AccountState.LIQUIDATING
    assert state.account[FIRST, CASE] == 1
    assert state.account[FIRST, CALL_DEADLINE] == 0


def test_a_call_overdue_starts_liquidation_the_instant_after_its_deadline() -> None:
    state = long_of()
    (call,) = of(distress.move(state, 45_800), CallIssued)
    left_ns = call.deadline_ns - state.scalar[AT_NS]
    while left_ns > NS_PER_MINUTE:
        assert not of(distress.move(state, 45_800), CallOverdue)
        left_ns -= NS_PER_MINUTE
    assert not of(distress.move(state, 45_800, after_ns=left_ns), CallOverdue)
    out = distress.move(state, 45_800, after_ns=1)
    assert of(out, CallOverdue) == [CallOverdue(distress.account(state, FIRST))]
    (started,) = of(out, LiquidationStarted)
    assert started.overdue
    assert standing(state) == AccountState.LIQUIDATING
    # The order goes out in the same step: above maintenance is not good enough any more.
    assert [effect.lots for effect in out.effects if isinstance(effect, PlaceOrder)] == [-5_000]


def test_a_debt_without_positions_is_liquidated() -> None:
    state = long_of()
    builders.deposit(state, FIRST + 2, USD, -1)
    out = distress.move(state, 50_000)
    assert [event.account_id for event in of(out, LiquidationStarted)] == [
        distress.account(state, FIRST + 2)
    ]
    assert distress.is_empty(state, FIRST + 2)
    assert of(out, ShortfallFound)[0].shortfall_minor == 1


def test_a_halted_account_is_called_and_liquidated_when_the_halt_ends() -> None:
    state = long_of()
    until_ns = state.scalar[AT_NS] + 10 * NS_PER_MINUTE
    halt = SetHalt(LINEAR, until_ns)
    assert breakers.apply_set_halt(state, halt, builders.OPERATE, builders.enter(state)) is None
    out = distress.move(state, 45_300)
    assert standing(state) == AccountState.CALLED
    assert not of(out, LiquidationStarted)
    while state.scalar[AT_NS] + NS_PER_MINUTE < until_ns:
        out = distress.move(state, 45_300)
        assert not of(out, LiquidationStarted)
        assert not out.effects
    out = distress.move(state, 45_300)
    assert len(of(out, LiquidationStarted)) == 1


def test_a_deadline_waits_for_the_doubt_to_end() -> None:
    state = long_of()
    distress.move(state, 45_800)
    assert standing(state) == AccountState.CALLED
    out = distress.blind(state, after_ns=3 * NS_PER_HOUR)
    assert not of(out, CallOverdue)
    assert standing(state) == AccountState.CALLED
    out = distress.move(state, 45_800)
    assert len(of(out, CallOverdue)) == 1


def test_more_cases_than_rows_wait_called_the_most_distressed_first() -> None:
    limits = msgspec.structs.replace(builders.LIMITS, cases_max=2)
    state = builders.house(4, deposits=(), parameters=calm(), limits=limits)
    builders.deposit(state, FIRST + 3, USD, 10**6 * MICRO)
    for row, dollars in ((0, 5_100), (1, 5_000), (2, 5_150)):
        builders.deposit(state, FIRST + row, USD, dollars * MICRO)
        distress.open_trade(state, Trade(row, 3, LINEAR, 10_000, 50_000))
    out = distress.move(state, 45_300)
    started = [event.account_id for event in of(out, LiquidationStarted)]
    assert started == [distress.account(state, FIRST + 1), distress.account(state, FIRST)]
    assert state.account[FIRST + 2, EQUITY] < state.account[FIRST + 2, MAINTENANCE]
    assert standing(state, FIRST + 2) == AccountState.CALLED
    assert [event.account_id for event in of(out, CallIssued)] == [
        distress.account(state, FIRST + 2)
    ]


ACTIONS = (
    CallOverdue,
    LiquidationStarted,
    PositionTransferred,
    ShortfallFound,
    Deleveraged,
)


@given(plan=plans(), speaking=st.integers(0, 1), steps=st.integers(1, 3))
def test_doubt_freezes_everything(plan: Plan, speaking: int, steps: int) -> None:
    """MARK-05: while any grade is not fresh nothing is liquidated and no requirement falls."""
    state = distress.build(plan, parameters=calm())
    distress.settle_tick(state, builders.enter(state))
    cases = {row: state.account[row, CASE] for row in distress.clients(state)}
    # What was last published is out of date from now on; at most one source goes on speaking.
    state.scalar[AT_NS] += 4 * NS_PER_MINUTE
    for ticks in (plan.prices * steps)[:steps]:
        at_ns = state.scalar[AT_NS] + NS_PER_MINUTE
        if speaking:
            feeds = {INDEX_FEED: ticks}
            builders.publish(state, feeds, sources=(builders.SOURCE_A,), observed_ns=at_ns)
        out = builders.tick(state, at_ns)
        assert state.instrument[LINEAR, 20] != Grade.FRESH
        before = {row: distress.figures(state, row) for row in distress.clients(state)}
        doubtful = {row for row in distress.clients(state) if marks.is_doubtful(state, row)}
        distress.settle_tick(state, out)
        distress.check_books(state)
        touched = {event.account_id for event in of(out, LiquidationStarted)}
        for row in sorted(doubtful):
            assert distress.account(state, row) not in touched
            assert state.account[row, CASE] == cases[row]
            assert state.account[row, MAINTENANCE] >= before[row][1]
            assert state.account[row, INITIAL] >= before[row][2]
        assert not [effect for effect in out.effects if isinstance(effect, PlaceOrder)]
        assert not of(out, PositionTransferred)
        assert not of(out, Deleveraged)


@given(plan=plans())
def test_states_follow_figures(plan: Plan) -> None:
    """CALL-02: after every tick each account without a case is where its figures put it."""
    state = distress.build(plan, parameters=calm())
    for ticks in plan.prices:
        out = distress.move(state, ticks)
        moved = [unpack_int64(event.cells) for event in of(out, AccountsMoved)]
        sharing = {event.account_id for event in of(out, Deleveraged)}
        for posted in of(out, Posted):
            if posted.why == Why.SOCIALISED_LOSS:
                sharing |= set(unpack_int64(posted.accounts))
        last = {cells[i]: cells[i + 2] for cells in moved for i in range(0, len(cells), 6)}
        for row in distress.clients(state):
            name, now = distress.account(state, row), standing(state, row)
            assert last.get(name, now) == now
            assert bool(state.account[row, CASE]) == (now == AccountState.LIQUIDATING)
            assert bool(state.account[row, CALL_DEADLINE]) == (now == AccountState.CALLED)
            if marks.is_doubtful(state, row) or breakers.account_halted(state, row):
                continue
            # Who shared a loss after the calls of this tick moves with the next one.
            if name in sharing:
                continue
            if now in (AccountState.HEALTHY, AccountState.WARNED):
                assert state.account[row, EQUITY] >= state.account[row, INITIAL]
            if now == AccountState.CALLED:
                assert state.account[row, EQUITY] < state.account[row, INITIAL]


def test_an_option_without_arrays_freezes_its_holder() -> None:
    state = long_of()
    builders.trade(state, FIRST, FIRST + 1, CALL, 1, 10**8)
    out = distress.move(state, 40_000)
    assert margin.evaluate_row(state, FIRST)
    assert not of(out, LiquidationStarted)
    assert standing(state) == AccountState.CALLED


def test_a_calm_house_moves_nobody() -> None:
    state = long_of()
    margin.sweep(state)
    out = builders.enter(state)
    calls.step_calls(state, out)
    assert not out.events
