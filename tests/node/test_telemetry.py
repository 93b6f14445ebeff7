"""Telemetry: lines a program can read, figures without account ids, latencies by stage."""

import asyncio
import json
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from seawall.node.receipts import Answer, Receipt, Refused
from seawall.node.roles import write_notice
from seawall.node.telemetry import LatencyWitness, Telemetry, describe_notice, open_log
from seawall.protocol.codes import Reject
from seawall.protocol.events import Outcome
from seawall.replica.doors import PhaseChanged
from seawall.replica.findings import Certified, Dissent
from seawall.replica.quarantine import Phase, Standing
from seawall.replica.votes import Certificate

RECEIPT = Receipt(7, 0, 1, 1, 1, bytes(32))


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at_ns = 0

    def now_ns(self) -> int:
        return self.at_ns

    def monotonic_ns(self) -> int:
        return self.at_ns

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


async def test_log_lines_are_json_with_who_when_and_what(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log.jsonl"
    async with AsyncExitStack() as stack:
        log = open_log(stack, path, level="info", name="replica-1")
        dissent = Dissent("replica-2", 9, b"\x01\x02", b"\x03", ())
        write_notice(log, dissent)
        write_notice(log, PhaseChanged(Standing(phase=Phase.OUTVOTED, offences=1)))
        certificate = Certificate(bytes(32), 1, 9, bytes(32), ())
        write_notice(log, Certified(certificate))
    first, second = map(json.loads, path.read_text().splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "process": "replica-1",
        "event": "Dissent",
        "level": "error",
        "replica": "replica-2",
        "seq": 9,
        "chain": "0102",
        "certified_chain": "03",
    }
    assert (second["event"], second["phase"], second["offences"]) == ("PhaseChanged", "outvoted", 1)


def test_a_notice_of_any_kind_can_be_described() -> None:
    assert describe_notice("x" * 999) == {"what": "x" * 200}
    assert describe_notice(Refused(Reject.BACKLOG, "log", "why")) == {
        "code": Reject.BACKLOG,
        "field": "log",
        "detail": "why",
    }


def test_figures_are_asked_for_at_each_scrape() -> None:
    telemetry = Telemetry()
    figures = {"lag_entries": 3.0, "faults_total": 2.0}
    telemetry.add("replica", lambda: figures)
    told = generate_latest(telemetry.registry).decode()
    assert "seawall_replica_lag_entries 3.0" in told
    assert "# TYPE seawall_replica_lag_entries gauge" in told
    assert "# TYPE seawall_replica_faults_total counter" in told
    assert "seawall_replica_faults_total 2.0" in told
    figures["lag_entries"] = 4.0
    assert "seawall_replica_lag_entries 4.0" in generate_latest(telemetry.registry).decode()


def test_latencies_are_measured_from_the_question() -> None:
    telemetry, clock = Telemetry(), HandClock()
    witness = LatencyWitness(telemetry, clock)
    witness.asked(1, 1, ())
    clock.at_ns = 30_000_000
    witness.acknowledged(1, RECEIPT)
    clock.at_ns = 400_000_000
    witness.answered(1, Answer(RECEIPT, 7, Outcome(7, (), ()), ()))
    witness.asked(2, 1, ())
    witness.refused(2, Refused(Reject.BACKLOG, "log"))
    witness.answered(2, Answer(RECEIPT, 7, Outcome(7, (), ()), ()))
    told = generate_latest(telemetry.registry).decode()
    assert "seawall_gateway_acknowledge_seconds_sum 0.03" in told
    assert "seawall_gateway_release_seconds_sum 0.4" in told
    assert "seawall_gateway_release_seconds_count 1.0" in told
    assert "seawall_gateway_requests_asked_total 2.0" in told
    assert "seawall_gateway_requests_refused_total 1.0" in told


def test_requests_that_are_never_answered_do_not_pile_up() -> None:
    witness = LatencyWitness(Telemetry(), HandClock())
    for ticket in range(20_000):
        witness.asked(ticket, 1, ())
    assert len(witness._asked_ns) == 10_000
    witness.acknowledged(5, RECEIPT)


async def test_figures_are_served_on_loopback_and_no_longer(tmp_path: Path) -> None:
    telemetry = Telemetry()
    telemetry.add("gateway", lambda: {"ahead_entries": 5})
    async with AsyncExitStack() as stack:
        port = telemetry.serve(stack, 0)
        assert b"seawall_gateway_ahead_entries 5.0" in await asyncio.to_thread(fetch, port)
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(fetch, port)


def fetch(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        body: bytes = answer.read()
        return body
