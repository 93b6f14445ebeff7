"""A stage for gateways: a log that misbehaves by plan, a machine that releases, virtual time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from seawall.node.charter import Charter, Terms, make_charter
from seawall.node.feed import Taker
from seawall.node.gateway import Gateway, Intake
from seawall.node.joined import Joined, join
from seawall.node.journal import MemoryJournals
from seawall.node.wiring import ClearingMachine
from seawall.protocol.codec import SignedBatch, decode_payload, encode_batch, entry_digest
from seawall.protocol.commands import (
    AnyCommand,
    AssetTerms,
    Batch,
    Mode,
    OpenAccounts,
    Role,
)
from seawall.protocol.digest import digest
from seawall.protocol.genesis import Limits, Parameters
from seawall.protocol.units import NS_PER_SECOND
from seawall.replica.log import (
    Appended,
    AppendRefused,
    AppendUnknown,
    Entry,
    LogUnavailable,
)
from seawall.replica.logs.memory import MemoryLog, MemoryStore

SENDERS = {
    "alice": Role.CLIENT,
    "bob": Role.CLIENT,
    "custody": Role.CUSTODY,
    "clock": Role.CLOCK,
    "effects": Role.EFFECTS,
    "govern": Role.GOVERN,
    "carol": Role.CLIENT,
}
ALICE, BOB, CUSTODY, CLOCK, EFFECTS, GOVERN, CAROL = range(1, 8)
OURS = (ALICE, BOB, CUSTODY, CLOCK, EFFECTS, GOVERN)
"""Whom the gateway signs for; carol signs for herself."""


def charter(*, limits: Limits | None = None) -> Charter:
    names = [*SENDERS, "replica-1", "replica-2", "replica-3"]
    terms = Terms(
        "stage",
        dict(SENDERS),
        (AssetTerms("USD", 6),),
        limits=limits or Limits(accounts_max=512),
        parameters=Parameters(governance_delay_ns=0),
    )
    return make_charter(terms, {name: digest(name.encode()) for name in names})


CHARTER = charter()


class VirtualClock:
    """The loop's time, whatever loop it is."""

    def now_ns(self) -> int:
        return int(asyncio.get_running_loop().time() * NS_PER_SECOND)

    def monotonic_ns(self) -> int:
        return self.now_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class PlannedLog:
    """A log on a shared store; each append meets the next fate of the plan, then all is well.

    Fates: "ok"; "lost" (stored, no answer); "never" (not stored, no answer); "refused"; "down".
    """

    def __init__(self, store: MemoryStore, fates: Sequence[str] = ()) -> None:
        self.store = store
        self.fates = list(fates)
        self.message_ids: list[str] = []
        self.is_down = False
        self.in_flight = 0
        self.in_flight_most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._log = MemoryLog(store)

    async def append(self, message_id: str, payload: bytes) -> Appended:
        self.message_ids.append(message_id)
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight_most, self.in_flight)
        try:
            return await self._append(message_id, payload)
        finally:
            self.in_flight -= 1

    async def _append(self, message_id: str, payload: bytes) -> Appended:
        await asyncio.sleep(0.001)
        await self.gate.wait()
        fate = "down" if self.is_down else self.fates.pop(0) if self.fates else "ok"
        if fate == "refused":
            raise AppendRefused("refused by plan")
        if fate == "down":
            raise LogUnavailable("down by plan")
        if fate == "never":
            raise AppendUnknown("never arrived")
        appended = await self._log.append(message_id, payload)
        await asyncio.sleep(0.001)
        if fate == "lost":
            raise AppendUnknown("the answer was lost")
        return appended

    def read(self, first_seq: int) -> AsyncIterator[Entry]:
        return self._log.read(first_seq)

    async def last_seq(self) -> int:
        return len(self.store.entries)

    async def close(self) -> None:
        await self._log.close()


class Stage:
    """One log, one machine, and the lives of one gateway."""

    def __init__(self, fates: Sequence[str] = (), *, intake: Intake | None = None) -> None:
        self.store = MemoryStore()
        self.store.store("genesis", CHARTER.payload)
        self.journals = MemoryJournals()
        self.clock = VirtualClock()
        self.log = PlannedLog(self.store, fates)
        self.intake = intake or Intake()
        self.machine = ClearingMachine()
        self.history: list[Joined] = []
        self.releasing = asyncio.Event()
        self.releasing.set()

    def new_gateway(self, ours: Sequence[int] = OURS) -> Gateway:
        keys = {sender: CHARTER.sender_keys()[sender] for sender in ours}
        return Gateway(
            CHARTER.log_id, self.log, self.clock, keys, self.journals, intake=self.intake
        )

    @asynccontextmanager
    async def open(
        self, gateway: Gateway | None = None, *, takers: Sequence[Taker] = ()
    ) -> AsyncIterator[Gateway]:
        """A life of the gateway, fed with all that was and will be released."""
        gateway = gateway or self.new_gateway()
        running = asyncio.create_task(gateway.run())
        feeding = asyncio.create_task(self.feed((Taker(gateway.take), *takers)))
        try:
            yield gateway
        finally:
            for task in (running, feeding):
                task.cancel()
            ended = await asyncio.gather(running, feeding, return_exceptions=True)
            for end in ended:
                if not isinstance(end, asyncio.CancelledError) and end is not None:
                    raise end

    async def feed(self, takers: Sequence[Taker]) -> None:
        """Hand over every entry as soon as it may be released, from entry 1 on."""
        async for entry in MemoryLog(self.store).read(1):
            await asyncio.sleep(0.001)
            await self.releasing.wait()
            self.apply_all()
            for taker in takers:
                taker.take(self.history[entry.seq - 1])

    def apply_all(self) -> None:
        """Let the machine catch up with the log."""
        for entry in self.store.entries[len(self.history) :]:
            outcome = self.machine.apply(entry.seq, entry.payload)
            digest_now = entry_digest(entry.payload)
            self.history.append(join(entry.seq, entry.payload, outcome, entry_digest=digest_now))

    def batches(self, sender_id: int) -> list[tuple[Batch, Joined]]:
        """All batches of a sender in the log, in order, with what became of them."""
        self.apply_all()
        found = []
        for joined in self.history:
            signed = decode_payload(joined.payload)
            if isinstance(signed, SignedBatch) and signed.batch.sender_id == sender_id:
                found.append((signed.batch, joined))
        return found

    def applied(self, sender_id: int) -> list[AnyCommand]:
        """Every command of the sender that was applied, as often as it was."""
        return [
            command
            for batch, joined in self.batches(sender_id)
            if joined.is_applied
            for place, command in enumerate(batch.commands)
            if place not in joined.rejected
        ]

    def numbers(self, sender_id: int) -> list[int]:
        """The numbers that the machine accepted, in order."""
        return [batch.number for batch, joined in self.batches(sender_id) if joined.is_applied]


def opening(count: int) -> OpenAccounts:
    """A command that is told apart by its count."""
    return OpenAccounts(count, Mode.CROSS)


def signed(sender_id: int, number: int, *commands: AnyCommand, log_id: bytes = b"") -> bytes:
    """A batch as a client with its own key would sign it."""
    name = [*SENDERS][sender_id - 1]
    batch = Batch(log_id or CHARTER.log_id, sender_id, number, commands)
    return encode_batch(batch, CHARTER.keys[name])
