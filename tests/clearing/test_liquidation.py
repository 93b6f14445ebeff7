"""Cases: in which order, by which orders, until when; and how the fund sells (LIQD-*, WTRF-01)."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing import cases, liquidation
from seawall.clearing.layout import (
    AT_NS,
    CASE,
    CASE_DEADLINE,
    CASE_ORDER_PENDING,
    CASE_ORDERS,
    CASES_OPEN,
    EQUITY,
    HALT_UNTIL,
    ID,
    INITIAL,
    LIQUIDATIONS,
    MAINTENANCE,
    MARK_TICKS,
    PRICE_MAX,
    PRICE_MIN,
    STATE,
    STATUS,
)
from seawall.clearing.liquidation import compute_slice
from seawall.clearing.state import State
from seawall.protocol.commands import EffectStatus, Style
from seawall.protocol.effects import PlaceOrder
from seawall.protocol.events import (
    AccountState,
    CallIssued,
    CaseEnd,
    EffectExpired,
    LiquidationEnded,
    LiquidationStarted,
    PositionTransferred,
)
from seawall.protocol.ids import account_row
from seawall.protocol.units import NS_PER_MINUTE, PPB
from tests.clearing import builders, distress
from tests.clearing.builders import CALL, FIRST, FUTURE, INVERSE, LINEAR, USD
from tests.clearing.distress import FUND, Plan, Trade, calm, of, plans

MICRO = 10**6
RICH = FIRST + 3


def distressed(*dollars: int, lots: int = 20_000, **changes: int) -> State:
    """Return a house whose first accounts are long at 5,000 USD against a rich one.

    With 20,000 lots maintenance is about 1,000 USD and each tick of 0.1 USD moves equity by 2 USD.
    """
    state = builders.house(4, deposits=(), parameters=calm(**changes))
    builders.deposit(state, RICH, USD, 10**6 * MICRO)
    for place, amount in enumerate(dollars):
        builders.deposit(state, FIRST + place, USD, amount * MICRO)
        distress.open_trade(state, Trade(place, 3, LINEAR, lots, 50_000))
    return state


def one_order(state: State) -> tuple[tuple[int, int], PlaceOrder]:
    ((key, order),) = distress.orders(state).items()
    return key, order


# Orders -------------------------------------------------------------------------------------


def test_a_slice_is_ordered_and_remembered() -> None:
    """LIQD-03: a quarter of 20,000 lots, 2 % under the mark, for two minutes."""
    state = distressed(10_000)
    out = distress.move(state, 45_401)
    (started,) = of(out, LiquidationStarted)
    assert started.equity_minor == (10_000 - 9_198) * MICRO
    key, order = one_order(state)
    expires_ns = state.scalar[AT_NS] + 2 * NS_PER_MINUTE
    # 45,401 * 0.98 = 44,492.98, rounded down: away from the mark.
    wanted = PlaceOrder(expires_ns, distress.account(state, FIRST), LINEAR, -5_000, 44_492)
    assert order == wanted == out.effects[0]
    assert state.tables.outbox[key].case == 1
    assert state.case[0, CASE_ORDER_PENDING] == state.case[0, CASE_ORDERS] == 1
    assert state.scalar[LIQUIDATIONS] == 1


def test_one_order_at_a_time_and_the_next_when_it_is_reported() -> None:
    """LIQD-04."""
    state = distressed(10_000)
    distress.move(state, 45_400)
    key, _ = one_order(state)
    distress.move(state, 45_400)
    assert one_order(state)[0] == key
    distress.report(state, key, EffectStatus.FAILED)
    assert not distress.orders(state)
    distress.move(state, 45_400)
    assert one_order(state)[1].lots == -5_000
    assert state.case[0, CASE_ORDERS] == 2


def test_an_expired_order_frees_its_case() -> None:
    state = distressed(10_000)
    distress.move(state, 45_400)
    key, _ = one_order(state)
    out = distress.move(state, 45_400, after_ns=2 * NS_PER_MINUTE + 1)
    assert of(out, EffectExpired) == [EffectExpired(*key)]
    assert one_order(state)[0] != key


def test_slices_restore_the_account() -> None:
    """LIQD-02: at 1.1 times maintenance the case ends and the rest of the position stays."""
    state = distressed(10_000)
    distress.move(state, 45_400)
    key, _ = one_order(state)
    distress.fill(state, key, RICH, ticks=45_400)
    out = distress.move(state, 45_400)
    assert of(out, LiquidationEnded) == [
        LiquidationEnded(distress.account(state, FIRST), CaseEnd.RESTORED, 800 * MICRO)
    ]
    # 15,000 lots require 681 USD; 800 is more than 749.1 but less than the initial 1,362.
    assert state.account[FIRST, STATE] == AccountState.CALLED
    assert of(out, CallIssued)[0].amount_minor == (1_362 - 800) * MICRO
    assert state.account[FIRST, CASE] == 0
    assert state.scalar[CASES_OPEN] == 0
    assert distress.lots_of(state, FIRST) == {LINEAR: 15_000}


def test_restored_means_the_level_rounded_up() -> None:
    state = distressed(10_000)
    distress.move(state, 45_400)
    state.account[FIRST, MAINTENANCE] = 101
    for equity, restored in ((111, False), (112, True)):
        state.account[FIRST, EQUITY] = equity
        assert liquidation.is_restored(state, 0) == restored


def test_an_overdue_case_ends_at_initial_not_before() -> None:
    state = distressed(10_000, call_deadline_ns=0)
    distress.move(state, 45_900)
    distress.move(state, 45_900)
    assert state.account[FIRST, STATE] == AccountState.LIQUIDATING
    assert state.account[FIRST, EQUITY] > 11 * state.account[FIRST, MAINTENANCE] // 10
    key, _ = one_order(state)
    distress.fill(state, key, RICH, ticks=45_900)
    out = distress.move(state, 45_900)
    assert of(out, LiquidationEnded)[0].end == CaseEnd.RESTORED
    assert state.account[FIRST, EQUITY] >= state.account[FIRST, INITIAL]
    assert state.account[FIRST, STATE] < AccountState.CALLED


def test_a_pending_order_is_withdrawn_when_the_case_ends() -> None:
    """What is no longer wanted leaves the outbox: it must not trade for a restored account."""
    state = distressed(10_000)
    distress.move(state, 45_400)
    key, _ = one_order(state)
    out = distress.move(state, 49_000)
    assert of(out, LiquidationEnded)[0].end == CaseEnd.RESTORED
    assert of(out, EffectExpired) == [EffectExpired(*key)]
    assert not state.tables.outbox


def test_out_of_time_the_fund_takes_over() -> None:
    """LIQD-05 (a): everything moves, and what the account was worth stays with the fund."""
    state = distressed(10_000, liquidation_deadline_ns=3 * NS_PER_MINUTE)
    distress.move(state, 45_400)
    assert state.case[0, CASE_DEADLINE] == state.scalar[AT_NS] + 3 * NS_PER_MINUTE
    for _ in range(2):
        assert not of(distress.move(state, 45_400), PositionTransferred)
    out = distress.move(state, 45_400)
    ended = LiquidationEnded(distress.account(state, FIRST), CaseEnd.TAKEN_OVER, 800 * MICRO)
    assert of(out, LiquidationEnded) == [ended]
    assert distress.is_empty(state, FIRST)
    assert state.account[FIRST, STATE] == AccountState.HEALTHY
    assert distress.lots_of(state, FUND) == {LINEAR: 20_000}


def test_a_case_waits_while_its_outbox_is_full() -> None:
    limits = msgspec.structs.replace(builders.LIMITS, outbox_max=1)
    state = builders.house(4, deposits=(), parameters=calm(), limits=limits)
    builders.deposit(state, RICH, USD, 10**6 * MICRO)
    for place in range(2):
        builders.deposit(state, FIRST + place, USD, 10_000 * MICRO)
        distress.open_trade(state, Trade(place, 3, LINEAR, 20_000, 50_000))
    distress.move(state, 45_400)
    key, order = one_order(state)
    assert order.account_id == distress.account(state, FIRST)
    assert state.case[1, CASE_ORDER_PENDING] == 0
    distress.report(state, key, EffectStatus.FAILED)
    distress.move(state, 45_400)
    assert len(distress.orders(state)) == 1


def test_orders_and_takeovers_are_paced_by_a_budget() -> None:
    state = distressed(10_000, 9_990, 10_010, orders_per_tick_max=2)
    distress.move(state, 45_400)
    assert state.scalar[CASES_OPEN] == 3
    # The least distressed of the three waits.
    names = [order.account_id for order in distress.orders(state).values()]
    assert names == [distress.account(state, FIRST + 1), distress.account(state, FIRST)]
    distress.move(state, 45_400)
    assert len(distress.orders(state)) == 3


@given(
    lots=st.integers(-(10**6), 10**6).filter(bool),
    slice_ppb=st.integers(0, PPB),
    band_ppb=st.integers(0, PPB),
    ticks=st.integers(2_000, 90_000),
    instrument=st.sampled_from((LINEAR, INVERSE)),
)
def test_orders_only_reduce_and_never_ask_for_better_than_the_band(
    lots: int, slice_ppb: int, band_ppb: int, ticks: int, instrument: int
) -> None:
    changes = {"slice_ppb": slice_ppb, "order_band_ppb": band_ppb}
    contracts = (builders.linear(**changes), builders.inverse(**changes))
    state = builders.house(2, contracts=contracts)
    sides = (FIRST, FIRST + 1) if lots > 0 else (FIRST + 1, FIRST)
    builders.trade(state, *sides, instrument, abs(lots), 0)
    builders.move(state, ticks)
    order = compute_slice(state, FIRST)
    assert order is not None
    size = abs(order.lots)
    assert (order.lots > 0) == (lots < 0)
    assert 1 <= size <= abs(lots)
    # Rounded up: one lot less would be less than the share asked for.
    assert (size - 1) * PPB < abs(lots) * slice_ppb or size == 1
    assert size * PPB >= abs(lots) * slice_ppb
    mark = state.instrument[instrument, MARK_TICKS]
    exact = Fraction(mark * (PPB - band_ppb if lots > 0 else PPB + band_ppb), PPB)
    least, most = state.instrument[instrument, PRICE_MIN], state.instrument[instrument, PRICE_MAX]
    if least < order.limit_ticks < most:
        beyond = exact - order.limit_ticks if lots > 0 else order.limit_ticks - exact
        assert 0 <= beyond < 1
    assert least <= order.limit_ticks <= most


def test_the_position_that_requires_most_goes_first_then_the_lower_id() -> None:
    state = builders.house(2)
    builders.trade(state, FIRST, FIRST + 1, FUTURE, 1_000, 0)
    builders.trade(state, FIRST, FIRST + 1, LINEAR, 1_000, 0)
    order = compute_slice(state, FIRST)
    assert order is not None
    assert order.instrument_id == LINEAR
    builders.trade(state, FIRST, FIRST + 1, FUTURE, 1, 0)
    order = compute_slice(state, FIRST)
    assert order is not None
    assert order.instrument_id == FUTURE
    # What does not trade cannot be ordered.
    state.instrument[FUTURE, STATUS] = 3
    order = compute_slice(state, FIRST)
    assert order is not None
    assert order.instrument_id == LINEAR
    state.instrument[LINEAR, STATUS] = 2
    assert compute_slice(state, FIRST) is None


def test_a_paid_option_is_sold_too_when_nothing_else_is_left() -> None:
    state = builders.house(2, contracts=(*builders.CONTRACTS[:3], builders.option()))
    builders.attest(state, {CALL: [0]}, values={CALL: 10**8})
    builders.trade(state, FIRST, FIRST + 1, CALL, 8, 10**8)
    builders.move(state, 50_000)
    order = compute_slice(state, FIRST)
    assert order is not None
    assert (order.instrument_id, order.lots) == (CALL, -2)
    assert state.instrument[CALL, 2] == Style.PREMIUM


@pytest.mark.parametrize("cause", ["doubt", "halt"])
def test_a_frozen_case_waits_even_beyond_its_deadline(cause: str) -> None:
    """LIQD-02: no order, no takeover, no release, until prices are good and the halt is over."""
    state = distressed(10_000, liquidation_deadline_ns=2 * NS_PER_MINUTE)
    distress.move(state, 45_400)
    key, _ = one_order(state)
    distress.report(state, key, EffectStatus.FAILED)
    before = distress.figures(state, FIRST)
    for _ in range(3):
        if cause == "doubt":
            out = distress.blind(state, after_ns=4 * NS_PER_MINUTE)
        else:
            state.instrument[LINEAR, HALT_UNTIL] = state.scalar[AT_NS] + 2 * NS_PER_MINUTE
            out = distress.move(state, 45_400)
        assert not out.effects
        assert not of(out, LiquidationEnded)
        assert state.account[FIRST, CASE] == 1
        assert state.account[FIRST, MAINTENANCE] >= before[1]
    state.instrument[LINEAR, HALT_UNTIL] = 0
    assert of(distress.move(state, 45_400), LiquidationEnded)[0].end == CaseEnd.TAKEN_OVER


# Order of cases -----------------------------------------------------------------------------


def test_the_more_distressed_comes_first_whatever_its_size() -> None:
    """LIQD-01: relative shortfall, then size, then account id."""
    state = builders.house(5, deposits=())
    figures = ((900, 1_000), (80, 100), (8, 10), (-1, 0), (800, 1_000))
    for row, (equity, maintenance) in enumerate(figures, FIRST):
        state.account[row, EQUITY], state.account[row, MAINTENANCE] = equity, maintenance
    ranked = sorted(distress.clients(state), key=lambda row: cases.priority(state, row))
    assert [row - FIRST for row in ranked] == [3, 4, 1, 2, 0]


@given(
    figures=st.lists(
        st.tuples(
            st.integers(-(1 << 62) + 1, (1 << 62) - 2),
            st.one_of(st.integers(0, 6), st.integers(0, (1 << 62) - 1)),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_priority_is_a_total_order_by_exact_ratios(figures: list[tuple[int, int]]) -> None:
    state = builders.house(len(figures), deposits=())
    for row, (equity, maintenance) in enumerate(figures, FIRST):
        state.account[row, EQUITY], state.account[row, MAINTENANCE] = equity, maintenance

    def exact(row: int) -> tuple[bool, Fraction, int, int]:
        equity, maintenance = state.account[row, EQUITY], state.account[row, MAINTENANCE]
        ratio = Fraction(maintenance - equity, maintenance) if maintenance else Fraction(0)
        return bool(maintenance), -ratio, -maintenance, state.account[row, ID]

    rows = list(distress.clients(state))
    keys = [cases.priority(state, row) for row in rows]
    assert len(set(keys)) == len(keys)
    assert sorted(rows, key=lambda row: cases.priority(state, row)) == sorted(rows, key=exact)


# The fund -----------------------------------------------------------------------------------


def test_the_fund_sells_what_it_took_over_an_order_at_a_time() -> None:
    """WTRF-01: no deadline, no better terms than a client's; the case closes when it is flat."""
    state = distressed(10_000, liquidation_deadline_ns=0)
    distress.move(state, 45_400)
    assert state.account[FUND, CASE] == 1
    sold = []
    while distress.lots_of(state, FUND):
        key, order = one_order(state)
        assert order.account_id == distress.account(state, FUND)
        sold.append(order.lots)
        distress.fill(state, key, RICH, ticks=45_400)
        distress.move(state, 45_400)
    assert sold[0] == -5_000
    assert sum(sold) == -20_000
    assert state.account[FUND, CASE] == 0
    assert state.scalar[CASES_OPEN] == 0
    assert not state.tables.outbox


