"""Two implementations of one text, on the same logs: the clearing room and the auditor.

The only tests of this room that know the clearing room; they use nothing of it but `apply`.
"""

import copy
import random

import pytest

from seawall.clearing.machine import Machine
from seawall.oversight.findings import Finding
from seawall.protocol.codec import encode_outcome
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    CloseAccount,
    ConfirmReport,
    Kind,
    ListInstrument,
    RecordDeposits,
    Role,
    Tick,
)
from seawall.protocol.events import (
    AccountLines,
    Deleveraged,
    FundingPaid,
    InstrumentSettled,
    LiquidationEnded,
    Outcome,
    PositionTransferred,
    Posted,
    Rejected,
    ShortfallFound,
    Why,
)
from seawall.protocol.genesis import Limits, Parameters
from tests.oversight.lies import lies_about, lies_in
from tests.oversight.traffic import Traffic, draw_limits, draw_parameters
from tests.oversight.world import ETH_INDEX, INDEX, TRADED, USD, XBT, World, make_terms

STEPS = 240


def run_traffic(seed: int, steps: int = STEPS) -> World:
    world = World(Machine().apply, draw_parameters(seed), draw_limits(seed))
    found = Traffic(world, seed).run(steps)
    assert found == [], f"seed {seed}: {found[:5]}"
    return world


@pytest.mark.parametrize("seed", range(12))
def test_random_logs_of_all_commands_leave_no_finding(seed: int) -> None:
    seen = run_traffic(seed).auditor.coverage
    assert seen.disagreements == 0
    assert seen.entries > STEPS
    assert seen.compared > 5_000
    # Few decisions rest on nothing but the house's word: most are accounts that wait for a case.
    assert seen.trusted < seen.compared // 50


def test_the_random_logs_reach_what_they_should() -> None:
    """A log in which nothing happens proves nothing: together they hold every kind of event."""
    kinds = {
        type(event).__name__
        for seed in (1, 2, 4, 8)
        for world in [run_traffic(seed)]
        for entry in world.entries
        for event in World.read(entry).events
    }
    wanted = {LiquidationEnded, PositionTransferred, ShortfallFound, Deleveraged, FundingPaid}
    assert {each.__name__ for each in wanted | {InstrumentSettled}} <= kinds
    assert {"CallIssued", "CallMet", "HaltStarted", "SourceDeviated", "Rejected"} <= kinds
    assert {"RiskActivated", "RiskLapsed", "EffectExpired", "WithdrawalAccepted"} <= kinds


@pytest.mark.parametrize("extensions", [1, 3, 256])
def test_accounts_of_many_positions_agree_until_the_pool_is_exhausted(extensions: int) -> None:
    limits = Limits(accounts_max=64, extensions_max=extensions, column_max=512)
    world, draw, found = World(Machine().apply, limits=limits), random.Random(extensions), []
    kinds = (Kind.LINEAR_PERPETUAL, Kind.INVERSE_PERPETUAL)
    listing = [ListInstrument(make_terms(f"P{n}", kinds[n % 2])) for n in range(40)]
    found += world.send("govern", *listing)
    accounts = world.open(5)
    found += world.deposit([(each, USD, 10**11) for each in accounts])
    found += world.deposit([(each, XBT, 10**9) for each in accounts])
    found += world.prices({INDEX: 800_000, TRADED: 801_000, ETH_INDEX: 20_000})
    found += world.tick(10**10)
    for round_number in range(30):
        fills = [
            (*draw.sample(accounts, 2), draw.randint(1, 40), draw.choice((1, 1, 5)), 800_000, 0)
            for _ in range(12)
        ]
        found += world.trade(*fills)  # type: ignore[arg-type]
        if round_number % 3 == 0:
            found += unwind(world, draw, accounts)
    assert found == []
    assert world.auditor.house is not None
    books = world.auditor.house.books
    assert max(len(each.holdings) for each in books.accounts.values()) > 16


def unwind(world: World, draw: random.Random, accounts: list[int]) -> list[Finding]:
    """Close some positions of one account against the others."""
    assert world.auditor.house is not None
    closing = draw.choice(accounts)
    held = world.auditor.house.books.accounts[closing].holdings
    fills = []
    for instrument, each in list(held.items())[: draw.randint(1, 20)]:
        other = draw.choice([number for number in accounts if number != closing])
        sides = (closing, other) if each.lots < 0 else (other, closing)
        fills.append((*sides, instrument, abs(each.lots), 800_100, 1))
    return world.trade(*fills) if fills else []


