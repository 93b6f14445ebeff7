"""Novation in plain Python: one side of a trade, transfers and settlement outside the hot path.

The columnar fills of `RecordTrades` go through `kernels.fills`, which agrees with this file to the
last unit (tests/clearing).
"""

from collections.abc import Iterator

from seawall.clearing.layout import (
    ASSET,
    BALANCE,
    EXTENSION,
    EXTENSION_FREE,
    EXTENSION_SLOT_IDS,
    EXTENSION_SLOTS,
    NEXT,
    OPEN_COST,
    OPEN_INTEREST,
    POSITION_COUNT,
    RESIDUAL,
    SLOT_IDS,
    SLOTS,
    SLOTS_COUNT,
    STYLE,
    VALUE_SCALE,
    VARIATION,
)
from seawall.clearing.ledger import touch, touch_instrument
from seawall.clearing.state import State
from seawall.protocol.commands import Style
from seawall.protocol.units import AMOUNT_MAX, mul_div_ceil

Place = tuple[int, int]
"""(extension index + 1 or 0 for the account row itself, slot)."""


def positions(state: State, row: int) -> Iterator[tuple[int, int, int]]:
    """Yield (instrument, lots, entry cost in value units) in slot order."""
    for index in range(state.account[row, POSITION_COUNT]):
        place = _place(state, row, index)
        yield (_id(state, row, place), *_cells(state, row, place))


def position(state: State, row: int, instrument: int) -> tuple[int, int]:
    """Return (lots, entry cost) of one position, zeros if there is none."""
    for held, lots, cost in positions(state, row):
        if held == instrument:
            return lots, cost
    return 0, 0


def split_trade(lots: int, cost: int, trade_lots: int, value: int) -> tuple[int, int, int]:
    """Return lots, entry cost and realised profit after trading at `value` a lot.

    Parameters
    ----------
    lots, trade_lots : signed, long > 0
    cost : signed entry cost, value units
    value : value of one lot, value units, signed

    Returns
    -------
    tuple of int
        New lots, new cost and realised profit, in value units.

    Rounding
    --------
    The closed share of the cost is rounded up: against the account; the rest stays in the cost.

    Source
    ------
    LEDG-05.
    """
    if lots == 0 or (lots > 0) == (trade_lots > 0):
        return lots + trade_lots, cost + trade_lots * value, 0
    closed = min(abs(trade_lots), abs(lots))
    signed = closed if trade_lots > 0 else -closed
    closed_cost = mul_div_ceil(cost, closed, abs(lots))
    realised = -(signed * value + closed_cost)
    opened = trade_lots - signed
    return lots + trade_lots, cost - closed_cost + opened * value, realised


def post_side(state: State, row: int, instrument: int, trade_lots: int, value: int) -> int:
    """Trade one side against the house at `value` a lot, without fee; return realised minor units.

    The caller posts the other side in the same entry. The lots limit does not bind (takeovers);
    overflow does.
    """
    lots, cost = position(state, row, instrument)
    if state.instrument[instrument, STYLE] == Style.PREMIUM:
        new_lots, new_cost, realised = lots + trade_lots, 0, -trade_lots * value
    else:
        new_lots, new_cost, realised = split_trade(lots, cost, trade_lots, value)
    scale = state.instrument[instrument, VALUE_SCALE]
    minor, residue = divmod(realised, scale)
    moved = state.account[row, BALANCE + state.instrument[instrument, ASSET]] + minor
    assert -AMOUNT_MAX <= moved <= AMOUNT_MAX
    assert -AMOUNT_MAX <= new_cost <= AMOUNT_MAX
    state.account[row, BALANCE + state.instrument[instrument, ASSET]] = moved
    state.instrument[instrument, VARIATION] -= minor
    state.instrument[instrument, RESIDUAL] += residue
    state.instrument[instrument, OPEN_COST] -= new_cost - cost
    state.instrument[instrument, OPEN_INTEREST] += max(new_lots, 0) - max(lots, 0)
    _write(state, row, instrument, new_lots, new_cost)
    touch(state, row)
    touch_instrument(state, instrument)
    return minor


