"""Eight real faults in one real house, and what the drill's own judges would say to worse."""

from pathlib import Path

import msgspec
import pytest

from seawall.lab.drill import drill
from seawall.lab.drill_faults import flip_bit
from seawall.lab.drill_flow import CLIENTS, CLOCK, CUSTODY, SENDERS, TERMS, Bank, Execution
from seawall.lab.drill_plan import Fault, draw_faults
from seawall.lab.drill_report import QUIET, Drilled, Run, tabulate
from seawall.lab.drill_tail import Tail
from seawall.lab.drill_watch import ClientWatch
from seawall.node.charter import Charter, make_charter
from seawall.node.clock import SystemClock
from seawall.node.feed import roster_of_terms
from seawall.node.receipts import Receipt
from seawall.protocol.codec import encode_batch, pack_int32, pack_int64
from seawall.protocol.commands import (
    AnyCommand,
    Batch,
    EffectStatus,
    Mode,
    OpenAccounts,
    RecordDeposits,
    Tick,
    Withdraw,
)
from seawall.protocol.effects import Payout
from seawall.protocol.ids import account_id
from seawall.replica.logs.memory import MemoryLog
from seawall.replica.machine import Roster
from seawall.replica.messages import Status
from seawall.replica.votes import Certificate, cast_vote

FAULTS = (
    Fault.REPLICA_KILLED,
    Fault.LOG_LEADER_KILLED,
    Fault.LOG_FOLLOWER_PAUSED,
    Fault.SNAPSHOT_FLIPPED,
    Fault.LOG_FOLLOWER_KILLED,
    Fault.TWO_REPLICAS_KILLED,
    Fault.LOG_NODE_WIPED,
    Fault.EVERYTHING_KILLED,
)


def test_a_house_lives_through_eight_faults(tmp_path: Path) -> None:
    said: list[str] = []
    drilled = drill(FAULTS, 1, said.append, folder=tmp_path)
    assert drilled.problems == ()
    assert drilled.passed
    assert [run.fault for run in drilled.runs] == [fault.value for fault in FAULTS]
    assert len(said) == len(FAULTS)
    (house,) = drilled.houses
    assert (house.lost, house.doubled, house.misplaced, house.unknown) == (0, 0, 0, 0)
    assert (house.repeated, house.uncertified) == (0, 0)
    # A house at rest would pass everything.
    assert house.commands > 100
    assert house.effects > 10
    # An election is not to be had for nothing; with the leader gone, nobody acknowledges.
    gaps = {run.fault: run for run in drilled.runs}
    leaderless = gaps[Fault.LOG_LEADER_KILLED]
    assert leaderless.ack_gap_ms > leaderless.quiet_ack_gap_ms


# The judges.


@pytest.fixture(name="charter", scope="module")
def make_house() -> Charter:
    names = (*SENDERS, "replica-1", "replica-2", "replica-3")
    return make_charter(TERMS, {name: bytes([n]) * 32 for n, name in enumerate(names, 1)})


def roster_of(charter: Charter) -> Roster:
    return roster_of_terms(charter.log_id, 1, charter.genesis.replicas)


async def read_payout(charter: Charter) -> Tail:
    """Read a log of five entries, of which the last one asks for a payout."""
    client = CLIENTS[0]
    account = account_id(1, 8)
    deposit = RecordDeposits(1, 1, pack_int64([account]), pack_int32([0]), pack_int64([1000]))
    said: tuple[tuple[str, AnyCommand], ...] = (
        (CLOCK, Tick(1)),
        (client, OpenAccounts(1, Mode.CROSS)),
        (CUSTODY, deposit),
        (client, Withdraw(account, 0, 7, 7)),
    )
    log = MemoryLog()
    await log.append("genesis", charter.payload)
    numbers = dict.fromkeys(SENDERS, 0)
    for name, command in said:
        numbers[name] += 1
        batch = Batch(charter.log_id, charter.sender_id(name), numbers[name], (command,))
        await log.append(f"{name}:{numbers[name]}", encode_batch(batch, charter.keys[name]))
    tail = Tail()
    # In two steps, as after two faults.
    await tail.read_on(log, 2)
    await tail.read_on(log, 5)
    return tail


def certify(charter: Charter, tail: Tail, seq: int, voters: int) -> Certificate:
    roster, chain = roster_of(charter), tail.chain_at(seq)
    assert chain is not None
    votes = tuple(
        cast_vote(charter.keys[name], roster=roster, replica=name, first_seq=seq, chains=chain)
        for name, _ in roster.keys[:voters]
    )
    return Certificate(roster.log_id, 1, seq, chain, votes)


