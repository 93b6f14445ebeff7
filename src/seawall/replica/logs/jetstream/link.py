"""The way to the broker: one connection at a time, moved to another node when it goes quiet.

The client library can reconnect by itself, but stays on a node that is cut off from its peers
(its socket is fine), waits for ever on a node that is stopped with data unsent, and may choose
the same node again. So each connection here is for one node and never reconnects; the link dials
the next node instead.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from seawall.replica.log import LogUnavailable

DIAL_WAIT_S = 2.0
DIAL_PAUSE_S = 0.1
SHORT_LIFE_S = 1.0
PING_EVERY_S = 1.0
PING_WAIT_S = 3.0
STRIKES_MAX = 3
# A little less than a request waits, so that each of three requests in a row counts.
STRIKE_EVERY_S = 0.9
PENDING_BYTES_MAX = 64 << 20
NO_RESPONDERS = "503"

Hear = Callable[[Msg], Awaitable[None]]


class Unanswered(Exception):
    """No reply in time, or the connection was lost: the request may have been carried out."""


class NobodyThere(Exception):
    """The node knows of nobody who would answer: the request was certainly not carried out."""


class Connection:
    """A connection to one node, until it is lost."""

    def __init__(self, url: str, client: Client, lost: asyncio.Event) -> None:
        self.url = url
        self.lost = lost
        self._client = client
        self._inbox = ""
        self._asked_count = 0
        self._asked: dict[str, asyncio.Future[Msg]] = {}
        self._strikes_count = 0
        self._struck_s = float("-inf")

    async def prepare(self) -> None:
        """Subscribe to the answers of all later requests."""
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._answered)

    async def publish(self, subject: str, data: bytes, *, reply: str = "") -> None:
        """Send and forget; what cannot be sent is lost."""
        with contextlib.suppress(nats.errors.Error, OSError):
            await self._client.publish(subject, data, reply=reply)

    async def subscribe(self, subject: str, hear: Hear, *, group: str = "") -> Callable[[], None]:
        """Let `hear` have each message; call what is returned to stop that."""
        subscription = await self._client.subscribe(subject, queue=group, cb=hear)

        def stop() -> None:
            # The library forgets the subscription at once; the node learns of it when it can.
            task = asyncio.get_running_loop().create_task(subscription.unsubscribe())
            task.add_done_callback(_ignore)

        return stop

    def new_inbox(self) -> str:
        """A subject that nobody else listens to."""
        return self._client.new_inbox()

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: dict[str, str] | None = None
    ) -> Msg:
        """Ask and wait for the first answer.

        Raises
        ------
        NobodyThere
            Certainly not carried out.
        Unanswered
            Not known; ends at once when the connection is lost.
        """
        self._asked_count += 1
        token = str(self._asked_count)
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._asked[token] = answer
        try:
            reply = f"{self._inbox}.{token}"
            await self._client.publish(subject, data, reply=reply, headers=headers)
            # Not `asyncio.timeout`: the library swallows a cancellation while it flushes.
            await asyncio.wait((answer,), timeout=timeout_s)
        except (nats.errors.Error, OSError) as error:
            raise Unanswered(f"{self.url}: {error!r}") from error
        finally:
            del self._asked[token]
        if not answer.done() or answer.cancelled():
            raise Unanswered(f"{self.url}: no answer on {subject} in {timeout_s} s")
        msg = answer.result()
        if msg.headers is not None and msg.headers.get("Status") == NO_RESPONDERS:
            raise NobodyThere(f"{self.url}: nobody answers on {subject}")
        return msg

    def strike(self) -> None:
        """Note a request that failed; the connection ends after `STRIKES_MAX` in a row.

        Those within `STRIKE_EVERY_S` count once: requests that were under way together fail
        together, and while the log elects a leader every node fails at once, over and over.
        """
        now_s = asyncio.get_running_loop().time()
        if now_s < self._struck_s + STRIKE_EVERY_S:
            return
        self._struck_s = now_s
        self._strikes_count += 1
        if self._strikes_count >= STRIKES_MAX:
            self.lost.set()

    def clear_strikes(self) -> None:
        """Note a request that was answered as it should be."""
        self._strikes_count = 0

    async def live(self) -> None:
        """Return when the connection is lost: closed, silent, or struck too often."""
        loop = asyncio.get_running_loop()
        tasks = (loop.create_task(self._ping()), loop.create_task(self.lost.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.lost.set()
            for task in tasks:
                task.cancel()

    async def discard(self) -> None:
        """Close for good, without waiting for a node that does not listen any more."""
        self.lost.set()
        for answer in self._asked.values():
            answer.cancel()
        await _drop(self._client)

    async def _ping(self) -> None:
        """Return when the node does not answer pings."""
        with contextlib.suppress(nats.errors.Error, OSError):
            while True:
                await asyncio.sleep(PING_EVERY_S)
                await self._client.flush(PING_WAIT_S)  # type: ignore[arg-type]  # seconds

    async def _answered(self, msg: Msg) -> None:
        answer = self._asked.get(msg.subject.rpartition(".")[2])
        if answer is not None and not answer.done():
            answer.set_result(msg)


class Listener:
    """A subscription of the link: it moves along to each new connection."""

    def __init__(self, subject: str, group: str, hear: Hear) -> None:
        self.subject = subject
        self.group = group
        self.hear = hear
        self.stop: Callable[[], None] | None = None


class NatsLink:
    """Keeps one connection to one of `urls`, in the order given, and moves on when it is lost.

    Logs and buses of one process share a link, so that trouble seen by one moves all.
    """

    def __init__(self, urls: Sequence[str], *, name: str) -> None:
        assert len(urls) >= 1
        self.connected_count = 0
        self._current: Connection | None = None
        self._urls = tuple(urls)
        self._name = name
        self._up = asyncio.Event()
        self._listeners: list[Listener] = []
        self._settling: list[asyncio.Task[None]] = []
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(
        cls, urls: Sequence[str], *, name: str = "seawall", patience_s: float = 10.0
    ) -> "NatsLink":
        """Connect to the first of `urls` that answers; the others take over when it is lost.

        Raises
        ------
        LogUnavailable
            None answered within `patience_s`.
        """
        link = cls(urls, name=name)
        link._keeper = asyncio.get_running_loop().create_task(link._keep())
        try:
            await link.ready(patience_s)
        except (LogUnavailable, asyncio.CancelledError):
            await link.close()
            raise
        return link

    @property
    def connection(self) -> Connection | None:
        """The present connection; None while there is none."""
        current = self._current
        return None if current is None or current.lost.is_set() else current

    async def ready(self, timeout_s: float) -> Connection:
        """The present connection, as soon as there is one; `LogUnavailable` if none comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._closed:
                    if (connection := self.connection) is not None:
                        return connection
                    await self._up.wait()
                    # It may be set for a connection that was lost in this very turn.
                    await asyncio.sleep(0)
        raise LogUnavailable(f"none of {len(self._urls)} nodes is connected")

    def listen(self, subject: str, hear: Hear, *, group: str = "") -> "Listener":
        """Subscribe on this and every later connection; in force before the next `settled`."""
        listener = Listener(subject, group, hear)
        self._listeners.append(listener)
        if self._current is not None:
            task = asyncio.get_running_loop().create_task(self._subscribe(self._current, listener))
            self._settling.append(task)
        return listener

    def forget(self, listener: "Listener") -> None:
        """End a subscription."""
        self._listeners.remove(listener)
        if listener.stop is not None:
            listener.stop()

    async def settled(self) -> None:
        """Wait until all subscriptions made so far are sent to the node."""
        while self._settling:
            await self._settling.pop(0)

    async def close(self) -> None:
        """Leave the network; whoever waits for an answer gets none."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        # Whoever waits to be connected shall look again and find the link closed.
        self._up.set()
        await self.settled()

    async def _keep(self) -> None:
        """Dial, live with the connection until it is lost, dial the next node; for ever."""
        loop = asyncio.get_running_loop()
        tried_count = 0
        while True:
            url = self._urls[tried_count % len(self._urls)]
            tried_count += 1
            connection = await self._dial(url)
            if connection is None:
                await asyncio.sleep(DIAL_PAUSE_S)
                continue
            try:
                for listener in list(self._listeners):
                    await self._subscribe(connection, listener)
                self._current = connection
                self.connected_count += 1
                self._up.set()
                up_since_s = loop.time()
                await connection.live()
            finally:
                self._current = None
                self._up.clear()
                await connection.discard()
            if loop.time() < up_since_s + SHORT_LIFE_S:
                # While the log elects a leader every node fails: do not run around in circles.
                await asyncio.sleep(DIAL_PAUSE_S)

    async def _dial(self, url: str) -> Connection | None:
        client = Client()
        lost = asyncio.Event()

        async def closed() -> None:
            lost.set()

        async def failed(error: Exception) -> None:
            if isinstance(error, OSError | nats.errors.StaleConnectionError):
                lost.set()

        connection = Connection(url, client, lost)
        connected = False
        try:
            async with asyncio.timeout(DIAL_WAIT_S):
                await client.connect(
                    [url],
                    name=self._name,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=2,
                    pending_size=PENDING_BYTES_MAX,
                    flush_timeout=1.0,
                    error_cb=failed,
                    closed_cb=closed,
                )
                await connection.prepare()
            connected = not client.is_closed
        except (nats.errors.Error, OSError):
            return None
        finally:
            # Also when the link is closed in the middle of this.
            if not connected:
                await connection.discard()
        # Failures on the way here were the library's own first tries; what counts comes later.
        lost.clear()
        return connection if connected else None

    async def _subscribe(self, connection: Connection, listener: Listener) -> None:
        # A connection that is lost meanwhile subscribes again when the next one stands.
        with contextlib.suppress(nats.errors.Error, OSError):
            listener.stop = await connection.subscribe(
                listener.subject, listener.hear, group=listener.group
            )


async def _drop(client: Client) -> None:
    transport = client._transport  # noqa: SLF001 - the library offers no way to abort
    writer = transport._io_writer if isinstance(transport, TcpTransport) else None  # noqa: SLF001
    if writer is not None:
        writer.transport.abort()
    with contextlib.suppress(nats.errors.Error, OSError):
        await client.close()


def _ignore(task: asyncio.Task[None]) -> None:
    # Unsubscribing on a closed connection fails, and that is as good as done.
    if not task.cancelled():
        task.exception()
