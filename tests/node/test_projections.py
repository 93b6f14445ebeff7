"""Read models: rebuilt equal from any place, and true to the state of the machine."""

import msgspec
import pytest

from seawall.clearing.layout import (
    AT_NS,
    DELEVERAGED,
    EQUITY,
    FUND_PAID,
    MAINTENANCE,
    MARK_TICKS,
    SHORTFALL,
    SOCIALISED,
    STATE,
)
from seawall.node.bookmark import Bookmark, decode_bookmark, encode_bookmark
from seawall.node.feed import roster_of_terms, start_of
from seawall.node.joined import Joined, join
from seawall.node.projections import Projection
from seawall.node.register import Register
from seawall.node.warming import ACCOUNTS, FIRST_ROW, warm
from seawall.node.wiring import ClearingMachine
from seawall.protocol.codec import entry_digest
from seawall.protocol.commands import AddSender, Mode, OpenAccounts, Role, RotateKey
from seawall.protocol.events import AccountState
from seawall.protocol.genesis import Genesis
from seawall.protocol.ids import INSURANCE, account_id, account_row
from tests.node.stage import ALICE, CHARTER, GOVERN, Stage, opening, signed


class Recording(ClearingMachine):
    """A machine that keeps what it was asked and said."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Joined] = []

    def apply(self, seq: int, payload: bytes) -> bytes:
        outcome = super().apply(seq, payload)
        self.history.append(join(seq, payload, outcome, entry_digest=entry_digest(payload)))
        return outcome


@pytest.fixture(scope="module")
def lived() -> Recording:
    """A small house that has seen everything from trades to shared losses."""
    machine = Recording()
    warm(machine)
    return machine


def project(history: list[Joined], projection: Projection | None = None) -> Projection:
    projection = projection or Projection()
    for joined in history:
        projection.take(joined)
    return projection


def test_the_projection_says_what_the_books_say(lived: Recording) -> None:
    projection = project(lived.history)
    state = lived.state
    assert state is not None
    assert projection.seq == lived.seq
    assert projection.at_ns == state.scalar[AT_NS]
    rows = range(FIRST_ROW, FIRST_ROW + ACCOUNTS)
    states = [AccountState(state.account[row, STATE]).name.lower() for row in rows]
    told = projection.accounts_by_state()
    assert told == {name: states.count(name) for name in told}
    assert sum(told.values()) == ACCOUNTS
    for row in rows:
        line = projection.lines[account_id(1, row)]
        assert line.state == state.account[row, STATE]
        if line.evaluated:
            assert line.equity_minor == state.account[row, EQUITY]
            assert line.maintenance_minor == state.account[row, MAINTENANCE]
    for instrument_id in (1, 2):
        assert projection.marks[instrument_id].ticks == state.instrument[instrument_id, MARK_TICKS]
    assert dict(projection.instruments) == {1: "plain", 2: "rows"}
    assert set(projection.outbox) == set(state.tables.outbox)
    assert projection.fund == projection.lines[INSURANCE].balances
    fund_row = account_row(INSURANCE)
    assert projection.lines[INSURANCE].state == state.account[fund_row, STATE]


def test_the_projection_counts_what_happened(lived: Recording) -> None:
    projection = project(lived.history)
    state, counts = lived.state, projection.counts
    assert state is not None
    sums = (
        counts.shortfall_minor,
        counts.fund_paid_minor,
        counts.deleveraged_minor,
        counts.socialised_minor,
    )
    words = (SHORTFALL, FUND_PAID, DELEVERAGED, SOCIALISED)
    assert sums == tuple(state.scalar[word] for word in words)
    assert sums[0] == sum(sums[1:]) > 0
    assert counts.socialised_minor > 0
    assert counts.entries == len(lived.history)
    assert (counts.fills_posted, counts.fills_refused) == (11, 0)
    assert counts.liquidations_started == 2
    assert projection.ends == {2: 1, 3: 1}
    assert projection.liquidations == {}
    assert counts.calls_issued >= 1
    assert counts.withdrawals == 1
    assert counts.effects_expired + len(projection.outbox) == sum(
        len(joined.outcome.effects) for joined in lived.history
    )


@pytest.mark.parametrize("cut", [0, 1, 10, 20, 40, 49])
def test_a_rebuilt_projection_is_equal_from_wherever_it_went_on(lived: Recording, cut: int) -> None:
    whole = project(lived.history)
    part = project(lived.history[:cut])
    genesis = lived.history[0].content
    assert isinstance(genesis, Genesis)
    log_id = lived.history[0].entry_digest
    start = start_of(log_id, roster_of_terms(log_id, 1, genesis.replicas))
    saved = decode_bookmark(encode_bookmark(Bookmark(start, Register(), part)))
    assert saved is not None
    assert project(lived.history[cut:], saved.projection) == whole
    assert project(lived.history, Projection()) == whole


def test_lines_can_be_left_out(lived: Recording) -> None:
    lean = project(lived.history, Projection(keeps_lines=False))
    whole = project(lived.history)
    assert lean.lines == {}
    assert lean.fund == whole.fund
    assert lean.counts == whole.counts


def test_a_damaged_bookmark_is_none(lived: Recording) -> None:
    start = start_of(bytes(32), CHARTER_ROSTER)
    data = encode_bookmark(Bookmark(start, Register(), project(lived.history)))
    assert decode_bookmark(data) is not None
    for place in range(0, len(data), 7):
        spoiled = bytearray(data)
        spoiled[place] ^= 16
        assert decode_bookmark(bytes(spoiled)) is None
    assert decode_bookmark(data[:-1]) is None
    assert decode_bookmark(b"") is None


CHARTER_ROSTER = roster_of_terms(CHARTER.log_id, 1, CHARTER.genesis.replicas)


def register_of(stage: Stage) -> Register:
    stage.apply_all()
    register = Register()
    for joined in stage.history:
        register.take(joined)
    return register


def test_the_register_knows_what_the_machine_knows_of_senders() -> None:
    stage = Stage()
    new_key = CHARTER.keys["replica-1"].public_key
    payloads = [
        signed(ALICE, 1, opening(1)),
        signed(ALICE, 1, opening(1)),  # a repeat
        signed(ALICE, 1, opening(2)),  # the number with another body
        signed(ALICE, 3, opening(2)),  # a gap
        signed(ALICE, 2, opening(1), AddSender("x", new_key, Role.CLIENT)),  # may not add
        signed(GOVERN, 1, AddSender("dora", new_key, Role.CLIENT | Role.CLOCK)),
        signed(GOVERN, 2, RotateKey(ALICE, new_key), AddSender("dora", new_key, 1)),
        signed(GOVERN, 3, RotateKey(8, b"")),
        b"\x01\x01nonsense",
        CHARTER.payload,
    ]
    for place, payload in enumerate(payloads):
        stage.store.store(f"p{place}", payload)
    register = register_of(stage)
    state = stage.machine.state
    assert state is not None
    told = [
        (known.name, known.public_key, known.roles, known.number, known.recents)
        for known in register.senders
    ]
    assert told == [
        (sender.name, sender.public_key, sender.roles, sender.number, sender.recents)
        for sender in state.tables.senders
    ]
    assert len(told) == 8
    assert told[ALICE - 1][1] == new_key
    assert register.seq == stage.machine.seq
    assert register.log_id == CHARTER.log_id


def test_the_register_remembers_as_many_numbers_as_the_machine() -> None:
    stage = Stage()
    for number in range(1, 1100):
        stage.store.store(f"n{number}", signed(ALICE, number, OpenAccounts(0, Mode.CROSS)))
    register = register_of(stage)
    state = stage.machine.state
    assert state is not None
    recents = register.senders[ALICE - 1].recents
    assert recents == state.tables.senders[ALICE - 1].recents
    assert len(recents) == 1024
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(register), type=Register)
    assert copy == register
    # The order in which numbers are forgotten survives as well.
    assert list(copy.senders[ALICE - 1].recents) == list(recents)
