"""Orders that the house sends for accounts in liquidation and for its fund (LIQD-03, WTRF-01)."""

from seawall.oversight.books import STATUS_TRADING, Account, Contract, ceil_div
from seawall.oversight.house import Context, House
from seawall.oversight.requirement import Valuation
from seawall.protocol.effects import AnyEffect, PlaceOrder, RaiseAlarm
from seawall.protocol.events import EffectExpired
from seawall.protocol.ids import INSURANCE
from seawall.protocol.units import PPB


def check_orders(context: Context, valuation: Valuation) -> None:
    """Judge the orders of this step and put every one into the outbox."""
    house, record = context.house, context.record
    expires_ns = house.now_ns + house.parameters["order_ttl_ns"]
    count = 0
    for index, effect in record.effects():
        if index < record.orders_checked:
            continue
        if isinstance(effect, RaiseAlarm):
            house.outbox[record.seq, index] = effect
        if isinstance(effect, PlaceOrder):
            if effect.expires_at_ns != expires_ns:
                break
            count += 1
            _check_order(context, valuation, effect)
            house.outbox[record.seq, index] = effect
        record.orders_checked = index + 1
    budget = house.parameters["orders_per_tick_max"]
    record.require("LIQD-02", f"orders of one step within {budget}", count <= budget, count)


def close_orders(context: Context) -> None:
    """Note orders that belong to no step: of another time, or without a tick."""
    for index, effect in context.record.effects():
        if index >= context.record.orders_checked and isinstance(effect, PlaceOrder):
            context.record.find("LIQD-03", f"effect {index}", "no order", effect)


def accounts_with_orders(context: Context) -> set[int]:
    """Return the accounts that have an order out."""
    orders = context.house.outbox.values()
    return {each.account_id for each in orders if isinstance(each, PlaceOrder)}


def restored_at(house: House, account: Account) -> int:
    """Return the equity that ends a case: past maintenance, or for an unmet call all of initial."""
    enough = max(0, ceil_div(account.maintenance * house.parameters["restore_ppb"], PPB))
    is_call = account.case is not None and account.case.overdue
    return max(enough, account.initial) if is_call else enough


def withdraw_orders(context: Context, account: Account) -> None:
    """Take the orders of a case that ended out of the outbox: they may not be executed now."""
    outbox = context.house.outbox
    for key in [key for key, each in outbox.items() if _is_order_of(each, account)]:
        del outbox[key]
        context.record.say(EffectExpired(*key))


def withdraw_fund_orders(context: Context) -> None:
    """Take back the fund's orders once it holds nothing more to dispose of (WTRF-01)."""
    fund = context.house.house_account(INSURANCE)
    if not fund.holdings:
        withdraw_orders(context, fund)


def _is_order_of(effect: AnyEffect, account: Account) -> bool:
    return isinstance(effect, PlaceOrder) and effect.account_id == account.id


def _check_order(context: Context, valuation: Valuation, order: PlaceOrder) -> None:
    house, record = context.house, context.record
    subject = f"order for account {order.account_id} in instrument {order.instrument_id}"
    account = house.account(order.account_id)
    contract = house.books.contracts.get(order.instrument_id)
    held = account.holdings.get(order.instrument_id) if account else None
    if account is None or contract is None or held is None:
        record.find("LIQD-03", f"{subject}: reduces a position", "a position", "none")
        return
    if account.id != INSURANCE:
        record.require("LIQD-03", f"{subject}: in a case", account.case is not None, account.state)
    busy = account.id in accounts_with_orders(context)
    record.require("LIQD-03", f"{subject}: no other order is out", not busy, "busy")
    frozen = house.is_doubtful(account) or house.account_halted(account)
    record.require("MARK-05", f"{subject}: without doubt or halt", not frozen, "frozen")
    record.claim("LIQD-03", f"{subject}: lots", slice_lots(contract, held.lots), order.lots)
    limit = limit_ticks(contract, sells=held.lots > 0)
    record.claim("LIQD-03", f"{subject}: limit", limit, order.limit_ticks)
    largest = _largest_position(valuation, account)
    record.claim("LIQD-03", f"{subject}: largest position", largest, order.instrument_id)


def _largest_position(valuation: Valuation, account: Account) -> int:
    """Return the instrument that requires most of those that trade, of equals the lowest id."""
    contracts = valuation.house.books.contracts
    ranked = [
        (-valuation.position_maintenance(contracts[each], held.lots), each)
        for each, held in account.holdings.items()
        if contracts[each].status == STATUS_TRADING
    ]
    return min(ranked)[1] if ranked else 0


def slice_lots(contract: Contract, lots: int) -> int:
    """Return the signed lots of the next slice, against the position."""
    size = max(1, ceil_div(abs(lots) * contract.terms.slice_ppb, PPB))
    return -size if lots > 0 else size


def limit_ticks(contract: Contract, *, sells: bool) -> int:
    """Return the worst price at which a slice may trade; further away is against the account."""
    terms = contract.terms
    if sells:
        limit = contract.ticks * (PPB - terms.order_band_ppb) // PPB
    else:
        limit = ceil_div(contract.ticks * (PPB + terms.order_band_ppb), PPB)
    return max(terms.price_min, min(terms.price_max, limit))


def check_idle(context: Context, valuation: Valuation, cases_count: int) -> None:
    """No case may wait without a reason, if the step's budget sufficed for all (LIQD-02)."""
    house, record = context.house, context.record
    if cases_count > house.parameters["orders_per_tick_max"]:
        return
    # Orders taken back in this step may have filled the outbox when a case's turn came.
    gone = sum(isinstance(each, EffectExpired) for each in record.said)
    if len(house.outbox) + gone >= house.limits.outbox_max:
        return
    cases = [each for each in house.books.accounts.values() if each.case is not None]
    busy = accounts_with_orders(context)
    for account in cases:
        if house.is_doubtful(account) or house.account_halted(account) or account.case is None:
            continue
        subject = f"account {account.id}: case"
        enough = restored_at(house, account)
        record.require("LIQD-02", f"{subject} goes on", account.equity < enough, "restored")
        raw = valuation.equity(account, haircut=False)
        lost = raw <= 0 or house.now_ns >= account.case.deadline_ns or not account.holdings
        record.require("LIQD-05", f"{subject} is not lost", not lost, raw)
        record.require("LIQD-03", f"{subject} has an order out", account.id in busy, "none")
