"""The bounded inbox behind a subscription: it forgets the oldest, never the newest."""

import asyncio
from collections import deque

from seawall.replica.bus import Message

MESSAGES_MAX = 1024


class Inbox:
    """Messages of one subscription; an async iterator that ends when the inbox is shut.

    Old votes are worth less than new ones, hence a full inbox drops from the front;
    `dropped_count` says how many.
    """

    def __init__(self, messages_max: int = MESSAGES_MAX) -> None:
        assert messages_max >= 1
        self.dropped_count = 0
        self._messages: deque[Message] = deque()
        self._messages_max = messages_max
        self._news = asyncio.Event()
        self._shut = False

    def put(self, message: Message) -> None:
        """Take in a message, and let the oldest go when there is no room."""
        if self._shut:
            return
        if len(self._messages) == self._messages_max:
            self._messages.popleft()
            self.dropped_count += 1
        self._messages.append(message)
        self._news.set()

    def shut(self) -> None:
        """End the iteration; what was not yet taken is lost, as the contract allows."""
        self._shut = True
        self._messages.clear()
        self._news.set()

    def __aiter__(self) -> "Inbox":
        return self

    async def __anext__(self) -> Message:
        while not self._messages:
            if self._shut:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._messages.popleft()
