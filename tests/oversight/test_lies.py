"""Every single unit of an honest outcome matters: changed by one, it is found and named."""

import copy

import pytest

from seawall.oversight.auditor import Auditor
from seawall.oversight.findings import Finding
from seawall.protocol.codec import encode_outcome
from seawall.protocol.commands import Withdraw
from seawall.protocol.events import (
    AccountLines,
    FundingPaid,
    InstrumentLines,
    MarksMoved,
    Outcome,
    Rejected,
    TradesRecorded,
)
from tests.oversight.lies import bump, lies_in
from tests.oversight.teller import Teller
from tests.oversight.world import ETH_INDEX, INDEX, INVERSE, LINEAR, TRADED, USD, XBT, World

DOLLAR = 10**6
PRICES = {INDEX: 800_000, TRADED: 801_000, ETH_INDEX: 20_000}


class Witness(World):
    """A world that keeps the auditor as it was before each entry."""

    def follow(self, payload: bytes) -> list[Finding]:
        if not hasattr(self, "before"):
            self.before: list[Auditor] = []
        self.before.append(copy.deepcopy(self.auditor))
        return super().follow(payload)

    def try_lie(self, position: int, outcome: Outcome) -> list[Finding]:
        """Tell the auditor a changed outcome of an earlier entry."""
        auditor = copy.deepcopy(self.before[position])
        payload, _ = self.entries[position]
        return auditor.follow(position + 1, payload, encode_outcome(outcome))


@pytest.fixture(name="witness", scope="module")
def _witness() -> Witness:
    """Accounts, deposits, prices, fills, a withdrawal, a funding payment and an expiry."""
    world = Witness(Teller().tell)
    world.list_all(20 * 60 * 10**9)
    one, two = world.open(2)
    world.deposit([(one, USD, 10_000 * DOLLAR), (two, USD, 9_000 * DOLLAR), (two, XBT, 10**8)])
    world.prices(PRICES)
    world.tick(60 * 10**9)
    world.trade(
        (one, two, LINEAR, 1_000, 800_500, 1),
        (two, one, INVERSE, 70_007, 800_100, 0),
        (one, two, 3, 500, 800_300, 0),
        (one, two, 5, 5, 30_000, 0),
        (one, two, 99, 5, 30_000, 0),
    )
    world.send("client", Withdraw(two, USD, 11 * DOLLAR, 5))
    world.at(15, PRICES)
    world.at(20, {INDEX: 790_000, TRADED: 801_000, ETH_INDEX: 20_000})
    assert world.findings == []
    return world


def test_every_unit_counts(witness: Witness) -> None:
    tried, missed = 0, []
    for position, entry in enumerate(witness.entries):
        honest = witness.read(entry)
        for place, lie in lies_in(honest):
            tried += 1
            if not witness.try_lie(position, lie):
                missed.append((position, place))
    # A command that the rules refuse without saying with which code may be refused with any.
    assert [place for place in missed if place[1] != "Rejected.code"] == []
    assert tried > 600


def entry_with(witness: Witness, kind: type) -> tuple[int, Outcome, int]:
    """Return the last entry that tells an event of this kind, and where."""
    for position in range(len(witness.entries) - 1, -1, -1):
        outcome = witness.read(witness.entries[position])
        for place, event in enumerate(outcome.events):
            if isinstance(event, kind) and not isinstance(event, Rejected):
                return position, outcome, place
    raise LookupError(kind)


def tell_instead(outcome: Outcome, place: int, event: object) -> Outcome:
    events = (*outcome.events[:place], event, *outcome.events[place + 1 :])
    return Outcome(outcome.seq, events, outcome.effects)  # type: ignore[arg-type]


LINE = ("id", "state", "equity", "maintenance", "initial", "evaluated")


@pytest.mark.parametrize("cell", [1, 2, 3, 4, 7, 8])
def test_a_lie_in_an_accounts_line_is_named(witness: Witness, cell: int) -> None:
    position, outcome, place = entry_with(witness, AccountLines)
    lines = outcome.events[place]
    assert isinstance(lines, AccountLines)
    # The second line is the first client's or the house's; each has three balances.
    found = witness.try_lie(
        position,
        tell_instead(outcome, place, AccountLines(bump(lines.cells, cell, 8), lines.touched)),
    )
    name = LINE[cell] if cell < len(LINE) else f"balance {cell - 7}"
    number = int.from_bytes(lines.cells[:8], "little")
    assert [each.subject for each in found] == [f"account {number}: {name}"]


@pytest.mark.parametrize(
    ("cell", "name"),
    [(1, "open interest"), (2, "variation"), (3, "residual"), (4, "open cost"), (5, "mark")],
)
def test_a_lie_in_an_instruments_line_is_named(witness: Witness, cell: int, name: str) -> None:
    position, outcome, place = entry_with(witness, InstrumentLines)
    lines = outcome.events[place]
    assert isinstance(lines, InstrumentLines)
    number = int.from_bytes(lines.cells[:8], "little")
    lie = tell_instead(outcome, place, InstrumentLines(bump(lines.cells, cell, 8)))
    found = witness.try_lie(position, lie)
    assert [each.subject for each in found] == [f"instrument {number}: {name}"]


def test_a_fee_of_one_more_is_named(witness: Witness) -> None:
    position, outcome, place = entry_with(witness, TradesRecorded)
    event = outcome.events[place]
    assert isinstance(event, TradesRecorded)
    lie = TradesRecorded(event.stream, event.number, bump(event.results, 5 + 3, 8))
    found = witness.try_lie(position, tell_instead(outcome, place, lie))
    assert [(each.rule, each.subject) for each in found] == [("LEDG-05", "fill 1: fee of buyer")]
    assert int(found[0].got) == int(found[0].expected) + 1


def test_a_moved_mark_and_a_moved_funding_payment_are_named(witness: Witness) -> None:
    for kind, rule in ((MarksMoved, "MARK-03"), (FundingPaid, "FUND-02")):
        position, outcome, place = entry_with(witness, kind)
        event = outcome.events[place]
        if isinstance(event, MarksMoved):
            lie: object = MarksMoved(event.instruments, bump(event.ticks, 0, 8), event.grades)
        else:
            assert isinstance(event, FundingPaid)
            lie = FundingPaid(
                event.instrument_id,
                event.rate_ppb,
                event.paid_minor + 1,
                event.received_minor,
                event.rounding_minor + 1,
            )
        found = witness.try_lie(position, tell_instead(outcome, place, lie))
        assert [each.rule for each in found] == [rule]


def test_an_entry_that_the_house_keeps_silent_about_is_found_once(witness: Witness) -> None:
    """The books follow the log, not the house: what it tells honestly afterwards agrees again."""
    auditor = Auditor()
    silent, found = 0, []
    for seq, (payload, outcome) in enumerate(witness.entries, 1):
        told = witness.read((payload, outcome))
        keeps = any(isinstance(each, TradesRecorded) for each in told.events)
        silent = seq if keeps else silent
        found += auditor.follow(
            seq, payload, encode_outcome(Outcome(seq, (), ())) if keeps else outcome
        )
    assert {each.seq for each in found} == {silent}
