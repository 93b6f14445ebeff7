"""COLL-01: what money counts; the kernel and its plain twin agree to the last unit."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing.collateral import convert, convert_raw
from seawall.clearing.kernels import convert as kernels
from seawall.clearing.layout import HAIRCUT_PPB, LIABILITY_HAIRCUT_PPB, PRICE, UNIT
from seawall.protocol.units import AMOUNT_MAX, PPB
from tests.clearing.builders import FIRST, LINEAR, USD, XBT, balances, house, trade

STATE = house(0)
"""One coin is worth 5,000 USD; both haircuts are 5 %."""


def test_coins_count_less_and_owed_coins_more() -> None:
    coin = 10**8
    assert convert_raw(STATE, XBT, coin) == 5_000 * 10**6
    assert convert(STATE, XBT, coin) == 4_750 * 10**6
    assert convert(STATE, XBT, -coin) == -5_250 * 10**6


def test_the_valuation_asset_counts_as_it_is() -> None:
    for net in (0, 1, -1, 123_456_789, -AMOUNT_MAX, AMOUNT_MAX):
        assert convert(STATE, USD, net) == convert_raw(STATE, USD, net) == net


@pytest.mark.parametrize(("net", "counts"), [(1, 47), (2, 95), (-1, -53), (-2, -105), (3, 142)])
def test_both_roundings_go_against_the_account(net: int, counts: int) -> None:
    # A satoshi is worth 50 minor units: 47.5 after the haircut, 52.5 when it is owed.
    assert convert(STATE, XBT, net) == counts


amounts = st.integers(-AMOUNT_MAX, AMOUNT_MAX) | st.integers(-(10**6), 10**6)
rates = st.integers(0, PPB) | st.sampled_from([0, 1, PPB])
cases = st.fixed_dictionaries(
    {
        "net": amounts,
        "price": st.integers(0, AMOUNT_MAX) | st.integers(0, 10**12),
        "decimals": st.integers(0, 18),
        "haircut": rates,
        "liability": rates,
    }
)


def set_up(case: dict[str, int]) -> int:
    for word, value in (
        (PRICE, case["price"]),
        (UNIT, 10 ** case["decimals"]),
        (HAIRCUT_PPB, case["haircut"]),
        (LIABILITY_HAIRCUT_PPB, case["liability"]),
    ):
        TWIN.asset[XBT, word] = value
    return case["net"]


TWIN = house(0)


@given(cases)
def test_the_kernel_agrees_with_its_twin(case: dict[str, int]) -> None:
    net = set_up(case)
    assert kernels.convert(net, TWIN.assets[XBT]) == convert(TWIN, XBT, net)
    assert kernels.convert_raw(net, TWIN.assets[XBT]) == convert_raw(TWIN, XBT, net)


@given(cases)
def test_no_conversion_flatters(case: dict[str, int]) -> None:
    """What counts is at most what is exact, and within two units of it unless it is clamped."""
    net = set_up(case)
    exact = Fraction(net * case["price"], 10 ** case["decimals"])
    assert convert_raw(TWIN, XBT, net) <= exact or exact < -AMOUNT_MAX
    exact *= (
        1 - Fraction(case["haircut"], PPB) if net >= 0 else 1 + Fraction(case["liability"], PPB)
    )
    counts = convert(TWIN, XBT, net)
    if abs(exact) <= AMOUNT_MAX // 2:
        assert exact - 3 < counts <= exact
    assert abs(counts) <= AMOUNT_MAX


@given(cases, st.integers(0, 10**9))
def test_more_money_never_counts_less(case: dict[str, int], more: int) -> None:
    net = set_up(case)
    richer = min(net + more, AMOUNT_MAX)
    assert convert(TWIN, XBT, richer) >= convert(TWIN, XBT, net)


def test_a_loss_makes_a_debt_that_counts_in_full() -> None:
    """COLL-02: coins do not pay a loss in dollars; the debt counts with its liability haircut."""
    state = house(2, deposits=[(XBT, 10**9)])
    state.asset[USD, LIABILITY_HAIRCUT_PPB] = PPB // 20
    # 100 lots lose 1 USD each: bought at 5,000 USD and sold at 4,000.
    trade(state, FIRST, FIRST + 1, LINEAR, 100, 5_000_000_000)
    trade(state, FIRST + 1, FIRST, LINEAR, 100, 4_000_000_000)
    assert balances(state, USD) == {FIRST: -100 * 10**6, FIRST + 1: 100 * 10**6}
    assert balances(state, XBT)[FIRST] == 10**9
    assert convert(state, USD, -100 * 10**6) == -105 * 10**6
    assert convert_raw(state, USD, -100 * 10**6) == -100 * 10**6
