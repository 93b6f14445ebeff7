"""Evidence: what a replica keeps of its offences, on its own disk, past any restart."""

import msgspec

from seawall.replica.disk import Disk
from seawall.replica.quarantine import Standing, resume
from seawall.replica.sealed import seal, unseal
from seawall.replica.votes import Certificate, Vote

MAGIC = b"SWEVIDN\n"


class Offence(msgspec.Struct, frozen=True, array_like=True):
    """A replica was outvoted: its own chain, and the certificate that says otherwise.

    `seq` is the entry of the certificate; the first wrong outcome is at or before it.
    `votes` are those it had cast lately; `settled` tells that it has rejoined since.
    """

    replica: str
    index: int
    seq: int
    chain: bytes
    certificate: Certificate
    voted_seq: int
    votes: tuple[Vote, ...]
    at_ns: int
    settled: bool = False


def evidence_name(replica: str, index: int) -> str:
    """Return the name of the file that holds the replica's offence number `index`."""
    return f"offence-{replica}-{index:04d}.evidence"


class EvidenceStore:
    """The offences of one replica. An operator who has mended the machine empties the folder."""

    def __init__(self, disk: Disk, *, replica: str) -> None:
        self._disk = disk
        self._replica = replica

    async def keep(self, offence: Offence) -> None:
        """Write an offence durably; the same index replaces what was said of it before."""
        name = evidence_name(self._replica, offence.index)
        await self._disk.write(name, (seal(MAGIC, offence),))

    async def offences(self) -> tuple[list[Offence], int]:
        """Return the offences kept, oldest first, and how many files could not be read."""
        kept: list[Offence] = []
        unreadable_count = 0
        for name in await self._disk.names():
            if not name.startswith(f"offence-{self._replica}-"):
                continue
            read = unseal(MAGIC, Offence, await self._disk.read(name))
            if isinstance(read, str):
                unreadable_count += 1
            else:
                kept.append(read)
        return kept, unreadable_count

    async def settle(self) -> None:
        """Mark every offence as settled: the replica has rejoined."""
        kept, _ = await self.offences()
        for offence in kept:
            if not offence.settled:
                await self.keep(msgspec.structs.replace(offence, settled=True))

    async def standing(self) -> Standing:
        """Return where the replica stands at its start. A file that rotted counts as an offence."""
        kept, unreadable_count = await self.offences()
        return resume(
            offences=len(kept) + unreadable_count,
            offence_seq=max((offence.seq for offence in kept), default=0),
            voted_seq=max((offence.voted_seq for offence in kept), default=0),
            settled=all(offence.settled for offence in kept),
        )
