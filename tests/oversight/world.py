"""A small house to audit: its genesis, its senders, and the commands they send."""

from collections.abc import Callable, Mapping, Sequence

from seawall.oversight.auditor import Auditor
from seawall.oversight.findings import Finding
from seawall.protocol.codec import (
    decode_outcome,
    encode_any,
    encode_batch,
    encode_genesis,
    log_id_of,
    pack_int32,
    pack_int64,
)
from seawall.protocol.commands import (
    AddSender,
    AnyCommand,
    AssetTerms,
    AttestRisk,
    Batch,
    ConfirmReport,
    InstrumentTerms,
    Kind,
    ListInstrument,
    OpenAccounts,
    PublishPrices,
    PublishRisk,
    RecordDeposits,
    RecordTrades,
    ReplicaTerms,
    Role,
    Style,
    Tick,
    Tier,
)
from seawall.protocol.digest import digest
from seawall.protocol.events import AccountsOpened, Outcome, Rejected
from seawall.protocol.genesis import Genesis, Limits, Parameters, SenderTerms
from seawall.protocol.signatures import SigningKey
from seawall.protocol.units import NS_PER_HOUR, PPB

START_NS = 1_584_057_600 * 10**9
MINUTE_NS = 60 * 10**9
DAY_NS = 24 * NS_PER_HOUR

ROLES = {
    "clock": Role.CLOCK,
    "clock-2": Role.CLOCK,
    "clock-3": Role.CLOCK,
    "source-1": Role.PRICES,
    "source-2": Role.PRICES,
    "source-3": Role.PRICES,
    "venue": Role.TRADES,
    "venue-2": Role.TRADES,
    "custody": Role.CUSTODY,
    "custody-2": Role.CUSTODY,
    "client": Role.CLIENT,
    "client-2": Role.CLIENT,
    "risk": Role.RISK | Role.ATTEST,
    "attest": Role.ATTEST | Role.RISK,
    "govern": Role.GOVERN,
    "operate": Role.OPERATE,
    "effects": Role.EFFECTS,
}

USD, XBT, ETH = 0, 1, 2
INDEX, TRADED, ETH_INDEX = 1, 2, 3
LINEAR, INVERSE, FUTURE, INVERSE_FUTURE, CALL, PUT = 1, 2, 3, 4, 5, 6
TIERS = (Tier(0, 5_000_000), Tier(20_000_000_000, 10_000_000), Tier(100_000_000_000, 50_000_000))

ASSETS = (
    AssetTerms("USD", 6),
    # Ticks are cents: one is worth 10^4 minor units of a dollar, per whole coin.
    AssetTerms("XBT", 8, 50_000_000, 70_000_000, INDEX, 10_000),
    AssetTerms("ETH", 9, 100_000_000, 100_000_000, ETH_INDEX, 10_000),
)


def make_terms(name: str, kind: Kind, **changes: object) -> InstrumentTerms:
    """A lot is 0.001 coin if linear, one dollar if inverse; ticks are cents."""
    inverse = kind in (Kind.INVERSE_PERPETUAL, Kind.INVERSE_FUTURE)
    perpetual = kind in (Kind.LINEAR_PERPETUAL, Kind.INVERSE_PERPETUAL)
    fields: dict[str, object] = {
        "name": name,
        "kind": kind,
        "asset_id": XBT if inverse else USD,
        "index_feed": INDEX,
        "price_feed": 0 if kind == Kind.OPTION else TRADED,
        "value_scale": 10_000 if inverse else 100,
        "value_per_tick": 0 if inverse else 1000,
        "inverse_numerator": 10**14 if inverse else 0,
        "style": Style.VARIATION,
        "lots_max": 10_000_000,
        "price_min": 1_000,
        "price_max": 10_000_000,
        "maker_fee_ppb": -250_000,
        "taker_fee_ppb": 750_000,
        "tiers": TIERS,
        "initial_factor_ppb": 2 * PPB,
        "basis_max_ppb": 5_000_000,
        "basis_weight_ppb": 200_000_000,
        "funding_interval_ns": 15 * MINUTE_NS if perpetual else 0,
        "funding_max_ppb": 3_750_000 if perpetual else 0,
        "funding_interest_ppb": 100_000 if perpetual else 0,
        "risk_unit": 2 if inverse else 1,
        "order_band_ppb": 20_000_000,
        "slice_ppb": 300_000_000,
    }
    return InstrumentTerms(**(fields | changes))  # type: ignore[arg-type]


