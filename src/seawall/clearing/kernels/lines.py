"""Account rows cut into the lines that the auditor compares."""

from seawall.clearing.kernels.columns import Column, Column32, Table
from seawall.clearing.kernels.compiler import kernel
from seawall.clearing.kernels.positions import EXTENSION_IDS32, IDS32
from seawall.clearing.layout import (
    BALANCE,
    EQUITY,
    EVALUATED,
    EXTENSION,
    EXTENSION_SLOTS,
    ID,
    INITIAL,
    MAINTENANCE,
    NEXT,
    POSITION_COUNT,
    SLOTS,
    SLOTS_COUNT,
    STATE,
)

LINE_HEAD = 8
"""Cells of a line besides balances and positions."""


@kernel
def cut_lines(
    accounts: Table,
    accounts32: Column32,
    extensions: Table,
    extensions32: Column32,
    rows: Column32,
    seq: int,
    assets: int,
    out: Column,
) -> int:
    """Write one line per row into `out` and return the cells used (`events.AccountLines`).

    The caller provides LINE_HEAD + assets + 3 cells a position for every row.
    """
    at = 0
    for index in range(rows.shape[0]):
        row = rows[index]
        out[at] = accounts[row, ID]
        out[at + 1] = accounts[row, STATE]
        out[at + 2] = accounts[row, EQUITY]
        out[at + 3] = accounts[row, MAINTENANCE]
        out[at + 4] = accounts[row, INITIAL]
        out[at + 5] = 1 if accounts[row, EVALUATED] == seq else 0
        out[at + 6] = assets
        at += 7
        for asset in range(assets):
            out[at] = accounts[row, BALANCE + asset]
            at += 1
        count = accounts[row, POSITION_COUNT]
        out[at] = count
        at += 1
        link = accounts[row, EXTENSION]
        for position in range(count):
            slot = position % SLOTS_COUNT
            if position < SLOTS_COUNT:
                out[at] = accounts32[row, IDS32 + slot]
                out[at + 1] = accounts[row, SLOTS + 2 * slot]
                out[at + 2] = accounts[row, SLOTS + 2 * slot + 1]
            else:
                if slot == 0 and position > SLOTS_COUNT:
                    link = extensions[link - 1, NEXT]
                out[at] = extensions32[link - 1, EXTENSION_IDS32 + slot]
                out[at + 1] = extensions[link - 1, EXTENSION_SLOTS + 2 * slot]
                out[at + 2] = extensions[link - 1, EXTENSION_SLOTS + 2 * slot + 1]
            at += 3
    return at
