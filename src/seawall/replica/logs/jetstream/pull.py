"""One consumer on one connection: entries as one node of the log serves them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
from nats.aio.msg import Msg

from seawall.replica.log import Entry
from seawall.replica.logs.jetstream.link import Connection, NobodyThere, Unanswered
from seawall.replica.logs.jetstream.wire import (
    API,
    NS_PER_S,
    ApiRefused,
    ConsumerAnswer,
    ask,
)

# At most this many entries wait in this process: 64 MiB at the largest payload.
BATCH_ENTRIES_MAX = 64
HEARTBEAT_NS = NS_PER_S // 4
EXPIRES_NS = 30 * NS_PER_S
SILENCE_S = 1.0
HEARTBEATS_PER_CHECK = 8
# The broker forgets a consumer that nobody pulls from.
FORGET_AFTER_NS = 10 * NS_PER_S
# With two of three nodes to avoid, all tries fail once in 700 times.
PLACEMENT_TRIES_MAX = 16

ACK_PREFIX = "$JS.ACK."
ACK_WORDS_SHORT = 9


class PullFailed(Exception):
    """No consumer could be made now."""


class Pull:
    """Entries from one node; ends when that node, its consumer or the connection falls silent.

    The node may skip a sequence: whoever reads must check. The broker's own ordered consumers do
    not notice, for their consumer sequence has no gap when the stream has one.
    """

    def __init__(self, connection: Connection, stream: str, name: str, node: str) -> None:
        self.node = node
        self.stale = False
        self._connection = connection
        self._stream = stream
        self._name = name
        self._inbox = connection.new_inbox()
        self._stop: Callable[[], None] | None = None
        self._entries: deque[Entry] = deque()
        self._news = asyncio.Event()
        self._wanted_count = 0
        self._idle_heartbeats_count = 0
        self._gone = False
        self._shut = False

    @classmethod
    async def open(
        cls, connection: Connection, stream: str, first_seq: int, *, avoid: tuple[str, ...]
    ) -> "Pull":
        """Make a consumer that starts at `first_seq`, on a node not in `avoid` if there is one.

        The broker places consumers at random, so that avoiding a node means asking again.

        Raises
        ------
        PullFailed
            The broker did not make a consumer; it may later.
        """
        try:
            for tries_left in range(PLACEMENT_TRIES_MAX, 0, -1):
                made = await _create_consumer(connection, stream, first_seq)
                pull = cls(connection, stream, made.name, made.cluster.leader)
                if made.cluster.leader not in avoid or tries_left == 1:
                    await pull.start()
                    return pull
                await pull.close()
        except (ApiRefused, NobodyThere, Unanswered) as error:
            raise PullFailed(str(error)) from error
        raise AssertionError("the last try always returns")

    async def start(self) -> None:
        """Begin to receive."""
        self._stop = await self._connection.subscribe(self._inbox, self._hear)
        await self._want_more()

    async def next(self, behind: Callable[[], Awaitable[bool]]) -> Entry | None:
        """The next entry; None when this consumer is of no more use and another shall be made.

        `behind` says whether the log holds more than was read: a node that is cut off from its
        peers sends heartbeats as ever, but no entries. It is then marked `stale`.
        """
        while not self._shut:
            if self._entries:
                return self._entries.popleft()
            if self._gone:
                return None
            if self._wanted_count == 0:
                await self._want_more()
            self._news.clear()
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._news.wait()
            except TimeoutError:
                return None
            if self._idle_heartbeats_count >= HEARTBEATS_PER_CHECK:
                self._idle_heartbeats_count = 0
                if await behind() and not self._entries:
                    self.stale = True
                    return None
        return None

    def end(self) -> None:
        """Make `next` return None, now and for ever."""
        self._shut = True
        self._news.set()

    async def close(self) -> None:
        """Stop receiving; the broker is told, and forgets the consumer by itself if it is not."""
        self.end()
        if self._stop is not None:
            self._stop()
            self._stop = None
        subject = f"{API}.CONSUMER.DELETE.{self._stream}.{self._name}"
        await self._connection.publish(subject, b"", reply=self._connection.new_inbox())

    async def _want_more(self) -> None:
        self._wanted_count = BATCH_ENTRIES_MAX
        wish = {
            "batch": BATCH_ENTRIES_MAX,
            "expires": EXPIRES_NS,
            "idle_heartbeat": HEARTBEAT_NS,
        }
        subject = f"{API}.CONSUMER.MSG.NEXT.{self._stream}.{self._name}"
        await self._connection.publish(subject, msgspec.json.encode(wish), reply=self._inbox)

    async def _hear(self, msg: Msg) -> None:
        if msg.reply.startswith(ACK_PREFIX):
            self._entries.append(Entry(seq=_seq_of(msg.reply), payload=msg.data))
            self._wanted_count -= 1
            self._idle_heartbeats_count = 0
        else:
            status = "" if msg.headers is None else msg.headers.get("Status", "")
            if status == "100":
                self._idle_heartbeats_count += 1
            elif status == "408":
                # The wish has expired, as it does when the log is quiet: wish again.
                self._wanted_count = 0
            else:
                # The consumer is gone, or moves: 404, 409, 503.
                self._gone = True
        self._news.set()


async def _create_consumer(connection: Connection, stream: str, first_seq: int) -> ConsumerAnswer:
    config = {
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": first_seq,
        "ack_policy": "none",
        "replay_policy": "instant",
        "inactive_threshold": FORGET_AFTER_NS,
        "num_replicas": 1,
        "mem_storage": True,
    }
    body = {"stream_name": stream, "config": config}
    return await ask(connection, f"CONSUMER.CREATE.{stream}", body, ConsumerAnswer)


def _seq_of(reply: str) -> int:
    """The stream sequence out of `$JS.ACK…`, in its short or its long form."""
    words = reply.split(".")
    return int(words[5] if len(words) == ACK_WORDS_SHORT else words[7])
