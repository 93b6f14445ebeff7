"""Warming: a small house lives through everything once, so that all kernels are compiled.

A replica that compiles in the middle of a market would fall behind when it matters most.
"""

import msgspec

from seawall.protocol.codec import (
    encode_any,
    encode_batch,
    encode_genesis,
    log_id_of,
    pack_int32,
    pack_int64,
)
from seawall.protocol.commands import (
    AnyCommand,
    AssetTerms,
    AttestRisk,
    Batch,
    InstrumentTerms,
    Kind,
    ListInstrument,
    Mode,
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
    Withdraw,
)
from seawall.protocol.digest import digest
from seawall.protocol.genesis import RULES_VERSION, Genesis, Limits, Parameters, SenderTerms
from seawall.protocol.ids import INSURANCE, account_id
from seawall.protocol.signatures import KEY_BYTES, SigningKey
from seawall.protocol.units import NS_PER_HOUR, NS_PER_MINUTE, PPB
from seawall.replica.machine import StateMachine

EVERYTHING = sum(Role)
START_NS = NS_PER_HOUR
INDEX_FEED, TRADED_FEED, RISK_UNIT = 1, 2, 1
PRICE_TICKS = 10_000
MILLION = 10**6
CASH_MINOR = 1_000 * MILLION
FIRST_ROW = 8
ACCOUNTS = 8
PERPETUAL = InstrumentTerms(
    name="plain",
    kind=Kind.LINEAR_PERPETUAL,
    asset_id=0,
    index_feed=INDEX_FEED,
    price_feed=TRADED_FEED,
    value_scale=1,
    value_per_tick=1_000,
    inverse_numerator=0,
    style=Style.VARIATION,
    lots_max=1_000_000,
    price_min=1,
    price_max=MILLION,
    maker_fee_ppb=0,
    taker_fee_ppb=PPB // 1000,
    tiers=(Tier(0, PPB // 20),),
    initial_factor_ppb=2 * PPB,
    funding_interval_ns=NS_PER_HOUR,
    funding_max_ppb=PPB // 100,
    order_band_ppb=PPB // 10,
    slice_ppb=PPB,
)
"""A linear perpetual: a lot is worth 10 units of the asset."""


class Script:
    """Signs and applies what the two senders of the small house say."""

    def __init__(self, machine: StateMachine) -> None:
        self.at_ns = START_NS
        self._machine = machine
        self._keys = tuple(SigningKey(bytes([seed]) * KEY_BYTES) for seed in (1, 2))
        self._numbers = [0, 0]
        genesis = encode_genesis(_genesis(*(key.public_key for key in self._keys)))
        self._log_id = log_id_of(genesis)
        machine.apply(1, genesis)

    def say(self, *commands: AnyCommand, sender: int = 1) -> None:
        """Apply one entry with these commands."""
        self._numbers[sender - 1] += 1
        batch = Batch(self._log_id, sender, self._numbers[sender - 1], commands)
        self._machine.apply(self._machine.seq + 1, encode_batch(batch, self._keys[sender - 1]))

    def move(self, price_ticks: int, after_ns: int) -> None:
        """Let a while pass, with new prices at its end."""
        self.at_ns += after_ns
        feeds = pack_int32([INDEX_FEED, TRADED_FEED])
        values = pack_int64([price_ticks, price_ticks + price_ticks // 1000])
        self.say(Tick(self.at_ns))
        self.say(PublishPrices(self.at_ns, feeds, values))
        self.at_ns += 1
        self.say(Tick(self.at_ns))


def warm(machine: StateMachine) -> None:
    """Let an empty machine live through trades, funding, margin, calls, liquidation and default."""
    script = Script(machine)
    script.say(
        ListInstrument(PERPETUAL),
        ListInstrument(msgspec.structs.replace(PERPETUAL, name="rows", risk_unit=RISK_UNIT)),
        OpenAccounts(ACCOUNTS - 1, Mode.CROSS),
        OpenAccounts(1, Mode.PORTFOLIO),
    )
    script.move(PRICE_TICKS, NS_PER_MINUTE)
    accounts: list[int] = [account_id(1, FIRST_ROW + index) for index in range(ACCOUNTS)]
    paid_in: list[int] = [*accounts, INSURANCE]
    amounts = [CASH_MINOR] * ACCOUNTS + [1]
    script.say(
        RecordDeposits(
            1, 1, pack_int64(paid_in), pack_int32([0] * len(paid_in)), pack_int64(amounts)
        )
    )
    risk = PublishRisk(
        unit_id=RISK_UNIT,
        row_count=2,
        scale=1,
        expires_at_ns=script.at_ns + NS_PER_HOUR * 24,
        instruments=pack_int32([2]),
        rows=pack_int32([-MILLION, MILLION]),
        values=pack_int64([0]),
    )
    script.say(risk)
    told = digest(encode_any(risk), person=b"seawall/risk")
    script.say(AttestRisk(RISK_UNIT, told), sender=2)
    # Two longs with little to spare against five shorts, of whom one is too small to make up for
    # a default; the last account has portfolio margin.
    fills = [(0, short, 1, 180) for short in range(2, 7)]
    fills += [(1, short, 1, 100) for short in range(2, 7)]
    fills += [(7, 6, 2, 5)]
    script.say(_trades(accounts, fills))
    script.say(Withdraw(accounts[7], 0, MILLION, 1))
    script.move(PRICE_TICKS, NS_PER_MINUTE)
    script.move(PRICE_TICKS, NS_PER_HOUR)
    for step in range(1, 8):
        script.move(PRICE_TICKS - 150 * step, NS_PER_MINUTE)
    # Beyond what the fund can bear: deleveraging, then shared losses.
    script.move(PRICE_TICKS // 2, NS_PER_HOUR)
    for _ in range(3):
        script.move(PRICE_TICKS // 2, NS_PER_MINUTE)
    for _ in machine.pages():
        pass


def _trades(accounts: list[int], fills: list[tuple[int, int, int, int]]) -> RecordTrades:
    """Return a report of fills (buyer, seller, instrument, lots)."""
    return RecordTrades(
        stream=2,
        number=1,
        buyers=pack_int64([accounts[buyer] for buyer, _, _, _ in fills]),
        sellers=pack_int64([accounts[seller] for _, seller, _, _ in fills]),
        instruments=pack_int32([instrument for _, _, instrument, _ in fills]),
        lots=pack_int64([lots for _, _, _, lots in fills]),
        prices=pack_int64([PRICE_TICKS] * len(fills)),
        flags=bytes(len(fills)),
    )


def _genesis(first_key: bytes, second_key: bytes) -> Genesis:
    return Genesis(
        name="warm",
        at_ns=START_NS,
        rules_version=RULES_VERSION,
        limits=Limits(accounts_max=32, extensions_max=2),
        assets=(AssetTerms("USD", 6),),
        senders=(
            SenderTerms("all", first_key, EVERYTHING),
            SenderTerms("attest", second_key, Role.ATTEST),
        ),
        replicas=(ReplicaTerms("only", first_key),),
        parameters=Parameters(
            sources_min=1,
            adl_winners_max=1,
            velocity_ppb=PPB,
            checkpoint_entries=5,
            liquidation_deadline_ns=NS_PER_MINUTE,
            halt_after_ns=2 * NS_PER_HOUR,
            stale_ns=2 * NS_PER_HOUR,
        ),
    )
