"""Equity and requirement of many accounts at the current marks, in one pass over their rows.

Each result is the exact integer of the rule pages (COLL-01, MARG-01 to MARG-03), clamped to
`AMOUNT_MAX`: products run through 128 bits and sums of two clamped numbers fit int64, so nothing
here can wrap. Equity is clamped one unit lower than a requirement, so that a requirement too large
to count is never covered. Plain twin: `margin.explain`.
"""

from typing import NamedTuple

from seawall.clearing.kernels.columns import Column, Column32, Table, Table32
from seawall.clearing.kernels.compiler import inlined, kernel
from seawall.clearing.kernels.convert import convert, share_up
from seawall.clearing.kernels.positions import EXTENSION_IDS32, IDS32
from seawall.clearing.kernels.wide import mul_checked
from seawall.clearing.layout import (
    ASSET,
    ASSETS_MAX,
    BALANCE,
    EQUITY,
    EVALUATED,
    EXTENSION,
    EXTENSION_SLOTS,
    HALT_UNTIL,
    INITIAL,
    INITIAL_FACTOR_PPB,
    IS_CALL,
    KIND,
    LIFE,
    LIFE_OPEN,
    MAINTENANCE,
    MARK_GRADE,
    MARK_NOTIONAL,
    MARK_VALUE,
    MODE,
    NEXT,
    POSITION_COUNT,
    PRICE,
    PRICE_GRADE,
    RISK_ROWS_KNOWN,
    RISK_UNIT,
    SHORT_FLOOR_PPB,
    SHORT_RATE_PPB,
    SLOTS,
    SLOTS_COUNT,
    STATE,
    STRIKE_TICKS,
    STYLE,
    TIER_COUNT,
    TIER_DEDUCTION,
    TIER_FLOOR,
    TIER_RATE,
    TOUCHED,
    UNDERLYING_VALUE,
    UNIT,
    UNIT_SCALE,
    UNIT_STATUS,
    VALUE_PER_TICK,
    VALUE_SCALE,
)
from seawall.protocol.commands import Kind, Mode, Style
from seawall.protocol.events import Grade
from seawall.protocol.units import AMOUNT_MAX, PPB

# Numba reads plain integers at compile time, not enumerations.
OPTION, PREMIUM = int(Kind.OPTION), int(Style.PREMIUM)
HOUSE, FRESH = int(Mode.HOUSE), int(Grade.FRESH)
EQUITY_MAX = AMOUNT_MAX - 1
UNIT_LAPSED = 2

# What a sweep needs of an instrument, gathered once: two cache lines instead of eight.
TERMS_WIDTH = 16
(
    T_ASSET,
    T_VALUE,
    T_NOTIONAL,
    T_SCALE,
    T_FLAGS,
    T_PRICE,
    T_UNIT,
    T_SHORT_LOT,
    T_OPTION,
    T_PREMIUM,
    T_FACTOR,
    T_TIERS,
    T_RISK_UNIT,
) = range(13)
"""T_SHORT_LOT: value units that one short lot of an option requires. T_RISK_UNIT: the unit whose
rows replace MARG-01 in portfolio mode, 0 if none does."""

DOUBTFUL, HALTED, STALE = 1, 2, 4
"""Flags: MARK-05, BRKR-01, and what raises initial by MARG-02."""
FROZEN = DOUBTFUL | HALTED


class Books(NamedTuple):
    """Account rows with their positions."""

    accounts: Table
    accounts32: Table32
    extensions: Table
    extensions32: Table32


class Prices(NamedTuple):
    """What values a position: `terms` by `tabulate`, the rest straight from the state."""

    terms: Table
    tiers: Table
    """(instruments, tiers, words)"""
    assets: Table
    units: Table


class Segments(NamedTuple):
    """Positions of portfolio accounts by risk unit, and the worst loss of each (`csr`)."""

    row: Column32
    """(accounts,) rows in ascending order"""
    first: Column
    """(accounts + 1,) first segment of each"""
    unit: Column32
    loss: Column
    """In cells of the unit's rows."""


class Figures(NamedTuple):
    """Equity and requirement of one account, valuation minor units."""

    equity: int
    maintenance: int
    initial: int
    flags: int


@inlined
def _bounded(value: int) -> int:
    return min(max(value, -AMOUNT_MAX), AMOUNT_MAX)


@inlined
def _times(a: int, b: int) -> int:
    product, fits = mul_checked(a, b)
    if not fits:
        return AMOUNT_MAX if (a < 0) == (b < 0) else -AMOUNT_MAX
    return _bounded(product)


@inlined
def _short_lot(instrument: Column) -> int:
    """Return the value units that one short lot of an option requires (MARG-01)."""
    under: int = instrument[UNDERLYING_VALUE]
    strike = _times(instrument[STRIKE_TICKS], instrument[VALUE_PER_TICK])
    out = max(strike - under, 0) if instrument[IS_CALL] != 0 else max(under - strike, 0)
    scanned: int = share_up(under, instrument[SHORT_RATE_PPB], PPB) - out
    return max(scanned, share_up(under, instrument[SHORT_FLOOR_PPB], PPB))


