"""Loss beyond the fund: exact shares, winners in order, nobody gives more than it may (TEAR-*)."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing import margin, tearup
from seawall.clearing.kernels.classes import read_flags
from seawall.clearing.kernels.sweep import DOUBTFUL
from seawall.clearing.layout import (
    ASSET,
    BALANCE,
    CASE,
    EQUITY,
    INITIAL,
    MAINTENANCE,
    MARK_VALUE,
    PRICE,
    UNIT,
)
from seawall.clearing.outcome import Out
from seawall.clearing.positions import positions
from seawall.clearing.shares import (
    compute_ratio,
    split_by_remainder,
    split_to_last,
    split_within,
)
from seawall.clearing.state import State
from seawall.protocol.codec import unpack_int64
from seawall.protocol.events import Deleveraged, PositionTransferred, Posted, Why
from seawall.protocol.ids import account_row
from tests.clearing import builders, distress
from tests.clearing.builders import CALL, FIRST, INVERSE, LINEAR, USD, XBT
from tests.clearing.distress import Plan, Trade, of, plans

MICRO = 10**6
BROKE = FIRST

totals = st.integers(0, 1 << 62)
weights = st.lists(st.integers(1, (1 << 62) - 1), min_size=1, max_size=8)


# Shares -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gains", "collected", "paid"),
    [
        # Published: the second of two loses 2,970; the last of three receives 528, and so on.
        ([80, 8_000], 5_080, [50, 5_030]),
        ([800, 7_200, 800], 5_800, [527, 4_745, 528]),
        ([80, 7_200, 800], 8_080, [80, 7_200, 800]),
    ],
)
def test_shares_are_those_of_vega_loss_socialisation(
    gains: list[int], collected: int, paid: list[int]
) -> None:
    """vegaprotocol/vega, 0002-STTL-settlement verified loss-socialization cases 1, 3 and 5."""
    assert split_to_last(collected, gains) == paid


@given(total=totals, parts=weights)
def test_shares_sum_to_the_total_and_keep_proportion(total: int, parts: list[int]) -> None:
    whole = sum(parts)
    to_last, by_remainder = split_to_last(total, parts), split_by_remainder(total, parts)
    assert sum(to_last) == sum(by_remainder) == total
    exact = [Fraction(total * part, whole) for part in parts]
    for share, fair in zip(to_last[:-1], exact[:-1], strict=True):
        assert 0 <= fair - share < 1
    assert 0 <= to_last[-1] - exact[-1] < len(parts)
    for share, fair in zip(by_remainder, exact, strict=True):
        assert abs(share - fair) < 1
    # Whoever was rounded up has a fraction at least as large as whoever was rounded down.
    fractions = [fair - int(fair) for fair in exact]
    ups = [f for f, s, e in zip(fractions, by_remainder, exact, strict=True) if s > e]
    downs = [f for f, s, e in zip(fractions, by_remainder, exact, strict=True) if s < e]
    assert not ups or not downs or min(ups) >= max(downs)


def test_equal_fractions_are_served_in_order() -> None:
    assert split_by_remainder(5, [1, 1, 1]) == [2, 2, 1]
    assert split_by_remainder(3, []) == []


@given(total=totals, data=st.data(), parts=weights)
def test_capped_shares_stay_within_caps_and_are_fair_beneath(
    total: int, data: st.DataObject, parts: list[int]
) -> None:
    caps = [data.draw(st.integers(0, part)) for part in parts]
    shares = split_within(total, parts, caps)
    assert sum(shares) == min(total, sum(caps))
    assert all(0 <= share <= cap for share, cap in zip(shares, caps, strict=True))
    free = [i for i, cap in enumerate(caps) if shares[i] < cap]
    for i in free:
        for j in range(len(parts)):
            # Nobody gives clearly more for its weight than one whose cap does not bind.
            assert shares[j] * parts[i] <= (shares[i] + 1) * parts[j] + parts[i]


@given(
    a=st.tuples(st.integers(-(1 << 63), 1 << 63), st.integers(1, (1 << 62) - 1)),
    b=st.tuples(st.integers(-(1 << 63), 1 << 63), st.integers(1, (1 << 62) - 1)),
)
def test_ratios_order_as_cross_multiplication_does(a: tuple[int, int], b: tuple[int, int]) -> None:
    left, right = compute_ratio(*a), compute_ratio(*b)
    assert (left < right) == (a[0] * b[1] < b[0] * a[1])
    assert (left == right) == (a[0] * b[1] == b[0] * a[1])


# Winners ------------------------------------------------------------------------------------


def crowd(*winners: tuple[int, int, int], lots: int, dollars: int = 0) -> State:
    """Return a house whose first account is long at 5,000 USD; others are short as told.

    Parameters
    ----------
    winners : (lots, entry ticks, dollars) of each short
    lots : of the first account; what the winners do not hold the last account does
    """
    state = builders.house(2 + len(winners), deposits=(), parameters=distress.calm())
    other = FIRST + 1 + len(winners)
    builders.deposit(state, other, USD, 10**6 * MICRO)
    builders.deposit(state, BROKE, USD, dollars * MICRO)
    builders.trade(state, BROKE, other, LINEAR, lots, 50_000 * 100_000)
    for row, (held, ticks, amount) in enumerate(winners, FIRST + 1):
        builders.deposit(state, row, USD, amount * MICRO)
        builders.trade(state, other, row, LINEAR, held, ticks * 100_000)
    return state


def crash(state: State, ticks: int) -> Out:
    """Move the price and evaluate, without any case."""
    builders.move(state, ticks)
    margin.sweep(state)
    state.account[BROKE, CASE] = 1
    return builders.enter(state)


def test_winners_rank_by_profit_ratio_times_leverage() -> None:
    """At 4,500: gains of 10, 10 and 2.17 %; leverages of 4.5, 2.25 and 9 or so; a loser is out."""
    state = crowd(
        (10_000, 50_000, 5_000),
        (10_000, 50_000, 15_000),
        (10_000, 46_000, 4_000),
        (10_000, 44_000, 9_000),
        lots=40_000,
    )
    crash(state, 45_000)
    ranked = [winner.row - FIRST for winner in tearup.rank_winners(state, LINEAR, 40_000)]
    # The last account is short of what is left: nothing, so it is no winner.
    assert ranked == [1, 2, 3]


@given(
    winners=st.lists(
        st.tuples(st.integers(1, 9_000), st.integers(40_000, 60_000), st.integers(0, 20_000)),
        min_size=1,
        max_size=6,
    ),
    most=st.integers(1, 4),
)
def test_ranking_is_exact_and_total(winners: list[tuple[int, int, int]], most: int) -> None:
    state = crowd(*winners, lots=60_000)
    crash(state, 45_000)
    state.tables.parameters["adl_winners_max"] = most
    held = {row: cells for row in distress.clients(state) for cells in positions(state, row)}
    value = state.instrument[LINEAR, MARK_VALUE]

    def score(row: int) -> Fraction:
        _, lots, cost = held[row]
        notional = margin.compute_required(state, LINEAR, lots)[1]
        ratio = Fraction(lots * value - cost, abs(cost))
        return ratio * Fraction(notional, state.account[row, EQUITY])

    eligible = [
        row
        for row, (_, lots, cost) in held.items()
        if lots < 0 and lots * value > cost and state.account[row, EQUITY] > 0
    ]
    expected = sorted(eligible, key=lambda row: (-score(row), row))[:most]
    assert [winner.row for winner in tearup.rank_winners(state, LINEAR, 60_000)] == expected


def test_accounts_with_a_case_and_house_accounts_are_no_winners() -> None:
    state = crowd((10_000, 50_000, 5_000), (10_000, 50_000, 5_000), lots=40_000)
    builders.trade(state, FIRST + 3, distress.FUND, LINEAR, 10_000, 50_000 * 100_000)
    crash(state, 45_000)
    state.account[FIRST + 1, CASE] = 2
    ranked = [winner.row - FIRST for winner in tearup.rank_winners(state, LINEAR, 40_000)]
    assert ranked == [2, 3]


def test_a_winner_gives_its_share_of_the_loss_for_its_share_of_the_position() -> None:
    """TEAR-01 by hand: 1,000 USD over 40,000 lots; 10,000 of them cost 250 USD, rounded down."""
    state = crowd((10_000, 50_000, 5_000), (10_000, 50_000, 15_000), lots=40_000)
    out = crash(state, 45_000)
    builders.deposit(state, BROKE, USD, -1)
    state.account[FIRST + 3, CASE] = 3
    before = state.account[FIRST + 1, BALANCE + USD]
    given_minor = tearup.deleverage(state, out, BROKE, 1_000 * MICRO + 3)
    assert given_minor == 500 * MICRO + 1
    told = of(out, Deleveraged)
    assert [(event.account_id, event.lots, event.amount_minor) for event in told] == [
        (distress.account(state, FIRST + 1), 10_000, 250 * MICRO),
        (distress.account(state, FIRST + 2), 10_000, 250 * MICRO + 1),
    ]
    assert told[0].against == distress.account(state, BROKE)
    # It keeps the rest of its gain of 5,000 USD.
    assert state.account[FIRST + 1, BALANCE + USD] == before + 4_750 * MICRO
    assert distress.lots_of(state, FIRST + 1) == {}
    assert distress.lots_of(state, BROKE) == {LINEAR: 20_000}
    moved = of(out, PositionTransferred)[0]
    assert (moved.from_account, moved.lots) == (distress.account(state, BROKE), 10_000)
    posted = of(out, Posted)[0]
    assert posted.why == Why.DELEVERAGING
    assert sum(unpack_int64(posted.amounts)) == 0
    distress.check_books(state)


def test_a_winner_gives_at_most_what_closing_realises() -> None:
    """The share would be 1,000 USD; the lots it closes made 200."""
    state = crowd((1_000, 47_000, 5_000), lots=1_000)
    out = crash(state, 45_000)
    state.account[FIRST + 2, CASE] = 3
    assert tearup.deleverage(state, out, BROKE, 1_000 * MICRO) == 200 * MICRO
    assert state.account[FIRST + 1, BALANCE + USD] == 5_000 * MICRO


def test_part_of_a_winner_is_closed_when_the_position_is_smaller() -> None:
    state = crowd((9_000, 50_000, 5_000), lots=4_000)
    out = crash(state, 45_000)
    assert tearup.deleverage(state, out, BROKE, 100 * MICRO) == 100 * MICRO
    assert distress.lots_of(state, FIRST + 1) == {LINEAR: -5_000}
    assert distress.lots_of(state, BROKE) == {}


def test_a_winner_that_would_fall_short_is_skipped() -> None:
    """Its short is the hedge of a long: without it, it would need more than it has."""
    state = crowd((10_000, 50_000, 400), (10_000, 48_000, 5_000), lots=20_000)
    builders.trade(state, FIRST + 1, FIRST + 3, 3, 9_900, 50_000 * 100_000)
    out = crash(state, 45_000)
    state.account[FIRST + 3, CASE] = 3
    winner = tearup.rank_winners(state, LINEAR, 20_000)[0]
    assert winner.row == FIRST + 1
    assert tearup.rehearse(state, winner, LINEAR, 10_000, 5_000 * MICRO) is None
    given_minor = tearup.deleverage(state, out, BROKE, 10_000 * MICRO)
    names = [event.account_id for event in of(out, Deleveraged)]
    assert names == [distress.account(state, FIRST + 2)]
    assert given_minor == 3_000 * MICRO


def test_a_winner_whose_requirement_would_rise_is_skipped() -> None:
    """In portfolio mode the short pays for the other leg: closing it would raise the worst row."""
    state = crowd((10_000, 50_000, 5_000), lots=10_000)
    winner_row = FIRST + 1
    builders.attest(state, {LINEAR: [-10, 10], 3: [-10, 10]}, scale=MICRO // 100)
    state.account[winner_row, 2] = 2
    builders.trade(state, winner_row, FIRST + 2, 3, 10_000, 45_000 * 100_000)
    out = crash(state, 45_000)
    state.account[FIRST + 2, CASE] = 3
    assert state.account[winner_row, MAINTENANCE] == 0
    assert tearup.deleverage(state, out, BROKE, 100 * MICRO) == 0
    assert not of(out, Deleveraged)


def test_a_doubtful_winner_is_skipped() -> None:
    state = crowd((10_000, 50_000, 5_000), lots=10_000)
    builders.trade(state, FIRST + 1, FIRST + 2, CALL, 1, 10**8)
    out = crash(state, 45_000)
    state.account[FIRST + 2, CASE] = 3
    assert tearup.deleverage(state, out, BROKE, 100 * MICRO) == 0
    assert not of(out, Deleveraged)


def test_paid_options_are_not_torn_up() -> None:
    """What was paid for an option is not kept, so nobody can say what of its value is gain."""
    state = builders.house(2, deposits=())
    builders.attest(state, {CALL: [0]}, values={CALL: 10**8})
    builders.trade(state, FIRST + 1, BROKE, CALL, 100, 10**8)
    out = crash(state, 50_000)
    assert margin.compute_required(state, CALL, -100)[0] > 0
    assert tearup.deleverage(state, out, BROKE, 100 * MICRO) == 0


@given(plan=plans(), wanted=st.integers(1, 10**11))
def test_deleveraging_is_exact_and_fair(plan: Plan, wanted: int) -> None:
    """Nothing beyond what was wanted, no winner poorer in the asset or below initial, no loser."""
    state = distress.build(plan)
    out = crash(state, plan.prices[0])
    before = distress.copy_of(state)
    given_minor = tearup.deleverage(state, out, BROKE, wanted)
    distress.check_books(state)
    assert 0 <= given_minor <= wanted
    value = 0
    for event in of(out, Deleveraged):
        asset = state.instrument[event.instrument_id, ASSET]
        amount = event.amount_minor
        value += amount * state.asset[asset, PRICE] // state.asset[asset, UNIT]
    assert value == given_minor
    for name in sorted({event.account_id for event in of(out, Deleveraged)}):
        row = account_row(name)
        for asset in (USD, XBT):
            assert state.account[row, BALANCE + asset] >= before.account[row, BALANCE + asset]
        assert state.account[row, EQUITY] >= state.account[row, INITIAL]
        assert state.account[row, MAINTENANCE] <= before.account[row, MAINTENANCE]
        for instrument, lots in distress.lots_of(state, row).items():
            assert abs(lots) <= abs(distress.lots_of(before, row)[instrument])
    for row in distress.clients(state):
        assert row == BROKE or state.account[row, BALANCE] >= before.account[row, BALANCE]


# Sharing ------------------------------------------------------------------------------------


def savers(*amounts: tuple[int, int]) -> State:
    """Return a house with a bankrupt first account and others with USD and XBT (minor units)."""
    state = builders.house(1 + len(amounts), deposits=(), parameters=distress.calm())
    for row, (dollars, coins) in enumerate(amounts, FIRST + 1):
        builders.deposit(state, row, USD, dollars)
        if coins:
            builders.deposit(state, row, XBT, coins)
    margin.sweep(state)
    state.account[BROKE, CASE] = 1
    return state


def shared(state: State, wanted: int) -> tuple[int, list[int]]:
    """Share a loss; return its covered value and what each of the others gave in USD."""
    rows = [row for row in distress.clients(state) if row != BROKE]
    before = [state.account[row, BALANCE + USD] for row in rows]
    value = tearup.share_loss(state, builders.enter(state), BROKE, wanted)
    distress.check_books(state)
    after = [state.account[row, BALANCE + USD] for row in rows]
    return value, [old - new for old, new in zip(before, after, strict=True)]


def test_a_loss_is_shared_in_proportion_to_balances() -> None:
    """TEAR-02: 100 over 1, 2 and 4: 14.29, 28.57 and 57.14; the one left goes to the .57."""
    assert shared(savers((1_000, 0), (2_000, 0), (4_000, 0)), 100) == (100, [14, 29, 57])


def test_equal_savers_give_by_row() -> None:
    assert shared(savers((500, 0), (500, 0), (500, 0)), 10) == (10, [4, 3, 3])


def test_nobody_gives_what_its_initial_requirement_needs() -> None:
    """The second has 1,000 USD and needs 900 of them: it gives 100, the first the rest."""
    state = savers((1_000 * MICRO, 0), (1_000 * MICRO, 0), (10**6 * MICRO, 0))
    distress.open_trade(state, Trade(2, 3, LINEAR, 9_000, 50_000))
    margin.sweep(state)
    state.account[FIRST + 3, CASE] = 2
    assert state.account[FIRST + 2, INITIAL] == 900 * MICRO
    assert shared(state, 500 * MICRO) == (500 * MICRO, [400 * MICRO, 100 * MICRO, 0])
    assert state.account[FIRST + 2, EQUITY] == state.account[FIRST + 2, INITIAL]
    assert shared(state, 10_000 * MICRO) == (600 * MICRO, [600 * MICRO, 0, 0])


def test_other_assets_follow_when_dollars_are_gone() -> None:
    """100 USD are there; the other 400 are 0.08 XBT at 5,000, shared by who has coins."""
    state = savers((100 * MICRO, 3 * 10**7), (0, 10**7))
    assert shared(state, 500 * MICRO)[0] == 500 * MICRO
    assert state.account[FIRST + 1, BALANCE + XBT] == 3 * 10**7 - 6 * 10**6
    assert state.account[FIRST + 2, BALANCE + XBT] == 10**7 - 2 * 10**6
    assert state.account[BROKE, BALANCE + XBT] == 8 * 10**6


def test_nobody_to_share_with_gives_nothing() -> None:
    assert shared(savers((0, 0)), 500) == (0, [0])


def test_the_doubtful_do_not_share() -> None:
    state = savers((1_000, 0), (1_000, 10**8))
    state.asset[XBT, 7] = 2
    assert shared(state, 100) == (100, [100, 0])


@given(plan=plans(), wanted=st.integers(1, 10**11))
def test_sharing_leaves_everyone_its_requirement(plan: Plan, wanted: int) -> None:
    state = distress.build(plan)
    out = crash(state, plan.prices[0])
    before = distress.copy_of(state)
    value = tearup.share_loss(state, out, BROKE, wanted)
    distress.check_books(state)
    assert 0 <= value <= wanted
    books, prices = margin.books_of(state), margin.prices_of(state)
    for row in distress.clients(state):
        gave = [
            before.account[row, BALANCE + asset] - state.account[row, BALANCE + asset]
            for asset in (USD, XBT)
        ]
        if row == BROKE:
            assert max(gave) <= 0
            continue
        assert min(gave) >= 0
        if any(gave):
            assert not read_flags(books, prices, row) & DOUBTFUL
            told = margin.explain(state, margin.view_of(state, row))
            assert told.equity_minor >= told.initial_minor
            assert told.equity_minor == state.account[row, EQUITY]
            for asset, amount in zip((USD, XBT), gave, strict=True):
                assert not amount or state.account[row, BALANCE + asset] >= 0


def test_inverse_winners_give_coins() -> None:
    """A short of 50,000 USD from 5,000 to 4,000 gains 2.5 XBT, 10,000 USD: it gives 2,000."""
    state = builders.house(3, deposits=(), parameters=distress.calm())
    builders.deposit(state, FIRST + 1, XBT, 10**8)
    builders.trade(state, BROKE, FIRST + 1, INVERSE, 50_000, -(10**15) // 50_000)
    out = crash(state, 40_000)
    assert tearup.deleverage(state, out, BROKE, 2_000 * MICRO) == 2_000 * MICRO
    assert of(out, Deleveraged)[0].amount_minor == 5 * 10**7
    assert state.account[FIRST + 1, BALANCE + XBT] == 3 * 10**8
    assert state.account[BROKE, BALANCE + XBT] == -2 * 10**8
