"""Replicas together: the same chain for all, liars named, late comers and restarts."""

import asyncio

import pytest

from seawall.protocol.codec import log_id_of
from seawall.protocol.digest import genesis_chain
from seawall.replica.assembly import Position
from seawall.replica.findings import Dissent, verify_dissent
from seawall.replica.quarantine import Phase
from tests.replica.house import House, LossyHub, open_house, take
from tests.replica.reference import Ledger, Liar, genesis, roster_for
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
