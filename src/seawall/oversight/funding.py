"""Funding of perpetuals and final settlement of what expires (FUND-01, FUND-02, SETL-01)."""

from seawall.oversight.books import (
    STATUS_SETTLED,
    STATUS_TRADING,
    STATUS_WAITING,
    Contract,
    fill_side,
)
from seawall.oversight.house import Context, House
from seawall.protocol.commands import Kind
from seawall.protocol.events import FundingPaid, Grade, InstrumentSettled
from seawall.protocol.ids import ROUNDING
from seawall.protocol.units import NS_PER_MINUTE, PPB

SAMPLE_GAP_NS = NS_PER_MINUTE


def first_funding_ns(contract: Contract, now_ns: int) -> int:
    """Return the next multiple of the interval after now."""
    interval_ns = contract.terms.funding_interval_ns
    return (now_ns // interval_ns + 1) * interval_ns if contract.is_perpetual else 0


def step_funding(context: Context) -> None:
    """Sample premiums, and pay where the interval is over."""
    house = context.house
    for _, contract in sorted(house.books.contracts.items()):
        if contract.is_perpetual and contract.status == STATUS_TRADING:
            _sample(house, contract)
            if house.now_ns >= contract.funding_next_ns:
                _pay(context, contract)


def _sample(house: House, contract: Contract) -> None:
    terms = contract.terms
    traded = house.feeds.get(terms.price_feed)
    if traded is None or traded.grade != Grade.FRESH or terms.price_feed == terms.index_feed:
        return
    if contract.grade != Grade.FRESH:
        return
    if house.now_ns - contract.sampled_at_ns < SAMPLE_GAP_NS:
        return
    index = house.feeds[terms.index_feed].index
    premium_ppb = (traded.index - index) * PPB // index
    contract.premium_sum += max(-terms.funding_max_ppb, min(terms.funding_max_ppb, premium_ppb))
    contract.premium_count += 1
    contract.sampled_at_ns = house.now_ns


def funding_rate(contract: Contract) -> int:
    """Return the rate of the period, ppb: nothing without samples or without a fresh mark."""
    if contract.premium_count == 0 or contract.grade != Grade.FRESH:
        return 0
    limit = contract.terms.funding_max_ppb
    mean_ppb = contract.premium_sum // contract.premium_count
    return max(-limit, min(limit, mean_ppb + contract.terms.funding_interest_ppb))


def _pay(context: Context, contract: Contract) -> None:
    """Move funding between holders; what rounding keeps goes to the rounding account."""
    books = context.house.books
    rate_ppb = funding_rate(contract)
    asset = contract.terms.asset_id
    unit = PPB * contract.terms.value_scale
    paid = received = 0
    for account in books.holders(contract):
        cash = -account.holdings[contract.id].lots * contract.notional * rate_ppb // unit
        if cash:
            books.credit(account, asset, cash)
        paid += max(0, -cash)
        received += max(0, cash)
    if paid != received:
        books.credit(context.house.house_account(ROUNDING), asset, paid - received)
    context.record.say(FundingPaid(contract.id, rate_ppb, paid, received, paid - received))
    interval_ns = contract.terms.funding_interval_ns
    contract.funding_next_ns = (context.house.now_ns // interval_ns + 1) * interval_ns
    contract.premium_sum = contract.premium_count = 0


def step_settlement(context: Context) -> None:
    """Sample the index before expiry; close everything at the mean after it (SETL-01)."""
    house = context.house
    for _, contract in sorted(house.books.contracts.items()):
        terms = contract.terms
        if contract.is_perpetual or contract.status == STATUS_SETTLED:
            continue
        index = house.feeds[terms.index_feed]
        is_fresh = index.grade == Grade.FRESH
        opens_ns = terms.expiry_ns - terms.settlement_window_ns
        if is_fresh and opens_ns <= house.now_ns <= terms.expiry_ns:
            contract.final_sum += index.index
            contract.final_count += 1
        if house.now_ns < terms.expiry_ns:
            continue
        if contract.final_count:
            _settle(context, contract, contract.final_sum // contract.final_count)
        elif is_fresh:
            _settle(context, contract, index.index)
        else:
            contract.status = STATUS_WAITING


def final_value(contract: Contract, final_ticks: int) -> int:
    """Return the value of one lot at expiry, value units."""
    if contract.terms.kind != Kind.OPTION:
        return contract.value_at(final_ticks)
    sign = 1 if contract.terms.is_call else -1
    inner = max(0, sign * (final_ticks - contract.terms.strike_ticks))
    return min(inner, contract.terms.price_max) * contract.terms.value_per_tick


def _settle(context: Context, contract: Contract, final_ticks: int) -> None:
    books, terms = context.house.books, contract.terms
    if not contract.is_option:
        final_ticks = max(terms.price_min, min(terms.price_max, final_ticks))
    value = final_value(contract, final_ticks)
    for account in books.holders(contract):
        held = account.holdings[contract.id]
        after, gain = fill_side(held, -held.lots, value, contract.is_premium)
        books.settle_side(account, contract, after, gain)
    contract.status = STATUS_SETTLED
    contract.value = value
    contract.ticks = value // contract.terms.value_per_tick if contract.is_option else final_ticks
    context.record.say(InstrumentSettled(contract.id, final_ticks))
