"""Loss beyond the insurance fund: winners are closed and give up gains, then all share (TEAR-*)."""

from typing import NamedTuple

import numpy as np

from seawall.clearing.kernels.parties import list_holders, list_payers
from seawall.clearing.layout import (
    ASSET,
    ASSETS_USED,
    BALANCE,
    EQUITY,
    ID,
    LIABILITY_HAIRCUT_PPB,
    MARK_VALUE,
    PRICE,
    ROWS_USED,
    STYLE,
    UNIT,
    VALUE_SCALE,
)
from seawall.clearing.ledger import post
from seawall.clearing.margin import (
    books_of,
    compute_required,
    evaluate_row,
    explain,
    prices_of,
    sweep,
    view_of,
)
from seawall.clearing.outcome import Out
from seawall.clearing.positions import positions, split_trade, transfer
from seawall.clearing.shares import split_to_last, split_within
from seawall.clearing.state import State
from seawall.protocol.commands import Style
from seawall.protocol.events import Deleveraged, PositionTransferred, Why
from seawall.protocol.ids import HOUSE_ROWS
from seawall.protocol.units import AMOUNT_MAX, PPB, mul_div_floor

RANK_BITS = 256
"""Fractions with divisors below 2^124 differ by more than 2^-248 or not at all."""

ROOM = AMOUNT_MAX // 4
"""Two amounts up to this can be added whatever the closing itself realises."""

ROUNDING_MARGIN = 2
"""Valuation minor units that the roundings of a conversion may take besides what is given."""


class Winner(NamedTuple):
    """An account on the other side of the bankrupt one's position, with a gain."""

    row: int
    lots: int
    cost: int


def deleverage(state: State, out: Out, row: int, wanted_minor: int) -> int:
    """Close winners against the positions of a bankrupt account; return what they gave up.

    Parameters
    ----------
    wanted_minor : loss to cover, valuation asset; spread over the positions by what each requires

    Returns
    -------
    int
        Value of what was given, valuation minor units, never more than wanted.

    Rounding
    --------
    Shares down, the remainder to the position with the highest instrument id; amounts down.

    Source
    ------
    TEAR-01.
    """
    held, required = [], []
    for instrument, lots, _ in sorted(positions(state, row)):
        needed, _, _ = compute_required(state, instrument, lots)
        if needed:
            held.append((instrument, lots))
            required.append(needed)
    targets = split_to_last(wanted_minor, required)
    given = 0
    for (instrument, lots), target in zip(held, targets, strict=True):
        # The cost of a position that was paid for at the trade is not kept: its gain is unknown.
        if state.instrument[instrument, STYLE] != Style.PREMIUM:
            given += _deleverage_position(state, out, row, (instrument, lots), target)
    return given


def share_loss(state: State, out: Out, row: int, wanted_minor: int) -> int:
    """Take what is missing from the clients' free balances; return the value of what they gave.

    In proportion to balances in the valuation asset, then in each other asset; nobody gives more
    than its balance, or so much that its equity would fall below its initial requirement.

    Rounding
    --------
    Amounts down; the remainder goes to the largest fractions, then to the lower row.

    Source
    ------
    TEAR-02.
    """
    left = wanted_minor
    for asset in range(state.scalar[ASSETS_USED]):
        if left > 0:
            left -= _share_asset(state, out, row, asset, left)
    return wanted_minor - left


def rank_winners(state: State, instrument: int, lots: int) -> list[Winner]:
    """Return the first `adl_winners_max` winners against a position of `lots`, in TEAR-01's order.

    Rank: profit ratio times leverage, (unrealised / |cost|) * (notional / equity), larger first;
    then the lower row. Accounts with a case, without gain or without equity are not among them.
    """
    ranked: list[tuple[int, Winner]] = []
    for winner in _list_opposite(state, instrument, lots):
        gain = winner.lots * state.instrument[instrument, MARK_VALUE] - winner.cost
        equity = state.account[winner.row, EQUITY]
        if gain <= 0 or equity <= 0:
            continue
        _, notional, _ = compute_required(state, instrument, winner.lots)
        rank = (gain * notional << RANK_BITS) // (max(abs(winner.cost), 1) * equity)
        ranked.append((-rank, winner))
    # Equal ranks compare by the winner's first field, its row.
    ranked.sort()
    return [winner for _, winner in ranked[: state.parameter("adl_winners_max")]]


def _list_opposite(state: State, instrument: int, lots: int) -> list[Winner]:
    span = (HOUSE_ROWS, state.scalar[ROWS_USED])
    size = span[1] - span[0]
    rows = np.empty(size, np.int32)
    held, costs = np.empty(size, np.int64), np.empty(size, np.int64)
    side = -1 if lots > 0 else 1
    count = list_holders(books_of(state), span, instrument, side, rows, held, costs)
    columns = (rows[:count].tolist(), held[:count].tolist(), costs[:count].tolist())
    return [Winner(*cells) for cells in zip(*columns, strict=True)]


