"""The part of the broker's JSON interface that the log needs, as types."""

from typing import Any, TypeVar

import msgspec

from seawall.replica.log import PAYLOAD_BYTES_MAX
from seawall.replica.logs.jetstream.link import Connection, NobodyThere, Unanswered

API = "$JS.API"
ASK_WAIT_S = 1.0
DUPLICATE_WINDOW_S = 120
# Room for the message id and the expected stream beside the largest payload.
HEADER_BYTES_MAX = 1024
NS_PER_S = 1_000_000_000
# The node cannot serve at present; another one may.
CODES_UNWELL = (500, 503)

Reply = TypeVar("Reply", bound="Answer")


class ApiError(msgspec.Struct, frozen=True):
    """What the broker says when it does not do what was asked."""

    code: int
    err_code: int = 0
    description: str = ""


class ApiRefused(Exception):
    """The broker answered with an error."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(f"{error.err_code or error.code} {error.description}")
        self.error = error


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What all answers have in common."""

    error: ApiError | None = None


class PublishAnswer(Answer, frozen=True, kw_only=True):
    """The stream has stored a message, or had it already."""

    seq: int = 0
    duplicate: bool = False


class ClusterFacts(msgspec.Struct, frozen=True):
    """Who leads a stream or serves a consumer."""

    leader: str = ""


class StreamState(msgspec.Struct, frozen=True):
    """What a stream holds."""

    messages: int = 0
    first_seq: int = 0
    last_seq: int = 0


class StreamConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that keeps everything, in files, on `num_replicas` nodes.

    It discards new messages and not old ones when a limit of the node is reached: an old one is
    part of the order. Deleting single messages is forbidden for ever, as it would be a hole.
    """

    name: str
    subjects: tuple[str, ...]
    num_replicas: int
    storage: str = "file"
    retention: str = "limits"
    discard: str = "new"
    max_msgs: int = -1
    max_bytes: int = -1
    max_age: int = 0
    max_consumers: int = -1
    max_msgs_per_subject: int = -1
    max_msg_size: int = PAYLOAD_BYTES_MAX + HEADER_BYTES_MAX
    duplicate_window: int = DUPLICATE_WINDOW_S * NS_PER_S
    deny_delete: bool = True
    allow_direct: bool = False
    allow_rollup_hdrs: bool = False


class StreamAnswer(Answer, frozen=True, kw_only=True):
    """A stream as its leader knows it."""

    config: StreamConfig | None = None
    state: StreamState = StreamState()
    cluster: ClusterFacts = ClusterFacts()


class ConsumerAnswer(Answer, frozen=True, kw_only=True):
    """A consumer and the node that serves it."""

    name: str = ""
    cluster: ClusterFacts = ClusterFacts()


async def ask(connection: Connection, verb: str, body: Any, answer_type: type[Reply]) -> Reply:
    """Ask the broker's interface and return its answer.

    Raises
    ------
    ApiRefused, NobodyThere, Unanswered
        As the broker or the connection has it.
    """
    data = b"" if body is None else msgspec.json.encode(body)
    return await _exchange(connection, f"{API}.{verb}", data, {}, ASK_WAIT_S, answer_type)


async def store(
    connection: Connection, stream: str, message_id: str, payload: bytes, *, wait_s: float
) -> PublishAnswer:
    """Publish a message and return where the stream has put it; raises as `ask` does."""
    headers = {"Nats-Msg-Id": message_id, "Nats-Expected-Stream": stream}
    return await _exchange(connection, subject_of(stream), payload, headers, wait_s, PublishAnswer)


def subject_of(stream: str) -> str:
    """The one subject on which the messages of a stream are published."""
    return f"log.{stream}"


async def _exchange(
    connection: Connection,
    subject: str,
    data: bytes,
    headers: dict[str, str],
    wait_s: float,
    answer_type: type[Reply],
) -> Reply:
    """One request, with its consequences for the connection: who serves badly is left."""
    try:
        msg = await connection.request(subject, data, timeout_s=wait_s, headers=headers)
    except (NobodyThere, Unanswered):
        connection.strike()
        raise
    answer = msgspec.json.decode(msg.data, type=answer_type)
    if answer.error is None:
        connection.clear_strikes()
        return answer
    if answer.error.code in CODES_UNWELL:
        connection.strike()
    raise ApiRefused(answer.error)
