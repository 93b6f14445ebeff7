"""What holds after every entry, by name; a broken one stops the replica (INVR-*)."""

import numpy as np

from seawall.clearing.kernels.sums import HALF_BITS, HALF_MASK, sum_positions
from seawall.clearing.layout import (
    ASSET,
    BALANCE,
    DELEVERAGED,
    FUND_PAID,
    INSTRUMENTS_USED,
    OPEN_COST,
    OPEN_INTEREST,
    RESIDUAL,
    SEQ,
    SHORTFALL,
    SOCIALISED,
    TOUCHED_INSTRUMENT,
    VALUE_SCALE,
    VARIATION,
)
from seawall.clearing.state import Int64, State

ENTRY_CHECKS = ("shortfall_covered", "variation_matches_cost", "residual_not_negative")
FULL_CHECKS = ("assets_sum_to_zero", "lots_sum_to_zero", "costs_sum_to_zero")


def check_entry(state: State) -> int:
    """Assert what each entry must leave true, over what it touched; return how many checks ran."""
    scalar, cell = state.scalar, state.instrument
    assert scalar[SHORTFALL] == scalar[FUND_PAID] + scalar[DELEVERAGED] + scalar[SOCIALISED]
    checks = 1
    for instrument in range(1, scalar[INSTRUMENTS_USED]):
        if cell[instrument, TOUCHED_INSTRUMENT] != scalar[SEQ]:
            continue
        realised = cell[instrument, VARIATION] * cell[instrument, VALUE_SCALE]
        assert cell[instrument, OPEN_COST] == realised - cell[instrument, RESIDUAL]
        assert cell[instrument, RESIDUAL] >= 0
        assert cell[instrument, OPEN_INTEREST] >= 0
        checks += 2
    return checks


def check_full(state: State) -> int:
    """Assert conservation over the whole state; return how many checks ran.

    Sums are taken in two halves of 32 bits, so that no intermediate can wrap.
    """
    used, scalar = state.used("accounts"), state.scalar
    by_asset = [_sum(used[:, word]) for word in range(BALANCE, BALANCE + len(state.assets))]
    for instrument in range(1, scalar[INSTRUMENTS_USED]):
        by_asset[state.instrument[instrument, ASSET]] += state.instrument[instrument, VARIATION]
    assert not any(by_asset)
    for instrument, (lots, cost, longs) in enumerate(_sum_positions(state)):
        assert lots == 0
        assert cost == -state.instrument[instrument, OPEN_COST]
        assert longs == state.instrument[instrument, OPEN_INTEREST]
    return len(by_asset) + 3 * (scalar[INSTRUMENTS_USED] - 1)


def _sum(column: Int64) -> int:
    high, low = column >> HALF_BITS, column & HALF_MASK
    return _join(int(high.sum()), int(low.sum()))


def _sum_positions(state: State) -> list[tuple[int, int, int]]:
    """Return lots, costs and long lots of each instrument, as Python ints."""
    halves = np.zeros((state.scalar[INSTRUMENTS_USED], 6), np.int64)
    used = state.used("accounts")
    sum_positions(used, used.view(np.int32), state.extensions, state.extensions32, halves)
    return [
        (_join(row[0], row[1]), _join(row[2], row[3]), _join(row[4], row[5]))
        for row in halves.tolist()
    ]


def _join(high: int, low: int) -> int:
    return (high << HALF_BITS) + low
