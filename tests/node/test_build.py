"""The build hash names the sources, and compiled kernels never outlive them."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seawall.node import build

KERNEL = """
import os, sys
from pathlib import Path
from seawall.node.build import kernel_hash, use_kernel_cache
directory = use_kernel_cache()
assert "numba" not in sys.modules
assert directory.name == f"kernels-{kernel_hash()}"
assert os.environ["NUMBA_CACHE_DIR"] == str(directory)
from seawall.clearing.kernels.wide import mul_div_floor
assert mul_div_floor(7, 5, 2) == (17, True)
assert any(directory.rglob("wide.*.nbi"))
print(directory)
"""


def run_kernel(**environment: str) -> Path:
    """Compile and run a kernel in a new process; return the cache directory it used."""
    inherited = {k: v for k, v in os.environ.items() if k != build.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", KERNEL],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip())


def write_tree(root: Path) -> None:
    (root / "room").mkdir(parents=True)
    (root / "a.py").write_text("A = 1\n")
    (root / "room" / "b.py").write_text("B = 2\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "room" / "b.py").write_text("B = 3\n"),
        lambda root: (root / "room" / "c.py").write_text(""),
        lambda root: (root / "a.py").rename(root / "c.py"),
        lambda root: (root / "room" / "b.py").unlink(),
    ],
    ids=["edit", "add", "rename", "remove"],
)
def test_every_change_of_a_source_changes_the_hash(tmp_path: Path, change: object) -> None:
    write_tree(tmp_path / "one")
    write_tree(tmp_path / "two")
    before = build.hash_sources(tmp_path / "one")
    assert build.hash_sources(tmp_path / "two") == before
    assert callable(change)
    change(tmp_path / "two")
    assert build.hash_sources(tmp_path / "two") != before


def test_kernels_are_made_of_nothing_that_is_not_hashed() -> None:
    kernels = build.PACKAGE / "clearing" / "kernels"
    for path in kernels.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            if not node.module.startswith("seawall"):
                continue
            files = [name.removeprefix("seawall.").replace(".", "/") for name in names]
            inside = [
                name
                for name in files
                if any(f"{name}.py".startswith(part) for part in build.KERNEL_SOURCES)
            ]
            assert inside, f"{path.name} imports {node.module}, which the kernel hash leaves out"


def test_what_kernels_are_made_of_is_hashed(tmp_path: Path) -> None:
    write_tree(tmp_path)
    before = build.hash_sources(tmp_path, ("room",))
    (tmp_path / "a.py").write_text("A = 2\n")
    assert build.hash_sources(tmp_path, ("room",)) == before
    (tmp_path / "room" / "b.py").write_text("B = 3\n")
    assert build.hash_sources(tmp_path, ("room",)) != before


def test_versions_of_the_compilers_are_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path / "one")
    before = build.hash_sources(tmp_path / "one")
    monkeypatch.setattr(build, "version", lambda name: f"{name} of tomorrow")
    assert build.hash_sources(tmp_path / "one") != before


def test_kernels_are_kept_under_the_hash_and_inherited(tmp_path: Path) -> None:
    directory = run_kernel(SEAWALL_CACHE_DIR=str(tmp_path))
    assert directory.parent == tmp_path
    # A process started by that one keeps its directory, whatever else it is told.
    again = run_kernel(SEAWALL_CACHE_DIR=str(tmp_path / "other"), NUMBA_CACHE_DIR=str(directory))
    assert again == directory


def test_a_foreign_cache_directory_is_not_used(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    directory = run_kernel(SEAWALL_CACHE_DIR=str(tmp_path), NUMBA_CACHE_DIR=str(foreign))
    assert directory.parent == tmp_path
    assert not foreign.exists()


def test_an_unusable_cache_directory_is_replaced(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    directory = run_kernel(SEAWALL_CACHE_DIR=str(blocked), TMPDIR=str(tmp_path))
    assert directory.parent.parent == tmp_path


def test_a_late_call_is_a_bug(tmp_path: Path) -> None:
    code = "import numba; from seawall.node.build import use_kernel_cache; use_kernel_cache()"
    environment = {k: v for k, v in os.environ.items() if k != build.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"SEAWALL_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "AssertionError" in done.stderr
