"""Warnings and margin calls: what a sweep's figures make of each account (CALL-*)."""

import numpy as np

from seawall.clearing.cases import open_cases
from seawall.clearing.kernels.classes import LIQUIDATING, OVERDUE, list_moves
from seawall.clearing.layout import AT_NS, ROWS_USED
from seawall.clearing.margin import books_of, prices_of
from seawall.clearing.outcome import Out
from seawall.clearing.standing import Moves, enter
from seawall.clearing.state import State
from seawall.protocol.events import AccountState
from seawall.protocol.genesis import MOVES_MAX
from seawall.protocol.ids import HOUSE_ROWS


def step_calls(state: State, out: Out) -> None:
    """Move each account to the class of its figures; open cases for those below maintenance.

    A doubtful or halted account below maintenance is called instead, and its deadline waits for
    the doubt to end (MARK-05, BRKR-01). The sweep of this entry has been done.

    Source
    ------
    CALL-02, CALL-03, LIQD-01.
    """
    span = (HOUSE_ROWS, state.scalar[ROWS_USED])
    # What there is no room for is moved at the next step: an outcome has a largest size.
    room = min(span[1] - span[0], MOVES_MAX)
    rows, wanted = np.empty(room, np.int32), np.empty(room, np.int32)
    count = list_moves(
        books_of(state),
        prices_of(state),
        span,
        state.scalar[AT_NS],
        state.parameter("warn_ppb"),
        rows,
        wanted,
    )
    if not count:
        return
    moves = Moves()
    due: list[tuple[int, bool]] = []
    for row, standing in zip(rows[:count].tolist(), wanted[:count].tolist(), strict=True):
        if standing >= LIQUIDATING:
            due.append((row, standing == OVERDUE))
        else:
            enter(state, out, row, AccountState(standing), moves)
    open_cases(state, out, due, moves)
    moves.tell(out)
