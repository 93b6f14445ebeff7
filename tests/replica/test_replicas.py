"""Replicas together: the same chain for all, liars named, late comers and restarts."""

import asyncio
import random
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import pytest

from seawall.protocol.codec import log_id_of
from seawall.protocol.digest import genesis_chain
from seawall.replica.assembly import Position
from seawall.replica.disk import MemoryDisk
from seawall.replica.doors import Notice, PhaseChanged
from seawall.replica.evidence import EvidenceStore
from seawall.replica.findings import Dissent, verify_dissent
from seawall.replica.log import Entry, LogUnavailable, ReadGap
from seawall.replica.logs.memory import MemoryLog, MemoryStore
from seawall.replica.logs.sqlite import SqliteLog
from seawall.replica.messages import OutcomesAnswered, OutcomesAsked, Status, decode, encode
from seawall.replica.quarantine import OFFENCES_MAX, Phase
from seawall.replica.reading import ReadFault
from seawall.replica.snapshots import SnapshotRefused, SnapshotStore, pages_name, seal_name
from seawall.replica.votes import Vote, verify_certificate
from tests.replica.house import House, LossyHub, open_house, take
from tests.replica.reference import Ledger, Liar, addition, enrolment, genesis, roster_for
from tests.replica.virtual import play

TRIO = ("a", "b", "c")


def start_of(*names: str) -> Position:
    return Position(seq=0, chain=genesis_chain(log_id_of(genesis(*names))))


def chains(house: House) -> list[bytes]:
    return [replica.status().chain for replica in house.replicas.values()]


def test_three_replicas_reach_one_chain_and_certify_it() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(57, pause_s=0.001)
            await house.until_certified(seq)
            await house.until_applied(seq)
            assert len(set(chains(house))) == 1
            assert all(r.status().phase == "voting" for r in house.replicas.values())

    play(scene())


def test_a_follower_from_the_start_gets_every_outcome_once_and_in_order() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            follower = house.follower(position=start_of(*TRIO))
            taking = asyncio.create_task(take(follower, 41))
            for name in TRIO:
                house.start(name)
            await house.append_many(40, pause_s=0.002)
            got = await taking
            assert [released.seq for released in got] == list(range(1, 42))
            twin = Ledger()
            for released, entry in zip(got, house.store.entries, strict=True):
                assert released.outcome == twin.apply(entry.seq, entry.payload)

    play(scene())


@pytest.mark.parametrize("seed", range(6))
def test_a_bus_that_loses_half_of_everything_loses_nothing_for_long(seed: int) -> None:
    async def scene() -> None:
        async with open_house(*TRIO, hub=LossyHub(lost_in=2, seed=seed)) as house:
            follower = house.follower(position=start_of(*TRIO))
            taking = asyncio.create_task(take(follower, 101))
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(100, pause_s=0.003)
            got = await taking
            assert [released.seq for released in got] == list(range(1, seq + 1))
            await house.until_certified(seq)

    play(scene())


def test_a_liar_is_outvoted_named_quarantined_restored_and_rejoins() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            lives = [Liar(25), Ledger(), Ledger(), Ledger()]
            house.machines["b"] = lambda: lives.pop(0)
            for name in TRIO:
                house.start(name)
            await house.append_many(60, pause_s=0.02)
            await house.until(lambda: Phase.VOTING in house.phases("b"), "b rejoins")
            assert house.phases("b") == [
                Phase.OUTVOTED,
                Phase.RESTORING,
                Phase.CATCHING_UP,
                Phase.VOTING,
            ]
            seq = await house.append_many(10, pause_s=0.02)
            await house.until_applied(seq)
            assert len(set(chains(house))) == 1
            named = [n for n in house.notices["a"] if isinstance(n, Dissent)]
            assert [(n.replica, n.seq) for n in named] == [("b", 25)]
            assert verify_dissent(named[0], roster_for(*TRIO)) is None
            # Restored from the certified snapshot of entry 20, not replayed from entry 1.
            assert house.replicas["b"].status().oldest_outcome_seq == 20

    play(scene())


