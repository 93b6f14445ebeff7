"""A unit anywhere in the books that should not be there is found (INVR-01)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.clearing import invariants
from seawall.clearing.layout import (
    ASSETS_USED,
    BALANCE,
    DELEVERAGED,
    EXTENSION_SLOTS,
    FUND_PAID,
    INSTRUMENTS_USED,
    OPEN_COST,
    OPEN_INTEREST,
    RESIDUAL,
    ROWS_USED,
    SHORTFALL,
    SLOTS,
    SOCIALISED,
    VARIATION,
)
from seawall.clearing.ledger import touch_instrument
from seawall.clearing.state import State
from seawall.protocol.units import AMOUNT_MAX, INT64_MAX
from tests.clearing import builders, distress
from tests.clearing.builders import FIRST, FUTURE, INVERSE, LINEAR
from tests.clearing.distress import Plan, plans


@settings(max_examples=60)
@given(plans(), st.data())
def test_one_unit_anywhere_in_the_books_is_found(plan: Plan, data: st.DataObject) -> None:
    state = distress.build(plan)
    distress.check_books(state)
    unit = data.draw(st.sampled_from((-1, 1)))
    kind = data.draw(st.sampled_from(("balance", "lots", "cost", "interest", "open", "variation")))
    row = data.draw(st.integers(1, state.scalar[ROWS_USED] - 1))
    instrument = data.draw(st.integers(1, state.scalar[INSTRUMENTS_USED] - 1))
    if kind == "balance":
        asset = data.draw(st.integers(0, state.scalar[ASSETS_USED] - 1))
        state.account[row, BALANCE + asset] += unit
    elif kind in ("lots", "cost"):
        holder = next(r for r in range(FIRST, FIRST + 6) if distress.lots_of(state, r))
        state.account[holder, SLOTS + (kind == "cost")] += unit
    else:
        words = {"interest": OPEN_INTEREST, "open": OPEN_COST, "variation": VARIATION}
        state.instrument[instrument, words[kind]] += unit
    with pytest.raises(AssertionError):
        invariants.check_full(state)


@pytest.mark.parametrize("word", [OPEN_COST, VARIATION, RESIDUAL])
@pytest.mark.parametrize("instrument", [LINEAR, INVERSE, FUTURE])
def test_a_unit_in_a_touched_instrument_is_found_at_once(word: int, instrument: int) -> None:
    state = builders.house()
    builders.trade(state, FIRST, FIRST + 1, instrument, 7, 4_999_999_999)
    builders.enter(state)
    touch_instrument(state, instrument)
    invariants.check_entry(state)
    state.instrument[instrument, word] += 1
    with pytest.raises(AssertionError):
        invariants.check_entry(state)


@pytest.mark.parametrize("word", [SHORTFALL, FUND_PAID, DELEVERAGED, SOCIALISED])
def test_a_loss_that_nobody_bears_is_found(word: int) -> None:
    state = builders.house()
    state.scalar[word] += 1
    with pytest.raises(AssertionError):
        invariants.check_entry(state)


def test_negative_residue_is_found() -> None:
    state = builders.house()
    builders.enter(state)
    touch_instrument(state, LINEAR)
    state.instrument[LINEAR, RESIDUAL] = -1
    state.instrument[LINEAR, OPEN_COST] = 1
    with pytest.raises(AssertionError):
        invariants.check_entry(state)


def test_positions_in_extension_rows_are_summed_too() -> None:
    contracts = [builders.linear(name=f"C{n}") for n in range(20)]
    state = builders.house(2, contracts=contracts, priced=False)
    for instrument in range(1, 21):
        builders.trade(state, FIRST, FIRST + 1, instrument, 3, 5_000)
    invariants.check_full(state)
    for word in (EXTENSION_SLOTS, EXTENSION_SLOTS + 1):
        state.extension[0, word] += 1
        with pytest.raises(AssertionError):
            invariants.check_full(state)
        state.extension[0, word] -= 1
    invariants.check_full(state)


def test_sums_cannot_wrap_to_zero() -> None:
    """Four times 2^62 is 0 modulo 2^64, and must not pass for it."""
    state = builders.house(4, deposits=())
    for row in range(FIRST, FIRST + 4):
        state.account[row, BALANCE] = AMOUNT_MAX + 1
    with pytest.raises(AssertionError):
        invariants.check_full(state)
    assert 4 * (AMOUNT_MAX + 1) == 2 * (INT64_MAX + 1)


def checks(state: State) -> int:
    return invariants.check_entry(state) + invariants.check_full(state)


def test_the_number_of_checks_is_told() -> None:
    assert checks(builders.house(contracts=())) == 1 + 8
    assert checks(builders.house()) > 1 + 8 + 3 * 4
