"""What an auditor process says on the bus: how far it has come, and where it disagrees."""

from collections.abc import Callable

import msgspec

from seawall.node.clock import Clock
from seawall.node.joined import Joined
from seawall.oversight.auditor import Auditor
from seawall.oversight.findings import Coverage, Finding
from seawall.replica.bus import Bus
from seawall.replica.messages import encode

STATUS_SUBJECT = "audit.status"
FINDING_SUBJECT = "audit.finding"
ASK_SUBJECT = "audit.ask"
FINDINGS_KEPT = 1000
FINDINGS_SENT_MAX = 64
"""Per entry; all are counted. A book that is wrong once differs ever after."""


class AuditStatus(msgspec.Struct, frozen=True, array_like=True):
    """How an auditor is: the entry it has audited last, and how much it looked at."""

    auditor: str
    seq: int
    coverage: Coverage
    at_ns: int


class AuditDesk:
    """An auditor with its mouth on the bus.

    It follows what is certified. A majority that agrees on something wrong is what it is for.
    """

    def __init__(
        self,
        name: str,
        bus: Bus,
        clock: Clock,
        *,
        status_interval_s: float,
        notice: Callable[[Finding], None],
    ) -> None:
        self.auditor = Auditor()
        self.findings: list[Finding] = []
        self._name = name
        self._bus = bus
        self._clock = clock
        self._status_interval_s = status_interval_s
        self._notice = notice
        self._unsent: list[Finding] = []

    def take(self, joined: Joined) -> None:
        """Audit the next released entry."""
        found = self.auditor.follow(joined.seq, joined.payload, joined.outcome_bytes)
        for finding in found:
            self._notice(finding)
        self.findings.extend(found)
        del self.findings[:-FINDINGS_KEPT]
        self._unsent.extend(found[:FINDINGS_SENT_MAX])
        del self._unsent[:-FINDINGS_KEPT]

    def status(self) -> AuditStatus:
        """Return how the auditor is."""
        return AuditStatus(
            self._name, self.auditor.seq, self.auditor.coverage, self._clock.now_ns()
        )

    async def run(self) -> None:
        """Publish findings and the status, and answer who asks, until cancelled."""
        await self._bus.serve(ASK_SUBJECT, self._answer, group=self._name)
        while True:
            unsent, self._unsent = self._unsent, []
            for finding in unsent:
                await self._bus.publish(FINDING_SUBJECT, encode(finding))
            await self._bus.publish(STATUS_SUBJECT, encode(self.status()))
            await self._clock.sleep(self._status_interval_s)

    async def _answer(self, data: bytes) -> bytes:
        del data
        return encode(self.status())
