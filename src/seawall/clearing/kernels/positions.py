"""Where an account's positions stand: 16 slots in its row, then chained extension rows of 16.

Slots are compact: the live ones come first, over the row and its extensions in chain order. The
last one moves into the place of one that is closed, and an extension row left empty returns to
the free list.
"""

from typing import NamedTuple

import numpy as np

from seawall.clearing.kernels.columns import Column, Column32, Table
from seawall.clearing.kernels.compiler import inlined, kernel
from seawall.clearing.layout import (
    EXTENSION,
    EXTENSION_FREE,
    EXTENSION_SLOT_IDS,
    EXTENSION_SLOTS,
    NEXT,
    POSITION_COUNT,
    SLOT_IDS,
    SLOTS,
    SLOTS_COUNT,
    TOUCHED,
)

# Ids are int32, two in a word.
IDS32, EXTENSION_IDS32 = 2 * SLOT_IDS, 2 * EXTENSION_SLOT_IDS

OWN_ROW = -1
"""In place of an extension row: the account's own row."""
NOT_FOUND = -1


class Book(NamedTuple):
    """The state that fills touch, in the layout of `clearing.layout`."""

    accounts: Table
    extensions: Table
    instruments: Table
    meta: Column
    touched: Column32
    """(accounts_max,) rows that the entry under way changed, each once, oldest first"""
    touched_count: Column
    """(1,)"""


class Place(NamedTuple):
    """An account's position in an instrument; where it has none, lots and cost are 0."""

    pool: int
    """Extension row, or OWN_ROW."""
    slot: int
    """0 to 15, or NOT_FOUND."""
    lots: int
    cost: int


@inlined
def slot_of(table: Table, row: int, ids32: int, instrument: int) -> int:
    """Return the slot of a row that holds an instrument, or NOT_FOUND.

    All 16 ids share a cache line, so comparing them all at once beats stopping early; the empty
    ones hold 0, which is no instrument.
    """
    ids = table.view(np.int32)
    found = NOT_FOUND
    for slot in range(SLOTS_COUNT):
        if ids[row, ids32 + slot] == instrument:
            found = slot
    return found


@kernel
def _locate_beyond(book: Book, row: int, instrument: int) -> Place:
    """Find a position in the extension rows of an account."""
    link = book.accounts[row, EXTENSION]
    while link != 0:
        pool = link - 1
        slot = slot_of(book.extensions, pool, EXTENSION_IDS32, instrument)
        if slot != NOT_FOUND:
            word = EXTENSION_SLOTS + 2 * slot
            return Place(pool, slot, book.extensions[pool, word], book.extensions[pool, word + 1])
        link = book.extensions[pool, NEXT]
    return Place(OWN_ROW, NOT_FOUND, 0, 0)


@inlined
def locate(book: Book, row: int, instrument: int) -> Place:
    """Find an account's position in an instrument."""
    slot = slot_of(book.accounts, row, IDS32, instrument)
    if slot != NOT_FOUND:
        word = SLOTS + 2 * slot
        return Place(OWN_ROW, slot, book.accounts[row, word], book.accounts[row, word + 1])
    if book.accounts[row, EXTENSION] != 0:
        return _locate_beyond(book, row, instrument)
    return Place(OWN_ROW, NOT_FOUND, 0, 0)


@inlined
def needs_extension(book: Book, row: int, place: Place) -> bool:
    """Tell whether opening this position takes an extension row from the free list."""
    count = book.accounts[row, POSITION_COUNT]
    return place.slot == NOT_FOUND and count >= SLOTS_COUNT and count % SLOTS_COUNT == 0


@inlined
def has_extensions(book: Book, wanted: int) -> bool:
    """Tell whether the free list holds `wanted` rows, at most two."""
    free = book.meta[EXTENSION_FREE]
    if wanted == 0 or free == 0:
        return wanted == 0
    return wanted == 1 or book.extensions[free - 1, NEXT] != 0


@kernel
def _tail(book: Book, row: int) -> tuple[int, int]:
    """Return the last extension row of an account and the one before it, OWN_ROW for none."""
    before, last = OWN_ROW, OWN_ROW
    link = book.accounts[row, EXTENSION]
    while link != 0:
        before, last = last, link - 1
        link = book.extensions[last, NEXT]
    return last, before


