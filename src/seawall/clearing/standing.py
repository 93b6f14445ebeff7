"""An account's standing: healthy, warned, called or in liquidation, and the calls that go with it.

CALL-02, CALL-03.
"""

from seawall.clearing.layout import (
    AT_NS,
    CALL_DEADLINE,
    EQUITY,
    ID,
    INITIAL,
    MAINTENANCE,
    MARGIN_CALLS,
    STATE,
)
from seawall.clearing.ledger import touch
from seawall.clearing.outcome import Out
from seawall.clearing.state import State
from seawall.protocol.codec import pack_int64
from seawall.protocol.events import AccountsMoved, AccountState, CallIssued, CallMet
from seawall.protocol.units import PPB


class Moves:
    """The changes of state of one step, told in one event at its end."""

    def __init__(self) -> None:
        self.cells: list[int] = []

    def tell(self, out: Out) -> None:
        """Emit what has gathered, if anything."""
        if self.cells:
            out.event(AccountsMoved(pack_int64(self.cells)))


def class_of(state: State, row: int) -> AccountState:
    """Return where an account's figures put it: LIQUIDATING when below maintenance (CALL-02)."""
    cell = state.account
    equity = cell[row, EQUITY]
    if equity < cell[row, MAINTENANCE]:
        return AccountState.LIQUIDATING
    if equity < cell[row, INITIAL]:
        return AccountState.CALLED
    if equity * PPB < cell[row, INITIAL] * state.parameter("warn_ppb"):
        return AccountState.WARNED
    return AccountState.HEALTHY


def enter(state: State, out: Out, row: int, standing: AccountState, moves: Moves) -> None:
    """Put an account in a state; a call is issued or met on the way.

    Invariants
    ----------
    CALL_DEADLINE is set exactly while the account is CALLED.
    """
    cell = state.account
    before = AccountState(cell[row, STATE])
    if before == standing:
        return
    cell[row, STATE] = standing
    touch(state, row)
    figures = (cell[row, EQUITY], cell[row, MAINTENANCE], cell[row, INITIAL])
    moves.cells += (cell[row, ID], before, standing, *figures)
    if standing == AccountState.CALLED:
        deadline_ns = state.scalar[AT_NS] + state.parameter("call_deadline_ns")
        cell[row, CALL_DEADLINE] = deadline_ns
        state.scalar[MARGIN_CALLS] += 1
        out.event(CallIssued(cell[row, ID], figures[2] - figures[0], deadline_ns))
        return
    cell[row, CALL_DEADLINE] = 0
    if before == AccountState.CALLED and standing < AccountState.CALLED:
        out.event(CallMet(cell[row, ID]))
