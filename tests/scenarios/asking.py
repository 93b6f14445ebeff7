"""Questions that a transcript asks of the books; nothing is changed by them."""

from collections.abc import Callable, Iterator

from seawall.clearing import whatif
from seawall.clearing.layout import (
    BALANCE,
    BASIS,
    CALL_DEADLINE,
    CASE,
    EQUITY,
    FUNDING_NEXT,
    HALT_UNTIL,
    INITIAL,
    MAINTENANCE,
    MARK_GRADE,
    MARK_NOTIONAL,
    MARK_TICKS,
    MARK_VALUE,
    MODE,
    OPEN_COST,
    OPEN_INTEREST,
    RESIDUAL,
    STATE,
    TIER_COUNT,
    TIER_DEDUCTION,
    TIER_FLOOR,
    TIER_RATE,
    VARIATION,
)
from seawall.clearing.machine import Machine
from seawall.clearing.positions import positions
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Mode
from seawall.protocol.events import AccountState, Grade
from seawall.protocol.ids import account_row
from tests.scenarios import figures
from tests.scenarios.cast import ASSETS
from tests.scenarios.stage import Stage
from tests.scenarios.telling import cost, position, standing
from tests.scenarios.verbs import Said, find, find_contract, price


def show(stage: Stage, said: Said) -> Iterator[str]:
    """`show a PERP`: accounts and instruments as the books have them."""
    listed = [terms.name for terms in stage.names.contracts]
    for name in said.words:
        yield _instrument(stage, name) if name in listed else _account(stage, name)


def _account(stage: Stage, name: str) -> str:
    state, row = stage.state, account_row(find(stage, name))
    parts = [
        figures.amount(state.account[row, BALANCE + asset], asset)
        for asset in range(len(ASSETS))
        if asset == 0 or state.account[row, BALANCE + asset]
    ]
    for instrument, lots, value in positions(state, row):
        parts.append(position(stage.names.contract(instrument), lots, value))
    if state.account[row, MODE]:
        words = (EQUITY, MAINTENANCE, INITIAL)
        parts.append(standing(*(state.account[row, word] for word in words)))
    if state.account[row, CALL_DEADLINE]:
        parts.append(f"call until {figures.time_of(state.account[row, CALL_DEADLINE])}")
    if state.account[row, CASE]:
        parts.append("case open")
    mode, standing_of = Mode(state.account[row, MODE]), AccountState(state.account[row, STATE])
    return f"{name} {mode.name} {standing_of.name}: {'; '.join(parts)}"


def _instrument(stage: Stage, name: str) -> str:
    terms, cell = stage.names.contract(find_contract(stage, name)), stage.state.instrument
    row = find_contract(stage, name)
    grade, basis = Grade(cell[row, MARK_GRADE]).name, figures.ticks(cell[row, BASIS])
    residual, open_cost = cost(terms, cell[row, RESIDUAL]), cost(terms, cell[row, OPEN_COST])
    told = (
        f"{name}: mark {figures.ticks(cell[row, MARK_TICKS])} {grade},"
        f" value {cost(terms, cell[row, MARK_VALUE])},"
        f" notional {cost(terms, cell[row, MARK_NOTIONAL])}, basis {basis},"
        f" open interest {cell[row, OPEN_INTEREST]},"
        f" variation {figures.amount(cell[row, VARIATION], terms.asset_id)},"
        f" residual {residual}, open cost {open_cost}"
    )
    if cell[row, FUNDING_NEXT]:
        told += f", funding at {figures.time_of(cell[row, FUNDING_NEXT])}"
    if cell[row, HALT_UNTIL]:
        told += f", halted until {figures.time_of(cell[row, HALT_UNTIL])}"
    return told


def tiers(stage: Stage, said: Said) -> Iterator[str]:
    """`tiers PERP`: leverage brackets with their deductions."""
    row = find_contract(stage, said.words[0])
    for place in range(stage.state.instrument[row, TIER_COUNT]):
        floor, ppb, deduction = (
            stage.state.tier[row, place, word] for word in (TIER_FLOOR, TIER_RATE, TIER_DEDUCTION)
        )
        yield (
            f"from {figures.amount(floor, 0)}: {figures.rate(ppb)}"
            f" less {figures.amount(deduction, 0)}"
        )


def explain(stage: Stage, said: Said) -> Iterator[str]:
    """`explain a`: equity and requirement term by term; with trades, as if they had been made."""
    name, *rest = said.words
    trades = [
        (find_contract(stage, rest[i + 1]), int(rest[i]), price(rest[i + 2]))
        for i in range(0, len(rest), 3)
    ]
    told = whatif.evaluate(stage.state, find(stage, name), trades)
    if isinstance(told, Reject):
        yield f"refused {told.value} {told.name}"
        return
    flags = [word for word in ("doubtful", "stale") if getattr(told, word)]
    raw = figures.amount(told.raw_equity_minor, 0)
    sums = standing(told.equity_minor, told.maintenance_minor, told.initial_minor)
    yield " ".join([f"{name}: {sums}, raw equity {raw}", *flags])
    for asset in told.assets:
        held, unrealised = asset.balance_minor, asset.unrealised_minor
        yield (
            f"  {figures.amount(held, asset.asset_id)}"
            f" and unrealised {figures.amount(unrealised, asset.asset_id)}"
            f" count {figures.amount(asset.value_minor, 0)}"
            f" (raw {figures.amount(asset.raw_minor, 0)})"
        )
    for term in told.positions:
        unit = f" in unit {term.unit_id}" if term.unit_id else ""
        terms = stage.names.contract(term.instrument_id)
        yield (
            f"  {position(terms, term.lots, term.cost)}{unit}:"
            f" notional {figures.amount(term.notional_minor, 0)}, tier {term.tier},"
            f" requires {figures.amount(term.required_minor, 0)},"
            f" initial {figures.amount(term.initial_minor, 0)}"
        )
    for unit_term in told.units:
        lapsed = " lapsed" if unit_term.lapsed else ""
        yield (
            f"  unit {unit_term.unit_id}{lapsed}: loses {figures.amount(unit_term.loss_minor, 0)}"
            f" in row {unit_term.binding_row}, alone {figures.amount(unit_term.alone_minor, 0)},"
            f" requires {figures.amount(unit_term.maintenance_minor, 0)}"
        )


def may(stage: Stage, said: Said) -> Iterator[str]:
    """`may a -3 PERP 5000`: the pre-trade check."""
    name, lots, contract, limit = said.words
    code = whatif.check_order(
        stage.state, find(stage, name), find_contract(stage, contract), int(lots), price(limit)
    )
    yield f"refused {code.value} {code.name}" if code else "yes"


def replay(stage: Stage, said: Said) -> Iterator[str]:
    """`replay`: all entries again in a new machine, to the same state."""
    machine = Machine()
    for seq, payload in enumerate(stage.payloads, 1):
        machine.apply(seq, payload)
    equal = machine.digest() == stage.machine.digest()
    yield f"replay of {len(stage.payloads)} entries: {'equal' if equal else 'different'}"


QUESTIONS: dict[str, Callable[[Stage, Said], Iterator[str]]] = {
    "show": show,
    "tiers": tiers,
    "explain": explain,
    "may": may,
    "replay": replay,
}
