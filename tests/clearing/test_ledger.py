"""Double entry, and rounding that makes and loses nothing (LEDG-01, ROND-01)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing import invariants, rounding
from seawall.clearing.layout import (
    BALANCE,
    INSTRUMENTS_USED,
    RESIDUAL,
    ROWS_USED,
    SEQ,
    TOUCHED,
    VALUE_SCALE,
    VARIATION,
)
from seawall.clearing.ledger import Leg, find_account, post
from seawall.clearing.outcome import Out
from seawall.clearing.state import State
from seawall.protocol.codec import unpack_int32, unpack_int64
from seawall.protocol.events import Posted, Why
from seawall.protocol.ids import ROUNDING, account_id, account_row
from seawall.protocol.units import AMOUNT_MAX
from tests.clearing import builders
from tests.clearing.builders import FIRST, FUTURE, INVERSE, LINEAR, USD, XBT

PLACES = {
    USD: (FIRST, FIRST + 1, FIRST + 2, 2, -LINEAR, -FUTURE),
    XBT: (FIRST, FIRST + 1, -INVERSE),
}


@st.composite
def balanced_legs(draw: st.DrawFn) -> list[Leg]:
    """Draw postings whose last leg per asset takes what the others leave."""
    legs: list[Leg] = []
    for asset, places in PLACES.items():
        amounts = draw(st.lists(st.integers(-(10**15), 10**15), max_size=5))
        legs += [(draw(st.sampled_from(places)), asset, amount) for amount in amounts]
        legs.append((draw(st.sampled_from(places)), asset, -sum(amounts)))
    return legs


def amount_at(state: State, place: int, asset: int) -> int:
    if place > 0:
        return state.account[place, BALANCE + asset]
    return state.instrument[-place, VARIATION]


@given(balanced_legs())
def test_a_posting_moves_each_leg_and_nothing_else(legs: list[Leg]) -> None:
    state = builders.house()
    spots = [(place, asset) for asset, places in PLACES.items() for place in places]
    before = {spot: amount_at(state, *spot) for spot in spots}
    out = builders.enter(state)
    post(state, out, Why.TRANSFER, legs)
    for place, asset in spots:
        moved = sum(amount for p, a, amount in legs if (p, a) == (place, asset))
        assert amount_at(state, place, asset) == before[place, asset] + moved
    for row in range(1, state.scalar[ROWS_USED]):
        changed = any(place == row and amount for place, _, amount in legs)
        assert (row in state.touched[: state.touched_count[0]]) == changed
    told = [event for event in out.events if isinstance(event, Posted)]
    assert len(told) == bool([leg for leg in legs if leg[2]])
    for event in told:
        sums: dict[int, int] = {}
        for asset, amount in zip(
            unpack_int32(event.assets), unpack_int64(event.amounts), strict=True
        ):
            sums[asset] = sums.get(asset, 0) + amount
        assert not any(sums.values())


@given(balanced_legs(), st.integers(0, 9), st.sampled_from((-1, 1)))
def test_a_unit_too_much_or_too_little_is_a_bug_and_writes_nothing(
    legs: list[Leg], place: int, unit: int
) -> None:
    state = builders.house()
    before = list(state.pages())
    index = place % len(legs)
    row, asset, amount = legs[index]
    with pytest.raises(AssertionError):
        post(
            state,
            Out(state),
            Why.TRANSFER,
            [*legs[:index], (row, asset, amount + unit), *legs[index + 1 :]],
        )
    assert list(state.pages()) == before


def test_no_balance_leaves_its_bound() -> None:
    state = builders.house()
    room = AMOUNT_MAX - builders.DEPOSIT
    legs = [(FIRST, USD, room), (FIRST + 1, USD, -room)]
    post(state, builders.enter(state), Why.TRANSFER, legs)
    assert state.account[FIRST, BALANCE + USD] == AMOUNT_MAX
    with pytest.raises(AssertionError):
        post(state, Out(state), Why.TRANSFER, [(FIRST, USD, 1), (FIRST + 2, USD, -1)])


@given(st.integers(1, FIRST + 8), st.integers(1, 4), st.booleans())
def test_only_the_very_id_of_an_open_account_is_found(
    row: int, generation: int, closed: bool
) -> None:
    state = builders.house()
    known = row < state.scalar[ROWS_USED] and generation == 1
    assert find_account(state, account_id(generation, row)) == (row if known else 0)
    # Neither is anything that only looks like one.
    assert find_account(state, row) == 0
    assert find_account(state, -account_id(generation, row)) == 0


trades = st.lists(
    st.tuples(
        st.sampled_from((LINEAR, INVERSE, FUTURE)),
        st.permutations(range(FIRST, FIRST + 4)),
        st.integers(1, 500),
        st.integers(40_000, 60_000),
    ),
    max_size=12,
)


@given(trades, st.integers(1, 5))
def test_residues_become_whole_units_of_the_rounding_account(
    drawn: list[tuple[int, list[int], int, int]], odd: int
) -> None:
    contracts = (
        builders.linear(value_per_tick=99_999 + odd),
        builders.inverse(inverse_numerator=10**15 + odd),
        builders.future(value_per_tick=77_777 + odd),
    )
    state = builders.house(contracts=contracts)
    for instrument, rows, lots, ticks in drawn:
        value = _value(contracts[instrument - 1], ticks)
        builders.trade(state, rows[0], rows[1], instrument, lots, value)
    booked = [state.account[account_row(ROUNDING), BALANCE + asset] for asset in (USD, XBT)]
    gathered = residues(state)
    out = builders.enter(state)
    rounding.step_rounding(state, out)
    for instrument in range(1, state.scalar[INSTRUMENTS_USED]):
        left = state.instrument[instrument, RESIDUAL]
        assert 0 <= left < state.instrument[instrument, VALUE_SCALE]
    earned = [state.account[account_row(ROUNDING), BALANCE + asset] for asset in (USD, XBT)]
    linear = [gathered[i] // 1_000 for i in (LINEAR, FUTURE)]
    assert earned[USD] - booked[USD] == sum(linear)
    assert earned[XBT] - booked[XBT] == gathered[INVERSE] // 10**6
    invariants.check_entry(state)
    invariants.check_full(state)
    again = builders.enter(state)
    rounding.step_rounding(state, again)
    assert again.events == []
    assert state.account[account_row(ROUNDING), TOUCHED] < state.scalar[SEQ]


def residues(state: State) -> dict[int, int]:
    return {i: state.instrument[i, RESIDUAL] for i in range(1, state.scalar[INSTRUMENTS_USED])}


def _value(terms: Any, ticks: int) -> int:
    if terms.inverse_numerator:
        return -(int(terms.inverse_numerator) // ticks)
    return int(terms.value_per_tick) * ticks