def test_a_kill_leaves_the_majority_voting_and_the_restarted_one_reaches_the_same_chain() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            await house.append_many(35, pause_s=0.01)
            await house.kill("c")
            seq = await house.append_many(40, pause_s=0.01)
            await house.until_certified(seq, "a", "b")
            house.start("c")
            await house.until_applied(seq)
            assert len(set(chains(house))) == 1
            # From its newest snapshot, and voting at once: nobody had outvoted it.
            assert house.replicas["c"].status().oldest_outcome_seq == 30
            assert house.phases("c") == []
            await house.kill("a")
            seq = await house.append_many(5, pause_s=0.01)
            await house.until_certified(seq, "b", "c")

    play(scene())


def test_after_a_stop_of_the_whole_house_an_idle_log_is_certified_again() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(29, pause_s=0.01)
            assert seq == 30
            await house.until(lambda: sealed(house, 30), "snapshot of 30")
            for name in TRIO:
                await house.kill(name)
            for name in TRIO:
                house.start(name)
            await house.until_certified(seq)
            # Nothing was applied anew: the snapshot's own entry was voted on.
            assert all(r.status().oldest_outcome_seq == 30 for r in house.replicas.values())

    play(scene())


def sealed(house: House, seq: int) -> bool:
    return all(replica.status().snapshot_seq == seq for replica in house.replicas.values())


@pytest.mark.parametrize("snapshots", [True, False])
def test_a_new_replica_with_an_empty_disk_reaches_the_same_chain(snapshots: bool) -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in ("a", "b"):
                house.start(name)
            seq = await house.append_many(64, pause_s=0.01)
            house.start("c", snapshots=snapshots)
            await house.until_applied(seq)
            await house.until_certified(seq)
            assert len(set(chains(house))) == 1

    play(scene())


def test_a_spoilt_snapshot_is_named_and_an_older_one_serves() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(45, pause_s=0.01)
            await house.until(lambda: sealed(house, 40), "snapshot of 40")
            await house.kill("a")
            disk = house.disks["a"]
            spoilt = bytearray(disk.files[pages_name(40)])
            spoilt[17] ^= 4
            disk.files[pages_name(40)] = bytes(spoilt)
            house.start("a")
            await house.until_applied(seq)
            refused = [n for n in house.notices["a"] if isinstance(n, SnapshotRefused)]
            assert [n.name for n in refused] == [seal_name(40)]
            assert house.replicas["a"].status().oldest_outcome_seq == 30
            assert len(set(chains(house))) == 1

    play(scene())


def test_two_who_disagree_release_nothing_until_the_third_decides() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            lives: list[Ledger] = [Liar(12)]
            house.machines["b"] = lambda: lives.pop() if lives else Ledger()
            for name in ("a", "b"):
                house.start(name)
            await house.append_many(10, pause_s=0.01)
            await house.until_certified(11)
            seq = await house.append_many(10, pause_s=0.01)
            await asyncio.sleep(30)
            assert all(r.status().certified_seq == 11 for r in house.replicas.values())
            assert all(r.status().phase == "voting" for r in house.replicas.values())
            house.start("c")
            await house.until_certified(seq)
            await house.until(lambda: Phase.CATCHING_UP in house.phases("b"), "b restored")
            seq = await house.append_many(3, pause_s=0.05)
            await house.until(lambda: Phase.VOTING in house.phases("b"), "b rejoins")
            await house.until_applied(seq)
            assert len(set(chains(house))) == 1

    play(scene())


def test_a_machine_that_always_lies_is_put_out_for_good_and_stays_out() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            house.machines["c"] = lambda: Liar(*range(2, 400, 7))
            for name in TRIO:
                house.start(name)
            await house.append_many(120, pause_s=0.02)
            await house.until(lambda: Phase.OUT in house.phases("c"), "c out")
            assert house.phases("c").count(Phase.OUTVOTED) == OFFENCES_MAX
            status = house.replicas["c"].status()
            assert (status.phase, status.offences) == ("out", OFFENCES_MAX)
            house.hub.heard.clear()
            seq = await house.append_many(10, pause_s=0.02)
            await house.until_certified(seq, "a", "b")
            # Out means silent: neither votes nor outcomes, also after a restart.
            await house.kill("c")
            house.machines["c"] = Ledger
            house.start("c")
            seq = await house.append_many(10, pause_s=0.5)
            await house.until_certified(seq, "a", "b")
            said = [m.subject for m in house.hub.heard if m.subject.endswith(".c")]
            assert set(said) == {"status.c"}
            assert house.replicas["c"].status().phase == "out"
            kept = await EvidenceStore(house.evidence["c"], replica="c").offences()
            assert [offence.index for offence in kept[0]] == [1, 2, 3]
            for offence in kept[0]:
                assert verify_certificate(offence.certificate, roster_for(*TRIO)) is None
                assert offence.chain != offence.certificate.chain

    play(scene())


