"""Evaluation, account states and margin calls at each step (CALL-01 to 03)."""

from dataclasses import dataclass

from seawall.oversight.books import Account
from seawall.oversight.house import Context, House
from seawall.oversight.requirement import Valuation
from seawall.protocol.events import AccountState, CallIssued, CallMet, CallOverdue
from seawall.protocol.genesis import MOVES_MAX
from seawall.protocol.ids import account_row
from seawall.protocol.units import PPB


@dataclass(slots=True)
class Distress:
    """An account that the rules send into liquidation at this step."""

    account: Account
    overdue: bool


def step_calls(context: Context, valuation: Valuation) -> dict[int, Distress]:
    """Evaluate every account that is due, move states and calls; return who must be liquidated."""
    house = context.house
    distressed: dict[int, Distress] = {}
    room = MOVES_MAX
    for account in sorted(house.books.accounts.values(), key=lambda each: account_row(each.id)):
        if not house.is_client(account):
            continue
        if not _is_due(account):
            continue
        frozen = _evaluate(context, valuation, account) or house.account_halted(account)
        if account.case is None and room > 0:
            before = account.state
            distress = _classify(context, account, frozen=frozen)
            if distress is not None:
                distressed[account.id] = distress
            room -= distress is not None or account.state != before
    house.prices_moved = False
    return distressed


def _is_due(account: Account) -> bool:
    """Tell whether prices or the account itself may have changed what it is worth."""
    return bool(
        account.holdings
        or account.moved
        or account.state != AccountState.HEALTHY
        or any(account.balances[1:])
    )


def _evaluate(context: Context, valuation: Valuation, account: Account) -> bool:
    """Store equity and requirement; return whether the account is doubtful."""
    is_current = not (account.moved or context.house.prices_moved)
    account.evaluated_seq = context.record.seq
    context.house.books.touched[account.id] = account
    if is_current:
        return valuation.is_doubtful(account)
    worth = valuation.evaluate(account)
    account.equity = worth.equity
    account.maintenance, account.initial = worth.maintenance, worth.initial
    return worth.doubtful


def resting_state(house: House, account: Account) -> AccountState:
    """Return the state of an account that is not liquidated (CALL-02)."""
    if account.equity < max(account.initial, account.maintenance):
        return AccountState.CALLED
    if account.equity * PPB < account.initial * house.parameters["warn_ppb"]:
        return AccountState.WARNED
    return AccountState.HEALTHY


def _classify(context: Context, account: Account, *, frozen: bool) -> Distress | None:
    """Move one account's state; return its distress if it is to be liquidated."""
    house = context.house
    if account.equity < account.maintenance and not frozen:
        return Distress(account, overdue=False)
    was_called = account.state == AccountState.CALLED
    state = resting_state(house, account)
    is_late = house.now_ns > account.call_deadline_ns and not frozen
    if state == AccountState.CALLED and was_called and is_late:
        return Distress(account, overdue=True)
    move_state(context, account, state)
    return None


def move_state(context: Context, account: Account, state: AccountState) -> None:
    """Move an account's state, with the calls that it issues or meets."""
    house, record, before = context.house, context.record, account.state
    if state == before:
        return
    account.state = state
    house.books.touch(account)
    record.moves.append(
        (account.id, before, state, account.equity, account.maintenance, account.initial)
    )
    if state == AccountState.CALLED:
        account.call_deadline_ns = house.now_ns + house.parameters["call_deadline_ns"]
        missing = account.initial - account.equity
        record.say(CallIssued(account.id, missing, account.call_deadline_ns))
    elif before == AccountState.CALLED and state != AccountState.LIQUIDATING:
        record.say(CallMet(account.id))


def note_overdue(context: Context, distress: Distress) -> None:
    """Expect the event of a deadline that passed."""
    if distress.overdue:
        context.record.say(CallOverdue(distress.account.id))
