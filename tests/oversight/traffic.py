"""Random logs of every command, right and wrong, from one seed."""

import random
from collections.abc import Callable

from seawall.oversight.findings import Finding
from seawall.protocol.codec import encode_any, pack_int32, pack_int64
from seawall.protocol.commands import (
    ActivateRules,
    AddSender,
    AnyCommand,
    AttestRisk,
    CloseAccount,
    InstrumentTerms,
    ListInstrument,
    OpenSubAccounts,
    PublishPrices,
    PublishRisk,
    ReplicaTerms,
    ReportEffect,
    Role,
    RotateKey,
    SetHalt,
    SetMode,
    SetParameter,
    SetReplicas,
    Tick,
    Transfer,
    Withdraw,
)
from seawall.protocol.digest import digest
from seawall.protocol.effects import PlaceOrder
from seawall.protocol.events import AccountsOpened
from seawall.protocol.genesis import Limits, Parameters
from seawall.protocol.ids import EXTERNAL, FEES, INSURANCE, TRANSIT
from seawall.protocol.units import NS_PER_HOUR
from tests.oversight.world import (
    CALL,
    ETH,
    ETH_INDEX,
    INDEX,
    MINUTE_NS,
    PUT,
    START_NS,
    TRADED,
    USD,
    XBT,
    World,
    make_listing,
)

Action = Callable[[], list[Finding]]