def transfer(
    state: State, from_row: int, to_row: int, instrument: int, lots: int, value: int
) -> tuple[int, int]:
    """Move signed `lots` from one account to another at `value`; return both realised profits."""
    assert from_row != to_row
    first = post_side(state, from_row, instrument, -lots, value)
    return first, post_side(state, to_row, instrument, lots, value)


def can_hold(state: State, row: int, instrument: int) -> bool:
    """Tell whether the account could hold the instrument: it does, or a slot can be had."""
    count = state.account[row, POSITION_COUNT]
    if any(held == instrument for held, _, _ in positions(state, row)):
        return True
    return count % SLOTS_COUNT != 0 or count == 0 or state.scalar[EXTENSION_FREE] != 0


def _place(state: State, row: int, index: int) -> Place:
    """Return where the account's slot number `index` stands."""
    link = 0
    for step in range(index // SLOTS_COUNT):
        link = state.account[row, EXTENSION] if step == 0 else state.extension[link - 1, NEXT]
        assert link > 0
    return link, index % SLOTS_COUNT


def _id(state: State, row: int, place: Place) -> int:
    link, slot = place
    if link:
        return int(state.extensions32[link - 1, EXTENSION_SLOT_IDS * 2 + slot])
    return int(state.accounts32[row, SLOT_IDS * 2 + slot])


def _cells(state: State, row: int, place: Place) -> tuple[int, int]:
    link, slot = place
    if link:
        word = EXTENSION_SLOTS + 2 * slot
        return state.extension[link - 1, word], state.extension[link - 1, word + 1]
    word = SLOTS + 2 * slot
    return state.account[row, word], state.account[row, word + 1]


def _put(state: State, row: int, place: Place, instrument: int, lots: int, cost: int) -> None:
    link, slot = place
    if link:
        word = EXTENSION_SLOTS + 2 * slot
        state.extensions32[link - 1, EXTENSION_SLOT_IDS * 2 + slot] = instrument
        state.extension[link - 1, word], state.extension[link - 1, word + 1] = lots, cost
        return
    word = SLOTS + 2 * slot
    state.accounts32[row, SLOT_IDS * 2 + slot] = instrument
    state.account[row, word], state.account[row, word + 1] = lots, cost


def _write(state: State, row: int, instrument: int, lots: int, cost: int) -> None:
    """Store a position; a flat one leaves its slot to the last, so that slots stay compact."""
    count = state.account[row, POSITION_COUNT]
    found = next((i for i, held in enumerate(positions(state, row)) if held[0] == instrument), -1)
    if lots == 0:
        assert cost == 0
        if found >= 0:
            _remove(state, row, found, count)
        return
    if found < 0:
        found = count
        if count and count % SLOTS_COUNT == 0:
            _extend(state, row, count)
        state.account[row, POSITION_COUNT] = count + 1
    _put(state, row, _place(state, row, found), instrument, lots, cost)


def _remove(state: State, row: int, index: int, count: int) -> None:
    last = _place(state, row, count - 1)
    if index != count - 1:
        moved = (_id(state, row, last), *_cells(state, row, last))
        _put(state, row, _place(state, row, index), *moved)
    _put(state, row, last, 0, 0, 0)
    state.account[row, POSITION_COUNT] = count - 1
    if last[1] == 0 and last[0]:
        _give_back(state, row, last[0], count - 1)


def _extend(state: State, row: int, count: int) -> None:
    """Chain a free extension row behind the account's last one."""
    link = state.scalar[EXTENSION_FREE]
    assert link > 0
    state.scalar[EXTENSION_FREE] = state.extension[link - 1, NEXT]
    state.extension[link - 1, NEXT] = 0
    tail = _place(state, row, count - 1)[0]
    if tail:
        state.extension[tail - 1, NEXT] = link
    else:
        state.account[row, EXTENSION] = link


def _give_back(state: State, row: int, link: int, count: int) -> None:
    """Return the account's last, now empty extension row to the free list."""
    tail = _place(state, row, count - 1)[0]
    if tail:
        state.extension[tail - 1, NEXT] = 0
    else:
        state.account[row, EXTENSION] = 0
    state.extension[link - 1, NEXT] = state.scalar[EXTENSION_FREE]
    state.scalar[EXTENSION_FREE] = link
