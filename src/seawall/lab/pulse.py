"""Pulse: when entries became durable and when their outcomes were released, and the pauses between.

Times are monotonic nanoseconds of one process, so they can be compared with one another.
"""

from bisect import bisect_right
from itertools import pairwise
from pathlib import Path

import msgspec

NS_PER_MS = 1_000_000


class Beat(msgspec.Struct, frozen=True):
    """Entry `seq` was acknowledged, or released, at `at_ns`."""

    at_ns: int
    seq: int


class Window(msgspec.Struct, frozen=True):
    """A stretch of time, both ends included."""

    start_ns: int
    end_ns: int


class Spread(msgspec.Struct, frozen=True):
    """How long pauses are, in milliseconds."""

    p50: float
    p99: float
    max: float


class Pulse:
    """Beats of intake (`acknowledged`) and of release (`released`), each in order of time."""

    def __init__(self) -> None:
        self.acknowledged: list[Beat] = []
        self.released: list[Beat] = []

    def acknowledge(self, at_ns: int, seq: int) -> None:
        """Note that a client was told that the log holds entry `seq`."""
        self.acknowledged.append(Beat(at_ns, seq))

    def release(self, at_ns: int, seq: int) -> None:
        """Note that the outcome of entry `seq` was released."""
        self.released.append(Beat(at_ns, seq))


def write_pulse(path: Path, pulse: Pulse) -> None:
    """Write when each entry was first acknowledged and when released, as CSV, 0 for never."""
    told = {beat.seq: beat.at_ns for beat in reversed(pulse.acknowledged)}
    with path.open("w") as file:
        file.write("seq,acknowledged_ns,released_ns\n")
        file.writelines(
            f"{beat.seq},{told.get(beat.seq, 0)},{beat.at_ns}\n" for beat in pulse.released
        )


def longest_pause_ms(beats: list[Beat], window: Window) -> float:
    """Return the longest time between two beats in a row, some of it inside the window."""
    times = [beat.at_ns for beat in beats]
    first = max(bisect_right(times, window.start_ns) - 1, 0)
    last = bisect_right(times, window.end_ns)
    inside = times[first : last + 1]
    pauses = [after - before for before, after in pairwise(inside)]
    return _ms(max(pauses, default=0))


def most_unreleased(pulse: Pulse, window: Window) -> int:
    """Return how many entries the log held at worst whose outcomes nobody had released."""
    events = [(beat.at_ns, 0, beat.seq) for beat in pulse.acknowledged]
    events += [(beat.at_ns, 1, beat.seq) for beat in pulse.released]
    held_seq = released_seq = worst = 0
    for at_ns, kind, seq in sorted(events):
        if at_ns > window.end_ns:
            break
        if kind == 0:
            held_seq = max(held_seq, seq)
        else:
            released_seq = max(released_seq, seq)
        if at_ns >= window.start_ns:
            worst = max(worst, held_seq - released_seq)
    return worst


def measure_ordinary(beats: list[Beat], whole: Window, disturbed: list[Window]) -> Spread:
    """Return the spread of the pauses inside `whole` that touch no disturbed window."""
    times = [beat.at_ns for beat in beats if whole.start_ns <= beat.at_ns <= whole.end_ns]
    pauses = sorted(
        after - before
        for before, after in pairwise(times)
        if not any(before < w.end_ns and after > w.start_ns for w in disturbed)
    )
    if not pauses:
        return Spread(0.0, 0.0, 0.0)
    return Spread(_ms(_rank(pauses, 50)), _ms(_rank(pauses, 99)), _ms(pauses[-1]))


def _rank(ordered: list[int], percent: int) -> int:
    """Return the smallest value that at least `percent` of all do not exceed."""
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]


def _ms(duration_ns: int) -> float:
    return round(duration_ns / NS_PER_MS, 3)
