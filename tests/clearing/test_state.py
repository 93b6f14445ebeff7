"""Pages are the state and nothing but the state: equal states, equal bytes (INVR-01)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from seawall.clearing.layout import ROWS_USED
from seawall.clearing.state import PAGE_BYTES, State
from tests.clearing import builders, distress
from tests.clearing.builders import FIRST
from tests.clearing.distress import Plan, plans


@settings(max_examples=30)
@given(plans())
def test_a_state_from_its_pages_goes_on_alike(plan: Plan) -> None:
    """Restored in the middle, the same prices lead to the same bytes."""
    state = distress.build(plan)
    copy = distress.copy_of(state)
    assert copy.digest() == state.digest()
    for ticks in plan.prices:
        assert distress.move(state, ticks).events == distress.move(copy, ticks).events
        assert list(copy.pages()) == list(state.pages())


@settings(max_examples=60)
@given(st.data())
def test_any_cell_that_differs_is_another_digest(data: st.DataObject) -> None:
    state = builders.house()
    before = state.digest()
    column = data.draw(st.sampled_from(State.COLUMNS))
    used = state.used(column).reshape(-1)
    place = data.draw(st.integers(0, len(used) - 1))
    used[place] ^= 1
    assert state.digest() != before
    used[place] ^= 1
    assert state.digest() == before


def test_what_no_account_uses_is_no_part_of_a_page() -> None:
    """A house made for a million accounts with four of them has small pages."""
    small = sum(map(len, builders.house().pages()))
    roomy = builders.house(limits=replace(builders.LIMITS, accounts_max=100_000))
    assert sum(map(len, roomy.pages())) < small + 100
    assert roomy.digest() != builders.house().digest()


def test_pages_are_bounded() -> None:
    limits = replace(builders.LIMITS, accounts_max=5_000)
    state = builders.house(4_000, limits=limits, deposits=(), priced=False)
    pages = list(state.pages())
    assert max(map(len, pages)) == PAGE_BYTES
    assert distress.copy_of(state).digest() == state.digest()


def test_a_house_without_extension_rows_has_pages_too() -> None:
    state = builders.house(limits=replace(builders.LIMITS, extensions_max=0))
    assert distress.copy_of(state).digest() == state.digest()


def test_a_cell_refuses_what_does_not_fit_instead_of_wrapping() -> None:
    state = builders.house()
    with pytest.raises(ValueError, match="invalid value"):
        state.account[FIRST, 0] = 1 << 63
    assert state.scalar[ROWS_USED] == FIRST + 4
