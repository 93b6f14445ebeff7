"""Sweeps of the simulated world: many seeds, one summary; mutants hunted; old failures kept."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import msgspec

from seawall.lab.mutants import MUTANTS
from seawall.lab.weather import KINDS
from seawall.lab.world import ENTRIES, Result, run

SEEDS = 60
"""A sweep of this length has every kind of fault in it, and takes less than a minute."""
COVERED_BY_SEEDS = 40
"""A sweep of at least this many seeds must have seen every kind of fault."""
HUNT_SEEDS = 40
"""How many seeds a mutant may hide from before it counts as not found."""


class Failure(msgspec.Struct, frozen=True):
    """A seed that did not pass, and the first witness against it."""

    seed: int
    reason: str


class Summary(msgspec.Struct, frozen=True):
    """What a sweep saw; `faults` and `states` say how often, over all seeds."""

    seeds: int
    entries: int
    failed: int
    failures: tuple[Failure, ...]
    seconds: float
    faults: dict[str, int]
    states: dict[str, int]
    never_struck: tuple[str, ...]
    """Kinds of fault that a sweep of this length should have seen and did not: a failure too."""

    @property
    def passed(self) -> bool:
        """Whether every seed is valid and every kind of fault fired."""
        return self.failed == 0 and not self.never_struck


class Found(msgspec.Struct, frozen=True):
    """How the hunt for one mutant went; `seed` is the first that tells it from the honest house."""

    name: str
    found: bool
    seed: int
    seconds: float
    reason: str


class Hunts(msgspec.Struct, frozen=True):
    """All mutants, each found or not."""

    mutants: tuple[Found, ...]

    @property
    def passed(self) -> bool:
        """Whether each of them was found."""
        return all(mutant.found for mutant in self.mutants)


def rerun_line(seed: int) -> str:
    """Return the command that runs one seed again."""
    return f"seawall sim --seeds 1 --first-seed {seed}"


def sweep(
    seeds: int = SEEDS,
    first_seed: int = 0,
    *,
    entries: int = ENTRIES,
    processes: int = 1,
    kept: Iterable[int] = (),
    tell: Callable[[Result], None] | None = None,
) -> Summary:
    """Run `seeds` seeds from `first_seed` on, after the `kept` ones, and add up what they saw.

    Parameters
    ----------
    processes : how many seeds run at once, each in a process of its own
    kept : seeds that failed once; they are run again for ever
    tell : is called with every result, in order
    """
    began_s = time.perf_counter()
    numbers = [*kept, *range(first_seed, first_seed + seeds)]
    faults: Counter[str] = Counter()
    states: Counter[str] = Counter()
    failures: list[Failure] = []
    entries_count = 0
    with _many(processes) as each:
        for result in each(numbers, entries):
            entries_count += result.entries
            faults.update(result.faults)
            states.update(result.states)
            if result.verdict != "valid":
                failures.append(Failure(result.seed, f"{result.verdict}: {result.reason}"))
            if tell is not None:
                tell(result)
    missed = [kind for kind in KINDS if not faults[kind]] if seeds >= COVERED_BY_SEEDS else []
    return Summary(
        seeds=len(numbers),
        entries=entries_count,
        failed=len(failures),
        failures=tuple(failures),
        seconds=round(time.perf_counter() - began_s, 3),
        faults=dict(sorted(faults.items())),
        states=dict(sorted(states.items())),
        never_struck=tuple(missed),
    )


def hunt(mutant: str, seeds: int = HUNT_SEEDS, first_seed: int = 0) -> Found:
    """Break the house with one mutant and look for the first seed that notices.

    A seed counts only if the honest house passes it: a finding must be the mutant's own.
    """
    began_s = time.perf_counter()
    for seed in range(first_seed, first_seed + seeds):
        broken = run(seed, mutant=mutant)
        if broken.verdict == "invalid" and run(seed).verdict == "valid":
            seconds = round(time.perf_counter() - began_s, 3)
            return Found(mutant, True, seed, seconds, broken.reason)
    seconds = round(time.perf_counter() - began_s, 3)
    return Found(mutant, False, -1, seconds, f"no seed of {seeds} noticed")


def hunt_all(
    seeds: int = HUNT_SEEDS, first_seed: int = 0, *, tell: Callable[[Found], None] | None = None
) -> Hunts:
    """Hunt every mutant that is known by name."""
    found = []
    for name in sorted(MUTANTS):
        found.append(hunt(name, seeds, first_seed))
        if tell is not None:
            tell(found[-1])
    return Hunts(tuple(found))


def read_seeds(text: str) -> list[int]:
    """Return the seeds of a list: one a line, what follows it is why it is there."""
    lines = (line.split("#")[0].split() for line in text.splitlines())
    return [int(words[0]) for words in lines if words]


@contextmanager
def _many(processes: int) -> Iterator[Callable[[list[int], int], Iterator[Result]]]:
    """Give a way to run seeds, in this process or in several, with results in order."""
    if processes <= 1:
        yield lambda numbers, entries: (run(seed, entries=entries) for seed in numbers)
        return
    workers = min(processes, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield lambda numbers, entries: pool.map(
            _run_one, numbers, [entries] * len(numbers), chunksize=4
        )


def _run_one(seed: int, entries: int) -> Result:
    return run(seed, entries=entries)
