"""A liquidation that ran out: the insurance fund takes the account over, losses included (LIQD-05).

Shortfall = what the fund pays + what winners give up + what is shared, exactly.
"""

from typing import NamedTuple

from seawall.clearing.instruments import compute_value
from seawall.clearing.layout import (
    ASSET,
    ASSETS_MAX,
    AT_NS,
    BALANCE,
    CASE_ACCOUNT_ROW,
    DELEVERAGED,
    EXTENSION_FREE,
    FUND_PAID,
    ID,
    INVERSE_NUMERATOR,
    MARK_VALUE,
    NEXT,
    PRICE_MAX,
    PRICE_MIN,
    SHORTFALL,
    SLOTS_COUNT,
    SOCIALISED,
    VALUE_SCALE,
)
from seawall.clearing.ledger import post
from seawall.clearing.margin import evaluate_row, raw_equity
from seawall.clearing.outcome import Out
from seawall.clearing.positions import positions, split_trade, transfer
from seawall.clearing.state import State
from seawall.clearing.tearup import deleverage, share_loss
from seawall.protocol.effects import RaiseAlarm
from seawall.protocol.events import CaseEnd, PositionTransferred, ShortfallFound, Why
from seawall.protocol.ids import INSURANCE, account_row
from seawall.protocol.units import AMOUNT_MAX, is_amount

FUND_ROW = account_row(INSURANCE)
ROUNDINGS = 4
"""Minor units that both sides of one move may lose to rounding, winners between them included."""


class Resolution(NamedTuple):
    """How a case ended, and what the account was worth before."""

    end: CaseEnd
    equity_minor: int
    """Without haircuts, valuation minor units."""


def resolve(state: State, case: int, out: Out) -> Resolution | None:
    """Empty a case's account into the insurance fund; cover first what the fund cannot bear.

    Returns
    -------
    Resolution or None
        None, with an alarm, when the fund's books cannot hold the positions: the case waits.

    Invariants
    ----------
    Each asset's balances still sum to zero. The account is left without balance or position.

    Source
    ------
    LIQD-05.
    """
    row = state.case[case, CASE_ACCOUNT_ROW]
    equity = raw_equity(state, row)
    if not can_take_over(state, row, equity):
        raise_alarm(state, out, "fund_full", state.account[row, ID])
        return None
    if equity < 0:
        _cover(state, out, row, -equity)
    _take_over(state, out, row)
    evaluate_row(state, row)
    return Resolution(CaseEnd.TAKEN_OVER if equity >= 0 else CaseEnd.DEFAULTED, equity)


def raise_alarm(state: State, out: Out, kind: str, subject: int) -> None:
    """Tell the operators, unless the same alarm is still pending or the outbox is full."""
    told = any(
        isinstance(pending.effect, RaiseAlarm)
        and (pending.effect.kind, pending.effect.subject) == (kind, subject)
        for pending in state.tables.outbox.values()
    )
    if not told and not out.outbox_full():
        expires_at_ns = state.scalar[AT_NS] + state.parameter("order_ttl_ns")
        out.effect(RaiseAlarm(expires_at_ns, kind, subject))


def _cover(state: State, out: Out, row: int, shortfall: int) -> None:
    """Bring a bankrupt account's worth up to zero: fund, winners, all, and the fund again."""
    able = max(raw_equity(state, FUND_ROW) - state.parameter("fund_floor_minor"), 0)
    missing = shortfall - min(shortfall, able)
    given = deleverage(state, out, row, missing) if missing else 0
    shared = share_loss(state, out, row, missing - given) if missing > given else 0
    paid = shortfall - given - shared
    post(state, out, Why.FUND_PAYMENT, [(FUND_ROW, 0, -paid), (row, 0, paid)])
    state.scalar[SHORTFALL] += shortfall
    state.scalar[FUND_PAID] += paid
    state.scalar[DELEVERAGED] += given
    state.scalar[SOCIALISED] += shared
    account = state.account[row, ID]
    out.event(ShortfallFound(account, shortfall, paid, given, shared))
    if paid > able:
        raise_alarm(state, out, "fund_exhausted", INSURANCE)


def _take_over(state: State, out: Out, row: int) -> None:
    """Move every position at the mark, then every balance, to the insurance fund."""
    for instrument, lots, _ in sorted(positions(state, row)):
        transfer(state, row, FUND_ROW, instrument, lots, state.instrument[instrument, MARK_VALUE])
        out.event(PositionTransferred(state.account[row, ID], INSURANCE, instrument, lots))
    legs = []
    for asset in range(ASSETS_MAX):
        held = state.account[row, BALANCE + asset]
        if held:
            legs += [(row, asset, -held), (FUND_ROW, asset, held)]
    post(state, out, Why.TAKEOVER, legs)


def can_take_over(state: State, row: int, equity: int) -> bool:
    """Tell whether the fund's books can hold the account: lots, costs, balances and slots.

    The fund is exempt from the lots limit, not from the bound that keeps lots times value in
    int64 at any price (LIQD-05). Nothing is written.
    """
    held = {i: (lots, cost) for i, lots, cost in positions(state, FUND_ROW)}
    opened = 0
    moved = [
        abs(state.account[row, BALANCE + asset]) + abs(state.account[FUND_ROW, BALANCE + asset])
        for asset in range(ASSETS_MAX)
    ]
    moved[0] += abs(equity)
    for instrument, lots, cost in positions(state, row):
        value = state.instrument[instrument, MARK_VALUE]
        fund_lots, fund_cost = held.get(instrument, (0, 0))
        opened += instrument not in held
        after_lots, after_cost, realised = split_trade(fund_lots, fund_cost, lots, value)
        if abs(after_lots) * _value_max(state, instrument) > AMOUNT_MAX:
            return False
        if not is_amount(after_cost):
            return False
        # A premium is paid in cash by one and got by the other: as much as lots times value.
        gains = abs(lots * value - cost) + abs(realised) + abs(lots * value)
        asset = state.instrument[instrument, ASSET]
        moved[asset] += gains // state.instrument[instrument, VALUE_SCALE] + ROUNDINGS
    fits = all(amount <= AMOUNT_MAX for amount in moved)
    return fits and _has_slots(state, len(held), opened)


def _value_max(state: State, instrument: int) -> int:
    """Return the largest value of one lot at any price the instrument may have."""
    if state.instrument[instrument, INVERSE_NUMERATOR]:
        lowest = abs(compute_value(state, instrument, state.instrument[instrument, PRICE_MIN]))
    else:
        lowest = 0
    highest = abs(compute_value(state, instrument, state.instrument[instrument, PRICE_MAX]))
    return max(lowest, highest, abs(state.instrument[instrument, MARK_VALUE]), 1)


def _has_slots(state: State, held: int, opened: int) -> bool:
    """Tell whether the fund can hold so many positions more, extension rows included."""
    rows_now = max(-(-held // SLOTS_COUNT), 1)
    wanted = max(-(-(held + opened) // SLOTS_COUNT), 1) - rows_now
    link = state.scalar[EXTENSION_FREE]
    while wanted and link:
        link = state.extension[link - 1, NEXT]
        wanted -= 1
    return not wanted
