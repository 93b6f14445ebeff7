"""Opening, closing and setting up accounts (LEDG-03)."""

from collections.abc import Sequence

from seawall.oversight.books import Account
from seawall.oversight.house import Context, House
from seawall.oversight.record import ACCEPTED, REFUSED, SILENT
from seawall.protocol.codec import pack_int64, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import CloseAccount, Mode, OpenAccounts, OpenSubAccounts, SetMode
from seawall.protocol.effects import Payout
from seawall.protocol.events import AccountClosed, AccountsOpened, ModeSet
from seawall.protocol.ids import account_generation, account_id, account_row

CLIENT_MODES = (Mode.CROSS, Mode.PORTFOLIO)


def check_owned(context: Context, account_id_: int) -> int:
    """Return why the sender may not act for an account, or ACCEPTED."""
    account = context.house.account(account_id_)
    if account is None:
        return Reject.ACCOUNT_UNKNOWN
    return ACCEPTED if account.owner == context.sender.id else Reject.OWNER_WRONG


def check_all_owned(context: Context, accounts: Sequence[int]) -> int:
    """Return why the sender may not act for all of these accounts.

    Several accounts may be wrong each in its own way; which of them is answered is not ruled.
    """
    faults = {check_owned(context, each) for each in accounts} - {ACCEPTED}
    return REFUSED if len(faults) > 1 else min(faults, default=ACCEPTED)


def _rows_left(house: House) -> int:
    return house.limits.accounts_max - house.next_row + len(house.vacated)


def _open(house: House, owner: int, mode: int, parent: int) -> Account:
    """Give out the row vacated last under its next generation, or else the next fresh row."""
    if house.vacated:
        gone = house.vacated.pop()
        number = account_id(account_generation(gone) + 1, account_row(gone))
    else:
        number = account_id(1, house.next_row)
        house.next_row += 1
    account = Account(number, owner, mode, [0] * len(house.assets), parent)
    house.books.accounts[number] = account
    house.books.touch(account)
    return account


def judge_opening(context: Context, command: OpenAccounts) -> int:
    """Return the verdict on opening accounts."""
    house = context.house
    mode_wrong = command.mode not in CLIENT_MODES
    if not 1 <= command.count <= house.limits.column_max or command.member_id < 0:
        # ACCT-01 names the mode before the numbers, the codes the other way round.
        return REFUSED if mode_wrong else Reject.TERMS_RANGE
    if mode_wrong:
        return Reject.MODE_WRONG
    return Reject.ACCOUNTS_FULL if command.count > _rows_left(house) else ACCEPTED


def open_accounts(context: Context, command: OpenAccounts) -> None:
    """Open them for the sender."""
    owner = context.sender.id
    opened = [_open(context.house, owner, command.mode, 0) for _ in range(command.count)]
    context.record.say(AccountsOpened(pack_int64([each.id for each in opened])))


def judge_sub_opening(context: Context, command: OpenSubAccounts) -> int:
    """Return the verdict on opening isolated sub-accounts, all of them or none."""
    house = context.house
    if len(command.parents) % 8:
        return Reject.COLUMN_LENGTH
    parents = unpack_int64(command.parents)
    if len(parents) > house.limits.column_max:
        return Reject.COLUMN_LONG
    fault = check_all_owned(context, parents)
    nested = any(each.parent for each in map(house.account, parents) if each is not None)
    if nested:
        return REFUSED if fault else Reject.KIND_WRONG
    if fault:
        return fault
    if len(parents) > _rows_left(house):
        return Reject.ACCOUNTS_FULL
    return ACCEPTED if parents else SILENT


def open_sub_accounts(context: Context, command: OpenSubAccounts) -> None:
    """Open one cross account under each parent."""
    house, opened = context.house, []
    for parent in unpack_int64(command.parents):
        house.books.accounts[parent].children += 1
        opened.append(_open(house, context.sender.id, Mode.CROSS, parent).id)
    context.record.say(AccountsOpened(pack_int64(opened)))


def judge_closing(context: Context, command: CloseAccount) -> int:
    """Return the verdict on closing an account: it must be empty."""
    fault = check_owned(context, command.account_id)
    if fault:
        return fault
    account = context.house.books.accounts[command.account_id]
    if account.case is not None:
        return Reject.ACCOUNT_LOCKED
    if not account.is_empty() or account.children:
        return Reject.ACCOUNT_BUSY
    # A payout under way may come back to it.
    paying = any(
        isinstance(each, Payout) and each.account_id == account.id
        for each in context.house.outbox.values()
    )
    return Reject.ACCOUNT_BUSY if paying else ACCEPTED


def close_account(context: Context, command: CloseAccount) -> None:
    """Close it; its row is free for the next generation."""
    house = context.house
    account = house.books.accounts.pop(command.account_id)
    house.books.touched.pop(command.account_id, None)
    house.vacated.append(command.account_id)
    if account.parent in house.books.accounts:
        house.books.accounts[account.parent].children -= 1
    context.record.say(AccountClosed(command.account_id))


def judge_mode(context: Context, command: SetMode) -> int:
    """Return the verdict on another margin mode; it changes only without positions (ACCT-04)."""
    fault = check_owned(context, command.account_id)
    if fault:
        return fault
    if command.mode not in CLIENT_MODES:
        return Reject.MODE_WRONG
    account = context.house.books.accounts[command.account_id]
    if account.parent and command.mode != Mode.CROSS:
        return Reject.MODE_WRONG
    if account.case is not None:
        return Reject.ACCOUNT_LOCKED
    return Reject.ACCOUNT_BUSY if account.holdings else ACCEPTED


def set_mode(context: Context, command: SetMode) -> None:
    """Change the mode."""
    account = context.house.books.accounts[command.account_id]
    account.mode = command.mode
    context.house.books.touch(account)
    context.record.say(ModeSet(command.account_id, command.mode))
