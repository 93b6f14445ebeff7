"""What the auditor makes of entries as such: numbers, signatures, refusals, unreadable outcomes."""

import pytest

from seawall.oversight.auditor import Auditor
from seawall.oversight.findings import Coverage
from seawall.oversight.record import SILENT
from seawall.protocol.codec import encode_outcome
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    AnyCommand,
    CloseAccount,
    ConfirmReport,
    OpenAccounts,
    OpenSubAccounts,
    RecordDeposits,
    Role,
    RotateKey,
    SetMode,
    Tick,
    Transfer,
    Withdraw,
)
from seawall.protocol.effects import Payout
from seawall.protocol.events import (
    AccountLines,
    AnyEvent,
    EntryRefused,
    Outcome,
    Posted,
    Rejected,
    Repeated,
    TimeMoved,
    Why,
)
from seawall.protocol.genesis import Limits, Parameters
from seawall.protocol.ids import EXTERNAL, FEES, INSURANCE, TRANSIT
from tests.oversight.teller import Teller
from tests.oversight.world import ETH, ETH_INDEX, INDEX, MINUTE_NS, START_NS, TRADED, USD, World


@pytest.fixture(name="world")
def _world() -> World:
    return World(Teller().tell)


def answer(world: World) -> AnyEvent:
    return world.outcome.events[0]


def codes(world: World) -> list[int]:
    return [event.code for event in world.outcome.events if isinstance(event, Rejected)]


def test_an_honest_log_has_no_findings_and_full_coverage(world: World) -> None:
    world.list_all()
    one, two = world.open(2)
    world.deposit([(one, USD, 10**9), (two, USD, 10**9)])
    world.prices({INDEX: 800_000, TRADED: 800_000, ETH_INDEX: 20_000})
    world.tick(MINUTE_NS)
    world.trade((one, two, 1, 10, 800_000, 0))
    seen = world.auditor.coverage
    assert isinstance(seen, Coverage)
    assert (seen.entries, seen.disagreements, seen.trusted) == (world.seq, 0, 0)
    assert seen.accounts_compared == seen.accounts_touched > 0
    assert seen.compared > 100


def test_entries_come_in_order() -> None:
    with pytest.raises(AssertionError):
        Auditor().follow(2, b"", b"")


def test_numbers_follow_each_other_and_repeats_are_told_apart() -> None:
    world = World(Teller().tell, limits=Limits(recents_max=2))
    ticks = [world.sign("clock", number, [Tick(START_NS + number)]) for number in (1, 2, 3)]
    for payload in ticks:
        world.follow(payload)
    world.follow(ticks[1])
    assert answer(world) == Repeated(2, 3)
    world.follow(ticks[0])
    assert answer(world) == EntryRefused(Reject.NUMBER_OLD, "")
    world.follow(world.sign("clock", 3, [Tick(5)]))
    assert answer(world) == EntryRefused(Reject.NUMBER_REUSED, "")
    world.follow(world.sign("clock", 5, [Tick(START_NS + 5)]))
    assert answer(world) == EntryRefused(Reject.NUMBER_GAP, "")
    world.follow(world.sign("clock", 4, []))
    assert answer(world) == EntryRefused(Reject.COMMANDS_EMPTY, "")
    # None of these used up number 4.
    world.follow(world.sign("clock", 4, [Tick(START_NS + 4)]))
    assert world.outcome.events == ()


def test_strangers_and_forgeries_are_refused(world: World) -> None:
    payload = world.sign("clock", 1, [Tick(START_NS)])
    world.follow(payload[:5] + bytes((payload[5] ^ 1,)) + payload[6:])
    assert answer(world) == EntryRefused(Reject.SIGNATURE_BAD, "")
    world.ids["clock"] = 77
    world.follow(world.sign("clock", 1, [Tick(START_NS)]))
    assert answer(world) == EntryRefused(Reject.SENDER_UNKNOWN, "")
    world.log_id = bytes(32)
    world.follow(world.sign("clock", 1, [Tick(START_NS)]))
    assert answer(world) == EntryRefused(Reject.LOG_WRONG, "")
    for payload, code in (
        (b"", Reject.MALFORMED),
        (b"\x01\x01" + bytes(80), Reject.MALFORMED),
        (b"\x02\x01" + bytes(80), Reject.VERSION_FUTURE),
        (world.entries[0][0], Reject.GENESIS_MISPLACED),
    ):
        world.follow(payload)
        assert answer(world) == EntryRefused(code, "")


def test_machine_time_is_the_lower_middle_of_an_even_number_of_clocks(world: World) -> None:
    world.admit("clock-4", Role.CLOCK)
    for name in ("clock", "clock-2"):
        world.send(name, Tick(START_NS + 10))
        assert world.outcome.events == ()
    world.send("clock-3", Tick(START_NS + 7))
    assert answer(world) == TimeMoved(START_NS + 7)
    # A clock goes on from where it was, never back.
    world.send("clock-3", Tick(START_NS + 6))
    assert codes(world) == [Reject.TIME_RANGE]


def test_a_revoked_sender_is_unknown(world: World) -> None:
    world.send("govern", RotateKey(world.ids["client"], b""))
    world.send("client", OpenAccounts(1, 1))
    assert answer(world) == EntryRefused(Reject.SENDER_UNKNOWN, "")


