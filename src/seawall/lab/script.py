"""The script of the demo: how the house opens and what happens in each simulated minute.

It speaks to a house through `Stage` alone, so that the same script plays before three replicas on
a real cluster and, in tests, before a single machine.
"""

import asyncio
import random
from typing import Protocol

import msgspec

from seawall.lab.bars import Bar
from seawall.lab.cast import (
    ATTESTOR,
    CLOCKS,
    DESKS,
    FUND_USD_PER_TRADER,
    FUND_XBT_PER_TRADER,
    GOVERNOR,
    INDEX_FEED,
    INVERSE,
    LINEAR,
    MAKERS,
    REPORTERS,
    RISK,
    STREAM_DEPOSITS,
    STREAM_TRADES,
    USD,
    XBT,
    contracts,
    risk_arrays,
)
from seawall.lab.flow import Book, Crowd, Feeds, Fill, record_trades
from seawall.lab.population import Trader, make_population
from seawall.protocol.codec import encode_any, pack_int32, pack_int64, unpack_int32, unpack_int64
from seawall.protocol.commands import (
    AnyCommand,
    AttestRisk,
    ConfirmReport,
    Mode,
    OpenAccounts,
    OpenSubAccounts,
    RecordDeposits,
    RecordTrades,
    SetParameter,
    Tick,
    Transfer,
    Withdraw,
)
from seawall.protocol.digest import digest
from seawall.protocol.events import (
    AccountsOpened,
    AnyEvent,
    CallIssued,
    CaseEnd,
    Grade,
    IndexMoved,
    LiquidationEnded,
)
from seawall.protocol.ids import INSURANCE
from seawall.protocol.units import NS_PER_HOUR, NS_PER_MINUTE

MAKER_COUNT = 4
MAKER_USD, MAKER_XBT = 400_000_000 * 10**6, 60_000 * 10**8
RISK_EVERY_MINUTES, RISK_LIFE_NS = 60, 3 * NS_PER_HOUR
WITHDRAW_EVERY_MINUTES, WITHDRAWALS_AT_ONCE = 10, 2
TOP_UP_SHARE = 0.35
"""How many of those who are called bring the money."""
COLUMN_ROWS = 1000
"""Rows of one report: its outcome, with a line for each account, must fit one message."""
TRANSFERS_AT_ONCE = 200
REPORTS_A_MINUTE = 3
"""The minute's fills come in this many reports, so that the house is busy between ticks too."""


class Stage(Protocol):
    """A house to play before."""

    async def submit(self, sender: str, *commands: AnyCommand) -> object:
        """Return once the commands are durable, as one entry; what it returns `released` takes."""
        ...

    async def released(self, receipt: object) -> tuple[AnyEvent, ...]:
        """Return the events of the entry once a majority certified them."""
        ...

    async def settled(self) -> None:
        """Return once every effect that was released has been carried out and reported."""
        ...


class Roster(msgspec.Struct, frozen=True):
    """The accounts of the run."""

    traders: dict[int, Trader]
    """account that holds the trader's position -> trader"""
    cash: dict[int, int]
    """the same account -> the one its owner pays in to: the parent of an isolated one"""
    makers: list[int]


