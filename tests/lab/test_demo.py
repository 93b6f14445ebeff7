"""The demo itself: real broker nodes, real replica processes, real kills; some forty seconds."""

import json
from pathlib import Path

import pytest

from seawall.lab.demo import Options, run
from seawall.lab.summary import Report
from tests.lab.plays import TRADERS, chronicle_of, played

WALL_CLOCK = "killing a replica makes no gap"
"""How long a gap is depends on what else the computer does; the demo judges it, a test does not."""


@pytest.fixture(name="shown", scope="module")
def play_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    folder = tmp_path_factory.mktemp("demo") / "run"
    return run(Options(quick=True, out=folder, as_json=True)), folder


def test_every_promise_is_kept(shown: tuple[Report, Path]) -> None:
    report, _ = shown
    broken = [promise for promise in report.promises if not promise.kept]
    assert [promise for promise in broken if not promise.says.startswith(WALL_CLOCK)] == []


def test_three_replicas_compute_what_one_machine_computes(shown: tuple[Report, Path]) -> None:
    summary = shown[0].summary
    alone = chronicle_of(played(1))
    assert summary.accounts == TRADERS
    assert (summary.margin_calls, summary.liquidations, summary.shortfall) == (
        alone.margin_calls,
        alone.liquidations,
        alone.shortfall_minor,
    )
    assert tuple(summary.insurance_fund.after.values()) == alone.fund


def test_the_folder_holds_the_summary_and_the_archive(shown: tuple[Report, Path]) -> None:
    report, folder = shown
    told = json.loads((folder / "summary.json").read_bytes())
    assert told["entries"] == report.summary.entries
    assert json.loads((folder / "promises.json").read_bytes())
    assert list((folder / "archive").glob("segment-*.log"))
    # No key, no store and no process outlives the run.
    assert not list(folder.rglob("*.seed"))
    assert not (folder / "house" / "log").exists()


def test_a_folder_with_another_run_is_refused(shown: tuple[Report, Path]) -> None:
    with pytest.raises(FileExistsError):
        run(Options(quick=True, out=shown[1], as_json=True))
