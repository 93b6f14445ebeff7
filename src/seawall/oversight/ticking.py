"""Machine time, and the step that every advance of it runs, in the order of the rules."""

from seawall.oversight.calling import step_calls
from seawall.oversight.cases import Liquidation
from seawall.oversight.cash import step_outbox
from seawall.oversight.funding import step_funding, step_settlement
from seawall.oversight.governing import step_parameters
from seawall.oversight.house import Context
from seawall.oversight.orders import check_idle, check_orders, withdraw_fund_orders
from seawall.oversight.prices import step_prices
from seawall.oversight.record import ACCEPTED, SILENT
from seawall.oversight.requirement import Valuation
from seawall.oversight.riskrows import step_lapses
from seawall.protocol.codes import Reject
from seawall.protocol.commands import Tick
from seawall.protocol.events import TimeMoved, Why
from seawall.protocol.ids import ROUNDING
from seawall.protocol.units import AMOUNT_MAX


def judge_tick(context: Context, command: Tick) -> int:
    """Return the verdict on a tick: earlier than the same source's last, or beyond all time."""
    if context.record.stepped:
        return Reject.TIME_RANGE
    last_ns = context.house.clocks.get(context.sender.id)
    if last_ns is None:
        return SILENT
    return ACCEPTED if last_ns <= command.at_ns <= AMOUNT_MAX else Reject.TIME_RANGE


def tick(context: Context, command: Tick) -> None:
    """Move the source's clock, and machine time if the median of all clocks allows it."""
    house = context.house
    house.clocks[context.sender.id] = command.at_ns
    clocks = sorted(house.clocks.values())
    median_ns = clocks[(len(clocks) - 1) // 2]
    if median_ns <= house.now_ns:
        return
    house.now_ns = median_ns
    context.record.say(TimeMoved(median_ns))
    run_step(context)


def run_step(context: Context) -> None:
    """Run everything that time does."""
    context.record.stepped = True
    events = context.record.next_step()
    step_outbox(context)
    step_parameters(context)
    step_prices(context)
    step_settlement(context)
    step_funding(context)
    step_lapses(context)
    valuation = Valuation(context.house)
    distressed = step_calls(context, valuation)
    liquidation = Liquidation(context, valuation)
    liquidation.open_cases(distressed, events)
    liquidation.apply(events)
    withdraw_fund_orders(context)
    check_orders(context, valuation)
    check_idle(context, valuation, len(liquidation.raw))
    _sweep_residuals(context)


def _sweep_residuals(context: Context) -> None:
    """Move whole minor units of rounding from each contract to the rounding account (ROND-01)."""
    books = context.house.books
    rounding = context.house.house_account(ROUNDING)
    for _, contract in sorted(books.contracts.items()):
        whole, rest = divmod(contract.residual, contract.terms.value_scale)
        if not whole:
            continue
        contract.residual = rest
        books.vary(contract, -whole)
        asset = contract.terms.asset_id
        books.credit(rounding, asset, whole)
        context.record.post(Why.ROUNDING, -contract.id, asset, -whole)
        context.record.post(Why.ROUNDING, rounding.id, asset, whole)
