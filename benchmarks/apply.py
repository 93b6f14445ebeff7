"""The whole of `apply`: signed entries in, chained outcomes out, a million accounts."""

import time
from statistics import median

import numpy as np

from benchmarks.figure import Figure
from seawall.clearing.machine import Machine
from seawall.protocol.codec import (
    decode_outcome,
    encode_batch,
    encode_genesis,
    entry_digest,
    log_id_of,
    outcome_digest,
    pack_int32,
    pack_int64,
)
from seawall.protocol.commands import (
    AnyCommand,
    AssetTerms,
    Batch,
    InstrumentTerms,
    Kind,
    ListInstrument,
    Mode,
    OpenAccounts,
    PublishPrices,
    RecordDeposits,
    RecordTrades,
    ReplicaTerms,
    Role,
    Style,
    Tick,
    Tier,
)
from seawall.protocol.digest import genesis_chain, next_chain
from seawall.protocol.events import TradesRecorded
from seawall.protocol.genesis import Genesis, Limits, Parameters, SenderTerms
from seawall.protocol.ids import HOUSE_ROWS, ROW_BITS
from seawall.protocol.signatures import SigningKey
from seawall.protocol.units import NS_PER_MINUTE, PPB

ACCOUNTS = 1_000_000
ENTRY_FILLS = 8_192
INSTRUMENTS = 16
ENTRIES, ROUNDS = 24, 5
ENTRIES_A_TICK = 12
TICK_FILLS = ENTRIES_A_TICK * ENTRY_FILLS
COLUMN_MAX = 1 << 14
PRICE = 500_000
DEPOSIT_MINOR = 10**12
"""A million dollars each, so that nobody is liquidated: the bench is of the ordinary day."""
MILLION = 1_000_000
SENDER = 1


class House:
    """A machine with a million open accounts, driven by one sender that may do everything."""

    def __init__(self, accounts: int) -> None:
        self.machine = Machine()
        self.key = SigningKey(bytes(32))
        self.number = 0
        self.now_ns = NS_PER_MINUTE
        genesis = encode_genesis(make_genesis(accounts, self.key.public_key))
        self.log_id = log_id_of(genesis)
        self.chain = genesis_chain(self.log_id)
        self.apply(genesis)
        self.apply(self.sign(*(ListInstrument(make_terms(i)) for i in range(INSTRUMENTS))))
        for number, start in enumerate(range(0, accounts, COLUMN_MAX), 1):
            count = min(COLUMN_MAX, accounts - start)
            rows = np.arange(HOUSE_ROWS + start, HOUSE_ROWS + start + count)
            self.apply(self.sign(OpenAccounts(count, Mode.CROSS)))
            self.apply(
                self.sign(
                    RecordDeposits(
                        2,
                        number,
                        (rows + (1 << ROW_BITS)).tobytes(),
                        bytes(4 * count),
                        np.full(count, DEPOSIT_MINOR).tobytes(),
                    )
                )
            )

    def sign(self, *commands: AnyCommand) -> bytes:
        """Return the next entry's payload."""
        self.number += 1
        return encode_batch(Batch(self.log_id, SENDER, self.number, commands), self.key)

    def apply(self, payload: bytes) -> bytes:
        """Apply an entry as a replica does: outcome, digests, chain."""
        seq = self.machine.seq + 1
        outcome = self.machine.apply(seq, payload)
        self.chain = next_chain(self.chain, seq, entry_digest(payload), outcome_digest(outcome))
        return outcome

    def tick(self, price: int) -> bytes:
        """Return an entry that moves every mark and then time."""
        self.now_ns += NS_PER_MINUTE
        return self.sign(
            PublishPrices(self.now_ns, pack_int32([1]), pack_int64([price])), Tick(self.now_ns)
        )


def make_genesis(accounts: int, public_key: bytes) -> Genesis:
    """Return a large house without checkpoints and with a sample of account lines."""
    return Genesis(
        name="bench",
        at_ns=NS_PER_MINUTE,
        rules_version=1,
        limits=Limits(accounts_max=accounts + HOUSE_ROWS, extensions_max=1024),
        assets=(AssetTerms("USD", 6),),
        senders=(SenderTerms("bench", public_key, int(sum(Role))),),
        replicas=(ReplicaTerms("replica-1", public_key),),
        parameters=Parameters(sources_min=1, audit_lines_max=64, checkpoint_entries=1 << 20),
    )


