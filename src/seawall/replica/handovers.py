"""Handovers: changes of the replica set, each proved by the last certificate of the old one."""

from collections.abc import Callable, Mapping

from seawall.replica.bus import Bus, RequestFailed
from seawall.replica.history import History
from seawall.replica.machine import Roster
from seawall.replica.messages import (
    ANSWER_TIMEOUT_S,
    OutcomeMessage,
    OutcomesAnswered,
    OutcomesAsked,
    decode,
    encode,
)
from seawall.replica.proofs import Proof, verify_proof
from seawall.replica.votes import Certificate


class Handovers:
    """The proofs of all changes so far, and the changes that still lack one.

    A snapshot needs every proof, or whoever starts from it could not trust its certificate.
    """

    def __init__(self, proved: tuple[Proof, ...] = ()) -> None:
        self.proved = proved
        self.due: list[OutcomeMessage] = []

    def prove(self, history: History, certificate_at: Callable[[int], Certificate | None]) -> None:
        """Prove what can be proved from the certificates at hand, oldest first."""
        while self.due:
            certificate = certificate_at(self.due[0].seq)
            if certificate is None:
                return
            proof = history.prove(self.due[0], certificate)
            if proof is None:
                return
            self._take(proof)

    async def seek(
        self, bus: Bus, peers: list[str], history: History, rosters: Mapping[int, Roster]
    ) -> None:
        """Ask peers for the oldest proof that is due: its votes may never have come here."""
        for peer in peers:
            if not self.due:
                return
            seq = self.due[0].seq
            asked = encode(OutcomesAsked(first_seq=seq, last_seq=seq))
            try:
                data = await bus.request(f"outcomes.{peer}", asked, timeout_s=ANSWER_TIMEOUT_S)
            except RequestFailed:
                continue
            answered = decode(OutcomesAnswered, data)
            for proof in () if answered is None else answered.handovers:
                voters = rosters.get(proof.certificate.epoch)
                if not self.due or proof.seq != self.due[0].seq or voters is None:
                    continue
                if verify_proof(proof, voters) is not None:
                    continue
                if proof.chain == history.chain_at(proof.seq):
                    self._take(proof)

    def _take(self, proof: Proof) -> None:
        self.proved = (*self.proved, proof)
        self.due.pop(0)
