"""The network of a simulated house: late, lossy, repeating, cut apart, and with forgers on it."""

import asyncio

import msgspec

from seawall.lab.clockwork import SimClock, VirtualLoop
from seawall.lab.weather import Weather
from seawall.protocol.digest import DIGEST_BYTES
from seawall.replica.bus import Message, RequestFailed
from seawall.replica.buses.memory import MemoryBus, MemoryHub
from seawall.replica.buses.subjects import hears, is_subject
from seawall.replica.messages import decode, encode
from seawall.replica.votes import Vote

LATENCY_S = (0.0002, 0.002)
REORDERED_S = 0.02
DELAYED_S = 1.0
CAPTURED_MAX = 32
WATCH = "watch"
"""Name of the outsider."""


class Wires(MemoryHub):
    """Connects the nodes of one run and counts every vote that anybody published.

    Attributes
    ----------
    cuts : (from, to) pairs of node names between which nothing passes now
    ballots : seq -> chain -> who put its signature to it, of all votes published by their owners
    heard : the same, of the genuine votes that reached the outsider who watches
    twofold_s : when the outsider had first heard two chains for one entry from a voter
    certified_seq : newest entry on whose chain a majority has voted, whoever has heard of it
    """

    def __init__(self, loop: VirtualLoop, weather: Weather, *, majority: int) -> None:
        super().__init__()
        self._majority = majority
        self.loop = loop
        self.weather = weather
        self.cuts: set[tuple[str, str]] = set()
        self.ballots: dict[int, dict[bytes, set[str]]] = {}
        self.heard: dict[int, dict[bytes, set[str]]] = {}
        self.twofold_s: dict[str, float] = {}
        self.certified_seq = 0
        self._captured: list[Message] = []

    def endpoint(self, name: str, clock: SimClock) -> "Endpoint":
        """Return a new place on the network for one life of a node."""
        bus = Endpoint(self, name, clock)
        self.buses.append(bus)
        return bus

    def latency_s(self) -> float:
        """Draw how long a message takes."""
        weather = self.weather
        if weather.strikes("message_delayed"):
            return weather.chance.uniform(0, DELAYED_S)
        if weather.strikes("message_reordered"):
            return weather.chance.uniform(0, REORDERED_S)
        return weather.chance.uniform(*LATENCY_S)

    def carry(self, sender: MemoryBus, message: Message) -> None:
        """Bring a message to all who listen, or fail to."""
        assert isinstance(sender, Endpoint)
        if not message.subject.startswith("vote."):
            self._spread(sender, message)
            return
        vote = decode(Vote, message.data)
        assert vote is not None
        note(self.ballots, vote)
        for seq, chain in vote.each():
            if len(self.ballots[seq][chain]) >= self._majority:
                self.certified_seq = max(self.certified_seq, seq)
        self._spread(sender, message, vote)
        self._meddle(sender, message, vote)

    def _tell_watch(self, bus: "Endpoint", message: Message, vote: Vote) -> None:
        for seq, chain in vote.each():
            known = self.heard.get(seq, {})
            if any(vote.replica in voters for said, voters in known.items() if said != chain):
                self.twofold_s.setdefault(vote.replica, self.loop.virtual_s)
        note(self.heard, vote)
        bus.hear(message)

    def _spread(self, sender: "Endpoint", message: Message, genuine: Vote | None = None) -> None:
        weather = self.weather
        for bus in self.buses:
            assert isinstance(bus, Endpoint)
            if bus is sender:
                bus.hear(message)
                continue
            if not bus.listens(message.subject) or (sender.name, bus.name) in self.cuts:
                continue
            if weather.strikes("message_lost"):
                continue
            carried = message
            if weather.strikes("message_corrupted"):
                carried = Message(message.subject, flip_bit(weather, message.data))
            if bus.name == WATCH and carried is message and genuine is not None:
                self.loop.call_later(self.latency_s(), self._tell_watch, bus, message, genuine)
                continue
            self.loop.call_later(self.latency_s(), bus.hear, carried)
            if weather.strikes("message_repeated"):
                self.loop.call_later(self.latency_s(), bus.hear, message)

    def _meddle(self, sender: "Endpoint", message: Message, vote: Vote) -> None:
        """Put forged and replayed votes on the network in the name of others."""
        weather = self.weather
        if len(self._captured) < CAPTURED_MAX:
            self._captured.append(message)
        else:
            self._captured[weather.chance.randrange(CAPTURED_MAX)] = message
        if weather.strikes("vote_replayed"):
            self._spread(sender, weather.chance.choice(self._captured))
        if weather.strikes("vote_forged"):
            chains = weather.chance.randbytes(len(vote.chains))
            assert len(chains) % DIGEST_BYTES == 0
            forged = msgspec.structs.replace(vote, chains=chains)
            self._spread(sender, Message(message.subject, encode(forged)))


