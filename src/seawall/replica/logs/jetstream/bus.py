"""The bus over plain NATS subjects: nothing is stored, nothing is promised."""

from collections.abc import Awaitable, Callable, Sequence

from nats.aio.msg import Msg

from seawall.replica.bus import Message, RequestFailed
from seawall.replica.buses.answering import Answering
from seawall.replica.buses.inbox import MESSAGES_MAX, Inbox
from seawall.replica.buses.subjects import check_data, is_pattern, is_subject
from seawall.replica.log import LogUnavailable
from seawall.replica.logs.jetstream.link import Listener, NatsLink, NobodyThere, Unanswered


class NatsBus:
    """A bus on a `NatsLink`; closes the link only if it opened it. See `replica.bus.Bus`."""

    def __init__(
        self, link: NatsLink, *, owns_link: bool = False, messages_max: int = MESSAGES_MAX
    ) -> None:
        self._link = link
        self._owns_link = owns_link
        self._messages_max = messages_max
        self._inboxes: list[Inbox] = []
        self._listeners: list[Listener] = []
        self._answering = Answering()
        self._closed = False

    @classmethod
    async def open(cls, urls: Sequence[str], *, name: str = "seawall") -> "NatsBus":
        """Connect to one of `urls`; raises `LogUnavailable` when none answers."""
        return cls(await NatsLink.open(urls, name=name), owns_link=True)

    async def publish(self, subject: str, data: bytes) -> None:
        """Send `data`; it is lost while no node is connected."""
        assert is_subject(subject), subject
        check_data(data)
        await self._link.settled()
        connection = self._link.connection
        if connection is not None and not self._closed:
            await connection.publish(subject, data)

    def subscribe(self, subject: str) -> Inbox:
        """Listen from now on, on this and every later connection; see `Bus.subscribe`."""
        assert is_pattern(subject), subject
        inbox = Inbox(self._messages_max)
        if self._closed:
            inbox.shut()
            return inbox

        async def hear(msg: Msg) -> None:
            inbox.put(Message(subject=msg.subject, data=msg.data))

        self._inboxes.append(inbox)
        self._listeners.append(self._link.listen(subject, hear))
        return inbox

    async def serve(
        self, subject: str, answer: Callable[[bytes], Awaitable[bytes]], *, group: str
    ) -> None:
        """Answer from now on; see `Bus.serve`."""
        assert is_subject(subject), subject
        assert is_subject(group), group
        assert not self._closed

        async def reply(msg: Msg) -> None:
            data = await answer(msg.data)
            check_data(data)
            connection = self._link.connection
            if connection is not None:
                await connection.publish(msg.reply, data)

        async def hear(msg: Msg) -> None:
            if not self._closed and msg.reply:
                self._answering.start(reply(msg))

        self._listeners.append(self._link.listen(subject, hear, group=group))
        await self._link.settled()

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Ask; the first answer counts. See `Bus.request`."""
        assert is_subject(subject), subject
        check_data(data)
        await self._link.settled()
        if self._closed:
            raise RequestFailed("the bus is closed")
        try:
            connection = await self._link.ready(timeout_s)
            msg = await connection.request(subject, data, timeout_s=timeout_s)
        except (LogUnavailable, NobodyThere, Unanswered) as error:
            raise RequestFailed(str(error)) from error
        return msg.data

    async def close(self) -> None:
        """Leave the network: subscriptions end, answers under way are dropped."""
        if self._closed:
            return
        self._closed = True
        for inbox in self._inboxes:
            inbox.shut()
        await self._link.settled()
        for listener in self._listeners:
            self._link.forget(listener)
        await self._answering.close()
        if self._owns_link:
            await self._link.close()
