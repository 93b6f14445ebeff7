"""Portfolio margin: worst of many scenario rows, against C, SciPy's sparse product and Python."""

import ctypes
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from benchmarks.figure import Figure, rate, speed_ratio, time_in_turns
from benchmarks.native import compile_twin
from seawall.clearing.kernels import twins
from seawall.clearing.kernels.columns import Column, Column32, Table32
from seawall.clearing.kernels.rows import pad_scenarios, worst_rows, worst_rows_plain

ACCOUNTS, INSTRUMENTS, POSITIONS_MAX = 200_000, 1_000, 19
SCENARIOS = (16, 27, 250)
MARGIN_SCENARIOS = 27
PYTHON_ACCOUNTS = 300


class Population(NamedTuple):
    """Accounts of ten positions on average, instruments drawn evenly: the worst for caches."""

    starts: Column
    instrument: Column32
    lots: Column
    risk: Table32


def draw_population(scenarios: int) -> Population:
    """Return a population, the same at every run."""
    draw = np.random.default_rng(scenarios)
    starts = np.zeros(ACCOUNTS + 1, np.int64)
    starts[1:] = np.cumsum(draw.integers(1, POSITIONS_MAX + 1, ACCOUNTS))
    count = int(starts[-1])
    return Population(
        starts,
        draw.integers(0, INSTRUMENTS, count, np.int32),
        draw.integers(-1_000, 1_001, count, np.int64),
        draw.integers(-1_000_000, 1_000_001, (INSTRUMENTS, scenarios), np.int32),
    )


class Answer:
    """Where one contender writes, with what it is given to run."""

    def __init__(self) -> None:
        self.loss = np.full(ACCOUNTS, -1, np.int64)
        self.scenario = np.full(ACCOUNTS, -1, np.int32)

    def same(self, other: "Answer") -> bool:
        """Tell whether both say the same of every account."""
        return np.array_equal(self.loss, other.loss) and np.array_equal(
            self.scenario, other.scenario
        )


def c_twin(people: Population, bits: int, answer: Answer) -> Callable[[], object] | None:
    """Return a call of the C twin for lots of 32 or 64 bits, or None without a compiler."""
    library = compile_twin("rows")
    if library is None:
        return None
    function = library[f"worst_rows_{bits}"]
    padded = pad_scenarios(people.risk)
    lots = people.lots.astype(np.int32) if bits == 32 else people.lots
    arrays = people.starts, people.instrument, lots, padded
    arguments: list[Any] = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
    arguments += [ctypes.c_int64(padded.shape[1]), ctypes.c_int64(ACCOUNTS)]
    arguments += [ctypes.c_void_p(out.ctypes.data) for out in (answer.loss, answer.scenario)]
    # The arrays are named in the closure, so that they outlive the addresses.
    return lambda: (function(*arguments), arrays)


def scipy_product(people: Population, answer: Answer) -> Callable[[], object]:
    """Return the same by SciPy: accounts x instruments, sparse, times instruments x scenarios."""
    shape = (ACCOUNTS, INSTRUMENTS)
    held = csr_array((people.lots, people.instrument, people.starts), shape=shape)
    risk = people.risk.astype(np.int64)

    def run() -> None:
        sums = held @ risk
        np.maximum(-sums.min(axis=1), 0, out=answer.loss)
        answer.scenario[:] = sums.argmin(axis=1)

    return run


def plain_python(people: Population) -> Callable[[], list[tuple[int, int]]]:
    """Return the plain twin over the first few accounts."""
    ends = people.starts[: PYTHON_ACCOUNTS + 1].tolist()
    held = list(zip(people.instrument[: ends[-1]].tolist(), people.lots.tolist(), strict=False))
    accounts = [held[a:b] for a, b in pairwise(ends)]
    risk = people.risk.tolist()
    return lambda: twins.worst_rows(accounts, risk)


def measure(scenarios: int) -> list[Figure]:
    """Return the figures at one number of scenarios, after all contenders were found equal."""
    people = draw_population(scenarios)
    padded = pad_scenarios(people.risk)
    narrow = people.lots.astype(np.int32)
    sums = np.zeros(padded.shape[1], np.int64)
    answers = {
        name: Answer() for name in ("int32", "int64", "plain", "C int32", "C int64", "SciPy")
    }

    def ours(name: str, lots: Column | Column32) -> Callable[[], object]:
        answer = answers[name]
        fixed = people.starts, people.instrument, lots, padded, answer.loss, answer.scenario
        if name == "plain":
            return lambda: worst_rows_plain(*fixed, sums)
        return lambda: worst_rows(*fixed)

    contenders = {
        "int32": ours("int32", narrow),
        "int64": ours("int64", people.lots),
        "plain": ours("plain", people.lots),
        "SciPy": scipy_product(people, answers["SciPy"]),
    }
    for bits in (32, 64):
        call = c_twin(people, bits, answers[f"C int{bits}"])
        if call is not None:
            contenders[f"C int{bits}"] = call
    python = plain_python(people)
    seconds = time_in_turns(contenders | {"Python": python})
    for name in contenders:
        assert answers[name].same(answers["int64"]), name
    first = zip(answers["int64"].loss.tolist(), answers["int64"].scenario.tolist(), strict=True)
    assert [pair for pair, _ in zip(first, range(PYTHON_ACCOUNTS), strict=False)] == python()
    return report(scenarios, seconds)


def report(scenarios: int, seconds: dict[str, list[float]]) -> list[Figure]:
    """Turn seconds into figures."""
    asked = scenarios == MARGIN_SCENARIOS
    at = f"{scenarios} rows"
    million = ACCOUNTS / 1e6
    figures = [
        Figure(
            "rows",
            f"{at}, int64 lots",
            rate(seconds["int64"], million),
            "M accounts/s",
            20 if asked else None,
        ),
        Figure("rows", f"{at}, int32 lots", rate(seconds["int32"], million), "M accounts/s"),
        Figure("rows", f"{at}, plain loop", rate(seconds["plain"], million), "M accounts/s"),
        Figure("rows", f"{at}, SciPy", rate(seconds["SciPy"], million), "M accounts/s"),
        Figure(
            "rows",
            f"{at}, int64 lots / SciPy",
            speed_ratio(seconds["int64"], seconds["SciPy"]),
            "x",
            5 if asked else None,
        ),
    ]
    per_account = [elapsed * ACCOUNTS / PYTHON_ACCOUNTS for elapsed in seconds["Python"]]
    ratio = speed_ratio(seconds["int64"], per_account)
    figures.append(Figure("rows", f"{at}, int64 lots / plain Python", ratio, "x"))
    for bits in (32, 64):
        if f"C int{bits}" in seconds:
            ratio = speed_ratio(seconds[f"int{bits}"], seconds[f"C int{bits}"])
            figures.append(Figure("rows", f"{at}, int{bits} lots / C", ratio, "x"))
    return figures


def run() -> list[Figure]:
    """Return all figures of this bench."""
    return [figure for scenarios in SCENARIOS for figure in measure(scenarios)]
