"""Sources, indices, marks, asset prices and the halts they cause (MARK-01 to 05, BRKR-01, 02)."""

from collections.abc import Sequence

from seawall.oversight.books import STATUS_SETTLED, Contract
from seawall.oversight.house import Context, Feed, House
from seawall.oversight.record import ACCEPTED, REFUSED
from seawall.protocol.codec import pack_int32, pack_int64, unpack_int32, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import PublishPrices
from seawall.protocol.events import (
    Grade,
    HaltEnded,
    HaltStarted,
    IndexMoved,
    MarksMoved,
    SourceDeviated,
)
from seawall.protocol.units import NS_PER_HOUR, PPB

VALUE_MAX = 1 << 40
BASIS_LIFE_NS = 30 * 24 * NS_PER_HOUR
"""A dated future's basis may be full width this long before expiry, less in proportion after."""


def judge_publish(context: Context, command: PublishPrices) -> int:
    """Return the verdict on one source's prices (MARK-01)."""
    house = context.house
    if len(command.feeds) % 4 or len(command.values) % 8:
        return Reject.COLUMN_LENGTH
    if len(command.feeds) // 4 != len(command.values) // 8 or not command.feeds:
        return Reject.COLUMN_LENGTH
    if len(command.feeds) // 4 > house.limits.column_max:
        return Reject.COLUMN_LONG
    if context.sender.id not in house.sources:
        return REFUSED
    feeds = unpack_int32(command.feeds)
    if any(feed not in house.feeds for feed in feeds):
        return Reject.FEED_UNKNOWN
    if any(not 1 <= value <= VALUE_MAX for value in unpack_int64(command.values)):
        return Reject.PRICE_RANGE
    if command.observed_at_ns > house.now_ns + house.parameters["clock_skew_max_ns"]:
        return Reject.TIME_RANGE
    for feed in feeds:
        if command.observed_at_ns < house.feeds[feed].told.get(context.sender.id, (0, 0))[1]:
            return Reject.TIME_RANGE
    return ACCEPTED


def publish(context: Context, command: PublishPrices) -> None:
    """Remember what the source said; nothing moves before the next step."""
    values = unpack_int64(command.values)
    for feed, value in zip(unpack_int32(command.feeds), values, strict=True):
        context.house.feeds[feed].told[context.sender.id] = (value, command.observed_at_ns)


def floor_median(values: Sequence[int]) -> int:
    """Return the median, of an even count the floor of the mean of the two in the middle."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) // 2


def step_prices(context: Context) -> None:
    """Move indices, halts, marks and asset prices together, as one tick does."""
    house = context.house
    moved = [feed for _, feed in sorted(house.feeds.items()) if _move_index(context, feed)]
    # A halt that would end now goes on without a break if the same tick brings a new one.
    _end_halts(context)
    if moved:
        context.record.say(
            IndexMoved(
                pack_int32([feed.id for feed in moved]),
                pack_int64([feed.index for feed in moved]),
                bytes(feed.grade for feed in moved),
            )
        )
    marked = [each for _, each in sorted(house.books.contracts.items()) if _move_mark(house, each)]
    if marked:
        context.record.say(
            MarksMoved(
                pack_int32([each.id for each in marked]),
                pack_int64([each.ticks for each in marked]),
                bytes(each.grade for each in marked),
            )
        )
    for asset in house.assets[1:]:
        feed = house.feeds[asset.terms.feed_id]
        price = feed.index * asset.terms.value_per_tick
        house.prices_moved |= (price, feed.grade) != (asset.price, asset.grade)
        asset.price, asset.grade = price, feed.grade


def _move_index(context: Context, feed: Feed) -> bool:
    """Judge one feed's sources; return whether its index or its grade changed (MARK-02)."""
    house, before = context.house, (feed.index, feed.grade)
    oldest = house.now_ns - house.parameters["stale_ns"]
    fresh = {
        source: value
        for source, (value, observed_at_ns) in sorted(feed.told.items())
        if value > 0 and observed_at_ns >= oldest
    }
    median = floor_median(list(fresh.values())) if fresh else 0
    off_count = _judge_sources(context, feed, fresh, median)
    if not fresh:
        feed.grade = Grade.STALE
    elif len(fresh) < house.parameters["sources_min"]:
        feed.grade = Grade.TOO_FEW
    elif 2 * off_count >= len(fresh):
        feed.grade = Grade.DEVIATING
    else:
        feed.grade = Grade.FRESH
    if feed.grade != Grade.FRESH:
        feed.doubt_since_ns = feed.doubt_since_ns or house.now_ns
    else:
        _freshen(context, feed, median)
    return (feed.index, feed.grade) != before


