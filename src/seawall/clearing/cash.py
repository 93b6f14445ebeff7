"""Money in and out: deposits, transfers, withdrawals and their payouts (LEDG-02 to LEDG-04).

A withdrawal moves money to the TRANSIT account, still in custody, and puts a payout in the outbox;
only the report that it was paid moves it on to the outside world.
"""

from seawall.clearing.breakers import account_halted
from seawall.clearing.columns import check_columns
from seawall.clearing.layout import AT_NS, BALANCE, CASE
from seawall.clearing.ledger import Leg, balance, check_owned, find_account, is_asset, post
from seawall.clearing.marks import is_doubtful
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.state import State
from seawall.clearing.whatif import free_collateral
from seawall.protocol.codec import unpack_int32, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import EffectStatus, RecordDeposits, Transfer, Withdraw
from seawall.protocol.effects import Payout
from seawall.protocol.events import DepositsRecorded, Why, WithdrawalAccepted
from seawall.protocol.ids import EXTERNAL, TRANSIT, account_row
from seawall.protocol.units import AMOUNT_MAX

EXTERNAL_ROW = account_row(EXTERNAL)
TRANSIT_ROW = account_row(TRANSIT)


def check_deposits(state: State, command: RecordDeposits) -> Refusal | None:
    """Return what is wrong with a deposit report's columns, whatever its number (LEDG-02)."""
    columns = (("accounts", 8), ("assets", 4), ("amounts", 8))
    refusal = check_columns(state, command, columns)
    if refusal:
        return refusal
    accounts, assets = unpack_int64(command.accounts), unpack_int32(command.assets)
    # A report is booked whole or refused whole: sums per asset must fit as well as each amount.
    for place, account in enumerate(accounts):
        row = find_account(state, account)
        if row in (0, EXTERNAL_ROW, TRANSIT_ROW):
            return Reject.ACCOUNT_UNKNOWN, f"accounts[{place}]"
    for place, asset in enumerate(assets):
        if not is_asset(state, asset):
            return Reject.ASSET_UNKNOWN, f"assets[{place}]"
    for place, amount in enumerate(unpack_int64(command.amounts)):
        if not 0 < amount <= AMOUNT_MAX:
            return Reject.AMOUNT_RANGE, f"amounts[{place}]"
    return None


def book_deposits(state: State, command: RecordDeposits, out: Out) -> Refusal | None:
    """Credit the accounts and debit the outside world. Rejects: AMOUNT_OVERFLOW."""
    rows = [account_row(account) for account in unpack_int64(command.accounts)]
    assets, amounts = unpack_int32(command.assets), unpack_int64(command.amounts)
    legs: list[Leg] = list(zip(rows, assets, amounts, strict=True))
    sums: dict[int, int] = {}
    moved: dict[tuple[int, int], int] = {}
    for row, asset, amount in legs:
        sums[asset] = sums.get(asset, 0) + amount
        moved[row, asset] = moved.get((row, asset), balance(state, row, asset)) + amount
    if any(value > AMOUNT_MAX for value in moved.values()):
        return Reject.AMOUNT_OVERFLOW, "amounts"
    if any(balance(state, EXTERNAL_ROW, a) - value < -AMOUNT_MAX for a, value in sums.items()):
        return Reject.AMOUNT_OVERFLOW, "amounts"
    legs += [(EXTERNAL_ROW, asset, -value) for asset, value in sums.items()]
    post(state, out, Why.DEPOSIT, legs)
    out.event(DepositsRecorded(command.stream, command.number))
    return None


def apply_withdraw(state: State, command: Withdraw, sender_id: int, out: Out) -> Refusal | None:
    """Move money to transit and ask for its payout (LEDG-03)."""
    refusal = check_owned(state, command.account_id, sender_id, "account_id") or _check_leaving(
        state, command.account_id, command.asset_id, command.amount_minor
    )
    if refusal:
        return refusal
    row = account_row(command.account_id)
    if balance(state, TRANSIT_ROW, command.asset_id) + command.amount_minor > AMOUNT_MAX:
        return Reject.AMOUNT_OVERFLOW, "amount_minor"
    if out.outbox_full():
        return Reject.OUTBOX_FULL, "account_id"
    amount = command.amount_minor
    post(
        state,
        out,
        Why.WITHDRAWAL,
        [(row, command.asset_id, -amount), (TRANSIT_ROW, command.asset_id, amount)],
    )
    out.event(WithdrawalAccepted(command.account_id, command.asset_id, amount))
    expires_at_ns = state.scalar[AT_NS] + state.parameter("payout_ttl_ns")
    out.effect(
        Payout(expires_at_ns, command.account_id, command.asset_id, amount, command.destination)
    )
    return None


def apply_transfer(state: State, command: Transfer, sender_id: int, out: Out) -> Refusal | None:
    """Move money between two accounts of the sender (LEDG-04)."""
    refusal = (
        check_owned(state, command.from_account, sender_id, "from_account")
        or check_owned(state, command.to_account, sender_id, "to_account")
        or _check_leaving(state, command.from_account, command.asset_id, command.amount_minor)
    )
    if refusal:
        return (refusal[0], "from_account") if refusal[1] == "account_id" else refusal
    if command.from_account == command.to_account:
        return Reject.MOVEMENT_WRONG, "to_account"
    source, target = account_row(command.from_account), account_row(command.to_account)
    if balance(state, target, command.asset_id) + command.amount_minor > AMOUNT_MAX:
        return Reject.AMOUNT_OVERFLOW, "amount_minor"
    amount = command.amount_minor
    post(
        state,
        out,
        Why.TRANSFER,
        [(source, command.asset_id, -amount), (target, command.asset_id, amount)],
    )
    return None


def finish_payout(state: State, out: Out, payout: Payout, status: EffectStatus | None) -> None:
    """Move money in transit on (DONE), or back to the account (FAILED, or None: expired)."""
    amount = payout.amount_minor
    done = status == EffectStatus.DONE
    # An account whose row was vacated meanwhile cannot be credited: the money stays in transit.
    row = EXTERNAL_ROW if done else find_account(state, payout.account_id)
    if row == 0:
        return
    why = Why.PAYOUT if done else Why.PAYOUT_RETURNED
    post(
        state,
        out,
        why,
        [(TRANSIT_ROW, payout.asset_id, -amount), (row, payout.asset_id, amount)],
    )


def _check_leaving(state: State, account: int, asset: int, amount: int) -> Refusal | None:
    """Return why money may not leave an account: doubt, halts, cases and margin forbid it."""
    if not is_asset(state, asset):
        return Reject.ASSET_UNKNOWN, "asset_id"
    if not 0 < amount <= AMOUNT_MAX:
        return Reject.AMOUNT_RANGE, "amount_minor"
    row = account_row(account)
    if state.account[row, BALANCE + asset] < amount:
        return Reject.BALANCE_SHORT, "amount_minor"
    code = free_collateral(state, row, asset, amount)
    if code == Reject.MARGIN_SHORT:
        return code, "amount_minor"
    if is_doubtful(state, row):
        return Reject.MARK_DOUBTFUL, "account_id"
    if account_halted(state, row):
        return Reject.HALTED, "account_id"
    if state.account[row, CASE]:
        return Reject.ACCOUNT_LOCKED, "account_id"
    if state.parameter("withdrawals_locked"):
        return Reject.WITHDRAWALS_LOCKED, "account_id"
    return (code, "account_id") if code else None
