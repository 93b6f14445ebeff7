"""`seawall cluster`: a local house that outlives the command, found again by its folder."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from seawall.node.charter import CharterFault, Terms, open_charter
from seawall.node.cluster import ClusterFault
from seawall.node.crew import CrewFault
from seawall.node.house import House, HouseStatus
from seawall.protocol.commands import AssetTerms, Role
from seawall.protocol.genesis import Parameters
from seawall.replica.log import LogFault

out, err = Console(), Console(stderr=True)
T = TypeVar("T")

TERMS = Terms(
    name="seawall-local",
    senders={
        "clock": int(Role.CLOCK),
        "prices": int(Role.PRICES),
        "reporter": int(Role.TRADES | Role.CUSTODY),
        "client": int(Role.CLIENT),
        "risk": int(Role.RISK),
        "attestor": int(Role.ATTEST),
        "governor": int(Role.GOVERN | Role.OPERATE),
        "effects": int(Role.EFFECTS),
    },
    assets=(AssetTerms("USD", 6),),
    parameters=Parameters(sources_min=1),
)
"""A house to try things on: one sender a role, dollars alone, one source and one reporter."""


def start(folder: Path, *, as_json: bool) -> int:
    """Found the house if there is none in the folder, start what does not run, say how it is."""
    folder.mkdir(parents=True, exist_ok=True)
    open_charter(folder, TERMS)

    async def starting() -> HouseStatus:
        house = House(folder, detached=True)
        await house.start()
        return await _ask(house)

    return _run(starting(), as_json=as_json)


def tell(folder: Path, *, as_json: bool) -> int:
    """Say how the house is; 1 if a process of it does not run."""

    async def telling() -> HouseStatus:
        return await _ask(House(folder, detached=True))

    return _run(telling(), as_json=as_json)


def stop(folder: Path, *, as_json: bool) -> int:
    """Stop the house; what is in its folder stays."""

    async def stopping() -> HouseStatus:
        house = House(folder, detached=True)
        await house.stop()
        return await house.status()

    status = _guard(stopping())
    if status is None:
        return 2
    _show(status, as_json=as_json)
    return 1 if _running(status) else 0


async def _ask(house: House) -> HouseStatus:
    """Ask over the bus if the broker answers, else look at the processes alone."""
    try:
        async with AsyncExitStack() as stack:
            return await house.status(await house.connect(stack, "status"))
    except (LogFault, ClusterFault, OSError):
        return await house.status()


def _run(work: Coroutine[Any, Any, HouseStatus], *, as_json: bool) -> int:
    status = _guard(work)
    if status is None:
        return 2
    _show(status, as_json=as_json)
    whole = len(status.processes) + len(status.nodes)
    return 0 if _running(status) == whole else 1


def _guard(work: Coroutine[Any, Any, T]) -> T | None:
    try:
        return asyncio.run(work)
    except CharterFault as fault:
        err.print(f"[bold red]no_house[/]: {fault}", highlight=False)
    except (ClusterFault, CrewFault) as fault:
        err.print(f"[bold red]not_started[/]: {fault}", highlight=False)
    return None


def _running(status: HouseStatus) -> int:
    pids = [process.pid for process in status.processes] + [node.pid for node in status.nodes]
    return sum(bool(pid) for pid in pids)


def _show(status: HouseStatus, *, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(status), indent=2).decode())
        return
    table = Table("process", "pid", "says", title=f"{status.name} {status.log_id[:16]}")
    for node in status.nodes:
        table.add_row(node.name, str(node.pid or ""), "log node")
    said = {replica.replica: replica for replica in status.replicas}
    for process in status.processes:
        replica = said.get(process.name)
        words = "ready" if process.pid and process.ready else ""
        if replica is not None:
            words = f"{replica.phase}, entry {replica.seq}, chain {replica.chain.hex()[:12]}"
        elif process.name == "auditor" and status.auditor is not None:
            coverage = status.auditor.coverage
            words = f"compared {coverage.compared:,}, disagreements {coverage.disagreements}"
        table.add_row(process.name, str(process.pid or ""), words)
    out.print(table)
