"""Positions of many accounts in compressed form, by risk unit, for `rows.worst_rows`.

A segment is what one portfolio account holds in one risk unit; its positions lie side by side, so
that the rows kernel sees each segment as an account of its own.
"""

from seawall.clearing.kernels.columns import Column, Column32, Table
from seawall.clearing.kernels.compiler import inlined, kernel
from seawall.clearing.kernels.sweep import (
    T_RISK_UNIT,
    Books,
    is_due,
    next_link,
    read_slot,
)
from seawall.clearing.layout import MODE, POSITION_COUNT
from seawall.protocol.commands import Mode

PORTFOLIO = int(Mode.PORTFOLIO)
NO_UNIT = 1 << 31


@inlined
def _belongs(accounts: Table, row: int, forced: bool) -> bool:
    if accounts[row, MODE] != PORTFOLIO or accounts[row, POSITION_COUNT] == 0:
        return False
    return forced or is_due(accounts, row)


@kernel
def count_portfolio(accounts: Table, span: tuple[int, int], forced: bool) -> tuple[int, int]:
    """Return how many portfolio accounts of the span a sweep evaluates, and their positions."""
    rows, positions = 0, 0
    for row in range(span[0], span[1]):
        if _belongs(accounts, row, forced):
            rows += 1
            positions += accounts[row, POSITION_COUNT]
    return rows, positions


@kernel
def _unit_after(books: Books, terms: Table, row: int, unit: int) -> int:
    """Return the lowest risk unit above `unit` that the account holds, or NO_UNIT."""
    lowest, link = NO_UNIT, 0
    for index in range(books.accounts[row, POSITION_COUNT]):
        link = next_link(books, row, index, link)
        i, _, _ = read_slot(books, row, index, link)
        found = terms[i, T_RISK_UNIT]
        if unit < found < lowest:
            lowest = found
    return lowest


@kernel
def cut_segments(
    books: Books,
    terms: Table,
    span: tuple[int, int],
    forced: bool,
    rows: Column32,
    first: Column,
    units: Column32,
    starts: Column,
    instruments: Column32,
    lots: Column,
) -> tuple[int, int]:
    """Write the segments of the accounts that `count_portfolio` counted; return how many there are.

    Parameters
    ----------
    rows, first : (accounts,), (accounts + 1,) each account's row and first segment
    units, starts : (positions,), (positions + 1,) each segment's unit and first position
    instruments, lots : (positions,)

    Returns
    -------
    tuple of int
        Segments and positions written; neither exceeds the positions counted.
    """
    account, segment, position = 0, 0, 0
    first[0] = 0
    starts[0] = 0
    for row in range(span[0], span[1]):
        if not _belongs(books.accounts, row, forced):
            continue
        rows[account] = row
        unit = _unit_after(books, terms, row, 0)
        while unit != NO_UNIT:
            link = 0
            for index in range(books.accounts[row, POSITION_COUNT]):
                link = next_link(books, row, index, link)
                i, held, _ = read_slot(books, row, index, link)
                if terms[i, T_RISK_UNIT] == unit:
                    instruments[position] = i
                    lots[position] = held
                    position += 1
            units[segment] = unit
            segment += 1
            starts[segment] = position
            unit = _unit_after(books, terms, row, unit)
        account += 1
        first[account] = segment
    return segment, position
