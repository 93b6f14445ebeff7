"""Nodes as a client sees them when they are cut off from their peers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

HEARTBEAT = "100 Idle Heartbeat"
Node = TypeVar("Node", bound="MuteNode")
EXPIRED = "408 Request Timeout"
DELETED = "409 Consumer Deleted"


class MuteNode:
    """Takes connections and answers pings, and nothing else; counts what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.messages_count = 0
        self.writers: list[asyncio.StreamWriter] = []
        self._sids: dict[str, str] = {}

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak just enough of the protocol to be taken for a node."""
        self.writers.append(writer)
        info = {"server_id": "mute", "version": "2.15.1", "headers": True, "max_payload": 1 << 21}
        writer.write(f"INFO {json.dumps(info)}\r\n".encode())
        while line := await reader.readline():
            verb, *words = line.decode().split()
            if verb == "PING":
                self.pong(writer)
            elif verb == "SUB":
                self._sids[words[0].removesuffix(".*")] = words[-1]
            elif verb in ("PUB", "HPUB"):
                self.messages_count += 1
                await reader.readexactly(int(words[-1]) + 2)
                self.hear(words[0], words[1], writer)
        writer.close()

    def pong(self, writer: asyncio.StreamWriter) -> None:
        """A ping came."""
        writer.write(b"PONG\r\n")

    def hear(self, subject: str, reply: str, writer: asyncio.StreamWriter) -> None:
        """A message came, and nobody here knows what to do with it."""

    def sid(self, subject: str) -> str:
        """The subscription that listens to `subject`."""
        return self._sids.get(subject) or self._sids[subject.rpartition(".")[0]]


class DeafNode(MuteNode):
    """Takes connections, and does not even answer pings after that."""

    def __init__(self) -> None:
        super().__init__()
        self._pings_count = 0

    def pong(self, writer: asyncio.StreamWriter) -> None:
        self._pings_count += 1
        if self._pings_count == 1:
            super().pong(writer)


class ScriptedNode(MuteNode):
    """Serves consumers of a log with nine entries, each pull by the next item of a script.

    An item is a list of sequences to send and of status lines; after the script come heartbeats.
    """

    def __init__(self, *script: list[int | str]) -> None:
        super().__init__()
        self.consumers_count = 0
        self.pulls_count = 0
        self._script = list(script)

    def hear(self, subject: str, reply: str, writer: asyncio.StreamWriter) -> None:
        if subject.startswith("$JS.API.CONSUMER.MSG.NEXT."):
            self.pulls_count += 1
            for item in self._script.pop(0) if self._script else [HEARTBEAT] * 10:
                if isinstance(item, int):
                    ack = f"$JS.ACK.LOG.c.1.{item}.1.0.0"
                    self._say(reply, str(item), writer, ack=ack)
                else:
                    self._tell(reply, item, writer)
        elif subject.startswith("$JS.API.STREAM.INFO."):
            self._say(reply, json.dumps({"state": {"last_seq": 9}}), writer)
        elif subject.startswith("$JS.API.CONSUMER.CREATE."):
            self.consumers_count += 1
            made = {"name": "c", "cluster": {"leader": "scripted"}}
            self._say(reply, json.dumps(made), writer)

    def _say(self, subject: str, data: str, writer: asyncio.StreamWriter, *, ack: str = "") -> None:
        head = f"MSG {subject} {self.sid(subject)} {ack} {len(data)}\r\n"
        writer.write(f"{head}{data}\r\n".encode())

    def _tell(self, subject: str, status: str, writer: asyncio.StreamWriter) -> None:
        header = f"NATS/1.0 {status}\r\n\r\n"
        size = len(header)
        writer.write(f"HMSG {subject} {self.sid(subject)} {size} {size}\r\n{header}\r\n".encode())


@asynccontextmanager
async def run(node: Node) -> AsyncIterator[Node]:
    """Let clients connect to `node`."""
    server = await asyncio.start_server(node.talk, "127.0.0.1", 0)
    node.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield node
    finally:
        server.close()
        for writer in node.writers:
            writer.transport.abort()
        await server.wait_closed()
