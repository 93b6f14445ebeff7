"""Accounts: opened, split into isolated sub-accounts, moved between modes, closed (ACCT-*)."""

from seawall.clearing.layout import (
    ACCOUNT_WIDTH,
    BALANCE,
    CASE,
    ID,
    LIFE,
    LIFE_CLOSED,
    LIFE_OPEN,
    LIFE_VACANT,
    MEMBER,
    MODE,
    OWNER,
    PARENT,
    POSITION_COUNT,
    ROWS_USED,
    SLOT_IDS,
)
from seawall.clearing.ledger import check_owned, find_account, touch
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.state import State
from seawall.protocol.codec import pack_int64, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import CloseAccount, Mode, OpenAccounts, OpenSubAccounts, SetMode
from seawall.protocol.effects import Payout
from seawall.protocol.events import AccountClosed, AccountsOpened, ModeSet
from seawall.protocol.ids import HOUSE_ROWS, account_id, account_row


def open_house_accounts(state: State) -> None:
    """Open the fixed accounts of the house in their rows, owned by nobody."""
    for row in range(1, HOUSE_ROWS):
        _open(state, row, 1, Mode.HOUSE)


def apply_open_accounts(
    state: State, command: OpenAccounts, sender_id: int, out: Out
) -> Refusal | None:
    """Open client accounts. Rejects: MODE_WRONG, TERMS_RANGE, ACCOUNTS_FULL (ACCT-01)."""
    if command.member_id < 0:
        return Reject.TERMS_RANGE, "member_id"
    if command.mode not in (Mode.CROSS, Mode.PORTFOLIO):
        return Reject.MODE_WRONG, "mode"
    if not 0 < command.count <= state.limits.column_max:
        return Reject.TERMS_RANGE, "count"
    if _rows_left(state) < command.count:
        return Reject.ACCOUNTS_FULL, "count"
    opened = [
        _take_row(state, command.mode, sender_id, 0, command.member_id)
        for _ in range(command.count)
    ]
    out.event(AccountsOpened(pack_int64(opened)))
    return None


def apply_open_sub_accounts(
    state: State, command: OpenSubAccounts, sender_id: int, out: Out
) -> Refusal | None:
    """Open one isolated sub-account per parent: a bulkhead without recourse (ACCT-02)."""
    if len(command.parents) % 8 or not command.parents:
        return Reject.COLUMN_LENGTH, "parents"
    parents = unpack_int64(command.parents)
    if len(parents) > state.limits.column_max:
        return Reject.COLUMN_LONG, "parents"
    for place, parent in enumerate(parents):
        refusal = check_owned(state, parent, sender_id, f"parents[{place}]")
        if refusal:
            return refusal
        if state.account[account_row(parent), PARENT]:
            return Reject.KIND_WRONG, f"parents[{place}]"
    if _rows_left(state) < len(parents):
        return Reject.ACCOUNTS_FULL, "parents"
    opened = [
        _take_row(
            state,
            Mode.CROSS,
            sender_id,
            account_row(parent),
            state.account[account_row(parent), MEMBER],
        )
        for parent in parents
    ]
    out.event(AccountsOpened(pack_int64(opened)))
    return None


def apply_close_account(
    state: State, command: CloseAccount, sender_id: int, out: Out
) -> Refusal | None:
    """Close an empty account; its row may be used again, its id never (ACCT-03)."""
    refusal = check_owned(state, command.account_id, sender_id, "account_id")
    if refusal:
        return refusal
    row = account_row(command.account_id)
    if state.account[row, CASE]:
        return Reject.ACCOUNT_LOCKED, "account_id"
    busy = state.account[row, POSITION_COUNT] or any(
        state.account[row, word] for word in range(BALANCE, SLOT_IDS)
    )
    paying = any(payout.account_id == command.account_id for payout in _payouts(state))
    if busy or paying or _has_children(state, row):
        return Reject.ACCOUNT_BUSY, "account_id"
    state.tables.generations[row] = command.account_id >> 32
    state.tables.vacant_rows.append(row)
    for word in range(ACCOUNT_WIDTH):
        state.account[row, word] = 0
    state.account[row, LIFE] = LIFE_CLOSED
    out.event(AccountClosed(command.account_id))
    return None


def apply_set_mode(state: State, command: SetMode, sender_id: int, out: Out) -> Refusal | None:
    """Change the margin mode of an account without positions (ACCT-04)."""
    refusal = check_owned(state, command.account_id, sender_id, "account_id")
    if refusal:
        return refusal
    row = account_row(command.account_id)
    if command.mode not in (Mode.CROSS, Mode.PORTFOLIO):
        return Reject.MODE_WRONG, "mode"
    if state.account[row, PARENT] and command.mode != Mode.CROSS:
        return Reject.MODE_WRONG, "mode"
    if state.account[row, CASE]:
        return Reject.ACCOUNT_LOCKED, "account_id"
    if state.account[row, POSITION_COUNT]:
        return Reject.ACCOUNT_BUSY, "account_id"
    state.account[row, MODE] = command.mode
    touch(state, row)
    out.event(ModeSet(command.account_id, command.mode))
    return None


def is_client(state: State, account: int) -> bool:
    """Tell whether the id is an open account of a client."""
    row = find_account(state, account)
    return row >= HOUSE_ROWS


def _rows_left(state: State) -> int:
    return state.limits.accounts_max - state.scalar[ROWS_USED] + len(state.tables.vacant_rows)


def _take_row(state: State, mode: int, owner: int, parent: int, member: int) -> int:
    if state.tables.vacant_rows:
        row = state.tables.vacant_rows.pop()
        generation = state.tables.generations.pop(row) + 1
    else:
        row, generation = state.scalar[ROWS_USED], 1
        state.scalar[ROWS_USED] = row + 1
    account = _open(state, row, generation, mode)
    state.account[row, OWNER] = owner
    state.account[row, PARENT] = parent
    state.account[row, MEMBER] = member
    return account


def _open(state: State, row: int, generation: int, mode: int) -> int:
    assert state.account[row, LIFE] in (LIFE_VACANT, LIFE_CLOSED)
    account = account_id(generation, row)
    state.account[row, ID] = account
    state.account[row, LIFE] = LIFE_OPEN
    state.account[row, MODE] = mode
    touch(state, row)
    return account


def _payouts(state: State) -> list[Payout]:
    return [p.effect for p in state.tables.outbox.values() if isinstance(p.effect, Payout)]


def _has_children(state: State, row: int) -> bool:
    used = state.used("accounts")
    return bool((used[HOUSE_ROWS:, PARENT] == row).any())
