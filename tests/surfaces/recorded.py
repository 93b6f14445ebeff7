"""A short, eventful log on disk, in both forms: the first minutes of a crash, with three voters."""

import asyncio
from pathlib import Path

from seawall.lab.bars import SCENARIOS, read_bars
from seawall.lab.cast import REPLICAS, make_cast
from seawall.lab.paper import Paper
from seawall.lab.script import Script
from seawall.lab.verify import roster_of
from seawall.protocol.codec import entry_digest, log_id_of, outcome_digest
from seawall.protocol.digest import genesis_chain, next_chain
from seawall.protocol.signatures import SigningKey
from seawall.replica.archive import Archive
from seawall.replica.disk import FolderDisk
from seawall.replica.logs.sqlite import SqliteLog
from seawall.replica.segments import Record, Segment
from seawall.replica.votes import Certificate, cast_vote
from tests.lab.solo import Solo

SEED, TRADERS, MINUTES = 5, 60, 40
SEGMENT_ENTRIES = 100


def play() -> Solo:
    """Play the worst minutes of March 2020 before one machine."""
    bars = read_bars(SCENARIOS["march-2020"], quick=True)[75 : 75 + MINUTES]
    cast = make_cast(SEED, TRADERS, bars[0].at_ns - 1)
    solo = Solo(cast)
    script = Script(solo, seed=SEED, accounts=TRADERS, bars=bars)
    solo.hear = script.hear
    solo.paper = Paper(script.execute)

    async def playing() -> None:
        await script.open()
        for minute in range(1, len(bars)):
            await script.play(minute)

    asyncio.run(playing())
    return solo


def write_sqlite(solo: Solo, path: Path) -> None:
    """Write the entries alone."""

    async def writing() -> None:
        log = SqliteLog(path, threaded=False)
        for number, (payload, _) in enumerate(solo.entries):
            await log.append(f"m{number}", payload)
        await log.close()

    asyncio.run(writing())


def write_archive(
    solo: Solo, folder: Path, *, voters: int = 3, altered_seq: int = 0, certify: bool = True
) -> None:
    """Write segments of entries, outcome digests and certificates.

    Parameters
    ----------
    voters : how many of the three replicas sign
    altered_seq : entry whose outcome digest is another one; the voters sign that
    """
    log_id = log_id_of(solo.entries[0][0])
    roster = roster_of(solo.machine)
    keys = {name: SigningKey(make_cast(SEED, TRADERS, 0).replica_seeds[name]) for name in REPLICAS}
    records = [
        Record(payload, bytes(32) if seq == altered_seq else outcome_digest(outcome))
        for seq, (payload, outcome) in enumerate(solo.entries, 1)
    ]

    async def writing() -> None:
        archive = Archive(FolderDisk(folder, writer="test"))
        seq, chain = 0, genesis_chain(log_id)
        for start in range(0, len(records), SEGMENT_ENTRIES):
            part = tuple(records[start : start + SEGMENT_ENTRIES])
            first, before = seq + 1, chain
            for record in part:
                seq += 1
                entry = entry_digest(record.payload)
                chain = next_chain(chain, seq, entry, record.outcome_digest)
            votes = tuple(
                cast_vote(keys[name], roster=roster, replica=name, first_seq=seq, chains=chain)
                for name in REPLICAS[:voters]
            )
            certificate = Certificate(log_id, roster.epoch, seq, chain, votes)
            await archive.write(
                Segment(log_id, first, before, part, certificate if certify else None)
            )

    asyncio.run(writing())
