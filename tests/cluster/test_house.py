"""The whole house as processes: it votes, loses members, gets them back, and loses no command."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from seawall.node.charter import Terms, found
from seawall.node.clock import SystemClock
from seawall.node.crew import CrewFault
from seawall.node.front import Front
from seawall.node.house import AUDITOR, House
from seawall.node.receipts import Answer, Receipt, Refused
from seawall.node.wiring import Network, make_front
from seawall.protocol.codec import SignedBatch, decode_payload
from seawall.protocol.commands import AssetTerms, Mode, OpenAccounts, Role
from seawall.protocol.genesis import Limits
from seawall.replica.quarantine import Phase

TERMS = Terms(
    "house",
    {"alice": Role.CLIENT, "clock": Role.CLOCK},
    (AssetTerms("USD", 6),),
    limits=Limits(accounts_max=4096),
)
ALICE = 1
PATIENCE_S = 60.0


@asynccontextmanager
async def front_of(house: House, folder: Path) -> AsyncIterator[tuple[Front, Network]]:
    """A gateway with its readers, in this process."""
    async with AsyncExitStack() as stack:
        network = await house.connect(stack, "front")
        front = await make_front(house.charter, network, folder)
        running = asyncio.create_task(front.run())
        try:
            yield front, network
        finally:
            await front.save()
            running.cancel()
            (end,) = await asyncio.gather(running, return_exceptions=True)
            if not isinstance(end, asyncio.CancelledError) and end is not None:
                raise end


async def ask(front: Front, count: int, name: str) -> Answer:
    """Ask until it is acknowledged, then for the outcome."""
    async with asyncio.timeout(PATIENCE_S):
        said: Receipt | Refused | None = None
        while not isinstance(said, Receipt):
            said = await front.gateway.submit(
                ALICE, (OpenAccounts(count, Mode.CROSS),), request_id=name
            )
        answer = await front.gateway.wait_released(said)
    assert answer is not None
    assert answer.rejected is None
    return answer


async def counts_in_log(network: Network, last_seq: int) -> list[int]:
    """Read the log back, apart from everything that the gateway knows."""
    counts: list[int] = []
    async for entry in network.log.read(1):
        content = decode_payload(entry.payload)
        if isinstance(content, SignedBatch):
            counts += [c.count for c in content.batch.commands if isinstance(c, OpenAccounts)]
        if entry.seq >= last_seq:
            break
    return counts


def pids_of(house: House) -> list[int]:
    crew = [house.crew.pid(name) for name in house.names]
    return [*crew, *(house.cluster.pid(name) for name in house.cluster.names)]


async def test_a_house_lives_through_the_loss_of_each_kind_of_process(tmp_path: Path) -> None:
    found(tmp_path, TERMS)
    house = House(tmp_path)
    await house.start()
    pids = pids_of(house)
    try:
        assert 0 not in pids
        assert pids_of(House(tmp_path)) == pids
        await _rehearse(house, tmp_path / "front")
    finally:
        await house.stop()
    assert pids_of(house) == [0] * 7
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    for name in house.names:
        lines = (house.crew.folder / name / "log.jsonl").read_text().splitlines()
        last = json.loads(lines[-1])
        assert (last["event"], last["told"]) == ("ended", True)
        assert house.crew.last_words(name) == "it said nothing"


async def _rehearse(house: House, folder: Path) -> None:
    async with front_of(house, folder) as (front, network):
        for count in range(1, 6):
            await ask(front, count, f"a{count}")
        # A replica dies: the other two are still a majority.
        await house.kill("replica-2")
        for count in range(6, 11):
            await ask(front, count, f"a{count}")
        await house.restart("replica-2")
        # The node that leads the log dies: intake waits for the next leader, nothing is lost.
        leader = await house.cluster.leader_of_stream()
        await house.kill(leader)
        asking = [asyncio.create_task(ask(front, count, f"a{count}")) for count in range(11, 21)]
        await asyncio.gather(*asking)
        await house.cluster.restart(leader)
        # The auditor dies and reads everything again.
        await house.kill(AUDITOR)
        await house.restart(AUDITOR)
        last = await ask(front, 21, "a21")
        assert await counts_in_log(network, last.seq) == list(range(1, 22))
    # Another gateway on the same journals knows what was asked, and goes on.
    async with front_of(house, folder) as (front, network):
        last = await ask(front, 22, "a22")
        for count in range(1, 23):
            said = await front.gateway.submit(
                ALICE, (OpenAccounts(count, Mode.CROSS),), request_id=f"a{count}"
            )
            assert isinstance(said, Receipt)
        assert await counts_in_log(network, last.seq) == list(range(1, 23))
        await _agree(house, network, last.seq)


async def _agree(house: House, network: Network, last_seq: int) -> None:
    """All replicas reach the same chain and vote; the auditor has nothing to object."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status = await house.status(network)
            audited = status.auditor
            if (
                len(status.replicas) == 3
                and {replica.seq for replica in status.replicas} == {last_seq}
                and audited is not None
                and audited.seq == last_seq
            ):
                break
            await SystemClock().sleep(0.1)
    assert len({replica.chain for replica in status.replicas}) == 1
    assert {replica.phase for replica in status.replicas} == {Phase.VOTING.value}
    assert audited.coverage.disagreements == 0
    assert audited.coverage.compared > 0
    assert all(process.ready and process.pid for process in status.processes)
    assert [node.hole_count for node in status.nodes] == [0, 0, 0]


async def test_a_house_that_cannot_start_leaves_nothing_behind(tmp_path: Path) -> None:
    found(tmp_path, TERMS)
    house = House(tmp_path)
    (tmp_path / "keys" / "replica-2.seed").write_text("ab")
    with pytest.raises(CrewFault, match=r"replica-2 ended: .*a seed has 32"):
        await house.start()
    assert pids_of(house) == [0] * 7
