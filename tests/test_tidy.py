"""Each house rule catches what it is for, lets its neighbours pass, and finds this tree clean."""

import tomllib
from pathlib import Path, PurePosixPath

import pytest

from tests.tidy import INTEGER, PURE, RULES, check_source, check_text, check_tree

ROOT = Path(__file__).resolve().parent.parent
CLEARING, RISK, REPLICA, TEST = (
    "src/seawall/clearing/ledger.py",
    "src/seawall/risk/tails.py",
    "src/seawall/replica/tally.py",
    "tests/clearing/test_ledger.py",
)
MARKER = "TO" + "DO"
REGISTRY = "https://" + "py" + "pi.org/simple"


def function_of(lines: int, *, decorator: str = "", name: str = "post", docstring: int = 0) -> str:
    """Return a function of so many lines, decorator and docstring not counted."""
    text = ['    """' + "\n" * (docstring - 1) + '"""'] if docstring else []
    return "\n".join([decorator, f"def {name}():", *text, *["    pass"] * (lines - 1)]) + "\n"


# One entry: the rule, where the file stands, and what is planted there.
PLANTED = [
    ("file_name", "src/seawall/clearing/utils.py", ""),
    ("file_name", "src/seawall/clearing/margin_helpers.py", ""),
    ("file_name", "src/seawall/core/ledger.py", ""),
    ("file_name", "tests/common/ledger.py", ""),
    ("file_size", CLEARING, "x = 1\n" * 601),
    ("function_size", CLEARING, function_of(61)),
    ("function_size", REPLICA, "async " + function_of(61).lstrip()),
    ("function_size", CLEARING, "class Ledger:\n    " + function_of(61).replace("\n", "\n    ")),
    ("function_size", CLEARING, function_of(151, decorator="@kernel")),
    ("function_size", RISK, function_of(61, decorator="@njit(cache=True)")),
    ("function_size", "src/seawall/clearing/machine.py", function_of(151, name="apply")),
    ("function_size", "src/seawall/clearing/ledger.py", function_of(61, name="apply")),
    ("unfinished", REPLICA, f"x = 1  # {MARKER}: later\n"),
    ("unfinished", TEST, f"# {MARKER}(me) later\n"),
    ("unfinished", REPLICA, "def f():\n    raise NotImplementedError\n"),
    ("unfinished", REPLICA, "def f():\n    raise NotImplementedError('later')\n"),
    ("broad_except", REPLICA, "try:\n    f()\nexcept:\n    pass\n"),
    ("broad_except", REPLICA, "try:\n    f()\nexcept Exception:\n    raise\n"),
    ("broad_except", REPLICA, "try:\n    f()\nexcept (OSError, BaseException):\n    pass\n"),
    ("broad_except", REPLICA, "try:\n    f()\nexcept AssertionError:\n    pass\n"),
    ("broad_except", REPLICA, "try:\n    f()\nexcept* Exception:\n    pass\n"),
    ("broad_except", REPLICA, "with contextlib.suppress(Exception):\n    f()\n"),
    ("compound_assert", REPLICA, "assert qty_lots and price_ticks > 0\n"),
    ("skipped_test", TEST, "@pytest.mark.skip\ndef test_x(): ...\n"),
    ("skipped_test", TEST, "@pytest.mark.skipif(True, reason='')\ndef test_x(): ...\n"),
    ("skipped_test", TEST, "@pytest.mark.xfail\ndef test_x(): ...\n"),
    ("skipped_test", TEST, "pytest.skip('no broker')\n"),
    ("skipped_test", TEST, "np = pytest.importorskip('numpy')\n"),
    ("skipped_test", TEST, "time.sleep(1)\n"),
    ("skipped_test", TEST, "from unittest.mock import Mock\n"),
    ("skipped_test", TEST, "from unittest import mock\n"),
    ("skipped_test", TEST, "import unittest.mock\n"),
    ("door", CLEARING, "import time\n"),
    ("door", CLEARING, "from os import path\n"),
    ("door", CLEARING, "import logging.handlers\n"),
    ("door", RISK, "def f():\n    import random\n"),
    ("door", RISK, "import importlib\n"),
    ("door", "src/seawall/oversight/auditor.py", "import sqlite3\n"),
    ("door", "src/seawall/protocol/codec.py", "import uuid\n"),
    ("door", CLEARING, "async def apply(): ...\n"),
    ("door", CLEARING, "def f():\n    global total\n    total = 1\n"),
    *(
        ("door", CLEARING, f"x = {call}(1)\n")
        for call in ("print", "open", "input", "eval", "exec", "hash", "id", "__import__")
    ),
    ("unseeded_draw", RISK, "rng = np.random.default_rng()\n"),
    ("unseeded_draw", RISK, "rng = default_rng()\n"),
    ("unseeded_draw", RISK, "x = np.random.normal(size=3)\n"),
    ("unseeded_draw", RISK, "np.random.seed(3)\n"),
    ("set_order", CLEARING, "for x in {1, 2}: f(x)\n"),
    ("set_order", CLEARING, "for x in set(rows): f(x)\n"),
    ("set_order", CLEARING, "x = [f(y) for y in frozenset(rows)]\n"),
    ("set_order", CLEARING, "x = {y: 1 for y in {z for z in rows}}\n"),
    ("set_order", CLEARING, "x = list({1, 2})\n"),
    ("set_order", CLEARING, "x = [*{1, 2}]\n"),
    ("set_order", CLEARING, "x = next(iter({1, 2}))\n"),
    ("set_order", CLEARING, "x = min((f(y) for y in {1, 2}), key=g)\n"),
    ("set_order", CLEARING, "def f():\n    s = {1, 2}\n    for x in s: g(x)\n"),
    ("set_order", CLEARING, "def f(s: set[int]):\n    for x in s: g(x)\n"),
    ("set_order", CLEARING, "def f():\n    s: frozenset[int] = g()\n    return tuple(s)\n"),
    ("set_order", CLEARING, "def f(s: set[int]):\n    for x in s - {1}: g(x)\n"),
    ("set_order", CLEARING, "def f(s: set[int]):\n    for x in s.union(t): g(x)\n"),
    ("set_order", CLEARING, "for x in a.keys() & b.keys(): g(x)\n"),
    ("set_order", CLEARING, "class A:\n    s: set[int]\ndef f(a):\n    for x in a.s: g(x)\n"),
    (
        "set_order",
        CLEARING,
        "class A:\n    def f(self):\n        self.s = set()\n        list(self.s)\n",
    ),
    ("floating", CLEARING, "rate = 0.01\n"),
    ("floating", CLEARING, "x = 1j\n"),
    ("floating", CLEARING, "x = float(1)\n"),
    ("floating", CLEARING, "def f(x: float) -> None: ...\n"),
    ("floating", CLEARING, "x = round(y)\n"),
    ("floating", CLEARING, "x = 10 ** -3\n"),
    ("floating", CLEARING, "x = np.mean(y)\n"),
    ("floating", CLEARING, "x = y.astype(np.float64)\n"),
    ("floating", "src/seawall/protocol/units.py", "x = 1e9\n"),
    ("true_division", CLEARING, "x = a / b\n"),
    ("true_division", CLEARING, "x /= 2\n"),
    ("outside", CLEARING, "PATH = '/wo" + "rk/main'\n"),
    ("outside", TEST, "# see ../sha" + "red/design\n"),
    ("outside", TEST, f"index = '{REGISTRY}'\n"),
]

