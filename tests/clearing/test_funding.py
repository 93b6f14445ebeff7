"""FUND-01 and FUND-02: samples of the premium, and payments that sum to zero with the rounding."""

from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing.funding import compute_payment
from seawall.clearing.holders import holders
from seawall.clearing.invariants import check_full
from seawall.clearing.kernels.funding import PAID, RECEIVED, compute_payments, credit
from seawall.clearing.layout import (
    AT_NS,
    BALANCE,
    FUNDING_NEXT,
    FUNDING_SAMPLES,
    FUNDING_SUM_PPB,
    MARK_GRADE,
    MARK_NOTIONAL,
    SEQ,
)
from seawall.clearing.outcome import Out
from seawall.clearing.positions import position, post_side
from seawall.clearing.state import State
from seawall.clearing.trades import book_of
from seawall.protocol.events import FundingPaid, Grade
from seawall.protocol.genesis import Parameters
from seawall.protocol.ids import INSURANCE, account_row
from seawall.protocol.units import AMOUNT_MAX, NS_PER_HOUR, NS_PER_MINUTE, PPB
from tests.clearing.builders import (
    FIRST,
    FUTURE,
    INDEX_FEED,
    INVERSE,
    LINEAR,
    USD,
    XBT,
    balances,
    deposit,
    enter,
    house,
    inverse,
    linear,
    move,
    publish,
    tick,
    trade,
)
from tests.clearing.builders import (
    PRICE as START_TICKS,
)

ROUNDING_ROW = 3
INTEREST_PPB = PPB // 10_000
MAX_PPB = PPB // 200


def payments(out: Out) -> list[Any]:
    return [event for event in out.events if isinstance(event, FundingPaid)]


def end_period(state: State, traded: int | None = None) -> list[Any]:
    """Jump to the next payment with fresh prices."""
    after_ns = state.instrument[1, FUNDING_NEXT] - state.scalar[AT_NS]
    return payments(move(state, START_TICKS, traded=traded, after_ns=after_ns))


# Samples (FUND-01) --------------------------------------------------------------------------


def test_a_sample_is_the_premium_over_the_index() -> None:
    state = house(0, contracts=[linear()])
    # The first tick sampled an equal price; 100 above 50,000 is 0.2 %.
    assert state.instrument[LINEAR, FUNDING_SAMPLES] == 1
    move(state, 50_000, traded=50_100)
    assert state.instrument[LINEAR, FUNDING_SAMPLES] == 2
    assert state.instrument[LINEAR, FUNDING_SUM_PPB] == PPB // 500
    # 3 below 50,001 is -59,998.8 ppb, rounded down.
    move(state, 50_001, traded=49_998)
    assert state.instrument[LINEAR, FUNDING_SUM_PPB] == PPB // 500 - 59_999


def test_a_sample_is_capped() -> None:
    state = house(0, contracts=[linear()])
    move(state, 50_000, traded=90_000)
    assert state.instrument[LINEAR, FUNDING_SUM_PPB] == MAX_PPB
    move(state, 50_000, traded=10_000)
    assert state.instrument[LINEAR, FUNDING_SUM_PPB] == 0


def test_there_is_one_sample_a_minute() -> None:
    state = house(0, contracts=[linear()])
    move(state, 50_000, traded=50_100, after_ns=NS_PER_MINUTE - 1)
    assert state.instrument[LINEAR, FUNDING_SAMPLES] == 1
    move(state, 50_000, traded=50_100, after_ns=1)
    assert state.instrument[LINEAR, FUNDING_SAMPLES] == 2


def test_doubtful_prices_are_no_sample() -> None:
    state = house(0, contracts=[linear()])
    late_ns = state.scalar[AT_NS] + Parameters().stale_ns + 1
    publish(state, {INDEX_FEED: START_TICKS}, observed_ns=late_ns)
    tick(state, late_ns)
    assert state.instrument[LINEAR, MARK_GRADE] == Grade.FRESH
    assert state.instrument[LINEAR, FUNDING_SAMPLES] == 1
    tick(state, late_ns + 2 * Parameters().stale_ns)
    assert state.instrument[LINEAR, MARK_GRADE] == Grade.STALE
    assert state.instrument[LINEAR, FUNDING_SAMPLES] == 1


@pytest.mark.parametrize("price_feed", [0, INDEX_FEED])
def test_without_a_traded_price_of_its_own_there_are_no_samples(price_feed: int) -> None:
    state = house(0, contracts=[linear(price_feed=price_feed)])
    assert state.instrument[LINEAR, FUNDING_SAMPLES] == 0
    # And so no rate, not even the interest.
    assert end_period(state) == [FundingPaid(LINEAR, 0, 0, 0, 0)]