@kernel
def _write_slot(
    book: Book, row: int, pool: int, slot: int, instrument: int, lots: int, cost: int
) -> None:
    """Write all of one slot."""
    if pool == OWN_ROW:
        book.accounts.view(np.int32)[row, IDS32 + slot] = instrument
        book.accounts[row, SLOTS + 2 * slot] = lots
        book.accounts[row, SLOTS + 2 * slot + 1] = cost
    else:
        book.extensions.view(np.int32)[pool, EXTENSION_IDS32 + slot] = instrument
        book.extensions[pool, EXTENSION_SLOTS + 2 * slot] = lots
        book.extensions[pool, EXTENSION_SLOTS + 2 * slot + 1] = cost


@kernel
def _append(book: Book, row: int, instrument: int, lots: int, cost: int) -> None:
    """Open a position after the last one; that a row is free if needed was proven before."""
    count = book.accounts[row, POSITION_COUNT]
    book.accounts[row, POSITION_COUNT] = count + 1
    pool = OWN_ROW
    if count >= SLOTS_COUNT:
        pool, _ = _tail(book, row)
        if count % SLOTS_COUNT == 0:
            link = book.meta[EXTENSION_FREE]
            book.meta[EXTENSION_FREE] = book.extensions[link - 1, NEXT]
            book.extensions[link - 1, NEXT] = 0
            if pool == OWN_ROW:
                book.accounts[row, EXTENSION] = link
            else:
                book.extensions[pool, NEXT] = link
            pool = link - 1
    _write_slot(book, row, pool, count % SLOTS_COUNT, instrument, lots, cost)


@kernel
def _free(book: Book, row: int, tail: int, before: int) -> None:
    """Return an account's last extension row, left empty, to the free list."""
    if before == OWN_ROW:
        book.accounts[row, EXTENSION] = 0
    else:
        book.extensions[before, NEXT] = 0
    book.extensions[tail, NEXT] = book.meta[EXTENSION_FREE]
    book.meta[EXTENSION_FREE] = tail + 1


@kernel
def _remove(book: Book, row: int, place: Place) -> None:
    """Close a position: the account's last one takes its place."""
    last = book.accounts[row, POSITION_COUNT] - 1
    book.accounts[row, POSITION_COUNT] = last
    last_slot = last % SLOTS_COUNT
    tail, before = OWN_ROW, OWN_ROW
    if last < SLOTS_COUNT:
        instrument = book.accounts.view(np.int32)[row, IDS32 + last_slot]
        lots = book.accounts[row, SLOTS + 2 * last_slot]
        cost = book.accounts[row, SLOTS + 2 * last_slot + 1]
    else:
        tail, before = _tail(book, row)
        instrument = book.extensions.view(np.int32)[tail, EXTENSION_IDS32 + last_slot]
        lots = book.extensions[tail, EXTENSION_SLOTS + 2 * last_slot]
        cost = book.extensions[tail, EXTENSION_SLOTS + 2 * last_slot + 1]
    _write_slot(book, row, place.pool, place.slot, instrument, lots, cost)
    _write_slot(book, row, tail, last_slot, 0, 0, 0)
    if tail != OWN_ROW and last_slot == 0:
        _free(book, row, tail, before)


@inlined
def write_position(
    book: Book, row: int, place: Place, instrument: int, lots: int, cost: int
) -> None:
    """Make a position hold `lots` and `cost`; with no lots left it is gone."""
    if place.slot == NOT_FOUND:
        _append(book, row, instrument, lots, cost)
    elif lots == 0:
        _remove(book, row, place)
    elif place.pool == OWN_ROW:
        book.accounts[row, SLOTS + 2 * place.slot] = lots
        book.accounts[row, SLOTS + 2 * place.slot + 1] = cost
    else:
        book.extensions[place.pool, EXTENSION_SLOTS + 2 * place.slot] = lots
        book.extensions[place.pool, EXTENSION_SLOTS + 2 * place.slot + 1] = cost


@inlined
def touch(book: Book, row: int, seq: int) -> None:
    """Put a row on the list of those that entry `seq` changed, once."""
    if book.accounts[row, TOUCHED] != seq:
        book.accounts[row, TOUCHED] = seq
        book.touched[book.touched_count[0]] = row
        book.touched_count[0] += 1
