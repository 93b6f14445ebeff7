"""What the outside world does each minute: sources, clocks, trades, and money coming and going.

The price is real; who trades how much, and the two further sources, are synthetic and seeded.
"""

import math
import random

import msgspec

from seawall.lab.bars import Bar
from seawall.lab.cast import (
    INDEX_FEED,
    INVERSE,
    LINEAR,
    PERP_FEED,
    PRICE_MAX,
    PRICE_MIN,
    SOURCES,
    STREAM_TRADES,
)
from seawall.protocol.codec import pack_int32, pack_int64
from seawall.protocol.commands import PublishPrices, RecordTrades
from seawall.protocol.units import PPB

LIE_PPB = PPB // 4
"""The lying source says a quarter more than it sees."""
NOISE_PPB = PPB // 5_000
PREMIUM_SHARE = 10
"""Synthetic premium: the traded price lies this fraction of the half-hour's move beyond the
index, as it did in the real crash, so that funding has something to measure."""
PREMIUM_MINUTES = 30
TRADERS_PER_FILL = 50
"""One trader in this many trades in a minute ..."""
FILLS_A_MINUTE_MIN = 12
"""... but no fewer trades than this happen."""


class Fill(msgspec.Struct, frozen=True):
    """One trade to be reported."""

    buyer: int
    seller: int
    instrument: int
    lots: int
    price: int
    buyer_takes: bool


def record_trades(number: int, fills: list[Fill]) -> RecordTrades:
    """Return the columnar report of some fills."""
    return RecordTrades(
        stream=STREAM_TRADES,
        number=number,
        buyers=pack_int64([fill.buyer for fill in fills]),
        sellers=pack_int64([fill.seller for fill in fills]),
        instruments=pack_int32([fill.instrument for fill in fills]),
        lots=pack_int64([fill.lots for fill in fills]),
        prices=pack_int64([fill.price for fill in fills]),
        flags=bytes(int(fill.buyer_takes) for fill in fills),
    )


class Feeds:
    """Three sources that watch one venue: when it shows nothing, none of them observes anything."""

    def __init__(self, seed: int, bars: list[Bar]) -> None:
        self._rng = random.Random(f"feeds:{seed}")
        self._bars = bars

    def observe(self, minute: int, liar: str | None) -> dict[str, PublishPrices]:
        """Return what each source publishes after this minute; nothing when nothing was seen.

        Parameters
        ----------
        liar : source that lies in this minute, if any
        """
        # The noise is drawn in every minute, so that a lie changes nothing else of the run.
        noise = [0, self._draw(), self._draw()]
        bar = self._bars[minute]
        if not bar.observed:
            return {}
        earlier = self._bars[max(0, minute - PREMIUM_MINUTES)].close
        premium = (bar.close - earlier) // PREMIUM_SHARE
        told = {}
        for source, shift in zip(SOURCES, noise, strict=True):
            index = bar.close + bar.close * shift // PPB
            if source == liar:
                index += index * LIE_PPB // PPB
            perp = min(max(index + premium, PRICE_MIN), PRICE_MAX)
            told[source] = PublishPrices(
                bar.at_ns, pack_int32([INDEX_FEED, PERP_FEED]), pack_int64([index, perp])
            )
        return told

    def _draw(self) -> int:
        return self._rng.randint(-NOISE_PPB, NOISE_PPB)


class Crowd:
    """Traders who now and then trade with the makers, at prices inside the minute's range."""

    def __init__(self, seed: int, traders: list[tuple[int, int]], makers: list[int]) -> None:
        """`traders` are (account, instrument it trades)."""
        self._rng = random.Random(f"crowd:{seed}")
        self._traders = traders
        self._makers = makers
        self._retired: set[int] = set()

    def retire(self, account: int) -> None:
        """Let a trader who lost everything trade no more."""
        self._retired.add(account)

    def trade(self, bar: Bar) -> list[Fill]:
        """Return the minute's ordinary fills; none when the venue stands still."""
        if not bar.observed:
            return []
        if self._retired:
            self._traders = [each for each in self._traders if each[0] not in self._retired]
            self._retired.clear()
        count = max(-(-len(self._traders) // TRADERS_PER_FILL), FILLS_A_MINUTE_MIN)
        count = min(count, len(self._traders))
        fills = []
        for account, instrument in self._rng.sample(self._traders, count):
            maker = self._rng.choice(self._makers)
            buys = self._rng.random() < 0.5
            lots = self._rng.randint(1, 50 if instrument == LINEAR else 200)
            price = self._rng.randint(bar.low, bar.high)
            buyer, seller = (account, maker) if buys else (maker, account)
            fills.append(Fill(buyer, seller, instrument, lots, price, buys))
        return fills

    def maker(self) -> int:
        """Return the maker that takes the next liquidation order."""
        return self._rng.choice(self._makers)


class Book:
    """How much of an order the market takes in this minute, and at what price (synthetic impact).

    Source
    ------
    Square-root impact: Almgren et al. (2005); the minute's range and volume are the real ones.
    """

    def __init__(self) -> None:
        self._taken_usd = 0
        self.bar: Bar | None = None

    def open_minute(self, bar: Bar) -> None:
        """Start a minute: what was taken before is replenished."""
        self.bar = bar
        self._taken_usd = 0

    def fill(self, instrument: int, lots: int, limit: int) -> tuple[int, int] | None:
        """Return (lots filled, price) of an immediate-or-cancel order, or None.

        Parameters
        ----------
        lots : signed: buys > 0
        limit : worst price in ticks
        """
        bar = self.bar
        if bar is None or not bar.observed or bar.volume_usd <= 0:
            return None
        usd_per_lot_cents = 100 if instrument == INVERSE else bar.close // 1000
        # A tenth of the minute's real volume is there for liquidations.
        left = max(bar.volume_usd // 10 - self._taken_usd, 0)
        filled = min(abs(lots), left * 100 // max(usd_per_lot_cents, 1))
        if filled == 0:
            return None
        usd = filled * usd_per_lot_cents // 100
        share_ppb = (self._taken_usd + usd) * PPB // bar.volume_usd
        impact = (bar.high - bar.low) * _root_ppb(share_ppb) // PPB
        price = bar.close + impact if lots > 0 else bar.close - impact
        if (lots > 0 and price > limit) or (lots < 0 and price < limit):
            return None
        self._taken_usd += usd
        return filled, min(max(price, PRICE_MIN), PRICE_MAX)


def _root_ppb(share_ppb: int) -> int:
    """Return the square root of a share, both in parts per billion."""
    return math.isqrt(share_ppb * PPB)
