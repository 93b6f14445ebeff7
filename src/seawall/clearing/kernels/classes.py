"""Which accounts leave their class: healthy, warned, called or to be liquidated (CALL-02)."""

from seawall.clearing.kernels.columns import Column32, Table
from seawall.clearing.kernels.compiler import inlined, kernel
from seawall.clearing.kernels.sweep import (
    DOUBTFUL,
    FRESH,
    FROZEN,
    HOUSE,
    T_FLAGS,
    Books,
    Prices,
    next_link,
    read_slot,
)
from seawall.clearing.kernels.wide import mul_div_ceil
from seawall.clearing.layout import (
    ASSETS_MAX,
    BALANCE,
    CALL_DEADLINE,
    CASE,
    EQUITY,
    INITIAL,
    LIFE,
    LIFE_OPEN,
    MAINTENANCE,
    MODE,
    POSITION_COUNT,
    PRICE_GRADE,
    STATE,
)
from seawall.protocol.events import AccountState
from seawall.protocol.units import PPB

HEALTHY, WARNED = int(AccountState.HEALTHY), int(AccountState.WARNED)
CALLED, LIQUIDATING = int(AccountState.CALLED), int(AccountState.LIQUIDATING)
OVERDUE = LIQUIDATING + 1
"""Not a state: a called account whose deadline passed."""


@kernel
def read_flags(books: Books, prices: Prices, row: int) -> int:
    """Return what freezes an account: doubt in a price it depends on (MARK-05), or a halt."""
    flags, link = 0, 0
    for index in range(books.accounts[row, POSITION_COUNT]):
        link = next_link(books, row, index, link)
        i, _, _ = read_slot(books, row, index, link)
        flags |= prices.terms[i, T_FLAGS]
    for asset in range(1, ASSETS_MAX):
        held = books.accounts[row, BALANCE + asset] != 0
        if held and prices.assets[asset, PRICE_GRADE] != FRESH:
            flags |= DOUBTFUL
    return flags & FROZEN


@inlined
def _class_of(accounts: Table, row: int, warn_ppb: int) -> int:
    """Return the class by figures alone; plain twin `calls.class_of`."""
    line = accounts[row]
    if line[EQUITY] < line[MAINTENANCE]:
        return LIQUIDATING
    if line[EQUITY] < line[INITIAL]:
        return CALLED
    # equity * PPB < initial * warn_ppb, with both sides divided and the right one rounded up.
    level, fits = mul_div_ceil(line[INITIAL], warn_ppb, PPB)
    return WARNED if not fits or line[EQUITY] < level else HEALTHY


@kernel
def list_moves(
    books: Books,
    prices: Prices,
    span: tuple[int, int],
    now_ns: int,
    warn_ppb: int,
    rows: Column32,
    wanted: Column32,
) -> int:
    """List the client accounts without a case whose class is not what they are in.

    Parameters
    ----------
    rows, wanted : written from the start, as many as there is room for: the row, and the class it
        belongs in or OVERDUE. A frozen account is CALLED where others are liquidated.
    """
    count = 0
    for row in range(span[0], span[1]):
        line = books.accounts[row]
        if line[LIFE] != LIFE_OPEN or line[MODE] == HOUSE or line[CASE] != 0:
            continue
        found = _class_of(books.accounts, row, warn_ppb)
        late = found == CALLED and line[STATE] == CALLED and now_ns > line[CALL_DEADLINE]
        if (late or found == LIQUIDATING) and read_flags(books, prices, row) == 0:
            found = LIQUIDATING if found == LIQUIDATING else OVERDUE
        elif found == LIQUIDATING:
            found = CALLED
        if found != line[STATE]:
            if count == rows.shape[0]:
                return count
            rows[count] = row
            wanted[count] = found
            count += 1
    return count
