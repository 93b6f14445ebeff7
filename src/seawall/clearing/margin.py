"""Equity and requirement at the current marks: by kernel for all, term by term for one (MARG-*).

`sweep` and `evaluate_row` write what the kernels compute; `explain` is their plain twin, exact to
the unit, which also says where each unit comes from and takes accounts that do not exist (yet).
"""

from collections.abc import Iterable

import msgspec
import numpy as np

from seawall.clearing.collateral import convert, convert_raw
from seawall.clearing.kernels.csr import count_portfolio, cut_segments
from seawall.clearing.kernels.rows import worst_rows
from seawall.clearing.kernels.sweep import (
    EQUITY_MAX,
    TERMS_WIDTH,
    Books,
    Prices,
    Segments,
    sweep_row,
    sweep_rows,
    tabulate,
)
from seawall.clearing.layout import (
    ASSET,
    ASSETS_MAX,
    ASSETS_USED,
    AT_NS,
    BALANCE,
    HALT_ALL_UNTIL,
    ID,
    INITIAL,
    INITIAL_FACTOR_PPB,
    INSTRUMENTS_USED,
    IS_CALL,
    KIND,
    MAINTENANCE,
    MARK_GRADE,
    MARK_NOTIONAL,
    MARK_VALUE,
    MODE,
    PRICE,
    PRICE_GRADE,
    RISK_ROWS_KNOWN,
    RISK_UNIT,
    ROWS_USED,
    SEQ,
    SHORT_FLOOR_PPB,
    SHORT_RATE_PPB,
    STRIKE_TICKS,
    STYLE,
    TIER_COUNT,
    TIER_DEDUCTION,
    TIER_FLOOR,
    TIER_RATE,
    UNDERLYING_VALUE,
    UNIT,
    UNIT_ROWS,
    UNIT_SCALE,
    UNIT_STATUS,
    VALUE_PER_TICK,
    VALUE_SCALE,
)
from seawall.clearing.positions import positions
from seawall.clearing.state import Int32, State
from seawall.protocol.commands import Kind, Mode, Style
from seawall.protocol.events import Grade
from seawall.protocol.ids import HOUSE_ROWS
from seawall.protocol.units import AMOUNT_MAX, PPB, mul_div_ceil

UNIT_LAPSED = 2


class View(msgspec.Struct):
    """An account as it is or as it might be: what equity and requirement depend on."""

    account_id: int
    mode: int
    balances: list[int]
    """Minor units per asset."""
    positions: dict[int, tuple[int, int]]
    """instrument -> (lots, entry cost), none with zero lots"""
    maintenance_floor: int = 0
    """What is stored: in doubt the requirement does not fall below it (MARK-05)."""
    initial_floor: int = 0


class AssetTerm(msgspec.Struct, frozen=True):
    """What one asset counts: equity is the sum of `value_minor` over assets."""

    asset_id: int
    balance_minor: int
    unrealised_minor: int
    value_minor: int
    """Valuation asset, after the haircut."""
    raw_minor: int
    """Valuation asset, without haircut."""
    grade: int


class PositionTerm(msgspec.Struct, frozen=True):
    """What one position counts; `required_minor` counts where no unit covers it (`unit_id` 0)."""

    instrument_id: int
    lots: int
    cost: int
    unrealised_minor: int
    """Settlement asset."""
    notional_minor: int
    """Valuation asset: the base of the requirement, or the requirement itself of an option."""
    tier: int
    required_minor: int
    initial_minor: int
    unit_id: int
    grade: int


class UnitTerm(msgspec.Struct, frozen=True):
    """What the positions in one risk unit require together (MARG-03)."""

    unit_id: int
    loss_minor: int
    binding_row: int
    """Lowest row with the worst loss."""
    alone_minor: int
    """Sum of what the positions require by themselves: counts if the unit lapsed and it is more."""
    maintenance_minor: int
    initial_minor: int
    lapsed: bool


