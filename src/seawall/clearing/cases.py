"""Liquidation cases: opened in order of distress, closed with their orders withdrawn (LIQD-01)."""

import numpy as np

from seawall.clearing.layout import (
    AT_NS,
    CASE,
    CASE_ACCOUNT_ROW,
    CASE_DEADLINE,
    CASE_KIND,
    CASE_ORDER_INDEX,
    CASE_ORDER_PENDING,
    CASE_ORDER_SEQ,
    CASE_OVERDUE,
    CASE_STARTED,
    CASE_WIDTH,
    CASES_OPEN,
    EQUITY,
    ID,
    LIQUIDATIONS,
    MAINTENANCE,
)
from seawall.clearing.ledger import touch
from seawall.clearing.outcome import Out
from seawall.clearing.shares import compute_ratio
from seawall.clearing.standing import Moves, enter
from seawall.clearing.state import State
from seawall.protocol.events import (
    AccountState,
    CallOverdue,
    EffectExpired,
    LiquidationStarted,
)

CLIENT, DISPOSAL = 1, 2
"""CASE_KIND: an account in distress, the insurance fund with what it took over."""


def priority(state: State, row: int) -> tuple[bool, int, int, int]:
    """Return the sort key of LIQD-01: the most distressed account is the least.

    Relative shortfall (maintenance - equity) / maintenance, larger first, an account without
    requirement before all; then maintenance, larger first; then account id.

    No two accounts share an id, so this is a total order.
    """
    maintenance = state.account[row, MAINTENANCE]
    shortfall = maintenance - state.account[row, EQUITY]
    ratio = compute_ratio(shortfall, maintenance) if maintenance else 0
    return maintenance != 0, -ratio, -maintenance, state.account[row, ID]


def list_open(state: State, kind: int) -> list[int]:
    """Return the indices of the open cases of a kind, ascending."""
    if not state.scalar[CASES_OPEN]:
        return []
    found = np.flatnonzero(state.cases[:, CASE_KIND] == kind)
    return [int(index) for index in found]


def open_cases(state: State, out: Out, due: list[tuple[int, bool]], moves: Moves) -> None:
    """Open a case for each (row, overdue), the most distressed first, while there is room.

    Who finds no room is called, if it was not yet, and comes again at the next tick.
    """
    free = _list_free(state, len(due)) if due else []
    for place, (row, overdue) in enumerate(sorted(due, key=lambda d: priority(state, d[0]))):
        if place >= len(free):
            enter(state, out, row, AccountState.CALLED, moves)
            continue
        _open(state, free[place], row, CLIENT, overdue=overdue)
        state.scalar[LIQUIDATIONS] += 1
        account = state.account[row, ID]
        if overdue:
            out.event(CallOverdue(account))
        equity, maintenance = state.account[row, EQUITY], state.account[row, MAINTENANCE]
        out.event(LiquidationStarted(account, equity, maintenance, overdue))
        enter(state, out, row, AccountState.LIQUIDATING, moves)


def open_disposal(state: State, row: int) -> list[int]:
    """Open the insurance fund's own case and return it alone, or nothing when there is no room."""
    free = _list_free(state, 1)
    for case in free:
        _open(state, case, row, DISPOSAL, overdue=False)
    return free


def close(state: State, out: Out, case: int) -> None:
    """Free the case's row; an order that is still pending leaves the outbox and is not executed."""
    row = state.case[case, CASE_ACCOUNT_ROW]
    if state.case[case, CASE_ORDER_PENDING]:
        key = (state.case[case, CASE_ORDER_SEQ], state.case[case, CASE_ORDER_INDEX])
        del state.tables.outbox[key]
        out.event(EffectExpired(*key))
    for word in range(CASE_WIDTH):
        state.case[case, word] = 0
    state.account[row, CASE] = 0
    state.scalar[CASES_OPEN] -= 1
    touch(state, row)


def _open(state: State, case: int, row: int, kind: int, *, overdue: bool) -> None:
    now_ns = state.scalar[AT_NS]
    state.case[case, CASE_ACCOUNT_ROW] = row
    state.case[case, CASE_STARTED] = now_ns
    state.case[case, CASE_DEADLINE] = now_ns + state.parameter("liquidation_deadline_ns")
    state.case[case, CASE_KIND] = kind
    state.case[case, CASE_OVERDUE] = overdue
    state.account[row, CASE] = case + 1
    state.scalar[CASES_OPEN] += 1
    touch(state, row)


def _list_free(state: State, count: int) -> list[int]:
    """Return up to `count` vacant case rows, ascending."""
    return [int(index) for index in np.flatnonzero(state.cases[:, CASE_KIND] == 0)[:count]]
