"""Pre-trade check, what-if and free collateral: judged on copies, as the machine would judge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing import margin, whatif
from seawall.clearing.kernels.fills import RESULT_CELLS, Fills, post_fills
from seawall.clearing.layout import (
    AT_NS,
    BALANCE,
    CASE,
    EQUITY,
    HALT_UNTIL,
    INITIAL,
    LOTS_MAX,
    MAINTENANCE,
    STATUS,
)
from seawall.clearing.margin import Explained
from seawall.clearing.state import State
from seawall.clearing.trades import book_of
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Mode
from seawall.protocol.ids import FEES, account_row
from tests.clearing import builders, distress
from tests.clearing.builders import CALL, FIRST, FUTURE, INVERSE, LINEAR, USD, XBT
from tests.clearing.distress import Plan, Trade, plans

MICRO = 10**6


def check(state: State, instrument: int, lots: int, ticks: int = 50_000) -> Reject | None:
    """Ask whether the first account may trade; assert that asking changes nothing."""
    before = state.digest()
    code = whatif.check_order(state, distress.account(state, FIRST), instrument, lots, ticks)
    assert state.digest() == before
    return code


def small(dollars: int = 1_000, **changes: int) -> State:
    """Return a house whose first account has so many dollars and the second a million."""
    state = builders.house(2, deposits=(), parameters=distress.calm(**changes))
    builders.deposit(state, FIRST, USD, dollars * MICRO)
    builders.deposit(state, FIRST + 1, USD, 10**6 * MICRO)
    return state


# Pre-trade ----------------------------------------------------------------------------------


def test_an_order_must_leave_initial_covered_after_its_fee() -> None:
    """MARG-05: n lots at 5,000 USD need 0.1 n initial and 0.0025 n of fee: 9,756 lots at most."""
    state = small()
    assert check(state, LINEAR, 9_756) is None
    assert check(state, LINEAR, 9_757) == Reject.MARGIN_SHORT
    assert check(state, LINEAR, -9_756) is None
    assert check(state, LINEAR, -9_757) == Reject.MARGIN_SHORT


def test_a_price_off_the_mark_counts_at_once() -> None:
    """Buying 10 USD above the mark loses 0.01 USD a lot the moment it is done: 0.112505 in all."""
    state = small()
    assert check(state, LINEAR, 8_888, 50_100) is None
    assert check(state, LINEAR, 8_889, 50_100) == Reject.MARGIN_SHORT
    assert check(state, LINEAR, -10_000, 50_100) is None


def test_below_initial_only_what_reduces_passes() -> None:
    state = small()
    distress.open_trade(state, Trade(0, 1, LINEAR, 9_900, 50_000))
    distress.move(state, 49_800)
    assert state.account[FIRST, EQUITY] < state.account[FIRST, INITIAL]
    assert check(state, LINEAR, 1, 49_800) == Reject.MARGIN_SHORT
    assert check(state, LINEAR, -1, 49_800) is None
    assert check(state, LINEAR, -9_900, 49_800) is None
    # Through flat to the other side is new risk.
    assert check(state, LINEAR, -19_800, 49_800) == Reject.MARGIN_SHORT


def test_a_reduction_that_raises_maintenance_is_new_risk() -> None:
    """In portfolio mode the short future pays for the long perpetual: closing it is no relief."""
    state = small(700)
    state.account[FIRST, 2] = Mode.PORTFOLIO
    builders.attest(state, {LINEAR: [-20, 20], FUTURE: [-20, 20]}, scale=MICRO // 100)
    distress.open_trade(state, Trade(0, 1, LINEAR, 5_000, 50_000))
    distress.open_trade(state, Trade(1, 0, FUTURE, 5_000, 50_000))
    margin.sweep(state)
    assert state.account[FIRST, MAINTENANCE] == 0
    assert check(state, FUTURE, 1_000) is None
    assert check(state, FUTURE, 5_000) == Reject.MARGIN_SHORT


def test_doubt_halts_and_cases_forbid_new_risk_but_not_less_of_it() -> None:
    state = small()
    distress.open_trade(state, Trade(0, 1, LINEAR, 1_000, 50_000))
    for wanted in (Reject.ACCOUNT_LOCKED, Reject.HALTED, Reject.MARK_DOUBTFUL):
        # Each is a lower code than the one before, so it is the one that is answered.
        if wanted == Reject.ACCOUNT_LOCKED:
            state.account[FIRST, CASE] = 1
        elif wanted == Reject.HALTED:
            state.instrument[LINEAR, HALT_UNTIL] = 1 << 61
        else:
            builders.tick(state, state.scalar[AT_NS] + 10**12)
        assert check(state, LINEAR, 1) == wanted
        assert check(state, LINEAR, -1) is None
    assert check(state, LINEAR, 500_000) == Reject.MARGIN_SHORT


def test_opening_what_is_halted_or_doubtful_is_refused() -> None:
    state = small()
    state.instrument[LINEAR, HALT_UNTIL] = 1 << 61
    assert check(state, LINEAR, 1) == Reject.HALTED
    assert check(state, INVERSE, 1) is None
    assert check(state, CALL, 1, 1_000) == Reject.MARK_DOUBTFUL


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ((0, 1, 50_000), Reject.INSTRUMENT_UNKNOWN),
        ((99, 1, 50_000), Reject.INSTRUMENT_UNKNOWN),
        ((LINEAR, 0, 50_000), Reject.LOTS_RANGE),
        ((LINEAR, 1_000_001, 50_000), Reject.LOTS_RANGE),
        ((LINEAR, -1_000_001, 50_000), Reject.LOTS_RANGE),
        ((LINEAR, 1, 0), Reject.PRICE_RANGE),
        ((LINEAR, 1, -1), Reject.PRICE_RANGE),
        ((LINEAR, 1, 10_000_001), Reject.PRICE_RANGE),
    ],
)
def test_bad_orders_are_refused_by_name(order: tuple[int, int, int], code: Reject) -> None:
    assert check(small(), *order) == code


def test_unknown_accounts_and_closed_instruments_are_refused() -> None:
    state = small()
    assert whatif.check_order(state, 12345, LINEAR, 1, 50_000) == Reject.ACCOUNT_UNKNOWN
    assert whatif.evaluate(state, 12345) == Reject.ACCOUNT_UNKNOWN
    name = distress.account(state, FIRST)
    assert whatif.evaluate(state, name, [(99, 1, 1)]) == Reject.INSTRUMENT_UNKNOWN
    assert whatif.evaluate(state, name, [(LINEAR, 1, 0)]) == Reject.PRICE_RANGE
    state.instrument[LINEAR, STATUS] = 3
    assert check(state, LINEAR, 1) == Reject.INSTRUMENT_CLOSED


def test_limits_of_lots_amounts_and_slots_are_checked_last() -> None:
    contracts = [builders.linear(name=f"P{i}", lots_max=100) for i in range(17)]
    state = builders.house(2, contracts=contracts)
    builders.trade(state, FIRST, FIRST + 1, 1, 60, 50_000 * 100_000)
    assert check(state, 1, 41) == Reject.LOTS_LIMIT
    for instrument in range(2, 17):
        builders.trade(state, FIRST, FIRST + 1, instrument, 1, 50_000 * 100_000)
    assert check(state, 17, 1) is None
    state.scalar[5] = 0
    assert check(state, 17, 1) == Reject.POSITIONS_FULL
    assert check(state, 16, 1) is None
    state.account[FIRST, BALANCE + USD] = (1 << 62) - 1
    # Selling far above the entry realises a gain that the balance cannot hold.
    assert check(state, 1, -60, 10_000_000) == Reject.AMOUNT_OVERFLOW


@given(
    plan=plans(),
    lots=st.integers(-60_000, 60_000).filter(bool),
    ticks=st.integers(45_000, 55_000),
    instrument=st.sampled_from(distress.INSTRUMENTS),
)
def test_a_checked_order_leaves_what_the_check_foresaw(
    plan: Plan, lots: int, ticks: int, instrument: int
) -> None:
    """The copy trades as the fills kernel does, fee included: same balance, cost and figures."""
    state = distress.build(plan)
    builders.move(state, plan.prices[0])
    name, before = distress.account(state, FIRST), margin.view_of(state, FIRST)
    told = whatif.evaluate(state, name, [(instrument, lots, ticks)])
    assert isinstance(told, Explained)
    allowed = whatif.check_order(state, name, instrument, lots, ticks)
    other = distress.account(state, FIRST + 1)
    buyer, seller = (name, other) if lots > 0 else (other, name)
    fills = Fills(
        np.array([buyer]),
        np.array([seller]),
        np.array([instrument], np.int32),
        np.array([abs(lots)]),
        np.array([ticks]),
        np.array([lots > 0], np.uint8),
    )
    results = np.zeros((1, RESULT_CELLS), np.int64)
    post_fills(fills, book_of(state), state.scalar[0], account_row(FEES), results)
    assert results[0, 0] == 0
    after = margin.explain(state, margin.view_of(state, FIRST))
    assert [term.balance_minor for term in after.assets if term.balance_minor] == [
        term.balance_minor for term in told.assets if term.balance_minor
    ]
    held = {term.instrument_id: (term.lots, term.cost) for term in after.positions}
    assert held == {term.instrument_id: (term.lots, term.cost) for term in told.positions}
    assert after.equity_minor == told.equity_minor
    assert after.maintenance_minor == told.maintenance_minor
    if allowed is None and after.equity_minor < after.initial_minor:
        held_before = before.positions.get(instrument, (0, 0))[0]
        assert abs(held_before + lots) < abs(held_before)
    if allowed == Reject.MARGIN_SHORT:
        assert after.equity_minor < after.initial_minor


# What leaves --------------------------------------------------------------------------------


def free(state: State, asset: int, amount: int) -> Reject | None:
    before = state.digest()
    code = whatif.free_collateral(state, FIRST, asset, amount)
    assert state.digest() == before
    return code


def test_what_initial_needs_stays() -> None:
    """MARG-06: 1,000 USD less an initial of 100."""
    state = small()
    distress.open_trade(state, Trade(0, 1, LINEAR, 1_000, 50_000))
    assert free(state, USD, 900 * MICRO) is None
    assert free(state, USD, 900 * MICRO + 1) == Reject.MARGIN_SHORT
    assert free(state, USD, 1_000 * MICRO + 1) == Reject.BALANCE_SHORT


def test_unrealised_gains_do_not_leave_and_losses_count() -> None:
    state = small()
    distress.open_trade(state, Trade(0, 1, LINEAR, 1_000, 50_000))
    distress.move(state, 60_000)
    # Equity is 2,000 USD and initial 120; only the 1,000 that were brought in are there to go.
    assert state.account[FIRST, EQUITY] == 2_000 * MICRO
    assert free(state, USD, 880 * MICRO) is None
    assert free(state, USD, 880 * MICRO + 1) == Reject.MARGIN_SHORT
    distress.move(state, 45_000)
    assert free(state, USD, 410 * MICRO) is None
    assert free(state, USD, 410 * MICRO + 1) == Reject.MARGIN_SHORT


def test_a_gain_in_coins_does_not_free_dollars() -> None:
    state = small()
    distress.open_trade(state, Trade(0, 1, INVERSE, 5_000, 50_000))
    distress.move(state, 60_000)
    initial = state.account[FIRST, INITIAL]
    assert state.account[FIRST, EQUITY] > 1_700 * MICRO
    assert free(state, USD, 1_000 * MICRO - initial) is None
    assert free(state, USD, 1_000 * MICRO - initial + 1) == Reject.MARGIN_SHORT
    assert free(state, XBT, 1) == Reject.BALANCE_SHORT


def test_doubt_halts_and_cases_lock_what_is_there() -> None:
    state = small()
    distress.open_trade(state, Trade(0, 1, LINEAR, 1_000, 50_000))
    state.account[FIRST, CASE] = 1
    assert free(state, USD, 1) == Reject.ACCOUNT_LOCKED
    state.instrument[LINEAR, HALT_UNTIL] = 1 << 61
    assert free(state, USD, 1) == Reject.HALTED
    builders.tick(state, state.scalar[AT_NS] + 10**12)
    assert free(state, USD, 1) == Reject.MARK_DOUBTFUL


def test_the_last_doubtful_coin_does_not_leave() -> None:
    """After the withdrawal nothing would be in doubt any more; before it everything is."""
    state = builders.house(2, deposits=((XBT, 10**8),))
    builders.tick(state, state.scalar[AT_NS] + 10**12)
    assert free(state, XBT, 10**8) == Reject.MARK_DOUBTFUL


@given(plan=plans(), asset=st.sampled_from((USD, XBT)), amount=st.integers(1, 10**10))
def test_what_may_leave_leaves_initial_covered(plan: Plan, asset: int, amount: int) -> None:
    state = distress.build(plan)
    builders.move(state, plan.prices[0])
    code = free(state, asset, amount)
    builders.deposit(state, FIRST, asset, -amount)
    margin.sweep(state)
    covered = state.account[FIRST, EQUITY] >= state.account[FIRST, INITIAL]
    if code is None:
        assert covered
        assert state.account[FIRST, BALANCE + asset] >= 0
    if state.account[FIRST, BALANCE + asset] < 0:
        assert code == Reject.BALANCE_SHORT
    elif not covered:
        assert code == Reject.MARGIN_SHORT


def test_an_account_is_explained_as_it_stands() -> None:
    state = small()
    distress.open_trade(state, Trade(0, 1, LINEAR, 1_000, 50_000))
    distress.move(state, 51_000)
    told = whatif.evaluate(state, distress.account(state, FIRST))
    assert isinstance(told, Explained)
    assert told.equity_minor == state.account[FIRST, EQUITY]
    assert told.initial_minor == state.account[FIRST, INITIAL]
    fund = whatif.evaluate(state, distress.account(state, distress.FUND))
    assert isinstance(fund, Explained)
    assert fund.raw_equity_minor == 0
    assert state.instrument[LINEAR, LOTS_MAX] == 10**6