def make_listing(life_ns: int = 2 * NS_PER_HOUR) -> list[ListInstrument]:
    """Six instruments; the dated ones expire `life_ns` after the start."""
    expiry = {"expiry_ns": START_NS + life_ns, "settlement_window_ns": 10 * MINUTE_NS}
    option = expiry | {
        "strike_ticks": 800_000,
        "price_min": 1,
        "short_rate_ppb": 150_000_000,
        "short_floor_ppb": 100_000_000,
    }
    terms = [
        make_terms("PERP", Kind.LINEAR_PERPETUAL),
        make_terms("XBTUSD", Kind.INVERSE_PERPETUAL),
        make_terms("FUT", Kind.LINEAR_FUTURE, **expiry),
        make_terms("XBTFUT", Kind.INVERSE_FUTURE, **expiry),
        make_terms("CALL", Kind.OPTION, style=Style.PREMIUM, is_call=True, **option),
        make_terms("PUT", Kind.OPTION, style=Style.VARIATION, **option),
    ]
    return [ListInstrument(each) for each in terms]


class World:
    """Signs and numbers what each sender says, and lets a teller and the auditor follow it."""

    def __init__(
        self,
        tell: Callable[[int, bytes], bytes],
        parameters: Parameters | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.tell = tell
        self.auditor = Auditor()
        self.keys = {name: SigningKey(digest(name.encode())) for name in ROLES}
        self.ids = {name: position for position, name in enumerate(ROLES, 1)}
        self.numbers = dict.fromkeys(ROLES, 0)
        self.now_ns = START_NS
        self.seq = 0
        self.entries: list[tuple[bytes, bytes]] = []
        self.reports: dict[int, int] = {}
        self.parameters = parameters or Parameters(clock_skew_max_ns=10 * 60 * 10**9)
        genesis = Genesis(
            "world",
            START_NS,
            1,
            limits or Limits(accounts_max=256, column_max=512),
            ASSETS,
            tuple(
                SenderTerms(name, self.keys[name].public_key, int(role))
                for name, role in ROLES.items()
            ),
            tuple(ReplicaTerms(f"replica-{n}", digest(bytes((n,)))) for n in range(3)),
            self.parameters,
        )
        payload = encode_genesis(genesis)
        self.log_id = log_id_of(payload)
        self.findings = self.follow(payload)

    def follow(self, payload: bytes) -> list[Finding]:
        """Append one entry and audit it."""
        self.seq += 1
        outcome = self.tell(self.seq, payload)
        self.entries.append((payload, outcome))
        return self.auditor.follow(self.seq, payload, outcome)

    def sign(self, sender: str, number: int, commands: Sequence[AnyCommand]) -> bytes:
        batch = Batch(self.log_id, self.ids[sender], number, tuple(commands))
        return encode_batch(batch, self.keys[sender])

    def send(self, sender: str, *commands: AnyCommand) -> list[Finding]:
        """Send the next batch of a sender."""
        self.numbers[sender] += 1
        return self.follow(self.sign(sender, self.numbers[sender], commands))

    @staticmethod
    def read(entry: tuple[bytes, bytes]) -> Outcome:
        """The outcome of one (payload, outcome)."""
        return decode_outcome(entry[1])

    @property
    def outcome(self) -> Outcome:
        """The last outcome told."""
        return decode_outcome(self.entries[-1][1])

    def admit(self, name: str, role: Role) -> list[Finding]:
        """Let governance add a sender."""
        self.keys[name] = SigningKey(digest(name.encode()))
        self.ids[name], self.numbers[name] = len(self.ids) + 1, 0
        return self.send("govern", AddSender(name, self.keys[name].public_key, int(role)))

    def next_report(self, stream: int) -> int:
        self.reports[stream] = self.reports.get(stream, 0) + 1
        return self.reports[stream]

    # What senders say ------------------------------------------------------------------------

    def list_all(self, life_ns: int = 2 * NS_PER_HOUR) -> list[Finding]:
        return self.send("govern", *make_listing(life_ns))

    def open(self, count: int, mode: int = 1, client: str = "client") -> list[int]:
        self.send(client, OpenAccounts(count, mode))
        for event in self.outcome.events:
            if isinstance(event, AccountsOpened):
                cells = memoryview(event.accounts).cast("q")
                return list(cells)
        return []

    def deposit(self, rows: Sequence[tuple[int, int, int]], stream: int = 1) -> list[Finding]:
        command = RecordDeposits(
            stream,
            self.next_report(stream),
            pack_int64([row[0] for row in rows]),
            pack_int32([row[1] for row in rows]),
            pack_int64([row[2] for row in rows]),
        )
        return self.report(command, "custody", "custody-2")

    def report(
        self, command: RecordDeposits | RecordTrades, first: str, second: str
    ) -> list[Finding]:
        """Tell a report, and vouch for it where the house wants two reporters."""
        found = self.send(first, command)
        if self.parameters.reports_min < 2 or not self.accepted:
            return found
        vouch = ConfirmReport(command.stream, command.number, self.digest_of(command))
        return found + self.send(second, vouch)

    @staticmethod
    def digest_of(command: RecordDeposits | RecordTrades) -> bytes:
        """What reporters of one report must agree on."""
        return digest(encode_any(command), person=b"seawall/report")

    @property
    def accepted(self) -> bool:
        """Whether the last entry's commands were all accepted."""
        return not any(isinstance(each, Rejected) for each in self.outcome.events)

    def make_trades(
        self, rows: Sequence[tuple[int, int, int, int, int, int]], stream: int, number: int
    ) -> RecordTrades:
        return RecordTrades(
            stream,
            number,
            pack_int64([row[0] for row in rows]),
            pack_int64([row[1] for row in rows]),
            pack_int32([row[2] for row in rows]),
            pack_int64([row[3] for row in rows]),
            pack_int64([row[4] for row in rows]),
            bytes(row[5] for row in rows),
        )

    def trade(self, *rows: tuple[int, int, int, int, int, int], stream: int = 2) -> list[Finding]:
        """Rows are buyer, seller, instrument, lots, ticks, flags."""
        command = self.make_trades(rows, stream, self.next_report(stream))
        return self.report(command, "venue", "venue-2")

    def price(
        self, source: int, values: dict[int, int], observed_at_ns: int | None = None
    ) -> list[Finding]:
        at_ns = self.now_ns if observed_at_ns is None else observed_at_ns
        feeds, ticks = pack_int32(list(values)), pack_int64(list(values.values()))
        return self.send(f"source-{source}", PublishPrices(at_ns, feeds, ticks))

    def prices(self, values: dict[int, int]) -> list[Finding]:
        """All three sources agree."""
        return [found for source in (1, 2, 3) for found in self.price(source, values)]

    def tick(self, advance_ns: int) -> list[Finding]:
        """All clocks move: machine time does at the second."""
        self.now_ns += advance_ns
        found = []
        for name in ("clock", "clock-2", "clock-3"):
            found += self.send(name, Tick(self.now_ns))
        return found

    def at(self, minutes: int, values: dict[int, int]) -> list[Finding]:
        """Be so many minutes after the start, with fresh prices at that very tick."""
        second_ns = 10**9
        self.tick(START_NS + minutes * MINUTE_NS - second_ns - self.now_ns)
        return self.prices(values) + self.tick(second_ns)

    def attest(
        self,
        unit: int,
        rows: Mapping[int, Sequence[int]],
        values: Mapping[int, int],
        scale: int = 1,
        life_ns: int = NS_PER_HOUR,
    ) -> list[Finding]:
        """Propose and attest one unit's arrays."""
        width = len(next(iter(rows.values())))
        command = PublishRisk(
            unit,
            width,
            scale,
            self.now_ns + life_ns,
            pack_int32(list(rows)),
            pack_int32([cell for row in rows.values() for cell in row]),
            pack_int64([values.get(each, 0) for each in rows]),
        )
        found = self.send("risk", command)
        told = digest(encode_any(command), person=b"seawall/risk")
        return found + self.send("attest", AttestRisk(unit, told))