@pytest.mark.parametrize(
    "told",
    [
        ("custody 1", "custody-2 1"),
        ("custody 1", "custody-2 vouch 1"),
        ("custody-2 vouch 1", "custody 1"),
        ("custody 1", "custody 1", "venue vouch 1"),
        ("custody 1", "custody-2 other 1", "venue vouch 1", "venue-2 vouch 1"),
        ("custody 2", "custody-2 vouch 2", "custody 1", "custody-2 vouch 1", "custody 3"),
        ("custody 9", "custody 8", "custody 0"),
        ("venue vouch 1", "venue-2 vouch 1", "custody 1"),
    ],
    ids=", ".join,
)
def test_quorums_agree(told: tuple[str, ...]) -> None:
    world, found = World(Machine().apply, Parameters(reports_min=2)), []
    account = world.open(1)[0].to_bytes(8, "little")
    for words in told:
        sender, *how, number = words.split()
        amount = 6 if "other" in how else 5
        report = RecordDeposits(1, int(number), account, bytes(4), amount.to_bytes(8, "little"))
        if "vouch" in how:
            found += world.send(sender, ConfirmReport(1, int(number), world.digest_of(report)))
        else:
            found += world.send(sender, report)
    assert found == []


def test_reports_that_can_no_longer_be_booked_agree() -> None:
    world, found = World(Machine().apply, Parameters(reports_min=2)), []
    gone, stays = world.open(2)
    half = (1 << 61).to_bytes(8, "little")
    reports = [
        RecordDeposits(1, number, account.to_bytes(8, "little"), bytes(4), half)
        for number, account in ((1, stays), (2, gone), (3, stays), (4, stays))
    ]
    for report in reports:
        found += world.send("custody", report)
    for report in reports[1:]:
        vouch = ConfirmReport(1, report.number, world.digest_of(report))
        found += world.send("custody-2", vouch)
    found += world.send("client", CloseAccount(gone))
    # The first one is booked and sets the others free: an account is gone, a balance full.
    found += world.send("custody-2", reports[0])
    assert found == []
    refused = [event.code for event in world.outcome.events if isinstance(event, Rejected)]
    assert refused == [Reject.ACCOUNT_UNKNOWN, *[Reject.AMOUNT_OVERFLOW] * 2]


def test_lies_about_decisions_are_found() -> None:
    """Takeovers, deleveraging and shared losses are taken from the house: but not on its word."""
    decided = (PositionTransferred, Deleveraged, ShortfallFound, LiquidationEnded, Posted)
    tried, missed = 0, []
    world = World(Machine().apply)
    follow = world.follow

    def follow_and_lie(payload: bytes) -> list[Finding]:
        nonlocal tried
        before = copy.deepcopy(world.auditor)
        found = follow(payload)
        honest = world.outcome
        if not any(isinstance(event, ShortfallFound) for event in honest.events) or tried > 400:
            return found
        for position, event in enumerate(honest.events):
            if not isinstance(event, decided):
                continue
            for place, lie in lies_about(event):
                tried += 1
                events = (*honest.events[:position], lie, *honest.events[position + 1 :])
                auditor = copy.deepcopy(before)
                wrong = encode_outcome(Outcome(honest.seq, events, honest.effects))
                if not auditor.follow(world.seq, payload, wrong):
                    missed.append((world.seq, type(event).__name__, place))
        return found

    world.follow = follow_and_lie  # type: ignore[method-assign]
    assert Traffic(world, 2).run(90) == []
    assert missed == []
    assert tried > 300


@pytest.mark.parametrize("seed", [20, 22, 24])
def test_lies_drawn_from_whole_logs_are_found(seed: int) -> None:
    """One unit of one outcome in ten is changed, in a house that tells every account it touched."""
    draw, missed, tried = random.Random(seed), [], 0
    world = World(Machine().apply)
    follow = world.follow

    def follow_and_lie(payload: bytes) -> list[Finding]:
        nonlocal tried
        before = copy.deepcopy(world.auditor) if draw.random() < 0.1 else None
        found = follow(payload)
        if before is None:
            return found
        lies = list(lies_in(world.outcome))
        for place, lie in draw.sample(lies, min(8, len(lies))):
            tried += 1
            auditor = copy.deepcopy(before)
            refused = place == "Rejected.code"
            if not auditor.follow(world.seq, payload, encode_outcome(lie)) and not refused:
                missed.append((world.seq, place))
        return found

    world.follow = follow_and_lie  # type: ignore[method-assign]
    assert Traffic(world, seed).run(120) == []
    assert missed == []
    assert tried > 60


def alter(honest: Outcome, **changes: int) -> Outcome:
    """Add to fields of the first shortfall and of the first deleveraging."""
    events = list(honest.events)
    for kind in (ShortfallFound, Deleveraged):
        place = next((n for n, each in enumerate(events) if isinstance(each, kind)), None)
        if place is not None:
            event = events[place]
            fields = {name: getattr(event, name) for name in event.__struct_fields__}
            raised = {name: fields[name] + changes[name] for name in fields if name in changes}
            events[place] = kind(**(fields | raised))
    return Outcome(honest.seq, tuple(events), honest.effects)