class Script:
    """Plays one scenario: equal seeds ask for the same things, in the same order where it matters.

    Attributes
    ----------
    book : where liquidation orders find their fills
    fills : what it executed since the last report
    called : (account, amount) of margin calls that nobody has answered yet
    """

    def __init__(
        self,
        stage: Stage,
        *,
        seed: int,
        accounts: int,
        bars: list[Bar],
        reports_a_minute: int = REPORTS_A_MINUTE,
    ) -> None:
        self.book = Book()
        self.fills: list[Fill] = []
        self.called: list[tuple[int, int]] = []
        self.roster = Roster({}, {}, [])
        self._stage = stage
        self._bars = bars
        self._population = make_population(seed, accounts, bars[0].close)
        self._feeds = Feeds(seed, bars)
        self._rng = random.Random(f"script:{seed}")
        self._seed = seed
        self._reports_a_minute = reports_a_minute
        self._in_doubt = self._locked = False
        self._crowd = Crowd(seed, [], [])
        self._numbers = {STREAM_DEPOSITS: 0, STREAM_TRADES: 0}

    async def open(self) -> None:
        """List the contracts, open the accounts, bring the money in, and take the positions."""
        first = self._bars[0]
        await self._stage.submit(GOVERNOR, *contracts())
        await self._publish_risk(first.close)
        await self._open_accounts()
        # Coin has a price before it moves: nobody may transfer what cannot be valued.
        await self._prices_and_time(0, liar=None)
        await self._fund()
        await self._take_positions(first)
        self._crowd = Crowd(
            self._seed,
            [(account, trader.instrument) for account, trader in self.roster.traders.items()],
            self.roster.makers,
        )

    async def play(self, minute: int, *, liar: str | None = None) -> None:
        """Play one minute: prices, then time, then what people do about them.

        Each step waits until the one before is durable, so that neither the log's delays nor its
        faults change what the house computes.

        Parameters
        ----------
        liar : price source that lies in this minute, if any
        """
        bar = self._bars[minute]
        self.book.open_minute(bar)
        if minute % RISK_EVERY_MINUTES == 0:
            await self._publish_risk(bar.close)
        await self._prices_and_time(minute, liar)
        await self._lock_withdrawals()
        fills, self.fills = self.fills + self._crowd.trade(bar), []
        for start in range(min(self._reports_a_minute, len(fills))):
            await self._report_trades(fills[start :: self._reports_a_minute])
        await self._top_up()
        # While the venue stands still people want their money out more than ever.
        if minute % WITHDRAW_EVERY_MINUTES == 0 or not bar.observed:
            await self._withdraw()

    async def close(self) -> None:
        """Ask for a checkpoint at every entry from now on: the last state is voted upon."""
        await self._stage.settled()
        last = await self._stage.submit(GOVERNOR, SetParameter("checkpoint_entries", 1))
        await self._stage.released(last)

    def hear(self, events: tuple[AnyEvent, ...]) -> None:
        """Take note of released events: who is called, and who is out."""
        for event in events:
            if isinstance(event, IndexMoved):
                grades = dict(zip(unpack_int32(event.feeds), event.grades, strict=True))
                if INDEX_FEED in grades:
                    self._in_doubt = grades[INDEX_FEED] != Grade.FRESH
            elif isinstance(event, CallIssued):
                self.called.append((event.account_id, event.amount_minor))
            elif isinstance(event, LiquidationEnded) and event.end != CaseEnd.RESTORED:
                self._crowd.retire(event.account_id)

    def execute(self, account: int, instrument: int, lots: int, limit: int) -> bool:
        """Execute a liquidation order against a maker; the fill is reported in the next minute."""
        found = self.book.fill(instrument, lots, limit)
        if found is None:
            return False
        filled, price = found
        maker = self._crowd.maker()
        buyer, seller = (account, maker) if lots > 0 else (maker, account)
        self.fills.append(Fill(buyer, seller, instrument, filled, price, lots > 0))
        return True

    # Opening ----------------------------------------------------------------------------------

    async def _open_accounts(self) -> None:
        opened: list[tuple[int, Trader]] = []
        for desk in DESKS:
            for mode in (Mode.CROSS, Mode.PORTFOLIO):
                group = [t for t in self._population if t.desk == desk and t.mode == mode]
                for start in range(0, len(group), COLUMN_ROWS):
                    part = group[start : start + COLUMN_ROWS]
                    ids = await self._opened(desk, OpenAccounts(len(part), mode))
                    opened += zip(ids, part, strict=True)
        makers = await self._opened(MAKERS, OpenAccounts(MAKER_COUNT, Mode.CROSS))
        traders, cash = {}, {}
        for desk in DESKS:
            parents = [account for account, t in opened if t.desk == desk and t.isolated]
            children: dict[int, int] = {}
            for start in range(0, len(parents), COLUMN_ROWS):
                part_ids = parents[start : start + COLUMN_ROWS]
                ids = await self._opened(desk, OpenSubAccounts(pack_int64(part_ids)))
                children |= zip(part_ids, ids, strict=True)
            for account, trader in opened:
                if trader.desk == desk:
                    holder = children.get(account, account)
                    traders[holder], cash[holder] = trader, account
        self.roster = Roster(traders, cash, list(makers))

    async def _opened(self, sender: str, command: AnyCommand) -> tuple[int, ...]:
        events = await self._stage.released(await self._stage.submit(sender, command))
        return next(unpack_int64(e.accounts) for e in events if isinstance(e, AccountsOpened))

    async def _fund(self) -> None:
        rows = [
            (self.roster.cash[holder], trader.asset, trader.collateral_minor)
            for holder, trader in self.roster.traders.items()
        ]
        count = len(rows)
        rows += [(maker, USD, MAKER_USD) for maker in self.roster.makers]
        rows += [(maker, XBT, MAKER_XBT) for maker in self.roster.makers]
        rows += [(INSURANCE, USD, FUND_USD_PER_TRADER * count)]
        rows += [(INSURANCE, XBT, FUND_XBT_PER_TRADER * count)]
        await self._deposit(rows)
        for desk in DESKS:
            transfers = [
                Transfer(self.roster.cash[holder], holder, t.asset, t.collateral_minor)
                for holder, t in self.roster.traders.items()
                if t.isolated and t.desk == desk
            ]
            for start in range(0, len(transfers), TRANSFERS_AT_ONCE):
                await self._stage.submit(desk, *transfers[start : start + TRANSFERS_AT_ONCE])

    async def _take_positions(self, bar: Bar) -> None:
        fills = []
        for place, (holder, trader) in enumerate(self.roster.traders.items()):
            maker = self.roster.makers[place % MAKER_COUNT]
            buyer, seller = (holder, maker) if trader.lots > 0 else (maker, holder)
            lots = abs(trader.lots)
            fills.append(Fill(buyer, seller, trader.instrument, lots, bar.close, trader.lots > 0))
        for start in range(0, len(fills), COLUMN_ROWS):
            told = await self._report_trades(fills[start : start + COLUMN_ROWS])
            # Large outcomes, one at a time; and nothing of the opening is left when it ends.
            await asyncio.gather(*(self._stage.released(receipt) for receipt in told))

    # A minute ---------------------------------------------------------------------------------

    async def _prices_and_time(self, minute: int, liar: str | None) -> None:
        told = self._feeds.observe(minute, liar)
        await asyncio.gather(
            *(self._stage.submit(source, prices) for source, prices in told.items())
        )
        at_ns = self._bars[minute].at_ns
        ticks = await asyncio.gather(*(self._stage.submit(clock, Tick(at_ns)) for clock in CLOCKS))
        # 2020 waits for the house: nobody acts before the minute's outcome is certified, and what
        # it asks of the world is done before the next one begins.
        await asyncio.gather(*(self._stage.released(tick) for tick in ticks))
        await self._stage.settled()

    async def _lock_withdrawals(self) -> None:
        """Lock all withdrawals while the index is in doubt, as the operator's watch would.

        The house itself stops accounts whose worth is in doubt (MARK-05). Whoever holds dollars
        alone is not among them, but might leave before a loss is shared.
        """
        if self._in_doubt != self._locked:
            self._locked = self._in_doubt
            lock = SetParameter("withdrawals_locked", int(self._locked))
            await self._stage.submit(GOVERNOR, lock)

    async def _publish_risk(self, price_ticks: int) -> None:
        now = self._bars[0].at_ns if not self.roster.traders else self._now
        proposal = risk_arrays(price_ticks, now + RISK_LIFE_NS)
        told = digest(encode_any(proposal), person=b"seawall/risk")
        await self._stage.submit(RISK, proposal)
        await self._stage.submit(ATTESTOR, AttestRisk(proposal.unit_id, told))

    @property
    def _now(self) -> int:
        bar = self.book.bar
        assert bar is not None
        return bar.at_ns

    async def _report_trades(self, fills: list[Fill]) -> list[object]:
        number = self._next_number(STREAM_TRADES)
        return await self._report(record_trades(number, fills))

    async def _deposit(self, rows: list[tuple[int, int, int]]) -> None:
        for start in range(0, len(rows), COLUMN_ROWS):
            part = rows[start : start + COLUMN_ROWS]
            await self._report(
                RecordDeposits(
                    STREAM_DEPOSITS,
                    self._next_number(STREAM_DEPOSITS),
                    pack_int64([account for account, _, _ in part]),
                    pack_int32([asset for _, asset, _ in part]),
                    pack_int64([amount for _, _, amount in part]),
                )
            )

    async def _report(self, report: RecordTrades | RecordDeposits) -> list[object]:
        """Tell a report through both reporters, in whichever order: the second one books it."""
        told = digest(encode_any(report), person=b"seawall/report")
        confirmation = ConfirmReport(report.stream, report.number, told)
        receipts = await asyncio.gather(
            self._stage.submit(REPORTERS[0], report),
            self._stage.submit(REPORTERS[1], confirmation),
        )
        return list(receipts)

    def _next_number(self, stream: int) -> int:
        self._numbers[stream] += 1
        return self._numbers[stream]

    async def _top_up(self) -> None:
        """Some of those who were called bring what is missing, in dollars."""
        called, self.called = self.called, []
        rows = [
            (account, USD, amount + amount // 10)
            for account, amount in called
            if self._rng.random() < TOP_UP_SHARE and account in self.roster.traders
        ]
        if rows:
            await self._deposit(rows)

    async def _withdraw(self) -> None:
        """A few traders ask for a twentieth of what they brought."""
        whole = [account for account, t in self.roster.traders.items() if not t.isolated]
        for account in self._rng.sample(whole, WITHDRAWALS_AT_ONCE):
            trader = self.roster.traders[account]
            amount = trader.collateral_minor // 20
            asked = await self._stage.submit(
                trader.desk, Withdraw(account, trader.asset, amount, 1)
            )
            # Its payout is in the outbox from here on, and will be waited for.
            await self._stage.released(asked)


assert RISK_EVERY_MINUTES * NS_PER_MINUTE < RISK_LIFE_NS
assert {LINEAR, INVERSE} == {1, 2}
