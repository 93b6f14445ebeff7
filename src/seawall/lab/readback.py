"""Reading back: the whole log from the broker, replayed, against what clients were told.

Nothing of the gateway's books is used: commands are looked for by what they say, and a machine of
our own decides which entries were applied.
"""

import asyncio
from collections import Counter
from contextlib import aclosing

import msgspec

from seawall.lab.counterfoils import Counterfoil, Print, print_of
from seawall.node.clock import SystemClock
from seawall.node.wiring import ClearingMachine
from seawall.protocol.codec import (
    SignedBatch,
    decode_outcome,
    decode_payload,
    entry_digest,
    log_id_of,
    outcome_digest,
)
from seawall.protocol.codes import Reject
from seawall.protocol.digest import genesis_chain, next_chain
from seawall.protocol.events import EntryRefused, Repeated
from seawall.replica.archive import Archive
from seawall.replica.log import Log
from seawall.replica.reading import read_steadily
from seawall.replica.segments import Record, Segment
from seawall.replica.votes import Certificate

CERTAIN = (Reject.BACKLOG, Reject.LOG_DOWN, Reject.RULES_FUTURE, Reject.BATCH_LARGE)
"""Answers of a gateway that promise that the commands are not in the log."""
REPLAYED_AT_ONCE = 16


class Replayed(msgspec.Struct, frozen=True):
    """The log as it was read back, and what a machine of our own made of it."""

    records: tuple[Record, ...]
    applied: tuple[bool, ...]
    """By entry: whether it was neither refused whole nor a repeat."""
    chain: bytes
    state_digest: bytes
    invariants_checked: int

    @property
    def last_seq(self) -> int:
        """Sequence of the last entry read."""
        return len(self.records)


class Kept(msgspec.Struct, frozen=True):
    """Whether the log keeps what clients were told.

    Attributes
    ----------
    acknowledged : commands whose client was told that the log holds them
    applied : of those, how many an entry that was applied holds
    lost : acknowledged and in no applied entry
    doubled : in more applied entries than they were asked for
    misplaced : acknowledged, but not where the receipt says
    unknown : commands whose client was not told whether the log holds them
    """

    acknowledged: int
    applied: int
    lost: int
    doubled: int
    misplaced: int
    unknown: int


async def replay(log: Log, last_seq: int) -> Replayed:
    """Read entries 1 to `last_seq` and apply them to an empty machine."""
    machine = ClearingMachine()
    records: list[Record] = []
    applied: list[bool] = []
    chain = b""
    async with aclosing(read_steadily(log, SystemClock(), 1, lambda _: None)) as entries:
        async for entry in entries:
            outcome = machine.apply(entry.seq, entry.payload)
            if entry.seq == 1:
                chain = genesis_chain(log_id_of(entry.payload))
            record = Record(entry.payload, outcome_digest(outcome))
            chain = next_chain(chain, entry.seq, entry_digest(entry.payload), record.outcome_digest)
            records.append(record)
            first = decode_outcome(outcome).events[:1]
            applied.append(not any(isinstance(e, EntryRefused | Repeated) for e in first))
            if entry.seq >= last_seq:
                break
            if entry.seq % REPLAYED_AT_ONCE == 0:
                # Connections must be answered meanwhile.
                await asyncio.sleep(0)
    return Replayed(
        tuple(records), tuple(applied), chain, machine.digest(), machine.invariants_checked
    )


def compare(replayed: Replayed, counterfoils: list[Counterfoil]) -> Kept:
    """Hold the log against all that was asked and all that was acknowledged."""
    found: Counter[Print] = Counter()
    places: dict[int, list[Print]] = {}
    for seq, (record, applied) in enumerate(
        zip(replayed.records, replayed.applied, strict=True), 1
    ):
        content = decode_payload(record.payload)
        if applied and isinstance(content, SignedBatch):
            batch = content.batch
            places[seq] = [print_of(batch.sender_id, command) for command in batch.commands]
            found.update(places[seq])
    asked: Counter[Print] = Counter()
    acknowledged: Counter[Print] = Counter()
    misplaced = unknown = 0
    for foil in counterfoils:
        if foil.refused in CERTAIN:
            continue
        asked.update(foil.prints)
        if foil.receipt is None:
            unknown += len(foil.prints)
            continue
        acknowledged.update(foil.prints)
        index = foil.receipt.index
        there = places.get(foil.receipt.seq, [])[index : index + foil.receipt.count]
        misplaced += len(foil.prints) if tuple(there) != foil.prints else 0
    return Kept(
        acknowledged=acknowledged.total(),
        applied=(acknowledged & found).total(),
        lost=(acknowledged - found).total(),
        doubled=(found - asked).total(),
        misplaced=misplaced,
        unknown=unknown,
    )


def cut_segments(replayed: Replayed, certificates: dict[int, Certificate]) -> list[Segment]:
    """Return the log in segments that end where there is a certificate, the last entry included."""
    log_id = log_id_of(replayed.records[0].payload)
    segments: list[Segment] = []
    chain, first_seq = genesis_chain(log_id), 1
    ends = sorted(seq for seq in certificates if seq <= replayed.last_seq)
    for end in sorted({*ends, replayed.last_seq}):
        records = replayed.records[first_seq - 1 : end]
        segment = Segment(log_id, first_seq, chain, records, certificates.get(end))
        segments.append(segment)
        chain, first_seq = segment.compute_chain(), end + 1
    return segments


async def archive(segments: list[Segment], target: Archive) -> None:
    """Write the segments to an empty archive. Raises `ArchiveFault`, `DiskFault`."""
    for segment in segments:
        await target.write(segment)
