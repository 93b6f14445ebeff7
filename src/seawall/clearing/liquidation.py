"""Distress worked off an order at a time, until restored or taken over (LIQD-*, WTRF-01)."""

from seawall.clearing.cases import CLIENT, DISPOSAL, close, list_open, open_disposal, priority
from seawall.clearing.kernels.classes import read_flags
from seawall.clearing.kernels.sweep import Books, Prices
from seawall.clearing.layout import (
    AT_NS,
    CASE_ACCOUNT_ROW,
    CASE_DEADLINE,
    CASE_ORDER_INDEX,
    CASE_ORDER_PENDING,
    CASE_ORDER_SEQ,
    CASE_ORDERS,
    CASE_OVERDUE,
    CASES_OPEN,
    EQUITY,
    ID,
    INITIAL,
    MAINTENANCE,
    MARK_TICKS,
    ORDER_BAND_PPB,
    POSITION_COUNT,
    PRICE_MAX,
    PRICE_MIN,
    SLICE_PPB,
    STATUS,
    STATUS_TRADING,
)
from seawall.clearing.margin import books_of, compute_required, prices_of, raw_equity
from seawall.clearing.outcome import Out
from seawall.clearing.positions import positions
from seawall.clearing.standing import Moves, class_of, enter
from seawall.clearing.state import State
from seawall.clearing.waterfall import FUND_ROW, resolve
from seawall.protocol.effects import PlaceOrder
from seawall.protocol.events import AccountState, CaseEnd, LiquidationEnded
from seawall.protocol.units import PPB, mul_div_ceil, mul_div_floor


def step_liquidation(state: State, out: Out) -> None:
    """Advance every case, the most distressed account first, then dispose of the fund's positions.

    A doubtful or halted account's case waits (MARK-05, BRKR-01). At most `orders_per_tick_max`
    orders and takeovers are made.

    Source
    ------
    LIQD-02, WTRF-01.
    """
    if not state.scalar[CASES_OPEN] and not state.account[FUND_ROW, POSITION_COUNT]:
        return
    moves = Moves()
    books, prices = books_of(state), prices_of(state)
    budget = state.parameter("orders_per_tick_max")
    cases = [(priority(state, _row_of(state, case)), case) for case in list_open(state, CLIENT)]
    for _, case in sorted(cases):
        if not read_flags(books, prices, _row_of(state, case)):
            may_act = budget > 0 and not out.crowded
            budget -= _advance(state, out, case, moves, may_act=may_act)
    if budget > 0:
        _dispose(state, out, books, prices)
    moves.tell(out)


def on_effect(state: State, case: int, out: Out) -> None:
    """Free a case for its next slice: its order was done, failed or expired (LIQD-04)."""
    assert state.case[case, CASE_ORDER_PENDING]
    for word in (CASE_ORDER_PENDING, CASE_ORDER_SEQ, CASE_ORDER_INDEX):
        state.case[case, word] = 0


def _row_of(state: State, case: int) -> int:
    return state.case[case, CASE_ACCOUNT_ROW]


def _advance(state: State, out: Out, case: int, moves: Moves, *, may_act: bool) -> int:
    """Take one case one step further; return how many orders or takeovers that took."""
    row = _row_of(state, case)
    if is_restored(state, case):
        _end(state, out, case, CaseEnd.RESTORED, state.account[row, EQUITY])
        enter(state, out, row, class_of(state, row), moves)
        return 0
    if not may_act:
        return 0
    if _is_beyond_orders(state, case):
        resolution = resolve(state, case, out)
        if resolution is not None:
            _end(state, out, case, *resolution)
            enter(state, out, row, AccountState.HEALTHY, moves)
        return 1
    if state.case[case, CASE_ORDER_PENDING]:
        return 0
    return _place_slice(state, out, case)


def is_restored(state: State, case: int) -> bool:
    """Tell whether the account is well above maintenance, or above initial if it was overdue.

    Rounding
    --------
    The level is rounded up: against the account.
    """
    cell, row = state.account, _row_of(state, case)
    level = mul_div_ceil(cell[row, MAINTENANCE], state.parameter("restore_ppb"), PPB)
    if state.case[case, CASE_OVERDUE]:
        level = max(level, cell[row, INITIAL])
    return cell[row, EQUITY] >= max(level, 0)


def _is_beyond_orders(state: State, case: int) -> bool:
    """Tell whether orders can help no more: too late, nothing to sell, or worth nothing."""
    row = _row_of(state, case)
    if state.scalar[AT_NS] >= state.case[case, CASE_DEADLINE]:
        return True
    if not state.account[row, POSITION_COUNT]:
        return True
    # Haircuts only lower equity: what is above zero with them is so without.
    return state.account[row, EQUITY] <= 0 and raw_equity(state, row) <= 0


def _end(state: State, out: Out, case: int, end: CaseEnd, equity_minor: int) -> None:
    account = state.account[_row_of(state, case), ID]
    close(state, out, case)
    out.event(LiquidationEnded(account, end, equity_minor))


def _place_slice(state: State, out: Out, case: int) -> int:
    """Order a slice of the position that requires most; return 1, or 0 if there is no order."""
    row = _row_of(state, case)
    order = compute_slice(state, row)
    if order is None or out.outbox_full():
        return 0
    seq, index = out.effect(order, case=case + 1)
    state.case[case, CASE_ORDER_SEQ] = seq
    state.case[case, CASE_ORDER_INDEX] = index
    state.case[case, CASE_ORDER_PENDING] = 1
    state.case[case, CASE_ORDERS] += 1
    return 1


def compute_slice(state: State, row: int) -> PlaceOrder | None:
    """Return the next liquidation order of an account, or None if nothing it holds trades.

    Rounding
    --------
    Lots up; the limit price away from the mark: down for a sale, up for a purchase.

    Source
    ------
    LIQD-03.
    """
    held = [
        (-compute_required(state, instrument, lots)[0], instrument, lots)
        for instrument, lots, _ in positions(state, row)
        if state.instrument[instrument, STATUS] == STATUS_TRADING
    ]
    if not held:
        return None
    _, instrument, lots = min(held)
    cell = state.instrument
    size = max(mul_div_ceil(abs(lots), cell[instrument, SLICE_PPB], PPB), 1)
    mark, band = cell[instrument, MARK_TICKS], cell[instrument, ORDER_BAND_PPB]
    if lots > 0:
        ordered, limit = -size, mul_div_floor(mark, PPB - band, PPB)
    else:
        ordered, limit = size, mul_div_ceil(mark, PPB + band, PPB)
    limit = min(max(limit, cell[instrument, PRICE_MIN]), cell[instrument, PRICE_MAX])
    expires_at_ns = state.scalar[AT_NS] + state.parameter("order_ttl_ns")
    return PlaceOrder(expires_at_ns, state.account[row, ID], instrument, ordered, limit)


def _dispose(state: State, out: Out, books: Books, prices: Prices) -> None:
    """Sell what the fund took over, an order at a time and without a deadline (WTRF-01)."""
    cases = list_open(state, DISPOSAL)
    if not state.account[FUND_ROW, POSITION_COUNT]:
        for case in cases:
            close(state, out, case)
        return
    cases = cases or open_disposal(state, FUND_ROW)
    frozen = read_flags(books, prices, FUND_ROW)
    for case in cases:
        if not frozen and not state.case[case, CASE_ORDER_PENDING]:
            _place_slice(state, out, case)
