"""The log and the bus on NATS: order decided by a replicated stream, votes over plain subjects."""

from seawall.replica.logs.jetstream.bus import NatsBus
from seawall.replica.logs.jetstream.link import NatsLink
from seawall.replica.logs.jetstream.stream import (
    STREAM,
    JetStreamLog,
    NodeSkipped,
    StreamForeign,
    create_stream,
)

__all__ = [
    "STREAM",
    "JetStreamLog",
    "NatsBus",
    "NatsLink",
    "NodeSkipped",
    "StreamForeign",
    "create_stream",
]
