"""Deposits, withdrawals and transfers: money is somewhere at any time (LEDG-02 to LEDG-04)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.clearing import invariants
from seawall.clearing.cash import apply_transfer, apply_withdraw, book_deposits
from seawall.clearing.layout import AT_NS, BALANCE, CASE, ID, OWNER
from seawall.clearing.outbox import apply_report_effect, step_outbox
from seawall.clearing.outcome import Out
from seawall.clearing.state import State
from seawall.clearing.whatif import evaluate
from seawall.protocol.codec import pack_int32, pack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    EffectStatus,
    RecordDeposits,
    ReportEffect,
    Transfer,
    Withdraw,
)
from seawall.protocol.ids import EXTERNAL, TRANSIT, account_row
from seawall.protocol.units import AMOUNT_MAX, NS_PER_HOUR
from tests.clearing import builders
from tests.clearing.builders import CLIENT, DEPOSIT, EFFECTS, FIRST, LINEAR, USD, XBT

TRANSIT_ROW, EXTERNAL_ROW = account_row(TRANSIT), account_row(EXTERNAL)
fates = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(1, 4 * 10**9),
        st.sampled_from(("done", "failed", "expired", "pending")),
    ),
    max_size=12,
)


def held(state: State, row: int, asset: int = USD) -> int:
    return state.account[row, BALANCE + asset]


@given(fates)
def test_a_payout_ends_outside_back_or_in_transit(drawn: list[tuple[int, int, str]]) -> None:
    """A plain model of three purses agrees after any mix of fates."""
    state = builders.house()
    mine = dict.fromkeys(range(FIRST, FIRST + 4), DEPOSIT)
    transit, outside, waiting = 0, -4 * DEPOSIT, []
    for place, amount, fate in drawn:
        row = FIRST + place
        out = builders.enter(state)
        refusal = apply_withdraw(
            state, Withdraw(state.account[row, ID], USD, amount, 1), CLIENT, out
        )
        assert refusal == (None if amount <= mine[row] else (Reject.BALANCE_SHORT, "amount_minor"))
        if refusal:
            continue
        key = (state.scalar[0], 0)
        mine[row] -= amount
        transit += amount
        if fate == "expired":
            waiting.append((row, amount))
        if fate in ("done", "failed"):
            status = EffectStatus[fate.upper()]
            report = ReportEffect(*key, status)
            assert apply_report_effect(state, report, EFFECTS, builders.enter(state)) is None
            transit -= amount
            if fate == "done":
                outside += amount
            else:
                mine[row] += amount
        if fate == "pending":
            waiting.append((row, amount))
        assert {row: held(state, row) for row in mine} == mine
        assert (held(state, TRANSIT_ROW), held(state, EXTERNAL_ROW)) == (transit, outside)
    # The hour passes: what nobody reported comes back, each to its account.
    state.scalar[AT_NS] += NS_PER_HOUR + 1
    step_outbox(state, builders.enter(state))
    for row, amount in waiting:
        mine[row] += amount
    assert {row: held(state, row) for row in mine} == mine
    assert held(state, TRANSIT_ROW) == 0
    assert not state.tables.outbox
    invariants.check_full(state)


@settings(max_examples=80)
@given(
    st.integers(-2_000, 2_000).filter(bool),
    st.integers(48_000, 52_000),
    st.integers(-5, 12_000 * 10**6),
)
def test_what_may_leave_is_what_margin_leaves_free(lots: int, ticks: int, amount: int) -> None:
    """An oracle from the terms of the account: balance, losses and initial (MARG-06)."""
    state = builders.house(2)
    sides = (FIRST, FIRST + 1) if lots > 0 else (FIRST + 1, FIRST)
    builders.trade(state, *sides, LINEAR, abs(lots), 5_000_000_000)
    builders.move(state, ticks)
    account = state.account[FIRST, ID]
    before = evaluate(state, account)
    assert not isinstance(before, Reject)
    (term,) = before.assets
    free = min(DEPOSIT, DEPOSIT + min(term.unrealised_minor, 0) - before.initial_minor)
    pages = list(state.pages())
    refusal = apply_withdraw(state, Withdraw(account, USD, amount, 1), CLIENT, Out(state))
    if amount <= 0:
        assert refusal == (Reject.AMOUNT_RANGE, "amount_minor")
    elif amount > DEPOSIT:
        assert refusal == (Reject.BALANCE_SHORT, "amount_minor")
    else:
        assert refusal == (None if amount <= free else (Reject.MARGIN_SHORT, "amount_minor"))
    if refusal:
        assert list(state.pages()) == pages


@given(st.permutations(range(FIRST, FIRST + 4)), st.integers(-5, 2 * DEPOSIT))
def test_a_transfer_moves_all_or_nothing(rows: list[int], amount: int) -> None:
    state = builders.house()
    source, target, *rest = rows
    one, other = (state.account[row, ID] for row in (source, target))
    command = Transfer(one, other, USD, amount)
    refusal = apply_transfer(state, command, CLIENT, builders.enter(state))
    assert (refusal is None) == (0 < amount <= DEPOSIT)
    moved = 0 if refusal else amount
    assert held(state, source) == DEPOSIT - moved
    assert held(state, target) == DEPOSIT + moved
    assert all(held(state, row) == DEPOSIT for row in rest)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from((USD, XBT)), st.integers(1, AMOUNT_MAX)),
        min_size=1,
        max_size=6,
    )
)
def test_a_deposit_is_booked_whole_or_not_at_all(drawn: list[tuple[int, int, int]]) -> None:
    state = builders.house(deposits=())
    before = list(state.pages())
    command = RecordDeposits(
        1,
        1,
        pack_int64([state.account[FIRST + place, ID] for place, _, _ in drawn]),
        pack_int32([asset for _, asset, _ in drawn]),
        pack_int64([amount for _, _, amount in drawn]),
    )
    totals = [sum(amount for _, a, amount in drawn if a == asset) for asset in (USD, XBT)]
    out = Out(state)
    refusal = book_deposits(state, command, out)
    assert (refusal is None) == (max(totals) <= AMOUNT_MAX)
    if refusal:
        assert refusal == (Reject.AMOUNT_OVERFLOW, "amounts")
        assert list(state.pages()) == before
        assert out.events == []
    else:
        assert [held(state, EXTERNAL_ROW, asset) for asset in (USD, XBT)] == [-t for t in totals]
        invariants.check_full(state)


@given(st.sampled_from((CLIENT, CLIENT + 1)), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_money_goes_only_between_accounts_of_the_sender(
    sender: int, source: int, target: int, strange: bool
) -> None:
    state = builders.house()
    if strange:
        state.account[FIRST + target, OWNER] = CLIENT + 1
    owners = [state.account[FIRST + place, OWNER] for place in (source, target)]
    one, other = (state.account[FIRST + place, ID] for place in (source, target))
    command = Transfer(one, other, USD, 1)
    refusal = apply_transfer(state, command, sender, builders.enter(state))
    if owners[0] != sender:
        assert refusal == (Reject.OWNER_WRONG, "from_account")
    elif owners[1] != sender:
        assert refusal == (Reject.OWNER_WRONG, "to_account")
    else:
        assert refusal == ((Reject.MOVEMENT_WRONG, "to_account") if source == target else None)


def test_an_account_in_liquidation_receives_and_gives_nothing_away() -> None:
    state = builders.house(2)
    state.account[FIRST, CASE] = 1
    one, other = (state.account[row, ID] for row in (FIRST, FIRST + 1))
    leaving = apply_transfer(state, Transfer(one, other, USD, 1), CLIENT, Out(state))
    assert leaving == (Reject.ACCOUNT_LOCKED, "from_account")
    out = builders.enter(state)
    arriving = apply_transfer(state, Transfer(other, one, USD, 1), CLIENT, out)
    assert arriving is None
