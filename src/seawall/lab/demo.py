"""The main job: a real crash, replayed through a real cluster, with real faults on the way."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console

from seawall.lab.summary import Report, render
from seawall.node.build import use_kernel_cache

ACCOUNTS, ACCOUNTS_QUICK = 2000, 200
WIDTH = 140
SUMMARY_FILE, PROMISES_FILE = "summary.json", "promises.json"


class Options(msgspec.Struct, frozen=True):
    """What a run of the demo is told.

    Attributes
    ----------
    accounts : traders; None for 2,000, or 200 when `quick`
    quick : only the stretch around the low
    out : folder of the run, made if it is not there; None for one under `var/`
    as_json : show nothing on the way and print the summary as JSON
    """

    scenario: str = "march-2020"
    seed: int = 1
    accounts: int | None = None
    quick: bool = False
    out: Path | None = None
    as_json: bool = False

    @property
    def traders(self) -> int:
        """How many traders there are."""
        if self.accounts is not None:
            return self.accounts
        return ACCOUNTS_QUICK if self.quick else ACCOUNTS


def run(options: Options) -> Report:
    """Play the scenario and return what it showed; `summary.json` is in the run's folder.

    Raises
    ------
    KeyError
        There is no such scenario.
    FileExistsError
        The folder holds another run.
    ClusterFault, CrewFault
        The house did not start.
    """
    use_kernel_cache()
    # Only now: numba must find its cache in place.
    from seawall.lab.bars import SCENARIOS, read_bars
    from seawall.lab.board import Board
    from seawall.lab.verdict import perform

    began_s = time.monotonic()
    scenario = SCENARIOS[options.scenario]
    folder = _make_folder(options)
    bars = read_bars(scenario, quick=options.quick)
    with Board(silent=options.as_json) as board:
        report = asyncio.run(perform(options, bars, folder, board, began_s))
    (folder / SUMMARY_FILE).write_bytes(_pretty(report.summary))
    (folder / PROMISES_FILE).write_bytes(_pretty(report.promises))
    return report


def main(options: Options) -> int:
    """Run, print the result to standard output, return the exit status: 0 if all promises held."""
    report = run(options)
    if options.as_json:
        sys.stdout.write(_pretty(report.summary).decode())
    else:
        # Into a file or a pipe, lines are as long as they need to be.
        width = None if sys.stdout.isatty() else WIDTH
        Console(width=width).print(render(report))
    return 0 if report.kept else 1


def _make_folder(options: Options) -> Path:
    if options.out is not None:
        folder = options.out
    else:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        quick = "-quick" if options.quick else ""
        folder = Path("var") / f"demo-{options.scenario}{quick}-{stamp}"
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: a run begins in a folder of its own")
    return folder


def _pretty(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