def _judge_sources(context: Context, feed: Feed, fresh: dict[int, int], median: int) -> int:
    """Name the sources newly out of line; return how many are out of line now."""
    deviation_ppb = context.house.parameters["deviation_ppb"]
    count = 0
    for source, value in fresh.items():
        is_off = abs(value - median) * PPB > deviation_ppb * median
        if is_off and not feed.deviating.get(source, False):
            context.record.say(SourceDeviated(source, feed.id, value, median))
        feed.deviating[source] = is_off
        count += is_off
    return count


def _freshen(context: Context, feed: Feed, median: int) -> None:
    """Take a good median as the index, with the halts that a gap or a jump brings (BRKR)."""
    house = context.house
    parameters, now_ns = house.parameters, house.now_ns
    doubt_ns = now_ns - feed.doubt_since_ns if feed.doubt_since_ns else 0
    if feed.doubt_since_ns and doubt_ns >= parameters["halt_after_ns"]:
        length_ns = min(doubt_ns * parameters["halt_scale_ppb"] // PPB, parameters["halt_max_ns"])
        _halt_feed(context, feed, now_ns + length_ns, "outage")
    if feed.index and abs(median - feed.index) * PPB > parameters["velocity_ppb"] * feed.index:
        _halt_feed(context, feed, now_ns + parameters["velocity_halt_ns"], "velocity")
    feed.doubt_since_ns = 0
    feed.index = median


def _halt_feed(context: Context, feed: Feed, until_ns: int, why: str) -> None:
    """Halt every instrument on the feed; halts merge by the later end, they do not add up."""
    for _, contract in sorted(context.house.books.contracts.items()):
        on_feed = contract.terms.index_feed == feed.id and contract.status != STATUS_SETTLED
        if on_feed and until_ns > max(contract.halted_until_ns, context.house.now_ns):
            contract.halted_until_ns = until_ns
            context.record.say(HaltStarted(contract.id, until_ns, why))


def _end_halts(context: Context) -> None:
    house = context.house
    if 0 < house.halted_until_ns <= house.now_ns:
        house.halted_until_ns = 0
        context.record.say(HaltEnded(0))
    for _, contract in sorted(house.books.contracts.items()):
        if contract.status != STATUS_SETTLED and 0 < contract.halted_until_ns <= house.now_ns:
            contract.halted_until_ns = 0
            context.record.say(HaltEnded(contract.id))


def _move_mark(house: House, contract: Contract) -> bool:
    """Mark one instrument; return whether ticks or grade changed (MARK-03)."""
    if contract.status == STATUS_SETTLED:
        return False
    before = (contract.ticks, contract.grade)
    index = house.feeds[contract.terms.index_feed]
    grade = index.grade
    if contract.is_option and not _has_option_value(house, contract):
        grade = max(grade, Grade.STALE)
    contract.grade = grade if index.index else Grade.TOO_FEW
    if contract.grade == Grade.FRESH:
        _set_mark(house, contract, index)
    after = (contract.ticks, contract.grade)
    if contract.ticks != before[0]:
        house.books.moved_contracts[contract.id] = contract
    house.prices_moved |= after != before or contract.is_option
    if contract.is_option and index.grade == Grade.FRESH:
        # The underlying moves even while the option's own value is missing: what a short option
        # must be covered by, and what its fee is a share of, would otherwise stand still.
        held_ticks = min(index.index, contract.terms.price_max)
        contract.underlying = held_ticks * contract.terms.value_per_tick
    return after != before


def _has_option_value(house: House, contract: Contract) -> bool:
    unit = house.units.get(contract.terms.risk_unit)
    if unit is None or unit.status != 1 or house.now_ns > unit.expires_at_ns:
        return False
    return bool(contract.rows)


def _set_mark(house: House, contract: Contract, index: Feed) -> None:
    terms = contract.terms
    if contract.is_option:
        contract.value = contract.option_value
        contract.ticks = contract.option_value // terms.value_per_tick
        return
    traded = house.feeds.get(terms.price_feed)
    if traded is not None and traded.grade == Grade.FRESH:
        width = _basis_width(house, contract, index.index)
        sample = max(-width, min(width, traded.index - index.index))
        contract.basis += (sample - contract.basis) * terms.basis_weight_ppb // PPB
    contract.ticks = max(terms.price_min, min(terms.price_max, index.index + contract.basis))
    contract.value = contract.value_at(contract.ticks)
    contract.notional = abs(contract.value)


def _basis_width(house: House, contract: Contract, index: int) -> int:
    width = index * contract.terms.basis_max_ppb // PPB
    if contract.is_perpetual:
        return width
    life_ns = max(0, contract.terms.expiry_ns - house.now_ns)
    return width * min(life_ns, BASIS_LIFE_NS) // BASIS_LIFE_NS
