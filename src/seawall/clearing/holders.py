"""Who holds an instrument: rows and lots, for whatever happens to all holders at once."""

import numpy as np

from seawall.clearing.kernels.funding import find_holders
from seawall.clearing.layout import ROWS_USED
from seawall.clearing.state import Int32, Int64, State
from seawall.clearing.trades import book_of


def holders(state: State, instrument: int) -> tuple[Int32, Int64]:
    """Return the rows that hold the instrument, ascending, and their signed lots.

    House accounts and isolated sub-accounts are among them, so the lots sum to zero.
    """
    rows_used = state.scalar[ROWS_USED]
    rows, lots = np.empty(rows_used, np.int32), np.empty(rows_used, np.int64)
    count = find_holders(book_of(state), rows_used, instrument, rows, lots)
    return rows[:count], lots[:count]
