"""What the books say of what an entry changed, in lines for the auditor (AUDT-01)."""

import numpy as np

from seawall.clearing.kernels.lines import LINE_HEAD, cut_lines
from seawall.clearing.layout import (
    ASSETS_USED,
    EVALUATED,
    INSTRUMENTS_USED,
    MARK_TICKS,
    OPEN_COST,
    OPEN_INTEREST,
    POSITION_COUNT,
    RESIDUAL,
    SEQ,
    TOUCHED_INSTRUMENT,
    VARIATION,
)
from seawall.clearing.outcome import Out
from seawall.clearing.state import Int32, State
from seawall.protocol.codec import pack_int64
from seawall.protocol.events import AccountLines, InstrumentLines

CELLS_MAX = 1 << 16
"""Cells of account lines in one outcome: 512 KiB."""
LINE_WORDS = (OPEN_INTEREST, VARIATION, RESIDUAL, OPEN_COST, MARK_TICKS)


def cut(state: State, out: Out, *, evaluated: bool) -> None:
    """Append the lines of what this entry touched.

    Parameters
    ----------
    evaluated : whether a sweep computed requirements in this entry; its accounts get lines too

    Beyond `audit_lines_max` accounts a sample is cut: every k-th row from a start that moves with
    the entry, so that each account's turn comes.
    """
    if not evaluated and not state.touched_count[0]:
        _cut_instruments(state, out)
        return
    rows = np.sort(state.touched[: state.touched_count[0]])
    if evaluated:
        marked = state.used("accounts")[:, EVALUATED] == state.scalar[SEQ]
        marked[rows] = True
        rows = np.flatnonzero(marked).astype(np.int32)
    touched = len(rows)
    if touched:
        rows = _sample(rows, state.parameter("audit_lines_max"), state.scalar[SEQ])
        rows = _fit(state, rows)
        # Without a line too: how many accounts changed is what the coverage is measured by.
        out.event(AccountLines(_cells(state, rows), touched))
    _cut_instruments(state, out)


def _sample(rows: Int32, lines_max: int, seq: int) -> Int32:
    if len(rows) <= lines_max:
        return rows
    if lines_max == 0:
        return rows[:0]
    stride = -(-len(rows) // lines_max)
    return rows[seq % stride :: stride]


def _fit(state: State, rows: Int32) -> Int32:
    """Halve the lines until they fit what an outcome may carry."""
    head = LINE_HEAD + state.scalar[ASSETS_USED]
    while len(rows) * head + 3 * int(state.accounts[rows, POSITION_COUNT].sum()) > CELLS_MAX:
        rows = rows[::2]
    return rows


def _cells(state: State, rows: Int32) -> bytes:
    assets = state.scalar[ASSETS_USED]
    positions = int(state.accounts[rows, POSITION_COUNT].sum())
    out = np.zeros(len(rows) * (LINE_HEAD + assets) + 3 * positions, np.int64)
    used = cut_lines(
        state.accounts,
        state.accounts32,
        state.extensions,
        state.extensions32,
        np.ascontiguousarray(rows),
        state.scalar[SEQ],
        assets,
        out,
    )
    assert used == len(out)
    return out.tobytes()


def _cut_instruments(state: State, out: Out) -> None:
    seq = state.scalar[SEQ]
    cells: list[int] = []
    for instrument in range(1, state.scalar[INSTRUMENTS_USED]):
        if state.instrument[instrument, TOUCHED_INSTRUMENT] == seq:
            cells.append(instrument)
            cells.extend(state.instrument[instrument, word] for word in LINE_WORDS)
    if cells:
        out.event(InstrumentLines(pack_int64(cells)))