def make_terms(place: int) -> InstrumentTerms:
    """Return a linear perpetual."""
    return InstrumentTerms(
        name=f"PERP-{place}",
        kind=Kind.LINEAR_PERPETUAL,
        asset_id=0,
        index_feed=1,
        price_feed=0,
        value_scale=1,
        value_per_tick=10,
        inverse_numerator=0,
        style=Style.VARIATION,
        lots_max=10**9,
        price_min=1_000,
        price_max=10**7,
        maker_fee_ppb=-PPB // 10_000,
        taker_fee_ppb=PPB // 2_000,
        tiers=(Tier(0, PPB // 200),),
        initial_factor_ppb=2 * PPB,
        funding_interval_ns=480 * NS_PER_MINUTE,
    )


def draw_entry(house: House, draw: np.random.Generator, accounts: int, number: int) -> bytes:
    """Return an entry of fills between accounts drawn uniformly: the worst case for a cache."""
    rows = draw.integers(HOUSE_ROWS, accounts + HOUSE_ROWS, (2, ENTRY_FILLS))
    # Nobody trades with itself: the seller of a clash is the next account.
    clash = rows[0] == rows[1]
    rows[1, clash] = HOUSE_ROWS + (rows[1, clash] - HOUSE_ROWS + 1) % accounts
    ids = rows + (1 << ROW_BITS)
    # An account trades four of the instruments: the last two bits of its row choose which.
    instruments = (rows[0] % 4 * 4 + draw.integers(0, 4, ENTRY_FILLS) + 1).astype(np.int32)
    return house.sign(
        RecordTrades(
            1,
            number,
            ids[0].tobytes(),
            ids[1].tobytes(),
            instruments.tobytes(),
            draw.integers(1, 100, ENTRY_FILLS).tobytes(),
            draw.integers(PRICE - 1000, PRICE + 1000, ENTRY_FILLS).tobytes(),
            draw.integers(0, 2, ENTRY_FILLS).astype(np.uint8).tobytes(),
        )
    )


def run() -> list[Figure]:
    """Post fills through signed, chained entries; then the same with requirements at ticks."""
    house, draw = House(ACCOUNTS), np.random.default_rng(7)
    number, posted = 0, 0
    plain, swept, ticks = [], [], []
    house.apply(house.tick(PRICE))
    for round_ in range(ROUNDS + 1):
        payloads = []
        for _ in range(ENTRIES):
            number += 1
            payloads.append(draw_entry(house, draw, ACCOUNTS, number))
        started = time.process_time()
        for payload in payloads:
            outcome = house.apply(payload)
        fills_s = time.process_time() - started
        posted += count_posted(outcome)
        ticks_s = []
        for _ in range(ENTRIES // ENTRIES_A_TICK):
            tick = house.tick(PRICE + round_)
            started = time.process_time()
            house.apply(tick)
            ticks_s.append(time.process_time() - started)
        if round_:
            plain.append(ENTRIES * ENTRY_FILLS / fills_s)
            swept.append(ENTRIES * ENTRY_FILLS / (fills_s + sum(ticks_s)))
            ticks.append(median(ticks_s))
    assert posted == (ROUNDS + 1) * ENTRY_FILLS
    return [
        Figure("apply", "fills posted through apply, chained", median(plain) / MILLION, "M/s", 2.0),
        Figure("apply", f"with a tick every {TICK_FILLS:,} fills", median(swept) / MILLION, "M/s"),
        Figure("apply", "a tick that moves all marks", median(ticks) * 1e3, "ms"),
    ]


def count_posted(outcome: bytes) -> int:
    """Return how many fills of an entry were posted: all, or the bench measures refusals."""
    recorded = [e for e in decode_outcome(outcome).events if isinstance(e, TradesRecorded)]
    results = np.frombuffer(recorded[0].results, np.int64).reshape(-1, 5)
    return int((results[:, 0] == 0).sum())
