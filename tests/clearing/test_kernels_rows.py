"""Worst rows: vectors, plain loop and plain Python agree on loss and binding scenario."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.clearing.kernels import rows, twins
from seawall.clearing.kernels.columns import Table32
from seawall.clearing.kernels.tiles import LANES

Account = list[tuple[int, int]]
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def run(
    accounts: Sequence[Account], risk: Table32, lots_type: type[np.integer[Any]], *, plain: bool
) -> list[tuple[int, int]]:
    """Return loss and scenario per account, computed by one of the two kernels."""
    flat = [position for account in accounts for position in account]
    starts = np.zeros(len(accounts) + 1, np.int64)
    starts[1:] = np.cumsum([len(account) for account in accounts])
    instrument = np.array([i for i, _ in flat], np.int32)
    lots: npt.NDArray[Any] = np.array([n for _, n in flat], lots_type)
    loss, scenario = np.full(len(accounts), -1, np.int64), np.full(len(accounts), -1, np.int32)
    padded = rows.pad_scenarios(risk)
    arguments = (starts, instrument, lots, padded, loss, scenario)
    if plain:
        rows.worst_rows_plain(*arguments, np.full(padded.shape[1], 99, np.int64))
    else:
        rows.worst_rows(*arguments)
    return list(zip(loss.tolist(), scenario.tolist(), strict=True))


def check(accounts: Sequence[Account], risk: Table32) -> list[tuple[int, int]]:
    """Return the twin's answer, which every kernel and both types of lots must give."""
    expected = twins.worst_rows(accounts, risk.tolist())
    for plain in (False, True):
        for lots_type in (np.int64, np.int32):
            assert run(accounts, risk, lots_type, plain=plain) == expected
    return expected


@pytest.mark.parametrize("scenarios", [1, 7, 8, 9, 16, 17, 24, 27, 32, 33, 56, 64, 250])
def test_all_versions_agree(scenarios: int) -> None:
    """Every mix of tiles; accounts with none, few and many positions."""
    draw = np.random.default_rng(scenarios)
    instruments = 50
    risk = draw.integers(INT32_MIN, INT32_MAX, (instruments, scenarios), np.int32, endpoint=True)
    risk[::3] //= 1 << 20
    accounts = []
    for account in range(400):
        count = account % 23
        held = draw.integers(0, instruments, count).tolist()
        lots = draw.integers(-(1 << 26), 1 << 26, count, endpoint=True).tolist()
        accounts.append(list(zip(held, lots, strict=True)))
    expected = check(accounts, risk)
    binding = {scenario for _, scenario in expected}
    assert len(binding) >= min(scenarios, 100) * 3 // 4
    assert max(binding) < scenarios


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_ties_go_to_the_lowest_scenario(data: st.DataObject) -> None:
    """Few distinct gains make many ties, padding among them; gainers lose nothing."""
    scenarios = data.draw(st.integers(1, 40))
    cells = st.lists(st.integers(-1, 1), min_size=scenarios, max_size=scenarios)
    risk = np.array(data.draw(st.lists(cells, min_size=3, max_size=3)), np.int32)
    position = st.tuples(st.integers(0, 2), st.integers(-2, 2))
    accounts = data.draw(st.lists(st.lists(position, max_size=9), min_size=1, max_size=9))
    check(accounts, risk)


def test_wide_lots_stay_exact_up_to_the_proven_bound() -> None:
    """int64 lots beyond 32 bits, sums next to 2^62 in magnitude."""
    risk = np.array([[-(1 << 20), 1 << 20, 5], [3, -3, -(1 << 20)]], np.int32)
    accounts = [
        [(0, 1 << 41)],
        [(0, -(1 << 41))],
        [(0, (1 << 41) - 1), (1, -(1 << 40))],
        [(1, (1 << 42) - 1)],
        # Either side of 32 bits, where the narrow product ends.
        *([(0, lots), (1, 1)] for lots in (1 << 31, (1 << 31) - 1, -(1 << 31), -(1 << 31) - 1)),
        [(0, 5), (0, 1 << 32), (1, -7)],
        [(0, -(1 << 32))],
    ]
    expected = twins.worst_rows(accounts, risk.tolist())
    assert max(loss for loss, _ in expected) > 1 << 61
    for plain in (False, True):
        assert run(accounts, risk, np.int64, plain=plain) == expected


@pytest.mark.parametrize("scenarios", [1, 8, 27, 30])
def test_padding_repeats_the_first_scenario(scenarios: int) -> None:
    """Rows grow to whole tiles and keep what they said."""
    risk = np.arange(3 * scenarios, dtype=np.int32).reshape(3, scenarios)
    padded = rows.pad_scenarios(risk)
    assert padded.shape[1] % LANES == 0
    assert padded.shape[1] - scenarios < LANES
    assert np.array_equal(padded[:, :scenarios], risk)
    assert (padded[:, scenarios:] == risk[:, :1]).all()
    assert padded.flags.c_contiguous
