"""Explain: an account's equity and requirement at an entry, term by term, and what led there."""

from typing import Any

import msgspec

from seawall.clearing.layout import STATE
from seawall.clearing.ledger import find_account
from seawall.clearing.machine import Machine
from seawall.clearing.margin import Explained
from seawall.clearing.whatif import evaluate
from seawall.lab.recording import Recording, RecordingFault
from seawall.lab.replay import Progress, ignore, steps
from seawall.protocol.codec import decode_outcome, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.events import (
    AccountsMoved,
    AccountState,
    CallIssued,
    CallMet,
    CallOverdue,
    CaseEnd,
    Deleveraged,
    LiquidationEnded,
    LiquidationStarted,
    MarksMoved,
    PositionTransferred,
    ShortfallFound,
    TimeMoved,
)

HISTORY_MAX = 1000
MOVED_CELLS = 6


class Happening(msgspec.Struct, frozen=True):
    """Something that befell the account; `at_ns` is machine time."""

    seq: int
    at_ns: int
    what: str


class Explanation(msgspec.Struct, frozen=True):
    """An account at an entry.

    Attributes
    ----------
    binding : risk unit -> name of the row with the worst loss
    why : the reading of the terms in one sentence
    """

    account_id: int
    seq: int
    at_ns: int
    state: str
    terms: Explained
    asset_names: tuple[str, ...]
    instrument_names: tuple[str, ...]
    binding: dict[int, str]
    why: str
    history: tuple[Happening, ...]


async def explain(
    recording: Recording, account_id: int, *, at: int, progress: Progress = ignore
) -> Explanation:
    """Return the account's terms after entry `at` and what happened to it up to then.

    Raises
    ------
    RecordingFault
        `account_unknown` if no open account has this id at that entry.
    """
    machine, history, now = Machine(), list[Happening](), 0
    async for step in steps(recording, machine, until=at, progress=progress):
        for event in decode_outcome(step.outcome).events:
            if isinstance(event, TimeMoved):
                now = event.at_ns
            what = tell(event, account_id)
            if what and len(history) < HISTORY_MAX:
                history.append(Happening(step.recorded.seq, now, what))
    state = machine.state
    if state is None:
        raise RecordingFault("account_unknown", "the log has no genesis")
    terms = evaluate(state, account_id)
    if isinstance(terms, Reject):
        raise RecordingFault("account_unknown", f"no open account {account_id} at entry {at}")
    row = find_account(state, account_id)
    names = state.tables.row_names
    binding = {
        unit.unit_id: names[unit.unit_id][unit.binding_row]
        for unit in terms.units
        if unit.binding_row < len(names.get(unit.unit_id, ()))
    }
    return Explanation(
        account_id=account_id,
        seq=at,
        at_ns=now,
        state=AccountState(state.account[row, STATE]).name.lower(),
        terms=terms,
        asset_names=tuple(state.tables.asset_names),
        instrument_names=tuple(state.tables.instrument_names),
        binding=binding,
        why=_why(terms, binding),
        history=tuple(history),
    )


def _why(terms: Explained, binding: dict[int, str]) -> str:
    """Return which side of its requirements the equity is on, and which row binds."""
    equity, maintenance, initial = (
        terms.equity_minor,
        terms.maintenance_minor,
        terms.initial_minor,
    )
    rows = "".join(f"; unit {unit} binds in «{name}»" for unit, name in binding.items())
    doubt = "; a price it depends on is doubtful: requirements are held" if terms.doubtful else ""
    if equity < maintenance:
        gap = maintenance - equity
        return f"equity is {gap} below maintenance: to be liquidated{rows}{doubt}"
    if equity < initial:
        return f"equity is {initial - equity} below initial: called{rows}{doubt}"
    return f"equity covers initial with {equity - initial} to spare{rows}{doubt}"


def tell(event: Any, account_id: int) -> str:
    """Return what an event says of the account, empty if it does not concern it."""
    match event:
        case AccountsMoved():
            return _moved(unpack_int64(event.cells), account_id)
        case MarksMoved():
            return ""
        case Deleveraged() if account_id in (event.account_id, event.against):
            who = "gave up" if event.account_id == account_id else "was relieved of"
            return f"{who} {event.amount_minor} by deleveraging {event.lots} lots"
        case PositionTransferred() if account_id in (event.from_account, event.to_account):
            way = "out" if event.from_account == account_id else "in"
            return f"{event.lots} lots of instrument {event.instrument_id} moved {way} at the mark"
        case _ if getattr(event, "account_id", None) == account_id:
            return _own(event)
        case _:
            return ""


def _own(event: Any) -> str:
    match event:
        case CallIssued():
            return f"called for {event.amount_minor}"
        case CallMet():
            return "call met"
        case CallOverdue():
            return "call overdue"
        case LiquidationStarted():
            cause = "its call was overdue" if event.overdue else "equity below maintenance"
            return f"liquidation began: {cause} ({event.equity_minor} to {event.maintenance_minor})"
        case LiquidationEnded():
            end = CaseEnd(event.end).name.lower().replace("_", " ")
            return f"liquidation ended: {end}, equity {event.equity_minor}"
        case ShortfallFound():
            return (
                f"shortfall {event.shortfall_minor}: fund {event.fund_paid_minor}, deleveraged "
                f"{event.deleveraged_minor}, socialised {event.socialised_minor}"
            )
        case _:
            return type(event).__name__


def _moved(cells: tuple[int, ...], account_id: int) -> str:
    for start in range(0, len(cells), MOVED_CELLS):
        account, before, after, equity, maintenance, initial = cells[start : start + MOVED_CELLS]
        if account == account_id:
            return (
                f"{AccountState(before).name.lower()} to {AccountState(after).name.lower()} "
                f"(equity {equity}, maintenance {maintenance}, initial {initial})"
            )
    return ""
