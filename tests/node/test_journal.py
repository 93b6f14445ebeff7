"""The journal: whole records survive whatever the end of the file looks like."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.node.journal import (
    Done,
    FileJournal,
    JournalFault,
    JournalFolder,
    MemoryJournal,
    MemoryJournals,
    Past,
    Record,
    Request,
    Sent,
    frame_record,
    parse_records,
)

requests = st.lists(
    st.builds(
        Request, st.text(max_size=8), st.binary(max_size=32), st.integers(0, 9), st.integers(1, 9)
    ),
    max_size=3,
).map(tuple)
numbers = st.integers(1, 1 << 40)
records: st.SearchStrategy[list[Record]] = st.lists(
    st.one_of(
        st.builds(Sent, numbers, st.binary(max_size=200), requests),
        st.builds(Done, numbers, numbers, st.booleans()),
        st.builds(Past, numbers, numbers, st.binary(min_size=32, max_size=32), requests),
    ),
    max_size=6,
)


@given(records, st.data())
def test_a_torn_end_costs_the_last_record_only(written: list[Record], data: st.DataObject) -> None:
    framed = [frame_record(record) for record in written]
    whole = b"".join(framed)
    cut = data.draw(st.integers(0, len(whole)))
    found, taken = parse_records(whole[:cut])
    assert found == written[: len(found)]
    assert taken == sum(map(len, framed[: len(found)]))
    assert taken <= cut
    assert len(found) == len(written) or cut < taken + len(framed[len(found)])


@given(records.filter(bool), st.data())
def test_a_flipped_bit_is_never_a_record(written: list[Record], data: st.DataObject) -> None:
    whole = bytearray(b"".join(map(frame_record, written)))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    found, _ = parse_records(bytes(whole))
    assert found == written[: len(found)]
    assert len(found) < len(written)


def test_a_file_goes_on_after_its_torn_end(tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "deep" / "a.journal"
        journal = FileJournal(path)
        assert journal.load() == []
        journal.write(Done(1, 2, False))
        journal.write(Sent(2, b"payload", ()))
        await journal.sync()
        journal.close()
        path.write_bytes(path.read_bytes()[:-1])
        journal = FileJournal(path)
        assert journal.load() == [Done(1, 2, False)]
        journal.write(Done(3, 4, True))
        assert journal.size_bytes() == path.stat().st_size
        journal.close()
        assert parse_records(path.read_bytes())[0] == [Done(1, 2, False), Done(3, 4, True)]
        assert path.stat().st_mode & 0o077 == 0

    asyncio.run(scene())


def test_a_rewrite_replaces_all_and_is_written_on(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "a.journal")
    journal.load()
    for number in range(1, 9):
        journal.write(Sent(number, bytes(100), ()))
    journal.rewrite([Sent(8, bytes(100), ())])
    journal.write(Done(8, 9, False))
    assert journal.size_bytes() == (tmp_path / "a.journal").stat().st_size
    journal.close()
    reopened = FileJournal(tmp_path / "a.journal")
    assert reopened.load() == [Sent(8, bytes(100), ()), Done(8, 9, False)]
    reopened.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.journal"]


def record_of(size_bytes: int) -> Sent:
    """A record that takes exactly so many bytes in a file."""
    return next(
        record
        for filling in range(size_bytes)
        if len(frame_record(record := Sent(1, bytes(filling), ()))) == size_bytes
    )


@contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [1000, 1100, 1399])
def test_a_record_that_does_not_fit_leaves_no_trace(tmp_path: Path, limit: int) -> None:
    journal = FileJournal(tmp_path / "a.journal")
    journal.load()
    journal.write(record_of(1000))
    size_bytes = journal.size_bytes()
    assert size_bytes == 1000
    with files_limited_to(limit), pytest.raises(JournalFault):
        journal.write(Sent(2, bytes(500), ()))
    assert journal.size_bytes() == size_bytes
    journal.write(Done(1, 5, False))
    journal.close()
    reopened = FileJournal(tmp_path / "a.journal")
    assert [type(record).__name__ for record in reopened.load()] == ["Sent", "Done"]
    reopened.close()


def test_a_rewrite_without_room_keeps_the_old_records(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "a.journal")
    journal.load()
    journal.write(Sent(1, bytes(400), ()))
    with files_limited_to(100), pytest.raises(JournalFault):
        journal.rewrite([Sent(1, bytes(400), ())])
    journal.write(Done(1, 5, False))
    journal.close()
    reopened = FileJournal(tmp_path / "a.journal")
    assert len(reopened.load()) == 2
    reopened.close()


def test_journals_are_known_by_name(tmp_path: Path) -> None:
    folder, memory = JournalFolder(tmp_path), MemoryJournals()
    for journals in (folder, memory):
        assert journals.names() == []
        for name in ("sender-2", "client-7"):
            journal = journals.open(name)
            journal.load()
            journal.write(Done(1, 1, False))
            if isinstance(journal, FileJournal):
                journal.close()
        assert journals.names() == ["client-7", "sender-2"]
        again = journals.open("client-7")
        assert again.load() == [Done(1, 1, False)]
        if isinstance(again, FileJournal):
            again.close()


def test_a_memory_journal_forgets_its_torn_end() -> None:
    store = bytearray(frame_record(Done(1, 1, False)) + b"\x09\x00")
    journal = MemoryJournal(store)
    assert journal.load() == [Done(1, 1, False)]
    journal.write(Done(2, 2, False))
    assert MemoryJournal(store).load() == [Done(1, 1, False), Done(2, 2, False)]
