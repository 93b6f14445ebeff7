"""Fills: the kernel and its plain twin agree on every word, and nothing is made or lost."""

import random
import sys
from collections import Counter

import numpy as np
import pytest

from seawall.clearing import layout
from seawall.clearing.kernels import fills as kernel
from seawall.clearing.kernels import twins
from seawall.clearing.kernels.columns import Column, zeros_aligned
from seawall.clearing.kernels.positions import Book
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Kind
from seawall.protocol.ids import FEES, ROW_MASK, account_id
from seawall.protocol.units import AMOUNT_MAX, INT64_MAX, INT64_MIN

ACCOUNTS, EXTENSIONS, INSTRUMENTS, ASSETS = 48, 11, 72, 3
FEE_ROW = FEES & ROW_MASK
CODES = (
    0,
    Reject.ACCOUNT_UNKNOWN,
    Reject.INSTRUMENT_UNKNOWN,
    Reject.LOTS_RANGE,
    Reject.PRICE_RANGE,
    Reject.SIDES_SAME,
    Reject.INSTRUMENT_CLOSED,
    Reject.LOTS_LIMIT,
    Reject.AMOUNT_OVERFLOW,
    Reject.POSITIONS_FULL,
)


def list_instrument(row: Column, kind: int, **terms: int) -> None:
    """Write one instrument's terms, a plain linear contract unless said otherwise."""
    plain = {
        "ASSET": 0,
        "STATUS": 1,
        "VALUE_PER_TICK": 100,
        "VALUE_SCALE": 10_000,
        "LOTS_MAX": 5_000,
        "PRICE_MIN": 10,
        "PRICE_MAX": 90_000,
        "MAKER_FEE_PPB": -250_000,
        "TAKER_FEE_PPB": 750_000,
    }
    row[layout.KIND] = kind
    for name, value in (plain | terms).items():
        row[getattr(layout, name)] = value