class Explained(msgspec.Struct, frozen=True):
    """Equity and requirement of one account, term by term, in valuation minor units."""

    account_id: int
    equity_minor: int
    raw_equity_minor: int
    maintenance_minor: int
    initial_minor: int
    doubtful: bool
    """A price it depends on is not fresh: requirements are held at what is stored."""
    stale: bool
    """Initial is raised by `stale_initial_ppb` (MARG-02)."""
    assets: tuple[AssetTerm, ...]
    positions: tuple[PositionTerm, ...]
    units: tuple[UnitTerm, ...]


def books_of(state: State) -> Books:
    """Return the account rows and their positions, for kernels."""
    return Books(state.accounts, state.accounts32, state.extensions, state.extensions32)


def prices_of(state: State) -> Prices:
    """Return what values positions now, gathered from instruments, assets and units."""
    terms = np.zeros((state.scalar[INSTRUMENTS_USED], TERMS_WIDTH), np.int64)
    now_ns, halt_all_ns = state.scalar[AT_NS], state.scalar[HALT_ALL_UNTIL]
    tabulate(state.instruments, state.assets, state.units, now_ns, halt_all_ns, terms)
    return Prices(terms, state.tiers, state.assets, state.units)


def sweep(state: State) -> Int32:
    """Evaluate every account that is due at the current marks; return the rows that changed.

    Source
    ------
    CALL-01; MARG-01 to MARG-03; MARK-05.
    """
    span = (HOUSE_ROWS, state.scalar[ROWS_USED])
    prices = prices_of(state)
    changed = np.empty(span[1] - span[0], np.int32)
    count = sweep_rows(
        books_of(state),
        prices,
        _segments(state, prices, span, forced=False),
        span,
        state.parameter("stale_initial_ppb"),
        state.scalar[SEQ],
        np.empty(ASSETS_MAX, np.int64),
        changed,
    )
    return changed[:count]


def evaluate_row(state: State, row: int) -> int:
    """Evaluate one open client account now, write its figures and return its flags (`FROZEN`)."""
    prices = prices_of(state)
    return sweep_row(
        books_of(state),
        prices,
        _segments(state, prices, (row, row + 1), forced=True),
        row,
        state.parameter("stale_initial_ppb"),
        state.scalar[SEQ],
        np.empty(ASSETS_MAX, np.int64),
    )


def _segments(state: State, prices: Prices, span: tuple[int, int], *, forced: bool) -> Segments:
    """Return the worst losses by risk unit of the span's portfolio accounts (MARG-03)."""
    accounts, cells = 0, 0
    if state.units[:, UNIT_STATUS].any():
        accounts, cells = count_portfolio(state.accounts, span, forced)
    rows, first = np.empty(accounts, np.int32), np.empty(accounts + 1, np.int64)
    units, starts = np.empty(cells, np.int32), np.empty(cells + 1, np.int64)
    loss = np.empty(cells, np.int64)
    if accounts:
        held, lots = np.empty(cells, np.int32), np.empty(cells, np.int64)
        columns = (rows, first, units, starts, held, lots)
        count, _ = cut_segments(books_of(state), prices.terms, span, forced, *columns)
        scenario = np.empty(count, np.int32)
        # Bound: MARG-04 proved sum of lots_max * |row| * scale < 2^62 when the rows were published.
        worst_rows(starts[: count + 1], held, lots, state.rows, loss[:count], scenario)
    return Segments(rows, first, units, loss)


# The plain twin -------------------------------------------------------------------------------


def view_of(state: State, row: int) -> View:
    """Return a copy of an account that can be changed without touching the books."""
    return View(
        state.account[row, ID],
        state.account[row, MODE],
        [state.account[row, BALANCE + asset] for asset in range(ASSETS_MAX)],
        {instrument: (lots, cost) for instrument, lots, cost in positions(state, row)},
        state.account[row, MAINTENANCE],
        state.account[row, INITIAL],
    )


