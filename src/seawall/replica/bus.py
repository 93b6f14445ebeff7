"""The `Bus` contract: votes and outcomes between processes, lossy and unordered by design."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One message as received; `subject` is the subject it was published on."""

    subject: str
    data: bytes


class RequestFailed(Exception):
    """No responder answered in time; the question may be asked again."""


class Bus(Protocol):
    """At most once, no order promised: whatever matters is signed, chained or asked again.

    Subjects are dot-separated words; a subscription may end in `.>` (all below).
    """

    async def publish(self, subject: str, data: bytes) -> None:
        """Hand `data` to all who listen now; loses it silently when the network does."""
        ...

    def subscribe(self, subject: str) -> AsyncIterator[Message]:
        """Yield messages from the moment of the call; a slow listener loses the oldest."""
        ...

    async def serve(
        self, subject: str, answer: Callable[[bytes], Awaitable[bytes]], *, group: str
    ) -> None:
        """Answer requests on `subject`; one member of `group` gets each request."""
        ...

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Ask one responder. Raises `RequestFailed` when none answers within `timeout_s`."""
        ...

    async def close(self) -> None:
        """Leave the network; subscriptions end."""
        ...
