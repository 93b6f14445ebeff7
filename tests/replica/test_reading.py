"""Reading: faults are waited out, a gap is never stepped over, and tasks end together."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from seawall.replica.clock import LoopClock
from seawall.replica.log import (
    Appended,
    AppendRefused,
    Entry,
    LogFault,
    LogUnavailable,
    ReadGap,
)
from seawall.replica.reading import BACK_OFF_MAX_S, ReadFault, compute_back_off_s, read_steadily
from seawall.replica.tasks import race
from tests.replica.virtual import play


def entry(seq: int) -> Entry:
    return Entry(seq=seq, payload=str(seq).encode())


class ScriptedLog:
    """Each reading yields what its turn in the script says, then raises or ends."""

    def __init__(self, *script: tuple[list[int], LogFault | None]) -> None:
        self.script = list(script)
        self.asked: list[int] = []
        self.closed = 0

    async def append(self, message_id: str, payload: bytes) -> Appended:
        raise AppendRefused("scripted")

    async def read(self, first_seq: int) -> AsyncGenerator[Entry, None]:
        self.asked.append(first_seq)
        seqs, fault = self.script.pop(0)
        try:
            for seq in seqs:
                yield entry(seq)
            if fault is not None:
                raise fault
        finally:
            self.closed += 1

    async def last_seq(self) -> int:
        return 0

    async def close(self) -> None:
        return


def read_all(log: ScriptedLog, first_seq: int = 1) -> tuple[list[int], list[ReadFault], float]:
    async def scene() -> tuple[list[int], list[ReadFault], float]:
        faults: list[ReadFault] = []
        entries = read_steadily(log, LoopClock(), first_seq, faults.append)
        seqs = [found.seq async for found in entries]
        return seqs, faults, asyncio.get_running_loop().time()

    return play(scene())


def test_after_a_fault_it_goes_on_behind_the_last_entry() -> None:
    log = ScriptedLog(([1, 2], ReadGap("ill")), ([], LogUnavailable("down")), ([3, 4], None))
    seqs, faults, waited_s = read_all(log)
    assert seqs == [1, 2, 3, 4]
    assert log.asked == [1, 3, 3]
    assert [(fault.seq, fault.attempt) for fault in faults] == [(3, 1), (3, 2)]
    assert waited_s == pytest.approx(compute_back_off_s(1) + compute_back_off_s(2))
    assert log.closed == 3


def test_a_gap_that_the_log_did_not_notice_is_noticed_here() -> None:
    log = ScriptedLog(([1, 2, 4, 5], None), ([3, 3], None), ([4], None))
    seqs, faults, _ = read_all(log)
    assert seqs == [1, 2, 3, 4]
    assert "was given 4" in faults[0].reason
    assert log.asked == [1, 3, 4]


def test_the_back_off_doubles_is_bounded_and_begins_anew_after_an_entry() -> None:
    waits = [compute_back_off_s(attempt) for attempt in range(1, 100)]
    assert waits[1] == 2 * waits[0]
    assert max(waits) == BACK_OFF_MAX_S
    assert waits == sorted(waits)
    down: tuple[list[int], LogFault] = ([], LogUnavailable("down"))
    log = ScriptedLog(down, down, ([1], LogUnavailable("down")), ([2], None))
    assert [fault.attempt for fault in read_all(log)[1]] == [1, 2, 1]


def test_the_first_to_end_ends_all_and_a_bug_is_raised() -> None:
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await asyncio.sleep(99)
        finally:
            ended.append(name)

    async def bug() -> None:
        await asyncio.sleep(1)
        raise AssertionError("bug")

    async def scene() -> None:
        await race(wait("a"), asyncio.sleep(1), wait("b"))
        assert ended == ["a", "b"]
        with pytest.raises(AssertionError, match="bug"):
            await race(wait("c"), bug())
        assert ended == ["a", "b", "c"]
        task = asyncio.create_task(race(wait("d"), wait("e")))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["a", "b", "c", "d", "e"]

    play(scene())
