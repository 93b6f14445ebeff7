"""The follower on a bus: what is lost is asked for, what nobody holds is said."""

import asyncio

import pytest

from seawall.protocol.codec import log_id_of
from seawall.protocol.digest import genesis_chain
from seawall.replica.assembly import Misreported, Position
from seawall.replica.bus import Message
from seawall.replica.buses.memory import MemoryBus
from seawall.replica.doors import Settings
from seawall.replica.findings import BadVote, Dissent, Finding
from seawall.replica.messages import OutcomeMessage, decode, encode
from seawall.replica.release import FellBehind
from tests.replica.house import House, LossyHub, open_house, take
from tests.replica.reference import Ledger, Liar, genesis
from tests.replica.virtual import play

TRIO = ("a", "b", "c")
START = Position(seq=0, chain=genesis_chain(log_id_of(genesis(*TRIO))))


def truth(house: House) -> list[bytes]:
    twin = Ledger()
    return [twin.apply(entry.seq, entry.payload) for entry in house.store.entries]


def test_a_late_reader_is_given_what_was_published_before_it_came() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(200)
            await house.until_certified(seq)
            loop = asyncio.get_running_loop()
            since_s = loop.time()
            got = await take(house.follower(position=START), seq)
            assert [released.outcome for released in got] == truth(house)
            # Virtual time: one question at once and one for the rest, not one for every entry.
            assert loop.time() - since_s < 0.2

    play(scene())


def test_lost_outcomes_are_asked_for_without_delay() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            follower = house.follower(position=START)
            taking = asyncio.create_task(take(follower, 6))
            for name in TRIO:
                house.start(name)
            await house.until_certified(1)
            house.hub.deaf_to = "outcome."
            since_s = asyncio.get_running_loop().time()
            await house.append_many(5)
            assert len(await taking) == 6
            assert asyncio.get_running_loop().time() - since_s < 0.5

    play(scene())


def test_a_reader_who_comes_to_a_silent_house_still_learns_the_newest() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(30)
            await house.until_certified(seq)
            follower = house.follower()
            taking = asyncio.create_task(take(follower, seq + 2))
            await house.until(lambda: follower.position is not None, "newest certificate")
            assert follower.position is not None
            assert follower.position.seq == seq
            await house.append_many(2)
            assert [released.seq for released in await taking] == [seq + 1, seq + 2]

    play(scene())


def test_large_outcomes_come_in_several_answers() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(12, padding=bytes(300_000))
            await house.until_certified(seq)
            got = await take(house.follower(position=START), seq)
            assert [released.outcome for released in got] == truth(house)

    play(scene())


def test_what_nobody_holds_any_longer_is_said_and_not_waited_for() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            house.settings = Settings(entries_held_max=50, archive="cellar")
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(200)
            await house.until_certified(seq)
            with pytest.raises(FellBehind) as fell:
                await take(house.follower(position=START), seq)
            assert (fell.value.released_seq, fell.value.archive) == (0, "cellar")
            assert fell.value.oldest_seq == seq - 49
            replica = house.replicas["a"]
            chain = replica._history.chain_at(seq - 50)
            assert chain is not None
            good = Position(seq=seq - 50, chain=chain)
            got = await take(house.follower(position=good), seq)
            assert [released.seq for released in got] == list(range(seq - 49, seq + 1))

    play(scene())


class TwistingHub(LossyHub):
    """Everything that comes from one endpoint is twisted on its way."""

    def __init__(self, victim: str) -> None:
        super().__init__()
        self.victim = victim

    def carry(self, sender: MemoryBus, message: Message) -> None:
        if message.subject == f"outcome.{self.victim}":
            told = decode(OutcomeMessage, message.data)
            assert told is not None
            twisted = OutcomeMessage(told.seq, told.entry_digest, told.outcome + b"!")
            message = Message(subject=message.subject, data=encode(twisted))
        super().carry(sender, message)


def test_a_replica_that_votes_right_and_publishes_wrong_deceives_nobody() -> None:
    async def scene() -> None:
        async with open_house(*TRIO, hub=TwistingHub("b")) as house:
            found: list[Finding | Misreported] = []
            taking = asyncio.create_task(take(house.follower(position=START, notices=found), 31))
            for name in TRIO:
                house.start(name)
            await house.append_many(30, pause_s=0.01)
            assert [released.outcome for released in await taking] == truth(house)
            wrong = [finding for finding in found if isinstance(finding, Misreported)]
            assert {finding.replica for finding in wrong} == {"b"}

    play(scene())


def test_rubbish_on_the_bus_is_named_and_otherwise_ignored() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            found: list[Finding | Misreported] = []
            taking = asyncio.create_task(take(house.follower(position=START, notices=found), 11))
            stranger = house.hub.bus()
            for name in TRIO:
                house.start(name)
            await house.until_certified(1)
            for rubbish in (b"", b"\x01", b"\x01\x93\x01\x02\x03", b"\xff" * 100):
                for subject in ("vote.a", "outcome.b", "vote.x", "outcome.x", "outcome.a.b"):
                    await stranger.publish(subject, rubbish)
                answer = await stranger.request("outcomes.a", rubbish, timeout_s=1.0)
                assert answer
            await house.append_many(10, pause_s=0.01)
            assert [released.seq for released in await taking] == list(range(1, 12))
            malformed = [finding for finding in found if isinstance(finding, BadVote)]
            assert {(bad.replica, bad.reason) for bad in malformed} == {
                ("a", "malformed"),
                ("x", "malformed"),
            }

    play(scene())


def test_the_liar_is_named_to_the_reader_and_its_outcome_is_not_released() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            house.machines["c"] = lambda: Liar(9)
            found: list[Finding | Misreported] = []
            taking = asyncio.create_task(take(house.follower(position=START, notices=found), 31))
            for name in TRIO:
                house.start(name)
            await house.append_many(30, pause_s=0.01)
            assert [released.outcome for released in await taking] == truth(house)
            dissents = [finding for finding in found if isinstance(finding, Dissent)]
            assert [(dissent.replica, dissent.seq) for dissent in dissents] == [("c", 9)]

    play(scene())


def test_a_slow_taker_slows_only_itself() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            follower = house.follower(position=START)
            stream = follower.released()
            first = await anext(stream)
            seq = await house.append_many(500)
            await house.until_certified(seq)
            assert first.seq == 1
            got = [1]
            async for released in stream:
                got.append(released.seq)
                await asyncio.sleep(0.2)
                if released.seq == seq:
                    break
            await stream.aclose()
            assert got == list(range(1, seq + 1))

    play(scene())


def test_two_of_three_dead_means_waiting_and_nothing_else() -> None:
    async def scene() -> None:
        async with open_house(*TRIO) as house:
            for name in TRIO:
                house.start(name)
            seq = await house.append_many(10)
            await house.until_certified(seq)
            await house.kill("a")
            await house.kill("b")
            follower = house.follower(position=START)
            taking = asyncio.create_task(take(follower, seq + 5))
            await house.append_many(5)
            await asyncio.sleep(60)
            assert not taking.done()
            assert follower.certified_seq <= seq
            house.start("a")
            assert [released.seq for released in await taking][-1] == seq + 5

    play(scene())
