"""The simulated world: equal seeds are equal, a sweep is clean, old failures stay mended."""

from pathlib import Path

import pytest

from seawall.lab.sim import Failure, Summary, read_seeds, rerun_line, sweep
from seawall.lab.weather import KINDS
from seawall.lab.world import Result, run

SEEDS_FILE = Path(__file__).with_name("seeds.txt")
SWEPT = 24


@pytest.fixture(scope="module")
def swept() -> tuple[Summary, list[Result]]:
    results: list[Result] = []
    return sweep(SWEPT, tell=results.append), results


def told(failures: tuple[Failure, ...]) -> str:
    return "\n".join(f"{rerun_line(each.seed)}: {each.reason}" for each in failures)


def test_a_sweep_is_clean(swept: tuple[Summary, list[Result]]) -> None:
    summary, results = swept
    assert summary.failures == (), told(summary.failures)
    assert summary.seeds == SWEPT == len(results)
    assert summary.entries == sum(result.entries for result in results) >= 190 * SWEPT
    assert summary.passed


@pytest.mark.parametrize("seed", read_seeds(SEEDS_FILE.read_text()))
def test_a_seed_that_failed_once_stays_mended(seed: int) -> None:
    result = run(seed)
    assert result.verdict == "valid", f"{rerun_line(seed)}: {result.reason}"


@pytest.mark.parametrize("seed", [3, 8])
def test_equal_seeds_are_equal_to_the_last_digest(seed: int) -> None:
    assert run(seed) == run(seed)


def test_different_seeds_are_different(swept: tuple[Summary, list[Result]]) -> None:
    _, results = swept
    assert len({result.trace_digest for result in results}) == SWEPT


def test_a_sweep_reaches_the_states_it_is_for(swept: tuple[Summary, list[Result]]) -> None:
    states = swept[0].states
    for state in (
        *("account.WARNED", "account.CALLED", "account.LIQUIDATING", "account.HEALTHY"),
        *("case.RESTORED", "case.TAKEN_OVER", "case.DEFAULTED"),
        *("loss.fund", "loss.deleveraged", "loss.socialised"),
        *("halt.velocity", "event.FundingPaid", "event.InstrumentSettled", "event.RiskLapsed"),
        *("event.EffectReported", "event.EffectExpired", "event.Repeated", "venue.done"),
        *("replica.outvoted", "replica.restoring", "replica.catching_up", "replica.voting"),
        *("named.Dissent", "named.Equivocation", "notice.SnapshotSealed", "read.answered"),
    ):
        assert states.get(state, 0) > 0, state


def test_most_seeds_see_a_loss_beyond_the_margin(swept: tuple[Summary, list[Result]]) -> None:
    _, results = swept
    hurt = [result for result in results if result.states.get("event.ShortfallFound")]
    assert len(hurt) > SWEPT // 2


def test_a_kind_of_fault_that_never_struck_fails_a_long_sweep() -> None:
    clean = Summary(
        seeds=40,
        entries=1,
        failed=0,
        failures=(),
        seconds=0.0,
        faults={},
        states={},
        never_struck=("pause",),
    )
    assert "pause" in KINDS
    assert not clean.passed


def test_a_list_of_seeds_says_why_each_is_there() -> None:
    assert read_seeds("# nothing\n12 # a vote too early\n\n7\n") == [12, 7]
