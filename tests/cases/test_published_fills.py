"""Fills that others have worked out in print give the same profit and entry cost here."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from seawall.clearing import layout
from seawall.clearing.kernels.columns import zeros_aligned
from seawall.clearing.kernels.fills import RESULT_CELLS, Fills, post_fills
from seawall.clearing.kernels.positions import Book
from seawall.protocol.commands import Kind
from seawall.protocol.ids import account_id

CASES = json.loads((Path(__file__).parent / "fills.json").read_text())
FEE_ROW, ACCOUNT_ROW, OTHER_ROW, INSTRUMENT = 1, 2, 3, 1
LIMITS = {"STATUS": 1, "LOTS_MAX": 10**9, "PRICE_MIN": 1, "PRICE_MAX": 10**8}


class Contract(NamedTuple):
    """Terms of a contract and how its integers read in print."""

    terms: dict[str, int]
    lot: Decimal
    tick: Decimal
    minor: Decimal

    @property
    def value_unit(self) -> Decimal:
        return self.minor / self.terms["VALUE_SCALE"]


CONTRACTS = {
    # A lot of 0.001 and a tick of 0.01 make 10 millionths of the quote currency.
    "linear": Contract(
        {"KIND": Kind.LINEAR_PERPETUAL, "VALUE_PER_TICK": 10, "VALUE_SCALE": 1},
        lot=Decimal("0.001"),
        tick=Decimal("0.01"),
        minor=Decimal("0.000001"),
    ),
    # One dollar at a tick of 0.5 is 2 / ticks coins, counted in 10^-12.
    "inverse": Contract(
        {"KIND": Kind.INVERSE_PERPETUAL, "INVERSE_NUMERATOR": 2 * 10**12, "VALUE_SCALE": 10**4},
        lot=Decimal(1),
        tick=Decimal("0.5"),
        minor=Decimal("0.00000001"),
    ),
}


def whole(amount: Decimal) -> int:
    assert amount == int(amount), "the contract's steps are too coarse for the case"
    return int(amount)


def new_book(contract: Contract) -> Book:
    book = Book(
        accounts=zeros_aligned(4, layout.ACCOUNT_WIDTH),
        extensions=zeros_aligned(1, layout.EXTENSION_WIDTH),
        instruments=zeros_aligned(2, layout.INSTRUMENT_WIDTH),
        meta=np.zeros(layout.META_WIDTH, np.int64),
        touched=np.zeros(4, np.int32),
        touched_count=np.zeros(1, np.int64),
    )
    for row in (FEE_ROW, ACCOUNT_ROW, OTHER_ROW):
        book.accounts[row, layout.ID] = account_id(1, row)
        book.accounts[row, layout.LIFE] = layout.LIFE_OPEN
    for name, value in (contract.terms | LIMITS).items():
        book.instruments[INSTRUMENT, getattr(layout, name)] = value
    return book


def fills_of(case: dict[str, Any], contract: Contract) -> Fills:
    sizes, prices = zip(
        *((Decimal(size), Decimal(price)) for size, price in case["fills"]), strict=True
    )
    ours, theirs = account_id(1, ACCOUNT_ROW), account_id(1, OTHER_ROW)
    return Fills(
        buyers=np.array([ours if size > 0 else theirs for size in sizes], np.int64),
        sellers=np.array([theirs if size > 0 else ours for size in sizes], np.int64),
        instruments=np.full(len(sizes), INSTRUMENT, np.int32),
        lots=np.array([whole(abs(size) / contract.lot) for size in sizes], np.int64),
        prices=np.array([whole(price / contract.tick) for price in prices], np.int64),
        flags=np.zeros(len(sizes), np.uint8),
    )


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_published_example_comes_out_as_printed(case: dict[str, Any]) -> None:
    contract = CONTRACTS[case["contract"]]
    book = new_book(contract)
    fills = fills_of(case, contract)
    results = np.zeros((len(fills.lots), RESULT_CELLS), np.int64)
    post_fills(fills, book, 1, FEE_ROW, results)
    assert results[:, 0].tolist() == [0] * len(fills.lots), "every fill is accepted"

    printed = Decimal(case["realised"])
    ours = book.accounts[ACCOUNT_ROW]
    assert (int(ours[layout.BALANCE]) * contract.minor).quantize(printed) == printed
    slot_lots, slot_cost = (int(ours[layout.SLOTS + word]) for word in (0, 1))
    assert slot_lots * contract.lot == Decimal(case["open"])
    if "margin" in case:
        margin = slot_cost * contract.value_unit * Decimal(case["rate"])
        assert margin.quantize(Decimal(case["margin"])) == Decimal(case["margin"])

    balances = (
        book.accounts[:, layout.BALANCE].sum() + book.instruments[INSTRUMENT, layout.VARIATION]
    )
    assert balances == 0, "what one gains another has lost or will lose"


def test_every_case_says_where_it_is_from() -> None:
    assert len({case["id"] for case in CASES}) == len(CASES)
    assert all(case["source"] for case in CASES)
