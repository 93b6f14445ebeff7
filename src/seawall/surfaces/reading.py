"""What the reading commands print: replay, explain, verify, postmortem."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from seawall.lab.explain import Explanation, explain
from seawall.lab.postmortem import Postmortem, read_summary, render_html, when, write_postmortem
from seawall.lab.recording import Recording, using
from seawall.lab.replay import replay
from seawall.lab.timeline import read_timeline
from seawall.lab.verify import Verified, verify

out, err = Console(), Console(stderr=True)
T = TypeVar("T")
NOTES_SHOWN = 60


async def show_replay(path: Path, until: int | None, *, as_json: bool) -> int:
    """Print where a replay ends; 1 if the recorded outcomes are others."""
    replayed = await _with_bar(
        path, until, lambda recording, tick: replay(recording, until=until, progress=tick)
    )
    if as_json:
        _print_json(replayed)
    else:
        for name in ("log_id", "seq", "state_digest", "chain", "mismatches"):
            out.print(f"{name:13} {getattr(replayed, name)}", highlight=False)
    return 1 if replayed.mismatches else 0


async def show_explanation(path: Path, account: int, at: int, *, as_json: bool) -> int:
    """Print an account's terms and history."""
    found = await _with_bar(
        path, at, lambda recording, tick: explain(recording, account, at=at, progress=tick)
    )
    if as_json:
        _print_json(found)
    else:
        _print_explanation(found)
    return 0


async def show_verification(path: Path, *, as_json: bool) -> int:
    """Print what was checked; 1 if anything is wrong."""
    verified = await _with_bar(path, None, lambda recording, tick: verify(recording, progress=tick))
    if as_json:
        _print_json(verified)
    else:
        _print_verification(verified)
    return 0 if verified.passed else 1


async def read_postmortem(path: Path, summary: Path | None) -> Postmortem:
    """Return the report of a log; what happened to the machinery stands in the run's summary."""
    timeline = await _with_bar(
        path, None, lambda recording, tick: read_timeline(recording, progress=tick)
    )
    beside = path.parent / "summary.json" if summary is None else summary
    return write_postmortem(timeline, read_summary(beside))


def show_postmortem(report: Postmortem, html: Path | None, *, as_json: bool) -> int:
    """Print the report and write its page."""
    if html is not None:
        html.write_text(render_html(report), encoding="utf-8")
    if as_json:
        _print_json(report)
    else:
        _print_postmortem(report)
        if html is not None:
            out.print(f"page: {html}", highlight=False)
    return 0


async def _with_bar(
    path: Path,
    until: int | None,
    read: Callable[[Recording, Callable[[int], None]], Awaitable[T]],
) -> T:
    """Read a recording with a bar of its entries on standard error."""

    async def reading(recording: Recording) -> T:
        total = until or await recording.last_seq()
        with Progress(console=err, transient=True) as bar:
            task = bar.add_task("entries", total=total)
            return await read(recording, lambda seq: bar.update(task, completed=seq))

    return await using(path, reading)


def _print_json(value: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _print_explanation(found: Explanation) -> None:
    terms = found.terms
    out.print(
        f"account {found.account_id} after entry {found.seq}, {when(found.at_ns)} UTC: "
        f"{found.state}\n{found.why}",
        highlight=False,
    )
    figures = Table("figure", "minor units of " + found.asset_names[0])
    for name in ("equity_minor", "raw_equity_minor", "maintenance_minor", "initial_minor"):
        figures.add_row(name.removesuffix("_minor"), f"{getattr(terms, name):,}")
    out.print(figures)
    assets = Table("asset", "balance", "unrealised", "counts for")
    for asset in terms.assets:
        cells = (asset.balance_minor, asset.unrealised_minor, asset.value_minor)
        assets.add_row(found.asset_names[asset.asset_id], *(f"{cell:,}" for cell in cells))
    out.print(assets)
    held = Table("instrument", "lots", "unrealised", "notional", "tier", "required", "unit")
    for term in terms.positions:
        held.add_row(
            found.instrument_names[term.instrument_id],
            f"{term.lots:,}",
            f"{term.unrealised_minor:,}",
            f"{term.notional_minor:,}",
            str(term.tier),
            f"{term.required_minor:,}",
            str(term.unit_id or ""),
        )
    out.print(held)
    for unit in terms.units:
        row = found.binding.get(unit.unit_id, str(unit.binding_row))
        out.print(f"unit {unit.unit_id}: worst row «{row}» loses {unit.loss_minor:,}")
    for happening in found.history:
        out.print(f"{when(happening.at_ns)}  {happening.seq:>7}  {happening.what}", highlight=False)


def _print_verification(verified: Verified) -> None:
    for name in msgspec.structs.fields(Verified):
        if name.name != "problems":
            out.print(f"{name.name:19} {getattr(verified, name.name)}", highlight=False)
    for problem in verified.problems:
        out.print(
            f"[bold red]entry {problem.seq}[/] {problem.kind}: {problem.detail}", highlight=False
        )
    out.print("all of it holds" if verified.passed else "[bold red]it does not hold[/]")


def _print_postmortem(report: Postmortem) -> None:
    out.print(f"{report.title}: {report.started} to {report.ended} UTC, {report.entries} entries")
    out.print(f"feed or logic? {report.verdict}", highlight=False)
    counts = Table("what", "times")
    for kind, count in report.counts.items():
        counts.add_row(kind, f"{count:,}")
    out.print(counts)
    if report.stages:
        stages = Table("stage", "p50 ms", "p99 ms", "max ms")
        for stage in report.stages:
            cells = (stage.p50_ms, stage.p99_ms, stage.max_ms)
            stages.add_row(stage.name, *(f"{cell:,.1f}" for cell in cells))
        out.print(stages)
    for fault in (*report.faults, *report.quarantined):
        out.print(", ".join(f"{key} {value}" for key, value in fault.items()), highlight=False)
    shown = [note for note in report.notes if note.kind not in ("liquidation", "LiquidationEnded")]
    for note in shown[:NOTES_SHOWN]:
        out.print(f"{when(note.at_ns)}  {note.seq:>7}  {note.kind:16} {note.text}", highlight=False)
    if len(shown) > NOTES_SHOWN:
        out.print(f"... {len(shown) - NOTES_SHOWN} more, in the page (--html FILE)")
