"""Entry points: what they refuse, how they end, and what no command line can reach."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seawall.node.charter import Terms, found
from seawall.node.config import write_toml
from seawall.node.runtime import CONFIG_STATUS, LOG_STATUS
from seawall.protocol.commands import AssetTerms, Role

TERMS = Terms("house", {"alice": Role.CLIENT, "clock": Role.CLOCK}, (AssetTerms("USD", 6),))


def run(*arguments: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-m", "seawall.node.runtime", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def values(folder: Path, **changes: str | float | list[str]) -> dict[str, str | float | list[str]]:
    whole: dict[str, str | float | list[str]] = {
        "name": "replica-1",
        "urls": ["nats://127.0.0.1:1"],
        "genesis_file": str(folder / "genesis.bin"),
        "folder": str(folder / "own"),
        "key_file": str(folder / "keys" / "replica-1.seed"),
        "patience_s": 0.2,
    }
    return whole | changes


def test_without_assertions_nothing_runs(tmp_path: Path) -> None:
    ended = run("replica", "--config", "none", flags=("-O",))
    assert ended.returncode == 1
    assert "assertions must hold" in ended.stderr


def test_a_configuration_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    write_toml(tmp_path / "c.toml", {"name": "replica-1"})
    ended = run("replica", "--config", str(tmp_path / "c.toml"))
    assert ended.returncode == CONFIG_STATUS
    assert "key_file: Field required" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_open_key_and_a_foreign_genesis_are_named(tmp_path: Path) -> None:
    found(tmp_path, TERMS)
    key = tmp_path / "keys" / "replica-1.seed"
    key.chmod(0o644)
    write_toml(tmp_path / "c.toml", values(tmp_path))
    ended = run("replica", "--config", str(tmp_path / "c.toml"))
    assert (ended.returncode, "others may read it" in ended.stderr) == (CONFIG_STATUS, True)
    key.chmod(0o600)
    changed = values(tmp_path, genesis_file=str(key))
    write_toml(tmp_path / "c.toml", changed)
    ended = run("replica", "--config", str(tmp_path / "c.toml"))
    assert (ended.returncode, "holds no genesis" in ended.stderr) == (CONFIG_STATUS, True)


def test_a_log_that_does_not_answer_ends_the_process_with_its_status(tmp_path: Path) -> None:
    found(tmp_path, TERMS)
    whole = values(tmp_path)
    del whole["key_file"]
    write_toml(tmp_path / "c.toml", whole)
    ended = run("auditor", "--config", str(tmp_path / "c.toml"))
    assert ended.returncode == LOG_STATUS
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("argument", ["--machine", "--liar", "--module", "--new-machine"])
def test_no_argument_names_another_machine(argument: str) -> None:
    ended = run("replica", "--config", "none", argument, "x")
    assert ended.returncode == 2
    assert "unrecognized arguments" in ended.stderr


def test_no_production_process_loads_the_lab() -> None:
    code = (
        "import sys; import seawall.node.runtime, seawall.node.roles, seawall.node.house;"
        "print([name for name in sys.modules if name.startswith('seawall.lab')])"
    )
    environment = dict(os.environ)
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert ended.stdout.strip() == "[]"
