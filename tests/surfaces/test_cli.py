"""The command: what it prints, what it answers to nonsense, and what it finds wrong in a log."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from seawall.protocol.codec import decode_outcome
from seawall.protocol.events import LiquidationStarted
from seawall.surfaces.cli import app
from tests.lab.solo import Solo
from tests.surfaces import recorded

HELD, BROKEN, UNSERVED = 0, 1, 2


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def answer(*words: object) -> dict[str, object]:
    result = run(*words, "--json")
    assert result.exit_code in (HELD, BROKEN), result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def solo() -> Solo:
    return recorded.play()


@pytest.fixture(scope="module")
def sqlite(solo: Solo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.sqlite"
    recorded.write_sqlite(solo, path)
    return path


@pytest.fixture(scope="module")
def archive(solo: Solo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    recorded.write_archive(solo, folder)
    return folder


def liquidated(solo: Solo) -> tuple[int, int]:
    """Return an account that was liquidated, and at which entry."""
    for seq, (_, outcome) in enumerate(solo.entries, 1):
        for event in decode_outcome(outcome).events:
            if isinstance(event, LiquidationStarted):
                return event.account_id, seq
    pytest.fail("nobody was liquidated")


def test_help_names_every_command_and_loads_no_kernels() -> None:
    code = "import sys; from seawall.surfaces.cli import app; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    shown = run("--help").output
    for name in ("demo", "sim", "replay", "explain", "verify", "postmortem", "cluster"):
        assert name in shown
        assert run(name, "--help").exit_code == HELD


def test_replay_reaches_the_live_digest_from_either_form(
    solo: Solo, sqlite: Path, archive: Path
) -> None:
    for log in (sqlite, archive):
        found = answer("replay", log)
        assert found["state_digest"] == solo.machine.digest().hex()
        assert found["seq"] == len(solo.entries)
        assert found["mismatches"] == 0


def test_replay_is_the_same_in_another_process(sqlite: Path) -> None:
    words = [sys.executable, "-m", "seawall", "replay", str(sqlite), "--until", "50", "--json"]
    other = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert json.loads(other) == answer("replay", sqlite, "--until", 50)


def test_explain_says_why_an_account_was_liquidated(solo: Solo, archive: Path) -> None:
    account, seq = liquidated(solo)
    before = answer("explain", account, archive, "--at", seq - 1)
    history = answer("explain", account, archive, "--at", seq)["history"]
    terms = before["terms"]
    assert isinstance(terms, dict)
    counted = sum(asset["value_minor"] for asset in terms["assets"])
    assert counted == terms["equity_minor"]
    required = sum(p["required_minor"] for p in terms["positions"] if not p["unit_id"])
    required += sum(unit["maintenance_minor"] for unit in terms["units"])
    assert required == terms["maintenance_minor"]
    assert isinstance(history, list)
    assert any("liquidation began" in happening["what"] for happening in history)
    shown = run("explain", account, archive, "--at", seq)
    assert shown.exit_code == HELD
    assert "liquidation began" in shown.output


def test_verify_passes_an_honest_archive(solo: Solo, archive: Path) -> None:
    found = answer("verify", archive)
    assert found["problems"] == []
    assert found["certified_seq"] == found["entries"] == len(solo.entries)
    compared = found["compared"]
    assert isinstance(compared, int)
    assert compared > len(solo.entries)
    assert run("verify", archive).exit_code == HELD


def kinds(log: Path) -> set[str]:
    """Return the kinds of problem that verify names, having failed."""
    result = run("verify", log, "--json")
    assert result.exit_code == BROKEN, result.output
    return {problem["kind"] for problem in json.loads(result.stdout)["problems"]}


def test_verify_names_an_outcome_that_was_altered(solo: Solo, tmp_path: Path) -> None:
    recorded.write_archive(solo, tmp_path, altered_seq=120)
    assert kinds(tmp_path) >= {"outcome", "certificate"}


def test_verify_names_a_certificate_without_majority(solo: Solo, tmp_path: Path) -> None:
    recorded.write_archive(solo, tmp_path, voters=1)
    assert kinds(tmp_path) == {"certificate", "uncertified"}


def test_verify_names_missing_certificates(solo: Solo, tmp_path: Path) -> None:
    recorded.write_archive(solo, tmp_path, certify=False)
    assert kinds(tmp_path) == {"uncertified"}


def test_a_flipped_byte_in_an_archive_is_found(solo: Solo, tmp_path: Path) -> None:
    recorded.write_archive(solo, tmp_path)
    segment = sorted(tmp_path.iterdir())[0]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(bytes(data))
    result = run("verify", tmp_path)
    assert result.exit_code == UNSERVED
    assert "damaged" in result.output


def test_postmortem_tells_feed_from_logic_and_writes_a_page(archive: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = run("postmortem", archive, "--html", page)
    assert result.exit_code == HELD, result.output
    assert "feed or logic? the feed" in result.output
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text
    assert "XBT-USD-LINEAR" in text
    for outside in ("http://", "https://", "src="):
        assert outside not in text


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("replay", "nowhere"), "not_found"),
        (("verify", "nowhere"), "not_found"),
        (("postmortem", "nowhere"), "not_found"),
        (("demo", "--scenario", "june-1720"), "scenario_unknown"),
        (("cluster", "status", "nowhere"), "no_house"),
    ],
)
def test_what_is_not_there_is_named(words: tuple[str, ...], code: str) -> None:
    result = run(*words)
    assert result.exit_code == UNSERVED
    assert code in result.output


def test_what_is_no_log_is_named(tmp_path: Path, sqlite: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("not a log")
    assert "not_a_log" in run("replay", note).output
    (tmp_path / "empty").mkdir()
    assert "empty" in run("replay", tmp_path / "empty").output
    assert "out_of_range" in run("replay", sqlite, "--until", 10**6).output
    assert "account_unknown" in run("explain", 12345, sqlite, "--at", 20).output
