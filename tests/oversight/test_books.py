"""The auditor's own ledger: sides of fills worked out by hand, and conservation at random."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.oversight.books import Account, Books, Contract, Holding, ceil_div, fill_side
from seawall.protocol.commands import InstrumentTerms, Kind
from tests.oversight.world import make_terms


def make_contract(**changes: object) -> Contract:
    return Contract(1, make_terms("PERP", Kind.LINEAR_PERPETUAL, **changes))


def make_books(count: int = 4) -> tuple[Books, list[Account]]:
    books = Books(2)
    accounts = [Account(number, 1, 1, [0, 0]) for number in range(1, count + 1)]
    books.accounts = {each.id: each for each in accounts}
    return books, accounts


def test_opening_carries_the_value_as_cost() -> None:
    assert fill_side(Holding(), 3, 800_000, premium=False) == (Holding(3, 2_400_000), 0)
    assert fill_side(Holding(), -3, 800_000, premium=False) == (Holding(-3, -2_400_000), 0)


def test_adding_adds_to_the_cost() -> None:
    assert fill_side(Holding(3, 2_400_000), 1, 804_000, premium=False) == (
        Holding(4, 3_204_000),
        0,
    )


def test_closing_a_part_takes_its_share_of_the_cost_rounded_up() -> None:
    # One of three lots that cost 1,000: 333 1/3, hence 334 leave and the profit is 400 - 334.
    assert fill_side(Holding(3, 1_000), -1, 400, premium=False) == (Holding(2, 666), 66)
    # A short of three that brought in 1,000: the share is -333 1/3, rounded up to -333.
    assert fill_side(Holding(-3, -1_000), 1, 300, premium=False) == (Holding(-2, -667), 33)


def test_closing_all_leaves_no_cost() -> None:
    assert fill_side(Holding(3, 1_000), -3, 400, premium=False) == (Holding(), 200)


def test_turning_closes_all_and_opens_the_rest_at_the_new_value() -> None:
    assert fill_side(Holding(3, 1_000), -5, 400, premium=False) == (Holding(-2, -800), 200)
    assert fill_side(Holding(-2, -800), 3, 350, premium=False) == (Holding(1, 350), 100)


def test_an_inverse_lot_gains_when_the_price_rises() -> None:
    contract = Contract(2, make_terms("XBTUSD", Kind.INVERSE_PERPETUAL))
    # 10^14 / 800,000 ticks = 1.25 * 10^8 value units of 10^-4 satoshi: 12,500 satoshi a dollar.
    assert contract.value_at(800_000) == -125_000_000
    assert contract.value_at(1_000_000) == -100_000_000
    held, _ = fill_side(Holding(), 10, contract.value_at(800_000), premium=False)
    assert fill_side(held, -10, contract.value_at(1_000_000), premium=False)[1] == 250_000_000


def test_an_inverse_value_is_rounded_down_in_magnitude() -> None:
    contract = Contract(2, make_terms("XBTUSD", Kind.INVERSE_PERPETUAL))
    assert contract.value_at(700_001) == -(10**14 // 700_001)
    assert Fraction(-(10**14), 700_001) < contract.value_at(700_001)


def test_a_premium_moves_in_cash_and_leaves_no_cost() -> None:
    assert fill_side(Holding(), 5, 700, premium=True) == (Holding(5, 0), -3_500)
    assert fill_side(Holding(5, 0), -5, 900, premium=True) == (Holding(0, 0), 4_500)


def test_what_rounding_keeps_stays_with_the_contract() -> None:
    books, (buyer, seller, *_) = make_books()
    contract = make_contract()
    books.trade(buyer, contract, 1, 150)
    books.trade(seller, contract, -1, 150)
    # Selling at 275 realises 125 value units: 1 minor unit and 25 hundredths of one.
    assert books.trade(buyer, contract, -1, 275) == 1
    # The other side loses 125, booked as 2: rounded down, against the account.
    assert books.trade(seller, contract, 1, 275) == -2
    assert contract.residual == 25 + 75
    assert contract.variation == 1
    assert (buyer.balances[0], seller.balances[0]) == (1, -2)
    assert books.asset_sums == [0, 0]


def test_ceil_div_rounds_towards_plus_infinity() -> None:
    assert [ceil_div(a, 3) for a in (-4, -3, -1, 0, 1, 3, 4)] == [-1, -1, 0, 0, 1, 1, 2]


FILLS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(1, 10**6),
        st.integers(1_000, 10_000_000),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(FILLS, st.sampled_from([Kind.LINEAR_PERPETUAL, Kind.INVERSE_PERPETUAL]))
def test_fills_conserve_money_lots_and_costs(
    fills: list[tuple[int, int, int, int]], kind: Kind
) -> None:
    books, accounts = make_books()
    terms: InstrumentTerms = make_terms("X", kind)
    contract = Contract(1, terms)
    for buyer, seller, lots, ticks in fills:
        if buyer == seller:
            continue
        value = contract.value_at(ticks)
        books.trade(accounts[buyer], contract, lots, value)
        books.trade(accounts[seller], contract, -lots, value)
        balances = sum(each.balances[terms.asset_id] for each in accounts)
        assert balances + contract.variation == 0
        held = [each.holdings.get(1, Holding()) for each in accounts]
        assert sum(each.lots for each in held) == contract.lots_sum == 0
        assert sum(each.cost for each in held) == contract.costs_sum
        assert contract.costs_sum == contract.residual - contract.variation * terms.value_scale
        assert contract.residual >= 0
        assert contract.long_lots == sum(max(0, each.lots) for each in held)
        assert all(each.cost == 0 for each in held if each.lots == 0)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 10**6)), min_size=1, max_size=30
    )
)
def test_rounding_never_favours_the_account(sides: list[tuple[int, int]]) -> None:
    """Against exact average cost, what is realised and kept open is never more."""
    held, realised = Holding(), 0
    lots, cost, exact = 0, Fraction(0), Fraction(0)
    for size, value in sides:
        held, gain = fill_side(held, size, value, premium=False)
        realised += gain
        if lots * size < 0:
            closed = min(abs(size), abs(lots)) * (1 if lots > 0 else -1)
            share = cost * Fraction(abs(closed), abs(lots))
            exact += closed * value - share
            cost += -share + (size + closed) * value
        else:
            cost += size * value
        lots += size
    assert held.lots == lots
    assert realised <= exact
    # What is not realised now is still in the cost: nothing is lost, only later.
    assert realised - held.cost == exact - cost
