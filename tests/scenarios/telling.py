"""Events and effects in words: one line each, accounts by alias, amounts with their asset."""

from collections.abc import Iterator
from typing import Any

import msgspec

from seawall.clearing.kernels.fills import FIELDS
from seawall.protocol.codec import unpack_int32, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import EffectStatus, InstrumentTerms, Mode
from seawall.protocol.effects import AnyEffect
from seawall.protocol.events import (
    AccountLines,
    AccountsMoved,
    AccountsOpened,
    AccountState,
    AnyEvent,
    CaseEnd,
    EntryRefused,
    Grade,
    IndexMoved,
    InstrumentLines,
    MarksMoved,
    Outcome,
    Posted,
    Rejected,
    ReplicasSet,
    TradesRecorded,
    Why,
)
from tests.scenarios import figures
from tests.scenarios.cast import ASSETS, FEEDS

LINES = (AccountLines, InstrumentLines)
"""Told only when a transcript asks for them (AUDT-01)."""
ENUMS = {"end": CaseEnd, "status": EffectStatus, "mode": Mode}


class Names:
    """What stands for whom: aliases of accounts, senders, instruments, effects and digests."""

    def __init__(self) -> None:
        self.accounts: dict[str, int] = {}
        self.senders: list[str] = []
        self.contracts: list[InstrumentTerms] = []
        self.effects: list[tuple[int, int]] = []
        self.digests: dict[bytes, str] = {}
        self.opening: list[str] = []
        """Aliases that wait for the accounts of the entry under way."""

    def account(self, account: int) -> str:
        """Return the newest alias of an account, or the variation account of an instrument."""
        if account < 0:
            return f"{self.contract(-account).name}.variation"
        known = [alias for alias, other in self.accounts.items() if other == account]
        return known[-1] if known else f"{account >> 32}.{account & 0xFFFFFFFF}"

    def sender(self, sender_id: int) -> str:
        """Return a sender's name."""
        return self.senders[sender_id - 1]

    def contract(self, instrument: int) -> InstrumentTerms:
        """Return the terms of a listed instrument."""
        return self.contracts[instrument - 1]

    def effect(self, key: tuple[int, int]) -> str:
        """Return an effect's number in the order of the transcript."""
        return f"#{self.effects.index(key) + 1}"

    def digest(self, told: bytes) -> str:
        """Return a short name that is the same for the same digest."""
        return self.digests.setdefault(told, f"D{len(self.digests) + 1}")


def tell(names: Names, outcome: Outcome, *, lines: bool) -> Iterator[str]:
    """Yield what an outcome says, events first."""
    for index in range(len(outcome.effects)):
        names.effects.append((outcome.seq, index))
    for event in outcome.events:
        if lines or not isinstance(event, LINES):
            yield from _tell_event(names, event)
    for index, effect in enumerate(outcome.effects):
        number = names.effect((outcome.seq, index))
        yield _tell_fields(names, f"effect {number} {type(effect).__name__}", effect)


def _tell_event(names: Names, event: AnyEvent) -> Iterator[str]:
    match event:
        case EntryRefused():
            yield f"entry refused {_code(event.code)} {event.field}"
        case Rejected():
            place = f"[{event.command}]" if event.command else ""
            yield f"refused{place} {_code(event.code)} {event.field}"
        case Posted():
            yield f"Posted {Why(event.why).name} {_legs(names, event)}"
        case AccountsOpened():
            yield f"AccountsOpened {' '.join(_open(names, unpack_int64(event.accounts)))}"
        case TradesRecorded():
            yield f"TradesRecorded stream {event.stream} number {event.number}"
            yield from _fills(event)
        case IndexMoved():
            columns = (unpack_int32(event.feeds), unpack_int64(event.values), event.grades)
            named = [_feed(feed) for feed in columns[0]]
            yield f"IndexMoved {_graded(named, columns[1], columns[2])}"
        case MarksMoved():
            named = [names.contract(i).name for i in unpack_int32(event.instruments)]
            yield f"MarksMoved {_graded(named, unpack_int64(event.ticks), event.grades)}"
        case AccountsMoved():
            for cells in figures.cut(unpack_int64(event.cells), 6):
                yield _moved(names, *cells)
        case AccountLines():
            yield f"AccountLines of {event.touched}"
            yield from _account_lines(names, list(unpack_int64(event.cells)))
        case InstrumentLines():
            for cells in figures.cut(unpack_int64(event.cells), 6):
                yield _instrument_line(names, *cells)
        case ReplicasSet():
            voters = " ".join(replica.name for replica in event.replicas)
            yield f"ReplicasSet epoch {event.epoch}: {voters}"
        case _:
            yield _tell_fields(names, type(event).__name__, event)


def _tell_fields(names: Names, head: str, told: AnyEvent | AnyEffect) -> str:
    """Return any struct by its fields' names; amounts are in the asset that the struct names."""
    asset = getattr(told, "asset_id", 0)
    instrument = getattr(told, "instrument_id", 0)
    if instrument and head.rsplit(maxsplit=1)[-1] in ("FundingPaid", "Deleveraged"):
        asset = names.contract(instrument).asset_id
    parts = [head]
    if {"seq", "index"} <= set(told.__struct_fields__):
        parts.append(names.effect((told.seq, told.index)))  # type: ignore[union-attr]
    elsewhere = ("seq", "index", "asset_id", "expires_at_ns")
    fields = [field for field in told.__struct_fields__ if field not in elsewhere]
    parts += [_field(names, field, told, asset) for field in fields]
    if "expires_at_ns" in told.__struct_fields__:
        parts.append(f"until {figures.time_of(told.expires_at_ns)}")  # type: ignore[union-attr]
    if "seq" in told.__struct_fields__ and "index" not in told.__struct_fields__:
        parts.append("again")
    return " ".join(part for part in parts if part)


