"""Houses with positions, prices and trouble: what the tests of margin and liquidation share."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st

from seawall.clearing import calls, invariants, liquidation, margin, outbox
from seawall.clearing.instruments import compute_value
from seawall.clearing.layout import (
    AT_NS,
    BALANCE,
    EQUITY,
    ID,
    INITIAL,
    KIND,
    MAINTENANCE,
    MODE,
    POSITION_COUNT,
    ROWS_USED,
)
from seawall.clearing.outcome import Out
from seawall.clearing.positions import can_hold, positions
from seawall.clearing.state import State
from seawall.protocol.commands import EffectStatus, Kind, Mode, ReportEffect
from seawall.protocol.effects import PlaceOrder
from seawall.protocol.genesis import Parameters
from seawall.protocol.ids import INSURANCE, account_row
from seawall.protocol.units import NS_PER_HOUR, NS_PER_MINUTE
from tests.clearing import builders
from tests.clearing.builders import CALL, FIRST, FUTURE, INVERSE, LINEAR, USD, XBT

Event = TypeVar("Event")

FUND = account_row(INSURANCE)
ACCOUNTS = 6
INSTRUMENTS = (LINEAR, INVERSE, FUTURE, CALL)


class Trade(NamedTuple):
    """A trade between two of the accounts, counted from 0."""

    buyer: int
    seller: int
    instrument: int
    lots: int
    ticks: int


class Plan(NamedTuple):
    """A house to be: who deposits what, who trades, how the price moves."""

    deposits: tuple[tuple[int, int], ...]
    """(USD minor units, XBT minor units) per account"""
    fund: tuple[int, int]
    portfolio: tuple[bool, ...]
    trades: tuple[Trade, ...]
    prices: tuple[int, ...]
    lapses: bool


def _trades(instruments: tuple[int, ...]) -> st.SearchStrategy[Trade]:
    account = st.integers(0, ACCOUNTS - 1)
    return st.builds(
        Trade,
        account,
        account,
        st.sampled_from(instruments),
        st.integers(1, 30_000),
        st.integers(45_000, 55_000),
    ).filter(lambda trade: trade.buyer != trade.seller)


@st.composite
def plans(
    draw: st.DrawFn, *, instruments: tuple[int, ...] = INSTRUMENTS, fund_max: int = 10**10
) -> Plan:
    """Draw houses of six accounts, from calm to hopeless."""
    money = st.tuples(
        st.sampled_from((0, 10**6, 10**9, 10**10)).flatmap(lambda top: st.integers(0, top)),
        st.sampled_from((0, 0, 10**7, 3 * 10**8)).flatmap(lambda top: st.integers(0, top)),
    )
    return Plan(
        draw(st.tuples(*[money] * ACCOUNTS)),
        (draw(st.integers(0, fund_max)), draw(st.sampled_from((0, 0, 5 * 10**6)))),
        draw(st.tuples(*[st.booleans()] * ACCOUNTS)),
        tuple(draw(st.lists(_trades(instruments), min_size=1, max_size=10))),
        tuple(draw(st.lists(st.integers(20_000, 90_000), min_size=1, max_size=4))),
        draw(st.booleans()),
    )


def build(plan: Plan, *, parameters: Parameters | None = None, **changes: Any) -> State:
    """Return the house of a plan at the first price, positions open, risk rows active."""
    state = builders.house(ACCOUNTS, deposits=(), parameters=parameters, **changes)
    for row, (dollars, coins) in enumerate((*plan.deposits, plan.fund), FIRST):
        place = row if row < FIRST + ACCOUNTS else FUND
        for asset, amount in ((USD, dollars), (XBT, coins)):
            if amount:
                builders.deposit(state, place, asset, amount)
    for row, is_portfolio in enumerate(plan.portfolio, FIRST):
        state.account[row, MODE] = Mode.PORTFOLIO if is_portfolio else Mode.CROSS
    for trade in plan.trades:
        open_trade(state, trade)
    grid: dict[int, Sequence[int]] = {
        i: [(17 * i + 31 * row) % 2001 - 1000 for row in range(11)] for i in INSTRUMENTS
    }
    life = 2 * NS_PER_MINUTE if plan.lapses else 24 * NS_PER_HOUR
    expires_ns = state.scalar[AT_NS] + life
    builders.attest(state, grid, values={CALL: 10**8}, scale=40, expires_ns=expires_ns)
    return state


def open_trade(state: State, trade: Trade) -> None:
    """Novate a trade at its price; an option's is a tenth, as its premium."""
    buyer, seller = FIRST + trade.buyer, FIRST + trade.seller
    is_option = state.instrument[trade.instrument, KIND] == Kind.OPTION
    ticks = trade.ticks // 10 if is_option else trade.ticks
    assert can_hold(state, buyer, trade.instrument)
    assert can_hold(state, seller, trade.instrument)
    value = compute_value(state, trade.instrument, ticks)
    builders.trade(state, buyer, seller, trade.instrument, trade.lots, value)


