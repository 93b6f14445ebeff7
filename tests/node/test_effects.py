"""The interpreter: once per key over any crash, never after expiry, never what is not certified."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from seawall.node.effects import IN_FLIGHT_MAX, DoorFault, Interpreter
from seawall.node.feed import Taker
from seawall.node.gateway import Gateway
from seawall.node.joined import Joined, join
from seawall.node.receipts import Receipt, Refused
from seawall.protocol.codec import encode_outcome, entry_digest, pack_int32, pack_int64
from seawall.protocol.commands import (
    AnyCommand,
    EffectStatus,
    Mode,
    OpenAccounts,
    RecordDeposits,
    ReportEffect,
    Tick,
    Withdraw,
)
from seawall.protocol.effects import AnyEffect, Payout, RaiseAlarm
from seawall.protocol.events import AnyEvent, EffectExpired, EffectReported, Outcome, TimeMoved
from seawall.protocol.ids import account_id
from seawall.protocol.units import NS_PER_HOUR
from tests.node.stage import ALICE, CLOCK, CUSTODY, EFFECTS, Stage
from tests.replica.virtual import play

ACCOUNT = account_id(1, 8)


class Bank:
    """A door that honours the key. Outlives the interpreters; its answers go by plan.

    Plan of each call: "ok"; "lost" (done, no answer); "never" (not done, no answer); "failed".
    """

    def __init__(self, plan: Sequence[str] = ()) -> None:
        self.plan = list(plan)
        self.ended: dict[str, EffectStatus] = {}
        self.paid_minor = 0
        self.executions: list[str] = []
        self.needless = 0
        self.queries: list[str] = []
        self.is_down = False

    async def execute(self, key: str, effect: AnyEffect) -> EffectStatus:
        self.executions.append(key)
        self.needless += key in self.ended
        await asyncio.sleep(0.002)
        fate = "never" if self.is_down else self.plan.pop(0) if self.plan else "ok"
        if fate == "never":
            raise DoorFault("no answer")
        if key not in self.ended:
            assert isinstance(effect, Payout)
            self.ended[key] = EffectStatus.FAILED if fate == "failed" else EffectStatus.DONE
            self.paid_minor += effect.amount_minor * (fate != "failed")
        await asyncio.sleep(0.002)
        if fate == "lost":
            raise DoorFault("no answer")
        return self.ended[key]

    async def query(self, key: str) -> EffectStatus | None:
        self.queries.append(key)
        await asyncio.sleep(0.001)
        if self.is_down:
            raise DoorFault("no answer")
        return self.ended.get(key)


class Office:
    """A stage with a bank, and lives of a gateway with an interpreter."""

    def __init__(self, plan: Sequence[str] = ()) -> None:
        self.stage = Stage()
        self.bank = Bank(plan)
        self.certified_seq = 0
        self.interpreter: Interpreter | None = None

    @asynccontextmanager
    async def open(self, *, acting: bool = True) -> AsyncIterator[Gateway]:
        gateway = self.stage.new_gateway()
        interpreter = Interpreter(
            EFFECTS,
            gateway,
            self.bank,
            self.stage.log,
            self.stage.clock,
            lambda: self.certified_seq,
        )
        self.interpreter = interpreter
        async with self.stage.open(gateway, takers=(Taker(interpreter.take),)):
            acts = asyncio.create_task(interpreter.run() if acting else asyncio.sleep(1e9))
            try:
                yield gateway
            finally:
                acts.cancel()
                (end,) = await asyncio.gather(acts, return_exceptions=True)
                if not isinstance(end, asyncio.CancelledError) and end is not None:
                    raise end

    def events(self, kind: type[EffectReported | EffectExpired]) -> list[tuple[int, int]]:
        self.stage.apply_all()
        return [
            (event.seq, event.index)
            for joined in self.stage.history
            for event in joined.outcome.events
            if isinstance(event, EffectReported | EffectExpired) and isinstance(event, kind)
        ]


async def say(gateway: Gateway, sender_id: int, *commands: AnyCommand, name: str = "") -> None:
    receipt = None
    while not isinstance(receipt, Receipt):
        receipt = await gateway.submit(sender_id, commands, request_id=name)
    answer = await gateway.wait_released(receipt)
    assert answer is None or answer.rejections == (), answer


async def fund(gateway: Gateway) -> None:
    """One account with money, and a machine that knows the time."""
    await say(gateway, CLOCK, Tick(NS_PER_HOUR))
    await say(gateway, ALICE, OpenAccounts(1, Mode.CROSS))
    deposit = RecordDeposits(1, 1, pack_int64([ACCOUNT]), pack_int32([0]), pack_int64([10**9]))
    await say(gateway, CUSTODY, deposit)


async def withdraw(gateway: Gateway, *amounts_minor: int) -> None:
    for amount_minor in amounts_minor:
        await say(gateway, ALICE, Withdraw(ACCOUNT, 0, amount_minor, 1), name=f"w{amount_minor}")


@pytest.mark.parametrize(
    "plan", [(), ("lost",), ("never",), ("never", "lost"), ("lost", "lost", "never")]
)
def test_an_effect_takes_place_once_and_is_reported_once(plan: tuple[str, ...]) -> None:
    async def scene() -> None:
        office = Office(plan)
        async with office.open() as gateway:
            await fund(gateway)
            await withdraw(gateway, 5, 7, 11)
            await asyncio.sleep(10)
            assert office.interpreter is not None
            assert office.interpreter.outbox == {}
            assert office.interpreter.figures.late == 0
        assert office.bank.paid_minor == 23
        assert len(office.bank.ended) == 3
        reported = office.events(EffectReported)
        assert len(reported) == len(set(reported)) == 3

    play(scene())


def test_a_door_that_does_not_honour_the_key_is_asked_before_each_further_try() -> None:
    async def scene() -> None:
        office = Office(("lost", "never"))
        async with office.open() as gateway:
            await fund(gateway)
            await withdraw(gateway, 5, 7)
            await asyncio.sleep(10)
        # The lost answer was asked for; only what had never arrived was sent again.
        assert sorted(office.bank.executions) == sorted([*office.bank.ended, "6:0"])
        assert office.bank.paid_minor == 12

    play(scene())


@pytest.mark.parametrize("plan", [(), ("lost",), ("never", "lost")])
@pytest.mark.parametrize("turns", range(40))
def test_killed_at_any_step_nothing_is_paid_twice_or_never(
    turns: int, plan: tuple[str, ...]
) -> None:
    async def scene() -> None:
        office = Office(plan)
        async with office.open(acting=False) as gateway:
            await fund(gateway)
            await withdraw(gateway, 5, 7)
        for patience in (turns, turns // 2, turns // 3 + 9):
            async with office.open():
                for _ in range(patience):
                    await asyncio.sleep(0.0007)
        async with office.open():
            await asyncio.sleep(5)
        assert office.bank.paid_minor == 12
        assert sorted(office.bank.ended) == sorted(set(office.bank.executions))
        # Whatever was done in an earlier life was found by asking, not by doing it again.
        assert office.bank.needless == 0
        reported = office.events(EffectReported)
        assert len(reported) == len(set(reported)) == 2

    play(scene())


def test_a_failed_effect_is_reported_as_failed_and_the_money_is_back() -> None:
    async def scene() -> None:
        office = Office(("failed",))
        async with office.open() as gateway:
            await fund(gateway)
            await withdraw(gateway, 5)
            await asyncio.sleep(2)
        assert office.bank.paid_minor == 0
        (reported,) = [
            event
            for joined in office.stage.history
            for event in joined.outcome.events
            if isinstance(event, EffectReported)
        ]
        assert reported.status == EffectStatus.FAILED

    play(scene())


def test_what_has_expired_is_never_begun() -> None:
    async def scene() -> None:
        office = Office()
        async with office.open(acting=False) as gateway:
            await fund(gateway)
            await withdraw(gateway, 5)
            await say(gateway, CLOCK, Tick(3 * NS_PER_HOUR))
        async with office.open():
            await asyncio.sleep(5)
        assert office.bank.executions == []
        assert len(office.events(EffectExpired)) == 1
        assert office.events(EffectReported) == []

    play(scene())


def test_nothing_is_begun_before_all_that_the_log_held_is_read() -> None:
    """The first life was paid and reported; the second must read that before it acts."""

    async def scene() -> None:
        office = Office()
        async with office.open() as gateway:
            await fund(gateway)
            await withdraw(gateway, 5)
            await asyncio.sleep(2)
        office.bank.ended.clear()  # a door that remembers nothing
        office.bank.queries.clear()
        async with office.open():
            await asyncio.sleep(2)
        assert office.bank.executions == ["5:0"]
        assert office.bank.queries == []

    play(scene())


def test_an_effect_waits_for_what_is_certified_and_not_yet_read() -> None:
    """The newest certificate covers an expiry that this node has not taken in yet."""

    async def scene() -> None:
        office = Office()
        async with office.open() as gateway:
            await fund(gateway)
            office.certified_seq = 6
            await withdraw(gateway, 5)
            await asyncio.sleep(1)
            assert office.bank.executions == []
            await say(gateway, CLOCK, Tick(3 * NS_PER_HOUR))
            await asyncio.sleep(1)
        assert office.bank.executions == []
        assert len(office.events(EffectExpired)) == 1

    play(scene())


def test_an_effect_that_expires_while_the_door_is_silent_is_counted() -> None:
    async def scene() -> None:
        office = Office()
        async with office.open() as gateway:
            await fund(gateway)
            office.bank.is_down = True
            await withdraw(gateway, 5)
            await asyncio.sleep(1)
            await say(gateway, CLOCK, Tick(NS_PER_HOUR * 3))
            await asyncio.sleep(5)
            assert office.interpreter is not None
            assert office.interpreter.figures.unknown == 1
            executions = len(office.bank.executions)
            assert executions == 1
            await asyncio.sleep(5)
            assert len(office.bank.executions) == executions

    play(scene())


def test_an_effect_that_took_place_and_expired_before_its_report_is_counted() -> None:
    async def scene() -> None:
        office = Office(("lost",))
        async with office.open() as gateway:
            await fund(gateway)
            original_query = office.bank.query

            async def slow_query(key: str) -> EffectStatus | None:
                await say(gateway, CLOCK, Tick(NS_PER_HOUR * 3))
                return await original_query(key)

            office.bank.query = slow_query  # type: ignore[method-assign]
            await withdraw(gateway, 5)
            await asyncio.sleep(5)
            assert office.interpreter is not None
            assert office.interpreter.figures.late == 1
        assert office.events(EffectReported) == []

    play(scene())


def joined_by_hand(seq: int, *events: AnyEvent, effects: tuple[AnyEffect, ...] = ()) -> Joined:
    outcome = encode_outcome(Outcome(seq, events, effects))
    return join(seq, b"by hand", outcome, entry_digest=entry_digest(b"by hand"))


def test_an_expired_effect_is_not_begun_even_if_nobody_took_it_out() -> None:
    async def scene() -> None:
        office = Office()
        due, past = (
            Payout(
                expires_at_ns=at_ns, account_id=ACCOUNT, asset_id=0, amount_minor=1, destination=1
            )
            for at_ns in (NS_PER_HOUR, NS_PER_HOUR - 1)
        )
        interpreter = Interpreter(
            EFFECTS,
            office.stage.new_gateway(),
            office.bank,
            office.stage.log,
            office.stage.clock,
            lambda: 0,
        )
        acts = asyncio.create_task(interpreter.run())
        interpreter.take(joined_by_hand(1, TimeMoved(NS_PER_HOUR), effects=(past, due)))
        await asyncio.sleep(1)
        acts.cancel()
        await asyncio.gather(acts, return_exceptions=True)
        assert list(office.bank.ended) == ["1:1"]

    play(scene())


def test_a_door_that_is_down_holds_up_its_own_kind_only() -> None:
    async def scene() -> None:
        office = Office(["never"] * 10_000)
        interpreter = Interpreter(
            EFFECTS,
            office.stage.new_gateway(),
            office.bank,
            office.stage.log,
            office.stage.clock,
            lambda: 0,
        )
        acts = asyncio.create_task(interpreter.run())
        payouts = tuple(Payout(NS_PER_HOUR, ACCOUNT, 0, 1, 1) for _ in range(40))
        alarms = tuple(RaiseAlarm(NS_PER_HOUR, "late", place) for place in range(3))
        interpreter.take(joined_by_hand(1, effects=(*payouts, *alarms)))
        await asyncio.sleep(5)
        acts.cancel()
        await asyncio.gather(acts, return_exceptions=True)
        begun = {int(key.split(":")[1]) for key in office.bank.executions}
        # Sixteen of the forty payouts, and all alarms behind them.
        assert begun == {*range(IN_FLIGHT_MAX), 40, 41, 42}

    play(scene())


class Garbling:
    """A gateway that garbles the first report on its way, so that the machine refuses it."""

    def __init__(self, gateway: Gateway) -> None:
        self.garbled = 0
        self.wait_released = gateway.wait_released
        self._gateway = gateway

    async def submit(
        self,
        sender_id: int,
        commands: tuple[AnyCommand, ...],
        *,
        request_id: str = "",
        alone: bool = False,
    ) -> Receipt | Refused:
        if not self.garbled:
            self.garbled += 1
            (report,) = commands
            assert isinstance(report, ReportEffect)
            commands = (ReportEffect(report.seq, report.index, 99),)
        return await self._gateway.submit(sender_id, commands, request_id=request_id, alone=alone)


def test_a_report_that_was_refused_is_said_again() -> None:
    async def scene() -> None:
        office = Office()
        async with office.open(acting=False) as gateway:
            assert office.interpreter is not None
            office.interpreter._gateway = Garbling(gateway)
            acts = asyncio.create_task(office.interpreter.run())
            await fund(gateway)
            await withdraw(gateway, 5)
            await asyncio.sleep(5)
            acts.cancel()
            await asyncio.gather(acts, return_exceptions=True)
            assert office.interpreter.outbox == {}
        assert office.bank.executions == ["5:0"]
        assert len(office.events(EffectReported)) == 1
        assert len(office.stage.batches(EFFECTS)) == 2

    play(scene())


def test_pending_effects_are_known_from_a_bookmark() -> None:
    async def scene() -> None:
        office = Office()
        async with office.open(acting=False) as gateway:
            await fund(gateway)
            await withdraw(gateway, 5)
            assert office.interpreter is not None
            resumed = Interpreter(
                EFFECTS, gateway, office.bank, office.stage.log, office.stage.clock, lambda: 0
            )
            resumed.resume(5, office.interpreter.at_ns, office.interpreter.outbox)
            acts = asyncio.create_task(resumed.run())
            await asyncio.sleep(1)
            acts.cancel()
            await asyncio.gather(acts, return_exceptions=True)
        assert office.bank.paid_minor == 5
        assert office.bank.queries == ["5:0"]
        assert resumed.at_ns == NS_PER_HOUR

    play(scene())