@kernel
def tabulate(
    instruments: Table, assets: Table, units: Table, now_ns: int, halt_all_ns: int, terms: Table
) -> None:
    """Gather each instrument's current figures into `terms` (instruments, TERMS_WIDTH)."""
    for i in range(1, terms.shape[0]):
        source, line = instruments[i], terms[i]
        asset = assets[source[ASSET]]
        unit = source[RISK_UNIT]
        flags = 0
        if source[MARK_GRADE] != FRESH:
            flags |= DOUBTFUL | STALE
        if source[ASSET] != 0 and asset[PRICE_GRADE] != FRESH:
            flags |= DOUBTFUL
        if max(source[HALT_UNTIL], halt_all_ns) > now_ns:
            flags |= HALTED
        status = units[unit, UNIT_STATUS] if unit != 0 else 0
        if status == UNIT_LAPSED:
            flags |= STALE
        line[T_ASSET] = source[ASSET]
        line[T_VALUE] = source[MARK_VALUE]
        line[T_NOTIONAL] = source[MARK_NOTIONAL]
        line[T_SCALE] = max(source[VALUE_SCALE], 1)
        line[T_FLAGS] = flags
        line[T_PRICE] = asset[PRICE]
        line[T_UNIT] = max(asset[UNIT], 1)
        line[T_OPTION] = 1 if source[KIND] == OPTION else 0
        line[T_SHORT_LOT] = _short_lot(source) if source[KIND] == OPTION else 0
        line[T_PREMIUM] = 1 if source[STYLE] == PREMIUM else 0
        line[T_FACTOR] = source[INITIAL_FACTOR_PPB]
        line[T_TIERS] = source[TIER_COUNT]
        line[T_RISK_UNIT] = unit if status != 0 and source[RISK_ROWS_KNOWN] != 0 else 0


