"""Verify: everything that an outside party can check of a log, with only its public keys."""

import msgspec

from seawall.clearing.machine import Machine
from seawall.lab.recording import Recording
from seawall.lab.replay import Progress, Step, ignore, steps
from seawall.oversight.auditor import Auditor
from seawall.protocol.codec import log_id_of, outcome_digest
from seawall.replica.machine import Roster
from seawall.replica.votes import Certificate, verify_certificate

PROBLEMS_MAX = 50


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, and at which entry."""

    seq: int
    kind: str
    """`outcome`, `certificate`, `uncertified` or `auditor`."""
    detail: str


class Verified(msgspec.Struct, frozen=True):
    """What was checked; `problems` is empty if all of it holds."""

    log_id: str
    entries: int
    chain: str
    state_digest: str
    certificates: int
    certified_seq: int
    """Newest entry that a certificate covers; 0 if the recording holds none."""
    compared: int
    """Figures the auditor compared with its own."""
    invariants_checked: int
    problems: tuple[Problem, ...]
    problems_count: int

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return self.problems_count == 0


class _Checks:
    """Collects what is wrong while a log is replayed."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.count = 0
        self.certificates = 0
        self.certified_seq = 0
        self.has_outcomes = False

    def note(self, seq: int, kind: str, detail: str) -> None:
        self.count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(seq, kind, detail))

    def check(self, step: Step, roster: Roster) -> None:
        recorded = step.recorded
        if recorded.outcome_digest:
            self.has_outcomes = True
            if recorded.outcome_digest != outcome_digest(step.outcome):
                self.note(recorded.seq, "outcome", "replaying gives another outcome")
        if recorded.certificate is not None:
            self._check_certificate(recorded.seq, recorded.certificate, step.chain, roster)

    def _check_certificate(
        self, seq: int, certificate: Certificate, chain: bytes, roster: Roster
    ) -> None:
        wrong = verify_certificate(certificate, roster)
        if wrong is None and (certificate.seq, certificate.chain) != (seq, chain):
            wrong = "it certifies another chain"
        if wrong is not None:
            self.note(seq, "certificate", wrong)
            return
        self.certificates += 1
        self.certified_seq = seq


def roster_of(machine: Machine) -> Roster:
    """Return the replica set in state, as votes are checked against it."""
    log_id, epoch, replicas = machine.replicas()
    return Roster(log_id, epoch, tuple(sorted((r.name, r.public_key) for r in replicas)))


async def verify(recording: Recording, *, progress: Progress = ignore) -> Verified:
    """Replay the log; check outcomes, certificates and, figure by figure, the auditor's books."""
    machine, auditor, checks = Machine(), Auditor(), _Checks()
    chain, log_id = b"", ""
    voters = roster_of(machine)
    async for step in steps(recording, machine, progress=progress):
        seq = step.recorded.seq
        if seq == 1:
            log_id = log_id_of(step.recorded.payload).hex()
            voters = roster_of(machine)
        # An entry is voted on by the set in force before it.
        checks.check(step, voters)
        voters = roster_of(machine)
        for finding in auditor.follow(seq, step.recorded.payload, step.outcome):
            told = f"{finding.rule} {finding.subject}: {finding.expected}, not {finding.got}"
            checks.note(seq, "auditor", told)
        chain = step.chain
    if checks.has_outcomes and checks.certified_seq < machine.seq:
        checks.note(machine.seq, "uncertified", f"certificates end at entry {checks.certified_seq}")
    return Verified(
        log_id=log_id,
        entries=machine.seq,
        chain=chain.hex(),
        state_digest=machine.digest().hex(),
        certificates=checks.certificates,
        certified_seq=checks.certified_seq,
        compared=auditor.coverage.compared,
        invariants_checked=machine.invariants_checked,
        problems=tuple(checks.problems),
        problems_count=checks.count,
    )
