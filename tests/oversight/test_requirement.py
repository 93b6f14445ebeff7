"""Equity and requirement by hand. Dollars have 6 decimals, coins 8; the index stands at 8,000."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.oversight.books import Account, Holding
from seawall.oversight.house import Asset, House
from seawall.oversight.listing import tier_deductions
from seawall.oversight.requirement import Valuation, convert
from seawall.protocol.commands import AssetTerms, Mode, Tier
from seawall.protocol.events import Grade
from seawall.protocol.units import PPB
from tests.oversight.teller import Teller
from tests.oversight.world import (
    CALL,
    ETH_INDEX,
    FUTURE,
    INDEX,
    INVERSE,
    LINEAR,
    MINUTE_NS,
    PUT,
    TIERS,
    TRADED,
    USD,
    XBT,
    World,
)

DOLLAR, COIN = 10**6, 10**8


def open_house(index: int = 800_000) -> House:
    """A house whose marks are all fresh at one price; options are worth 20 dollars a coin."""
    world = World(Teller().tell)
    world.list_all()
    value = 2_000 * 1_000
    rows = {LINEAR: [-5, 3], FUTURE: [-4, 3], CALL: [-2, 4], PUT: [3, -1]}
    world.attest(1, rows, {CALL: value, PUT: value}, scale=DOLLAR)
    world.prices({INDEX: index, TRADED: index, ETH_INDEX: 20_000})
    world.tick(MINUTE_NS)
    house = world.auditor.house
    assert house is not None
    assert {each.grade for each in house.books.contracts.values()} == {Grade.FRESH}
    return house


@pytest.fixture(name="house")
def _house() -> House:
    return open_house()


def account(house: House, *, mode: int = Mode.CROSS, **lots: tuple[int, int]) -> Account:
    """An account holding (lots, cost) of instruments named p1, p2 ..."""
    held = {int(name[1:]): Holding(*pair) for name, pair in lots.items()}
    return Account(99, 1, mode, [0] * len(house.assets), holdings=held)


def maintenance_of(house: House, instrument: int, lots: int) -> int:
    contract = house.books.contracts[instrument]
    return Valuation(house).position_maintenance(contract, lots)


def test_only_what_lies_above_a_floor_pays_its_rate(house: House) -> None:
    # A lot is 8 dollars; half a percent to 20,000, one to 100,000, five above: the marginal
    # brackets that futures venues publish as "rate times notional less maintenance amount".
    assert maintenance_of(house, LINEAR, 1_000) == 40 * DOLLAR
    assert maintenance_of(house, LINEAR, 2_500) == 100 * DOLLAR
    assert maintenance_of(house, LINEAR, -10_000) == (100 + 600) * DOLLAR
    assert maintenance_of(house, LINEAR, 20_000) == (100 + 800 + 3_000) * DOLLAR


def test_deductions_make_the_tiers_meet() -> None:
    # 20,000 * 0.5 % = 100 dollars; 100 + 100,000 * 4 % = 4,100 dollars.
    assert tier_deductions(TIERS) == (0, 100 * DOLLAR, 4_100 * DOLLAR)


def test_an_inverse_position_is_measured_in_coin_and_valued(house: House) -> None:
    # 8,000 contracts of a dollar are one coin at 8,000; half a percent of 8,000 dollars.
    assert maintenance_of(house, INVERSE, 8_000) == 40 * DOLLAR


def test_initial_is_a_multiple_and_more_in_doubt(house: House) -> None:
    holder = account(house, p1=(1_000, 0))
    assert Valuation(house).requirement(holder) == (40 * DOLLAR, 80 * DOLLAR)
    house.books.contracts[LINEAR].grade = Grade.STALE
    assert Valuation(house).requirement(holder) == (40 * DOLLAR, 120 * DOLLAR)


def test_in_doubt_no_requirement_falls(house: House) -> None:
    holder = account(house, p1=(1_000, 0))
    holder.maintenance, holder.initial = 70 * DOLLAR, 90 * DOLLAR
    fresh = Valuation(house).evaluate(holder)
    assert (fresh.maintenance, fresh.initial) == (40 * DOLLAR, 80 * DOLLAR)
    house.books.contracts[LINEAR].grade = Grade.DEVIATING
    doubtful = Valuation(house).evaluate(holder)
    assert (doubtful.maintenance, doubtful.initial) == (70 * DOLLAR, 120 * DOLLAR)


def test_a_short_call_at_the_money_pays_the_rate(house: House) -> None:
    # 15 % of the 8 dollars under one lot.
    assert maintenance_of(house, CALL, -10) == 12 * DOLLAR


def test_a_short_option_out_of_the_money_pays_less_but_never_below_the_floor() -> None:
    # The index falls to 7,800: 15 % of 7.80 less 0.20 out of the money is 0.97; floor 0.78.
    assert maintenance_of(open_house(780_000), CALL, -100) == 97 * DOLLAR
    # At 7,200: 1.08 - 0.80 = 0.28, but the floor of 10 % is 0.72.
    assert maintenance_of(open_house(720_000), CALL, -100) == 72 * DOLLAR
    # The put is in the money there: the full 15 % of 7.20.
    assert maintenance_of(open_house(720_000), PUT, -100) == 108 * DOLLAR


def test_a_long_option_paid_for_needs_nothing_and_one_on_margin_all_it_is_worth(
    house: House,
) -> None:
    assert maintenance_of(house, CALL, 1_000) == 0
    # 20 dollars a coin are 2 cents a lot.
    assert maintenance_of(house, PUT, 1_000) == 20 * DOLLAR


def test_portfolio_takes_the_worst_row(house: House) -> None:
    # Rows of one lot, dollars: perpetual (-5, 3), call (-2, 4), put (3, -1).
    # 10 perpetuals and 20 puts: (-50 + 60, 30 - 20): no loss in any row.
    hedged = account(house, mode=Mode.PORTFOLIO, p1=(10, 0), p6=(20, 0))
    assert Valuation(house).requirement(hedged) == (0, 0)
    # 10 perpetuals and 10 puts: (-20, 20): the first row binds.
    partly = account(house, mode=Mode.PORTFOLIO, p1=(10, 0), p6=(10, 0))
    assert Valuation(house).requirement(partly) == (20 * DOLLAR, 40 * DOLLAR)
    # The inverse perpetual has no rows: it is charged by tiers beside them.
    mixed = account(house, mode=Mode.PORTFOLIO, p1=(10, 0), p2=(8_000, 0))
    assert Valuation(house).requirement(mixed) == (90 * DOLLAR, 180 * DOLLAR)


def test_lapsed_rows_count_no_less_than_tiers(house: House) -> None:
    holder = account(house, mode=Mode.PORTFOLIO, p1=(1_000, 0), p6=(1_500, 0))
    # Rows: (-5,000 + 4,500, 3,000 - 1,500) = a loss of 500; tiers: 40 and 30 dollars.
    assert Valuation(house).requirement(holder) == (500 * DOLLAR, 1_000 * DOLLAR)
    house.units[1].status = 2
    assert Valuation(house).requirement(holder) == (500 * DOLLAR, 1_500 * DOLLAR)
    house.units[1].scale = 1
    assert Valuation(house).requirement(holder) == (70 * DOLLAR, 210 * DOLLAR)


def test_collateral_counts_less_a_haircut_and_debt_more(house: House) -> None:
    coin = house.assets[XBT]
    assert coin.price == 8_000 * DOLLAR
    assert convert(coin, COIN // 2) == 3_800 * DOLLAR
    assert convert(coin, -COIN // 10) == -856 * DOLLAR
    assert convert(coin, -COIN // 10, haircut=False) == -800 * DOLLAR
    # One satoshi is 80 millionths: 5 % off leaves 76; owed, 7 % more is 85.6, rounded up.
    assert (convert(coin, 1), convert(coin, -1)) == (76, -86)


def test_equity_adds_what_is_unrealised_in_its_own_asset(house: House) -> None:
    # Long 1,000 at 7,900: a profit of 100 dollars; long 8,000 inverse at 10,000: 0.2 coins lost.
    value_at_10000 = -(10**14) // 1_000_000
    holder = account(house, p1=(1_000, 1_000 * 790_000 * 1_000), p2=(8_000, 8_000 * value_at_10000))
    holder.balances[USD], holder.balances[XBT] = 1_000 * DOLLAR, COIN // 2
    expected = 1_100 * DOLLAR + Fraction(3, 10) * 8_000 * DOLLAR * Fraction(95, 100)
    assert Valuation(house).equity(holder) == expected
    # Without gains the hundred dollars do not count; the loss in coin still does.
    assert Valuation(house).equity(holder, gains=False) == expected - 100 * DOLLAR


TIER_LISTS = st.lists(
    st.tuples(st.integers(1, 10**12), st.integers(0, PPB // 10)), min_size=0, max_size=7
)


@settings(max_examples=200, deadline=None)
@given(TIER_LISTS, st.integers(1, PPB // 10), st.integers(0, 10**14))
def test_tiers_equal_the_marginal_sum_up_to_rounding(
    steps: list[tuple[int, int]], first: int, notional: int
) -> None:
    tiers = [Tier(0, first)]
    for width, rise in steps:
        tiers.append(Tier(tiers[-1].floor_minor + width, tiers[-1].rate_ppb + rise))
    exact = Fraction(0)
    for position, tier in enumerate(tiers):
        top = tiers[position + 1].floor_minor if position + 1 < len(tiers) else notional
        exact += Fraction(max(0, min(notional, top) - tier.floor_minor) * tier.rate_ppb, PPB)
    deductions = tier_deductions(tuple(tiers))
    last = max(n for n, tier in enumerate(tiers) if tier.floor_minor <= notional)
    charge = -(-notional * tiers[last].rate_ppb // PPB) - deductions[last]
    # Each deduction is rounded down, the charge up: never too little, less than one unit a tier.
    assert exact <= charge < exact + len(tiers) + 1


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**15), 10**15), st.integers(0, 10**12), st.integers(0, PPB))
def test_conversion_is_against_the_account(net: int, price: int, haircut: int) -> None:
    asset = open_asset(price, haircut)
    exact = Fraction(net * price, asset.unit)
    counted = convert(asset, net)
    factor = Fraction(PPB - haircut if net >= 0 else PPB + haircut, PPB)
    assert exact * factor - 3 < counted <= exact * factor


def open_asset(price: int, haircut: int) -> Asset:
    terms = AssetTerms("X", 8, haircut, haircut, 1, 1)
    return Asset(terms, COIN, price, Grade.FRESH)
