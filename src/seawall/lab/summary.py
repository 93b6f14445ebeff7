"""Summary: what a run of the demo showed, and whether everything promised held."""

from collections.abc import Sequence

import msgspec
from rich.console import Group
from rich.table import Table

from seawall.lab.pulse import Spread


class Commands(msgspec.Struct, frozen=True):
    """Commands by what became of them, from reading the log back."""

    acknowledged: int
    applied: int
    lost: int
    doubled: int


class ReplicaEnd(msgspec.Struct, frozen=True):
    """Where a replica stood at the end; `digest` is its chain, as it published it itself."""

    name: str
    seq: int
    digest: str
    state: str


class Quarantined(msgspec.Struct, frozen=True):
    """A replica that was outvoted, the entry at which it was seen, and why."""

    name: str
    seq: int
    reason: str


class Fault(msgspec.Struct, frozen=True):
    """Something that was broken on purpose, or by the real market, and the gaps around it."""

    kind: str
    at_seq: int
    release_gap_ms: float
    release_gap_entries: int
    intake_gap_ms: float


class Fund(msgspec.Struct, frozen=True):
    """Balances of the insurance fund by asset, in minor units."""

    before: dict[str, int]
    after: dict[str, int]


class FrozenWindow(msgspec.Struct, frozen=True):
    """What happened while the index was in doubt; all of it must be 0."""

    liquidations: int
    margin_released: int
    withdrawals: int


class Audit(msgspec.Struct, frozen=True):
    """What the auditor compared; `coverage` is the share of touched accounts, 1 for all."""

    compared: int
    disagreements: int
    coverage: float


class Invariants(msgspec.Struct, frozen=True):
    """Checks of the clearing room's invariants, counted by a machine that replayed the log."""

    checked: int
    broken: int


class Summary(msgspec.Struct, frozen=True):
    """The result of one run; its keys are stable and described in docs/demo.md."""

    scenario: str
    seed: int
    accounts: int
    entries: int
    commands: Commands
    replicas: tuple[ReplicaEnd, ...]
    quarantined: tuple[Quarantined, ...]
    faults: tuple[Fault, ...]
    ordinary_gap_ms: Spread
    margin_calls: int
    liquidations: int
    insurance_fund: Fund
    shortfall: int
    fund_paid: int
    deleveraged: int
    socialised: int
    frozen_window: FrozenWindow
    auditor: Audit
    invariants: Invariants
    wall_s: float


class Promise(msgspec.Struct, frozen=True):
    """One thing that the run must show, and what it did show."""

    says: str
    kept: bool
    shown: str


class Report(msgspec.Struct, frozen=True):
    """The summary with its promises and where the run left its files."""

    summary: Summary
    promises: tuple[Promise, ...]
    folder: str
    notes: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether everything promised held."""
        return all(promise.kept for promise in self.promises)


def render(report: Report) -> Group:
    """Return the report for a terminal."""
    return Group(
        _figures(report.summary),
        _faults(report.summary),
        _promises(report.promises),
        *report.notes,
        f"run folder: {report.folder}",
    )


def _figures(summary: Summary) -> Table:
    table = Table(title=f"{summary.scenario}: what happened", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    told = summary.commands
    rows: list[tuple[str, str]] = [
        ("accounts of traders, seed", f"{summary.accounts:,}, {summary.seed}"),
        ("entries", f"{summary.entries:,}"),
        ("commands acknowledged / applied", f"{told.acknowledged:,} / {told.applied:,}"),
        ("commands lost / doubled", f"{told.lost} / {told.doubled}"),
        ("margin calls, liquidations", f"{summary.margin_calls:,}, {summary.liquidations:,}"),
        ("insurance fund before", _amounts(summary.insurance_fund.before)),
        ("insurance fund after", _amounts(summary.insurance_fund.after)),
        ("shortfall", _dollars(summary.shortfall)),
        ("= paid by the fund", _dollars(summary.fund_paid)),
        ("+ deleveraged", _dollars(summary.deleveraged)),
        ("+ socialised", _dollars(summary.socialised)),
        (
            "auditor: compared / disagreements",
            f"{summary.auditor.compared:,} / {summary.auditor.disagreements}",
        ),
        (
            "invariants: checked / broken",
            f"{summary.invariants.checked:,} / {summary.invariants.broken}",
        ),
        *(
            (f"{end.name} at {end.seq:,}", f"{end.state} {end.digest[:16]}")
            for end in summary.replicas
        ),
        *((f"outvoted: {each.name} at {each.seq:,}", each.reason) for each in summary.quarantined),
        ("wall time", f"{summary.wall_s:.1f} s"),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _faults(summary: Summary) -> Table:
    table = Table(title="Gaps around each fault", title_justify="left")
    for heading in ("fault", "at entry", "release gap", "entries waiting", "intake gap"):
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    for fault in summary.faults:
        table.add_row(
            fault.kind,
            f"{fault.at_seq:,}",
            f"{fault.release_gap_ms:.1f} ms",
            str(fault.release_gap_entries),
            f"{fault.intake_gap_ms:.1f} ms",
        )
    ordinary = summary.ordinary_gap_ms
    spread = f"{ordinary.p50:.1f} / {ordinary.p99:.1f} / {ordinary.max:.1f} ms"
    table.add_row("none (p50 / p99 / longest)", "", spread, "", "")
    return table


def _promises(promises: Sequence[Promise]) -> Table:
    table = Table(title="What was promised", title_justify="left")
    for heading in ("", "promise", "shown"):
        table.add_column(heading)
    for promise in promises:
        mark = "[green]kept[/]" if promise.kept else "[bold red]BROKEN[/]"
        table.add_row(mark, promise.says, promise.shown)
    return table


def _dollars(minor: int) -> str:
    return f"{minor // 10**4 / 100:,.2f} USD"


def _amounts(balances: dict[str, int]) -> str:
    decimals = {"USD": 6, "XBT": 8}
    return ", ".join(
        f"{minor / 10 ** decimals[name]:,.2f} {name}" for name, minor in balances.items()
    )
