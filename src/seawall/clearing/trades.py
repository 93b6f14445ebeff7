"""Fills that happened: columns checked, then novated by one kernel call (LEDG-05)."""

import numpy as np

from seawall.clearing.columns import check_columns
from seawall.clearing.kernels.fills import RESULT_CELLS, Fills, post_fills
from seawall.clearing.kernels.positions import Book
from seawall.clearing.layout import SEQ
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.state import State
from seawall.protocol.commands import RecordTrades
from seawall.protocol.events import TradesRecorded
from seawall.protocol.ids import FEES, account_row

COLUMNS = (
    ("buyers", 8),
    ("sellers", 8),
    ("instruments", 4),
    ("lots", 8),
    ("prices", 8),
    ("flags", 1),
)


def check_trades(state: State, command: RecordTrades) -> Refusal | None:
    """Return what is wrong with the columns as such; each fill is judged on its own later."""
    return check_columns(state, command, COLUMNS)


def book_trades(state: State, command: RecordTrades, out: Out) -> None:
    """Post every fill, or refuse it alone; the event says which and with what result.

    Source
    ------
    LEDG-05. Fills are facts: an insolvent side, a halt or a doubtful mark does not undo them.
    """
    fills = Fills(
        np.frombuffer(command.buyers, np.int64),
        np.frombuffer(command.sellers, np.int64),
        np.frombuffer(command.instruments, np.int32),
        np.frombuffer(command.lots, np.int64),
        np.frombuffer(command.prices, np.int64),
        np.frombuffer(command.flags, np.uint8),
    )
    results = np.zeros((len(fills.lots), RESULT_CELLS), np.int64)
    post_fills(fills, book_of(state), state.scalar[SEQ], account_row(FEES), results)
    out.event(TradesRecorded(command.stream, command.number, results.tobytes()))


def book_of(state: State) -> Book:
    """Return the columns that fills touch."""
    return Book(
        state.accounts,
        state.extensions,
        state.instruments,
        state.meta,
        state.touched,
        state.touched_count,
    )
