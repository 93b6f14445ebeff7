"""Honest outcomes made wrong by one unit in one place."""

from collections.abc import Iterator

import msgspec

from seawall.protocol.events import (
    AccountLines,
    AnyEvent,
    Checkpointed,
    IndexMoved,
    MarksMoved,
    Outcome,
    Posted,
    TradesRecorded,
)

# Width of a cell of each column; everything else in bytes is no column.
NARROW = {(Posted, "assets"): 4, (IndexMoved, "feeds"): 4, (MarksMoved, "instruments"): 4} | {
    (IndexMoved, "grades"): 1,
    (MarksMoved, "grades"): 1,
}
UNTOLD = {(AccountLines, "touched")}
"""A count of what may be a sample; it moves coverage, not a book."""


def bump(column: bytes, cell: int, width: int) -> bytes:
    """Return the column with one cell one unit higher, or lower if it cannot rise."""
    start = cell * width
    value = int.from_bytes(column[start : start + width], "little", signed=width > 1)
    top = (1 << (8 * width - 1)) - 1 if width > 1 else 255
    other = value + 1 if value < top else value - 1
    return (
        column[:start] + other.to_bytes(width, "little", signed=width > 1) + column[start + width :]
    )


def lies_about(event: AnyEvent) -> Iterator[tuple[str, AnyEvent]]:
    """Yield the event with each of its units changed in turn, and where that was."""
    if isinstance(event, Checkpointed):
        return
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if (type(event), name) in UNTOLD:
            continue
        if isinstance(value, bool):
            yield name, msgspec.structs.replace(event, **{name: not value})
        elif isinstance(value, int):
            yield name, msgspec.structs.replace(event, **{name: value + 1})
        elif isinstance(value, bytes) and not name.endswith("digest"):
            width = NARROW.get((type(event), name), 8)
            for cell in range(len(value) // width):
                if isinstance(event, TradesRecorded) and _is_idle(value, cell):
                    continue
                lie = bump(value, cell, width)
                yield f"{name}[{cell}]", msgspec.structs.replace(event, **{name: lie})


def _is_idle(results: bytes, cell: int) -> bool:
    """Tell whether a cell belongs to a refused fill, whose other cells mean nothing."""
    code = results[cell // 5 * 40 : cell // 5 * 40 + 8]
    return cell % 5 > 0 and any(code)


def lies_in(outcome: Outcome) -> Iterator[tuple[str, Outcome]]:
    """Yield the outcome with each unit of each event changed in turn, and without each event."""
    events = outcome.events
    for position, event in enumerate(events):
        before, after = events[:position], events[position + 1 :]
        name = type(event).__name__
        for place, lie in lies_about(event):
            told = (*before, lie, *after)
            yield f"{name}.{place}", msgspec.structs.replace(outcome, events=told)
        if not isinstance(event, Checkpointed):
            yield f"no {name}", msgspec.structs.replace(outcome, events=before + after)
    for position, effect in enumerate(outcome.effects):
        earlier, later = outcome.effects[:position], outcome.effects[position + 1 :]
        for field in effect.__struct_fields__:
            value = getattr(effect, field)
            if isinstance(value, int):
                wrong = msgspec.structs.replace(effect, **{field: value + 1})
                place = f"{type(effect).__name__}.{field}"
                yield place, msgspec.structs.replace(outcome, effects=(*earlier, wrong, *later))
