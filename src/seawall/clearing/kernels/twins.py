"""Plain twins of the kernels: Python integers, lists and dictionaries; slow and easy to check.

They share no arithmetic with the kernels. `read_books` and `write_books` carry them from and to
the kernels' tables, so that tests compare every word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seawall.clearing import layout
from seawall.clearing.kernels.columns import Table, copy_aligned
from seawall.clearing.kernels.positions import Book
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Kind, Style
from seawall.protocol.units import PPB, is_amount, mul_div_ceil, mul_div_floor

SLOTS = layout.SLOTS_COUNT
"""Positions in one row, the account's own or an extension."""


def worst_rows(
    positions: Sequence[Sequence[tuple[int, int]]], risk: Sequence[Sequence[int]]
) -> list[tuple[int, int]]:
    """Return per account the worst loss >= 0 and the lowest scenario that causes it.

    Parameters
    ----------
    positions : per account, (row of `risk`, lots)
    risk : per instrument, the gain of one lot in each scenario
    """
    answers = []
    for account in positions:
        sums = [0] * len(risk[0])
        for instrument, lots in account:
            sums = [total + lots * gain for total, gain in zip(sums, risk[instrument], strict=True)]
        worst = min(sums)
        answers.append((max(0, -worst), sums.index(worst)))
    return answers


class Fill(NamedTuple):
    """One trade that happened."""

    buyer: int
    seller: int
    instrument: int
    lots: int
    price: int
    flags: int


@dataclass
class Account:
    """Balances by asset, and positions as [instrument, lots, cost] in slot order."""

    row: int
    is_open: bool
    balances: list[int]
    positions: list[list[int]]
    extensions: list[int]
    """Extension rows held, in chain order."""

    def position(self, instrument: int) -> list[int] | None:
        """Return the account's position, or None."""
        for position in self.positions:
            if position[0] == instrument:
                return position
        return None

    def takes_extension(self, instrument: int) -> bool:
        """Tell whether a trade in `instrument` needs one more extension row."""
        held = len(self.positions)
        return self.position(instrument) is None and held == SLOTS * (1 + len(self.extensions))


@dataclass
class Contract:
    """An instrument's terms by their words in `layout`, and the sums the house keeps."""

    words: dict[int, int]

    def __getitem__(self, word: int) -> int:
        return self.words[word]

    def value(self, price: int) -> int:
        """Return the value of one lot."""
        if self[layout.KIND] in (Kind.INVERSE_PERPETUAL, Kind.INVERSE_FUTURE):
            return -mul_div_floor(self[layout.INVERSE_NUMERATOR], 1, price)
        return price * self[layout.VALUE_PER_TICK]

    def fee(self, lots: int, value: int, rate_ppb: int) -> int:
        """Return the fee of one side in minor units, rounded up."""
        notional = self[layout.FEE_NOTIONAL] or abs(value)
        return mul_div_ceil(lots * notional, rate_ppb, PPB * self[layout.VALUE_SCALE])


@dataclass
class Books:
    """The state that fills touch."""

    accounts: dict[int, Account]
    contracts: dict[int, Contract]
    free: list[int]
    """Free extension rows, the next one to be taken last."""
    touched: list[int]
    """Rows that entry `seq` changed, oldest first."""
    seq: int


@dataclass
class _Side:
    """One side of a fill after it, before anything is written."""

    account: Account
    lots: int
    cost: int
    realised: int
    minor: int
    fee: int
    balance: int


def post_fills(books: Books, fills: Sequence[Fill], fee_account: int) -> list[list[int]]:
    """Post fills in order; return per fill what `fills.post_fills` writes into `results`."""
    return [_post_fill(books, fill, books.accounts[fee_account]) for fill in fills]


def _refused(code: Reject, column: int) -> list[int]:
    return [int(code), column, 0, 0, 0]


def _check(books: Books, fill: Fill) -> list[int] | None:
    """Return the refusal that the fill's own fields earn it."""
    for column, account in ((1, fill.buyer), (2, fill.seller)):
        if account not in books.accounts or not books.accounts[account].is_open:
            return _refused(Reject.ACCOUNT_UNKNOWN, column)
    contract = books.contracts.get(fill.instrument)
    if contract is None:
        return _refused(Reject.INSTRUMENT_UNKNOWN, 3)
    if not 1 <= fill.lots <= contract[layout.LOTS_MAX]:
        return _refused(Reject.LOTS_RANGE, 4)
    if not max(1, contract[layout.PRICE_MIN]) <= fill.price <= contract[layout.PRICE_MAX]:
        return _refused(Reject.PRICE_RANGE, 5)
    if fill.buyer == fill.seller:
        return _refused(Reject.SIDES_SAME, 2)
    if contract[layout.STATUS] != 1:
        return _refused(Reject.INSTRUMENT_CLOSED, 3)
    return None