def _deleverage_position(
    state: State, out: Out, row: int, position: tuple[int, int], target_minor: int
) -> int:
    """Close winners against one position until it is gone; return the value they gave up."""
    instrument, lots = position
    asset, size = state.instrument[instrument, ASSET], abs(lots)
    closed, given = 0, 0
    for winner in rank_winners(state, instrument, lots):
        if closed == size:
            break
        taken = min(abs(winner.lots), size - closed)
        share = target_minor * (closed + taken) // size - target_minor * closed // size
        amount = rehearse(state, winner, instrument, taken, share)
        if amount is None or amount > ROOM or state.account[row, BALANCE + asset] > ROOM:
            continue
        moved = taken if lots > 0 else -taken
        value = state.instrument[instrument, MARK_VALUE]
        transfer(state, row, winner.row, instrument, moved, value)
        names = state.account[row, ID], state.account[winner.row, ID]
        out.event(PositionTransferred(*names, instrument, moved))
        post(state, out, Why.DELEVERAGING, [(winner.row, asset, -amount), (row, asset, amount)])
        out.event(Deleveraged(names[1], names[0], instrument, taken, amount))
        evaluate_row(state, winner.row)
        closed += taken
        given += _value_of(state, asset, amount)
    return given


def rehearse(
    state: State, winner: Winner, instrument: int, taken: int, share_minor: int
) -> int | None:
    """Return what a winner gives up for its share, in the settlement asset, or None to skip it.

    Tried on a copy: skipped if in doubt, if its requirement would rise, or if its equity would fall
    below initial. The amount is at most the profit that closing these lots realises.
    """
    view = view_of(state, winner.row)
    before = explain(state, view)
    trade_lots = taken if winner.lots < 0 else -taken
    value, asset = state.instrument[instrument, MARK_VALUE], state.instrument[instrument, ASSET]
    lots, cost, realised = split_trade(winner.lots, winner.cost, trade_lots, value)
    gain = realised // state.instrument[instrument, VALUE_SCALE]
    amount = min(max(gain, 0), _minor_of(state, asset, share_minor))
    if before.doubtful or view.balances[asset] + gain > AMOUNT_MAX:
        return None
    view.balances[asset] += gain - amount
    view.positions[instrument] = (lots, cost)
    if lots == 0:
        del view.positions[instrument]
    after = explain(state, view)
    rises = after.maintenance_minor > before.maintenance_minor
    if rises or after.initial_minor > before.initial_minor:
        return None
    return amount if after.equity_minor >= after.initial_minor else None


def _share_asset(state: State, out: Out, row: int, asset: int, left_minor: int) -> int:
    """Share a loss over one asset's free balances; return the value of what was given."""
    span = (HOUSE_ROWS, state.scalar[ROWS_USED])
    size = span[1] - span[0]
    rows = np.empty(size, np.int32)
    balances, spare = np.empty(size, np.int64), np.empty(size, np.int64)
    books, prices = books_of(state), prices_of(state)
    count = list_payers(books, prices, span, asset, rows, balances, spare)
    weights = balances[:count].tolist()
    caps = [
        min(weight, _spare_in(state, asset, above))
        for weight, above in zip(weights, spare[:count].tolist(), strict=True)
    ]
    # A balance that cannot grow takes nothing more: what is left stays for the fund.
    room = AMOUNT_MAX - max(state.account[row, BALANCE + asset], 0)
    total = min(_minor_of(state, asset, left_minor), room)
    amounts = split_within(total, weights, caps)
    legs = [
        (payer, asset, -amount)
        for payer, amount in zip(rows[:count].tolist(), amounts, strict=True)
        if amount
    ]
    if not legs:
        return 0
    given = sum(amounts)
    post(state, out, Why.SOCIALISED_LOSS, [*legs, (row, asset, given)])
    sweep(state)
    return _value_of(state, asset, given)


def _spare_in(state: State, asset: int, above_minor: int) -> int:
    """Return what may leave in an asset so that equity falls by at most `above_minor`.

    Taken as if it turned a balance into a debt, which costs most.
    """
    charged = state.asset[asset, PRICE] * (PPB + state.asset[asset, LIABILITY_HAIRCUT_PPB])
    plain = state.asset[asset, UNIT] * PPB
    if charged == plain:
        return above_minor
    if not charged:
        return 0
    return max(mul_div_floor(above_minor - ROUNDING_MARGIN, plain, charged), 0)


def _minor_of(state: State, asset: int, value_minor: int) -> int:
    """Return the amount of an asset worth at most a value of the valuation asset."""
    if not state.asset[asset, PRICE]:
        return 0
    return mul_div_floor(value_minor, state.asset[asset, UNIT], state.asset[asset, PRICE])


def _value_of(state: State, asset: int, amount: int) -> int:
    """Return the worth of an amount without haircut, rounded down."""
    return mul_div_floor(amount, state.asset[asset, PRICE], state.asset[asset, UNIT])