def test_a_blind_fund_sells_nothing() -> None:
    state = distressed(10_000, liquidation_deadline_ns=0)
    distress.move(state, 45_400)
    key, _ = one_order(state)
    distress.report(state, key, EffectStatus.FAILED)
    assert not distress.blind(state).effects


# All together -------------------------------------------------------------------------------


@pytest.mark.parametrize("order_ttl_ns", [1, 90 * 10**9])
@given(
    plan=plans(),
    fates=st.lists(st.sampled_from(("done", "failed", "silent")), min_size=1, max_size=6),
    cases_max=st.sampled_from((1, 2, 64)),
    budget=st.sampled_from((1, 2, 64)),
)
def test_whatever_becomes_of_orders_books_and_cases_hold(
    order_ttl_ns: int, plan: Plan, fates: list[str], cases_max: int, budget: int
) -> None:
    """Orders only reduce, one per case; cases and states agree; the books balance all along."""
    limits = msgspec.structs.replace(builders.LIMITS, cases_max=cases_max)
    parameters = calm(
        order_ttl_ns=order_ttl_ns,
        orders_per_tick_max=budget,
        liquidation_deadline_ns=4 * NS_PER_MINUTE,
    )
    state = distress.build(plan, parameters=parameters, limits=limits)
    for step, ticks in enumerate((*plan.prices, *plan.prices[-1:] * 6)):
        before = {row: distress.lots_of(state, row) for row in (FUND, *distress.clients(state))}
        out = distress.move(state, ticks)
        placed = [effect for effect in out.effects if isinstance(effect, PlaceOrder)]
        assert len(placed) <= budget
        for order in placed:
            row = account_row(order.account_id)
            held = distress.lots_of(state, row)[order.instrument_id]
            assert (held > 0) != (order.lots > 0)
            assert abs(order.lots) <= abs(held)
            assert row == FUND or before[row][order.instrument_id] == held
        owners = [order.account_id for order in distress.orders(state).values()]
        assert len(set(owners)) == len(owners)
        opened = [row for row in (FUND, *distress.clients(state)) if state.account[row, CASE]]
        assert len(opened) == state.scalar[CASES_OPEN] <= cases_max
        keys = sorted(distress.orders(state))
        for place, key in enumerate(keys):
            fate = fates[(step + place) % len(fates)]
            order = distress.orders(state)[key]
            others = [row for row in distress.clients(state) if not state.account[row, CASE]]
            if fate == "done" and others and account_row(order.account_id) != others[0]:
                distress.fill(state, key, others[0])
            elif fate != "silent":
                distress.report(state, key, EffectStatus.FAILED)
            distress.check_books(state)
