"""Novated fills: the bare kernel against its C twin and plain Python, on equal books."""

import ctypes
from collections.abc import Callable

import numpy as np

from benchmarks.figure import WARM_ROUNDS, Figure, rate, speed_ratio, time_in_turns
from benchmarks.native import compile_twin
from seawall.clearing import layout
from seawall.clearing.kernels import twins
from seawall.clearing.kernels.columns import Column, zeros_aligned
from seawall.clearing.kernels.fills import RESULT_CELLS, Fills, post_fills
from seawall.clearing.kernels.positions import Book
from seawall.protocol.commands import Kind
from seawall.protocol.ids import FEES, HOUSE_ROWS, ROW_BITS, account_row

ENTRY_FILLS = 8_192
ENTRIES = 20
"""Entries that one round posts."""
ROUNDS = 9
INSTRUMENTS = 1_000
INSTRUMENTS_EACH = 10
GROUPS = INSTRUMENTS // INSTRUMENTS_EACH
"""Accounts of one group trade the same ten instruments among themselves."""
PYTHON_FILLS, PYTHON_ROUNDS = 1_000, 5
MILLION = 1_000_000


def open_book(accounts: int) -> Book:
    """Return a house of open accounts and linear and inverse contracts, without positions."""
    book = Book(
        zeros_aligned(accounts, layout.ACCOUNT_WIDTH),
        zeros_aligned(64, layout.EXTENSION_WIDTH),
        zeros_aligned(INSTRUMENTS + 1, layout.INSTRUMENT_WIDTH),
        np.zeros(layout.META_WIDTH, np.int64),
        np.zeros(accounts, np.int32),
        np.zeros(1, np.int64),
    )
    book.accounts[1:, layout.ID] = (1 << ROW_BITS) + np.arange(1, accounts)
    book.accounts[1:, layout.LIFE] = layout.LIFE_OPEN
    book.accounts[:, layout.BALANCE] = 10**12
    book.extensions[:, layout.NEXT] = [*range(2, 65), 0]
    book.meta[layout.EXTENSION_FREE] = 1
    terms = book.instruments[1:]
    terms[:, layout.KIND] = Kind.LINEAR_PERPETUAL
    terms[1::2, layout.KIND] = Kind.INVERSE_PERPETUAL
    terms[:, layout.STATUS] = 1
    terms[:, layout.VALUE_PER_TICK] = 1_000
    terms[:, layout.INVERSE_NUMERATOR] = 10**14
    terms[:, layout.VALUE_SCALE] = 100
    terms[:, layout.LOTS_MAX] = 10**6
    terms[:, layout.PRICE_MIN] = 1_000
    terms[:, layout.PRICE_MAX] = 10**6
    terms[:, layout.MAKER_FEE_PPB] = -100_000
    terms[:, layout.TAKER_FEE_PPB] = 500_000
    return book


def draw_fills(draw: np.random.Generator, accounts: int, count: int) -> Fills:
    """Return fills between accounts of one group each, every account as likely as any other."""
    places = (accounts - HOUSE_ROWS) // GROUPS
    group = draw.integers(0, GROUPS, count)
    one, step = draw.integers(0, places, count), draw.integers(1, places, count)
    buyer = HOUSE_ROWS + group + GROUPS * one
    seller = HOUSE_ROWS + group + GROUPS * ((one + step) % places)
    nth = draw.integers(0, INSTRUMENTS_EACH, count)
    return Fills(
        (1 << ROW_BITS) + buyer,
        (1 << ROW_BITS) + seller,
        (1 + group * INSTRUMENTS_EACH + nth).astype(np.int32),
        draw.integers(1, 1_000, count),
        draw.integers(20_000, 20_400, count),
        draw.integers(0, 2, count).astype(np.uint8),
    )