def test_lies_that_add_up_are_found_too() -> None:
    """One unit more of shortfall and of the fund's payment still sum up; so must a huge share."""
    world, shortfalls, shares = World(Machine().apply), 0, 0
    follow = world.follow

    def follow_and_lie(payload: bytes) -> list[Finding]:
        nonlocal shortfalls, shares
        before = copy.deepcopy(world.auditor)
        found, honest = follow(payload), world.outcome
        kinds = {type(event) for event in honest.events}
        if ShortfallFound in kinds:
            lie = encode_outcome(alter(honest, shortfall_minor=1, fund_paid_minor=1))
            told = copy.deepcopy(before).follow(world.seq, payload, lie)
            assert any(each.subject.endswith(": shortfall") for each in told)
            shortfalls += 1
        if Deleveraged in kinds:
            lie = encode_outcome(alter(honest, amount_minor=10**15))
            told = copy.deepcopy(before).follow(world.seq, payload, lie)
            assert any("amount within" in each.subject for each in told)
            shares += 1
        return found

    world.follow = follow_and_lie  # type: ignore[method-assign]
    assert Traffic(world, 2).run(STEPS) == []
    assert shortfalls > 3
    assert shares > 3


def test_late_clocks_and_sources_agree() -> None:
    world = World(Machine().apply)
    found = world.list_all()
    found += world.prices({INDEX: 800_000, TRADED: 800_000, ETH_INDEX: 20_000})
    found += world.tick(10**10)
    found += world.admit("clock-4", Role.CLOCK)
    found += world.admit("source-4", Role.PRICES)
    for name in ("clock", "clock-2", "clock-4", "clock-3", "clock-4"):
        world.now_ns += 10**9
        found += world.send(name, Tick(world.now_ns))
    for source, value in ((1, 700_000), (2, 800_000), (3, 802_000), (4, 900_000)):
        found += world.price(source, {INDEX: value})
    found += world.tick(10**10)
    assert found == []


def test_a_fund_payment_told_as_a_shared_loss_is_found() -> None:
    world = World(Machine().apply)
    before, caught = copy.deepcopy(world.auditor), 0
    follow = world.follow

    def follow_and_swap(payload: bytes) -> list[Finding]:
        nonlocal before, caught
        before = copy.deepcopy(world.auditor)
        found = follow(payload)
        honest = world.outcome
        for position, event in enumerate(honest.events):
            if isinstance(event, Posted) and event.why == Why.FUND_PAYMENT and caught < 5:
                lie = Posted(Why.SOCIALISED_LOSS, event.accounts, event.assets, event.amounts)
                events = (*honest.events[:position], lie, *honest.events[position + 1 :])
                wrong = encode_outcome(Outcome(honest.seq, events, honest.effects))
                told = copy.deepcopy(before).follow(world.seq, payload, wrong)
                assert any(each.rule == "TEAR-02" for each in told)
                caught += 1
        return found

    world.follow = follow_and_swap  # type: ignore[method-assign]
    assert Traffic(world, 1).run(80) == []
    assert caught > 0


def test_two_thousand_accounts_are_followed_line_by_line() -> None:
    """The size of the demonstration: every account evaluated and compared at every mark move."""
    limits = Limits(accounts_max=4096, column_max=16384)
    world, draw = World(Machine().apply, limits=limits), random.Random(5)
    found = world.list_all(600 * 60 * 10**9)
    accounts = world.open(1_800) + world.open(200, 2, "client-2")
    found += world.deposit([(each, USD, 10**11) for each in accounts])
    found += world.prices({INDEX: 800_000, TRADED: 801_000, ETH_INDEX: 20_000})
    found += world.tick(10**10)
    for _ in range(4):
        fills = [
            (
                *draw.sample(accounts, 2),
                draw.choice((1, 2, 3, 4)),
                draw.randint(1, 2_000),
                800_000,
                0,
            )
            for _ in range(1_000)
        ]
        found += world.trade(*fills)  # type: ignore[arg-type]
    for move in range(3):
        found += world.prices({INDEX: 800_000 + 100 * move, TRADED: 801_000, ETH_INDEX: 20_000})
        found += world.tick(10**10)
    assert found == []
    lines = [
        each for each in world.read(world.entries[-2]).events if isinstance(each, AccountLines)
    ]
    assert lines[0].touched > 1_900
    assert world.auditor.coverage.accounts_compared == world.auditor.coverage.accounts_touched
