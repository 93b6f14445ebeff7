"""The board: what the house looks like right now, as a live table or as plain lines."""

from datetime import UTC, datetime
from typing import Self

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

REFRESH_HZ = 4


class ReplicaView(msgspec.Struct, frozen=True):
    """A replica as it last said it was."""

    name: str
    state: str
    seq: int
    lag_entries: int
    digest: str


class View(msgspec.Struct, frozen=True):
    """Everything the board shows."""

    at_ns: int
    """Time of 2020."""
    price: float
    grade: str
    seq: int
    minute: int
    minutes: int
    replicas: tuple[ReplicaView, ...]
    audited_seq: int
    states: dict[str, int]
    fund: str
    liquidations: int
    margin_calls: int
    news: tuple[str, ...]


def clock_face(at_ns: int) -> str:
    """Return a moment of the replayed market, in UTC."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M")


class Board:
    """Shows views: a table that moves on a terminal, one line for each piece of news elsewhere.

    Parameters
    ----------
    silent : show nothing at all, as when a program reads the result
    """

    def __init__(self, *, silent: bool = False) -> None:
        # Standard output is for the result, which a program may read.
        self._console = Console(stderr=True, quiet=silent)
        self._live: Live | None = None
        self._told = 0
        if self._console.is_terminal and not silent:
            self._live = Live(console=self._console, refresh_per_second=REFRESH_HZ, transient=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, line: str) -> None:
        """Show one line for good."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def show(self, view: View) -> None:
        """Show the view in place of the last one."""
        if self._live is not None:
            self._live.update(draw(view))

    def tell(self, view: View) -> None:
        """Show the view as a plain line where there is no terminal."""
        if self._live is None:
            self.say(describe(view))


def describe(view: View) -> str:
    """Return the view in one line."""
    replicas = " ".join(f"{each.name}:{each.state}@{each.seq}" for each in view.replicas)
    return (
        f"{clock_face(view.at_ns)} price {view.price:.1f} {view.grade} entry {view.seq} "
        f"calls {view.margin_calls} liquidations {view.liquidations} fund {view.fund} | {replicas}"
    )


def draw(view: View) -> Table:
    """Return the view as a table."""
    table = Table.grid(padding=(0, 2))
    title = (
        f"[bold]{clock_face(view.at_ns)} UTC[/]  XBT {view.price:,.1f} ({view.grade})"
        f"  entry {view.seq:,}  minute {view.minute}/{view.minutes}"
    )
    table.add_row(title)
    replicas = Table("replica", "state", "entry", "lag", "digest")
    for each in view.replicas:
        colour = "green" if each.state == "voting" else "red"
        replicas.add_row(
            each.name,
            f"[{colour}]{each.state}[/]",
            f"{each.seq:,}",
            str(each.lag_entries),
            each.digest,
        )
    table.add_row(replicas)
    table.add_row(
        "accounts  " + "  ".join(f"{name} {count:,}" for name, count in view.states.items())
    )
    table.add_row(
        f"insurance fund {view.fund}   liquidations {view.liquidations:,}"
        f"   margin calls {view.margin_calls:,}   audited up to {view.audited_seq:,}"
    )
    for line in view.news:
        table.add_row(f"[yellow]{line}[/]")
    return table