def fill_book(book: Book, draw: np.random.Generator) -> None:
    """Give the accounts most of their positions, so that a round mostly changes them."""
    accounts = book.accounts.shape[0]
    for _ in range(accounts * INSTRUMENTS_EACH // ENTRY_FILLS):
        fills = draw_fills(draw, accounts, ENTRY_FILLS)
        book.touched_count[0] = 0
        post_fills(fills, book, -1, account_row(FEES), results_for(fills))
    book.accounts[:, layout.TOUCHED] = 0


def results_for(fills: Fills) -> Column:
    """Return where the results of an entry go."""
    return np.zeros((len(fills.lots), RESULT_CELLS), np.int64)


class CBook(ctypes.Structure):
    """`struct book` of fills.c."""

    _fields_ = (
        ("accounts", ctypes.c_void_p),
        ("accounts_max", ctypes.c_int64),
        ("extensions", ctypes.c_void_p),
        ("instruments", ctypes.c_void_p),
        ("instruments_max", ctypes.c_int64),
        ("meta", ctypes.c_void_p),
        ("touched", ctypes.c_void_p),
        ("touched_count", ctypes.c_void_p),
    )


class CFills(ctypes.Structure):
    """`struct fills` of fills.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in Fills._fields),
        ("count", ctypes.c_int64),
    )


def c_twin(book: Book, results: Column) -> Callable[[Fills, int], object] | None:
    """Return how the C twin posts an entry to `book`, or None without a compiler."""
    library = compile_twin("fills")
    if library is None:
        return None
    there = CBook(
        book.accounts.ctypes.data,
        book.accounts.shape[0],
        book.extensions.ctypes.data,
        book.instruments.ctypes.data,
        book.instruments.shape[0],
        book.meta.ctypes.data,
        book.touched.ctypes.data,
        book.touched_count.ctypes.data,
    )
    fee_row = ctypes.c_int64(account_row(FEES))
    out = ctypes.c_void_p(results.ctypes.data)

    def post(fills: Fills, seq: int) -> None:
        columns = CFills(*(column.ctypes.data for column in fills), len(fills.lots))
        library.post_fills(
            ctypes.byref(columns), ctypes.byref(there), ctypes.c_int64(seq), fee_row, out
        )

    return post


class Contender:
    """One way to post entries, to a book of its own, round by round."""

    def __init__(self, book: Book, rounds: list[list[Fills]]) -> None:
        self.book = book
        self.results = np.zeros((ENTRY_FILLS, RESULT_CELLS), np.int64)
        self.rounds = iter(rounds)
        self.seq = 0
        self.post: Callable[[Fills, int], object] = self.post_compiled

    def post_compiled(self, fills: Fills, seq: int) -> None:
        """Post an entry by our kernel."""
        post_fills(fills, self.book, seq, account_row(FEES), self.results)

    def run(self) -> None:
        """Post the next round's entries."""
        for fills in next(self.rounds):
            self.seq += 1
            self.book.touched_count[0] = 0
            self.post(fills, self.seq)

    def same(self, other: "Contender") -> bool:
        """Tell whether both hold the same state and gave the same last results."""
        return np.array_equal(self.results, other.results) and all(
            np.array_equal(getattr(self.book, name), getattr(other.book, name))
            for name in Book._fields
        )


def measure(accounts: int) -> list[Figure]:
    """Return the figures at one number of accounts, after all contenders were found equal."""
    draw = np.random.default_rng(accounts)
    book = open_book(accounts)
    fill_book(book, draw)
    rounds = [
        [draw_fills(draw, accounts, ENTRY_FILLS) for _ in range(ENTRIES)]
        for _ in range(WARM_ROUNDS + ROUNDS)
    ]
    ours, native = Contender(twins.copy_book(book), rounds), Contender(book, rounds)
    contenders = {"kernel": ours.run}
    post = c_twin(book, native.results)
    if post is not None:
        native.post = post
        contenders["C"] = native.run
    seconds = time_in_turns(contenders, rounds=ROUNDS)
    assert (ours.results[:, 0] == 0).all()
    assert post is None or ours.same(native)
    at = f"{accounts:,} accounts"
    speed = rate(seconds["kernel"], ENTRIES * ENTRY_FILLS / MILLION)
    large = accounts == MILLION
    figures = [Figure("fills", at, speed, "M fills/s", 4 if large else None)]
    if post is not None:
        ratio = speed_ratio(seconds["kernel"], seconds["C"])
        figures.append(Figure("fills", f"{at}, kernel / C", ratio, "x", 0.85 if large else None))
    return figures


def measure_plain() -> list[Figure]:
    """Return how much faster the kernel is than its plain twin."""
    accounts = 1_000
    draw = np.random.default_rng(accounts)
    book = open_book(accounts)
    fill_book(book, draw)
    books = twins.read_books(book, 0)
    entries = [draw_fills(draw, accounts, PYTHON_FILLS) for _ in range(WARM_ROUNDS + PYTHON_ROUNDS)]
    plain = iter(
        [[twins.Fill(*f) for f in zip(*(c.tolist() for c in e), strict=True)] for e in entries]
    )
    ours = Contender(book, [[entry] for entry in entries])
    ours.results = np.zeros((PYTHON_FILLS, RESULT_CELLS), np.int64)
    answers: list[list[list[int]]] = []
    seconds = time_in_turns(
        {
            "kernel": ours.run,
            "Python": lambda: answers.append(twins.post_fills(books, next(plain), FEES)),
        },
        rounds=PYTHON_ROUNDS,
    )
    assert answers[-1] == ours.results.tolist()
    ratio = speed_ratio(seconds["kernel"], seconds["Python"])
    return [Figure("fills", "1,000 accounts, kernel / plain Python", ratio, "x")]


def run() -> list[Figure]:
    """Return all figures of this bench."""
    return measure_plain() + measure(10_000) + measure(MILLION)
