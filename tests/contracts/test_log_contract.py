"""The contract of `Log`, held by every implementation."""

import asyncio
import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.node.cluster import LocalCluster
from seawall.replica.log import (
    PAYLOAD_BYTES_MAX,
    Appended,
    AppendRefused,
    Entry,
    Log,
    LogUnavailable,
    ReadGap,
)
from seawall.replica.logs.jetstream import JetStreamLog, NatsLink, create_stream
from seawall.replica.logs.memory import MemoryLog
from seawall.replica.logs.sqlite import SqliteLog
from tests.contracts.sites import HANG_S, LogSite, insist, read_all, take


async def test_sequences_start_at_one_and_never_skip(site: LogSite) -> None:
    log = await site.open()
    assert await log.last_seq() == 0
    for seq in range(1, 6):
        assert await log.append(f"s:{seq}", b"%d" % seq) == Appended(seq=seq, duplicate=False)
        assert await log.last_seq() == seq
    assert await read_all(log) == [Entry(seq=seq, payload=b"%d" % seq) for seq in range(1, 6)]


async def test_a_message_id_is_stored_once(site: LogSite) -> None:
    log, other = await site.open(), await site.open()
    first = await log.append("s:1", b"one")
    await log.append("s:2", b"two")
    assert await log.append("s:1", b"one") == Appended(seq=first.seq, duplicate=True)
    # From elsewhere, and with another body: the log knows ids and no contents.
    assert await other.append("s:1", b"ONE") == Appended(seq=first.seq, duplicate=True)
    assert await read_all(other) == [Entry(seq=1, payload=b"one"), Entry(seq=2, payload=b"two")]


async def test_what_is_acknowledged_is_seen_by_others(site: LogSite) -> None:
    log, other = await site.open(), await site.open()
    for seq in range(1, 9):
        await log.append(f"s:{seq}", b"x")
        assert await other.last_seq() == seq


async def test_what_is_acknowledged_survives_a_crash(site: LogSite) -> None:
    log = await site.open()
    acked = [await log.append(f"s:{number}", b"%d" % number) for number in range(20)]
    await site.crash()
    log = await site.open()
    assert await read_all(log) == [
        Entry(seq=appended.seq, payload=b"%d" % number) for number, appended in enumerate(acked)
    ]
    # The ids survive as well: a sender that saw no acknowledgement repeats itself safely.
    assert await insist(log, "s:7", b"7") == Appended(seq=acked[7].seq, duplicate=True)
    assert (await insist(log, "s:20", b"20")).seq == 21


async def test_reading_starts_anywhere(site: LogSite) -> None:
    log = await site.open()
    for seq in range(1, 8):
        await log.append(f"s:{seq}", b"%d" % seq)
    for first_seq in range(1, 8):
        entries = await read_all(log, first_seq)
        assert [entry.seq for entry in entries] == list(range(first_seq, 8))


async def test_a_reader_follows_live(site: LogSite) -> None:
    log, other = await site.open(), await site.open()
    entries = other.read(1)
    for seq in range(1, 6):
        # The reader is there first, and waits.
        waiting = asyncio.ensure_future(anext(entries))
        for _ in range(5):
            await asyncio.sleep(0)
        await insist(log, f"s:{seq}", b"%d" % seq)
        async with asyncio.timeout(HANG_S):
            assert await waiting == Entry(seq=seq, payload=b"%d" % seq)
    for seq in range(6, 101):
        await insist(log, f"s:{seq}", b"%d" % seq)
    assert await take(entries, 95) == [Entry(seq=seq, payload=b"%d" % seq) for seq in range(6, 101)]


async def test_readers_do_not_disturb_each_other(site: LogSite) -> None:
    log = await site.open()
    for seq in range(1, 6):
        await log.append(f"s:{seq}", b"x")
    fast, slow, gone = log.read(1), log.read(1), log.read(1)
    assert (await take(gone, 2))[1].seq == 2
    await gone.aclose()  # type: ignore[attr-defined]  # every log reads by a generator
    assert (await take(slow, 1))[0].seq == 1
    assert [entry.seq for entry in await take(fast, 5)] == [1, 2, 3, 4, 5]
    await log.append("s:6", b"x")
    assert (await take(fast, 1))[0].seq == 6
    assert [entry.seq for entry in await take(slow, 5)] == [2, 3, 4, 5, 6]


async def test_concurrent_appenders_are_numbered_apart(site: LogSite) -> None:
    logs = [await site.open(), await site.open()]
    seq_by_payload: dict[bytes, int] = {}

    async def append_many(sender: int) -> None:
        for number in range(12):
            payload = b"%d:%d" % (sender, number)
            appended = await insist(logs[sender % 2], f"{sender}:{number}", payload)
            seq_by_payload[payload] = appended.seq

    await asyncio.gather(*(append_many(sender) for sender in range(12)))
    assert sorted(seq_by_payload.values()) == list(range(1, 145))
    assert {entry.payload: entry.seq for entry in await read_all(logs[0])} == seq_by_payload


async def test_the_same_id_at_once_is_stored_once(site: LogSite) -> None:
    log, other = await site.open(), await site.open()
    answers = await asyncio.gather(
        *(insist(opened, "s:1", b"x") for opened in (log, other) for _ in range(4))
    )
    assert {answer.seq for answer in answers} == {1}
    # Which of them came first is not always told (its answer may be the one that was lost).
    assert sum(not answer.duplicate for answer in answers) <= 1
    assert await log.last_seq() == 1


