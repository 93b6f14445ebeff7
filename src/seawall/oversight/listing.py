"""Whether contract terms may be listed, and the tier deductions they bring (PROD-03)."""

from collections.abc import Iterator
from itertools import pairwise

from seawall.oversight.books import Contract
from seawall.oversight.funding import first_funding_ns
from seawall.oversight.house import Context, House
from seawall.oversight.record import ACCEPTED, REFUSED, SILENT
from seawall.protocol.codes import Reject
from seawall.protocol.commands import InstrumentTerms, Kind, ListInstrument, Style, Tier
from seawall.protocol.events import InstrumentListed
from seawall.protocol.units import AMOUNT_MAX, PPB

TIERS_MAX = 8
PERPETUALS = (Kind.LINEAR_PERPETUAL, Kind.INVERSE_PERPETUAL)
INVERSES = (Kind.INVERSE_PERPETUAL, Kind.INVERSE_FUTURE)
FUTURES = (Kind.LINEAR_FUTURE, Kind.INVERSE_FUTURE)


def judge_listing(context: Context, command: ListInstrument) -> int:
    """Return the verdict on a listing: refused where a written bound is broken."""
    house, terms = context.house, command.terms
    # Row 0 of the table is no instrument, so a house of n rows lists n - 1.
    if len(house.books.contracts) >= house.limits.instruments_max - 1:
        return Reject.INSTRUMENTS_FULL if not any(_faults(house, terms)) else REFUSED
    if any(_faults(house, terms)):
        return REFUSED
    return SILENT if any(_unsaid(house, terms)) else ACCEPTED


def _faults(house: House, terms: InstrumentTerms) -> Iterator[bool]:
    """Yield, one by one, whether each written bound is broken."""
    feeds_max = house.limits.feeds_max
    yield terms.kind not in set(Kind)
    yield not 0 <= terms.asset_id < len(house.assets)
    yield not 0 < terms.index_feed <= feeds_max
    yield not 0 <= terms.price_feed <= feeds_max
    yield not 0 < terms.price_min <= terms.price_max
    yield terms.lots_max <= 0
    yield not _is_power_of_ten(terms.value_scale)
    yield max(abs(terms.maker_fee_ppb), abs(terms.taker_fee_ppb)) > PPB // 10
    yield _tiers_broken(terms.tiers)
    yield terms.initial_factor_ppb < PPB
    yield terms.style not in (Style.VARIATION, Style.PREMIUM)
    yield terms.style == Style.PREMIUM and terms.kind != Kind.OPTION
    yield terms.kind == Kind.OPTION and (terms.strike_ticks <= 0 or terms.expiry_ns <= 0)
    yield terms.kind in FUTURES and terms.expiry_ns <= house.now_ns
    yield terms.kind in PERPETUALS and (terms.expiry_ns != 0 or terms.funding_interval_ns <= 0)
    if terms.kind in INVERSES:
        yield terms.inverse_numerator <= 0
        largest = terms.inverse_numerator // max(1, terms.price_min)
    else:
        yield terms.value_per_tick <= 0
        largest = terms.price_max * terms.value_per_tick
    yield terms.lots_max * largest > AMOUNT_MAX


def _unsaid(house: House, terms: InstrumentTerms) -> Iterator[bool]:
    """Yield whether the terms use a freedom on which the rules are silent."""
    limits = house.limits
    yield any(each.terms.name == terms.name for each in house.books.contracts.values())
    yield terms.name == "" or len(terms.name) > 64
    yield limits.feeds_max in (terms.index_feed, terms.price_feed)
    yield terms.kind == Kind.OPTION and terms.expiry_ns <= house.now_ns
    yield not 0 <= terms.risk_unit < limits.units_max
    yield terms.kind in INVERSES and terms.inverse_numerator < terms.price_max
    yield terms.kind not in INVERSES and terms.inverse_numerator != 0
    yield terms.kind in INVERSES and terms.value_per_tick != 0
    for share in (terms.basis_max_ppb, terms.basis_weight_ppb, terms.funding_max_ppb):
        yield not 0 <= share <= PPB
    for share in (terms.short_rate_ppb, terms.short_floor_ppb, terms.order_band_ppb):
        yield not 0 <= share <= PPB
    yield terms.kind == Kind.OPTION and 0 in (terms.short_rate_ppb, terms.short_floor_ppb)
    yield not 0 < terms.slice_ppb <= PPB
    yield abs(terms.funding_interest_ppb) > PPB
    yield terms.settlement_window_ns < 0 or terms.settlement_window_ns > terms.expiry_ns
    yield terms.funding_interval_ns < 0 or terms.strike_ticks < 0 or terms.expiry_ns < 0
    yield terms.kind not in PERPETUALS and terms.funding_interval_ns != 0
    yield terms.initial_factor_ppb > 1000 * PPB


def _is_power_of_ten(value: int) -> bool:
    return value >= 1 and str(value).strip("0") == "1" and str(value)[0] == "1"


def _tiers_broken(tiers: tuple[Tier, ...]) -> bool:
    if not 1 <= len(tiers) <= TIERS_MAX or tiers[0].floor_minor != 0:
        return True
    if any(not 0 < tier.rate_ppb <= PPB for tier in tiers):
        return True
    pairs = list(pairwise(tiers))
    return any(b.floor_minor <= a.floor_minor or b.rate_ppb < a.rate_ppb for a, b in pairs)


def tier_deductions(tiers: tuple[Tier, ...]) -> tuple[int, ...]:
    """Return what each tier takes off, so that only what lies above its floor pays its rate.

    Rounding
    --------
    Down, hence against the account; each builds on the one before.
    """
    deductions = [0]
    for below, tier in pairwise(tiers):
        step = tier.floor_minor * (tier.rate_ppb - below.rate_ppb) // PPB
        deductions.append(deductions[-1] + step)
    return tuple(deductions)


def list_instrument(context: Context, command: ListInstrument) -> None:
    """Open the instrument in the auditor's books."""
    house = context.house
    number = len(house.books.contracts) + 1
    contract = Contract(number, command.terms, tier_deductions(command.terms.tiers))
    contract.funding_next_ns = first_funding_ns(contract, house.now_ns)
    house.books.contracts[number] = house.books.moved_contracts[number] = contract
    house.use_feed(command.terms.index_feed)
    house.use_feed(command.terms.price_feed)
    house.prices_moved = True
    context.record.say(InstrumentListed(number, command.terms.name))