def explain(state: State, view: View) -> Explained:
    """Return equity and requirement of an account, exactly as the kernels compute them.

    Rounding
    --------
    Assets down and debts up, requirements up: each against the account.
    """
    held = [_position_term(state, view.mode, i, *cells) for i, cells in view.positions.items()]
    assets = _asset_terms(state, view, held)
    units = _unit_terms(state, view, held)
    alone = [term for term in held if not term.unit_id]
    maintenance = _clamp(
        sum(t.required_minor for t in alone) + sum(u.maintenance_minor for u in units)
    )
    initial = _clamp(sum(t.initial_minor for t in alone) + sum(u.initial_minor for u in units))
    stale = any(_is_stale(state, term.instrument_id) for term in held)
    if stale:
        initial = _clamp(mul_div_ceil(initial, state.parameter("stale_initial_ppb"), PPB))
    doubtful = any(t.grade != Grade.FRESH for t in held) or any(
        t.grade != Grade.FRESH for t in assets
    )
    if doubtful:
        maintenance = max(maintenance, view.maintenance_floor)
        initial = max(initial, view.initial_floor)
    equity = 0
    for term in assets:
        equity = _clamp(equity + term.value_minor)
    return Explained(
        account_id=view.account_id,
        equity_minor=min(equity, EQUITY_MAX),
        raw_equity_minor=sum(t.raw_minor for t in assets),
        maintenance_minor=maintenance,
        initial_minor=initial,
        doubtful=doubtful,
        stale=stale,
        assets=tuple(assets),
        positions=tuple(held),
        units=tuple(units),
    )


def compute_required(state: State, instrument: int, lots: int) -> tuple[int, int, int]:
    """Return maintenance, its base in the valuation asset and the tier of one position (MARG-01).

    Rounding
    --------
    Up, twice: to minor units of the settlement asset, then to the valuation asset.
    """
    cell = state.instrument
    if cell[instrument, KIND] == Kind.OPTION:
        if lots < 0:
            per_lot = _short_lot(state, instrument)
        elif cell[instrument, STYLE] == Style.PREMIUM:
            per_lot = 0
        else:
            per_lot = max(cell[instrument, MARK_VALUE], 0)
        required = _appraise(state, instrument, abs(lots) * per_lot)
        return required, required, 0
    base = _appraise(state, instrument, abs(lots) * cell[instrument, MARK_NOTIONAL])
    if base >= AMOUNT_MAX:
        return AMOUNT_MAX, base, 0
    tier = 0
    while tier + 1 < cell[instrument, TIER_COUNT]:
        if state.tier[instrument, tier + 1, TIER_FLOOR] > base:
            break
        tier += 1
    charged = _clamp(mul_div_ceil(base, state.tier[instrument, tier, TIER_RATE], PPB))
    return max(charged - state.tier[instrument, tier, TIER_DEDUCTION], 0), base, tier


def raw_equity(state: State, row: int) -> int:
    """Return an account's equity without haircuts: what it is worth at the marks (LIQD-05)."""
    return explain(state, view_of(state, row)).raw_equity_minor


def _clamp(value: int) -> int:
    return min(max(value, -AMOUNT_MAX), AMOUNT_MAX)


