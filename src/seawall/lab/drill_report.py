"""What a drill showed: one line a run, one row a kind of fault, and what was found in the logs."""

from collections.abc import Iterable
from statistics import median

import msgspec

QUIET = "nothing"


class Run(msgspec.Struct, frozen=True):
    """One fault and what it did.

    Attributes
    ----------
    house : the drill's houses are numbered from 1
    at_seq : newest released entry when it began
    down_s : time from the blow to the start of healing
    whole_s : time from there until everybody did their work again
    ack_gap_ms, release_gap_ms : longest time between two acknowledgements of clients, and between
        two releases, in a row from the blow until the house was whole
    quiet_ack_gap_ms, quiet_release_gap_ms : the same in a stretch before it, with nothing broken
    lost, doubled, uncertified : found so far by this run and not by those before it
    remedies : what the watch over the log's nodes did meanwhile
    problems : what was not as it must be, in words
    """

    house: int
    fault: str
    victims: tuple[str, ...]
    at_seq: int
    down_s: float
    whole_s: float
    ack_gap_ms: float
    release_gap_ms: float
    quiet_ack_gap_ms: float
    quiet_release_gap_ms: float
    lost: int
    doubled: int
    uncertified: int
    remedies: tuple[str, ...]
    problems: tuple[str, ...]


class Ended(msgspec.Struct, frozen=True):
    """What the whole log of one house says when its last fault has healed.

    Attributes
    ----------
    commands : acknowledged ones; `unknown` are those nobody could tell the client about
    effects : payouts that the bank was asked for; `repeated` those asked for again under a key
    """

    house: int
    entries: int
    commands: int
    lost: int
    doubled: int
    misplaced: int
    unknown: int
    effects: int
    repeated: int
    uncertified: int
    problems: tuple[str, ...]


class Row(msgspec.Struct, frozen=True):
    """All runs of one fault; `nothing` are the quiet stretches before each of them."""

    fault: str
    runs: int
    ack_gap_p50_ms: float
    ack_gap_max_ms: float
    release_gap_p50_ms: float
    release_gap_max_ms: float
    whole_p50_s: float
    whole_max_s: float
    lost: int
    doubled: int
    uncertified: int


class Drilled(msgspec.Struct, frozen=True):
    """A drill from its first run to its last."""

    seed: int
    asked: int
    """Runs that were asked for; fewer took place if a house did not become whole."""
    rows: tuple[Row, ...]
    runs: tuple[Run, ...]
    houses: tuple[Ended, ...]
    kept_in: str
    """Folder of what is left of a drill that failed, else empty."""
    wall_s: float

    @property
    def problems(self) -> tuple[str, ...]:
        """All that was not as it must be, with where."""
        said = [f"house {run.house}, {run.fault}: {p}" for run in self.runs for p in run.problems]
        said += [f"house {end.house}: {p}" for end in self.houses for p in end.problems]
        missing = self.asked - len(self.runs)
        return (*said, *([f"{missing} runs did not take place"] if missing else ()))

    @property
    def passed(self) -> bool:
        """Whether nothing was lost or doubled, and every house was whole in time."""
        return not self.problems


def tabulate(runs: Iterable[Run]) -> tuple[Row, ...]:
    """Return a row for each fault, by name, after one for the quiet stretches."""
    by_fault: dict[str, list[Run]] = {}
    for run in runs:
        by_fault.setdefault(run.fault, []).append(run)
    every = [run for same in by_fault.values() for run in same]
    if not every:
        return ()
    quiet = _row(
        QUIET,
        [run.quiet_ack_gap_ms for run in every],
        [run.quiet_release_gap_ms for run in every],
        [],
    )
    rows = [
        _row(
            fault,
            [run.ack_gap_ms for run in same],
            [run.release_gap_ms for run in same],
            same,
        )
        for fault, same in sorted(by_fault.items())
    ]
    return (quiet, *rows)


def _row(fault: str, acks: list[float], releases: list[float], runs: list[Run]) -> Row:
    whole = [run.whole_s for run in runs] or [0.0]
    return Row(
        fault=fault,
        runs=len(acks),
        ack_gap_p50_ms=round(median(acks), 1),
        ack_gap_max_ms=max(acks),
        release_gap_p50_ms=round(median(releases), 1),
        release_gap_max_ms=max(releases),
        whole_p50_s=round(median(whole), 2),
        whole_max_s=max(whole),
        lost=sum(run.lost for run in runs),
        doubled=sum(run.doubled for run in runs),
        uncertified=sum(run.uncertified for run in runs),
    )
