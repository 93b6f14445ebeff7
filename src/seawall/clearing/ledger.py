"""Double entry: every posting sums to zero per asset, variation accounts included (LEDG-01)."""

from seawall.clearing.layout import (
    ASSET,
    ASSETS_USED,
    BALANCE,
    ID,
    INSTRUMENTS_USED,
    LIFE,
    LIFE_OPEN,
    OWNER,
    ROWS_USED,
    SEQ,
    TOUCHED,
    TOUCHED_INSTRUMENT,
    VARIATION,
)
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.state import State
from seawall.protocol.codec import pack_int32, pack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.events import Posted, Why
from seawall.protocol.ids import account_row
from seawall.protocol.units import AMOUNT_MAX

Leg = tuple[int, int, int]
"""(account row, or minus the instrument of a variation account; asset; amount in minor units)."""


def touch(state: State, row: int) -> None:
    """Mark an account row as changed by the entry under way."""
    if state.account[row, TOUCHED] != state.scalar[SEQ]:
        state.account[row, TOUCHED] = state.scalar[SEQ]
        state.touched[state.touched_count[0]] = row
        state.touched_count[0] += 1


def touch_instrument(state: State, instrument: int) -> None:
    """Mark an instrument row as changed by the entry under way."""
    state.instrument[instrument, TOUCHED_INSTRUMENT] = state.scalar[SEQ]


def find_account(state: State, account: int) -> int:
    """Return the row of an open account, or 0 when no open account has this id."""
    row = account_row(account)
    if not 0 < row < state.scalar[ROWS_USED]:
        return 0
    if state.account[row, ID] != account:
        return 0
    return row if state.account[row, LIFE] == LIFE_OPEN else 0


def check_owned(state: State, account: int, sender_id: int, field: str) -> Refusal | None:
    """Return why `sender_id` may not dispose of `account`, or None."""
    row = find_account(state, account)
    if row == 0:
        return Reject.ACCOUNT_UNKNOWN, field
    if state.account[row, OWNER] != sender_id:
        return Reject.OWNER_WRONG, field
    return None


def is_asset(state: State, asset: int) -> bool:
    """Tell whether the asset is listed."""
    return 0 <= asset < state.scalar[ASSETS_USED]


def is_instrument(state: State, instrument: int) -> bool:
    """Tell whether the instrument was ever listed."""
    return 0 < instrument < state.scalar[INSTRUMENTS_USED]


def balance(state: State, row: int, asset: int) -> int:
    """Return a balance in minor units."""
    return state.account[row, BALANCE + asset]


def post(state: State, out: Out, why: Why, legs: list[Leg]) -> None:
    """Move money: all legs or none, each within bounds, zero per asset.

    Invariants
    ----------
    LEDG-01: the amounts of each asset sum to zero. The caller has checked what may be refused;
    what fails here is a bug.
    """
    sums: dict[int, int] = {}
    for _, asset, amount in legs:
        sums[asset] = sums.get(asset, 0) + amount
    assert not any(sums.values())
    legs = [leg for leg in legs if leg[2]]
    if not legs:
        return
    for place, asset, amount in legs:
        if place > 0:
            moved = state.account[place, BALANCE + asset] + amount
            assert -AMOUNT_MAX <= moved <= AMOUNT_MAX
            state.account[place, BALANCE + asset] = moved
            touch(state, place)
        else:
            assert state.instrument[-place, ASSET] == asset
            moved = state.instrument[-place, VARIATION] + amount
            assert -AMOUNT_MAX <= moved <= AMOUNT_MAX
            state.instrument[-place, VARIATION] = moved
            touch_instrument(state, -place)
    out.event(
        Posted(
            why,
            pack_int64([state.account[p, ID] if p > 0 else p for p, _, _ in legs]),
            pack_int32([asset for _, asset, _ in legs]),
            pack_int64([amount for _, _, amount in legs]),
        )
    )
