"""The lines say what the books hold, and every account's turn comes (AUDT-01)."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.clearing import lines
from seawall.clearing.layout import (
    ASSETS_USED,
    BALANCE,
    EQUITY,
    EVALUATED,
    ID,
    INITIAL,
    MAINTENANCE,
    MARK_TICKS,
    OPEN_COST,
    OPEN_INTEREST,
    RESIDUAL,
    SEQ,
    STATE,
    TOUCHED_INSTRUMENT,
    VARIATION,
)
from seawall.clearing.ledger import touch
from seawall.clearing.outcome import Out
from seawall.clearing.positions import positions
from seawall.clearing.state import State
from seawall.protocol.codec import unpack_int64
from seawall.protocol.events import AccountLines, InstrumentLines
from seawall.protocol.genesis import Parameters
from tests.clearing import builders, distress
from tests.clearing.builders import FIRST
from tests.clearing.distress import Plan, plans


def read(state: State, out: Out) -> tuple[dict[int, list[int]], int]:
    """Return {account id: the rest of its line} and how many were touched."""
    events = [event for event in out.events if isinstance(event, AccountLines)]
    if not events:
        return {}, 0
    (event,) = events
    cells, told = list(unpack_int64(event.cells)), dict[int, list[int]]()
    while cells:
        size = 8 + cells[6] + 3 * cells[7 + cells[6]]
        line, cells = cells[:size], cells[size:]
        told[line[0]] = line[1:]
    return told, event.touched


def expected(state: State, row: int) -> list[int]:
    """Return the line of a row by plain reading."""
    cell, assets = state.account, state.scalar[ASSETS_USED]
    held = list(positions(state, row))
    return [
        *(cell[row, word] for word in (STATE, EQUITY, MAINTENANCE, INITIAL)),
        int(cell[row, EVALUATED] == state.scalar[SEQ]),
        assets,
        *(cell[row, BALANCE + asset] for asset in range(assets)),
        len(held),
        *(word for position in held for word in position),
    ]


@settings(max_examples=60)
@given(plans(), st.booleans())
def test_lines_are_the_books(plan: Plan, evaluated: bool) -> None:
    state = distress.build(plan)
    out = distress.move(state, plan.prices[0])
    lines.cut(state, out, evaluated=evaluated)
    told, touched = read(state, out)
    rows = {row for row in range(len(state.used("accounts"))) if state.account[row, ID] in told}
    changed = {*state.touched[: state.touched_count[0]].tolist()}
    if evaluated:
        now = state.scalar[SEQ]
        changed |= {r for r in range(8, 8 + 6) if state.account[r, EVALUATED] == now}
    assert rows == changed
    assert touched == len(rows)
    for row in rows:
        assert told[state.account[row, ID]] == expected(state, row)
    told_instruments = [e.cells for e in out.events if isinstance(e, InstrumentLines)]
    words = (OPEN_INTEREST, VARIATION, RESIDUAL, OPEN_COST, MARK_TICKS)
    cells = [
        cell
        for i in range(1, 5)
        if state.instrument[i, TOUCHED_INSTRUMENT] == state.scalar[SEQ]
        for cell in (i, *(state.instrument[i, word] for word in words))
    ]
    assert [list(unpack_int64(each)) for each in told_instruments] == ([cells] if cells else [])


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 1000))
def test_a_sample_gives_every_account_its_turn(lines_max: int, accounts: int, start: int) -> None:
    parameters = Parameters(audit_lines_max=lines_max)
    state = builders.house(accounts, deposits=(), parameters=parameters, priced=False)
    state.scalar[SEQ] += start
    stride = -(-accounts // lines_max)
    seen: set[int] = set()
    for _ in range(stride):
        out = builders.enter(state)
        for row in range(FIRST, FIRST + accounts):
            touch(state, row)
        lines.cut(state, out, evaluated=False)
        told, touched = read(state, out)
        assert touched == accounts
        assert len(told) <= lines_max
        seen |= {*told}
    assert len(seen) == accounts


def test_an_entry_that_touched_nothing_has_no_lines() -> None:
    state = builders.house()
    out = builders.enter(state)
    lines.cut(state, out, evaluated=False)
    assert out.events == []


def test_what_an_outcome_cannot_carry_is_halved() -> None:
    """20 accounts of 40 positions are 2,600 cells; only so many lines as fit are cut."""
    contracts = [builders.linear(name=f"C{n}") for n in range(40)]
    wide = msgspec.structs.replace(builders.LIMITS, extensions_max=2_000, accounts_max=2_000)
    state = builders.house(1_000, contracts=contracts, limits=wide, priced=False, deposits=())
    for row in range(FIRST, FIRST + 1_000, 2):
        for instrument in range(1, 41):
            builders.trade(state, row, row + 1, instrument, 1, 5)
    out = builders.enter(state)
    for row in range(FIRST, FIRST + 1_000):
        touch(state, row)
    lines.cut(state, out, evaluated=False)
    (event,) = out.events
    assert isinstance(event, AccountLines)
    assert event.touched == 1_000
    assert len(event.cells) <= 8 * lines.CELLS_MAX < 2 * len(event.cells)
