"""Gaps are measured where they are, and only there."""

from seawall.lab.pulse import (
    Beat,
    Pulse,
    Spread,
    Window,
    longest_pause_ms,
    measure_ordinary,
    most_unreleased,
)

MS = 1_000_000
BEATS = [Beat(at * MS, seq) for seq, at in enumerate((0, 10, 20, 520, 530, 540), 1)]


def test_the_longest_pause_counts_when_it_touches_the_window() -> None:
    assert longest_pause_ms(BEATS, Window(0, 540 * MS)) == 500.0
    assert longest_pause_ms(BEATS, Window(300 * MS, 301 * MS)) == 500.0
    assert longest_pause_ms(BEATS, Window(0, 15 * MS)) == 10.0
    assert longest_pause_ms(BEATS, Window(525 * MS, 540 * MS)) == 10.0
    assert longest_pause_ms([], Window(0, 1)) == 0.0


def test_ordinary_leaves_out_what_was_disturbed() -> None:
    whole = Window(0, 540 * MS)
    assert measure_ordinary(BEATS, whole, []) == Spread(10.0, 500.0, 500.0)
    assert measure_ordinary(BEATS, whole, [Window(30 * MS, 40 * MS)]) == Spread(10.0, 10.0, 10.0)
    assert measure_ordinary(BEATS, Window(0, 5 * MS), []) == Spread(0.0, 0.0, 0.0)


def test_percentiles_are_ranks() -> None:
    times = [0]
    for pause in range(1, 101):
        times.append(times[-1] + pause * MS)
    beats = [Beat(at, seq) for seq, at in enumerate(times, 1)]
    assert measure_ordinary(beats, Window(0, times[-1]), []) == Spread(50.0, 99.0, 100.0)


def test_entries_waiting_are_the_held_less_the_released() -> None:
    pulse = Pulse()
    for at, seq in ((1, 1), (2, 2), (3, 3), (9, 4)):
        pulse.acknowledge(at, seq)
    for at, seq in ((1, 1), (4, 2), (5, 3), (10, 4)):
        pulse.release(at, seq)
    assert most_unreleased(pulse, Window(0, 20)) == 2
    assert most_unreleased(pulse, Window(5, 20)) == 1
    assert most_unreleased(pulse, Window(11, 20)) == 0
