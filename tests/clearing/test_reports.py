"""Reports: booked once, in order, when enough of the right reporters say the same (LEDG-06)."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.clearing.layout import BALANCE, ID
from seawall.clearing.outcome import Out
from seawall.clearing.reports import (
    NUMBERS_AHEAD_MAX,
    apply_confirm_report,
    apply_record_deposits,
    report_digest,
)
from seawall.clearing.state import State
from seawall.protocol.codec import pack_int32, pack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import ConfirmReport, RecordDeposits, Role
from seawall.protocol.events import DepositsRecorded, ReportPending
from seawall.protocol.genesis import Parameters
from tests.clearing import builders
from tests.clearing.builders import FIRST, USD

CUSTODIANS = (CUSTODY, *_) = (builders.CUSTODY, 20, 21, 22)
STREAM = 5


def house(reports_min: int) -> State:
    """Return a house with four custodians and a venue among its senders."""
    state = builders.house(1, deposits=(), parameters=Parameters(reports_min=reports_min))
    template = state.tables.senders[CUSTODY - 1]
    for number in range(len(state.tables.senders) + 1, max(CUSTODIANS) + 1):
        roles = Role.CUSTODY if number in CUSTODIANS else Role.TRADES
        state.tables.senders.append(msgspec.structs.replace(template, roles=roles))
    return state


def deposit(state: State, number: int, amount: int) -> RecordDeposits:
    account = state.account[FIRST, ID]
    return RecordDeposits(
        STREAM, number, pack_int64([account]), pack_int32([USD]), pack_int64([amount])
    )


words = st.lists(
    st.tuples(
        st.sampled_from(CUSTODIANS),
        st.integers(1, 4),
        # The truth, or one of two lies.
        st.sampled_from((0, 0, 0, 1, 2)),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(words, st.integers(1, 3))
def test_a_model_of_voices_agrees(drawn: list[tuple[int, int, int, bool]], needed: int) -> None:
    """Each number is booked once, in order, with the version that first had enough voices."""
    state = house(needed)
    voices: dict[int, dict[int, int]] = {}
    bodies: set[tuple[int, int]] = set()
    booked: dict[int, int] = {}
    for sender, number, lie, by_digest in drawn:
        command = deposit(state, number, 1000**number * (lie + 1))
        out = builders.enter(state)
        if by_digest:
            confirm = ConfirmReport(STREAM, number, report_digest(command))
            refusal = apply_confirm_report(state, confirm, sender, out)
        else:
            refusal = apply_record_deposits(state, command, sender, out)
        if number in booked:
            assert refusal == (Reject.REPORT_OLD, "number")
            continue
        alone = needed == 1 and not by_digest and number == len(booked) + 1
        if sender in voices.get(number, {}) and not alone:
            assert refusal == (Reject.SENDERS_SAME, "sender")
            continue
        assert refusal is None
        voices.setdefault(number, {})[sender] = lie
        if not by_digest:
            bodies.add((number, lie))
        while (
            chosen := _ready(voices, bodies, len(booked) + 1, needed, alone and lie)
        ) is not None:
            booked[len(booked) + 1] = chosen
            alone = False
        told = [event.number for event in out.events if isinstance(event, DepositsRecorded)]
        assert told == [n for n in booked if n > len(booked) - len(told)]
        pending = [event for event in out.events if isinstance(event, ReportPending)]
        assert bool(pending) == (number not in booked)
    total = sum(1000**number * (lie + 1) for number, lie in booked.items())
    assert state.account[FIRST, BALANCE + USD] == total
    assert state.tables.streams.get(STREAM, 0) == len(booked)
    assert {number for _, number in state.tables.reports} == {*voices} - {*booked}


def _ready(
    voices: dict[int, dict[int, int]],
    bodies: set[tuple[int, int]],
    number: int,
    needed: int,
    alone: int,
) -> int | None:
    """Return the version of a number that has its voices and its columns."""
    said = list(voices.get(number, {}).values())
    if needed == 1 and alone is not False and (number, alone) in bodies and alone in said[-1:]:
        return alone
    for lie in dict.fromkeys(said):
        if said.count(lie) >= needed and (number, lie) in bodies:
            return lie
    return None


@given(st.integers(2, 4), st.permutations(CUSTODIANS))
def test_too_few_liars_book_nothing(needed: int, order: list[int]) -> None:
    state = house(needed)
    lie = deposit(state, 1, 999)
    for liar in order[: needed - 1]:
        assert apply_record_deposits(state, lie, liar, builders.enter(state)) is None
    assert state.account[FIRST, BALANCE + USD] == 0
    assert state.tables.streams[STREAM] == 0


@given(st.integers(2, 4))
def test_another_role_is_no_voice(needed: int) -> None:
    """However many venues confirm a deposit, custodians have to."""
    state = house(needed)
    truth = deposit(state, 1, 5)
    confirm = ConfirmReport(STREAM, 1, report_digest(truth))
    for venue in (builders.TRADES, 13, 14, 15):
        assert apply_confirm_report(state, confirm, venue, builders.enter(state)) is None
    for custodian in CUSTODIANS[:needed]:
        assert state.account[FIRST, BALANCE + USD] == 0
        assert apply_record_deposits(state, truth, custodian, builders.enter(state)) is None
    assert state.account[FIRST, BALANCE + USD] == 5


@given(st.integers(-3, 40))
def test_a_number_is_neither_old_nor_too_far(number: int) -> None:
    state = house(1)
    for done in range(1, 4):
        out = builders.enter(state)
        assert apply_record_deposits(state, deposit(state, done, 1), CUSTODY, out) is None
    before = list(state.pages())
    refusal = apply_record_deposits(state, deposit(state, number, 1), CUSTODY, Out(state))
    if number <= 3:
        assert refusal == (Reject.REPORT_OLD, "number")
    elif number > 3 + NUMBERS_AHEAD_MAX:
        assert refusal == (Reject.REPORT_GAP, "number")
    else:
        assert refusal is None
    assert (list(state.pages()) == before) == (refusal is not None)
