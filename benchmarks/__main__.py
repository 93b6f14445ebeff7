"""`python -m benchmarks [NAME ...] [--json]`: run the benches, print what they measured."""

import argparse
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figure import Figure
from seawall.node.build import build_hash, use_kernel_cache

BENCHES = ("fills", "rows", "apply", "intake", "start")
"""Modules beside this one; each has `run() -> list[Figure]` and asserts equal results first."""


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    packages = {name: version(name) for name in ("numpy", "numba", "scipy")}
    return {
        "python": platform.python_version(),
        "cpu": cpu_name(),
        "build": build_hash(),
    } | packages


def cpu_name() -> str:
    """Return the processor's name where Linux tells it, else its architecture."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def show(figures: list[Figure]) -> None:
    """Print one table of all figures."""
    table = Table(title="  ".join(f"{name} {value}" for name, value in machine().items()))
    for heading in ("bench", "what"):
        table.add_column(heading)
    for heading in ("measured", "aim"):
        table.add_column(heading, justify="right")
    for figure in figures:
        aim = "" if figure.aim is None else f"{figure.aim:g}"
        measured = f"{figure.value:,.2f} {figure.unit}"
        table.add_row(figure.bench, figure.name, measured, aim)
    Console().print(table)


def main() -> None:
    """Run the named benches, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHES)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHES]
    if unknown:
        parser.error(f"no such bench: {', '.join(unknown)}")
    # Before a bench imports numba, which reads the directory of its cache once.
    use_kernel_cache()
    figures: list[Figure] = []
    for name in arguments.names or BENCHES:
        print(f"{name} ...", file=sys.stderr)
        run: Callable[[], list[Figure]] = import_module(f"benchmarks.{name}").run
        figures += run()
    if arguments.json:
        print(json.dumps(machine() | {"figures": [asdict(figure) for figure in figures]}, indent=1))
    else:
        show(figures)


if __name__ == "__main__":
    main()
