"""A local cluster starts, is found again, is broken and mended, and leaves nothing behind."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from seawall.node.cluster import ClusterFault, LocalCluster, NodeStatus
from seawall.node.cluster_watch import (
    UNWELL_AFTER_RESTART_S_MAX,
    UNWELL_S_MAX,
    Action,
    Remedy,
    Watch,
    tend,
)
from seawall.node.nats_config import NodePorts, node_config
from seawall.replica.log import AppendRefused, AppendUnknown
from seawall.replica.logs.jetstream import JetStreamLog

HANG_S = 60.0


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    """A cluster of the test's own."""
    cluster = LocalCluster(tmp_path)
    await cluster.start()
    yield cluster
    await cluster.kill_all()


async def append(cluster: LocalCluster, message_id: str) -> int:
    """Append one entry as a gateway does."""
    log = await JetStreamLog.open(cluster.urls())
    try:
        async with asyncio.timeout(HANG_S):
            while True:
                try:
                    return (await log.append(message_id, b"x")).seq
                except (AppendRefused, AppendUnknown):
                    await asyncio.sleep(0.05)
    finally:
        await log.close()


async def test_a_cluster_is_killed_restarted_and_stopped(cluster: LocalCluster) -> None:
    statuses = await cluster.status()
    assert [status.name for status in statuses] == ["n1", "n2", "n3"]
    assert all(status.pid for status in statuses)
    assert sum(status.leads for status in statuses) == 1
    assert await append(cluster, "s:1") == 1

    leader = await cluster.leader_of_stream()
    follower = next(name for name in cluster.names if name != leader)
    await cluster.kill(follower)
    assert cluster.pid(follower) == 0
    with pytest.raises(ClusterFault, match="unwell"):
        # With one node down the others are all the copies there are.
        await cluster.wipe(leader)
    assert await append(cluster, "s:2") == 2
    await cluster.restart(follower)
    statuses = await cluster.status()
    assert [(status.last_seq, status.messages) for status in statuses] == [(2, 2)] * 3

    # Starting again what runs changes nothing.
    pids = [cluster.pid(name) for name in cluster.names]
    await cluster.start()
    assert [cluster.pid(name) for name in cluster.names] == pids
    await cluster.stop_gently()
    assert [cluster.pid(name) for name in cluster.names] == [0, 0, 0]
    # On the same ports, with all that was stored.
    await cluster.start()
    assert await append(cluster, "s:2") == 2
    assert await append(cluster, "s:3") == 3


async def test_every_node_syncs_always(cluster: LocalCluster) -> None:
    for name in cluster.names:
        config = (cluster.folder / name / "nats.conf").read_text()
        assert "sync_interval: always" in config
        log = (cluster.folder / name / "nats.log").read_text()
        assert "Server is ready" in log
    ports = NodePorts(client=1, route=2, http=3)
    config = node_config(cluster="c", name="n", ports=ports, route_ports=(2, 5), folder="/tmp/a")
    assert 'listen: "127.0.0.1:1"' in config
    assert 'routes: ["nats://127.0.0.1:2", "nats://127.0.0.1:5"]' in config


async def test_a_frozen_node_is_stopped(cluster: LocalCluster) -> None:
    cluster.pause("n2")
    await cluster.stop("n2")
    assert cluster.pid("n2") == 0


async def test_a_watch_restarts_what_has_ended(cluster: LocalCluster) -> None:
    reported: asyncio.Queue[Remedy] = asyncio.Queue()
    tending = asyncio.ensure_future(tend(cluster, Watch(), reported.put_nowait, every_s=0.1))
    await cluster.kill("n3")
    async with asyncio.timeout(HANG_S):
        remedy = await reported.get()
    tending.cancel()
    assert remedy == Remedy(node="n3", action=Action.START, reason="it does not run")
    await cluster.wait_healthy("n3")


START = """
import asyncio, sys
from pathlib import Path
from seawall.node.cluster import LocalCluster

async def start():
    cluster = LocalCluster(Path(sys.argv[1]), detached=sys.argv[2] == "detached")
    await cluster.start()
    print("started", flush=True)
    if not sys.argv[2] == "detached":
        await asyncio.sleep(3600)

asyncio.run(start())
"""


def start_in_a_process(folder: Path, how: str) -> "subprocess.Popen[bytes]":
    """Start a cluster from another process, and return when it stands."""
    starter = subprocess.Popen([sys.executable, "-c", START, folder, how], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"started\n"
    starter.stdout.close()
    return starter


async def all_gone(cluster: LocalCluster) -> bool:
    return all([await cluster._gone(name, cluster.pid(name)) for name in cluster.names])


async def test_nodes_die_with_who_started_them(tmp_path: Path) -> None:
    starter = await asyncio.to_thread(start_in_a_process, tmp_path, "attached")
    cluster = LocalCluster(tmp_path)
    try:
        assert all(cluster.pid(name) for name in cluster.names)
        starter.kill()
        await asyncio.to_thread(starter.wait)
        assert await all_gone(cluster)
    finally:
        await cluster.kill_all()


async def test_a_detached_cluster_is_found_and_stopped_by_another_process(tmp_path: Path) -> None:
    starter = await asyncio.to_thread(start_in_a_process, tmp_path, "detached")
    assert await asyncio.to_thread(starter.wait) == 0
    cluster = LocalCluster(tmp_path)
    try:
        for name in cluster.names:
            await cluster.wait_healthy(name)
        assert await append(cluster, "s:1") == 1
    finally:
        await cluster.stop_gently()
    assert await all_gone(cluster)


async def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path)
    (tmp_path / "n2").mkdir()
    # A file where the store should be.
    (tmp_path / "n2" / "store").mkdir()
    (tmp_path / "n2" / "store" / "jetstream").write_text("in the way")
    with pytest.raises(ClusterFault, match=r"n2 ended: (?s:.*)not a directory"):
        await cluster.start()
    # The others are not left running.
    assert [cluster.pid(name) for name in cluster.names] == [0, 0, 0]


