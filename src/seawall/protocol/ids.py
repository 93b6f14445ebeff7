"""Identifiers: who, what and where, as integers that are never reused."""

from typing import NewType

AccountId = NewType("AccountId", int)
"""Opaque and never reused. Inside: generation << 32 | row, checked against the row at every use."""
InstrumentId = NewType("InstrumentId", int)
"""Row in the instrument table, from 1."""
AssetId = NewType("AssetId", int)
"""Column of balances, from 0; asset 0 is the valuation asset."""
SenderId = NewType("SenderId", int)
"""Whoever signs batches, from 1."""
FeedId = NewType("FeedId", int)
"""A published price series: an index or a traded price, from 1."""
UnitId = NewType("UnitId", int)
"""A risk unit, the instruments of one set of risk rows, from 1; 0 is none."""
MemberId = NewType("MemberId", int)
"""Member that guarantees accounts, from 1; 0 is the house."""

ROW_BITS = 32
ROW_MASK = (1 << ROW_BITS) - 1


def account_id(generation: int, row: int) -> AccountId:
    """Return the id of the `generation`-th account (from 1) that lives in `row`."""
    assert 1 <= generation < 1 << 30
    assert 0 < row <= ROW_MASK
    return AccountId(generation << ROW_BITS | row)


def account_row(account: int) -> int:
    """Return the row an id points to; the row must still hold this very id to count."""
    return account & ROW_MASK


def account_generation(account: int) -> int:
    """Return how many accounts the row has held, this one included."""
    return account >> ROW_BITS


# House accounts stand in fixed rows from genesis on, generation 1.
FEES = account_id(1, 1)
INSURANCE = account_id(1, 2)
ROUNDING = account_id(1, 3)
EXTERNAL = account_id(1, 4)
"""The outside world: deposits debit it, payouts credit it."""
TRANSIT = account_id(1, 5)
"""Withdrawals on their way out: still in custody, no longer the client's to spend."""
SKIN_IN_THE_GAME = account_id(1, 6)
DEFAULT_FUND = account_id(1, 7)
HOUSE_ROWS = 8
"""Rows below this one belong to the house; client accounts start here."""
