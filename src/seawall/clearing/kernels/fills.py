"""Novation: each fill becomes two positions against the house, with profit, fees and balances.

A fill is checked in full before anything is written, in the order of the reject codes, so a
refusal leaves no trace but its result. Amounts stay within `AMOUNT_MAX`, so that the sum of two
always fits int64; products and sums of three are checked. Plain twin: `twins.post_fills`.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seawall.clearing.kernels.columns import Column, Column32, Table
from seawall.clearing.kernels.compiler import inlined, kernel
from seawall.clearing.kernels.positions import (
    IDS32,
    NOT_FOUND,
    Book,
    Place,
    has_extensions,
    locate,
    needs_extension,
    slot_of,
    touch,
    write_position,
)
from seawall.clearing.kernels.wide import add_checked, mul_checked, mul_div_ceil, prefetch
from seawall.clearing.layout import (
    ASSET,
    BALANCE,
    FEE_NOTIONAL,
    ID,
    INVERSE_NUMERATOR,
    KIND,
    LIFE,
    LIFE_OPEN,
    LOTS_MAX,
    MAKER_FEE_PPB,
    OPEN_COST,
    OPEN_INTEREST,
    PRICE_MAX,
    PRICE_MIN,
    RESIDUAL,
    SLOT_IDS,
    SLOTS,
    STATUS,
    STYLE,
    TAKER_FEE_PPB,
    TOUCHED_INSTRUMENT,
    VALUE_PER_TICK,
    VALUE_SCALE,
    VARIATION,
)
from seawall.protocol.codes import Reject
from seawall.protocol.ids import ROW_MASK
from seawall.protocol.units import AMOUNT_MAX, PPB

POSTED = 0
# Numba reads plain integers at compile time, not enumerations.
ACCOUNT_UNKNOWN = int(Reject.ACCOUNT_UNKNOWN)
INSTRUMENT_UNKNOWN = int(Reject.INSTRUMENT_UNKNOWN)
LOTS_RANGE = int(Reject.LOTS_RANGE)
PRICE_RANGE = int(Reject.PRICE_RANGE)
SIDES_SAME = int(Reject.SIDES_SAME)
INSTRUMENT_CLOSED = int(Reject.INSTRUMENT_CLOSED)
LOTS_LIMIT = int(Reject.LOTS_LIMIT)
AMOUNT_OVERFLOW = int(Reject.AMOUNT_OVERFLOW)
POSITIONS_FULL = int(Reject.POSITIONS_FULL)

FIELDS = ("", "buyers", "sellers", "instruments", "lots", "prices")
BUYER, SELLER, INSTRUMENT, LOTS, PRICE = range(1, 6)
"""Index into FIELDS of the column at fault: the second cell of a refused fill's result."""

RESULT_CELLS = 5
"""code, realised_buyer, realised_seller, fee_buyer, fee_seller; refused: code, field, 0, 0, 0"""
BUYER_TAKES = 1
"""Bit of a fill's flags: the buyer took liquidity and pays the taker fee, the seller the other."""
TRADING = 1

FAR, NEAR = 12, 6
"""Fills ahead whose account rows are asked from memory, and then whose positions are."""


class Fills(NamedTuple):
    """A batch of fills by column."""

    buyers: Column
    sellers: Column
    instruments: Column32
    lots: Column
    prices: Column
    flags: npt.NDArray[np.uint8]


class Worth(NamedTuple):
    """What a fill's lots are worth, in value units."""

    value: int
    """Of one lot."""
    fee_base: int
    """Of all lots, >= 0."""
    fee_divisor: int
    """Turns base times rate into minor units."""
    fits: bool
    """The value and the base of all lots are within AMOUNT_MAX."""


class Side(NamedTuple):
    """What a fill makes of one side: its position in value units, its money in minor units."""

    lots: int
    cost: int
    realised: int
    minor: int
    fee: int
    balance: int
    fits: bool
    """All of these are within AMOUNT_MAX."""


class House(NamedTuple):
    """What a fill makes of the instrument's own sums and of the fee account."""

    open_interest: int
    variation: int
    residual: int
    open_cost: int
    fees: int
    fits: bool


@inlined
def _is_amount(value: int) -> bool:
    return -AMOUNT_MAX <= value <= AMOUNT_MAX


@inlined
def _row_of(accounts: Table, account: int) -> int:
    """Return the row of an open account, or -1."""
    row = account & ROW_MASK
    if account <= 0 or row >= accounts.shape[0]:
        return -1
    if accounts[row, ID] != account or accounts[row, LIFE] != LIFE_OPEN:
        return -1
    return row


@inlined
def _check_terms(instruments: Table, instrument: int, lots: int, price: int) -> tuple[int, int]:
    """Return the code of what is wrong with the fill's own numbers, and the field."""
    if instrument <= 0 or instrument >= instruments.shape[0] or instruments[instrument, KIND] == 0:
        return INSTRUMENT_UNKNOWN, INSTRUMENT
    if lots <= 0 or lots > instruments[instrument, LOTS_MAX]:
        return LOTS_RANGE, LOTS
    if price <= 0 or price < instruments[instrument, PRICE_MIN]:
        return PRICE_RANGE, PRICE
    if price > instruments[instrument, PRICE_MAX]:
        return PRICE_RANGE, PRICE
    return POSTED, 0


