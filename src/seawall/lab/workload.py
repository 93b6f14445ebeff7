"""The workload: a market that falls, people who trade in it, and much that is wrong on purpose."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from seawall.lab.charter import (
    CALL,
    CLIENTS,
    CLOCKS,
    FUTURE,
    INDEX_FEED,
    INVERSE,
    LINEAR,
    PRICE_TICKS,
    RISK_UNIT,
    SOURCES,
    START_NS,
    TRADED_FEED,
    USD,
    USD_UNIT,
    VENUES,
    XBT,
    XBT_UNIT,
    contracts,
)
from seawall.lab.desk import Desk, Request
from seawall.lab.mischief import Mischief
from seawall.lab.venue import Done
from seawall.lab.weather import Weather
from seawall.protocol.codec import encode_any, pack_int32, pack_int64, unpack_int64
from seawall.protocol.commands import (
    AnyCommand,
    AttestRisk,
    ConfirmReport,
    EffectStatus,
    ListInstrument,
    Mode,
    OpenAccounts,
    OpenSubAccounts,
    PublishPrices,
    PublishRisk,
    RecordDeposits,
    RecordTrades,
    ReportEffect,
    Tick,
    Transfer,
    Withdraw,
)
from seawall.protocol.digest import digest
from seawall.protocol.effects import PlaceOrder
from seawall.protocol.events import AccountsOpened
from seawall.protocol.ids import INSURANCE
from seawall.protocol.units import NS_PER_MINUTE, NS_PER_SECOND

TRADES_STREAM, DEPOSITS_STREAM, ORDERS_STREAM = 1, 2, 3
ODD_STREAMS = range(10, 20)
"""Streams of small deposits: more of them than the house has room for."""
TOGETHER_S = 0.2
ASKED_MAX = 3
"""Requests of one sender that may be under way at once."""
STEPS_NS = (5 * NS_PER_SECOND, 30 * NS_PER_SECOND, NS_PER_MINUTE, 2 * NS_PER_MINUTE)


class Workload:
    """Everybody outside the house, in rounds: prices, ticks, fills, cash, and mischief.

    Attributes
    ----------
    accounts : ids of client accounts, by the sender that owns them
    at_ns : the true time of the market; clocks and sources may say otherwise
    """

    def __init__(self, desk: Desk, weather: Weather) -> None:
        self.accounts: dict[str, list[int]] = {client: [] for client in CLIENTS}
        self.at_ns = START_NS
        self.failure: BaseException | None = None
        self._desk = desk
        self._weather = weather
        self._chance = weather.chance
        self._price = float(PRICE_TICKS)
        self._falling = False
        self._stuck: dict[str, tuple[int, int]] = {}
        self._serial = 0
        self._next_number: dict[int, int] = {}
        self._asking: dict[str, int] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._mischief = Mischief(desk, weather)

    @property
    def idle(self) -> bool:
        """Whether nothing that was asked is still under way."""
        return not self._tasks

    # The opening -------------------------------------------------------------------------------

    async def open(self) -> None:
        """List contracts, open accounts, fund them, publish risk, and get a first price."""
        chance, ask = self._chance, self._desk.ask
        expiry_ns = START_NS + chance.choice((8, 20)) * NS_PER_MINUTE
        terms = contracts(expiry_ns=expiry_ns)
        await ask("govern", *(ListInstrument(each) for each in terms))
        crowd = chance.randrange(4, 10)
        cross = await ask("client a", OpenAccounts(crowd, Mode.CROSS), answered=True, alone=True)
        self._enrol(cross)
        parents = pack_int64(self.accounts["client a"][:2])
        subs = await ask("client a", OpenSubAccounts(parents), answered=True, alone=True)
        self._enrol(subs)
        self._enrol(await self._desk.ask_signed("client b", OpenAccounts(3, Mode.PORTFOLIO)))
        await self._deposit(self._everybody(), lo_usd=200, hi_usd=3_000)
        await self._deposit([INSURANCE], lo_usd=1, hi_usd=200)
        await self._publish_round()
        await self._tick_round()
        await self._publish_risk()
        await self._trade_round()

    def _enrol(self, request: Request) -> None:
        assert request.answer is not None
        for event in request.answer.events:
            if isinstance(event, AccountsOpened):
                self.accounts[request.sender] += unpack_int64(event.accounts)

    def _everybody(self) -> list[int]:
        return [account for client in CLIENTS for account in self.accounts[client]]

    # One round ----------------------------------------------------------------------------------

    async def round(self) -> None:
        """Let a while of market time pass, with whatever people do meanwhile."""
        chance = self._chance
        self.at_ns += chance.choice(STEPS_NS)
        self._move_price()
        await self._publish_round()
        await self._tick_round()
        if chance.random() < 0.5:
            self._start("venue a", self._trade_round())
        for _ in range(chance.randrange(3)):
            self._start_cash()
        if chance.random() < 0.15:
            self._start("risk", self._publish_risk())
        if chance.random() < 0.6:
            sender, act = self._mischief.draw(self.accounts, self.at_ns)
            self._start(sender, act)
        await asyncio.sleep(chance.uniform(0, 0.02))
        if self.failure is not None:
            raise self.failure

    def _start(self, sender: str, act: Coroutine[Any, Any, Any]) -> None:
        """Ask without waiting, unless this sender has enough under way."""
        if self._asking.get(sender, 0) >= ASKED_MAX:
            act.close()
            return
        self._asking[sender] = self._asking.get(sender, 0) + 1
        task = asyncio.create_task(act)
        self._tasks.append(task)
        task.add_done_callback(lambda done: self._end(sender, done))

    def _end(self, sender: str, task: asyncio.Task[Any]) -> None:
        self._asking[sender] -= 1
        self._tasks.remove(task)
        if not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()

    async def stop(self) -> None:
        """Give up what is still under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _together(self, *acts: tuple[str, Coroutine[Any, Any, Any]]) -> None:
        """Start several acts and go on when all have ended, or after a while."""
        before = len(self._tasks)
        for sender, act in acts:
            self._start(sender, act)
        begun = self._tasks[before:]
        if begun:
            await asyncio.wait(begun, timeout=TOGETHER_S)

    # Prices and time ----------------------------------------------------------------------------

    def _move_price(self) -> None:
        chance = self._chance
        if chance.random() < 0.2:
            self._falling = not self._falling
        drift = chance.uniform(-0.16, -0.01) if self._falling else chance.uniform(-0.03, 0.05)
        self._price = min(max(self._price * (1 + drift), 500.0), 400_000.0)

    def _unique(self) -> int:
        """Return a number never used before: it makes requests of a kind tell apart."""
        self._serial += 1
        return self._serial

    async def _publish_round(self) -> None:
        await self._together(*((source, self._publish(source)) for source in SOURCES))

    async def _publish(self, source: str) -> None:
        weather = self._weather
        if weather.strikes("source_absent"):
            return
        index = int(self._price * self._chance.uniform(0.9995, 1.0005))
        traded = int(index * self._chance.uniform(0.997, 1.003))
        if weather.strikes("source_lying"):
            index = traded = max(1, int(index * self._chance.choice((0.01, 0.5, 0.9, 1.1, 3.0))))
        if source in self._stuck and weather.strikes("source_stuck"):
            index, traded = self._stuck[source]
        self._stuck[source] = (index, traded)
        prices = PublishPrices(
            self.at_ns + self._unique(),
            pack_int32([INDEX_FEED, TRADED_FEED]),
            pack_int64([index, traded]),
        )
        await self._desk.ask(source, prices)

    async def _tick_round(self) -> None:
        await self._together(*((clock, self._tick(clock)) for clock in CLOCKS))

    async def _tick(self, clock: str) -> None:
        weather = self._weather
        at_ns = self.at_ns + self._unique()
        if weather.strikes("clock_skewed"):
            at_ns += self._chance.randrange(-20, 20) * NS_PER_SECOND
        # One clock may run off; two could take the median with them.
        if clock == CLOCKS[0] and weather.strikes("clock_jump"):
            at_ns += self._chance.choice((-600, 600, 6_000)) * NS_PER_SECOND
        await self._desk.ask(clock, Tick(at_ns))

    # Fills and cash -----------------------------------------------------------------------------

    async def report(self, stream: int, command: RecordTrades | RecordDeposits) -> None:
        """Tell a report by one reporter and confirm it by another, whatever the house requires."""
        first, second = VENUES
        told = digest(encode_any(command), person=b"seawall/report")
        confirm = ConfirmReport(stream, command.number, told)
        await asyncio.gather(
            self._desk.ask(first, command),
            self._desk.ask(second, confirm),
        )

    def next_number(self, stream: int) -> int:
        """Return the stream's next report number."""
        self._next_number[stream] = self._next_number.get(stream, 0) + 1
        return self._next_number[stream]

    async def _deposit(
        self, accounts: list[int], *, lo_usd: int, hi_usd: int, stream: int = DEPOSITS_STREAM
    ) -> None:
        chance = self._chance
        lines = [(a, USD, chance.randrange(lo_usd, hi_usd) * USD_UNIT) for a in accounts]
        lines += [(a, XBT, chance.randrange(1, 50) * XBT_UNIT // 100) for a in accounts]
        command = RecordDeposits(
            stream,
            self.next_number(stream),
            pack_int64([line[0] for line in lines]),
            pack_int32([line[1] for line in lines]),
            pack_int64([line[2] for line in lines]),
        )
        await self.report(stream, command)

    async def _trade_round(self) -> None:
        """Report some fills between clients, many of them far beyond what they can afford."""
        chance = self._chance
        everybody = self._everybody()
        fills = []
        for _ in range(chance.randrange(1, 6)):
            buyer, seller = chance.sample(everybody, 2)
            instrument = chance.choice((LINEAR, LINEAR, INVERSE, FUTURE, CALL))
            price = max(1, int(self._price * chance.uniform(0.998, 1.002)))
            if instrument == INVERSE:
                lots = chance.randrange(100, 20_000)
            else:
                lots = chance.randrange(50, 8_000)
            if instrument == CALL:
                price, lots = max(1, price // 20), chance.randrange(10, 300)
            fills.append((buyer, seller, instrument, lots, price, chance.randrange(2)))
        command = RecordTrades(
            TRADES_STREAM,
            self.next_number(TRADES_STREAM),
            pack_int64([fill[0] for fill in fills]),
            pack_int64([fill[1] for fill in fills]),
            pack_int32([fill[2] for fill in fills]),
            pack_int64([fill[3] for fill in fills]),
            pack_int64([fill[4] for fill in fills]),
            bytes(fill[5] for fill in fills),
        )
        await self.report(TRADES_STREAM, command)

    def _start_cash(self) -> None:
        """Start a withdrawal, a transfer or a deposit of somebody."""
        chance = self._chance
        client = chance.choice(CLIENTS)
        account = chance.choice(self.accounts[client])
        kind = chance.randrange(4)
        asset = chance.choice((USD, XBT))
        unit = USD_UNIT if asset == USD else XBT_UNIT // 100
        command: AnyCommand
        if kind == 0:
            stream = chance.choice((DEPOSITS_STREAM, chance.choice(ODD_STREAMS)))
            act = self._deposit([account], lo_usd=10, hi_usd=2_000, stream=stream)
            self._start("venue a", act)
            return
        amount = chance.randrange(1, 300) * unit
        if kind == 1:
            target = chance.choice(self.accounts[client])
            command = Transfer(account, target, asset, amount + self._unique())
        else:
            command = Withdraw(account, asset, amount, self._unique())
        signed = client == "client b"
        ask = self._desk.ask_signed if signed else self._desk.ask
        self._start(client, ask(client, command))

    def take_done(self, done: Done) -> None:
        """Let the fill of an executed order be reported, and now and then its end told twice."""
        effect = done.effect
        if self._weather.strikes("venue_twice"):
            seq, index = (int(word) for word in done.key.split(":"))
            report = ReportEffect(seq, index, done.status)
            self._start("effects", self._desk.ask("effects", report))
        if isinstance(effect, PlaceOrder) and done.status == EffectStatus.DONE:
            self._start("venue a", self._fill(effect))

    async def _fill(self, order: PlaceOrder) -> None:
        maker = next(a for a in self._everybody() if a != order.account_id)
        buyer, seller = order.account_id, maker
        if order.lots < 0:
            buyer, seller = seller, buyer
        command = RecordTrades(
            ORDERS_STREAM,
            self.next_number(ORDERS_STREAM),
            pack_int64([buyer]),
            pack_int64([seller]),
            pack_int32([order.instrument_id]),
            pack_int64([abs(order.lots)]),
            pack_int64([order.limit_ticks]),
            bytes((buyer == order.account_id,)),
        )
        await self.report(ORDERS_STREAM, command)

    # Risk ---------------------------------------------------------------------------------------

    async def _publish_risk(self) -> None:
        """Propose risk rows for the linear perpetual and the call, and attest them."""
        chance = self._chance
        moves = (-0.3, -0.15, -0.05, 0.0, 0.05, 0.15, 0.3)
        price = self._price
        linear = [int(price * move / 10) for move in moves]
        value = max(0.0, price - PRICE_TICKS) + price / 25
        calls = [int(max(-value, price * move * 0.6) / 10) for move in moves]
        command = PublishRisk(
            unit_id=RISK_UNIT,
            row_count=len(moves),
            scale=1_000,
            expires_at_ns=self.at_ns + chance.choice((3, 30)) * NS_PER_MINUTE + self._unique(),
            instruments=pack_int32([LINEAR, CALL]),
            rows=pack_int32([*linear, *calls]),
            values=pack_int64([0, int(value) * 100_000]),
            row_names=(),
        )
        await self._desk.ask("risk", command)
        told = digest(encode_any(command), person=b"seawall/risk")
        await self._desk.ask("attest", AttestRisk(RISK_UNIT, told))