def new_book() -> Book:
    """Return a small house of every kind of contract, some of them made to overflow."""
    book = Book(
        accounts=zeros_aligned(ACCOUNTS, layout.ACCOUNT_WIDTH),
        extensions=zeros_aligned(EXTENSIONS, layout.EXTENSION_WIDTH),
        instruments=zeros_aligned(INSTRUMENTS, layout.INSTRUMENT_WIDTH),
        meta=np.zeros(layout.META_WIDTH, np.int64),
        touched=np.zeros(ACCOUNTS, np.int32),
        touched_count=np.zeros(1, np.int64),
    )
    for row in range(1, ACCOUNTS):
        book.accounts[row, layout.ID] = account_id(1 + row % 3 if row > 8 else 1, row)
        book.accounts[row, layout.LIFE] = layout.LIFE_OPEN
        balances = [10**9 * row, -(10**6), 10**12]
        book.accounts[row, layout.BALANCE : layout.BALANCE + ASSETS] = balances
    book.accounts[40, layout.LIFE] = layout.LIFE_CLOSED
    book.accounts[41, [layout.ID, layout.LIFE]] = 0
    book.accounts[42, layout.BALANCE] = AMOUNT_MAX
    book.accounts[43, layout.BALANCE] = -AMOUNT_MAX
    book.extensions[:, layout.NEXT] = [*range(2, EXTENSIONS + 1), 0]
    book.meta[layout.EXTENSION_FREE] = 1
    for instrument in range(1, 60):
        list_instrument(book.instruments[instrument], Kind.LINEAR_PERPETUAL)
    special = iter(book.instruments[60:])
    inverse = {"ASSET": 1, "INVERSE_NUMERATOR": 10**13, "VALUE_SCALE": 1000}
    list_instrument(next(special), Kind.INVERSE_PERPETUAL, **inverse)
    list_instrument(next(special), Kind.INVERSE_FUTURE, **inverse, LOTS_MAX=10**6)
    list_instrument(next(special), Kind.OPTION, STYLE=1, FEE_NOTIONAL=10**9, VALUE_SCALE=1)
    list_instrument(next(special), Kind.OPTION, FEE_NOTIONAL=AMOUNT_MAX // 3)
    list_instrument(next(special), Kind.LINEAR_FUTURE, STATUS=2)
    list_instrument(next(special), Kind.LINEAR_FUTURE, VALUE_PER_TICK=AMOUNT_MAX // 10**7)
    list_instrument(next(special), Kind.LINEAR_FUTURE, VALUE_PER_TICK=-7, VALUE_SCALE=1)
    list_instrument(next(special), Kind.LINEAR_FUTURE, TAKER_FEE_PPB=10**18, VALUE_SCALE=1)
    list_instrument(
        next(special), Kind.LINEAR_FUTURE, VARIATION=AMOUNT_MAX, RESIDUAL=AMOUNT_MAX - 10**5
    )
    list_instrument(next(special), Kind.LINEAR_FUTURE, LOTS_MAX=AMOUNT_MAX, VALUE_PER_TICK=1)
    list_instrument(next(special), Kind.LINEAR_FUTURE, OPEN_INTEREST=AMOUNT_MAX - 9)
    return book


def draw_fill(rng: random.Random, book: Book) -> twins.Fill:
    """Return a fill that is mostly sound; some accounts trade everything, most trade little."""
    busy = rng.randrange(20) > 2
    rows = rng.sample((2, 9, 10, 11, 12, 13) if busy else range(1, 44), 2)
    sides = [int(book.accounts[row, layout.ID]) for row in rows]
    instrument = rng.randrange(60, 71) if rng.randrange(4) == 0 else 1 + int(59 * rng.random() ** 3)
    lots = rng.choice((1, 2, 3, 7, rng.randrange(1, 400), rng.randrange(1, 5001)))
    if book.instruments[instrument, layout.LOTS_MAX] > 10**6 and rng.randrange(2):
        lots = rng.randrange(1, AMOUNT_MAX // 10_000)
    price = rng.randrange(10, 90_000) if rng.randrange(3) else rng.randrange(20_000, 20_100)
    wrong = rng.randrange(200)
    if wrong == 4:
        sides[1] = sides[0]
    if wrong == 0:
        sides[rng.randrange(2)] = rng.choice((0, -1, 10**6, 9 << 32 | 9, INT64_MAX, INT64_MIN))
    elif wrong == 1:
        instrument = rng.choice((0, -1, 71, 72, -(1 << 31), (1 << 31) - 1))
    elif wrong == 2:
        lots = rng.choice((0, -1, AMOUNT_MAX + 1, INT64_MAX, INT64_MIN))
    elif wrong == 3:
        price = rng.choice((0, -1, 9, 90_001, INT64_MAX, INT64_MIN))
    return twins.Fill(sides[0], sides[1], instrument, lots, price, rng.randrange(4))


def close_some(rng: random.Random, book: Book) -> list[twins.Fill]:
    """Return fills that close whole positions, so that slots and extension rows come free."""
    books = twins.read_books(book, 0)
    rows = rng.sample((9, 10, 11), 2)
    account_a, account_b = (int(book.accounts[row, layout.ID]) for row in rows)
    fills = []
    for instrument, lots, _ in books.accounts[account_a].positions[:: rng.randrange(1, 4)]:
        sides = (account_b, account_a) if lots > 0 else (account_a, account_b)
        fills.append(twins.Fill(*sides, instrument, abs(lots), 20_000, rng.randrange(2)))
    rng.shuffle(fills)
    return fills


def columns(fills: list[twins.Fill]) -> kernel.Fills:
    """Return fills by column."""
    by_field = list(zip(*fills, strict=True))
    kinds = (np.int64, np.int64, np.int32, np.int64, np.int64, np.uint8)
    return kernel.Fills(*(np.array(c, kind) for c, kind in zip(by_field, kinds, strict=True)))


def post_both(book: Book, fills: list[twins.Fill], seq: int) -> list[list[int]]:
    """Post by kernel and by twin; every result and every word must agree. Return the results."""
    books = twins.read_books(book, seq)
    expected = twins.post_fills(books, fills, FEES)
    wanted = twins.write_books(books, book)
    results = np.full((len(fills), kernel.RESULT_CELLS), -1, np.int64)
    kernel.post_fills(columns(fills), book, seq, FEE_ROW, results)
    assert results.tolist() == expected
    assert differing(book, wanted) == []
    return expected


def differing(book: Book, other: Book) -> list[str]:
    """Return the names of the arrays in which two books differ."""
    return [
        name
        for name in Book._fields
        if not np.array_equal(getattr(book, name), getattr(other, name))
    ]


def sums(book: Book) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Return per asset all balances with variation, and per instrument what must stay constant."""
    books = twins.read_books(book, 0)
    per_asset = [sum(a.balances[asset] for a in books.accounts.values()) for asset in range(ASSETS)]
    per_contract = []
    for instrument, contract in books.contracts.items():
        per_asset[contract[layout.ASSET]] += contract[layout.VARIATION]
        held = [p for a in books.accounts.values() for p in a.positions if p[0] == instrument]
        cost = sum(cost for _, _, cost in held)
        booked = contract[layout.RESIDUAL]
        booked -= contract[layout.VARIATION] * contract[layout.VALUE_SCALE]
        open_interest = sum(lots for _, lots, _ in held if lots > 0)
        assert sum(lots for _, lots, _ in held) == 0
        assert all(lots for _, lots, _ in held)
        per_contract.append(
            (
                cost - booked,
                cost + contract[layout.OPEN_COST],
                open_interest - contract[layout.OPEN_INTEREST],
            )
        )
    return per_asset, per_contract


def test_kernel_equals_twin_and_conserves_over_many_fills() -> None:
    """Over 20,000 fills, refusals of every code and extension rows among them (LEDG-05)."""
    rng = random.Random(20_200_312)
    book = new_book()
    before = sums(book)
    codes: Counter[int] = Counter()
    extended, seq = 0, 0
    while codes.total() < 26_000:
        seq += 1
        book.touched_count[0] = 0
        fills = [draw_fill(rng, book) for _ in range(rng.randrange(1, 160))]
        if seq % 2 == 0:
            fills += close_some(rng, book)
        codes.update(result[0] for result in post_both(book, fills, seq))
        extended = max(extended, int(book.accounts[:, layout.POSITION_COUNT].max()))
        assert sums(book) == before
    assert sorted(codes) == sorted(int(code) for code in CODES)
    assert min(codes.values()) >= 20
    assert codes[0] > 12_000
    assert extended > 32


@pytest.mark.parametrize("fee_side", [0, 1])
def test_fee_account_may_be_a_side(fee_side: int) -> None:
    """The fees a side pays to itself come back to the very balance that the fill moved."""
    book = new_book()
    other = int(book.accounts[9, layout.ID])
    first, second = (FEES, other) if fee_side == 0 else (other, FEES)
    fills = [
        twins.Fill(first, second, 5, 700, 20_000, 1),
        twins.Fill(second, first, 5, 800, 20_100, 1),
    ]
    before = sums(book)
    results = post_both(book, fills, 1)
    assert [result[0] for result in results] == [0, 0]
    assert results[1][3] + results[1][4] != 0
    assert sums(book) == before
    assert sorted(book.touched[: book.touched_count[0]].tolist()) == [FEE_ROW, 9]


def test_rows_are_touched_once_per_entry() -> None:
    """Two batches of one entry extend one list; the next entry starts its own."""
    book = new_book()
    buyer, seller = (int(book.accounts[row, layout.ID]) for row in (9, 10))
    fill = twins.Fill(buyer, seller, 5, 1, 20_000, 0)
    post_both(book, [fill, fill], 7)
    post_both(book, [fill], 7)
    assert book.touched[: book.touched_count[0]].tolist() == [9, 10, FEE_ROW]
    book.touched_count[0] = 0
    post_both(book, [fill], 8)
    assert book.touched[: book.touched_count[0]].tolist() == [9, 10, FEE_ROW]
    assert book.instruments[5, layout.TOUCHED_INSTRUMENT] == 8


def test_refused_fill_leaves_no_trace() -> None:
    """A fill that is refused at the last check has written nothing."""
    book = new_book()
    rows = (9, 10, 11, 12)
    accounts = [int(book.accounts[row, layout.ID]) for row in rows]
    fills = []
    for instrument in range(1, 60):
        fills += [twins.Fill(accounts[0], s, instrument, 5, 20_000, 0) for s in accounts[1:]]
    results = post_both(book, fills, 1)
    first_full = [result[0] for result in results].index(Reject.POSITIONS_FULL)
    book.touched_count[0] = 0
    before = twins.copy_book(book)
    again = post_both(book, [fills[first_full]], 2)
    assert again == [results[first_full]]
    assert again == [[Reject.POSITIONS_FULL, 2, 0, 0, 0]]
    assert differing(book, before) == []


def test_house_is_exact_at_the_bounds() -> None:
    """A cost of the largest amount closes by parts without losing a unit."""
    book = new_book()
    buyer, seller = (int(book.accounts[row, layout.ID]) for row in (9, 10))
    large = AMOUNT_MAX // 90_000
    fills = [twins.Fill(buyer, seller, 69, large, 89_999, 0)]
    fills += [twins.Fill(seller, buyer, 69, large // 7, 89_998 - n, 1) for n in range(6)]
    fills += [twins.Fill(seller, buyer, 69, large - 6 * (large // 7), 10, 1)]
    before = sums(book)
    assert [result[0] for result in post_both(book, fills, 1)] == [0] * 8
    assert sums(book) == before
    assert twins.read_books(book, 0).accounts[buyer].positions == []


def test_calls_leave_arrays_as_owned_as_before() -> None:
    """Kernels run without numba's reference counts and must keep nothing."""
    book = new_book()
    fills = columns([twins.Fill(FEES, int(book.accounts[9, layout.ID]), 5, 1, 20_000, 0)])
    results = np.zeros((1, kernel.RESULT_CELLS), np.int64)
    arrays = [*book, *fills, results]
    kernel.post_fills(fills, book, 1, FEE_ROW, results)
    before = [sys.getrefcount(array) for array in arrays]
    for seq in range(50):
        book.touched_count[0] = 0
        kernel.post_fills(fills, book, seq, FEE_ROW, results)
    assert [sys.getrefcount(array) for array in arrays] == before


def test_bounds_belong_to_what_is_allowed() -> None:
    """The very bound posts and one beyond it is refused, for prices, lots and positions."""
    book = new_book()
    buyer, seller = (int(book.accounts[row, layout.ID]) for row in (9, 10))
    cases = [
        (1, 10, 0),
        (1, 9, Reject.PRICE_RANGE),
        (1, 90_000, 0),
        (1, 90_001, Reject.PRICE_RANGE),
        (5_001, 20_000, Reject.LOTS_RANGE),
        (4_999, 20_000, Reject.LOTS_LIMIT),
        (4_998, 20_000, 0),
        (1, 20_000, Reject.LOTS_LIMIT),
    ]
    fills = [twins.Fill(buyer, seller, 5, lots, price, 0) for lots, price, _ in cases]
    results = post_both(book, fills, 1)
    assert [result[0] for result in results] == [code for _, _, code in cases]
    # At their limits both may still trade all of it back, and as much again the other way.
    back = [twins.Fill(seller, buyer, 5, 5_000, 20_000, 0)] * 3
    codes = [result[0] for result in post_both(new_touched(book), back, 2)]
    assert codes == [0, 0, Reject.LOTS_LIMIT]


def new_touched(book: Book) -> Book:
    """Return the book with an empty list of touched rows, as every entry finds it."""
    book.touched_count[0] = 0
    return book


def test_one_free_extension_is_not_given_to_both_sides() -> None:
    """A fill that needs two rows of a pool of one is refused; one that needs one is not."""
    book = new_book()
    book.extensions[:, layout.NEXT] = 0
    one, other, third = (int(book.accounts[row, layout.ID]) for row in (9, 10, 11))
    fills = [twins.Fill(one, other, instrument, 5, 20_000, 0) for instrument in range(1, 18)]
    fills.append(twins.Fill(third, other, 17, 5, 20_000, 0))
    codes = [result[0] for result in post_both(book, fills, 1)]
    assert codes == [0] * 16 + [Reject.POSITIONS_FULL, 0]
    assert book.meta[layout.EXTENSION_FREE] == 0
    assert book.accounts[10, layout.EXTENSION] == 1
