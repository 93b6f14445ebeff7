"""The feed: real replicas vote, and every entry comes joined with what they certified."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from seawall.node.feed import Feed, HistoryForeign, Mismatch, Start, roster_of_terms, start_of
from seawall.node.joined import Joined
from seawall.node.wiring import ClearingMachine
from seawall.protocol.commands import ReplicaTerms, SetReplicas
from seawall.protocol.digest import digest
from seawall.protocol.signatures import SigningKey
from seawall.replica.assembly import Position
from seawall.replica.buses.memory import MemoryHub
from seawall.replica.doors import Doors, Settings
from seawall.replica.log import Entry
from seawall.replica.logs.memory import MemoryLog, MemoryStore
from seawall.replica.replica import Replica
from tests.node.stage import ALICE, CHARTER, GOVERN, VirtualClock, opening, signed
from tests.replica.virtual import play

ROSTER = roster_of_terms(CHARTER.log_id, 1, CHARTER.genesis.replicas)
START = start_of(CHARTER.log_id, ROSTER)


class Site:
    """A log, a bus, and replicas of the clearing house."""

    def __init__(self, *, settings: Settings | None = None) -> None:
        self.store = MemoryStore()
        self.store.store("genesis", CHARTER.payload)
        self.hub = MemoryHub()
        self.clock = VirtualClock()
        self.settings = settings or Settings()
        self.replicas: dict[str, Replica] = {}
        self.notices: list[object] = []
        self.numbers: dict[int, int] = {}

    def append(self, *commands: object, sender_id: int = ALICE) -> None:
        number = self.numbers[sender_id] = self.numbers.get(sender_id, 0) + 1
        payload = signed(sender_id, number, *commands)  # type: ignore[arg-type]
        self.store.store(f"{sender_id}.{number}", payload)

    def add_replica(self, name: str, key: SigningKey) -> None:
        self.replicas[name] = Replica(
            name=name,
            key=key,
            doors=Doors(log=MemoryLog(self.store), bus=self.hub.bus(), clock=self.clock),
            new_machine=ClearingMachine,
            settings=self.settings,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        for name in CHARTER.replica_names:
            self.add_replica(name, CHARTER.keys[name])
        tasks = [asyncio.create_task(replica.run()) for replica in self.replicas.values()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def feed(self, start: Start = START, *, log: MemoryLog | None = None) -> Feed:
        return Feed(
            log or MemoryLog(self.store),
            self.hub.bus(),
            self.clock,
            start=start,
            new_machine=ClearingMachine,
            notice=self.notices.append,
        )


async def take(joined: AsyncGenerator[Joined, None], last_seq: int) -> list[Joined]:
    taken: list[Joined] = []
    async with asyncio.timeout(600), aclosing(joined):
        async for one in joined:
            taken.append(one)
            if one.seq >= last_seq:
                return taken
    raise AssertionError(f"the feed ended at {len(taken)}")


def seqs(taken: list[Joined]) -> list[int]:
    return [one.seq for one in taken]


def test_every_entry_comes_once_in_order_with_its_own_outcome() -> None:
    async def scene() -> None:
        site = Site()
        async with site.open():
            for count in range(1, 20):
                site.append(opening(count))
            feed = site.feed()
            taken = await take(feed.joined(), 20)
            assert seqs(taken) == list(range(1, 21))
            for one, entry in zip(taken, site.store.entries, strict=True):
                assert one.payload == entry.payload
                assert one.outcome.seq == entry.seq
            assert feed.certified_seq >= 20
            assert feed.start.position.seq == 20
            # Whoever goes on from there hears of nothing twice.
            site.append(opening(1))
            assert seqs(await take(site.feed(feed.start).joined(), 21)) == [21]

    play(scene())


def test_without_a_majority_nothing_comes() -> None:
    async def scene() -> None:
        site = Site()
        name = CHARTER.replica_names[0]
        site.add_replica(name, CHARTER.keys[name])
        running = asyncio.create_task(site.replicas[name].run())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await take(site.feed().joined(), 1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    play(scene())


class SpoiledLog(MemoryLog):
    """A log whose first reading serves one entry in another's bytes."""

    def __init__(self, store: MemoryStore, seq: int) -> None:
        super().__init__(store)
        self.seq = seq
        self.served = 0

    async def read(self, first_seq: int) -> AsyncGenerator[Entry, None]:
        async for entry in super().read(first_seq):
            if entry.seq == self.seq and not self.served:
                self.served += 1
                yield Entry(entry.seq, signed(ALICE, 2, opening(9)))
            else:
                yield entry


def test_bytes_that_nobody_certified_are_read_again_elsewhere() -> None:
    async def scene() -> None:
        site = Site()
        async with site.open():
            for count in range(1, 5):
                site.append(opening(count))
            log = SpoiledLog(site.store, 3)
            taken = await take(site.feed(log=log).joined(), 5)
            assert log.served == 1
            assert [one.payload for one in taken] == [e.payload for e in site.store.entries]
            (found,) = [notice for notice in site.notices if isinstance(notice, Mismatch)]
            assert found.seq == 3
            assert found.certified_entry_digest == taken[2].entry_digest

    play(scene())


@pytest.mark.parametrize("known", [0, 3])
def test_what_no_replica_holds_any_more_is_computed_here(known: int) -> None:
    async def scene() -> None:
        site = Site(settings=Settings(entries_held_max=5))
        async with site.open():
            start = START
            if known:
                for count in range(1, known):
                    site.append(opening(count))
                feed = site.feed()
                await take(feed.joined(), known)
                start = feed.start
            for count in range(40):
                site.append(opening(count % 3))
            await asyncio.sleep(10)
            end_seq = len(site.store.entries)
            taken = await take(site.feed(start).joined(), end_seq)
            assert seqs(taken) == list(range(start.position.seq + 1, end_seq + 1))
            # What was computed here is what replicas certify from here on.
            site.append(opening(1))
            assert taken[-1].outcome.seq == end_seq

    play(scene())


def test_a_reader_of_another_house_is_told_so() -> None:
    async def scene() -> None:
        site = Site(settings=Settings(entries_held_max=5))
        async with site.open():
            for count in range(40):
                site.append(opening(count % 3))
            await asyncio.sleep(10)
            foreign = Start(Position(seq=3, chain=digest(b"elsewhere")), ROSTER)
            with pytest.raises(HistoryForeign):
                await take(site.feed(foreign).joined(), 41)

    play(scene())


def test_a_new_replica_set_is_followed() -> None:
    """The second set shares one member with the first; its votes count from the next entry on."""

    async def scene() -> None:
        site = Site()
        keys = {name: SigningKey(digest(name.encode())) for name in ("new-1", "new-2")}
        first, *_ = CHARTER.genesis.replicas
        terms = (first, *(ReplicaTerms(name, key.public_key) for name, key in keys.items()))
        async with site.open():
            site.append(opening(1))
            feed = site.feed()
            taking = asyncio.create_task(take(feed.joined(), 6))
            await asyncio.sleep(1)
            site.append(SetReplicas(terms), sender_id=GOVERN)
            late = []
            for name, key in keys.items():
                site.add_replica(name, key)
                late.append(asyncio.create_task(site.replicas[name].run()))
            await asyncio.sleep(3)
            for count in range(1, 4):
                site.append(opening(count))
            assert seqs(await taking) == [1, 2, 3, 4, 5, 6]
            assert feed.start.roster == roster_of_terms(CHARTER.log_id, 2, terms)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    play(scene())
