"""Portfolio margin: the worst of many scenario rows for every account.

`risk[i, s]` is the change in value of one lot of instrument `i` in scenario `s`. Accounts are in
compressed form: the positions of account `a` are `starts[a]` to `starts[a + 1]` of `instrument`
and `lots`. The scenarios are padded to whole tiles by repeating scenario 0 (`pad_scenarios`),
which can change neither the worst loss nor, as the lowest index wins, the scenario that binds.

The caller proves that the sum of |lots| * |risk| stays below 2^62 per account and scenario, and
that every instrument is a row of `risk`: nothing is checked here. Lots may be int64 or int32.
Three versions agree exactly: `worst_rows` (vectors), `worst_rows_plain` (no vectors) and
`twins.worst_rows` (plain Python).
"""

import numpy as np

from seawall.clearing.kernels.columns import Column, Column32, Table32
from seawall.clearing.kernels.compiler import inlined, kernel
from seawall.clearing.kernels.tiles import (
    LANES,
    narrow_of_1,
    narrow_of_2,
    narrow_of_4,
    worst_of_1,
    worst_of_2,
    worst_of_4,
)
from seawall.protocol.units import INT64_MAX


def pad_scenarios(risk: Table32) -> Table32:
    """Return risk rows padded to whole tiles by repeating scenario 0."""
    missing = -risk.shape[1] % LANES
    return np.ascontiguousarray(np.hstack([risk, np.repeat(risk[:, :1], missing, axis=1)]))


@inlined
def _is_narrow(lots: Column | Column32, begin: int, end: int) -> bool:
    """Tell whether all lots of a range fit 32 bits, which most accounts' do."""
    excess = 0
    for position in range(begin, end):
        excess |= (lots[position] + (1 << 31)) >> 32
    return excess == 0


@inlined
def _worst_from(
    risk: Table32,
    instrument: Column32,
    lots: Column | Column32,
    begin: int,
    end: int,
    first: int,
    narrow: bool,
) -> tuple[int, int, int]:
    """Return the least sum of the widest tile from scenario `first`, its index, and the next."""
    left = risk.shape[1] - first
    if left >= 4 * LANES:
        if narrow:
            least, index = narrow_of_4(risk, instrument, lots, begin, end, first)
        else:
            least, index = worst_of_4(risk, instrument, lots, begin, end, first)
        return least, first + index, first + 4 * LANES
    if left >= 2 * LANES:
        if narrow:
            least, index = narrow_of_2(risk, instrument, lots, begin, end, first)
        else:
            least, index = worst_of_2(risk, instrument, lots, begin, end, first)
        return least, first + index, first + 2 * LANES
    if narrow:
        least, index = narrow_of_1(risk, instrument, lots, begin, end, first)
    else:
        least, index = worst_of_1(risk, instrument, lots, begin, end, first)
    return least, first + index, first + LANES


@kernel
def worst_rows(
    starts: Column,
    instrument: Column32,
    lots: Column | Column32,
    risk: Table32,
    loss: Column,
    scenario: Column32,
) -> None:
    """Write each account's worst loss and the lowest scenario that causes it.

    Parameters
    ----------
    starts : (accounts + 1,) int64
    instrument : (positions,) int32, row of `risk`
    lots : (positions,) int64 or int32, long > 0
    risk : (instruments, scenarios) int32, a multiple of `LANES` scenarios, gain > 0
    loss : (accounts,) int64, written; >= 0, so an account that only gains has 0
    scenario : (accounts,) int32, written
    """
    for account in range(loss.shape[0]):
        begin, end = starts[account], starts[account + 1]
        narrow = _is_narrow(lots, begin, end)
        worst, binding, first = INT64_MAX, 0, 0
        while first < risk.shape[1]:
            least, index, first = _worst_from(risk, instrument, lots, begin, end, first, narrow)
            if least < worst:
                worst, binding = least, index
        loss[account] = -worst if worst < 0 else 0
        scenario[account] = binding


@kernel
def worst_rows_plain(
    starts: Column,
    instrument: Column32,
    lots: Column | Column32,
    risk: Table32,
    loss: Column,
    scenario: Column32,
    sums: Column,
) -> None:
    """Do what `worst_rows` does without vectors: four positions per pass over the scenarios.

    Four products per sum make one load and store of it do the work of four. `sums` is scratch,
    one cell per scenario.
    """
    scenarios = risk.shape[1]
    for account in range(loss.shape[0]):
        sums[:] = 0
        position, end = starts[account], starts[account + 1]
        while position + 4 <= end:
            i0, i1 = instrument[position], instrument[position + 1]
            i2, i3 = instrument[position + 2], instrument[position + 3]
            l0, l1 = np.int64(lots[position]), np.int64(lots[position + 1])
            l2, l3 = np.int64(lots[position + 2]), np.int64(lots[position + 3])
            for s in range(scenarios):
                sums[s] += l0 * risk[i0, s] + l1 * risk[i1, s] + l2 * risk[i2, s] + l3 * risk[i3, s]
            position += 4
        while position < end:
            i0, l0 = instrument[position], np.int64(lots[position])
            for s in range(scenarios):
                sums[s] += l0 * risk[i0, s]
            position += 1
        worst, binding = sums[0], 0
        for s in range(1, scenarios):
            if sums[s] < worst:
                worst, binding = sums[s], s
        loss[account] = -worst if worst < 0 else 0
        scenario[account] = binding
