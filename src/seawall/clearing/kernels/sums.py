"""Sums over all positions, in halves of 32 bits so that nothing can wrap."""

from seawall.clearing.kernels.columns import Table, Table32
from seawall.clearing.kernels.compiler import inlined, kernel
from seawall.clearing.kernels.positions import EXTENSION_IDS32, IDS32
from seawall.clearing.layout import (
    EXTENSION,
    EXTENSION_SLOTS,
    NEXT,
    POSITION_COUNT,
    SLOTS,
    SLOTS_COUNT,
)

LOTS_HIGH, LOTS_LOW, COST_HIGH, COST_LOW, LONG_HIGH, LONG_LOW = range(6)
HALF_BITS = 32
HALF_MASK = (1 << HALF_BITS) - 1


@inlined
def _add(out: Table, instrument: int, lots: int, cost: int) -> None:
    out[instrument, LOTS_HIGH] += lots >> HALF_BITS
    out[instrument, LOTS_LOW] += lots & HALF_MASK
    out[instrument, COST_HIGH] += cost >> HALF_BITS
    out[instrument, COST_LOW] += cost & HALF_MASK
    if lots > 0:
        out[instrument, LONG_HIGH] += lots >> HALF_BITS
        out[instrument, LONG_LOW] += lots & HALF_MASK


@kernel
def sum_positions(
    accounts: Table,
    accounts32: Table32,
    extensions: Table,
    extensions32: Table32,
    out: Table,
) -> None:
    """Add up lots, costs and long lots per instrument into `out` (instruments, 6), zeroed before.

    With fewer than 2**31 positions no half can leave int64.
    """
    for row in range(accounts.shape[0]):
        link = accounts[row, EXTENSION]
        for position in range(accounts[row, POSITION_COUNT]):
            slot = position % SLOTS_COUNT
            if position < SLOTS_COUNT:
                word = SLOTS + 2 * slot
                instrument = accounts32[row, IDS32 + slot]
                _add(out, instrument, accounts[row, word], accounts[row, word + 1])
            else:
                if slot == 0 and position > SLOTS_COUNT:
                    link = extensions[link - 1, NEXT]
                word = EXTENSION_SLOTS + 2 * slot
                instrument = extensions32[link - 1, EXTENSION_IDS32 + slot]
                _add(out, instrument, extensions[link - 1, word], extensions[link - 1, word + 1])
