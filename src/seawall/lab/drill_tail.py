"""The tail of the log: read back after each fault, replayed, and held against what was promised."""

import asyncio
from contextlib import aclosing

from seawall.lab.drill_flow import Execution
from seawall.lab.readback import Replayed
from seawall.node.clock import SystemClock
from seawall.node.wiring import ClearingMachine
from seawall.protocol.codec import (
    decode_outcome,
    entry_digest,
    log_id_of,
    outcome_digest,
)
from seawall.protocol.digest import genesis_chain, next_chain
from seawall.protocol.effects import AnyEffect
from seawall.protocol.events import EntryRefused, Repeated
from seawall.replica.log import Log
from seawall.replica.machine import Roster
from seawall.replica.messages import Status
from seawall.replica.reading import read_steadily
from seawall.replica.segments import Record
from seawall.replica.votes import verify_certificate

REPLAYED_AT_ONCE = 16


class Tail:
    """A machine of the drill's own that reads on from where it stood, and remembers each chain.

    Attributes
    ----------
    effects : what the entries ask of the world, by key
    """

    def __init__(self) -> None:
        self.effects: dict[str, AnyEffect] = {}
        self._machine = ClearingMachine()
        self._records: list[Record] = []
        self._applied: list[bool] = []
        self._chains: list[bytes] = []

    @property
    def seq(self) -> int:
        """The last entry read."""
        return len(self._records)

    def chain_at(self, seq: int) -> bytes | None:
        """Return the chain after an entry, None if it is not read yet."""
        return self._chains[seq - 1] if 1 <= seq <= self.seq else None

    async def read_on(self, log: Log, last_seq: int) -> None:
        """Read and apply up to `last_seq`."""
        if self.seq >= last_seq:
            return
        stream = read_steadily(log, SystemClock(), self.seq + 1, lambda _: None)
        async with aclosing(stream) as entries:
            async for entry in entries:
                self._take(entry.payload)
                if self.seq >= last_seq:
                    return
                if self.seq % REPLAYED_AT_ONCE == 0:
                    # Clients and connections go on meanwhile.
                    await asyncio.sleep(0)

    def _take(self, payload: bytes) -> None:
        seq = self.seq + 1
        outcome_bytes = self._machine.apply(seq, payload)
        outcome = decode_outcome(outcome_bytes)
        record = Record(payload, outcome_digest(outcome_bytes))
        before = self._chains[-1] if self._chains else genesis_chain(log_id_of(payload))
        chain = next_chain(before, seq, entry_digest(payload), record.outcome_digest)
        self._records.append(record)
        self._chains.append(chain)
        refused = any(isinstance(event, EntryRefused | Repeated) for event in outcome.events[:1])
        self._applied.append(not refused)
        for index, effect in enumerate(outcome.effects):
            self.effects[f"{seq}:{index}"] = effect

    def replayed(self) -> Replayed:
        """Return all that was read so far."""
        return Replayed(
            tuple(self._records),
            tuple(self._applied),
            self._chains[-1],
            self._machine.digest(),
            self._machine.invariants_checked,
        )

    def differs(self, status: Status) -> bool:
        """Tell whether a replica says another chain than this machine has after that entry."""
        own = self.chain_at(status.seq)
        return own is not None and own != status.chain

    def is_covered(self, execution: Execution, roster: Roster) -> bool:
        """Tell whether a payout had, when it was asked for, a certificate that covers it.

        The certificate must hold with public keys alone and lie on our own chain, and our own
        replay must ask for the very same payout.
        """
        certificate = execution.certificate
        if certificate is None or int(execution.key.partition(":")[0]) > certificate.seq:
            return False
        return (
            verify_certificate(certificate, roster) is None
            and self.chain_at(certificate.seq) == certificate.chain
            and self.effects.get(execution.key) == execution.effect
        )
