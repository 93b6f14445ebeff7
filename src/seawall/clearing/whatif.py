"""What would be if: pre-trade check, what-if and free collateral, on copies (MARG-05, MARG-06)."""

from seawall.clearing.breakers import is_halted
from seawall.clearing.collateral import convert
from seawall.clearing.instruments import compute_value
from seawall.clearing.layout import (
    ASSET,
    CASE,
    FEE_NOTIONAL,
    LOTS_MAX,
    PRICE_MAX,
    PRICE_MIN,
    STATUS,
    STATUS_TRADING,
    STYLE,
    TAKER_FEE_PPB,
    VALUE_SCALE,
)
from seawall.clearing.ledger import find_account, is_instrument
from seawall.clearing.margin import Explained, View, explain, view_of
from seawall.clearing.positions import can_hold, split_trade
from seawall.clearing.state import State
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Style
from seawall.protocol.units import AMOUNT_MAX, PPB, is_amount, mul_div_ceil

Trade = tuple[int, int, int]
"""(instrument, signed lots, price in ticks)"""


def evaluate(
    state: State, account_id: int, trades: list[Trade] | None = None
) -> Explained | Reject:
    """Return an account's equity and requirement term by term, as if it had made these trades.

    Each trade posts at its price with the taker fee, in order; limits on lots are not applied.
    Nothing is changed.

    Rejects
    -------
    ACCOUNT_UNKNOWN, INSTRUMENT_UNKNOWN, PRICE_RANGE.
    """
    row = find_account(state, account_id)
    if not row:
        return Reject.ACCOUNT_UNKNOWN
    view = view_of(state, row)
    for instrument, lots, ticks in trades or []:
        code = _check_terms(state, instrument, ticks)
        if code is not None:
            return code
        trade(state, view, instrument, lots, ticks)
    return explain(state, view)


def check_order(
    state: State, account_id: int, instrument: int, lots: int, ticks: int
) -> Reject | None:
    """Return why an account may not trade so, judged as if it had, or None.

    What only reduces a position is allowed in doubt, in a halt and below initial, as long as
    maintenance does not rise.

    Rejects
    -------
    The lowest code that applies: ACCOUNT_UNKNOWN, INSTRUMENT_UNKNOWN, LOTS_RANGE, PRICE_RANGE,
    INSTRUMENT_CLOSED, MARGIN_SHORT, MARK_DOUBTFUL, HALTED, ACCOUNT_LOCKED, LOTS_LIMIT,
    AMOUNT_OVERFLOW, POSITIONS_FULL.

    Source
    ------
    MARG-05.
    """
    row = find_account(state, account_id)
    if not row:
        return Reject.ACCOUNT_UNKNOWN
    if not is_instrument(state, instrument):
        return Reject.INSTRUMENT_UNKNOWN
    if not 0 < abs(lots) <= state.instrument[instrument, LOTS_MAX]:
        return Reject.LOTS_RANGE
    code = _check_terms(state, instrument, ticks)
    if code is not None:
        return code
    if state.instrument[instrument, STATUS] != STATUS_TRADING:
        return Reject.INSTRUMENT_CLOSED
    view = view_of(state, row)
    before = explain(state, view)
    held = view.positions.get(instrument, (0, 0))[0]
    trade(state, view, instrument, lots, ticks)
    after = explain(state, view)
    if not _only_reduces(held, lots) or after.maintenance_minor > before.maintenance_minor:
        code = _check_risk(state, row, before, after)
        if code is not None:
            return code
    if abs(held + lots) > state.instrument[instrument, LOTS_MAX]:
        return Reject.LOTS_LIMIT
    if not all(is_amount(amount) for amount in (*view.balances, *_costs(view))):
        return Reject.AMOUNT_OVERFLOW
    return None if can_hold(state, row, instrument) else Reject.POSITIONS_FULL


def free_collateral(state: State, row: int, asset: int, amount: int) -> Reject | None:
    """Return why an amount may not leave an account, or None.

    Afterwards the balance is not below zero, and equity without unrealised gains covers initial
    at the current marks.

    Rejects
    -------
    The lowest code that applies: BALANCE_SHORT, MARGIN_SHORT, MARK_DOUBTFUL, HALTED,
    ACCOUNT_LOCKED.

    Source
    ------
    MARG-06.
    """
    view = view_of(state, row)
    if view.balances[asset] < amount:
        return Reject.BALANCE_SHORT
    view.balances[asset] -= amount
    after = explain(state, view)
    if _equity_without_gains(state, after) < after.initial_minor:
        return Reject.MARGIN_SHORT
    before = explain(state, view_of(state, row))
    return _check_frozen(state, row, before)


def trade(state: State, view: View, instrument: int, lots: int, ticks: int) -> None:
    """Post a trade to a copy as LEDG-05 would, the taker fee included."""
    value = compute_value(state, instrument, ticks)
    scale = state.instrument[instrument, VALUE_SCALE]
    held, cost = view.positions.get(instrument, (0, 0))
    if state.instrument[instrument, STYLE] == Style.PREMIUM:
        held, cost, realised = held + lots, 0, -lots * value
    else:
        held, cost, realised = split_trade(held, cost, lots, value)
    base = abs(lots) * (state.instrument[instrument, FEE_NOTIONAL] or abs(value))
    fee = mul_div_ceil(base, state.instrument[instrument, TAKER_FEE_PPB], PPB * scale)
    view.balances[state.instrument[instrument, ASSET]] += realised // scale - fee
    view.positions[instrument] = (held, cost)
    if not held:
        del view.positions[instrument]


def _check_terms(state: State, instrument: int, ticks: int) -> Reject | None:
    if not is_instrument(state, instrument):
        return Reject.INSTRUMENT_UNKNOWN
    cell = state.instrument
    if not max(cell[instrument, PRICE_MIN], 1) <= ticks <= cell[instrument, PRICE_MAX]:
        return Reject.PRICE_RANGE
    return None


def _only_reduces(held: int, lots: int) -> bool:
    """Tell whether a trade brings a position nearer to flat without crossing it."""
    return (held > 0) != (lots > 0) and 0 < abs(lots) <= abs(held)


def _check_risk(state: State, row: int, before: Explained, after: Explained) -> Reject | None:
    """Return why an account may not take the risk it has after a trade, or None."""
    if after.equity_minor < after.initial_minor:
        return Reject.MARGIN_SHORT
    if after.doubtful:
        return Reject.MARK_DOUBTFUL
    if any(is_halted(state, term.instrument_id) for term in after.positions):
        return Reject.HALTED
    return _check_frozen(state, row, before)


def _check_frozen(state: State, row: int, before: Explained) -> Reject | None:
    if before.doubtful:
        return Reject.MARK_DOUBTFUL
    if any(is_halted(state, term.instrument_id) for term in before.positions):
        return Reject.HALTED
    return Reject.ACCOUNT_LOCKED if state.account[row, CASE] else None


def _equity_without_gains(state: State, explained: Explained) -> int:
    """Return equity as if each asset's unrealised profit, where it is one, were nothing."""
    return sum(
        convert(
            state,
            term.asset_id,
            max(term.balance_minor + min(term.unrealised_minor, 0), -AMOUNT_MAX),
        )
        for term in explained.assets
    )


def _costs(view: View) -> list[int]:
    return [cost for _, cost in view.positions.values()]
