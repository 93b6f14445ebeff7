"""The `Log` contract: the only place where the order of commands is decided."""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

PAYLOAD_BYTES_MAX = 1 << 20


class Entry(msgspec.Struct, frozen=True):
    """One message of the log; `seq` starts at 1 and never skips."""

    seq: int
    payload: bytes


class Appended(msgspec.Struct, frozen=True):
    """The log holds the message durably at `seq`; `duplicate` tells that it already did."""

    seq: int
    duplicate: bool


class LogFault(Exception):
    """The log could not do what was asked; a subclass says what is known."""


class AppendRefused(LogFault):
    """The message is certainly not in the log: retry when the log is well again."""


class AppendUnknown(LogFault):
    """The message may be in the log: retry with the same `message_id`, never with another."""


class ReadGap(LogFault):
    """The serving node skipped a sequence number: it is ill, read from another one."""


class LogUnavailable(LogFault):
    """No node of the log answers; the order of commands waits."""


class Log(Protocol):
    """An append-only sequence of messages, durable before it is acknowledged.

    Implementations: `logs.memory`, `logs.sqlite`, `logs.jetstream`; one contract suite for all.
    """

    async def append(self, message_id: str, payload: bytes) -> Appended:
        """Store `payload` (1 byte to `PAYLOAD_BYTES_MAX`) once per `message_id`, durably.

        Raises
        ------
        AppendRefused
            Certainly not stored.
        AppendUnknown
            Stored or not; the caller repeats with the same `message_id`.
        """
        ...

    def read(self, first_seq: int) -> AsyncIterator[Entry]:
        """Yield entries from `first_seq` on, contiguous, and wait for new ones for ever.

        Raises
        ------
        ReadGap
            The node skipped a sequence; nothing after the gap is yielded.
        """
        ...

    async def last_seq(self) -> int:
        """Sequence of the newest entry, 0 for an empty log."""
        ...

    async def close(self) -> None:
        """Release the connection or file; reading ends; nothing stored is touched."""
        ...