async def test_a_number_taken_over_by_another_process_is_not_ours(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path)
    (tmp_path / "n1").mkdir()
    (tmp_path / "n1" / "pid").write_text(str(os.getpid()))
    assert cluster.pid("n1") == 0
    # Were it taken for the node, this would be the end of the test.
    await cluster.kill("n1")
    await cluster.stop("n1")
    cluster.pause("n1")


def test_the_plan_is_kept(tmp_path: Path) -> None:
    plan = LocalCluster(tmp_path).plan
    assert LocalCluster(tmp_path).plan == plan
    ports = [
        port
        for node in plan.nodes
        for port in (node.ports.client, node.ports.route, node.ports.http)
    ]
    assert len(set(ports)) == 9
    assert LocalCluster(tmp_path / "other").plan.name != plan.name
    urls = LocalCluster(tmp_path).urls()
    assert LocalCluster(tmp_path).urls(4) == (*urls[1:], urls[0])


def well(name: str, **changes: object) -> NodeStatus:
    facts: dict[str, object] = {
        "name": name,
        "pid": 1,
        "healthy": True,
        "leads": False,
        "messages": 10,
        "first_seq": 1,
        "last_seq": 10,
    }
    return NodeStatus(**{**facts, **changes})  # type: ignore[arg-type]  # facts of one test


WELL = [well("n1"), well("n2"), well("n3")]


def test_a_watch_leaves_what_is_well() -> None:
    watch = Watch()
    assert [watch.decide(float(now_s), WELL) for now_s in range(0, 300, 5)] == [None] * 60


def test_a_watch_restarts_what_is_unwell_then_wipes_it() -> None:
    watch = Watch()
    sick = [well("n1"), well("n2", healthy=False), well("n3")]
    assert watch.decide(0.0, sick) is None
    assert watch.decide(UNWELL_S_MAX - 1, sick) is None
    remedy = watch.decide(UNWELL_S_MAX, sick)
    assert remedy is not None
    assert (remedy.node, remedy.action) == ("n2", Action.RESTART)
    assert watch.decide(UNWELL_S_MAX + UNWELL_AFTER_RESTART_S_MAX - 1, sick) is None
    remedy = watch.decide(UNWELL_S_MAX + UNWELL_AFTER_RESTART_S_MAX, sick)
    assert remedy is not None
    assert (remedy.node, remedy.action) == ("n2", Action.WIPE)


def test_a_watch_forgets_what_has_recovered() -> None:
    watch = Watch()
    sick = [well("n1"), well("n2", healthy=False), well("n3")]
    assert watch.decide(0.0, sick) is None
    assert watch.decide(UNWELL_S_MAX - 1, WELL) is None
    assert watch.decide(UNWELL_S_MAX, sick) is None


def test_a_watch_takes_a_node_that_stays_behind_for_unwell() -> None:
    watch = Watch()
    for now_s in (0.0, 5.0):
        behind = [well("n1"), well("n2", last_seq=7, messages=7), well("n3")]
        assert watch.decide(now_s, behind) is None
    remedy = watch.decide(5.0 + UNWELL_S_MAX, behind)
    assert remedy is not None
    assert (remedy.node, remedy.action) == ("n2", Action.RESTART)
    # One that catches up is only late.
    watch = Watch()
    for step in range(10):
        late = [well("n1"), well("n2", last_seq=step, messages=step), well("n3")]
        assert watch.decide(10.0 * step, late) is None


def test_a_watch_wipes_holes_once_they_are_sure() -> None:
    watch = Watch()
    holed = [well("n1"), well("n2"), well("n3", messages=9)]
    assert holed[2].hole_count == 1
    assert watch.decide(0.0, holed) is None
    assert watch.decide(5.0, holed) == Remedy(
        node="n3", action=Action.WIPE, reason="1 entries are missing"
    )


def test_a_watch_never_treats_two_at_once() -> None:
    for second in (well("n1", healthy=False), well("n1", messages=9)):
        watch = Watch()
        both = [second, well("n2", messages=9), well("n3")]
        watch.blame("n2", "skipped")
        decided = [watch.decide(float(now_s), both) for now_s in range(0, 300, 5)]
        assert decided == [None] * 60
    watch = Watch()
    watch.blame("n1", "skipped")
    watch.blame("n2", "skipped")
    assert watch.decide(0.0, WELL) is None


def test_an_empty_node_has_no_holes() -> None:
    assert well("n1", messages=0, first_seq=0, last_seq=0).hole_count == 0
    assert well("n1", messages=5, first_seq=6, last_seq=10).hole_count == 0
