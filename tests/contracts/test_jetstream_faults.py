"""The replicated log when nodes die, freeze, are cut off or have holes."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from seawall.node.cluster import ClusterFault, LocalCluster
from seawall.node.cluster_watch import Action, Remedy, Watch, tend
from seawall.replica.log import (
    PAYLOAD_BYTES_MAX,
    AppendRefused,
    AppendUnknown,
    Entry,
    Log,
    LogUnavailable,
    ReadGap,
)
from seawall.replica.logs.jetstream import (
    JetStreamLog,
    NatsBus,
    NatsLink,
    NodeSkipped,
    StreamForeign,
    create_stream,
)
from seawall.replica.logs.jetstream import link as link_module
from seawall.replica.logs.jetstream.pull import BATCH_ENTRIES_MAX, Pull
from seawall.replica.logs.jetstream.stream import IN_FLIGHT_MAX
from seawall.replica.logs.jetstream.wire import Answer, StreamAnswer, ask, subject_of
from tests.contracts.mute_node import (
    DELETED,
    EXPIRED,
    HEARTBEAT,
    DeafNode,
    MuteNode,
    ScriptedNode,
    run,
)
from tests.contracts.sites import HANG_S, JetStreamSite, insist, read_all, take


class Load:
    """Senders that number their messages and repeat each until it is acknowledged."""

    def __init__(self) -> None:
        self.seq_by_payload: dict[bytes, int] = {}
        self.unknown_count = 0
        self._stop = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, logs: list[Log], senders_count: int) -> None:
        for sender in range(senders_count):
            send = self._send(logs[sender % len(logs)], sender)
            self._tasks.append(asyncio.ensure_future(send))

    async def reach(self, count: int) -> None:
        """Wait until `count` messages are acknowledged."""
        async with asyncio.timeout(HANG_S):
            while len(self.seq_by_payload) < count:
                for task in self._tasks:
                    if task.done():
                        await task
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._stop = True
        async with asyncio.timeout(HANG_S):
            await asyncio.gather(*self._tasks)

    async def _send(self, log: Log, sender: int) -> None:
        number = 0
        while not self._stop:
            payload = b"%d:%d" % (sender, number)
            try:
                appended = await log.append(f"{sender}:{number}", payload)
            except AppendRefused:
                await asyncio.sleep(0.05)
            except AppendUnknown:
                self.unknown_count += 1
            else:
                self.seq_by_payload[payload] = appended.seq
                number += 1


async def test_the_leader_is_killed_under_load(jetstream: JetStreamSite) -> None:
    cluster = jetstream.cluster
    logs = [await jetstream.open() for _ in cluster.names]
    load = Load()
    load.start(list(logs), senders_count=6)
    reads = [asyncio.ensure_future(follow(log)) for log in logs]
    await load.reach(300)
    leader = await cluster.leader_of_stream()
    before_count = len(load.seq_by_payload)
    await cluster.kill(leader)
    await load.reach(before_count + 600)
    await load.stop()
    await cluster.restart(leader)
    # Every acknowledged message is in the log once, at the sequence that was acknowledged, and
    # nothing else is: neither lost nor doubled. `follow` has checked that nobody skipped.
    last_seq = await logs[0].last_seq()
    entries = await read_all(logs[0])
    assert [entry.seq for entry in entries] == list(range(1, last_seq + 1))
    assert {entry.payload: entry.seq for entry in entries} == load.seq_by_payload
    assert last_seq == len(load.seq_by_payload)
    # Every reader has seen the same, across the kill.
    for log, read in zip(logs, reads, strict=True):
        await insist(log, "end", b"end")
        async with asyncio.timeout(HANG_S):
            assert await read == [*entries, Entry(seq=last_seq + 1, payload=b"end")]
    # The node that was killed holds all of it again.
    for name in cluster.names:
        await cluster.wait_current(name)
    last_seq = await logs[0].last_seq()
    statuses = await cluster.status()
    assert [(s.last_seq, s.messages, s.hole_count) for s in statuses] == [
        (last_seq, last_seq, 0)
    ] * 3


async def follow(log: Log) -> list[Entry]:
    """Read to the entry that says end; every entry follows the one before."""
    entries: list[Entry] = []
    async for entry in log.read(1):
        assert entry.seq == len(entries) + 1
        entries.append(entry)
        if entry.payload == b"end":
            break
    return entries


async def test_a_frozen_leader_leaves_the_outcome_unknown(jetstream: JetStreamSite) -> None:
    cluster = jetstream.cluster
    leader = await cluster.leader_of_stream()
    first = (cluster.names.index(leader) + 1) % len(cluster.names)
    link = await NatsLink.open(cluster.urls(first))
    log = JetStreamLog(link, stream=jetstream.stream, owns_link=True)
    await log.append("s:1", b"1")
    cluster.pause(leader)
    try:
        with pytest.raises(AppendUnknown):
            await log.append("s:2", b"2")
    finally:
        cluster.resume(leader)
    appended = await insist(log, "s:2", b"2")
    assert appended.seq == 2
    assert (await log.append("s:2", b"2")).duplicate
    assert [entry.payload for entry in await read_all(log)] == [b"1", b"2"]
    await log.close()


async def test_a_client_leaves_a_frozen_node(jetstream: JetStreamSite) -> None:
    cluster = jetstream.cluster
    leader = await cluster.leader_of_stream()
    frozen = next(name for name in cluster.names if name != leader)
    urls = cluster.urls(cluster.names.index(frozen))
    link = await NatsLink.open(urls)
    log = JetStreamLog(link, stream=jetstream.stream, owns_link=True)
    bus = NatsBus(link)
    listener = bus.subscribe("vote.r1")
    entries = log.read(1)
    await log.append("s:1", b"1")
    await take(entries, 1)
    assert link.connection is not None
    assert link.connection.url == urls[0]
    cluster.pause(frozen)
    try:
        # Larger than what the sockets between hold: the client cannot even hand it over.
        payload = bytes(PAYLOAD_BYTES_MAX)
        await asyncio.gather(*(insist(log, f"s:{number}", payload) for number in range(2, 14)))
        assert link.connection is not None
        assert link.connection.url != urls[0]
        assert [entry.seq for entry in await take(entries, 12)] == list(range(2, 14))
        # Subscriptions have moved along.
        await bus.publish("vote.r1", b"?")
        async with asyncio.timeout(HANG_S):
            assert (await anext(listener)).data == b"?"
    finally:
        cluster.resume(frozen)
    await bus.close()
    await log.close()
    await cluster.wait_healthy(frozen)


async def test_a_client_leaves_a_cut_off_node(jetstream: JetStreamSite) -> None:
    other = await jetstream.open()
    await other.append("s:0", b"0")
    async with run(MuteNode()) as node:
        link = await NatsLink.open((node.url, *jetstream.cluster.urls()))
        log = JetStreamLog(link, stream=jetstream.stream, append_wait_s=1.0)
        outcomes = []
        for _ in range(3):
            with pytest.raises(AppendUnknown):
                await log.append("s:1", b"1")
            outcomes.append(node.messages_count)
        # Each append is one try: repeating is for the caller, who knows what the id stands for.
        assert outcomes == [1, 2, 3]
        assert (await insist(log, "s:1", b"1")).seq == 2
        assert node.messages_count == 3
        await log.close()
        await link.close()


async def test_a_reader_leaves_a_cut_off_node(jetstream: JetStreamSite) -> None:
    other = await jetstream.open()
    await other.append("s:1", b"1")
    async with run(MuteNode()) as node:
        link = await NatsLink.open((node.url, *jetstream.cluster.urls()))
        log = JetStreamLog(link, stream=jetstream.stream, owns_link=True)
        assert await take(log.read(1), 1) == [Entry(seq=1, payload=b"1")]
        assert node.messages_count == 3
        await log.close()


async def test_a_listener_leaves_a_deaf_node(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(link_module, "PING_WAIT_S", 0.5)
    speaker = await NatsBus.open(cluster.urls())
    async with run(DeafNode()) as node:
        # It only listens: no request of its own ever fails.
        link = await NatsLink.open((node.url, *cluster.urls()))
        bus = NatsBus(link, owns_link=True)
        heard = asyncio.ensure_future(anext(bus.subscribe("vote.r1")))
        async with asyncio.timeout(HANG_S):
            while not heard.done():
                await speaker.publish("vote.r1", b"?")
                await asyncio.wait((heard,), timeout=0.05)
        assert link.connected_count == 2
        await bus.close()
    await speaker.close()


async def test_a_consumer_that_lives_but_sees_nothing_is_left() -> None:
    async with run(ScriptedNode([HEARTBEAT] * 10)) as node:
        log = await JetStreamLog.open((node.url,))
        waiting = asyncio.ensure_future(anext(log.read(7), None))
        async with asyncio.timeout(HANG_S):
            while not log._ill_until_s:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
        assert list(log._ill_until_s) == ["scripted"]
        await log.close()
        assert await waiting is None


async def test_a_consumer_on_a_lagging_node_begins_too_early() -> None:
    async with run(ScriptedNode([5, 6, 7, 8, 9])) as node:
        log = await JetStreamLog.open((node.url,))
        assert [entry.seq for entry in await take(log.read(7), 3)] == [7, 8, 9]
        await log.close()


async def test_an_expired_wish_is_renewed_and_a_deleted_consumer_replaced() -> None:
    async with run(ScriptedNode([1, 2, EXPIRED], [3, EXPIRED], [4, DELETED], [5])) as node:
        log = await JetStreamLog.open((node.url,))
        assert [entry.seq for entry in await take(log.read(1), 4)] == [1, 2, 3, 4]
        assert (node.consumers_count, node.pulls_count) == (1, 3)
        assert [entry.seq for entry in await take(log.read(5), 1)] == [5]
        assert (node.consumers_count, node.pulls_count) == (2, 4)
        await log.close()


async def test_one_consumer_serves_a_long_read(jetstream: JetStreamSite) -> None:
    log = await jetstream.open()
    for number in range(3 * BATCH_ENTRIES_MAX):
        await insist(log, f"s:{number}", b"x")
    entries = log.read(1)
    await take(entries, 1)
    (pull,) = log._pulls
    await take(entries, 3 * BATCH_ENTRIES_MAX - 1)
    # Were the wishes not renewed, each batch would wait for the silence to be noticed.
    assert log._pulls == [pull]


async def test_few_appends_are_in_flight() -> None:
    async with run(MuteNode()) as node:
        link = await NatsLink.open((node.url,))
        log = JetStreamLog(link, append_wait_s=0.3, owns_link=True)
        appends = [asyncio.ensure_future(log.append(f"s:{n}", b"x")) for n in range(50)]
        await asyncio.wait(appends, return_when=asyncio.FIRST_COMPLETED)
        assert node.messages_count == IN_FLIGHT_MAX == 8
        for append in appends:
            append.cancel()
        await asyncio.wait(appends)
        await log.close()


async def test_the_stream_is_replicated_and_on_disk(jetstream: JetStreamSite) -> None:
    log = await jetstream.open()
    connection = await log._link.ready(HANG_S)
    answer = await ask(connection, f"STREAM.INFO.{jetstream.stream}", None, StreamAnswer)
    assert answer.config is not None
    assert (answer.config.num_replicas, answer.config.storage) == (3, "file")
    assert (answer.config.retention, answer.config.discard) == ("limits", "new")
    assert answer.config.duplicate_window == 120_000_000_000


async def test_a_reader_leaves_a_killed_node(jetstream: JetStreamSite) -> None:
    log, other = await jetstream.open(), await jetstream.open()
    # A follower: killing the leader would stop the log as well, and is another test.
    leader = await jetstream.cluster.leader_of_stream()
    log._ill_until_s = {leader: asyncio.get_running_loop().time() + HANG_S}
    entries = log.read(1)
    await insist(other, "s:1", b"1")
    await take(entries, 1)
    (pull,) = log._pulls
    await jetstream.cluster.kill(pull.node)
    for number in range(2, 6):
        await insist(other, f"s:{number}", b"%d" % number)
    assert [entry.payload for entry in await take(entries, 4)] == [b"2", b"3", b"4", b"5"]
    assert log._pulls[0].node != pull.node
    await jetstream.cluster.restart(pull.node)


async def all_have_holes(cluster: LocalCluster) -> None:
    """Wait until each node has learnt that the entry is deleted."""
    async with asyncio.timeout(HANG_S):
        while [s.hole_count for s in await cluster.status()] != [1, 1, 1]:  # noqa: ASYNC110 - it polls
            await asyncio.sleep(0.02)


async def test_a_hole_is_a_gap_and_its_node_is_avoided(jetstream: JetStreamSite) -> None:
    log = await jetstream.open()
    link = log._link
    # The log's own streams forbid what makes this hole.
    config = {"name": "holed", "subjects": [subject_of("holed")], "num_replicas": 3}
    connection = await link.ready(HANG_S)
    await ask(connection, "STREAM.CREATE.holed", config, StreamAnswer)
    holed = JetStreamLog(link, stream="holed")
    for number in range(1, 7):
        await insist(holed, f"s:{number}", b"%d" % number)
    await ask(connection, "STREAM.MSG.DELETE.holed", {"seq": 4}, Answer)
    await all_have_holes(LocalCluster(jetstream.cluster.folder, stream="holed"))
    entries = holed.read(1)
    assert [entry.seq for entry in await take(entries, 3)] == [1, 2, 3]
    with pytest.raises(ReadGap, match="skipped from 3 to 5") as gap:
        await take(entries, 1)
    (ill,) = holed._ill_until_s
    assert ill in str(gap.value)
    # Asked again, it reads from other nodes: each has the hole here, so each is named in turn.
    async with asyncio.timeout(HANG_S):
        while len(holed._ill_until_s) < 3:
            with pytest.raises(ReadGap):
                await take(holed.read(4), 1)
    assert sorted(holed._ill_until_s) == sorted(jetstream.cluster.names)
    # When all are ill it still reads what there is, from any of them.
    assert [entry.seq for entry in await take(holed.read(5), 2)] == [5, 6]


async def test_the_stream_forbids_to_delete_an_entry(jetstream: JetStreamSite) -> None:
    log = await jetstream.open()
    await log.append("s:1", b"1")
    connection = await log._link.ready(HANG_S)
    with pytest.raises(Exception, match="message delete not permitted"):
        await ask(connection, f"STREAM.MSG.DELETE.{jetstream.stream}", {"seq": 1}, Answer)


async def test_a_reader_gets_its_node_by_avoiding_others(jetstream: JetStreamSite) -> None:
    log = await jetstream.open()
    connection = await log._link.ready(HANG_S)
    names = jetstream.cluster.names
    for wanted in names:
        avoid = tuple(name for name in names if name != wanted)
        found = []
        # Placement is random, so that a bounded search may fail; three in a row never do.
        for _ in range(3):
            pull = await Pull.open(connection, jetstream.stream, 1, avoid=avoid)
            found.append(pull.node)
            await pull.close()
        assert wanted in found


async def test_a_stream_of_another_kind_is_refused(jetstream: JetStreamSite) -> None:
    log = await jetstream.open()
    link = log._link
    # Again as it is: fine. With fewer replicas: a log that promises less, so it is refused.
    await create_stream(link, stream=jetstream.stream)
    with pytest.raises((StreamForeign, LogUnavailable)):
        await create_stream(link, stream=jetstream.stream, replicas=1, patience_s=0.5)


async def test_nobody_to_talk_to(tmp_path: Path) -> None:
    # A plan that was never started: ports on which nobody listens.
    cluster = LocalCluster(tmp_path)
    with pytest.raises(LogUnavailable):
        await NatsLink.open(cluster.urls(), patience_s=0.3)
    with pytest.raises(ClusterFault):
        await cluster.leader_of_stream(patience_s=0.3)
    assert [status.pid for status in await cluster.status()] == [0, 0, 0]
    assert (
        msgspec.json.decode((tmp_path / "cluster.json").read_bytes())["name"] == cluster.plan.name
    )


async def test_an_outage_is_waited_out(jetstream: JetStreamSite) -> None:
    cluster = jetstream.cluster
    log = await jetstream.open()
    entries = log.read(1)
    await insist(log, "s:1", b"1")
    await take(entries, 1)
    for name in cluster.names:
        cluster.pause(name)
    waiting = asyncio.ensure_future(anext(entries))
    try:
        with pytest.raises((AppendUnknown, AppendRefused)):
            await log.append("s:2", b"2")
    finally:
        for name in cluster.names:
            cluster.resume(name)
    assert (await insist(log, "s:2", b"2")).seq == 2
    async with asyncio.timeout(HANG_S):
        assert await waiting == Entry(seq=2, payload=b"2")
    for name in cluster.names:
        await cluster.wait_healthy(name)


def rot(cluster: LocalCluster, name: str) -> None:
    """Flip one bit in the middle of the first, sealed block of a node's stream."""
    (block,) = cluster.folder.glob(f"{name}/store/jetstream/*/streams/{cluster.stream}/msgs/1.blk")
    content = bytearray(block.read_bytes())
    content[len(content) // 2] ^= 1
    block.write_bytes(content)


async def read_until_skipped(log: Log) -> NodeSkipped:
    """Read the log until a node skips: placement is random, and avoids only as far as it goes."""
    for _ in range(20):
        try:
            await read_all(log)
        except NodeSkipped as skipped:
            return skipped
    raise AssertionError("no node skipped")


async def test_a_rotten_disk_is_read_around_and_wiped(jetstream: JetStreamSite) -> None:
    cluster = jetstream.cluster
    log = await jetstream.open()
    # More than the 8 MB that the broker puts in one block.
    payloads = [bytes([number]) * 400_000 for number in range(1, 31)]
    for number, payload in enumerate(payloads):
        await insist(log, f"s:{number}", payload)
    leader = await cluster.leader_of_stream()
    rotten = next(name for name in cluster.names if name != leader)
    await cluster.stop(rotten)
    rot(cluster, rotten)
    await cluster.restart(rotten)
    # Let the reader have no other node than the rotten one.
    far_s = asyncio.get_running_loop().time() + 2 * HANG_S
    log._ill_until_s = dict.fromkeys((name for name in cluster.names if name != rotten), far_s)
    skipped = await read_until_skipped(log)
    assert skipped.node == rotten
    assert 1 < skipped.seq < skipped.seq_found <= len(payloads)
    # From now on the log knows which one is ill, and reads from the others.
    assert rotten in log._ill_until_s
    log._ill_until_s = {rotten: far_s}
    assert [entry.payload for entry in await read_all(log)] == payloads
    # The node's own count may include what it cannot read: a watch must be told by readers.
    watch = Watch()
    watch.blame(skipped.node, str(skipped))
    reported: asyncio.Queue[Remedy] = asyncio.Queue()
    tending = asyncio.ensure_future(tend(cluster, watch, reported.put_nowait, every_s=0.1))
    async with asyncio.timeout(HANG_S):
        remedy = await reported.get()
    tending.cancel()
    assert remedy == Remedy(node=rotten, action=Action.WIPE, reason=str(skipped))
    log._ill_until_s = dict.fromkeys((name for name in cluster.names if name != rotten), far_s)
    assert [entry.payload for entry in await read_all(log)] == payloads
    assert rotten not in log._ill_until_s