# Payments (FUND-02) -------------------------------------------------------------------------


def test_longs_pay_shorts_a_positive_rate() -> None:
    state = house(3, contracts=[linear()])
    trade(state, FIRST, FIRST + 1, LINEAR, 7, 5_000_000_000)
    before = balances(state, USD)
    (paid,) = end_period(state)
    # 35 USD of notional at 0.01 % is 0.0035 USD.
    assert paid == FundingPaid(LINEAR, INTEREST_PPB, 3_500, 3_500, 0)
    after = balances(state, USD)
    assert after[FIRST] - before[FIRST] == -3_500
    assert after[FIRST + 1] - before[FIRST + 1] == 3_500
    assert after[FIRST + 2] == before[FIRST + 2]


def test_an_inverse_pays_in_coins() -> None:
    state = house(2, contracts=[inverse()], deposits=[(XBT, 10**8)])
    trade(state, FIRST, FIRST + 1, 1, 30_000, -20_000_000_000)
    # 30,000 USD is 6 coins at 5,000; 0.01 % of it is 60,000 satoshi.
    assert end_period(state) == [FundingPaid(1, INTEREST_PPB, 60_000, 60_000, 0)]
    assert balances(state, XBT)[FIRST] == 10**8 - 60_000


def test_the_rate_is_the_mean_premium_and_the_interest() -> None:
    state = house(0, contracts=[linear()])
    move(state, 50_000, traded=50_100)
    # Samples: 0, 2,000,000 and then 2,000,000 ppb again at the payment itself.
    (paid,) = end_period(state, traded=50_100)
    assert paid.rate_ppb == 4_000_000 // 3 + INTEREST_PPB


def test_the_rate_is_capped_with_the_interest() -> None:
    state = house(0, contracts=[linear()])
    for _ in range(20):
        move(state, 50_000, traded=60_000)
    (paid,) = end_period(state, traded=60_000)
    # 21 capped samples and the first tick's zero.
    assert paid.rate_ppb == 21 * MAX_PPB // 22 + INTEREST_PPB
    for _ in range(60):
        move(state, 50_000, traded=60_000)
    (paid,) = end_period(state, traded=60_000)
    assert paid.rate_ppb == MAX_PPB


def test_a_period_ends_once_and_missed_ones_are_not_caught_up() -> None:
    state = house(2, contracts=[linear()])
    trade(state, FIRST, FIRST + 1, LINEAR, 7, 5_000_000_000)
    due_ns = state.instrument[LINEAR, FUNDING_NEXT]
    late_ns = due_ns + 20 * NS_PER_HOUR
    out = move(state, START_TICKS, after_ns=late_ns - state.scalar[AT_NS])
    assert payments(out) == [FundingPaid(LINEAR, INTEREST_PPB, 3_500, 3_500, 0)]
    # Periods of 8 hours: the one under way ends 24 hours after the first.
    assert state.instrument[LINEAR, FUNDING_NEXT] == due_ns + 24 * NS_PER_HOUR
    assert state.instrument[LINEAR, FUNDING_SAMPLES] == 0
    assert payments(move(state, START_TICKS)) == []


def test_a_doubtful_mark_pays_nothing_and_loses_its_samples() -> None:
    state = house(2, contracts=[linear()])
    trade(state, FIRST, FIRST + 1, LINEAR, 7, 5_000_000_000)
    before = balances(state, USD)
    assert payments(tick(state, state.instrument[LINEAR, FUNDING_NEXT])) == [
        FundingPaid(LINEAR, 0, 0, 0, 0)
    ]
    assert balances(state, USD) == before
    assert state.instrument[LINEAR, FUNDING_SAMPLES] == 0


def test_house_accounts_pay_like_everyone() -> None:
    state = house(1, contracts=[linear()])
    fund_row = account_row(INSURANCE)
    trade(state, FIRST, fund_row, LINEAR, 7, 5_000_000_000)
    end_period(state)
    assert balances(state, USD)[fund_row] == 3_500


def test_payers_and_payees_are_touched() -> None:
    state = house(3, contracts=[linear()])
    trade(state, FIRST, FIRST + 1, LINEAR, 7, 5_000_000_000)
    end_period(state)
    touched = state.touched[: int(state.touched_count[0])].tolist()
    assert touched == [FIRST, FIRST + 1]


crowds = st.lists(
    st.tuples(st.integers(0, 19), st.integers(0, 19), st.integers(1, 400_000)), max_size=12
)


