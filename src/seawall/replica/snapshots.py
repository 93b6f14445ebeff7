"""Snapshots: certified states in files. Pages first, the seal last; no seal, no snapshot.

`state-<seq>.pages` holds the pages end to end, `state-<seq>.seal` says what they are and proves
it: page digests → state digest → outcome → chain → certificate → roster.
"""

from collections.abc import Callable, Iterable

import msgspec

from seawall.protocol.digest import DIGEST_BYTES
from seawall.replica.disk import Disk, DiskFault
from seawall.replica.machine import (
    PAGE_BYTES_MAX,
    Roster,
    StateMachine,
    digest_page,
    digest_state,
)
from seawall.replica.proofs import Proof, follow_handovers, verify_proof
from seawall.replica.sealed import seal, unseal

MAGIC = b"SWSTATE\n"
KEPT = 3


class Page(msgspec.Struct, frozen=True, array_like=True):
    """Size and digest of one page."""

    size_bytes: int
    digest: bytes


class Seal(msgspec.Struct, frozen=True, array_like=True):
    """What makes pages a snapshot: `checkpoint` proves the outcome that holds their digest."""

    checkpoint: Proof
    pages: tuple[Page, ...]
    handovers: tuple[Proof, ...]


class SnapshotRefused(msgspec.Struct, frozen=True, tag=True):
    """A snapshot that may not be used, and why."""

    name: str
    reason: str


class Restored(msgspec.Struct, frozen=True):
    """A machine restored from a certified snapshot, and where it stands."""

    machine: StateMachine
    checkpoint: Proof
    handovers: tuple[Proof, ...]


class _Unfit(Exception):
    """Why a snapshot is not to be used; never leaves this file."""


def pages_name(seq: int) -> str:
    """Return the name of the file that holds the pages after entry `seq`."""
    return f"state-{seq:020d}.pages"


def seal_name(seq: int) -> str:
    """Return the name of the file whose presence makes it a snapshot."""
    return f"state-{seq:020d}.seal"


def _seq_of(name: str, suffix: str) -> int | None:
    digits = name.removeprefix("state-").removesuffix(suffix)
    if name.endswith(suffix) and len(digits) == 20 and digits.isdigit():
        return int(digits)
    return None


class SnapshotStore:
    """The snapshots of one replica; nobody else writes to its disk, so nobody can spoil them.

    Parameters
    ----------
    kept : how many of the newest snapshots are retained
    """

    def __init__(self, disk: Disk, *, kept: int = KEPT) -> None:
        assert kept >= 1
        self._disk = disk
        self._kept = kept

    async def sealed(self) -> list[int]:
        """Return the sequences that have a seal, newest first; whether they hold is not known."""
        found = [_seq_of(name, ".seal") for name in await self._disk.names()]
        return sorted((seq for seq in found if seq is not None), reverse=True)

    async def write_pages(self, seq: int, pages: Iterable[bytes]) -> tuple[Page, ...]:
        """Write the pages of a state that may yet be certified; return what the seal will say."""
        chunks = tuple(pages)
        assert all(1 <= len(chunk) <= PAGE_BYTES_MAX for chunk in chunks)
        described = tuple(Page(size_bytes=len(c), digest=digest_page(c)) for c in chunks)
        await self._disk.write(pages_name(seq), chunks)
        return described

    async def write_seal(self, written: Seal) -> None:
        """Complete a snapshot, then remove what is beyond retention."""
        await self._disk.write(seal_name(written.checkpoint.seq), (seal(MAGIC, written),))
        await self._retain()

    async def discard(self, seq: int) -> None:
        """Remove pages that were never certified."""
        await self._disk.remove(pages_name(seq))

    async def _retain(self) -> None:
        sealed = await self.sealed()
        for seq in sealed[self._kept :]:
            # The seal goes first: what has none is no snapshot.
            await self._disk.remove(seal_name(seq))
            await self._disk.remove(pages_name(seq))
        for name in await self._disk.names():
            orphan_seq = _seq_of(name, ".pages")
            if orphan_seq is not None and orphan_seq not in sealed and orphan_seq < sealed[0]:
                await self._disk.remove(name)

    async def restore(
        self,
        new_machine: Callable[[], StateMachine],
        anchor: Roster,
        *,
        seq_max: int | None = None,
    ) -> tuple[Restored | None, list[SnapshotRefused]]:
        """Return a machine in the newest state that is certified, and what was refused before.

        Parameters
        ----------
        anchor : the roster trusted from the start, as entry 1 or the operator names it
        seq_max : take no newer one
        """
        refused: list[SnapshotRefused] = []
        for seq in await self.sealed():
            if seq_max is not None and seq > seq_max:
                continue
            machine = new_machine()
            try:
                restored = await self._restore(seq, machine, anchor)
            except (_Unfit, DiskFault) as unfit:
                refused.append(SnapshotRefused(name=seal_name(seq), reason=str(unfit)))
                continue
            return restored, refused
        return None, refused

    async def _restore(self, seq: int, machine: StateMachine, anchor: Roster) -> Restored:
        written = await self._read_seal(seq, machine, anchor)
        pages = await self._read_pages(seq, written.pages)
        machine.restore(pages)
        # The pages are the certified ones, so a machine that disagrees with them is broken.
        assert machine.seq == seq
        assert machine.digest() == machine.checkpoint_of(written.checkpoint.outcome)
        return Restored(machine=machine, checkpoint=written.checkpoint, handovers=written.handovers)

    async def _read_seal(self, seq: int, machine: StateMachine, anchor: Roster) -> Seal:
        written = unseal(MAGIC, Seal, await self._disk.read(seal_name(seq)))
        if isinstance(written, str):
            raise _Unfit(written)
        if written.checkpoint.seq != seq:
            raise _Unfit("the seal of another snapshot")
        rosters = follow_handovers(anchor, written.handovers, machine.roster_of)
        if isinstance(rosters, str):
            raise _Unfit(rosters)
        roster = rosters.get(written.checkpoint.certificate.epoch)
        if roster is None:
            raise _Unfit("certified by an unknown epoch")
        if (wrong := verify_proof(written.checkpoint, roster)) is not None:
            raise _Unfit(wrong)
        certified_digest = machine.checkpoint_of(written.checkpoint.outcome)
        if certified_digest is None:
            raise _Unfit("the outcome is no checkpoint")
        if any(len(page.digest) != DIGEST_BYTES for page in written.pages):
            raise _Unfit("malformed page digest")
        if digest_state(page.digest for page in written.pages) != certified_digest:
            raise _Unfit("the pages are not those of the certified state")
        return written

    async def _read_pages(self, seq: int, described: tuple[Page, ...]) -> list[bytes]:
        name = pages_name(seq)
        pages: list[bytes] = []
        offset = 0
        for index, page in enumerate(described):
            if not 1 <= page.size_bytes <= PAGE_BYTES_MAX:
                raise _Unfit(f"page {index} has no possible size")
            data = await self._disk.read(name, offset=offset, size=page.size_bytes)
            if digest_page(data) != page.digest:
                raise _Unfit(f"page {index} differs from its digest")
            pages.append(data)
            offset += page.size_bytes
        if await self._disk.read(name, offset=offset, size=1):
            raise _Unfit("bytes behind the last page")
        return pages
