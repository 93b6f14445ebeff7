"""What the processes of a house do, from configuration to the last signal."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NoReturn

from seawall.node.audit import AuditDesk
from seawall.node.build import build_hash
from seawall.node.charter import Charter, read_genesis
from seawall.node.clock import SystemClock
from seawall.node.config import AuditorConfig, ProcessConfig, ReplicaConfig
from seawall.node.feed import Taker, follow
from seawall.node.keys import read_key
from seawall.node.telemetry import Log, Telemetry, describe_notice, open_log
from seawall.node.warming import warm
from seawall.node.wiring import (
    ClearingMachine,
    MachineFactory,
    ReplicaPlan,
    make_feed,
    make_replica,
    open_nats,
)
from seawall.replica.doors import Settings
from seawall.replica.findings import BadVote, Certified, Dissent, Equivocation, Split
from seawall.replica.quarantine import Phase
from seawall.replica.replica import Replica
from seawall.replica.tasks import race

READY_POLL_S = 0.01


async def run_replica(config: ReplicaConfig, new_machine: MachineFactory) -> None:
    """Be a replica until told to end."""
    async with AsyncExitStack() as stack:
        key = read_key(config.key_file)
        charter = Charter(read_genesis(config.genesis_file), {})
        log = _open_log(stack, config)
        warm(ClearingMachine())
        network = await open_nats(stack, config.urls, config.name, patience_s=config.patience_s)
        plan = ReplicaPlan(
            name=config.name,
            key=key,
            folder=config.folder,
            settings=Settings(
                vote_interval_s=config.vote_interval_s,
                status_interval_s=config.status_interval_s,
                archive=config.archive,
                log_id=charter.log_id,
            ),
            new_machine=new_machine,
        )
        replica = make_replica(plan, network, lambda notice: write_notice(log, notice))
        telemetry = Telemetry()
        telemetry.add("replica", lambda: _replica_figures(replica))
        _serve(stack, telemetry, config, log)
        ready = _announce(config, log, lambda: _votes(replica))
        await _live(log, replica.run(), ready)


async def run_auditor(config: AuditorConfig) -> None:
    """Be an auditor until told to end."""
    async with AsyncExitStack() as stack:
        charter = Charter(read_genesis(config.genesis_file), {})
        log = _open_log(stack, config)
        network = await open_nats(stack, config.urls, config.name, patience_s=config.patience_s)
        feed = make_feed(charter, network, lambda notice: write_notice(log, notice))
        desk = AuditDesk(
            config.name,
            network.bus,
            SystemClock(),
            status_interval_s=config.status_interval_s,
            notice=lambda finding: log.error("finding", **describe_notice(finding)),
        )
        telemetry = Telemetry()
        telemetry.add("auditor", lambda: _auditor_figures(desk))
        _serve(stack, telemetry, config, log)
        ready = _announce(config, log, lambda: desk.auditor.seq >= 1)
        await _live(log, follow(feed.joined(), (Taker(desk.take),)), desk.run(), ready)


def write_notice(log: Log, notice: object) -> None:
    """Write a notice to the log: what is proven wrong as an error, the everyday as debug."""
    fields = describe_notice(notice)
    name = type(notice).__name__
    match notice:
        case Certified():
            log.debug(name, **fields)
        case Dissent() | Equivocation() | Split() | BadVote():
            log.error(name, **fields)
        case _:
            log.info(name, **fields)


def _open_log(stack: AsyncExitStack, config: ProcessConfig) -> Log:
    log = open_log(stack, config.log_file, level=config.log_level, name=config.name)
    log.info("started", pid=os.getpid(), build=build_hash())
    return log


def _serve(stack: AsyncExitStack, telemetry: Telemetry, config: ProcessConfig, log: Log) -> None:
    if config.metrics_port is not None:
        log.info("metrics", port=telemetry.serve(stack, config.metrics_port))


async def _live(log: Log, *work: Coroutine[Any, Any, object]) -> None:
    """Run until SIGTERM or SIGINT; a part that ends by itself ends the process."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await race(*work, told.wait())
    log.info("ended", told=told.is_set())


async def _announce(config: ProcessConfig, log: Log, is_ready: Callable[[], bool]) -> NoReturn:
    """Say once that the process does its work, then be silent for ever."""
    clock = SystemClock()
    while not is_ready():
        await clock.sleep(READY_POLL_S)
    log.info("ready")
    if config.ready_file is not None:
        _write_ready(config.ready_file)
    await asyncio.Event().wait()
    raise AssertionError


def _write_ready(path: Path) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(str(os.getpid()))
    beside.replace(path)


def _votes(replica: Replica) -> bool:
    status = replica.status()
    return status.seq >= 1 and status.lag_entries <= 0 and status.phase == Phase.VOTING.value


def _replica_figures(replica: Replica) -> dict[str, float]:
    status = replica.status()
    return {
        "seq": status.seq,
        "certified_seq": status.certified_seq,
        "lag_entries": status.lag_entries,
        "snapshot_seq": status.snapshot_seq,
        "voting": float(status.phase == Phase.VOTING.value),
        "offences_total": status.offences,
        "read_faults_total": status.read_faults,
    }


def _auditor_figures(desk: AuditDesk) -> dict[str, float]:
    coverage = desk.auditor.coverage
    return {
        "seq": desk.auditor.seq,
        "compared_total": coverage.compared,
        "disagreements_total": coverage.disagreements,
        "trusted_total": coverage.trusted,
        "accounts_compared_total": coverage.accounts_compared,
        "accounts_touched_total": coverage.accounts_touched,
    }
