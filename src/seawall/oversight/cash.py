"""Withdrawals, transfers and what became of effects (LEDG-04, LEDG-06, MARG-06)."""

from collections.abc import Iterator

from seawall.oversight.books import Account
from seawall.oversight.house import HOUSE_ACCOUNTS, Context, House
from seawall.oversight.owning import check_all_owned
from seawall.oversight.record import ACCEPTED, REFUSED
from seawall.oversight.requirement import Valuation
from seawall.protocol.codes import Reject
from seawall.protocol.commands import EffectStatus, ReportEffect, Transfer, Withdraw
from seawall.protocol.effects import AnyEffect, Payout
from seawall.protocol.events import EffectExpired, EffectReported, Why, WithdrawalAccepted
from seawall.protocol.ids import EXTERNAL, TRANSIT
from seawall.protocol.units import AMOUNT_MAX


def move(context: Context, why: Why, payer: Account, payee: Account, cash: tuple[int, int]) -> None:
    """Move (asset, amount) between two accounts for a reason, and expect the house to say so."""
    asset, amount = cash
    context.house.books.pay(payer, payee, asset, amount)
    context.record.post(why, payer.id, asset, -amount)
    context.record.post(why, payee.id, asset, amount)


def judge_withdrawal(context: Context, command: Withdraw) -> int:
    """Return the verdict on a withdrawal."""
    fault = _shape_fault(context, [command.account_id], command.asset_id, command.amount_minor)
    if fault:
        return fault
    house = context.house
    account = house.books.accounts[command.account_id]
    cash = (command.asset_id, command.amount_minor)
    faults = list(_leaving_faults(house, account, cash))
    if house.parameters["withdrawals_locked"]:
        faults.append(Reject.WITHDRAWALS_LOCKED)
    if len(house.outbox) >= house.limits.outbox_max:
        faults.append(Reject.OUTBOX_FULL)
    return min(faults, default=ACCEPTED)


def withdraw(context: Context, command: Withdraw) -> None:
    """Put the amount in transit and expect its payout among the effects."""
    house, record = context.house, context.record
    account = house.books.accounts[command.account_id]
    transit = house.house_account(TRANSIT)
    move(context, Why.WITHDRAWAL, account, transit, (command.asset_id, command.amount_minor))
    record.say(WithdrawalAccepted(account.id, command.asset_id, command.amount_minor))
    payout = Payout(
        house.now_ns + house.parameters["payout_ttl_ns"],
        account.id,
        command.asset_id,
        command.amount_minor,
        command.destination,
    )
    key = record.say_payout(payout)
    if key is not None:
        house.outbox[key] = payout


def judge_transfer(context: Context, command: Transfer) -> int:
    """Return the verdict on a transfer between two accounts of the sender."""
    ids = [command.from_account, command.to_account]
    fault = _shape_fault(context, ids, command.asset_id, command.amount_minor)
    if fault:
        return fault
    if command.from_account == command.to_account:
        # The page names no place of this code among the others.
        return REFUSED
    house = context.house
    payer = house.books.accounts[command.from_account]
    payee = house.books.accounts[command.to_account]
    faults = list(_leaving_faults(house, payer, (command.asset_id, command.amount_minor)))
    if payee.balances[command.asset_id] + command.amount_minor > AMOUNT_MAX:
        faults.append(Reject.AMOUNT_OVERFLOW)
    if house.parameters["withdrawals_locked"]:
        faults.append(Reject.WITHDRAWALS_LOCKED)
    return min(faults, default=ACCEPTED)


def transfer(context: Context, command: Transfer) -> None:
    """Move the amount."""
    accounts = context.house.books.accounts
    payer, payee = accounts[command.from_account], accounts[command.to_account]
    move(context, Why.TRANSFER, payer, payee, (command.asset_id, command.amount_minor))


def _shape_fault(context: Context, ids: list[int], asset: int, amount: int) -> int:
    """Return the lowest code of what the fields alone are wrong about."""
    owned = check_all_owned(context, ids)
    if owned == REFUSED:
        return REFUSED
    faults = [owned] if owned else []
    if not 0 <= asset < len(context.house.assets):
        faults.append(Reject.ASSET_UNKNOWN)
    if not 0 < amount <= AMOUNT_MAX:
        faults.append(Reject.AMOUNT_RANGE)
    return min(faults, default=ACCEPTED)


def _leaving_faults(house: House, account: Account, cash: tuple[int, int]) -> Iterator[Reject]:
    """Yield each reason why this amount may not leave the account (MARG-06, MARK-05, BRKR-01)."""
    asset, amount = cash
    if account.balances[asset] < amount:
        yield Reject.BALANCE_SHORT
    if house.is_doubtful(account):
        yield Reject.MARK_DOUBTFUL
    if house.account_halted(account):
        yield Reject.HALTED
    if account.case is not None:
        yield Reject.ACCOUNT_LOCKED
    valuation = Valuation(house)
    account.balances[asset] -= amount
    free = valuation.equity(account, gains=False)
    account.balances[asset] += amount
    if free < valuation.evaluate(account).initial:
        yield Reject.MARGIN_SHORT


def judge_effect(context: Context, command: ReportEffect) -> int:
    """Return the verdict on the report of an effect."""
    known = (command.seq, command.index) in context.house.outbox
    if command.status not in set(EffectStatus):
        return REFUSED
    return ACCEPTED if known else Reject.EFFECT_UNKNOWN


def report_effect(context: Context, command: ReportEffect) -> None:
    """Settle a payout, or free the case whose order this was."""
    key = (command.seq, command.index)
    effect = context.house.outbox.pop(key)
    _clear(context, key, effect, done=command.status == EffectStatus.DONE)
    context.record.say(EffectReported(command.seq, command.index, command.status))


def step_outbox(context: Context) -> None:
    """Let effects expire whose time has passed; money in transit goes back."""
    house = context.house
    due = [key for key, each in house.outbox.items() if house.now_ns > each.expires_at_ns]
    for key in sorted(due):
        _clear(context, key, house.outbox.pop(key), done=False)
        context.record.say(EffectExpired(*key))


def _clear(context: Context, key: tuple[int, int], effect: AnyEffect, *, done: bool) -> None:
    house = context.house
    if isinstance(effect, Payout):
        transit = house.house_account(TRANSIT)
        back = house.account(effect.account_id)
        if not done and back is None:
            context.record.find("OUTB-01", f"payout {key} returns to", effect.account_id, "closed")
            return
        why = Why.PAYOUT if done else Why.PAYOUT_RETURNED
        payee = house.house_account(EXTERNAL) if done or back is None else back
        move(context, why, transit, payee, (effect.asset_id, effect.amount_minor))


def may_receive(account: Account | None) -> bool:
    """Tell whether deposits may be booked on an account."""
    return account is not None and account.id not in (EXTERNAL, TRANSIT)


assert {EXTERNAL, TRANSIT} < set(HOUSE_ACCOUNTS)