# What stands next to a rule and must pass it.
ALLOWED = [
    ("src/seawall/replica/database_commons.py", ""),
    (CLEARING, "x = 1\n" * 600),
    (CLEARING, function_of(60)),
    (CLEARING, function_of(60, docstring=30)),
    (CLEARING, function_of(150, decorator="@kernel")),
    (CLEARING, function_of(150, decorator="@njit(cache=True)")),
    ("src/seawall/clearing/machine.py", function_of(150, name="apply")),
    (REPLICA, "try:\n    f()\nexcept OSError:\n    pass\n"),
    (REPLICA, "with contextlib.suppress(OSError):\n    f()\n"),
    (REPLICA, "import asyncio, time\nrate = 0.5 / 2\nfor x in {1, 2}: print(x)\n"),
    (TEST, "assert a and b\n"),
    (TEST, "import random\nfor x in {1, 2}: print(x / 2)\n"),
    (CLEARING, "assert a or b\n"),
    (CLEARING, "x = a // b\ny = 2 ** 62\nz = 1_000_000_000\n"),
    (CLEARING, "import numpy as np\nx = np.zeros(3, np.int64)\n"),
    (CLEARING, "for x in sorted({1, 2}): f(x)\n"),
    (CLEARING, "x = sorted(f(y) for y in {1, 2})\n"),
    (CLEARING, "x = max(f(y) for y in {1, 2})\n"),
    (CLEARING, "x = {f(y) for y in {1, 2}}\ny = 3 in {1, 2}\n"),
    (CLEARING, "def f():\n    s = {1}\n    s = sorted(s)\n    for x in s: g(x)\n"),
    (CLEARING, "def f():\n    s = {1}\ndef g(s):\n    for x in s: h(x)\n"),
    (CLEARING, "for x in rows.keys(): f(x)\n"),
    (CLEARING, "x = state.log + state.median\n"),
    (RISK, "rng = np.random.default_rng(seed)\nx = rng.normal(size=3) * 0.5 / 2\n"),
    (RISK, "rng = np.random.Generator(np.random.Philox(seed))\n"),
    (TEST, "# works on /var/lib/seawall, or on https://example.com/work/x\n"),
]


