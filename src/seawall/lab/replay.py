"""Replay: the state at any entry, from the log alone."""

from collections.abc import AsyncIterator, Callable

import msgspec

from seawall.clearing.machine import Machine
from seawall.lab.recording import Recorded, Recording, RecordingFault
from seawall.protocol.codec import entry_digest, log_id_of, outcome_digest
from seawall.protocol.digest import genesis_chain, next_chain

Progress = Callable[[int], None]


class Step(msgspec.Struct, frozen=True):
    """An entry, what the machine made of it, and the chain after it."""

    recorded: Recorded
    outcome: bytes
    chain: bytes


class Replayed(msgspec.Struct, frozen=True):
    """Where a replay ended; hexadecimal digests."""

    log_id: str
    seq: int
    state_digest: str
    chain: str
    mismatches: int
    """Entries whose recorded outcome is not what the machine makes of them now."""


def ignore(_: int) -> None:
    """Show no progress."""


async def steps(
    recording: Recording,
    machine: Machine,
    *,
    until: int | None = None,
    progress: Progress = ignore,
) -> AsyncIterator[Step]:
    """Apply the entries up to `until` to an empty machine and yield every step.

    Raises
    ------
    RecordingFault
        `out_of_range` if `until` lies beyond the recording.
    """
    last = await recording.last_seq()
    if until is not None and not 1 <= until <= last:
        raise RecordingFault("out_of_range", f"entry {until} is not in 1 to {last}")
    chain = b""
    async for recorded in recording.entries():
        if recorded.seq == 1:
            chain = genesis_chain(log_id_of(recorded.payload))
        outcome = machine.apply(recorded.seq, recorded.payload)
        chain = next_chain(
            chain, recorded.seq, entry_digest(recorded.payload), outcome_digest(outcome)
        )
        progress(recorded.seq)
        yield Step(recorded, outcome, chain)
        if recorded.seq == until:
            return


async def replay(
    recording: Recording, *, until: int | None = None, progress: Progress = ignore
) -> Replayed:
    """Return the digests after entry `until`, by default the last one."""
    machine = Machine()
    mismatches, chain, log_id = 0, b"", ""
    async for step in steps(recording, machine, until=until, progress=progress):
        known, chain = step.recorded.outcome_digest, step.chain
        mismatches += bool(known) and known != outcome_digest(step.outcome)
        if step.recorded.seq == 1:
            log_id = log_id_of(step.recorded.payload).hex()
    return Replayed(log_id, machine.seq, machine.digest().hex(), chain.hex(), mismatches)
