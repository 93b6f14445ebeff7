"""Columns of commands: their cell sizes, lengths and the limit on both."""

from typing import Any

from seawall.clearing.outcome import Refusal
from seawall.clearing.state import State
from seawall.protocol.codes import Reject


def check_columns(
    state: State, command: Any, columns: tuple[tuple[str, int], ...]
) -> Refusal | None:
    """Return why columns of (name, cell bytes) do not belong together, or None.

    Rejects
    -------
    COLUMN_LENGTH (not whole cells, empty, or of another length than the first), COLUMN_LONG.
    """
    count = 0
    for place, (name, cell_bytes) in enumerate(columns):
        column: bytes = getattr(command, name)
        cells, rest = divmod(len(column), cell_bytes)
        if rest or not cells:
            return Reject.COLUMN_LENGTH, name
        if place and cells != count:
            return Reject.COLUMN_LENGTH, name
        count = cells
    if count > state.limits.column_max:
        return Reject.COLUMN_LONG, columns[0][0]
    return None
