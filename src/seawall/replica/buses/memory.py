"""The bus in memory: endpoints of one hub, for tests, notebooks and the simulator."""

import asyncio
from collections.abc import Awaitable, Callable

from seawall.replica.bus import Message, RequestFailed
from seawall.replica.buses.answering import Answering
from seawall.replica.buses.inbox import MESSAGES_MAX, Inbox
from seawall.replica.buses.subjects import check_data, hears, is_pattern, is_subject


class MemoryHub:
    """What connects the endpoints; `bus()` makes one. No clock, no thread, no randomness.

    Deliveries happen in the order in which the endpoints were made. A simulator overrides
    `carry` to lose, delay, repeat or cut messages, which is why it is told the sender.
    """

    def __init__(self) -> None:
        self.buses: list[MemoryBus] = []
        self._turn_by_group: dict[tuple[str, str], int] = {}

    def bus(self, *, messages_max: int = MESSAGES_MAX) -> "MemoryBus":
        """Return a new endpoint; `messages_max` bounds each of its subscriptions."""
        bus = MemoryBus(self, messages_max)
        self.buses.append(bus)
        return bus

    def carry(self, sender: "MemoryBus", message: Message) -> None:
        """Hand a published message to every endpoint, its sender included."""
        for bus in self.buses:
            bus.hear(message)

    def responders(self, subject: str) -> "list[Responder]":
        """One responder of each group that serves `subject`, members taking turns."""
        members_by_group: dict[str, list[Responder]] = {}
        for bus in self.buses:
            for responder in bus.responders:
                if responder.subject == subject:
                    members_by_group.setdefault(responder.group, []).append(responder)
        chosen = []
        for group, members in members_by_group.items():
            turn = self._turn_by_group.get((subject, group), 0)
            self._turn_by_group[subject, group] = turn + 1
            chosen.append(members[turn % len(members)])
        return chosen


class Responder:
    """One `serve` of one endpoint."""

    def __init__(
        self,
        subject: str,
        group: str,
        answer: Callable[[bytes], Awaitable[bytes]],
        answering: Answering,
    ) -> None:
        self.subject = subject
        self.group = group
        self._answer = answer
        self._answering = answering

    def start(self, data: bytes) -> asyncio.Task[bytes] | None:
        """Begin to answer; None when too many answers are under way."""
        return self._answering.start(self._run(data))

    async def _run(self, data: bytes) -> bytes:
        return await self._answer(data)


class MemoryBus:
    """An endpoint of a `MemoryHub`; see `replica.bus.Bus`."""

    def __init__(self, hub: MemoryHub, messages_max: int) -> None:
        self.responders: list[Responder] = []
        self._hub = hub
        self._messages_max = messages_max
        self._inboxes: list[tuple[str, Inbox]] = []
        self._answering = Answering()
        self._closed = False

    def hear(self, message: Message) -> None:
        """Take a message that the hub carried here."""
        for pattern, inbox in self._inboxes:
            if hears(pattern, message.subject):
                inbox.put(message)

    async def publish(self, subject: str, data: bytes) -> None:
        """Hand `data` to the hub; a closed endpoint is off the network and loses it."""
        assert is_subject(subject), subject
        check_data(data)
        if not self._closed:
            self._hub.carry(self, Message(subject=subject, data=bytes(data)))

    def subscribe(self, subject: str) -> Inbox:
        """Listen from now on; see `Bus.subscribe`."""
        assert is_pattern(subject), subject
        inbox = Inbox(self._messages_max)
        if self._closed:
            inbox.shut()
        else:
            self._inboxes.append((subject, inbox))
        return inbox

    async def serve(
        self, subject: str, answer: Callable[[bytes], Awaitable[bytes]], *, group: str
    ) -> None:
        """Answer from now on; see `Bus.serve`."""
        assert is_subject(subject), subject
        assert is_subject(group), group
        assert not self._closed
        self.responders.append(Responder(subject, group, answer, self._answering))

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Ask one member of each group; the first answer counts. See `Bus.request`."""
        assert is_subject(subject), subject
        check_data(data)
        if self._closed:
            raise RequestFailed("the bus is closed")
        started = [responder.start(bytes(data)) for responder in self._hub.responders(subject)]
        waiting = [task for task in started if task is not None]
        if not waiting:
            raise RequestFailed(f"nobody answers on {subject}")
        done, _ = await asyncio.wait(
            waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in waiting:
            if task in done and not task.cancelled() and task.exception() is None:
                return task.result()
        raise RequestFailed(f"no answer on {subject} within {timeout_s} s")

    async def close(self) -> None:
        """Leave the hub: subscriptions end, answers under way are dropped."""
        if self._closed:
            return
        self._closed = True
        self._hub.buses.remove(self)
        for _, inbox in self._inboxes:
            inbox.shut()
        await self._answering.close()