def _field(names: Names, field: str, told: AnyEvent | AnyEffect, asset: int) -> str:
    value: Any = getattr(told, field)
    if field in ("account_id", "from_account", "to_account", "against"):
        return {"to_account": "to ", "against": "against "}.get(field, "") + names.account(value)
    if field == "name" and hasattr(told, "instrument_id"):
        return ""
    if field == "instrument_id":
        return names.contract(value).name if value else "all"
    if field == "subject":
        return names.account(value)
    if field == "sender_id":
        return names.sender(value)
    if field == "feed_id":
        return _feed(value)
    if isinstance(value, bytes):
        return names.digest(value)
    if isinstance(value, bool):
        return field if value else ""
    if field in ENUMS:
        return str(ENUMS[field](value).name)
    label = field.rsplit("_", 1)[0] if "_" in field else field
    if field.endswith("_minor"):
        return f"{label} {figures.amount(value, asset)}"
    if field.endswith("_ns"):
        return f"{label} {figures.time_of(value)}"
    if field.endswith("_ppb"):
        return f"{label} {figures.rate(value)}"
    if field.endswith("_ticks") or (field in ("value", "median") and hasattr(told, "median")):
        return f"{label} {figures.ticks(value)}"
    if field == "lots":
        return f"{figures.signed(str(value))} lots"
    return value if isinstance(value, str) else f"{label} {value}"


def _code(code: int) -> str:
    return f"{code} {Reject(code).name}"


def _feed(feed: int) -> str:
    return next((name for name, other in FEEDS.items() if other == feed), f"feed-{feed}")


def _graded(names: list[str], values: tuple[int, ...], grades: bytes) -> str:
    return ", ".join(
        f"{name} {figures.ticks(value)} {Grade(grade).name}"
        for name, value, grade in zip(names, values, grades, strict=True)
    )


def _legs(names: Names, event: Posted) -> str:
    columns = unpack_int64(event.accounts), unpack_int32(event.assets), unpack_int64(event.amounts)
    return ", ".join(
        f"{names.account(account)} {figures.signed(figures.amount(minor, asset))}"
        for account, asset, minor in zip(*columns, strict=True)
    )


def _open(names: Names, accounts: tuple[int, ...]) -> Iterator[str]:
    for account in accounts:
        alias = names.opening.pop(0) if names.opening else f"x{len(names.accounts)}"
        names.accounts[alias] = account
        yield f"{alias}={account >> 32}.{account & 0xFFFFFFFF}"


def _fills(event: TradesRecorded) -> Iterator[str]:
    for place, cells in enumerate(figures.cut(unpack_int64(event.results), 5)):
        code, *rest = cells
        if code:
            yield f"  fill {place} refused {_code(code)} {FIELDS[rest[0]]}"
        else:
            yield (
                f"  fill {place} realised {rest[0]}/{rest[1]} fees {rest[2]}/{rest[3]}"
                " minor (buyer/seller)"
            )


def _moved(names: Names, account: int, before: int, after: int, *rest: int) -> str:
    states = f"{AccountState(before).name} → {AccountState(after).name}"
    return f"{names.account(account)} {states}: {standing(*rest)}"


def standing(equity: int, maintenance: int, initial: int) -> str:
    """Return the three figures that say where an account stands."""
    figures_of = (figures.amount(minor, 0) for minor in (equity, maintenance, initial))
    return "equity {}, maintenance {}, initial {}".format(*figures_of)


def cost(terms: InstrumentTerms, value_units: int) -> str:
    """Return value units in the settlement asset, to the last unit."""
    digits = ASSETS[terms.asset_id].decimals + len(str(terms.value_scale)) - 1
    return f"{figures.decimal(value_units, digits)} {ASSETS[terms.asset_id].name}"


def position(terms: InstrumentTerms, lots: int, value_units: int) -> str:
    """Return one position with its entry cost."""
    return f"{figures.signed(str(lots))} {terms.name} at cost {cost(terms, value_units)}"


def _account_lines(names: Names, cells: list[int]) -> Iterator[str]:
    while cells:
        account, state, *rest = cells[:5]
        evaluated, assets = cells[5], cells[6]
        balances, count = cells[7 : 7 + assets], cells[7 + assets]
        held = cells[8 + assets : 8 + assets + 3 * count]
        del cells[: 8 + assets + 3 * count]
        parts = [figures.amount(minor, asset) for asset, minor in enumerate(balances) if minor]
        parts += [
            position(names.contract(instrument), lots, value)
            for instrument, lots, value in figures.cut(held, 3)
        ]
        now = " (evaluated now)" if evaluated else ""
        head = f"  {names.account(account)} {AccountState(state).name}: {standing(*rest)}{now}"
        yield "; ".join([head, *parts])


def _instrument_line(names: Names, instrument: int, *cells: int) -> str:
    terms = names.contract(instrument)
    interest, variation, residual, open_cost, mark = cells
    return (
        f"InstrumentLine {terms.name}: open interest {interest},"
        f" variation {figures.amount(variation, terms.asset_id)},"
        f" residual {cost(terms, residual)}, open cost {cost(terms, open_cost)},"
        f" mark {figures.ticks(mark)}"
    )


def is_refusal(event: msgspec.Struct) -> bool:
    """Tell whether an event refuses an entry or a command."""
    return isinstance(event, EntryRefused | Rejected)
