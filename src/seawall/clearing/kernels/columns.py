"""Preallocated columns and tables: their types, and memory that starts on a cache line."""

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.int64]
"""One-dimensional int64."""
Column32 = npt.NDArray[np.int32]
"""One-dimensional int32."""
Table = npt.NDArray[np.int64]
"""Two-dimensional int64, rows contiguous."""
Table32 = npt.NDArray[np.int32]
"""Two-dimensional int32, rows contiguous."""

CACHE_LINE_BYTES = 64
WORD_BYTES = 8


def zeros_aligned(rows: int, words: int) -> Table:
    """Return a zeroed (rows, words) int64 table whose first word starts a cache line.

    Rows of a multiple of eight words then share no line, and one prefetch brings what it names.
    """
    line_words = CACHE_LINE_BYTES // WORD_BYTES
    memory = np.zeros(rows * words + line_words, dtype=np.int64)
    address = memory.__array_interface__["data"][0]
    skipped = -address % CACHE_LINE_BYTES // WORD_BYTES
    return memory[skipped : skipped + rows * words].reshape(rows, words)


def copy_aligned(table: Table) -> Table:
    """Return a copy of a table that starts on a cache line too."""
    copy = zeros_aligned(*table.shape)
    copy[:] = table
    return copy