async def test_a_payout_needs_a_certificate_that_covers_it(charter: Charter) -> None:
    tail, roster = await read_payout(charter), roster_of(charter)
    ((key, payout),) = tail.effects.items()
    assert key == "5:0"
    assert isinstance(payout, Payout)
    assert payout.amount_minor == 7
    proof = certify(charter, tail, 5, 2)
    good = Execution(key, payout, proof, repeated=False)
    assert tail.is_covered(good, roster)
    replace = msgspec.structs.replace
    wrong = [
        replace(good, certificate=None),
        # Of the entry before it.
        replace(good, certificate=certify(charter, tail, 4, 2)),
        # By one replica of three.
        replace(good, certificate=certify(charter, tail, 5, 1)),
        # Of another chain than the one that the log gives.
        replace(good, certificate=replace(proof, chain=bytes(32))),
        replace(good, effect=replace(payout, amount_minor=8)),
        replace(good, key="5:1"),
        replace(good, key="6:0"),
    ]
    assert [tail.is_covered(execution, roster) for execution in wrong] == [False] * len(wrong)


async def test_a_replica_with_another_chain_is_seen(charter: Charter) -> None:
    tail = await read_payout(charter)
    chain = tail.chain_at(5)
    assert chain is not None
    said = Status("replica-1", 1, 5, chain, 5, 0, "voting", 0, 1, 0, 0, 0)
    assert not tail.differs(said)
    assert tail.differs(msgspec.structs.replace(said, chain=bytes(32)))
    assert tail.differs(msgspec.structs.replace(said, seq=4))
    # Beyond what was read nobody can say.
    assert not tail.differs(msgspec.structs.replace(said, seq=6))
    assert tail.replayed().last_seq == 5
    assert tail.replayed().chain == chain


async def test_the_bank_notes_who_asks_twice() -> None:
    bank = Bank(lambda: None)
    payout = Payout(1, account_id(1, 8), 0, 7, 7)
    assert await bank.query("5:0") is None
    assert await bank.execute("5:0", payout) is EffectStatus.DONE
    assert await bank.execute("5:0", payout) is EffectStatus.DONE
    assert await bank.query("5:0") is EffectStatus.DONE
    assert [execution.repeated for execution in bank.executions] == [False, True]


def test_only_clients_count_for_the_gap_in_acknowledgements() -> None:
    watch = ClientWatch(SystemClock(), frozenset({1}))
    for ticket, sender_id in ((1, 1), (2, 4)):
        watch.asked(ticket, sender_id, (Tick(ticket),))
        watch.acknowledged(ticket, Receipt(10 * ticket, 0, 1, sender_id, 1, b""))
    assert [beat.seq for beat in watch.pulse.acknowledged] == [10]
    # Yet nobody's receipt is forgotten when the log is read back.
    assert watch.held_seq == 20
    assert all(foil.receipt is not None for foil in watch.counterfoils.by_ticket.values())


def run_of(fault: Fault, gap_ms: float, *problems: str, lost: int = 0) -> Run:
    return Run(
        *(1, fault.value, ("n1",), 10, 1.0, gap_ms / 100, gap_ms, 2 * gap_ms, 1.0, 2.0),
        *(lost, 0, 0, (), problems),
    )


def test_a_row_has_the_middle_and_the_worst() -> None:
    runs = [run_of(Fault.REPLICA_KILLED, gap_ms) for gap_ms in (30.0, 10.0, 20.0)]
    runs.append(run_of(Fault.AUDITOR_KILLED, 5.0, lost=3))
    quiet, auditor, replica = tabulate(runs)
    assert (quiet.fault, quiet.runs, quiet.ack_gap_max_ms) == (QUIET, 4, 1.0)
    assert (auditor.fault, auditor.lost) == ("auditor_killed", 3)
    assert (replica.runs, replica.ack_gap_p50_ms, replica.ack_gap_max_ms) == (3, 20.0, 30.0)
    assert (replica.release_gap_p50_ms, replica.release_gap_max_ms) == (40.0, 60.0)
    assert (replica.whole_p50_s, replica.whole_max_s) == (0.2, 0.3)
    assert tabulate([]) == ()


def test_a_drill_fails_over_any_problem_and_any_run_that_is_missing() -> None:
    run = run_of(Fault.REPLICA_KILLED, 1.0)
    passed = Drilled(1, 1, (), (run,), (), "", 1.0)
    assert passed.passed
    assert not msgspec.structs.replace(passed, asked=2).passed
    spoiled = msgspec.structs.replace(
        passed, runs=(run_of(Fault.REPLICA_KILLED, 1.0, "1 commands lost"),)
    )
    assert spoiled.problems == ("house 1, replica_killed: 1 commands lost",)


def test_every_kind_comes_before_any_comes_again() -> None:
    kinds = len(Fault)
    drawn = draw_faults(2 * kinds + 3, seed=5)
    assert len(drawn) == 2 * kinds + 3
    assert set(drawn[:kinds]) == set(drawn[kinds : 2 * kinds]) == set(Fault)
    assert drawn == draw_faults(2 * kinds + 3, seed=5)
    assert drawn != draw_faults(2 * kinds + 3, seed=6)


def test_one_bit_is_flipped() -> None:
    assert flip_bit(b"\x00\x00", 9) == b"\x00\x02"
    assert flip_bit(flip_bit(b"abc", 20), 20) == b"abc"
