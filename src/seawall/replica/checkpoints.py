"""Checkpoints under way: pages taken at once, written behind, sealed when certified."""

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from seawall.replica.disk import DiskFault
from seawall.replica.machine import digest_state
from seawall.replica.messages import OutcomeMessage
from seawall.replica.proofs import Proof
from seawall.replica.snapshots import Page, Seal, SnapshotStore


class SnapshotSealed(msgspec.Struct, frozen=True, tag=True):
    """A snapshot is complete: whoever starts may use it."""

    seq: int


class SnapshotAbandoned(msgspec.Struct, frozen=True, tag=True):
    """A snapshot came to nothing; an older one, or the log, still serves."""

    seq: int
    reason: str


class Taken(msgspec.Struct, frozen=True):
    """A state at a checkpoint, copied before the machine moved on."""

    message: OutcomeMessage
    state_digest: bytes
    pages: tuple[bytes, ...]


Prover = Callable[[OutcomeMessage], Proof | str | None]
"""Returns the proof, None while there is none yet, or why there never will be one."""


class Checkpointer:
    """Writes one snapshot at a time; a checkpoint that comes while it is busy is passed over.

    Parameters
    ----------
    prove : see `Prover`
    handovers : returns the proofs that lead from the first roster to the newest
    """

    def __init__(
        self,
        store: SnapshotStore,
        *,
        prove: Prover,
        handovers: Callable[[], tuple[Proof, ...]],
        notice: Callable[[SnapshotSealed | SnapshotAbandoned], None],
    ) -> None:
        self.sealed_seq = 0
        self._store = store
        self._prove = prove
        self._handovers = handovers
        self._notice = notice
        self._taken: Taken | None = None
        self._stirred = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether a snapshot is under way."""
        return self._taken is not None

    def take(self, message: OutcomeMessage, state_digest: bytes, pages: Iterable[bytes]) -> None:
        """Copy the state that `message` has just brought about; returns before it is written."""
        assert not self.busy
        self._taken = Taken(message=message, state_digest=state_digest, pages=tuple(pages))
        self._stirred.set()

    def stir(self) -> None:
        """Say that a certificate has come, so a proof may now exist."""
        if self.busy:
            self._stirred.set()

    def drop(self) -> None:
        """Forget the state taken: the replica that took it was outvoted."""
        self._taken = None
        self._stirred.set()

    async def run(self) -> None:
        """Write and seal, for ever. A crash at any point leaves older snapshots as they were."""
        while True:
            taken = self._taken
            if taken is None:
                self._stirred.clear()
                await self._stirred.wait()
                continue
            seq = taken.message.seq
            try:
                reason = await self._complete(taken)
                if reason is None:
                    self.sealed_seq = seq
                    self._notice(SnapshotSealed(seq=seq))
                else:
                    await self._store.discard(seq)
            except DiskFault as fault:
                reason = str(fault)
            if reason is not None:
                self._notice(SnapshotAbandoned(seq=seq, reason=reason))
            if self._taken is taken:
                self._taken = None

    async def _complete(self, taken: Taken) -> str | None:
        """Write pages and seal; return why it was not to be."""
        pages = await self._store.write_pages(taken.message.seq, taken.pages)
        # Pages that are not the state the machine said it had mean broken memory: stop here.
        assert digest_state(page.digest for page in pages) == taken.state_digest
        while self._taken is taken:
            proof = self._prove(taken.message)
            if isinstance(proof, str):
                return proof
            if proof is not None:
                await self._seal(proof, pages)
                return None
            await self._stirred.wait()
            self._stirred.clear()
        return "outvoted"

    async def _seal(self, proof: Proof, pages: tuple[Page, ...]) -> None:
        await self._store.write_seal(
            Seal(checkpoint=proof, pages=pages, handovers=self._handovers())
        )