@given(crowds, st.integers(-MAX_PPB, MAX_PPB), st.sampled_from([LINEAR, INVERSE]))
def test_payments_and_rounding_sum_to_zero(crowd: Any, rate_ppb: int, instrument: int) -> None:
    """Whoever holds what: Σ balances stays, the rounding is less than a unit a holder."""
    terms = {"funding_interest_ppb": rate_ppb, "name": "ONLY"}
    kind = linear if instrument == LINEAR else inverse
    state = house(20, contracts=[kind(**terms)], deposits=[(USD, 10**12), (XBT, 10**12)])
    value = 5_000_000_000 if instrument == LINEAR else -20_000_000_000
    for buyer, seller, lots in crowd:
        if buyer != seller:
            trade(state, FIRST + buyer, FIRST + seller, 1, lots, value)
    asset = USD if instrument == LINEAR else XBT
    before = balances(state, asset)
    (paid,) = end_period(state)
    after = balances(state, asset)
    assert paid.rate_ppb == rate_ppb
    assert sum(after.values()) == sum(before.values())
    assert (
        after.get(ROUNDING_ROW, 0) == paid.rounding_minor == paid.paid_minor - paid.received_minor
    )
    rows, _ = holders(state, 1)
    assert 0 <= paid.rounding_minor <= len(rows)
    scale = 1_000 if instrument == LINEAR else 10**6
    notional = state.instrument[1, MARK_NOTIONAL]
    for row in range(FIRST, FIRST + 20):
        lots = position(state, row, 1)[0]
        exact = Fraction(-lots * notional * rate_ppb, PPB * scale)
        assert after[row] - before[row] == floor(exact)
    check_full(state)


# The kernel and its twin --------------------------------------------------------------------


@given(
    st.lists(st.integers(-AMOUNT_MAX, AMOUNT_MAX) | st.integers(-1000, 1000), max_size=8),
    st.integers(0, AMOUNT_MAX) | st.integers(0, 10**12),
    st.integers(-PPB, PPB),
    st.sampled_from([10**digits for digits in range(10)]),
)
def test_the_kernel_agrees_with_its_twin(
    lots: list[int], notional: int, rate_ppb: int, scale: int
) -> None:
    cash, totals = np.zeros(len(lots), np.int64), np.zeros(2, np.int64)
    column = np.array(lots, np.int64)
    fits = compute_payments(column, notional, rate_ppb, PPB * scale, cash, totals)
    twin = [
        compute_payment(held, notional=notional, rate_ppb=rate_ppb, scale=scale) for held in lots
    ]
    if all(abs(held * notional) <= AMOUNT_MAX for held in lots) and sum(map(abs, twin)) < 1 << 62:
        assert fits
    if fits:
        assert cash.tolist() == twin
        assert totals[PAID] == -sum(amount for amount in twin if amount < 0)
        assert totals[RECEIVED] == sum(amount for amount in twin if amount > 0)


def test_holders_are_found_in_extension_rows_too() -> None:
    contracts = [linear(name=f"C{i}") for i in range(40)]
    state = house(3, contracts=contracts)
    for instrument in range(1, 41):
        trade(state, FIRST, FIRST + 1, instrument, instrument, 5_000_000_000)
    post_side(state, FIRST + 2, 40, 5, 5_000_000_000)
    post_side(state, FIRST + 1, 40, -5, 5_000_000_000)
    rows, lots = holders(state, 40)
    assert rows.tolist() == [FIRST, FIRST + 1, FIRST + 2]
    assert lots.tolist() == [40, -45, 5]
    rows, lots = holders(state, 17)
    assert lots.tolist() == [17, -17]


def test_only_perpetuals_pay() -> None:
    state = house(2)
    trade(state, FIRST, FIRST + 1, FUTURE, 7, 5_000_000_000)
    before = balances(state, USD)
    assert [event.instrument_id for event in end_period(state)] == [LINEAR, INVERSE]
    assert balances(state, USD) == before


def test_payments_beyond_a_balances_bound_write_nothing() -> None:
    state = house(2)
    deposit(state, FIRST + 1, XBT, AMOUNT_MAX)
    before = state.accounts.copy()
    rows = np.array([FIRST, FIRST + 1], np.int32)
    enter(state)
    word = BALANCE + XBT
    assert not credit(book_of(state), word, rows, np.array([5, 1]), state.scalar[SEQ])
    assert (state.accounts == before).all()
    assert credit(book_of(state), word, rows, np.array([5, -1]), state.scalar[SEQ])
    assert balances(state, XBT)[FIRST] == 5
    assert balances(state, XBT)[FIRST + 1] == AMOUNT_MAX - 1