@pytest.mark.parametrize(("rule", "path", "source"), PLANTED)
def test_a_planted_violation_is_found_by_its_rule_alone(rule: str, path: str, source: str) -> None:
    findings = check_source(PurePosixPath(path), source)
    assert {finding.rule for finding in findings} == {rule}


@pytest.mark.parametrize(("path", "source"), ALLOWED)
def test_a_neighbour_of_a_rule_passes(path: str, source: str) -> None:
    assert check_source(PurePosixPath(path), source) == []


def test_every_rule_has_a_planted_violation() -> None:
    assert {rule for rule, _, _ in PLANTED} == RULES


def test_a_finding_names_its_place_and_its_remedy() -> None:
    (finding,) = check_source(PurePosixPath(CLEARING), "a = 1\nb = a / 2\n")
    assert str(finding).startswith(f"{CLEARING}:2: true_division: ")


def test_text_files_are_read_too() -> None:
    (finding,) = check_text(PurePosixPath("README.md"), f"one\ninstall from {REGISTRY}\n")
    assert (finding.line, finding.rule) == (2, "outside")


def test_a_violation_in_any_folder_of_a_tree_is_found(tmp_path: Path) -> None:
    for folder in ("src/seawall/clearing", "tests/clearing", "benchmarks", "docs/rules", ".ci"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "notes.md").write_text(f"{REGISTRY}\n")
    (tmp_path / "src/seawall/clearing/ledger.py").write_text("x = 0.5\n")
    (tmp_path / "Makefile").write_text(f"# {REGISTRY}\n")
    (tmp_path / "src/seawall/clearing/__pycache__").mkdir()
    (tmp_path / "src/seawall/clearing/__pycache__/notes.md").write_text(f"{REGISTRY}\n")
    assert [(finding.path, finding.rule) for finding in check_tree(tmp_path)] == [
        (".ci/notes.md", "outside"),
        ("Makefile", "outside"),
        ("benchmarks/notes.md", "outside"),
        ("docs/rules/notes.md", "outside"),
        ("src/seawall/clearing/ledger.py", "floating"),
        ("src/seawall/clearing/notes.md", "outside"),
        ("tests/clearing/notes.md", "outside"),
    ]


def test_this_tree_is_clean() -> None:
    assert [str(finding) for finding in check_tree(ROOT)] == []


def test_every_pure_room_that_exists_is_under_the_import_contracts() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = {
        contract["name"]: contract for contract in settings["tool"]["importlinter"]["contracts"]
    }
    rooms = {path.parent.name for path in (ROOT / "src/seawall").glob("*/__init__.py")}
    assert {"protocol", "clearing"} <= rooms

    def watched(name: str) -> set[str]:
        return {module.removeprefix("seawall.") for module in contracts[name]["source_modules"]}

    assert watched("Pure rooms have no doors") >= PURE & rooms
    assert watched("No float libraries in the integer rooms") == INTEGER