def _side(contract: Contract, account: Account, fill: Fill, sign: int, taker: bool) -> _Side:
    """Return what a fill makes of one side."""
    value, quantity = contract.value(fill.price), sign * fill.lots
    _, lots, cost = account.position(fill.instrument) or (fill.instrument, 0, 0)
    realised = 0
    if contract[layout.STYLE] == Style.PREMIUM:
        realised = -quantity * value
    else:
        # Lots are traded one direction at a time: what closes first, then what opens.
        closing = 0 if lots * sign >= 0 else sign * min(fill.lots, abs(lots))
        if closing:
            released = mul_div_ceil(cost, abs(closing), abs(lots))
            realised = -(closing * value + released)
            cost -= released
        cost += (quantity - closing) * value
    minor = mul_div_floor(realised, 1, contract[layout.VALUE_SCALE])
    rate = contract[layout.TAKER_FEE_PPB if taker else layout.MAKER_FEE_PPB]
    fee = contract.fee(fill.lots, value, rate)
    balance = account.balances[contract[layout.ASSET]] + minor - fee
    return _Side(account, lots + quantity, cost, realised, minor, fee, balance)


def _sums(contract: Contract, fill: Fill, sides: Sequence[_Side]) -> dict[int, int]:
    """Return the instrument's sums after the fill, by word."""
    sums = {
        word: contract[word]
        for word in (layout.OPEN_INTEREST, layout.VARIATION, layout.RESIDUAL, layout.OPEN_COST)
    }
    for side in sides:
        _, lots, cost = side.account.position(fill.instrument) or (fill.instrument, 0, 0)
        sums[layout.OPEN_INTEREST] += max(side.lots, 0) - max(lots, 0)
        sums[layout.VARIATION] -= side.minor
        sums[layout.RESIDUAL] += side.realised - side.minor * contract[layout.VALUE_SCALE]
        sums[layout.OPEN_COST] -= side.cost - cost
    return sums


def _post_fill(books: Books, fill: Fill, fees: Account) -> list[int]:
    """Post one fill or refuse it."""
    refusal = _check(books, fill)
    if refusal is not None:
        return refusal
    contract = books.contracts[fill.instrument]
    accounts = books.accounts[fill.buyer], books.accounts[fill.seller]
    takes = fill.flags % 2 == 1
    sides = [
        _side(contract, accounts[0], fill, 1, takes),
        _side(contract, accounts[1], fill, -1, not takes),
    ]
    for column, side in enumerate(sides, 1):
        if abs(side.lots) > contract[layout.LOTS_MAX] and side.lots * (3 - 2 * column) > 0:
            return _refused(Reject.LOTS_LIMIT, column)
    worth = contract.value(fill.price), contract[layout.FEE_NOTIONAL]
    if not all(is_amount(fill.lots * each) for each in worth):
        return _refused(Reject.AMOUNT_OVERFLOW, 5)
    for column, side in enumerate(sides, 1):
        amounts = (side.cost, side.realised, side.fee, side.balance)
        if not all(is_amount(amount) for amount in amounts):
            return _refused(Reject.AMOUNT_OVERFLOW, column)
    asset = contract[layout.ASSET]
    # A side that is the fee account itself is credited after its own balance moved.
    before = {account.row: account.balances[asset] for account in (fees, *accounts)}
    before.update({side.account.row: side.balance for side in sides})
    charged = sides[0].fee + sides[1].fee
    sums = _sums(contract, fill, sides)
    if not all(is_amount(amount) for amount in (*sums.values(), before[fees.row] + charged)):
        return _refused(Reject.AMOUNT_OVERFLOW, 4)
    wanting = [n for n in (0, 1) if accounts[n].takes_extension(fill.instrument)]
    if len(wanting) > len(books.free):
        return _refused(Reject.POSITIONS_FULL, wanting[0] + 1)
    for side in sides:
        _write_side(books, fill.instrument, side, asset)
    if charged:
        fees.balances[asset] += charged
        _touch(books, fees)
    contract.words.update(sums)
    contract.words[layout.TOUCHED_INSTRUMENT] = books.seq
    return [0, *(side.minor for side in sides), *(side.fee for side in sides)]


def _touch(books: Books, account: Account) -> None:
    if account.row not in books.touched:
        books.touched.append(account.row)


