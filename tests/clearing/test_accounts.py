"""Accounts: ids that never return, bulkheads, and closing only what is empty (ACCT-*)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.clearing.accounts import (
    apply_close_account,
    apply_open_accounts,
    apply_open_sub_accounts,
    apply_set_mode,
    is_client,
)
from seawall.clearing.layout import (
    ACCOUNT_WIDTH,
    BALANCE,
    ID,
    LIFE,
    LIFE_OPEN,
    MEMBER,
    MODE,
    OWNER,
    PARENT,
    ROWS_USED,
    SOCIALISED,
)
from seawall.clearing.ledger import find_account
from seawall.clearing.outcome import Out
from seawall.clearing.state import State
from seawall.protocol.codec import pack_int64, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import CloseAccount, Mode, OpenAccounts, OpenSubAccounts, SetMode
from seawall.protocol.events import AccountsOpened
from seawall.protocol.ids import HOUSE_ROWS, account_row
from tests.clearing import builders, distress
from tests.clearing.builders import CLIENT, FIRST, LINEAR, USD
from tests.clearing.distress import Trade


def open_accounts(state: State, count: int, mode: Mode = Mode.CROSS) -> tuple[int, ...]:
    out = builders.enter(state)
    assert apply_open_accounts(state, OpenAccounts(count, mode), CLIENT, out) is None
    return opened(out)


def opened(out: Out) -> tuple[int, ...]:
    (event,) = out.events
    assert isinstance(event, AccountsOpened)
    return unpack_int64(event.accounts)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=40))
def test_no_id_is_ever_given_twice(steps: list[tuple[bool, int]]) -> None:
    """Open and close at random: ids are new each time, rows are used again first."""
    state = builders.house(0)
    alive: list[int] = []
    given_out: list[int] = []
    for opens, choice in steps:
        if opens or not alive:
            vacant, top = list(state.tables.vacant_rows), state.scalar[ROWS_USED]
            ids = open_accounts(state, choice % 4 + 1)
            reused = [account_row(each) for each in ids if account_row(each) < top]
            assert reused == vacant[::-1][: len(ids)]
            alive += ids
            given_out += ids
        else:
            closed = alive.pop(choice % len(alive))
            assert apply_close_account(state, CloseAccount(closed), CLIENT, Out(state)) is None
            assert find_account(state, closed) == 0
    assert len({*given_out}) == len(given_out)
    assert [find_account(state, each) for each in alive] == [account_row(each) for each in alive]
    assert all(is_client(state, each) for each in alive)
    assert not any(is_client(state, state.account[row, ID]) for row in range(1, HOUSE_ROWS))


def test_a_vacated_row_is_bare() -> None:
    state = builders.house(0)
    (account,) = open_accounts(state, 1, Mode.PORTFOLIO)
    row = account_row(account)
    assert apply_close_account(state, CloseAccount(account), CLIENT, builders.enter(state)) is None
    assert [state.account[row, word] for word in range(ACCOUNT_WIDTH) if word != LIFE] == [0] * 63
    assert state.account[row, LIFE] != LIFE_OPEN


@settings(max_examples=40)
@given(st.integers(1, 20_000), st.integers(40_000, 60_000), st.integers(0, 10**9))
def test_the_loss_of_a_sub_account_never_touches_its_parent(
    lots: int, ticks: int, fund: int
) -> None:
    """Whatever the market does to the sub-account, the parent's row keeps every word but marks."""
    state = builders.house(2, deposits=(), parameters=distress.calm())
    parent, other = FIRST, FIRST + 1
    for row, amount in ((parent, 10**9), (other, 10**13), (2, fund)):
        if amount:
            builders.deposit(state, row, USD, amount)
    out = builders.enter(state)
    command = OpenSubAccounts(pack_int64([state.account[parent, ID]]))
    assert apply_open_sub_accounts(state, command, CLIENT, out) is None
    sub = account_row(opened(out)[0])
    assert state.account[sub, PARENT] == parent
    builders.deposit(state, sub, USD, 10**8)
    distress.open_trade(state, Trade(sub - FIRST, other - FIRST, LINEAR, lots, 50_000))
    for _ in range(3):
        distress.move(state, ticks)
    # Sharing a loss (TEAR-02) asks every client, as it would without a sub-account.
    if state.scalar[SOCIALISED] == 0:
        assert state.account[parent, BALANCE + USD] == 10**9
    assert not list(distress.lots_of(state, parent))


def test_what_is_inherited_and_what_is_not() -> None:
    state = builders.house(0)
    out = builders.enter(state)
    asked = OpenAccounts(1, Mode.PORTFOLIO, 7)
    assert apply_open_accounts(state, asked, CLIENT, out) is None
    parent = opened(out)[0]
    out = builders.enter(state)
    command = OpenSubAccounts(pack_int64([parent]))
    assert apply_open_sub_accounts(state, command, CLIENT, out) is None
    sub = account_row(opened(out)[0])
    assert state.account[sub, MEMBER] == 7
    assert state.account[sub, OWNER] == CLIENT
    assert state.account[sub, MODE] == Mode.CROSS


@pytest.mark.parametrize("word", [BALANCE, BALANCE + 1, BALANCE + 7])
@pytest.mark.parametrize("amount", [1, -1])
def test_a_unit_of_any_asset_keeps_an_account_open(word: int, amount: int) -> None:
    state = builders.house(1, deposits=())
    state.account[FIRST, word] = amount
    before = list(state.pages())
    command = CloseAccount(state.account[FIRST, ID])
    refusal = apply_close_account(state, command, CLIENT, Out(state))
    assert refusal == (Reject.ACCOUNT_BUSY, "account_id")
    assert list(state.pages()) == before


@given(st.integers(-3, 9))
def test_only_cross_and_portfolio_are_modes_of_a_client(mode: int) -> None:
    state = builders.house(1)
    refusal = apply_set_mode(
        state, SetMode(state.account[FIRST, ID], mode), CLIENT, builders.enter(state)
    )
    assert (refusal is None) == (mode in (Mode.CROSS, Mode.PORTFOLIO))
    assert state.account[FIRST, MODE] in (Mode.CROSS, Mode.PORTFOLIO)
    opening = apply_open_accounts(state, OpenAccounts(1, mode), CLIENT, Out(state))
    assert (opening is None) == (refusal is None)
