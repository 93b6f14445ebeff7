"""The script before one machine: what the market does to the house, without any cluster."""

from seawall.lab.cast import SENDER_IDS
from seawall.lab.faults import LYING_SOURCE
from seawall.oversight.auditor import Auditor
from seawall.protocol.codec import decode_outcome
from seawall.protocol.codes import Reject
from seawall.protocol.events import CaseEnd, EntryRefused, LiquidationEnded, ParameterSet, Rejected
from tests.lab.plays import chronicle_of, played


def test_the_crash_calls_liquidates_and_bankrupts() -> None:
    chronicle = chronicle_of(played(1))
    assert chronicle.margin_calls > 20
    assert chronicle.liquidations > 20
    assert chronicle.shortfall_minor > 0
    ends = {
        event.end
        for _, outcome in played(1).entries
        for event in decode_outcome(outcome).events
        if isinstance(event, LiquidationEnded)
    }
    assert {CaseEnd.RESTORED, CaseEnd.DEFAULTED} <= ends


def test_shortfalls_add_up() -> None:
    chronicle = chronicle_of(played(1))
    covered = chronicle.fund_paid_minor + chronicle.deleveraged_minor + chronicle.socialised_minor
    assert chronicle.shortfall_minor == covered


def test_the_outage_freezes_and_a_halt_follows() -> None:
    freeze = chronicle_of(played(1)).freezes[0]
    assert (freeze.until_ns - freeze.from_ns) // (60 * 10**9) == 14
    assert freeze.tried > 0
    assert freeze.lines > 0
    assert (freeze.liquidations, freeze.margin_released_minor, freeze.withdrawals) == (0, 0, 0)
    assert freeze.halted_until_ns > freeze.until_ns


def test_withdrawals_in_the_outage_are_refused_for_doubt() -> None:
    solo = played(1)
    freeze = chronicle_of(solo).freezes[0]
    codes = [
        event.code
        for _, outcome in solo.entries[freeze.first_seq - 1 : freeze.last_seq]
        for event in decode_outcome(outcome).events
        if isinstance(event, Rejected)
    ]
    assert Reject.MARK_DOUBTFUL in codes
    # The lowest code is answered: what asks for too much is refused for that, and who holds
    # nothing but dollars by the operator's lock.
    assert set(codes) <= {
        Reject.MARK_DOUBTFUL,
        Reject.BALANCE_SHORT,
        Reject.MARGIN_SHORT,
        Reject.WITHDRAWALS_LOCKED,
    }
    assert len(codes) == freeze.tried


def test_withdrawals_are_locked_in_doubt_and_unlocked_later() -> None:
    locks = [
        (event.value, event.effective_ns)
        for _, outcome in played(1).entries
        for event in decode_outcome(outcome).events
        if isinstance(event, ParameterSet) and event.name == "withdrawals_locked"
    ]
    assert [value for value, _ in locks][:2] == [1, 0]
    freeze = chronicle_of(played(1)).freezes[0]
    assert locks[0][1] == freeze.from_ns
    assert locks[1][1] > freeze.until_ns


def test_no_entry_is_refused_whole() -> None:
    for _, outcome in played(1).entries:
        assert not any(isinstance(e, EntryRefused) for e in decode_outcome(outcome).events)


def test_equal_seeds_play_alike_and_others_do_not() -> None:
    played.cache_clear()
    first = played(1)
    played.cache_clear()
    assert played(1).entries == first.entries
    assert chronicle_of(played(2)).liquidations != chronicle_of(first).liquidations


def test_a_lying_source_is_named_and_moves_nothing() -> None:
    honest, lied_to = chronicle_of(played(1)), chronicle_of(played(1, lying_from=97))
    assert {sender for sender, _ in lied_to.accused} == {SENDER_IDS[LYING_SOURCE]}
    assert not honest.accused
    assert abs(lied_to.liquidations - honest.liquidations) <= 2


def test_the_auditor_agrees_with_the_whole_run() -> None:
    auditor = Auditor()
    for seq, (payload, outcome) in enumerate(played(1).entries, 1):
        assert auditor.follow(seq, payload, outcome) == []
    assert auditor.coverage.compared > 100_000
    assert auditor.coverage.accounts_compared == auditor.coverage.accounts_touched


def test_the_fund_pays_and_is_not_exhausted() -> None:
    chronicle = chronicle_of(played(1))
    assert chronicle.fund_paid_minor > 0
    assert all(amount > 0 for amount in chronicle.fund)