@inlined
def _appraise(units: int, line: Column) -> int:
    """Return value units >= 0 in valuation minor units, rounded up twice; too many stay so."""
    if units >= AMOUNT_MAX:
        return AMOUNT_MAX
    minor: int = -(-units // line[T_SCALE])
    if line[T_PRICE] == line[T_UNIT]:
        return minor
    return share_up(minor, line[T_PRICE], line[T_UNIT])


@inlined
def _require(prices: Prices, i: int, lots: int) -> int:
    """Return the maintenance requirement of one position by itself (MARG-01)."""
    line = prices.terms[i]
    size = abs(lots)
    if line[T_OPTION] != 0:
        if lots < 0:
            return _appraise(_times(size, line[T_SHORT_LOT]), line)
        return 0 if line[T_PREMIUM] != 0 else _appraise(_times(size, max(line[T_VALUE], 0)), line)
    notional = _appraise(_times(size, line[T_NOTIONAL]), line)
    if notional >= AMOUNT_MAX:
        return AMOUNT_MAX
    tier = 0
    while tier + 1 < line[T_TIERS] and prices.tiers[i, tier + 1, TIER_FLOOR] <= notional:
        tier += 1
    charged: int = share_up(notional, prices.tiers[i, tier, TIER_RATE], PPB)
    deduction: int = prices.tiers[i, tier, TIER_DEDUCTION]
    return max(charged - deduction, 0)


@inlined
def next_link(books: Books, row: int, index: int, link: int) -> int:
    """Return the extension row + 1 that holds position `index`, given that of the one before."""
    if index < SLOTS_COUNT:
        return 0
    if index % SLOTS_COUNT == 0:
        link = books.accounts[row, EXTENSION] if link == 0 else books.extensions[link - 1, NEXT]
    return link


@inlined
def read_slot(books: Books, row: int, index: int, link: int) -> tuple[int, int, int]:
    """Return instrument, lots and entry cost of position `index`."""
    slot = index % SLOTS_COUNT
    if link == 0:
        word = SLOTS + 2 * slot
        i = books.accounts32[row, IDS32 + slot]
        return i, books.accounts[row, word], books.accounts[row, word + 1]
    word = EXTENSION_SLOTS + 2 * slot
    i = books.extensions32[link - 1, EXTENSION_IDS32 + slot]
    return i, books.extensions[link - 1, word], books.extensions[link - 1, word + 1]


@kernel
def _require_unit(books: Books, prices: Prices, row: int, unit: int, loss: int) -> tuple[int, int]:
    """Return maintenance and initial of the positions that one unit's rows cover (MARG-03)."""
    alone, factor, link = 0, PPB, 0
    lapsed = prices.units[unit, UNIT_STATUS] == UNIT_LAPSED
    for index in range(books.accounts[row, POSITION_COUNT]):
        link = next_link(books, row, index, link)
        i, lots, _ = read_slot(books, row, index, link)
        if prices.terms[i, T_RISK_UNIT] == unit:
            factor = max(factor, prices.terms[i, T_FACTOR])
            if lapsed:
                alone = _bounded(alone + _require(prices, i, lots))
    maintenance = max(_times(loss, prices.units[unit, UNIT_SCALE]), alone)
    return maintenance, share_up(maintenance, factor, PPB)


@inlined
def evaluate(
    books: Books, prices: Prices, segments: Segments, row: int, place: int, net: Column
) -> Figures:
    """Return the figures of one account before MARG-02's stale factor and MARK-05's floors.

    `place` is its index in `segments`, or -1; `net` is scratch of ASSETS_MAX cells.
    """
    accounts = books.accounts
    for asset in range(ASSETS_MAX):
        net[asset] = accounts[row, BALANCE + asset]
    maintenance, initial, flags, link = 0, 0, 0, 0
    for index in range(accounts[row, POSITION_COUNT]):
        link = next_link(books, row, index, link)
        i, lots, cost = read_slot(books, row, index, link)
        line = prices.terms[i]
        flags |= line[T_FLAGS]
        # Both are amounts, so their difference fits.
        gain = (_times(lots, line[T_VALUE]) - cost) // line[T_SCALE]
        asset = line[T_ASSET]
        net[asset] = _bounded(net[asset] + _bounded(gain))
        if place < 0 or line[T_RISK_UNIT] == 0:
            required = _require(prices, i, lots)
            maintenance = _bounded(maintenance + required)
            initial = _bounded(initial + share_up(required, line[T_FACTOR], PPB))
    if place >= 0:
        for segment in range(segments.first[place], segments.first[place + 1]):
            unit, loss = segments.unit[segment], segments.loss[segment]
            needed, more = _require_unit(books, prices, row, unit, loss)
            maintenance = _bounded(maintenance + needed)
            initial = _bounded(initial + more)
    equity = 0
    for asset in range(ASSETS_MAX):
        if net[asset] != 0:
            equity = _bounded(equity + convert(net[asset], prices.assets[asset]))
        held = asset > 0 and accounts[row, BALANCE + asset] != 0
        if held and prices.assets[asset, PRICE_GRADE] != FRESH:
            flags |= DOUBTFUL
    return Figures(min(equity, EQUITY_MAX), maintenance, initial, flags)


@inlined
def is_due(accounts: Table, row: int) -> bool:
    """Tell whether a sweep evaluates the row (CALL-01).

    What was touched in the very entry that evaluated it may have been touched afterwards.
    """
    if accounts[row, LIFE] != LIFE_OPEN or accounts[row, MODE] == HOUSE:
        return False
    if accounts[row, POSITION_COUNT] != 0 or accounts[row, STATE] != 0:
        return True
    if accounts[row, TOUCHED] >= accounts[row, EVALUATED]:
        return True
    # Without positions the worth of other assets still moves with their prices.
    foreign = 0
    for asset in range(1, ASSETS_MAX):
        foreign |= accounts[row, BALANCE + asset]
    return foreign != 0


@inlined
def _write(accounts: Table, row: int, figures: Figures, stale_ppb: int, seq: int) -> bool:
    """Store an account's figures; in doubt no requirement falls. Tell whether they changed."""
    maintenance, initial = figures.maintenance, figures.initial
    if figures.flags & STALE:
        initial = share_up(initial, stale_ppb, PPB)
    line = accounts[row]
    if figures.flags & DOUBTFUL:
        maintenance, initial = max(maintenance, line[MAINTENANCE]), max(initial, line[INITIAL])
    changed: bool = line[EQUITY] != figures.equity or line[MAINTENANCE] != maintenance
    changed = changed or line[INITIAL] != initial
    line[EQUITY] = figures.equity
    line[MAINTENANCE] = maintenance
    line[INITIAL] = initial
    line[EVALUATED] = seq
    return changed


@kernel
def sweep_rows(
    books: Books,
    prices: Prices,
    segments: Segments,
    span: tuple[int, int],
    stale_ppb: int,
    seq: int,
    net: Column,
    changed: Column32,
) -> int:
    """Evaluate the accounts that are due; list the rows whose figures changed, return how many.

    Parameters
    ----------
    span : first row and the one after the last
    segments : of all portfolio accounts among them that are due
    changed : one cell per row of the span, written from the start
    """
    count, place = 0, 0
    for row in range(span[0], span[1]):
        if not is_due(books.accounts, row):
            continue
        own = -1
        if place < segments.row.shape[0] and segments.row[place] == row:
            own = place
            place += 1
        figures = evaluate(books, prices, segments, row, own, net)
        if _write(books.accounts, row, figures, stale_ppb, seq):
            changed[count] = row
            count += 1
    return count


@kernel
def sweep_row(
    books: Books,
    prices: Prices,
    segments: Segments,
    row: int,
    stale_ppb: int,
    seq: int,
    net: Column,
) -> int:
    """Evaluate one open account, due or not, and return its flags."""
    place = 0 if segments.row.shape[0] != 0 else -1
    figures = evaluate(books, prices, segments, row, place, net)
    _write(books.accounts, row, figures, stale_ppb, seq)
    return figures.flags
