"""Durable intake: batches through a three-node log with three replicas voting.

Everything runs for real and on this machine: three log nodes that sync every append, three replica
processes, and the gateway here. A fill in a columnar command counts as one command.
"""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np

from benchmarks.apply import PRICE, make_terms
from benchmarks.figure import Figure
from seawall.node.charter import Terms, open_charter
from seawall.node.front import Front
from seawall.node.house import House
from seawall.node.receipts import Receipt
from seawall.node.wiring import append_genesis, make_front
from seawall.protocol.codec import unpack_int64
from seawall.protocol.commands import (
    AnyCommand,
    AssetTerms,
    ListInstrument,
    Mode,
    OpenAccounts,
    RecordTrades,
    Role,
)
from seawall.protocol.events import AccountsOpened
from seawall.protocol.genesis import Limits, Parameters

ACCOUNTS = 10_000
REPORTERS = 8
BATCHES, BATCH_FILLS = 50, 1_600
"""Per reporter; a batch is about 60 KB, the knee of the log's throughput."""
THOUSAND = 1_000
ALL_ROLES = int(sum(Role))


def run() -> list[Figure]:
    """Push fills through the whole house and return the rates of acknowledgement and release."""
    with tempfile.TemporaryDirectory(prefix="seawall-intake-") as folder:
        acknowledged_s, released_s = asyncio.run(_measure(Path(folder)))
    fills = REPORTERS * BATCHES * BATCH_FILLS
    return [
        Figure(
            "intake",
            "durable commands, acknowledged",
            fills / acknowledged_s / THOUSAND,
            "k/s",
            100,
        ),
        Figure(
            "intake", "durable commands, released by votes", fills / released_s / THOUSAND, "k/s"
        ),
        Figure("intake", "entries acknowledged", REPORTERS * BATCHES / acknowledged_s, "/s"),
    ]


async def _measure(folder: Path) -> tuple[float, float]:
    terms = Terms(
        name="bench",
        senders={f"reporter-{place}": ALL_ROLES for place in range(REPORTERS)},
        assets=(AssetTerms("USD", 6),),
        limits=Limits(accounts_max=ACCOUNTS + 8, clocks_max=REPORTERS, sources_max=REPORTERS),
        parameters=Parameters(sources_min=1, audit_lines_max=64),
    )
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
                await house.crew.wait_ready(name, 120.0)
            front = await make_front(charter, network, folder / "front")
            running = asyncio.create_task(front.run())
            try:
                return await _push(front)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    finally:
        await house.stop()


async def _push(front: Front) -> tuple[float, float]:
    await _released(front, 1, ListInstrument(make_terms(1)))
    events = await _released(front, 1, OpenAccounts(ACCOUNTS, Mode.CROSS))
    accounts = np.array(
        next(unpack_int64(event.accounts) for event in events if isinstance(event, AccountsOpened))
    )
    draw = np.random.default_rng(3)
    batches = [
        [_draw_batch(draw, accounts, stream, number) for number in range(1, BATCHES + 1)]
        for stream in range(1, REPORTERS + 1)
    ]
    started = time.perf_counter()
    last = await asyncio.gather(
        *(_report(front, sender, own) for sender, own in enumerate(batches, 1))
    )
    acknowledged = time.perf_counter()
    for receipt in last:
        await front.gateway.wait_released(receipt)
    return acknowledged - started, time.perf_counter() - started


async def _report(front: Front, sender: int, batches: list[RecordTrades]) -> Receipt:
    """Submit one reporter's batches, each as its own entry, and return the last receipt."""
    receipts = await asyncio.gather(*(_submit(front, sender, batch) for batch in batches))
    return receipts[-1]


async def _submit(front: Front, sender: int, command: AnyCommand) -> Receipt:
    said = await front.gateway.submit(sender, (command,), alone=True)
    assert isinstance(said, Receipt), said
    return said


async def _released(front: Front, sender: int, command: AnyCommand) -> tuple[object, ...]:
    answer = await front.gateway.wait_released(await _submit(front, sender, command))
    assert answer is not None
    assert answer.rejected is None, answer.rejected
    return answer.events


def _draw_batch(
    draw: np.random.Generator, accounts: np.ndarray, stream: int, number: int
) -> RecordTrades:
    sides = draw.integers(0, len(accounts) - 1, (2, BATCH_FILLS))
    sides[1, sides[0] == sides[1]] += 1
    return RecordTrades(
        stream,
        number,
        accounts[sides[0]].astype(np.int64).tobytes(),
        accounts[sides[1]].astype(np.int64).tobytes(),
        np.ones(BATCH_FILLS, np.int32).tobytes(),
        draw.integers(1, 100, BATCH_FILLS).tobytes(),
        draw.integers(PRICE - 1000, PRICE + 1000, BATCH_FILLS).tobytes(),
        bytes(BATCH_FILLS),
    )