def settle_tick(state: State, out: Out) -> None:
    """Take the steps that follow prices, in the machine's order."""
    margin.sweep(state)
    calls.step_calls(state, out)
    liquidation.step_liquidation(state, out)


def move(state: State, ticks: int, *, after_ns: int = NS_PER_MINUTE) -> Out:
    """Let every source see a price a while later; mark, evaluate, call and liquidate."""
    out = builders.move(state, ticks, after_ns=after_ns)
    outbox.step_outbox(state, out)
    settle_tick(state, out)
    check_books(state)
    return out


def blind(state: State, *, after_ns: int = NS_PER_HOUR) -> Out:
    """Let time pass without prices until all marks are stale; take all steps."""
    out = builders.tick(state, state.scalar[AT_NS] + after_ns)
    outbox.step_outbox(state, out)
    settle_tick(state, out)
    check_books(state)
    return out


def check_books(state: State) -> None:
    """Assert every invariant, of the entry and of the whole state."""
    invariants.check_entry(state)
    invariants.check_full(state)


def orders(state: State) -> dict[tuple[int, int], PlaceOrder]:
    """Return the pending orders by key."""
    pending = state.tables.outbox.items()
    return {key: p.effect for key, p in pending if isinstance(p.effect, PlaceOrder)}


def fill(state: State, key: tuple[int, int], other: int, *, ticks: int | None = None) -> None:
    """Let an order be done in full against a row, at its limit unless said, and reported."""
    order = orders(state)[key]
    row, price = account_row(order.account_id), ticks or order.limit_ticks
    value = compute_value(state, order.instrument_id, price)
    sides = (row, other) if order.lots > 0 else (other, row)
    builders.trade(state, *sides, order.instrument_id, abs(order.lots), value)
    report(state, key, EffectStatus.DONE)


def report(state: State, key: tuple[int, int], status: EffectStatus) -> Out:
    """Report what became of an effect."""
    out = builders.enter(state)
    command = ReportEffect(*key, status)
    assert outbox.apply_report_effect(state, command, builders.EFFECTS, out) is None
    return out


def of(out: Out, kind: type[Event]) -> list[Event]:
    """Return the events of one kind, in order."""
    return [event for event in out.events if isinstance(event, kind)]


def copy_of(state: State) -> State:
    """Return a state that can be changed without changing this one."""
    return State.from_pages(list(state.pages()))


def clients(state: State) -> range:
    """Return the rows of client accounts."""
    return range(FIRST, state.scalar[ROWS_USED])


def figures(state: State, row: int) -> tuple[int, int, int]:
    """Return stored equity, maintenance and initial."""
    return tuple(state.account[row, word] for word in (EQUITY, MAINTENANCE, INITIAL))  # type: ignore[return-value]


def lots_of(state: State, row: int) -> dict[int, int]:
    """Return {instrument: lots}."""
    return {instrument: lots for instrument, lots, _ in positions(state, row)}


def is_empty(state: State, row: int) -> bool:
    """Tell whether an account holds nothing at all."""
    held = [state.account[row, BALANCE + asset] for asset in (USD, XBT)]
    return not any(held) and not state.account[row, POSITION_COUNT]


def account(state: State, row: int) -> int:
    """Return the id of the account in a row."""
    return int(state.account[row, ID])


def calm(**changes: Any) -> Parameters:
    """Return parameters under which only what a test is about happens: no halts of any kind."""
    return Parameters(**{"halt_scale_ppb": 0, "velocity_halt_ns": 0, **changes})