async def test_payload_bounds(site: LogSite) -> None:
    log = await site.open()
    for payload in (b"", bytes(PAYLOAD_BYTES_MAX + 1)):
        with pytest.raises(AppendRefused, match="payload"):
            await log.append("s:1", payload)
    assert await log.last_seq() == 0
    largest = bytes(range(256)) * (PAYLOAD_BYTES_MAX // 256)
    assert await insist(log, "s:1", largest) == Appended(seq=1, duplicate=False)
    assert await insist(log, "s:2", b"\0") == Appended(seq=2, duplicate=False)
    assert [entry.payload for entry in await read_all(log)] == [largest, b"\0"]


@pytest.mark.parametrize("message_id", ["", "x" * 129, "a b", "a\r\nb", "ä", "a\0"])
async def test_message_id_bounds(site: LogSite, message_id: str) -> None:
    log = await site.open()
    with pytest.raises(AppendRefused, match="message_id"):
        await log.append(message_id, b"x")
    assert await log.last_seq() == 0


async def test_closing_ends_reading(site: LogSite) -> None:
    log, other = await site.open(), await site.open()
    for seq in range(1, 4):
        await log.append(f"s:{seq}", b"x")
    amid, waiting = log.read(1), log.read(3)
    await take(amid, 1)
    await take(waiting, 1)
    end = asyncio.ensure_future(anext(waiting, None))
    await asyncio.sleep(0)
    await log.close()
    async with asyncio.timeout(HANG_S):
        assert await end is None
        assert await anext(amid, None) is None
    with pytest.raises(AppendRefused):
        await log.append("s:4", b"x")
    await log.close()
    # Nothing stored is touched, and other openings go on.
    assert [entry.seq for entry in await read_all(other)] == [1, 2, 3]
    assert (await other.append("s:4", b"x")).seq == 4


async def test_a_closed_log_has_no_last_sequence(site: LogSite) -> None:
    log = await site.open()
    await log.close()
    with pytest.raises(LogUnavailable):
        await log.last_seq()


async def test_a_given_up_append_is_repeated_safely(site: LogSite) -> None:
    log = await site.open()
    for number in range(10):
        # The caller gives up at some point of the way: the entry is stored, or not.
        given_up = asyncio.ensure_future(log.append(f"s:{number}", b"%d" % number))
        for _ in range(number):
            await asyncio.sleep(0)
        given_up.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await given_up
        assert (await insist(log, f"s:{number}", b"%d" % number)).seq == number + 1
    assert [entry.payload for entry in await read_all(log)] == [b"%d" % n for n in range(10)]


async def test_a_reader_ahead_of_the_log_is_told(site: LogSite) -> None:
    log = await site.open()
    await log.append("s:1", b"x")
    ahead = log.read(2)
    waiting = asyncio.ensure_future(anext(ahead))
    async with asyncio.timeout(HANG_S):
        with pytest.raises(ReadGap, match="ends at 1"):
            await anext(log.read(3))
    await log.append("s:2", b"y")
    async with asyncio.timeout(HANG_S):
        assert await waiting == Entry(seq=2, payload=b"y")


appends = st.lists(
    st.tuples(st.integers(0, 9), st.binary(min_size=1, max_size=40)), min_size=1, max_size=30
)


async def check_against_model(log: Log, script: list[tuple[int, bytes]], example: str) -> None:
    """A list and a dictionary are the whole truth about a log."""
    before_seq = await log.last_seq()
    payloads: list[bytes] = []
    seq_by_id: dict[str, int] = {}
    for sender, payload in script:
        message_id = f"{example}:{sender}"
        duplicate = message_id in seq_by_id
        if not duplicate:
            payloads.append(payload)
            seq_by_id[message_id] = before_seq + len(payloads)
        answer = await log.append(message_id, payload)
        assert answer == Appended(seq=seq_by_id[message_id], duplicate=duplicate)
    for first in range(len(payloads)):
        first_seq = before_seq + first + 1
        assert [entry.payload for entry in await read_all(log, first_seq)] == payloads[first:]


@given(script=appends)
def test_memory_equals_its_model(script: list[tuple[int, bytes]]) -> None:
    asyncio.run(check_against_model(MemoryLog(), script, "m"))


@settings(max_examples=40)
@given(script=appends, threaded=st.booleans())
def test_sqlite_equals_its_model(script: list[tuple[int, bytes]], threaded: bool) -> None:
    async def check() -> None:
        with tempfile.TemporaryDirectory() as folder:
            log = SqliteLog(Path(folder) / "log.db", threaded=threaded)
            await check_against_model(log, script, "m")
            await log.close()

    asyncio.run(check())


def test_jetstream_equals_its_model(cluster: LocalCluster) -> None:
    @settings(max_examples=10)
    @given(script=appends)
    def check(script: list[tuple[int, bytes]]) -> None:
        asyncio.run(check_one(script))

    examples_count = 0

    async def check_one(script: list[tuple[int, bytes]]) -> None:
        nonlocal examples_count
        examples_count += 1
        link = await NatsLink.open(cluster.urls(examples_count))
        await create_stream(link, stream="model")
        log = JetStreamLog(link, stream="model", owns_link=True)
        await check_against_model(log, script, str(examples_count))
        await log.close()

    check()
    assert examples_count >= 10