def _write_side(books: Books, instrument: int, side: _Side, asset: int) -> None:
    """Write one side's position and balance."""
    account = side.account
    position = account.position(instrument)
    if position is None:
        if account.takes_extension(instrument):
            account.extensions.append(books.free.pop())
        account.positions.append([instrument, side.lots, side.cost])
    elif side.lots:
        position[1:] = side.lots, side.cost
    else:
        last = account.positions.pop()
        if last is not position:
            account.positions[account.positions.index(position)] = last
        if len(account.positions) == SLOTS * len(account.extensions) > 0:
            books.free.append(account.extensions.pop())
    account.balances[asset] = side.balance
    _touch(books, account)


def read_books(book: Book, seq: int) -> Books:
    """Return what the kernels' tables say; `seq` is the entry under way."""
    books = Books({}, {}, [], book.touched[: book.touched_count[0]].tolist(), seq)
    link = int(book.meta[layout.EXTENSION_FREE])
    while link:
        books.free.insert(0, link - 1)
        link = int(book.extensions[link - 1, layout.NEXT])
    for row, words in enumerate(book.accounts.tolist()):
        if words[layout.LIFE] == layout.LIFE_VACANT:
            continue
        account = Account(
            row=row,
            is_open=words[layout.LIFE] == layout.LIFE_OPEN,
            balances=words[layout.BALANCE : layout.BALANCE + layout.ASSETS_MAX],
            positions=_read_slots(book.accounts[row], layout.SLOT_IDS, layout.SLOTS),
            extensions=[],
        )
        link = words[layout.EXTENSION]
        while link:
            account.extensions.append(link - 1)
            account.positions += _read_slots(
                book.extensions[link - 1], layout.EXTENSION_SLOT_IDS, layout.EXTENSION_SLOTS
            )
            link = int(book.extensions[link - 1, layout.NEXT])
        books.accounts[words[layout.ID]] = account
    for instrument, words in enumerate(book.instruments.tolist()):
        if words[layout.KIND]:
            books.contracts[instrument] = Contract(dict(enumerate(words)))
    return books


def _read_slots(words: Table, ids: int, values: int) -> list[list[int]]:
    instruments = words.view(np.int32)[2 * ids : 2 * ids + SLOTS].tolist()
    numbers = words[values:].tolist()
    return [
        [instrument, numbers[2 * slot], numbers[2 * slot + 1]]
        for slot, instrument in enumerate(instruments)
        if instrument
    ]


def _write_slots(words: Table, ids: int, values: int, positions: list[list[int]]) -> None:
    instruments = words.view(np.int32)
    for slot, (instrument, lots, cost) in enumerate(positions):
        instruments[2 * ids + slot] = instrument
        words[values + 2 * slot : values + 2 * slot + 2] = lots, cost


def copy_book(book: Book) -> Book:
    """Return a book of arrays of its own."""
    return Book(
        copy_aligned(book.accounts),
        copy_aligned(book.extensions),
        copy_aligned(book.instruments),
        book.meta.copy(),
        book.touched.copy(),
        book.touched_count.copy(),
    )


def write_books(books: Books, book: Book) -> Book:
    """Return a copy of `book` with the twin's positions, balances, sums, lists and touched rows.

    Words that no fill may change keep what `book` says.
    """
    after = copy_book(book)
    after.extensions[:] = 0
    after.accounts[:, layout.SLOT_IDS :] = 0
    link = 0
    for pool in books.free:
        after.extensions[pool, layout.NEXT] = link
        link = pool + 1
    after.meta[layout.EXTENSION_FREE] = link
    for account in books.accounts.values():
        row = after.accounts[account.row]
        row[layout.BALANCE : layout.BALANCE + layout.ASSETS_MAX] = account.balances
        row[layout.POSITION_COUNT] = len(account.positions)
        links = [pool + 1 for pool in account.extensions] + [0]
        row[layout.EXTENSION] = links[0]
        _write_slots(row, layout.SLOT_IDS, layout.SLOTS, account.positions[:SLOTS])
        for nth, pool in enumerate(account.extensions, 1):
            extension = after.extensions[pool]
            extension[layout.NEXT] = links[nth]
            held = account.positions[nth * SLOTS : (nth + 1) * SLOTS]
            _write_slots(extension, layout.EXTENSION_SLOT_IDS, layout.EXTENSION_SLOTS, held)
    for instrument, contract in books.contracts.items():
        after.instruments[instrument] = [contract[word] for word in range(layout.INSTRUMENT_WIDTH)]
    after.accounts[books.touched, layout.TOUCHED] = books.seq
    after.touched[: len(books.touched)] = books.touched
    after.touched_count[0] = len(books.touched)
    return after
