"""Nodes as a client sees them when they are cut off from their peers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

HEARTBEAT = b"NATS/1.0 100 Idle Heartbeat\r\n\r\n"


class MuteNode:
    """Takes connections and answers pings, and nothing else; counts what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.messages_count = 0
        self._sids: dict[str, str] = {}

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak just enough of the protocol to be taken for a node."""
        info = {"server_id": "mute", "version": "2.15.1", "headers": True, "max_payload": 1 << 21}
        writer.write(f"INFO {json.dumps(info)}\r\n".encode())
        while line := await reader.readline():
            verb, *words = line.decode().split()
            if verb == "PING":
                writer.write(b"PONG\r\n")
            elif verb == "SUB":
                self._sids[words[0].removesuffix(".*")] = words[-1]
            elif verb in ("PUB", "HPUB"):
                self.messages_count += 1
                await reader.readexactly(int(words[-1]) + 2)
                self.hear(words[0], words[1], writer)
        writer.close()

    def hear(self, subject: str, reply: str, writer: asyncio.StreamWriter) -> None:
        """A message came, and nobody here knows what to do with it."""

    def sid(self, subject: str) -> str:
        """The subscription that listens to `subject`."""
        return self._sids.get(subject) or self._sids[subject.rpartition(".")[0]]


class StaleNode(MuteNode):
    """Serves a consumer that lives, and sees no new entries, though the log has nine."""

    def hear(self, subject: str, reply: str, writer: asyncio.StreamWriter) -> None:
        if subject.startswith("$JS.API.CONSUMER.MSG.NEXT."):
            head = f"HMSG {reply} {self.sid(reply)} {len(HEARTBEAT)} {len(HEARTBEAT)}\r\n"
            writer.write((head.encode() + HEARTBEAT + b"\r\n") * 10)
        elif subject.startswith("$JS.API.STREAM.INFO."):
            self._say(reply, {"state": {"last_seq": 9}}, writer)
        elif subject.startswith("$JS.API.CONSUMER.CREATE."):
            self._say(reply, {"name": "c", "cluster": {"leader": "stale"}}, writer)

    def _say(self, reply: str, answer: object, writer: asyncio.StreamWriter) -> None:
        data = json.dumps(answer)
        writer.write(f"MSG {reply} {self.sid(reply)} {len(data)}\r\n{data}\r\n".encode())


@asynccontextmanager
async def run(node: MuteNode) -> AsyncIterator[MuteNode]:
    """Let clients connect to `node`."""
    server = await asyncio.start_server(node.talk, "127.0.0.1", 0)
    node.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield node
    finally:
        server.close()
        await server.wait_closed()
