"""`seawall drill`: a line for each fault while it runs, then a table of what each kind cost."""

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from seawall.lab.drill import RUNS, drill_runs
from seawall.lab.drill_report import Drilled, Row
from seawall.node.cluster import ClusterFault
from seawall.node.crew import CrewFault

out, err = Console(), Console(stderr=True)


def drill_faults(runs: int | None, seed: int, *, as_json: bool) -> int:
    """Break real houses and return the exit status: 1 if anything was not as it must be."""
    try:
        drilled = drill_runs(RUNS if runs is None else runs, seed, _tell)
    except (ClusterFault, CrewFault) as fault:
        _tell(f"[bold red]not_started[/]: {fault}")
        return 2
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(drilled), indent=2).decode())
    else:
        _show(drilled)
    for problem in drilled.problems:
        _tell(f"[bold red]wrong[/]: {problem}")
    if drilled.kept_in:
        _tell(f"the houses are kept in {drilled.kept_in}")
    return 0 if drilled.passed else 1


def _tell(line: str) -> None:
    err.print(line, highlight=False, soft_wrap=True)


def _show(drilled: Drilled) -> None:
    table = Table(
        *("fault", "runs", "ack gap p50", "max", "release gap p50", "max", "whole p50", "max"),
        *("lost", "doubled"),
        title="What each fault cost (gaps in ms, whole again in s)",
    )
    for row in drilled.rows:
        table.add_row(*_cells(row))
    out.print(table)
    entries = sum(house.entries for house in drilled.houses)
    commands = sum(house.commands for house in drilled.houses)
    effects = sum(house.effects for house in drilled.houses)
    out.print(
        f"{len(drilled.runs)} faults, {len(drilled.houses)} houses, {entries:,} entries read back;"
        f" {commands:,} acknowledged commands, {sum(h.lost for h in drilled.houses)} lost,"
        f" {sum(h.doubled for h in drilled.houses)} doubled; {effects:,} payouts,"
        f" {sum(h.uncertified for h in drilled.houses)} without a certificate,"
        f" {sum(h.repeated for h in drilled.houses)} asked for again; {drilled.wall_s:,.0f} s",
        highlight=False,
        soft_wrap=True,
    )


def _cells(row: Row) -> tuple[str, ...]:
    broke = row.whole_max_s > 0
    return (
        row.fault.replace("_", " "),
        str(row.runs),
        f"{row.ack_gap_p50_ms:,.0f}",
        f"{row.ack_gap_max_ms:,.0f}",
        f"{row.release_gap_p50_ms:,.0f}",
        f"{row.release_gap_max_ms:,.0f}",
        f"{row.whole_p50_s:.1f}" if broke else "-",
        f"{row.whole_max_s:.1f}" if broke else "-",
        str(row.lost),
        str(row.doubled),
    )
