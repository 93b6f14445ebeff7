"""A node that is cut off from its peers: it takes connections, answers pings, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class MuteNode:
    """What a client sees of a cut-off node; counts the messages that it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.messages_count = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak just enough of the protocol to be taken for a node."""
        info = {"server_id": "mute", "version": "2.15.1", "headers": True, "max_payload": 1 << 21}
        writer.write(f"INFO {json.dumps(info)}\r\n".encode())
        while line := await reader.readline():
            words = line.split()
            if words[:1] == [b"PING"]:
                writer.write(b"PONG\r\n")
            elif words[:1] in ([b"PUB"], [b"HPUB"]):
                self.messages_count += 1
                await reader.readexactly(int(words[-1]) + 2)
        writer.close()


@asynccontextmanager
async def mute_node() -> AsyncIterator[MuteNode]:
    """Run such a node."""
    node = MuteNode()
    server = await asyncio.start_server(node.talk, "127.0.0.1", 0)
    node.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield node
    finally:
        server.close()
        await server.wait_closed()
