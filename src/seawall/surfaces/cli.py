"""The command `seawall`: thin, and quick to say what it can do.

Exit status: 0 all is well; 1 something promised does not hold; 2 the request cannot be served.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console

app = typer.Typer(
    name="seawall",
    help="A clearing house that keeps standing: one log, one machine, several voters.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cluster = typer.Typer(help="A local house of separate processes.", no_args_is_help=True)
app.add_typer(cluster, name="cluster")
drill = typer.Typer(help="Real faults in a real house, on purpose.", no_args_is_help=True)
app.add_typer(drill, name="drill")

err = Console(stderr=True)
T = TypeVar("T")
SCENARIOS = ("march-2020", "may-2021")

LogPath = Annotated[
    Path, typer.Argument(metavar="LOG", help="An archive folder or a SQLite log file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def fail(code: str, detail: str) -> NoReturn:
    """Say why the request cannot be served, and end with status 2."""
    err.print(f"[bold red]{code}[/]: {detail}", highlight=False)
    raise typer.Exit(2)


def run_reading(work: Coroutine[Any, Any, T]) -> T:
    """Run a reader of recordings; its faults become coded answers."""
    from seawall.lab.recording import RecordingFault

    try:
        return asyncio.run(work)
    except RecordingFault as fault:
        fail(fault.code, fault.detail)


@app.command()
def demo(
    scenario: Annotated[str, typer.Option(help="march-2020 or may-2021.")] = "march-2020",
    accounts: Annotated[
        int | None,
        typer.Option(min=20, max=100_000, help="Traders: 2,000 by default, 200 with --quick."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything synthetic.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Only the worst hours.")] = False,
    as_json: AsJson = False,
    folder: Annotated[Path | None, typer.Option("--out", help="Folder of the run.")] = None,
) -> None:
    """Replay a real crash through three voting replicas on a real cluster, with faults."""
    from seawall.lab.demo import Options, main

    if scenario not in SCENARIOS:
        fail("scenario_unknown", f"{scenario}: there are {', '.join(SCENARIOS)}")
    options = Options(scenario, seed, accounts, quick, folder, as_json)
    try:
        raise typer.Exit(main(options))
    except FileExistsError as fault:
        fail("folder_not_empty", str(fault))


@app.command()
def sim(
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds.")] = None,
    first_seed: Annotated[int, typer.Option(help="The first of them.")] = 0,
    mutants: Annotated[bool, typer.Option("--mutants", help="Hunt the planted bugs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the production code in a simulated world of faults, one seed after the other."""
    from seawall.surfaces.sim import hunt_mutants, sweep_seeds

    if mutants:
        raise typer.Exit(hunt_mutants(seeds, first_seed, as_json=as_json))
    raise typer.Exit(sweep_seeds(seeds, first_seed, as_json=as_json))


@app.command()
def replay(
    log: LogPath,
    until: Annotated[int | None, typer.Option(help="Last entry to apply.")] = None,
    as_json: AsJson = False,
) -> None:
    """Apply the log to an empty machine and print the digests it reaches."""
    from seawall.surfaces.reading import show_replay

    raise typer.Exit(run_reading(show_replay(log, until, as_json=as_json)))


@app.command()
def explain(
    account: Annotated[int, typer.Argument(metavar="ACCOUNT", help="Account id.")],
    log: LogPath,
    at: Annotated[int, typer.Option(help="Entry after which the account is explained.")],
    as_json: AsJson = False,
) -> None:
    """Explain an account's equity and requirement term by term, and what led there."""
    from seawall.surfaces.reading import show_explanation

    raise typer.Exit(run_reading(show_explanation(log, account, at, as_json=as_json)))


@app.command()
def verify(log: LogPath, as_json: AsJson = False) -> None:
    """Check chain, outcomes, certificates and, with the auditor, every figure of a log."""
    from seawall.surfaces.reading import show_verification

    raise typer.Exit(run_reading(show_verification(log, as_json=as_json)))


@app.command()
def postmortem(
    log: LogPath,
    html: Annotated[Path | None, typer.Option(help="Also write a self-contained page.")] = None,
    summary: Annotated[
        Path | None, typer.Option(help="summary.json of the run; beside the log by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what happened, when, and whether it was the feed or the logic."""
    from seawall.surfaces.reading import read_postmortem, show_postmortem

    report = run_reading(read_postmortem(log, summary))
    raise typer.Exit(show_postmortem(report, html, as_json=as_json))


@cluster.command()
def up(
    folder: Annotated[Path, typer.Argument(help="Folder of the house; made if missing.")],
    as_json: AsJson = False,
) -> None:
    """Start three log nodes, three replicas and an auditor, each a process of its own."""
    from seawall.surfaces.houses import start

    raise typer.Exit(start(folder, as_json=as_json))


@cluster.command()
def status(
    folder: Annotated[Path, typer.Argument(help="Folder of the house.")], as_json: AsJson = False
) -> None:
    """Say how each process is."""
    from seawall.surfaces.houses import tell

    raise typer.Exit(tell(folder, as_json=as_json))


@cluster.command()
def down(
    folder: Annotated[Path, typer.Argument(help="Folder of the house.")], as_json: AsJson = False
) -> None:
    """Stop the processes of the house, by process id."""
    from seawall.surfaces.houses import stop

    raise typer.Exit(stop(folder, as_json=as_json))


@drill.command()
def faults(
    runs: Annotated[int | None, typer.Option(min=1, help="How many faults; 16 kinds.")] = None,
    seed: Annotated[int, typer.Option(help="Of their order, victims and durations.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Kill, pause and damage processes of a working house; check the log after each time."""
    from seawall.surfaces.drill import drill_faults

    raise typer.Exit(drill_faults(runs, seed, as_json=as_json))