def test_an_honest_replica_never_signs_two_chains_for_one_entry() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            lives: list[Ledger] = [Liar(33)]
            house.machines["b"] = lambda: lives.pop() if lives else Ledger()
            for name in TRIO:
                house.start(name)
            await house.append_many(50, pause_s=0.004)
            await house.until(lambda: Phase.CATCHING_UP in house.phases("b"), "b restored")
            await house.append_many(30, pause_s=0.004)
            await house.until(lambda: Phase.VOTING in house.phases("b"), "b rejoins")
            await asyncio.sleep(3)
            # Restarted from before its offence, it still does not sign those entries anew.
            await house.kill("b")
            for seq in (40, 50, 60, 70, 80):
                for file_name in (pages_name(seq), seal_name(seq)):
                    house.disks["b"].files.pop(file_name, None)
            house.start("b")
            seq = await house.append_many(20, pause_s=0.004)
            await house.until_certified(seq)
            await house.until_applied(seq)
            assert house.replicas["b"].status().phase == "voting"
            signed: dict[tuple[str, int], bytes] = {}
            for message in house.hub.heard:
                vote = decode(Vote, message.data) if message.subject == "vote.b" else None
                for at, chain in () if vote is None else vote.each():
                    assert signed.setdefault(("b", at), chain) == chain

    play(scene())


