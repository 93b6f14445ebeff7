"""The watch: who keeps an eye on the house while the script plays, from the outside.

It hears what replicas and the auditor say of themselves, what votes prove against a replica, when
entries become durable and when they are released. It decides nothing.
"""

import asyncio
from collections.abc import Callable

from seawall.lab.chronicle import Chronicle
from seawall.lab.counterfoils import Counterfoils
from seawall.lab.pulse import Pulse
from seawall.node.audit import FINDING_SUBJECT, STATUS_SUBJECT, AuditStatus
from seawall.node.clock import Clock
from seawall.node.joined import Joined
from seawall.node.receipts import Answer, Receipt, Refused
from seawall.oversight.findings import Finding
from seawall.protocol.commands import AnyCommand
from seawall.protocol.events import AnyEvent
from seawall.replica.bus import Bus
from seawall.replica.findings import Certified, Dissent, Equivocation
from seawall.replica.messages import Status, decode
from seawall.replica.tasks import race
from seawall.replica.votes import Certificate

CERTIFICATE_EVERY = 500
"""Entries between certificates that are kept, for the archive."""


class Watch:
    """Everything that is noted during a run.

    Attributes
    ----------
    certificates : by the entry they are of: the newest one, and one every few hundred entries
    proofs : of replicas that were outvoted or signed two chains
    statuses : what each replica last said, with when it was heard
    audit : what the auditor last said; `findings` are its objections
    """

    def __init__(self, clock: Clock, hear: Callable[[tuple[AnyEvent, ...]], None]) -> None:
        self.pulse = Pulse()
        self.chronicle = Chronicle()
        self.counterfoils = Counterfoils()
        self.certificates: dict[int, Certificate] = {}
        self.newest: Certificate | None = None
        self.proofs: list[Dissent | Equivocation] = []
        self.statuses: dict[str, tuple[int, Status]] = {}
        self.audit: AuditStatus | None = None
        self.findings: list[Finding] = []
        self._clock = clock
        self._hear = hear
        self._kept_seq = 0

    # As a taker of the feed, and its notices.

    def take(self, joined: Joined) -> None:
        """Take notice of the next released entry."""
        self.pulse.release(self._clock.monotonic_ns(), joined.seq)
        self.chronicle.take(joined.payload, joined.outcome)
        self._hear(joined.outcome.events)

    def notice(self, what: object) -> None:
        """Take notice of what votes prove."""
        if isinstance(what, Certified):
            certificate = what.certificate
            self.newest = certificate
            if certificate.seq >= self._kept_seq + CERTIFICATE_EVERY:
                self._kept_seq = certificate.seq
                self.certificates[certificate.seq] = certificate
        elif isinstance(what, Dissent | Equivocation):
            self.proofs.append(what)

    # As the gateway's witness.

    def asked(self, ticket: int, sender_id: int, commands: tuple[AnyCommand, ...]) -> None:
        """Note that a client asked for commands."""
        self.counterfoils.asked(ticket, sender_id, commands)

    def acknowledged(self, ticket: int, receipt: Receipt) -> None:
        """Note that the client was told that the log holds them."""
        self.pulse.acknowledge(self._clock.monotonic_ns(), receipt.seq)
        self.counterfoils.acknowledged(ticket, receipt)

    def refused(self, ticket: int, refused: Refused) -> None:
        """Note that the client was told why not, or that it is not known."""
        self.counterfoils.refused(ticket, refused)

    def answered(self, ticket: int, answer: Answer) -> None:
        """Note that the outcome was released."""
        self.counterfoils.answered(ticket, answer)

    # On the bus.

    async def listen(self, bus: Bus) -> None:
        """Hear replicas and the auditor until cancelled."""
        await race(self._hear_replicas(bus), self._hear_audit(bus), self._hear_findings(bus))

    async def _hear_replicas(self, bus: Bus) -> None:
        async for message in bus.subscribe("status.>"):
            status = decode(Status, message.data)
            if status is not None:
                self.statuses[status.replica] = (self._clock.monotonic_ns(), status)

    async def _hear_audit(self, bus: Bus) -> None:
        async for message in bus.subscribe(STATUS_SUBJECT):
            self.audit = decode(AuditStatus, message.data) or self.audit

    async def _hear_findings(self, bus: Bus) -> None:
        async for message in bus.subscribe(FINDING_SUBJECT):
            finding = decode(Finding, message.data)
            if finding is not None:
                self.findings.append(finding)


async def until(true: Callable[[], bool], *, patience_s: float, poll_s: float = 0.02) -> bool:
    """Return once something is true, or False when patience ends."""
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + patience_s
    while not true():
        if loop.time() >= give_up_s:
            return False
        await asyncio.sleep(poll_s)
    return True