def note(ballots: dict[int, dict[bytes, set[str]]], vote: Vote) -> None:
    """Note who voted which chain of which entry."""
    for seq, chain in vote.each():
        ballots.setdefault(seq, {}).setdefault(chain, set()).add(vote.replica)


class Endpoint(MemoryBus):
    """A node's place on the network; holds back what arrives while the node stands still."""

    def __init__(self, wires: Wires, name: str, clock: SimClock) -> None:
        super().__init__(wires, 1024)
        self.name = name
        self._wires = wires
        self._clock = clock
        self._held: list[Message] = []

    def listens(self, subject: str) -> bool:
        """Tell whether any subscription hears the subject."""
        return any(hears(pattern, subject) for pattern, _ in self._inboxes)

    def hear(self, message: Message) -> None:
        """Take a message, now or when the node goes on."""
        if self._closed:
            return
        if self._clock.paused is not None:
            self._held.append(message)
            return
        super().hear(message)

    def go_on(self) -> None:
        """Take what arrived during a pause."""
        held, self._held = self._held, []
        for message in held:
            self.hear(message)

    def unplug(self) -> None:
        """Leave the network at once and without a word: the process was killed."""
        self._closed = True
        self._hub.buses.remove(self)

    async def drop_answers(self) -> None:
        """End the answers that a killed process had under way."""
        await self._answering.close()

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Ask over the faulty network: question and answer may each be lost or late."""
        assert is_subject(subject), subject
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(subject, data)
        except TimeoutError:
            raise RequestFailed(f"no answer on {subject} within {timeout_s} s") from None

    async def _ask(self, subject: str, data: bytes) -> bytes:
        wires = self._wires
        await asyncio.sleep(wires.latency_s())
        target = next((bus for bus in wires.buses if self._answers(bus, subject)), None)
        if target is None or wires.weather.strikes("message_lost"):
            return await _never()
        assert isinstance(target, Endpoint)
        if (self.name, target.name) in wires.cuts or (target.name, self.name) in wires.cuts:
            return await _never()
        await target.awake()
        responder = next(r for r in target.responders if r.subject == subject)
        started = responder.start(data)
        if started is None:
            return await _never()
        await asyncio.wait((started,))
        if target.is_closed or started.cancelled() or started.exception() is not None:
            return await _never()
        await asyncio.sleep(wires.latency_s())
        answer = started.result()
        if wires.weather.strikes("message_corrupted"):
            answer = flip_bit(wires.weather, answer)
        return answer

    @property
    def is_closed(self) -> bool:
        """Whether the node has left the network."""
        return self._closed

    async def awake(self) -> None:
        """Return once the node behind this endpoint goes on."""
        await self._clock.awake()

    @staticmethod
    def _answers(bus: MemoryBus, subject: str) -> bool:
        return any(responder.subject == subject for responder in bus.responders)


async def _never() -> bytes:
    """Wait for an answer that does not come."""
    await asyncio.Event().wait()
    return b""


def flip_bit(weather: Weather, data: bytes) -> bytes:
    """Return the bytes with one bit turned over."""
    if not data:
        return data
    place = weather.chance.randrange(8 * len(data))
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)
