"""Who stands where when losses are shared: holders of one side, and who has something to spare."""

from seawall.clearing.kernels.classes import read_flags
from seawall.clearing.kernels.columns import Column, Column32
from seawall.clearing.kernels.compiler import inlined, kernel
from seawall.clearing.kernels.sweep import (
    DOUBTFUL,
    HOUSE,
    Books,
    Prices,
    next_link,
    read_slot,
)
from seawall.clearing.layout import (
    BALANCE,
    CASE,
    EQUITY,
    INITIAL,
    LIFE,
    LIFE_OPEN,
    MODE,
    POSITION_COUNT,
)


@inlined
def _is_free_client(books: Books, row: int) -> bool:
    line = books.accounts[row]
    free: bool = line[LIFE] == LIFE_OPEN and line[MODE] != HOUSE and line[CASE] == 0
    return free


@kernel
def list_holders(
    books: Books,
    span: tuple[int, int],
    instrument: int,
    side: int,
    rows: Column32,
    lots: Column,
    costs: Column,
) -> int:
    """List the client accounts without a case that hold one side of an instrument.

    Parameters
    ----------
    side : 1 for longs, -1 for shorts
    rows, lots, costs : one cell per row of the span, written from the start
    """
    count = 0
    for row in range(span[0], span[1]):
        if not _is_free_client(books, row):
            continue
        link = 0
        for index in range(books.accounts[row, POSITION_COUNT]):
            link = next_link(books, row, index, link)
            i, held, cost = read_slot(books, row, index, link)
            if i == instrument and (held > 0) == (side > 0):
                rows[count] = row
                lots[count] = held
                costs[count] = cost
                count += 1
    return count


@kernel
def list_payers(
    books: Books,
    prices: Prices,
    span: tuple[int, int],
    asset: int,
    rows: Column32,
    balances: Column,
    spare: Column,
) -> int:
    """List the undoubted client accounts without a case that have equity above initial.

    Parameters
    ----------
    rows, balances, spare : one cell per row of the span, written from the start: the balance in
        `asset`, > 0, and equity less initial in the valuation asset, > 0
    """
    count = 0
    for row in range(span[0], span[1]):
        if not _is_free_client(books, row) or books.accounts[row, BALANCE + asset] <= 0:
            continue
        above = books.accounts[row, EQUITY] - books.accounts[row, INITIAL]
        if above <= 0 or read_flags(books, prices, row) & DOUBTFUL:
            continue
        rows[count] = row
        balances[count] = books.accounts[row, BALANCE + asset]
        spare[count] = above
        count += 1
    return count