def _appraise(state: State, instrument: int, units: int) -> int:
    """Return value units >= 0 in valuation minor units, rounded up twice; too many stay so."""
    if units >= AMOUNT_MAX:
        return AMOUNT_MAX
    asset = state.instrument[instrument, ASSET]
    minor = -(-units // state.instrument[instrument, VALUE_SCALE])
    return _clamp(mul_div_ceil(minor, state.asset[asset, PRICE], state.asset[asset, UNIT]))


def _short_lot(state: State, instrument: int) -> int:
    """Return the value units that one short lot of an option requires."""
    cell = state.instrument
    under = cell[instrument, UNDERLYING_VALUE]
    strike = _clamp(cell[instrument, STRIKE_TICKS] * cell[instrument, VALUE_PER_TICK])
    out = max(strike - under, 0) if cell[instrument, IS_CALL] else max(under - strike, 0)
    scanned = _clamp(mul_div_ceil(under, cell[instrument, SHORT_RATE_PPB], PPB)) - out
    return max(scanned, _clamp(mul_div_ceil(under, cell[instrument, SHORT_FLOOR_PPB], PPB)))


def _unit_of(state: State, instrument: int) -> int:
    """Return the risk unit whose rows cover the instrument, or 0."""
    unit = state.instrument[instrument, RISK_UNIT]
    if not unit or not state.unit[unit, UNIT_STATUS]:
        return 0
    return unit if state.instrument[instrument, RISK_ROWS_KNOWN] else 0


def _is_stale(state: State, instrument: int) -> bool:
    unit = state.instrument[instrument, RISK_UNIT]
    lapsed = unit != 0 and state.unit[unit, UNIT_STATUS] == UNIT_LAPSED
    return lapsed or state.instrument[instrument, MARK_GRADE] != Grade.FRESH


def _position_term(state: State, mode: int, instrument: int, lots: int, cost: int) -> PositionTerm:
    cell = state.instrument
    required, base, tier = compute_required(state, instrument, lots)
    gain = _clamp(lots * cell[instrument, MARK_VALUE]) - cost
    return PositionTerm(
        instrument_id=instrument,
        lots=lots,
        cost=cost,
        unrealised_minor=_clamp(gain // cell[instrument, VALUE_SCALE]),
        notional_minor=base,
        tier=tier,
        required_minor=required,
        initial_minor=_clamp(mul_div_ceil(required, cell[instrument, INITIAL_FACTOR_PPB], PPB)),
        unit_id=_unit_of(state, instrument) if mode == Mode.PORTFOLIO else 0,
        grade=cell[instrument, MARK_GRADE],
    )


def _asset_terms(state: State, view: View, held: Iterable[PositionTerm]) -> list[AssetTerm]:
    """Return the term of each listed asset that the account holds or settles in."""
    profits: dict[int, list[int]] = {}
    for term in held:
        asset = state.instrument[term.instrument_id, ASSET]
        profits.setdefault(asset, []).append(term.unrealised_minor)
    terms = []
    for asset in range(state.scalar[ASSETS_USED]):
        net = balance = view.balances[asset]
        if balance == 0 and asset not in profits:
            continue
        for profit in profits.get(asset, ()):
            net = _clamp(net + profit)
        profit = sum(profits.get(asset, ()))
        grade = Grade.FRESH if asset == 0 else state.asset[asset, PRICE_GRADE]
        value, raw = convert(state, asset, net), convert_raw(state, asset, net)
        terms.append(AssetTerm(asset, balance, profit, _clamp(value), raw, grade))
    return terms


def _unit_terms(state: State, view: View, held: Iterable[PositionTerm]) -> list[UnitTerm]:
    by_unit: dict[int, list[PositionTerm]] = {}
    for term in held:
        if term.unit_id:
            by_unit.setdefault(term.unit_id, []).append(term)
    return [_unit_term(state, unit, by_unit[unit]) for unit in sorted(by_unit)]


def _unit_term(state: State, unit: int, held: list[PositionTerm]) -> UnitTerm:
    losses = [
        -sum(term.lots * int(state.rows[term.instrument_id, row]) for term in held)
        for row in range(max(state.unit[unit, UNIT_ROWS], 1))
    ]
    worst = max(losses)
    loss = _clamp(max(worst, 0) * state.unit[unit, UNIT_SCALE])
    alone = _clamp(sum(term.required_minor for term in held))
    lapsed = state.unit[unit, UNIT_STATUS] == UNIT_LAPSED
    maintenance = max(loss, alone) if lapsed else loss
    factor = max(state.instrument[term.instrument_id, INITIAL_FACTOR_PPB] for term in held)
    initial = _clamp(mul_div_ceil(maintenance, factor, PPB))
    return UnitTerm(unit, loss, losses.index(worst), alone, maintenance, initial, lapsed)
