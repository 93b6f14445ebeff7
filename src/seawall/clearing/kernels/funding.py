"""Who holds an instrument, and what each holder pays or receives in a funding period.

Plain twin of the payments: `funding.compute_payment`.
"""

from seawall.clearing.kernels.columns import Column, Column32
from seawall.clearing.kernels.compiler import kernel
from seawall.clearing.kernels.positions import Book, locate, touch
from seawall.clearing.kernels.wide import add_checked, mul_checked, mul_div_floor
from seawall.clearing.layout import POSITION_COUNT
from seawall.protocol.units import AMOUNT_MAX

PAID, RECEIVED = 0, 1
"""Cells of `totals`."""


@kernel
def find_holders(book: Book, rows_used: int, instrument: int, rows: Column32, lots: Column) -> int:
    """Write row and signed lots of every account that holds the instrument; return how many.

    Parameters
    ----------
    rows, lots : at least `rows_used` cells each, written from the start, rows ascending
    """
    count = 0
    for row in range(1, rows_used):
        if book.accounts[row, POSITION_COUNT] == 0:
            continue
        held = locate(book, row, instrument).lots
        if held != 0:
            rows[count] = row
            lots[count] = held
            count += 1
    return count


@kernel
def compute_payments(
    lots: Column, notional: int, rate_ppb: int, divisor: int, cash: Column, totals: Column
) -> bool:
    """Write what each holder receives (> 0) or pays (< 0), rounded down; tell whether all fits.

    Parameters
    ----------
    lots : signed, long > 0
    notional : of one lot, value units, >= 0
    divisor : PPB times the value scale, > 0
    totals : PAID and RECEIVED, both >= 0, written
    """
    paid, received = 0, 0
    for place in range(lots.shape[0]):
        exposure, small = mul_checked(-lots[place], notional)
        amount, fits = mul_div_floor(exposure, rate_ppb, divisor)
        if not small or not fits:
            return False
        cash[place] = amount
        if amount < 0:
            paid, fits = add_checked(paid, -amount)
        else:
            received, fits = add_checked(received, amount)
        if not fits:
            return False
    totals[PAID] = paid
    totals[RECEIVED] = received
    return True


@kernel
def credit(book: Book, word: int, rows: Column32, cash: Column, seq: int) -> bool:
    """Add amounts to one balance of distinct rows and mark them touched; tell whether all fits.

    Parameters
    ----------
    word : of the balance in an account row
    cash : minor units, each within AMOUNT_MAX, so that a sum with a balance fits int64

    Nothing is written unless all of it fits.
    """
    for place in range(rows.shape[0]):
        moved = book.accounts[rows[place], word] + cash[place]
        if moved < -AMOUNT_MAX or moved > AMOUNT_MAX:
            return False
    for place in range(rows.shape[0]):
        if cash[place] != 0:
            book.accounts[rows[place], word] += cash[place]
            touch(book, rows[place], seq)
    return True
