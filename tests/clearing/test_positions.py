"""The plain novation equals the fills kernel to the last word, extension rows and all (LEDG-05)."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.clearing import invariants
from seawall.clearing.instruments import compute_value
from seawall.clearing.kernels.fills import RESULT_CELLS, Fills, post_fills
from seawall.clearing.layout import (
    ID,
    POSITION_COUNT,
    SEQ,
    TOUCHED,
)
from seawall.clearing.positions import can_hold, position, positions, post_side, split_trade
from seawall.clearing.state import State
from seawall.clearing.trades import book_of
from seawall.protocol.commands import Style
from seawall.protocol.ids import FEES, account_row
from tests.clearing import builders
from tests.clearing.builders import FIRST
from tests.clearing.distress import copy_of

KINDS = 40
"""Instruments: more than two rows of slots."""


def house() -> State:
    """Return a house of 40 contracts of all kinds without fees, and few extension rows."""
    contracts = []
    for n in range(KINDS):
        make = (builders.linear, builders.inverse, builders.future, builders.option)[n % 4]
        style = {"style": Style.VARIATION} if n % 8 == 3 else {}
        odd = {"value_per_tick": 99_991 + n} if n % 4 != 1 else {"inverse_numerator": 10**15 + n}
        free = {"maker_fee_ppb": 0, "taker_fee_ppb": 0}
        contracts.append(make(name=f"C{n}", **free, **style, **odd))
    return builders.house(3, contracts=contracts, priced=False)


@st.composite
def fills(draw: st.DrawFn) -> list[tuple[int, int, int, int, int]]:
    """Draw fills; the instruments come in runs, so that slots fill up and come free again."""
    drawn = []
    for _ in range(draw(st.integers(1, 6))):
        buyer, seller, _ = draw(st.permutations(range(FIRST, FIRST + 3)))
        first, length = draw(st.integers(1, KINDS)), draw(st.integers(1, KINDS))
        lots, ticks = draw(st.integers(1, 9)), draw(st.integers(20_000, 90_000))
        places = [(first + n) % KINDS + 1 for n in range(length)]
        drawn += [(buyer, seller, i, lots, ticks + i) for i in places]
    return drawn


@settings(max_examples=60)
@given(fills())
def test_plain_novation_equals_the_kernel(drawn: list[tuple[int, int, int, int, int]]) -> None:
    plain, compiled = house(), house()
    builders.enter(plain)
    builders.enter(compiled)
    buyers = [compiled.account[buyer, ID] for buyer, _, _, _, _ in drawn]
    sellers = [compiled.account[seller, ID] for _, seller, _, _, _ in drawn]
    results = np.zeros((len(drawn), RESULT_CELLS), np.int64)
    batch = Fills(
        np.array(buyers),
        np.array(sellers),
        np.array([fill[2] for fill in drawn], np.int32),
        np.array([fill[3] for fill in drawn]),
        np.array([fill[4] for fill in drawn]),
        np.ones(len(drawn), np.uint8),
    )
    seq = compiled.scalar[SEQ]
    post_fills(batch, book_of(compiled), seq, account_row(FEES), results)
    assert not results[:, 0].any()
    for (buyer, seller, instrument, lots, ticks), told in zip(drawn, results.tolist(), strict=True):
        value = compute_value(plain, instrument, ticks)
        assert post_side(plain, buyer, instrument, lots, value) == told[1]
        assert post_side(plain, seller, instrument, -lots, value) == told[2]
    assert list(plain.pages()) == list(compiled.pages())
    assert invariants.check_full(plain) > 0
    assert invariants.check_entry(plain) > 1


@given(fills())
def test_slots_stay_compact_and_every_position_is_found(
    drawn: list[tuple[int, int, int, int, int]],
) -> None:
    state = house()
    held: dict[tuple[int, int], int] = {}
    for buyer, seller, instrument, lots, ticks in drawn:
        builders.trade(
            state, buyer, seller, instrument, lots, compute_value(state, instrument, ticks)
        )
        for row, signed in ((buyer, lots), (seller, -lots)):
            held[row, instrument] = held.get((row, instrument), 0) + signed
    for row in range(FIRST, FIRST + 3):
        mine = {i: lots for (r, i), lots in held.items() if r == row and lots}
        found = {i: lots for i, lots, _ in positions(state, row)}
        assert found == mine
        assert state.account[row, POSITION_COUNT] == len(mine)
        assert all(position(state, row, i)[0] == lots for i, lots in mine.items())
        assert state.account[row, TOUCHED] or not mine


def test_a_full_account_can_hold_only_what_it_holds() -> None:
    limits = msgspec.structs.replace(builders.LIMITS, extensions_max=0)
    contracts = [builders.linear(name=f"C{n}") for n in range(17)]
    state = builders.house(2, contracts=contracts, limits=limits, priced=False)
    for instrument in range(1, 17):
        assert can_hold(state, FIRST, instrument)
        builders.trade(state, FIRST, FIRST + 1, instrument, 1, 5)
    assert can_hold(state, FIRST, 16)
    assert not can_hold(state, FIRST, 17)
    assert list(copy_of(state).pages()) == list(state.pages())


@given(
    st.integers(-(10**6), 10**6),
    st.integers(-(10**15), 10**15),
    st.integers(-(10**6), 10**6).filter(bool),
    st.integers(-(10**9), 10**9),
)
def test_a_trade_splits_into_cost_and_profit_exactly(
    lots: int, cost: int, trade_lots: int, value: int
) -> None:
    """What goes in is trade_lots times value; it is either cost or realised, to the last unit."""
    cost = cost if lots else 0
    new_lots, new_cost, realised = split_trade(lots, cost, trade_lots, value)
    assert new_lots == lots + trade_lots
    assert new_cost - cost - realised == trade_lots * value
    if new_lots == 0:
        assert new_cost == 0
    if lots and (lots > 0) != (trade_lots > 0) and abs(trade_lots) < abs(lots):
        # The closed share of the cost is rounded up, by less than a unit.
        exact_up = -(-cost * abs(trade_lots) // abs(lots))
        assert cost - new_cost == exact_up
