"""The import contracts hold a small house of their own, and each breaks when it should."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = [
    contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
]
FLOORS = "Five floors, nine rooms"
PLAIN = "The words and the second pair of eyes are plain Python"
APART = "The auditor shares no code with what it audits"

# The rooms and doors that the contracts name, each with what it may import.
HOUSE = {
    "__main__": "import seawall.surfaces.cli",
    "protocol.codes": "import enum",
    "protocol.signatures": "import cryptography",
    "clearing.ledger": "import numpy, numba\nimport seawall.protocol.codes",
    "replica.tally": "import seawall.protocol.signatures",
    "replica.logs.jetstream": "import nats, asyncio, time",
    "oversight.auditor": "import fractions\nimport seawall.protocol.codes",
    "node.cluster": "import nats\nimport seawall.replica.logs.jetstream",
    "node.wiring": "import seawall.clearing.ledger, seawall.replica.tally",
    "lab.liar": "import polars\nimport seawall.node.wiring",
    "surfaces.cli": "import seawall.lab",
}

# Who imports what, and the contracts that must break. An import of a room breaks more than one
# when it opens a way round: the auditor, too, stands on protocol.
PLANTED = [
    ("protocol.codes", "seawall.clearing.ledger", {FLOORS, PLAIN, APART}),
    ("clearing.ledger", "seawall.replica.tally", {FLOORS}),
    ("node.wiring", "seawall.lab", {FLOORS}),
    ("lab.liar", "seawall.surfaces.cli", {FLOORS}),
    ("cellar.wine", "enum", {FLOORS}),
    ("clearing.ledger", "time", {"Pure rooms have no doors"}),
    ("oversight.auditor", "sqlite3", {"Pure rooms have no doors"}),
    ("protocol.codes", "random", {"Pure rooms have no doors"}),
    ("clearing.ledger", "decimal", {"No float libraries in the integer rooms"}),
    ("protocol.codes", "numpy", {PLAIN}),
    ("oversight.auditor", "numba", {PLAIN}),
    ("node.wiring", "polars", {"Data frames stay above the node"}),
    ("node.wiring", "nats", {"Two doors to the broker"}),
    ("replica.tally", "nats", {"Two doors to the broker"}),
    ("replica.tally", "cryptography", {"One door to cryptography"}),
    ("surfaces.cli", "seawall.lab.liar", {"Nobody imports the liar"}),
    ("__main__", "seawall.lab.liar", {"Nobody imports the liar"}),
    (
        "oversight.auditor",
        "seawall.clearing.ledger",
        {FLOORS, PLAIN, APART},
    ),
    (
        "clearing.ledger",
        "seawall.oversight.auditor",
        {FLOORS, APART},
    ),
]


def build(root: Path, house: dict[str, str]) -> None:
    """Write a package `seawall` with one file per name."""
    for name, source in house.items():
        path = root / "seawall" / Path(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source + "\n")
    for folder in sorted({path.parent for path in root.rglob("*.py")}):
        (folder / "__init__.py").touch()


def broken_contracts(root: Path) -> set[str]:
    """Run the project's own contracts over the package below `root`; return those that break."""
    run = subprocess.run(
        [
            *(
                sys.executable,
                "-c",
                "from importlinter.cli import lint_imports_command as lint; lint()",
            ),
            *("--config", str(ROOT / "pyproject.toml"), "--no-cache"),
        ],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = {
        name: line.removeprefix(name).split()[0]
        for line in run.stdout.splitlines()
        for name in CONTRACTS
        if line.startswith(f"{name} ")
    }
    assert set(verdicts) == set(CONTRACTS), run.stdout + run.stderr
    assert set(verdicts.values()) <= {"KEPT", "BROKEN"}
    broken = {name for name, verdict in verdicts.items() if verdict == "BROKEN"}
    assert (run.returncode != 0) == bool(broken)
    return broken


def test_the_house_as_it_should_be_breaks_no_contract(tmp_path: Path) -> None:
    build(tmp_path, HOUSE)
    assert broken_contracts(tmp_path) == set()


@pytest.mark.parametrize(("importer", "imported", "broken"), PLANTED)
def test_a_planted_import_breaks_its_contracts_alone(
    tmp_path: Path, importer: str, imported: str, broken: set[str]
) -> None:
    build(tmp_path, HOUSE | {importer: f"{HOUSE.get(importer, '')}\nimport {imported}"})
    assert broken_contracts(tmp_path) == broken


def test_every_contract_has_a_planted_import() -> None:
    assert set().union(*(broken for _, _, broken in PLANTED)) == set(CONTRACTS)
