"""The log as a replicated stream: durable on a majority of nodes before it is acknowledged."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from functools import partial

from seawall.replica.log import (
    Appended,
    AppendRefused,
    AppendUnknown,
    Entry,
    LogFault,
    LogUnavailable,
    ReadGap,
)
from seawall.replica.logs.bounds import check_message, check_start
from seawall.replica.logs.jetstream.link import NatsLink, NobodyThere, Unanswered
from seawall.replica.logs.jetstream.pull import Pull, PullFailed
from seawall.replica.logs.jetstream.wire import (
    CODES_UNWELL,
    ApiError,
    ApiRefused,
    StreamAnswer,
    StreamConfig,
    ask,
    store,
    subject_of,
)

STREAM = "COMMANDS"
REPLICAS = 3
# With more in flight, a node that was cut off takes minutes to rejoin: it drops the uncommitted
# end of its own log one entry at a time.
IN_FLIGHT_MAX = 8
APPEND_WAIT_S = 1.0
PATIENCE_S = 10.0
PAUSE_S = 0.1
PAUSE_S_MAX = 1.0
ILL_FOR_S = 60.0
STALE_FOR_S = 10.0

# Errors that the broker raises before it proposes the message to its peers. With any other one
# the message may be stored.
ERR_NO_LEADER = 10008
ERR_NOT_STORED = (
    ERR_NO_LEADER,
    10039,  # no stream storage for this account
    10054,  # message too large
    10060,  # another stream was expected
    10076,  # no stream storage on this node
)


class NodeSkipped(ReadGap):
    """Node `node` served `seq_found` where `seq` was due: its store is damaged; wipe it."""

    code = "log.node_skipped"

    def __init__(self, node: str, seq: int, seq_found: int) -> None:
        super().__init__(f"{self.code}: node {node} skipped from {seq - 1} to {seq_found}")
        self.node = node
        self.seq = seq
        self.seq_found = seq_found


class StreamForeign(LogFault):
    """A stream of that name exists, but not as this program makes it."""

    code = "log.stream_foreign"


async def create_stream(
    link: NatsLink,
    *,
    stream: str = STREAM,
    replicas: int = REPLICAS,
    patience_s: float = PATIENCE_S,
) -> None:
    """Create the stream, or find that it stands as it should.

    Asked again for `patience_s`: just after their start the nodes have no leader.

    Raises
    ------
    LogUnavailable
        The nodes did not make it in time.
    StreamForeign
        It stands with another configuration.
    """
    config = StreamConfig(name=stream, subjects=(subject_of(stream),), num_replicas=replicas)
    made = await _insist(link, f"STREAM.CREATE.{stream}", config, patience_s)
    if made.config != config:
        raise StreamForeign(f"{StreamForeign.code}: {stream} stands as {made.config}")


class JetStreamLog:
    """A log on a JetStream stream; see `replica.log.Log`.

    The broker remembers message ids for two minutes (`DUPLICATE_WINDOW_S`); whoever retries later
    must be recognised by the state machine. At most `IN_FLIGHT_MAX` appends are under way at once,
    later ones wait. Each append is one try.
    """

    def __init__(
        self,
        link: NatsLink,
        *,
        stream: str = STREAM,
        append_wait_s: float = APPEND_WAIT_S,
        owns_link: bool = False,
    ) -> None:
        self._link = link
        self._owns_link = owns_link
        self._stream = stream
        self._append_wait_s = append_wait_s
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._pulls: list[Pull] = []
        self._closing = asyncio.Event()
        self._ill_until_s: dict[str, float] = {}

    @classmethod
    async def open(
        cls, urls: Sequence[str], *, stream: str = STREAM, name: str = "seawall"
    ) -> "JetStreamLog":
        """Connect to one of `urls`; raises `LogUnavailable` when none answers."""
        return cls(await NatsLink.open(urls, name=name), stream=stream, owns_link=True)

    async def append(self, message_id: str, payload: bytes) -> Appended:
        """Publish and wait for the majority; see `Log.append`."""
        check_message(message_id, payload)
        async with self._slots:
            if not self._is_open():
                raise AppendRefused("the log is closed")
            return await self._publish(message_id, payload)

    async def read(self, first_seq: int) -> AsyncGenerator[Entry, None]:
        """Yield from one node at a time; see `Log.read`.

        An outage of the log is waited out.

        Raises
        ------
        NodeSkipped
            A `ReadGap` that names the node. It is avoided for a minute, so that reading again
            asks another one.
        """
        assert first_seq >= 1
        if not await self._wait_for_log(first_seq):
            return
        seq = first_seq
        pause_s = PAUSE_S
        while self._is_open():
            pull = await self._open_pull(seq)
            if pull is None:
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
                continue
            self._pulls.append(pull)
            try:
                while (entry := await pull.next(partial(self._holds, seq))) is not None:
                    # A node that lags starts its consumer before the sequence it was asked for.
                    if entry.seq < seq:
                        continue
                    if entry.seq > seq:
                        raise self._gap(pull.node, seq, entry.seq)
                    yield entry
                    seq += 1
                    pause_s = PAUSE_S
                if pull.stale:
                    self._avoid(pull.node, STALE_FOR_S)
            finally:
                self._pulls.remove(pull)
                await pull.close()

    async def last_seq(self) -> int:
        """Sequence of the newest entry as the stream's leader knows it; 0 for an empty log.

        Raises
        ------
        LogUnavailable
            No leader answered in ten seconds, or the log is closed.
        """
        if not self._is_open():
            raise LogUnavailable("the log is closed")
        answer = await _insist(self._link, f"STREAM.INFO.{self._stream}", None, PATIENCE_S)
        return answer.state.last_seq

    async def close(self) -> None:
        """End the readers; close the link only if this log opened it."""
        self._closing.set()
        for pull in self._pulls:
            pull.end()
        if self._owns_link:
            await self._link.close()

    def _is_open(self) -> bool:
        return not self._closing.is_set()

    async def _publish(self, message_id: str, payload: bytes) -> Appended:
        try:
            connection = await self._link.ready(self._append_wait_s)
        except LogUnavailable as fault:
            raise AppendRefused(str(fault)) from fault
        try:
            answer = await store(
                connection, self._stream, message_id, payload, wait_s=self._append_wait_s
            )
        except NobodyThere as error:
            raise AppendRefused(str(error)) from error
        except Unanswered as error:
            raise AppendUnknown(str(error)) from error
        except ApiRefused as refused:
            raise _as_fault(refused.error) from refused
        return Appended(seq=answer.seq, duplicate=answer.duplicate)

    async def _wait_for_log(self, first_seq: int) -> bool:
        """Whether the log came up (or was up) before it was closed; checks the start."""
        while self._is_open():
            try:
                check_start(first_seq, await self.last_seq())
            except LogUnavailable:
                await self._pause(PAUSE_S_MAX)
            else:
                return True
        return False

    async def _open_pull(self, first_seq: int) -> Pull | None:
        now_s = asyncio.get_running_loop().time()
        avoid = tuple(node for node, until_s in self._ill_until_s.items() if until_s > now_s)
        try:
            connection = await self._link.ready(PAUSE_S_MAX)
            return await Pull.open(connection, self._stream, first_seq, avoid=avoid)
        except (LogUnavailable, PullFailed):
            return None

    async def _holds(self, seq: int) -> bool:
        """Whether the leader has `seq`; no when it does not answer."""
        connection = self._link.connection
        if connection is None:
            return False
        try:
            answer = await ask(connection, f"STREAM.INFO.{self._stream}", None, StreamAnswer)
        except (ApiRefused, NobodyThere, Unanswered):
            return False
        return answer.state.last_seq >= seq

    def _gap(self, node: str, seq: int, seq_found: int) -> NodeSkipped:
        self._avoid(node, ILL_FOR_S)
        return NodeSkipped(node, seq, seq_found)

    def _avoid(self, node: str, for_s: float) -> None:
        self._ill_until_s[node] = asyncio.get_running_loop().time() + for_s

    async def _pause(self, pause_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._closing.wait()


def _as_fault(error: ApiError) -> LogFault:
    told = f"broker error {error.err_code or error.code}: {error.description}"
    return AppendRefused(told) if error.err_code in ERR_NOT_STORED else AppendUnknown(told)


async def _insist(
    link: NatsLink, verb: str, body: StreamConfig | None, patience_s: float
) -> StreamAnswer:
    """Ask the broker until it answers or `patience_s` is over; moves to other nodes meanwhile."""
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + patience_s
    while True:
        connection = await link.ready(max(0.0, give_up_s - loop.time()))
        try:
            answer = await ask(connection, verb, body, StreamAnswer)
        except ApiRefused as refused:
            if refused.error.code not in CODES_UNWELL:
                raise LogUnavailable(f"{verb}: {refused}") from refused
            told = str(refused)
        except (NobodyThere, Unanswered) as error:
            told = str(error)
        else:
            return answer
        if loop.time() >= give_up_s:
            raise LogUnavailable(f"{verb}: {told}")
        await asyncio.sleep(PAUSE_S)