class TimedNotices(list[Notice]):
    """Remembers what had been said on the bus when each phase began."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        self.began: dict[Phase, int] = {}

    def append(self, notice: Notice) -> None:
        super().append(notice)
        if isinstance(notice, PhaseChanged):
            self.began[notice.standing.phase] = len(self.house.hub.heard)


def test_in_quarantine_a_replica_neither_votes_nor_tells_outcomes() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            lives: list[Ledger] = [Liar(25)]
            house.machines["b"] = lambda: lives.pop() if lives else Ledger()
            timed = TimedNotices(house)
            house.notices["b"] = timed
            for name in TRIO:
                house.start(name)
            # All at once: b has signed far beyond its lie before anybody can tell it so.
            await house.append_many(40)
            await house.until(lambda: Phase.CATCHING_UP in timed.began, "b restored")
            await house.until_applied(41)
            asker = house.hub.bus()
            asked = encode(OutcomesAsked(first_seq=30, last_seq=40))
            for name, held in (("a", 11), ("b", 0)):
                data = await asker.request(f"outcomes.{name}", asked, timeout_s=1.0)
                answered = decode(OutcomesAnswered, data)
                assert answered is not None
                assert len(answered.outcomes) == held
                assert (answered.oldest_seq > 0) == (name == "a")
            await asyncio.sleep(5)
            assert house.phases("b")[-1] is Phase.CATCHING_UP
            await house.append_many(1)
            await house.until(lambda: Phase.VOTING in timed.began, "b rejoins")
            silence = house.hub.heard[timed.began[Phase.OUTVOTED] : timed.began[Phase.VOTING]]
            told = {message.subject for message in silence if message.subject.endswith(".b")}
            assert told == {"status.b"}

    play(scene())


def test_a_rejoined_replica_votes_at_once_after_a_restart_and_an_unsettled_one_does_not() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            lives: list[Ledger] = [Liar(15)]
            house.machines["b"] = lambda: lives.pop() if lives else Ledger()
            for name in TRIO:
                house.start(name)
            await house.append_many(20, pause_s=0.01)
            await house.until(lambda: Phase.CATCHING_UP in house.phases("b"), "b restored")
            await house.kill("b")
            house.start("b")
            await house.until(lambda: house.phases("b")[-1] is Phase.CATCHING_UP, "again")
            assert house.phases("b").count(Phase.CATCHING_UP) == 2
            await house.append_many(5, pause_s=0.01)
            await house.until(lambda: Phase.VOTING in house.phases("b"), "b rejoins")
            await asyncio.sleep(3)
            for name in TRIO:
                await house.kill(name)
            # With a gone, whoever once offended must carry the majority at once.
            for name in ("b", "c"):
                house.start(name)
            seq = await house.append_many(5, pause_s=0.01)
            await house.until_certified(seq, "b", "c")

    play(scene())


def test_a_crash_at_any_moment_leaves_what_the_next_life_can_use() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            chance = random.Random(4)
            lives: list[Ledger] = []
            house.machines["c"] = lambda: lives.pop() if lives else Ledger()
            for _ in range(120):
                await house.append_many(chance.randrange(4))
                # A crash between any two steps of the loop, not only where the clock moves.
                for _ in range(chance.randrange(12)):
                    await asyncio.sleep(0)
                await house.kill("c")
                if chance.randrange(30) == 0 and house.replicas["c"].standing.offences < 2:
                    lives.append(Liar(house.appended + 1))
                house.start("c")
            seq = await house.append_many(30, pause_s=0.01)
            await house.until_certified(seq)
            await house.until_applied(seq)
            await house.until(lambda: house.replicas["c"].status().phase == "voting", "c votes")
            assert len(set(chains(house))) == 1

    play(scene())


class GappyLog(MemoryLog):
    """An ill node: it skips entries, goes down and comes back."""

    def __init__(self, store: MemoryStore, seed: int) -> None:
        super().__init__(store)
        self._chance = random.Random(seed)

    async def read(self, first_seq: int) -> AsyncGenerator[Entry, None]:
        entries = super().read(first_seq)
        try:
            async for entry in entries:
                match self._chance.randrange(8):
                    case 0:
                        continue
                    case 1:
                        raise ReadGap("one is missing")
                    case 2:
                        raise LogUnavailable("no leader")
                    case _:
                        yield entry
        finally:
            await entries.aclose()

    async def last_seq(self) -> int:
        if self._chance.randrange(3) == 0:
            raise LogUnavailable("no leader")
        return await super().last_seq()


@pytest.mark.parametrize("seed", range(4))
def test_gaps_and_faults_of_the_log_are_read_again_never_stepped_over(seed: int) -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for index, name in enumerate(TRIO):
                house.logs[name] = partial(GappyLog, house.store, seed * 10 + index)
                house.start(name)
            seq = await house.append_many(60, pause_s=0.01)
            await house.until_certified(seq)
            await house.until_applied(seq)
            assert len(set(chains(house))) == 1
            faults = [n for n in house.notices["a"] if isinstance(n, ReadFault)]
            assert faults
            assert house.replicas["a"].status().read_faults == len(faults)

    play(scene())


class BuggyLedger(Ledger):
    def apply(self, seq: int, payload: bytes) -> bytes:
        assert seq != 20
        return super().apply(seq, payload)


def test_a_bug_stops_its_replica_and_no_other() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            house.machines["b"] = BuggyLedger
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(30)
            task = house.tasks.pop("b")
            with pytest.raises(AssertionError):
                await task
            await house.buses.pop("b").close()
            await house.until_certified(seq, "a", "c")

    play(scene())


def test_a_new_replica_set_takes_over_and_new_comers_follow() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in ("d", "e"):
                house.disks[name], house.evidence[name] = MemoryDisk(), MemoryDisk()
                house.machines[name] = Ledger
                house.notices[name] = []
            taking = asyncio.create_task(take(house.follower(position=start_of(*TRIO)), 71))
            for name in ("a", "b", "c", "d"):
                house.start(name)
            await house.append_many(24, pause_s=0.01)
            assert not [m for m in house.hub.heard if m.subject == "vote.d"]
            handover_seq = await house.append(enrolment("c", "d", "e"))
            await house.append_many(25, pause_s=0.01)
            await house.kill("a")
            await house.kill("b")
            house.start("e")
            seq = await house.append_many(20, pause_s=0.01)
            assert seq == 71
            names = ("c", "d", "e")
            await house.until_certified(seq, *names)
            await house.until_applied(seq, *names)
            got = await taking
            assert [released.seq for released in got] == list(range(1, seq + 1))
            epochs = [released.certificate.epoch for released in got]
            assert epochs == [1] * handover_seq + [2] * (seq - handover_seq)
            assert {house.replicas[name].status().epoch for name in names} == {2}
            # A snapshot of the new epoch serves whoever trusts nothing but entry 1. Member e came
            # too late for the old set's votes and has asked for the proof of the handover.
            await house.append_many(25, pause_s=0.1)
            await house.until(
                lambda: all(house.replicas[n].status().snapshot_seq == 90 for n in names), "sealed"
            )
            restored, refused = await SnapshotStore(house.disks["e"]).restore(
                Ledger, roster_for(*TRIO)
            )
            assert refused == []
            assert restored is not None
            assert restored.checkpoint.certificate.epoch == 2
            await house.kill("d")
            house.start("d")
            seq = await house.append_many(5, pause_s=0.01)
            await house.until_certified(seq, *names)

    play(scene())


def test_a_status_tells_how_far_a_replica_is() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(20, pause_s=0.01)
            await house.until_certified(seq)
            house.hub.heard.clear()
            await asyncio.sleep(2.5)
            told = [decode(Status, m.data) for m in house.hub.heard if m.subject == "status.b"]
            assert 2 <= len(told) <= 3
            last = told[-1]
            assert last is not None
            assert (last.replica, last.seq, last.phase) == ("b", seq, "voting")
            assert (last.lag_entries, last.certified_seq, last.epoch) == (0, seq, 1)
            assert last.chain == house.replicas["a"].status().chain

    play(scene())


def test_votes_are_gathered_under_load_and_immediate_when_it_is_quiet() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            await house.append_many(1500)
            await house.until_certified(1501)
            votes = [decode(Vote, m.data) for m in house.hub.heard if m.subject == "vote.a"]
            spans = [vote.last_seq - vote.first_seq + 1 for vote in votes if vote is not None]
            assert max(spans) > 20
            assert len(spans) < 200
            loop = asyncio.get_running_loop()
            await asyncio.sleep(1)
            before_s = loop.time()
            await house.append_many(1)
            await asyncio.sleep(0.001)
            assert house.replicas["a"].status().certified_seq == 1502
            assert loop.time() - before_s < 0.005

    play(scene())


def test_a_single_replica_certifies_alone() -> None:
    async def scene() -> None:
        async with open_house("solo") as house:
            house.start("solo")
            taking = asyncio.create_task(take(house.follower(position=start_of("solo")), 21))
            await house.append_many(20)
            assert [released.seq for released in await taking] == list(range(1, 22))

    play(scene())


def test_the_same_scene_plays_the_same_way_twice() -> None:
    async def scene() -> list[tuple[str, bytes]]:
        async with open_house(*TRIO, hub=LossyHub(lost_in=4, seed=9)) as house:
            lives: list[Ledger] = [Liar(15)]
            house.machines["b"] = lambda: lives.pop() if lives else Ledger()
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(60, pause_s=0.003)
            await house.until_certified(seq)
            return [(message.subject, message.data) for message in house.hub.heard]

    assert play(scene()) == play(scene())


def test_three_replicas_over_a_durable_log_in_one_process(tmp_path: Path) -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            writer = SqliteLog(tmp_path / "log.db")
            for entry in house.store.entries:
                await writer.append(f"m{entry.seq}", entry.payload)
            for name in TRIO:
                house.logs[name] = partial(SqliteLog, tmp_path / "log.db")
            taking = asyncio.create_task(take(house.follower(position=start_of(*TRIO)), 51))
            for name in TRIO:
                house.start(name)
            for index in range(2, 52):
                await writer.append(f"m{index}", addition(index))
            assert [released.seq for released in await taking] == list(range(1, 52))
            await house.until_applied(51)
            assert len(set(chains(house))) == 1
            await writer.close()

    asyncio.run(scene())