def test_each_command_is_refused_by_the_lowest_of_its_faults(world: World) -> None:
    world.list_all()
    one, two = world.open(2)
    other = world.open(1, 1, "client-2")[0]
    world.deposit([(one, USD, 1_000)])
    cases: list[tuple[str, AnyCommand, Reject]] = [
        ("clock", OpenAccounts(1, 1), Reject.ROLE_MISSING),
        ("clock", OpenAccounts(1 << 63, 1), Reject.TERMS_RANGE),
        ("client", Withdraw(1 << 33, USD, -1, 0), Reject.ACCOUNT_UNKNOWN),
        ("client", Withdraw(other, 9, -1, 0), Reject.OWNER_WRONG),
        ("client", Withdraw(one, 9, -1, 0), Reject.ASSET_UNKNOWN),
        ("client", Withdraw(one, USD, 0, 0), Reject.AMOUNT_RANGE),
        ("client", Withdraw(one, USD, 1_001, 0), Reject.BALANCE_SHORT),
        ("client", Transfer(one, other, USD, 1), Reject.OWNER_WRONG),
        ("client", Transfer(one, two, USD, 1_001), Reject.BALANCE_SHORT),
        ("client", CloseAccount(one), Reject.ACCOUNT_BUSY),
        ("client", SetMode(one, 0), Reject.MODE_WRONG),
        ("client", OpenSubAccounts(bytes(7)), Reject.COLUMN_LENGTH),
    ]
    for sender, command, code in cases:
        world.send(sender, command)
        assert codes(world) == [code], command


def test_no_withdrawal_in_doubt(world: World) -> None:
    one = world.open(1)[0]
    world.deposit([(one, USD, 1_000), (one, ETH, 10)])
    world.send("client", Withdraw(one, USD, 10, 0))
    # The coin was never priced: it counts nothing, and what it makes doubtful stays.
    assert codes(world) == [Reject.MARK_DOUBTFUL]
    world.prices({ETH_INDEX: 20_000})
    world.tick(MINUTE_NS)
    world.send("client", Withdraw(one, USD, 10, 0))
    assert codes(world) == []
    assert [type(each) for each in world.outcome.effects] == [Payout]


def test_a_payout_that_expires_comes_back(world: World) -> None:
    one = world.open(1)[0]
    world.deposit([(one, USD, 1_000)])
    world.send("client", Withdraw(one, USD, 400, 7))
    books = world.auditor.house.books if world.auditor.house else None
    assert books is not None
    assert books.accounts[TRANSIT].balances[USD] == 400
    world.tick(60 * MINUTE_NS)
    assert books.accounts[TRANSIT].balances[USD] == 400
    world.tick(1)
    assert books.accounts[TRANSIT].balances[USD] == 0
    assert books.accounts[one].balances[USD] == 1_000
    assert books.accounts[EXTERNAL].balances[USD] == -1_000


def test_deposits_need_as_many_reporters_as_the_house_wants() -> None:
    world = World(Teller().tell, Parameters(reports_min=2))
    one = world.open(1)[0]
    second = RecordDeposits(1, 2, one.to_bytes(8, "little"), bytes(4), (5).to_bytes(8, "little"))
    world.send("custody", second)
    world.deposit([(one, USD, 100), (FEES, USD, 7), (INSURANCE, USD, 9)])
    assert world.auditor.house is not None
    accounts = world.auditor.house.books.accounts
    assert [accounts[each].balances[USD] for each in (one, FEES, INSURANCE)] == [100, 7, 9]
    world.send("custody", second)
    assert codes(world) == [Reject.SENDERS_SAME]
    world.send("custody-2", ConfirmReport(1, 2, b"another"))
    world.send("custody-2", second)
    assert codes(world) == [Reject.SENDERS_SAME]
    assert accounts[one].balances[USD] == 100
    world.send("venue", second)
    assert codes(world) == [Reject.ROLE_MISSING]


def test_rows_of_closed_accounts_are_given_again_the_last_one_first(world: World) -> None:
    rows = world.open(4)
    world.send("client", CloseAccount(rows[1]))
    world.send("client", CloseAccount(rows[2]))
    again = world.open(3)
    generation = 1 << 32
    assert again == [rows[2] + generation, rows[1] + generation, rows[3] + 1]


def test_unreadable_outcomes_are_findings_not_faults(world: World) -> None:
    payload = world.sign("clock", 1, [Tick(START_NS + 1)])
    odd: list[AnyEvent] = [
        Posted(99, b"", b"", b""),
        Posted(Why.DEPOSIT, bytes(8), bytes(4), bytes(7)),
        Posted(Why.DEPOSIT, bytes(8), b"\x09\x00\x00\x00", bytes(8)),
        AccountLines(bytes(9), 1),
        AccountLines(bytes(8 * 6) + (1 << 40).to_bytes(8, "little"), 1),
        AccountLines(b"\xff" * 8 * 8, 1),
    ]
    for told in (b"", b"\x93", encode_outcome(Outcome(2, tuple(odd), ()))):
        auditor = Auditor()
        auditor.follow(1, *world.entries[0])
        found = auditor.follow(2, payload, told)
        assert found[0].rule == "AUDT-01"
        assert "readable" in found[0].expected or "readable" in found[0].subject


def test_findings_are_capped_but_all_are_counted(world: World) -> None:
    world.list_all()
    auditor = Auditor(findings_max=2)
    auditor.follow(1, *world.entries[0])
    found = auditor.follow(2, world.entries[1][0], encode_outcome(Outcome(2, (), ())))
    assert len(found) == 2
    assert auditor.coverage.disagreements > 2


def test_where_the_rules_are_silent_the_house_is_trusted_and_it_is_counted(world: World) -> None:
    # Nothing says whether an empty list of parents is a mistake.
    world.send("client", OpenSubAccounts(b""))
    assert world.auditor.record is not None
    assert world.auditor.record.verdicts == [SILENT]
    assert world.auditor.coverage.trusted == 1
