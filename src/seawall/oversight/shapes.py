"""Whether what the house tells can be read at all: columns whole, of one length, in range.

An outcome is data from outside. An event whose columns cannot be read is a finding and is then
left out, so that no lie can stop the auditor.
"""

from seawall.protocol.codec import unpack_int32, unpack_int64
from seawall.protocol.events import (
    AccountLines,
    AccountsMoved,
    AnyEvent,
    IndexMoved,
    InstrumentLines,
    MarksMoved,
    Posted,
    TradesRecorded,
    Why,
)

LINE_HEAD = 6
"""Cells of an account's line before its balances."""
WIDTHS: dict[type[AnyEvent], dict[str, int]] = {
    Posted: {"accounts": 8, "assets": 4, "amounts": 8},
    IndexMoved: {"feeds": 4, "values": 8, "grades": 1},
    MarksMoved: {"instruments": 4, "ticks": 8, "grades": 1},
    AccountsMoved: {"cells": 48},
    InstrumentLines: {"cells": 48},
    TradesRecorded: {"results": 40},
    AccountLines: {"cells": 8},
}
"""Bytes of one row in each column; columns of one event have equally many rows."""


def is_readable(event: AnyEvent, asset_count: int) -> bool:
    """Tell whether every column of an event can be read to its end."""
    widths = WIDTHS.get(type(event), {})
    columns = [(getattr(event, name), width) for name, width in widths.items()]
    if any(len(column) % width for column, width in columns):
        return False
    if len({len(column) // width for column, width in columns}) > 1:
        return False
    if isinstance(event, Posted):
        known = event.why in set(Why)
        return known and all(0 <= each < asset_count for each in unpack_int32(event.assets))
    return not isinstance(event, AccountLines) or split_lines(event) is not None


def split_lines(event: AccountLines) -> list[tuple[int, ...]] | None:
    """Return the cells of each account's line, or nothing if the lines do not add up."""
    cells, start = unpack_int64(event.cells), 0
    lines: list[tuple[int, ...]] = []
    while start < len(cells):
        end = start + LINE_HEAD
        for width in (1, 3):
            # A count, then so many balances; a count, then so many positions of three cells.
            if end >= len(cells) or cells[end] < 0:
                return None
            end += 1 + width * cells[end]
        if end > len(cells):
            return None
        lines.append(cells[start:end])
        start = end
    return lines
