"""Funding of perpetuals: the sampled premium of the traded price over the index (FUND-01, 02).

What one side pays the other receives, but for the rounding, which the rounding account gets.
Outside fills this is the one posting that touches every holder, so it goes by columns: the event
names the rate and the totals, and each account's share follows from its lots.
"""

import numpy as np

from seawall.clearing.holders import holders
from seawall.clearing.instruments import is_perpetual, live_instruments
from seawall.clearing.kernels.funding import PAID, RECEIVED, compute_payments, credit
from seawall.clearing.layout import (
    ASSET,
    AT_NS,
    BALANCE,
    FEED_GRADE,
    FUNDING_INTEREST_PPB,
    FUNDING_INTERVAL,
    FUNDING_LAST_SAMPLE,
    FUNDING_MAX_PPB,
    FUNDING_NEXT,
    FUNDING_SAMPLES,
    FUNDING_SUM_PPB,
    INDEX,
    INDEX_FEED,
    MARK_GRADE,
    MARK_NOTIONAL,
    PRICE_FEED,
    SEQ,
    VALUE_SCALE,
)
from seawall.clearing.outcome import Out
from seawall.clearing.state import Int32, Int64, State
from seawall.clearing.trades import book_of
from seawall.protocol.events import FundingPaid, Grade
from seawall.protocol.ids import ROUNDING, account_row
from seawall.protocol.units import NS_PER_MINUTE, PPB, mul_div_floor

SAMPLE_EVERY_NS = NS_PER_MINUTE
ROUNDING_ROW = account_row(ROUNDING)


def step_funding(state: State, out: Out) -> None:
    """Sample every perpetual's premium and pay where a period has ended."""
    for instrument in live_instruments(state):
        if is_perpetual(state, instrument):
            _sample(state, instrument)
            if state.scalar[AT_NS] >= state.instrument[instrument, FUNDING_NEXT]:
                _end_period(state, out, instrument)


def compute_payment(lots: int, *, notional: int, rate_ppb: int, scale: int) -> int:
    """Return what a holder receives in minor units; longs pay a positive rate.

    Rounding
    --------
    Down, against the holder: the sum over all holders is never above zero.

    Source
    ------
    FUND-02.
    """
    return mul_div_floor(-lots * notional, rate_ppb, PPB * scale)


def _sample(state: State, instrument: int) -> None:
    """Add one premium sample, at most one a minute and only of fresh prices (FUND-01)."""
    line, now = state.instrument, state.scalar[AT_NS]
    index_feed, price_feed = line[instrument, INDEX_FEED], line[instrument, PRICE_FEED]
    if price_feed in (0, index_feed) or line[instrument, MARK_GRADE] != Grade.FRESH:
        return
    if state.feed[price_feed, FEED_GRADE] != Grade.FRESH:
        return
    if now - line[instrument, FUNDING_LAST_SAMPLE] < SAMPLE_EVERY_NS:
        return
    index = state.feed[index_feed, INDEX]
    premium_ppb = mul_div_floor(state.feed[price_feed, INDEX] - index, PPB, index)
    line[instrument, FUNDING_SUM_PPB] += _capped(state, instrument, premium_ppb)
    line[instrument, FUNDING_SAMPLES] += 1
    line[instrument, FUNDING_LAST_SAMPLE] = now


def _end_period(state: State, out: Out, instrument: int) -> None:
    """Pay the period's rate and start the next one; periods missed meanwhile pay nothing."""
    line, now = state.instrument, state.scalar[AT_NS]
    rate_ppb = _rate(state, instrument)
    paid, received = _pay(state, instrument, rate_ppb) if rate_ppb else (0, 0)
    out.event(FundingPaid(instrument, rate_ppb, paid, received, paid - received))
    interval_ns = line[instrument, FUNDING_INTERVAL]
    periods = (now - line[instrument, FUNDING_NEXT]) // interval_ns + 1
    line[instrument, FUNDING_NEXT] += periods * interval_ns
    line[instrument, FUNDING_SUM_PPB] = 0
    line[instrument, FUNDING_SAMPLES] = 0


def _rate(state: State, instrument: int) -> int:
    """Return the period's rate: 0 without samples, and 0 when the mark is in doubt."""
    line = state.instrument
    samples = line[instrument, FUNDING_SAMPLES]
    if not samples or line[instrument, MARK_GRADE] != Grade.FRESH:
        return 0
    average_ppb = line[instrument, FUNDING_SUM_PPB] // samples
    return _capped(state, instrument, average_ppb + line[instrument, FUNDING_INTEREST_PPB])


def _capped(state: State, instrument: int, rate_ppb: int) -> int:
    most_ppb = state.instrument[instrument, FUNDING_MAX_PPB]
    return min(max(rate_ppb, -most_ppb), most_ppb)


def _pay(state: State, instrument: int, rate_ppb: int) -> tuple[int, int]:
    """Move the payments of all holders; return what was paid and what was received."""
    rows, lots = holders(state, instrument)
    cash, totals = np.empty(len(rows), np.int64), np.zeros(2, np.int64)
    divisor = PPB * state.instrument[instrument, VALUE_SCALE]
    notional = state.instrument[instrument, MARK_NOTIONAL]
    # Lots times notional is proven at listing for clients and at takeovers for the fund.
    fits = compute_payments(lots, notional, rate_ppb, divisor, cash, totals)
    assert fits
    paid, received = int(totals[PAID]), int(totals[RECEIVED])
    # Exact payments would cancel, as lots sum to zero; rounding down can only leave something.
    assert paid >= received
    asset = state.instrument[instrument, ASSET]
    _credit(state, asset, rows, cash)
    if paid > received:
        rounding = np.array([paid - received], np.int64)
        _credit(state, asset, np.array([ROUNDING_ROW], np.int32), rounding)
    return paid, received


def _credit(state: State, asset: int, rows: Int32, cash: Int64) -> None:
    """Add amounts to the balances of distinct rows."""
    fits = credit(book_of(state), BALANCE + asset, rows, cash, state.scalar[SEQ])
    assert fits