class Traffic:
    """Drives a world at random: prices, trades, cash, governance, mistakes."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.draw = random.Random(seed)
        self.spot, self.eth = 800_000, 20_000
        self.silent_ticks = 0
        self.outbox: list[tuple[int, int]] = []
        self.orders: list[tuple[int, int, PlaceOrder]] = []
        self.units: dict[int, PublishRisk] = {}
        self.calm = seed % 4 == 0
        """Smaller steps and positions: fewer defaults, more of everything else."""
        self.owners: dict[int, str] = {}
        self.findings: list[Finding] = list(world.findings)
        self.findings += world.list_all(self.draw.choice((40, 90, 600)) * MINUTE_NS)
        for client, mode in (("client", 1), ("client-2", 2), ("client-2", 1)):
            for account in world.open(self.draw.randint(4, 10), mode, client):
                self.owners[account] = client
        self.fund()
        self.run_tick()
        self.risk()

    @property
    def accounts(self) -> list[int]:
        return list(self.owners)

    def note(self, found: list[Finding]) -> None:
        """Remember findings, and what the last outcome left behind."""
        self.findings += found
        outcome = self.world.outcome
        for index, effect in enumerate(outcome.effects):
            self.outbox.append((outcome.seq, index))
            if isinstance(effect, PlaceOrder):
                self.orders.append((outcome.seq, index, effect))

    def fund(self) -> None:
        rows = []
        for account in self.accounts:
            rows.append((account, USD, self.draw.randint(1, 400) * 10**6 * 10))
            if self.draw.random() < 0.5:
                rows.append((account, XBT, self.draw.randint(1, 10**8)))
            if self.draw.random() < 0.2:
                rows.append((account, ETH, self.draw.randint(1, 10**10)))
        rows.append((INSURANCE, USD, self.draw.choice((1, 10**6, 10**9, 10**11))))
        self.note(self.world.deposit(rows))

    # Prices and time -------------------------------------------------------------------------

    def run_tick(self) -> None:
        width = 0.002 if self.calm else self.draw.choice((0.001, 0.004, 0.03, 0.12))
        self.spot = max(2_000, int(self.spot * (1 + self.draw.uniform(-width, width))))
        self.eth = max(100, int(self.eth * (1 + self.draw.uniform(-0.01, 0.01))))
        if self.draw.random() < 0.03:
            self.silent_ticks = self.draw.randint(2, 14)
        if self.silent_ticks:
            self.silent_ticks -= 1
        else:
            self.publish()
        self.tick_clocks(self.draw.choice((10, 30, 60, 60, 90)) * 10**9)

    def publish(self) -> None:
        for source in (1, 2, 3):
            if self.draw.random() < 0.08:
                continue
            skew = 1 + self.draw.uniform(-0.0005, 0.0005)
            if self.draw.random() < 0.06:
                skew = self.draw.choice((0.5, 0.97, 1.03, 2.0))
            index = int(self.spot * skew)
            basis = 1 + self.draw.uniform(-0.006, 0.006)
            values = {INDEX: index, TRADED: int(index * basis), ETH_INDEX: self.eth}
            if self.draw.random() < 0.1:
                del values[self.draw.choice(list(values))]
            at_ns = self.world.now_ns - self.draw.choice((0, 0, 0, 0, 1, 200)) * 10**9
            self.note(self.world.price(source, values, at_ns))

    def tick_clocks(self, advance_ns: int) -> None:
        world = self.world
        world.now_ns += advance_ns
        names = self.draw.sample(["clock", "clock-2", "clock-3"], self.draw.choice((2, 3, 3)))
        for name in names:
            at_ns = world.now_ns + self.draw.choice((-1, 0, 0, 0, 7)) * 10**6
            if self.draw.random() < 0.05:
                self.note(world.send(name, Tick(at_ns - 1000), Tick(at_ns)))
            else:
                self.note(world.send(name, Tick(at_ns)))

    def risk(self) -> None:
        unit = self.draw.choice((1, 2))
        listed = [1, 3, CALL, PUT] if unit == 1 else [2, 4]
        chosen = listed if self.draw.random() < 0.8 else listed[:-1]
        width = self.draw.choice((1, 5, 9))
        inner = max(0, self.spot - 800_000)
        values = {CALL: (inner + 20_000) * 1000, PUT: (max(0, 800_000 - self.spot) + 20_000) * 1000}
        size = 800 if unit == 1 else 80
        rows = {each: [self.draw.randint(-size, size) for _ in range(width)] for each in chosen}
        life_ns = self.draw.choice((3, 20, 90)) * MINUTE_NS
        scale = self.draw.choice((1, 1, 10))
        self.note(self.world.attest(unit, rows, values, scale * 1000, life_ns))

    # Trades ----------------------------------------------------------------------------------

    def trade(self) -> None:
        rows = [self.draw_fill() for _ in range(self.draw.randint(1, 8))]
        self.note(self.world.trade(*rows))

    def draw_fill(self) -> tuple[int, int, int, int, int, int]:
        buyer, seller = self.draw.sample(self.accounts, 2)
        instrument = self.draw.choice((1, 1, 2, 2, 3, 4, CALL, PUT))
        size = 400_000 if instrument in (2, 4) else 4_000
        size //= 20 if self.calm else 1
        lots = max(1, int(size * self.draw.random() ** 4))
        ticks = int(self.spot * self.draw.uniform(0.99, 1.01))
        if instrument in (CALL, PUT):
            ticks = self.draw.randint(5_000, 90_000)
        if self.draw.random() < 0.04:
            wrong = self.draw.randint(0, 7)
            buyer = self.draw.choice((seller, 7, -1, 1 << 40)) if wrong == 0 else buyer
            seller = EXTERNAL if wrong == 1 else seller
            instrument = self.draw.choice((0, 7, 99, -3)) if wrong in (2, 3) else instrument
            lots = (
                self.draw.choice((0, -5, 1 << 60, 9_999_999, 10_000_001))
                if wrong in (4, 5)
                else lots
            )
            ticks = self.draw.choice((0, -1, 1 << 50, 999)) if wrong in (6, 7) else ticks
        return buyer, seller, instrument, lots, ticks, self.draw.randint(0, 1)

    def unwind(self) -> None:
        """Fill an order of the house against someone."""
        if not self.orders:
            return
        seq, index, order = self.orders.pop(0)
        lots = self.draw.randint(1, abs(order.lots))
        other = self.draw.choice(self.accounts)
        buyer, seller = (order.account_id, other) if order.lots > 0 else (other, order.account_id)
        fill = (buyer, seller, order.instrument_id, lots, order.limit_ticks, 1)
        self.note(self.world.trade(fill))
        self.note(self.world.send("effects", ReportEffect(seq, index, 1)))

    # Cash and accounts -----------------------------------------------------------------------

    def cash(self) -> None:
        account = self.draw.choice(self.accounts)
        client = self.owners[account]
        asset = self.draw.choice((USD, USD, USD, XBT, ETH))
        amount = int(10 ** self.draw.uniform(0, 9.5))
        if self.draw.random() < 0.15:
            asset = self.draw.choice((asset, 3, -1))
            amount = self.draw.choice((0, -1, 1 << 62, 1 << 63, amount))
            account = self.draw.choice((account, 1, FEES, INSURANCE, 1 << 33))
            client = self.draw.choice(("client", "client-2"))
        others = [each for each in self.accounts if self.owners[each] == client]
        other = self.draw.choice([*others, account, TRANSIT] if account in others else others)
        kind = self.draw.random()
        if kind < 0.4:
            self.note(self.world.send(client, Withdraw(account, asset, amount, 7)))
        elif kind < 0.8:
            self.note(self.world.send(client, Transfer(account, other, asset, amount)))
        else:
            rows = [(account, asset, amount if -(1 << 63) <= amount < 1 << 63 else 5)]
            if self.draw.random() < 0.2:
                rows.append((self.draw.choice((EXTERNAL, FEES, TRANSIT, 99)), USD, 10))
            self.note(self.world.deposit(rows))
            if not self.world.accepted:
                self.world.reports[1] -= 1

    def effect(self) -> None:
        if not self.outbox:
            return
        place = self.draw.randrange(len(self.outbox))
        seq, index = self.outbox.pop(place) if self.draw.random() < 0.9 else (3, 0)
        status = self.draw.choice((1, 1, 2, 2, 2, 0, 9))
        self.note(self.world.send("effects", ReportEffect(seq, index, status)))

    def account(self) -> None:
        account = self.draw.choice(self.accounts)
        client = self.owners[account]
        kind = self.draw.randint(0, 3)
        if kind == 0 and len(self.accounts) > 6:
            self.note(self.world.send(client, CloseAccount(account)))
            names = [type(event).__name__ for event in self.world.outcome.events]
            if "AccountClosed" in names:
                del self.owners[account]
        elif kind == 1:
            mode = self.draw.choice((0, 1, 2, 2, 3))
            self.note(self.world.send(client, SetMode(account, mode)))
        elif kind == 2:
            parents = [account] * self.draw.randint(1, 2)
            if self.draw.random() < 0.2:
                parents.append(self.draw.choice((5, *self.accounts)))
            self.note(self.world.send(client, OpenSubAccounts(pack_int64(parents))))
            self.adopt(client)
        else:
            count = self.draw.choice((-1, 0, 1, 2))
            mode = self.draw.choice((0, 1, 2, 5))
            for opened in self.world.open(count, mode, client):
                self.owners[opened] = client
            self.note([])

    def adopt(self, client: str) -> None:
        for event in self.world.outcome.events:
            if isinstance(event, AccountsOpened):
                for opened in memoryview(event.accounts).cast("q"):
                    self.owners[opened] = client

    # Governance and mistakes -----------------------------------------------------------------

    def govern(self) -> None:
        draw = self.draw
        now_ns = self.world.now_ns
        commands: list[tuple[str, AnyCommand]] = [
            ("govern", SetParameter("warn_ppb", draw.randint(10**9, 2 * 10**9))),
            ("govern", SetParameter("call_deadline_ns", draw.randint(1, 30) * MINUTE_NS)),
            ("govern", SetParameter("nonsense", 1)),
            ("govern", SetParameter("orders_per_tick_max", draw.randint(1, 20))),
            ("govern", ActivateRules(draw.choice((-1, 0, 1)))),
            ("govern", AddSender(f"n{draw.randint(0, 9)}", digest(b"k"), int(Role.CLIENT))),
            ("govern", AddSender("short", b"k", int(Role.CLIENT))),
            ("govern", RotateKey(draw.choice((18, 19, 0, 77)), digest(b"x"))),
            ("govern", SetReplicas((ReplicaTerms("r", digest(b"r")),))),
            ("operate", SetHalt(draw.choice((0, 1, 2, 44)), now_ns + draw.randint(-1, 4) * 10**11)),
            ("operate", SetHalt(draw.choice((0, 1, 2, 3)), 0)),
            ("client", SetHalt(1, 0)),
            ("govern", ListInstrument(self.bad_terms())),
        ]
        sender, command = draw.choice(commands)
        self.note(self.world.send(sender, command))

    def bad_terms(self) -> InstrumentTerms:
        terms = self.draw.choice(make_listing()).terms
        fields = {name: getattr(terms, name) for name in terms.__struct_fields__}
        wrong = {
            "kind": (0, 6),
            "asset_id": (-1, 3),
            "index_feed": (0, 99),
            "price_min": (0, 20_000_000),
            "lots_max": (0, 1 << 61),
            "value_scale": (0, 5, 20),
            "taker_fee_ppb": (200_000_000,),
            "tiers": ((), fields["tiers"][1:], fields["tiers"][::-1]),
            "initial_factor_ppb": (5,),
            "style": (2,),
        }
        name = self.draw.choice(list(wrong))
        fields[name] = self.draw.choice(wrong[name])
        return type(terms)(**fields)

    def mistake(self) -> None:
        world, draw = self.world, self.draw
        wrong = draw.randint(0, 7)
        batch = (Tick(START_NS),)
        if wrong == 0:
            payload, _ = draw.choice(world.entries)
        elif wrong == 1:
            payload = world.sign("clock", world.numbers["clock"] + draw.choice((2, 9)), batch)
        elif wrong == 2:
            payload = world.sign("clock", draw.randint(0, world.numbers["clock"]), batch)
        elif wrong == 3:
            payload = world.sign("clock", world.numbers["clock"] + 1, ())
        elif wrong == 4:
            good = bytearray(world.sign("clock", world.numbers["clock"] + 1, batch))
            good[draw.randrange(len(good))] ^= 1 << draw.randint(0, 7)
            payload = bytes(good)
        elif wrong == 5:
            payload = draw.randbytes(draw.randint(0, 90))
        elif wrong == 6:
            payload = bytes((9, 1)) + draw.randbytes(80)
        else:
            feeds, values = pack_int32([1, 2]), pack_int64([5] * draw.randint(1, 3))
            at_ns = world.now_ns + draw.choice((0, NS_PER_HOUR))
            command = PublishPrices(at_ns, feeds[: draw.choice((7, 8, 8))], values)
            self.note(world.send("source-1", command, Tick(5)))
            return
        self.note(world.follow(payload))

    def propose(self) -> None:
        """A proposal with something wrong, and attestations by whom it may be."""
        draw = self.draw
        command = PublishRisk(
            draw.choice((0, 1, 1, 2, 8)),
            draw.choice((0, 2, 2, 2, 33)),
            draw.choice((0, 1, 1, 1 << 40)),
            self.world.now_ns + draw.choice((-5, 5, 10**12)),
            pack_int32(draw.choice(([1], [1, 1], [9], [1, 2]))),
            pack_int32([100, -100] * draw.choice((1, 1, 2))),
            pack_int64([0] * draw.choice((1, 1, 2))),
        )
        sender = draw.choice(("risk", "attest"))
        self.note(self.world.send(sender, command))
        told = digest(encode_any(command), person=b"seawall/risk")
        attest = AttestRisk(command.unit_id, draw.choice((told, told, b"no")))
        self.note(self.world.send(draw.choice(("risk", "attest", "attest")), attest))

    def run(self, steps: int) -> list[Finding]:
        """Act at random; return every finding."""
        actions: list[Callable[[], None]] = [
            *[self.run_tick] * 6,
            *[self.trade] * 6,
            *[self.unwind] * 2,
            *[self.cash] * 3,
            *[self.effect] * 2,
            *(self.account, self.govern, self.mistake, self.propose, self.risk),
        ]
        for _ in range(steps):
            self.draw.choice(actions)()
        return self.findings


def draw_parameters(seed: int) -> Parameters:
    """Every other house is run by other numbers."""
    draw = random.Random(seed)
    if seed % 2 == 0:
        return Parameters(clock_skew_max_ns=10 * 60 * 10**9)
    return Parameters(
        sources_min=draw.choice((1, 2, 3)),
        stale_ns=draw.choice((1, 3, 8)) * MINUTE_NS,
        deviation_ppb=draw.choice((1, 20, 200)) * 10**6,
        halt_after_ns=draw.choice((1, 3)) * MINUTE_NS,
        velocity_ppb=draw.choice((20, 80)) * 10**6,
        call_deadline_ns=draw.choice((1, 3, 30)) * MINUTE_NS,
        liquidation_deadline_ns=draw.choice((1, 4)) * MINUTE_NS,
        orders_per_tick_max=draw.choice((1, 2, 64)),
        order_ttl_ns=draw.choice((1, 2)) * MINUTE_NS,
        fund_floor_minor=draw.choice((0, 10**8, 10**11)),
        adl_winners_max=draw.choice((1, 2, 64)),
        payout_ttl_ns=draw.choice((1, 60)) * MINUTE_NS,
        reports_min=draw.choice((1, 2)),
        audit_lines_max=draw.choice((3, 5000)),
        governance_delay_ns=draw.choice((1, 1000)) * MINUTE_NS,
    )


def draw_limits(seed: int) -> Limits:
    """Every third house is cramped."""
    draw = random.Random(seed)
    if seed % 3:
        return Limits(accounts_max=256, column_max=512)
    return Limits(
        accounts_max=draw.choice((40, 64)),
        outbox_max=draw.choice((2, 8, 64)),
        cases_max=draw.choice((1, 3, 64)),
        recents_max=draw.choice((16, 64)),
        column_max=64,
    )
