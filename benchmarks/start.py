"""Start-up: a replica process from its start to its vote, on an empty log, kernels warm."""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from benchmarks.figure import Figure
from seawall.node.charter import Terms, open_charter
from seawall.node.house import House
from seawall.node.wiring import append_genesis
from seawall.protocol.commands import AssetTerms, Role

RESTARTS = 3
READY_WAIT_S = 120.0


def run() -> list[Figure]:
    """Start a replica again and again, without its snapshots, and return the median time."""
    with tempfile.TemporaryDirectory(prefix="seawall-start-") as folder:
        seconds = asyncio.run(_measure(Path(folder)))
    return [Figure("start", "replica from start to voting", median(seconds), "s")]


async def _measure(folder: Path) -> list[float]:
    terms = Terms(name="bench", senders={"clock": int(Role.CLOCK)}, assets=(AssetTerms("USD", 6),))
    charter = open_charter(folder, terms)
    house = House(folder)
    await house.cluster.start()
    try:
        async with AsyncExitStack() as stack:
            network = await house.connect(stack, "bench")
            await append_genesis(charter, network.log)
        for name in charter.replica_names:
            house.launch(name)
        for name in charter.replica_names:
            await house.crew.wait_ready(name, READY_WAIT_S)
        seconds = []
        for _ in range(RESTARTS):
            name = charter.replica_names[0]
            await house.kill(name)
            started = time.perf_counter()
            await house.restart(name)
            seconds.append(time.perf_counter() - started)
        return seconds
    finally:
        await house.stop()