@inlined
def _compute_worth(terms: Column, lots: int, price: int) -> Worth:
    """Return what the lots are worth; the magnitude of an inverse value is rounded down."""
    if terms[KIND] & 1 == 0:
        value, value_fits = -(terms[INVERSE_NUMERATOR] // price), True
    else:
        value, value_fits = mul_checked(price, terms[VALUE_PER_TICK])
    gross, gross_fits = mul_checked(lots, value)
    base, base_fits = abs(gross), True
    if terms[FEE_NOTIONAL] != 0:
        base, base_fits = mul_checked(lots, terms[FEE_NOTIONAL])
    divisor, divisor_fits = mul_checked(PPB, terms[VALUE_SCALE])
    fits = value_fits and gross_fits and base_fits and divisor_fits
    return Worth(value, base, divisor, fits and _is_amount(gross) and _is_amount(base))


@inlined
def _change_position(place: Place, quantity: int, value: int) -> tuple[int, int]:
    """Return the cost after a fill and what it realised, in value units.

    |quantity * value| and the cost are amounts, so nothing here leaves int64. The released cost
    is rounded up: what is realised is rounded against the account and the rest stays in the cost,
    so that the two together are exact.
    """
    if place.lots == 0 or (place.lots > 0) == (quantity > 0):
        return place.cost + quantity * value, 0
    held = abs(place.lots)
    closed = min(abs(quantity), held)
    released, _ = mul_div_ceil(place.cost, closed, held)
    closing = closed if quantity > 0 else -closed
    opened = (quantity - closing) * value
    return place.cost - released + opened, -(closing * value + released)


@inlined
def _compute_side(
    terms: Column, place: Place, quantity: int, worth: Worth, rate_ppb: int, balance: int
) -> Side:
    """Return what a fill makes of one side: profit rounded down to minor units, the fee up."""
    if terms[STYLE] != 0:
        cost, realised = 0, -quantity * worth.value
    else:
        cost, realised = _change_position(place, quantity, worth.value)
    minor = realised // terms[VALUE_SCALE]
    fee, fee_fits = mul_div_ceil(worth.fee_base, rate_ppb, worth.fee_divisor)
    after, fits = add_checked(balance, minor - fee)
    fits = fits and fee_fits and _is_amount(fee) and _is_amount(after)
    fits = fits and _is_amount(realised) and _is_amount(cost)
    return Side(place.lots + quantity, cost, realised, minor, fee, after, fits)


@inlined
def _compute_house(
    terms: Column, bought: Place, sold: Place, buyer: Side, seller: Side, fees: int
) -> House:
    """Return the sums after the fill; `fees` is the fee account's balance with both sides booked.

    What all profits lose to rounding is the residue, less than two minor units a fill.
    """
    minor = buyer.minor + seller.minor
    realised = buyer.realised + seller.realised
    longs = max(buyer.lots, 0) - max(bought.lots, 0) + max(seller.lots, 0) - max(sold.lots, 0)
    open_interest, a = add_checked(terms[OPEN_INTEREST], longs)
    variation, b = add_checked(terms[VARIATION], -minor)
    residual, c = add_checked(terms[RESIDUAL], realised - minor * terms[VALUE_SCALE])
    # Costs are amounts, so both sums fit, and so does what they differ by: it is `realised`.
    cost = (buyer.cost + seller.cost) - (bought.cost + sold.cost)
    open_cost, d = add_checked(terms[OPEN_COST], -cost)
    credited, e = add_checked(fees, buyer.fee + seller.fee)
    fits = a and b and c and d and e and _is_amount(open_interest) and _is_amount(variation)
    fits = fits and _is_amount(residual) and _is_amount(open_cost) and _is_amount(credited)
    return House(open_interest, variation, residual, open_cost, credited, fits)


@inlined
def _write_house(terms: Column, house: House, seq: int) -> None:
    terms[OPEN_INTEREST] = house.open_interest
    terms[VARIATION] = house.variation
    terms[RESIDUAL] = house.residual
    terms[OPEN_COST] = house.open_cost
    terms[TOUCHED_INSTRUMENT] = seq


@inlined
def _ask_ahead(fills: Fills, i: int, book: Book) -> None:
    """Ask memory for what the coming fills will touch; changes no value."""
    accounts = book.accounts
    if i + FAR < fills.lots.shape[0]:
        for account in (fills.buyers[i + FAR], fills.sellers[i + FAR]):
            row = account & ROW_MASK
            if row < accounts.shape[0]:
                prefetch(accounts, row, ID)
                prefetch(accounts, row, BALANCE)
                prefetch(accounts, row, SLOT_IDS)
    if i + NEAR < fills.lots.shape[0]:
        instrument = int(fills.instruments[i + NEAR])
        for account in (fills.buyers[i + NEAR], fills.sellers[i + NEAR]):
            row = account & ROW_MASK
            if row < accounts.shape[0]:
                slot = slot_of(accounts, row, IDS32, instrument)
                if slot != NOT_FOUND:
                    prefetch(accounts, row, SLOTS + 2 * slot)


@inlined
def _post_fill(
    fills: Fills, i: int, book: Book, seq: int, fee_row: int, results: Table
) -> tuple[int, int]:
    """Post one fill, or return the lowest code that applies and the field."""
    accounts = book.accounts
    instrument, lots, price = int(fills.instruments[i]), fills.lots[i], fills.prices[i]
    buyer_row, seller_row = _row_of(accounts, fills.buyers[i]), _row_of(accounts, fills.sellers[i])
    if buyer_row < 0 or seller_row < 0:
        return ACCOUNT_UNKNOWN, BUYER if buyer_row < 0 else SELLER
    code, field = _check_terms(book.instruments, instrument, lots, price)
    if code != POSTED:
        return code, field
    terms = book.instruments[instrument]
    if buyer_row == seller_row:
        return SIDES_SAME, SELLER
    if terms[STATUS] != TRADING:
        return INSTRUMENT_CLOSED, INSTRUMENT
    bought, sold = locate(book, buyer_row, instrument), locate(book, seller_row, instrument)
    if bought.lots > terms[LOTS_MAX] - lots:
        return LOTS_LIMIT, BUYER
    if sold.lots < lots - terms[LOTS_MAX]:
        return LOTS_LIMIT, SELLER
    worth = _compute_worth(terms, lots, price)
    if not worth.fits:
        return AMOUNT_OVERFLOW, PRICE
    rates = terms[TAKER_FEE_PPB], terms[MAKER_FEE_PPB]
    if fills.flags[i] & BUYER_TAKES == 0:
        rates = rates[1], rates[0]
    cash = BALANCE + terms[ASSET]
    buyer = _compute_side(terms, bought, lots, worth, rates[0], accounts[buyer_row, cash])
    seller = _compute_side(terms, sold, -lots, worth, rates[1], accounts[seller_row, cash])
    if not buyer.fits or not seller.fits:
        return AMOUNT_OVERFLOW, SELLER if buyer.fits else BUYER
    fees = accounts[fee_row, cash]
    if fee_row == buyer_row:
        fees = buyer.balance
    elif fee_row == seller_row:
        fees = seller.balance
    house = _compute_house(terms, bought, sold, buyer, seller, fees)
    if not house.fits:
        return AMOUNT_OVERFLOW, LOTS
    wanted = needs_extension(book, buyer_row, bought) + needs_extension(book, seller_row, sold)
    if not has_extensions(book, wanted):
        field = BUYER if needs_extension(book, buyer_row, bought) else SELLER
        return POSITIONS_FULL, field
    write_position(book, buyer_row, bought, instrument, buyer.lots, buyer.cost)
    write_position(book, seller_row, sold, instrument, seller.lots, seller.cost)
    accounts[buyer_row, cash] = buyer.balance
    accounts[seller_row, cash] = seller.balance
    touch(book, buyer_row, seq)
    touch(book, seller_row, seq)
    if buyer.fee + seller.fee != 0:
        accounts[fee_row, cash] = house.fees
        touch(book, fee_row, seq)
    _write_house(terms, house, seq)
    results[i, 1], results[i, 2] = buyer.minor, seller.minor
    results[i, 3], results[i, 4] = buyer.fee, seller.fee
    return POSTED, 0


@kernel
def post_fills(fills: Fills, book: Book, seq: int, fee_row: int, results: Table) -> None:
    """Post a batch of fills in order; each is posted in full or refused without a trace.

    Parameters
    ----------
    fills : columns of one length; `flags` bit 0: the buyer took liquidity
    book : written; instruments' terms were proven at listing (VALUE_SCALE >= 1, bounds)
    seq : entry under way; rows it changes are appended to `book.touched` once
    fee_row : row of the account that fees are credited to; it may also be a side
    results : (fills, RESULT_CELLS) int64, written

    Rounding
    --------
    Released cost and fees up, realised profit down to minor units: against the account. The
    residue of the latter goes to the instrument's RESIDUAL.

    Rejects
    -------
    ACCOUNT_UNKNOWN, INSTRUMENT_UNKNOWN, LOTS_RANGE, PRICE_RANGE, SIDES_SAME, INSTRUMENT_CLOSED,
    LOTS_LIMIT, AMOUNT_OVERFLOW, POSITIONS_FULL, in this order.

    Invariants
    ----------
    Per asset, balances and VARIATION sum to what they did before. Per instrument, lots sum to 0,
    costs and OPEN_COST sum to 0, and RESIDUAL - VARIATION * VALUE_SCALE moves as the costs do.
    """
    for i in range(fills.lots.shape[0]):
        _ask_ahead(fills, i, book)
        code, field = _post_fill(fills, i, book, seq, fee_row, results)
        results[i, 0] = code
        if code != POSTED:
            results[i, 1] = field
            results[i, 2:] = 0
