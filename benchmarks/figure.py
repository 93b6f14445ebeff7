"""One measured number, and contenders timed in turns so that its ratios hold on a busy machine."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Clock = Callable[[], float]
WARM_ROUNDS = 1
"""Rounds that are run and not counted: first touches of memory, first loads of code."""


@dataclass(frozen=True)
class Figure:
    """A number with its unit; `aim` is the least that was asked for, if something was."""

    bench: str
    name: str
    value: float
    unit: str
    aim: float | None = None


def time_in_turns(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 7,
    clock: Clock = time.process_time,
) -> dict[str, list[float]]:
    """Return seconds per contender and round, all contenders once in every round.

    The default clock counts this process's CPU time, for work on one thread; give
    `time.perf_counter` for work that waits or has several threads.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(WARM_ROUNDS + rounds):
        # The order turns, so that nobody always runs into another's warm or cold cache.
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = clock()
            contenders[name]()
            elapsed = clock() - start
            if turn >= WARM_ROUNDS:
                seconds[name].append(elapsed)
    return seconds


def rate(seconds: list[float], work: float) -> float:
    """Return work per second at the median round."""
    return work / statistics.median(seconds)


def speed_ratio(ours: list[float], theirs: list[float]) -> float:
    """Return how many times as fast we are: the median of the ratios within each round."""
    return statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
