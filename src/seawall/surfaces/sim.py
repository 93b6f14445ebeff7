"""`seawall sim`: progress while it runs, then what was seen, and how to run a failure again."""

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from seawall.lab.mutants import MUTANTS
from seawall.lab.sim import HUNT_SEEDS, SEEDS, Hunts, Summary, hunt_all, rerun_line, sweep

out, err = Console(), Console(stderr=True)


def sweep_seeds(seeds: int | None, first_seed: int, *, as_json: bool) -> int:
    """Run a sweep and return the exit status."""
    count = SEEDS if seeds is None else seeds
    with Progress(console=err, transient=True) as bar:
        task = bar.add_task("seeds", total=count)
        summary = sweep(count, first_seed, tell=lambda _: bar.advance(task))
    if as_json:
        _print_json(summary)
    else:
        _show_summary(summary)
    return 0 if summary.passed else 1


def hunt_mutants(seeds: int | None, first_seed: int, *, as_json: bool) -> int:
    """Hunt every mutant and return the exit status: one that is not found fails."""
    count = HUNT_SEEDS if seeds is None else seeds
    with Progress(console=err, transient=True) as bar:
        task = bar.add_task("mutants", total=len(MUTANTS))
        hunts = hunt_all(count, first_seed, tell=lambda _: bar.advance(task))
    if as_json:
        _print_json(hunts)
    else:
        _show_hunts(hunts)
    return 0 if hunts.passed else 1


def _print_json(value: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _show_summary(summary: Summary) -> None:
    rate = round(summary.entries / max(summary.seconds, 0.001))
    table = Table("fault", "times", "state", "times", title="What the seeds saw")
    faults, states = list(summary.faults.items()), list(summary.states.items())
    for place in range(max(len(faults), len(states))):
        left = faults[place] if place < len(faults) else ("", "")
        right = states[place] if place < len(states) else ("", "")
        table.add_row(left[0], str(left[1]), right[0], str(right[1]))
    out.print(table)
    for failure in summary.failures:
        out.print(f"[bold red]seed {failure.seed}[/] {failure.reason}", highlight=False)
        out.print(f"  run it again: {rerun_line(failure.seed)}", highlight=False)
    for kind in summary.never_struck:
        out.print(f"[bold red]never struck[/]: {kind}")
    out.print(
        f"{summary.seeds} seeds, {summary.entries} entries, {summary.failed} failed, "
        f"{summary.seconds:.1f} s ({rate} entries a second)",
        highlight=False,
    )


def _show_hunts(hunts: Hunts) -> None:
    table = Table("mutant", "found", "seed", "seconds", "by")
    for mutant in hunts.mutants:
        mark = "yes" if mutant.found else "[bold red]no[/]"
        table.add_row(
            mutant.name, mark, str(mutant.seed), f"{mutant.seconds:.1f}", mutant.reason[:80]
        )
    out.print(table)
    found = sum(mutant.found for mutant in hunts.mutants)
    out.print(f"{found} of {len(hunts.mutants)} mutants found", highlight=False)
