"""The drill: real faults in real houses, one after the other, and what each of them cost.

A house goes through a few dozen faults and is then replaced, so that what reads the log from its
first entry (a wiped replica, a new auditor) does not read for minutes.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from seawall.lab.drill_plan import Fault, draw_faults
from seawall.lab.drill_report import Drilled, Ended, Run, tabulate
from seawall.node.build import use_kernel_cache

if TYPE_CHECKING:
    from seawall.lab.drill_house import Rehearsal

RUNS = 16
RUNS_A_HOUSE = 32
COMPLAINTS_FILE = "complaints.txt"


def drill(
    faults: tuple[Fault, ...], seed: int, say: Callable[[str], None], *, folder: Path | None = None
) -> Drilled:
    """Go through the faults in order and return what they showed.

    Parameters
    ----------
    seed : decides on victims and durations; keys are drawn anew each time
    folder : where houses are put up; None for a temporary one, which is kept if anything is wrong

    Raises
    ------
    ClusterFault, CrewFault
        A house did not start.
    FlowFault
        A house refused what it must take.
    """
    use_kernel_cache()
    # Only now: numba must find its cache in place.
    from seawall.lab.drill_house import Rehearsal

    began_s = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="seawall-drill-")) if folder is None else folder
    runs: list[Run] = []
    houses: list[Ended] = []
    for number, start in enumerate(range(0, len(faults), RUNS_A_HOUSE), 1):
        home = root / f"house-{number}"
        rehearsal = Rehearsal(number, home, seed, say)
        asyncio.run(_perform(rehearsal, faults[start : start + RUNS_A_HOUSE], home))
        runs += rehearsal.runs
        if rehearsal.ended is not None:
            houses.append(rehearsal.ended)
    drilled = Drilled(
        seed=seed,
        asked=len(faults),
        rows=tabulate(runs),
        runs=tuple(runs),
        houses=tuple(houses),
        kept_in="",
        wall_s=round(time.monotonic() - began_s, 1),
    )
    if folder is None and drilled.passed:
        shutil.rmtree(root)
        return drilled
    return msgspec.structs.replace(drilled, kept_in=str(root))


async def _perform(rehearsal: "Rehearsal", faults: tuple[Fault, ...], home: Path) -> None:
    complaints: list[str] = []
    # What connections to killed nodes leave behind belongs in a file, not between the figures.
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.append(str(context))
    )
    try:
        await rehearsal.perform(faults)
    finally:
        (home / COMPLAINTS_FILE).write_text("\n".join(complaints))


def drill_runs(runs: int, seed: int, say: Callable[[str], None]) -> Drilled:
    """Go through so many faults, every kind once before any comes again; see `drill`."""
    return drill(draw_faults(runs, seed), seed, say)
