"""What a process tells of itself: structured log lines, and figures for Prometheus."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import start_http_server
from prometheus_client.registry import Collector

from seawall.node.clock import Clock
from seawall.node.receipts import Answer, Receipt, Refused
from seawall.protocol.commands import AnyCommand
from seawall.protocol.units import NS_PER_SECOND
from seawall.replica.quarantine import Standing

PREFIX = "seawall"
LOOPBACK = "127.0.0.1"
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
TICKETS_MAX = 10_000
FIELD_CHARS_MAX = 200

Log = Any
"""A structlog logger: `info(event, **fields)` and the like."""


def open_log(stack: AsyncExitStack, path: Path | None, *, level: str, name: str) -> Log:
    """Return a logger that writes JSON lines until the stack closes; each says who `name` is.

    Parameters
    ----------
    path : standard error if None
    """
    stream: TextIO = sys.stderr
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = stack.enter_context(path.open("a", buffering=1))
    log: Log = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
    )
    return log.bind(process=name)


def describe_notice(notice: object) -> dict[str, Any]:
    """Return the plain fields of a finding or notice; votes and other evidence stay out.

    Evidence is kept in files of its own. A log line is for finding it.
    """
    if not isinstance(notice, msgspec.Struct):
        return {"what": str(notice)[:FIELD_CHARS_MAX]}
    fields: dict[str, Any] = {}
    for name in notice.__struct_fields__:
        value = getattr(notice, name)
        if isinstance(value, bytes):
            fields[name] = value.hex()
        elif isinstance(value, str | int | float | bool):
            fields[name] = value
        elif isinstance(value, Standing):
            fields |= {"phase": value.phase.value, "offences": value.offences}
    return fields


Figures = Callable[[], Mapping[str, float]]
"""Returns figures by name, base units in the name; names that end in `_total` are counters."""


class _Figures(Collector):
    def __init__(self, sources: list[tuple[str, Figures]]) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        for part, figures in self._sources:
            yield from _families(part, figures())


def _families(part: str, figures: Mapping[str, float]) -> Iterator[Metric]:
    for name, value in figures.items():
        full = f"{PREFIX}_{part}_{name}"
        documentation = name.replace("_", " ")
        if name.endswith("_total"):
            counter = CounterMetricFamily(full, documentation)
            counter.add_metric([], value)
            yield counter
        else:
            gauge = GaugeMetricFamily(full, documentation)
            gauge.add_metric([], value)
            yield gauge


class Telemetry:
    """The figures of one process. They carry no account ids: those belong in the log."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._sources: list[tuple[str, Figures]] = []
        self.registry.register(_Figures(self._sources))

    def add(self, part: str, figures: Figures) -> None:
        """Ask `figures` at each scrape; names become `seawall_<part>_<name>`."""
        self._sources.append((part, figures))

    def serve(self, stack: AsyncExitStack, port: int) -> int:
        """Serve the figures on loopback until the stack closes; return the port."""
        server, thread = start_http_server(port, addr=LOOPBACK, registry=self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        stack.callback(stop)
        return int(server.server_port)


class LatencyWitness:
    """Measures how long clients wait for durability and for release; see `witness.Witness`."""

    def __init__(self, telemetry: Telemetry, clock: Clock) -> None:
        self._clock = clock
        self._asked_ns: dict[int, int] = {}
        self._acknowledge = self._histogram(telemetry, "acknowledge", "asked to durable")
        self._release = self._histogram(telemetry, "release", "asked to released")
        self.counts = {"asked_total": 0, "acknowledged_total": 0, "refused_total": 0}
        telemetry.add("gateway_requests", lambda: self.counts)

    def asked(self, ticket: int, sender_id: int, commands: tuple[AnyCommand, ...]) -> None:
        """Start the clock."""
        del sender_id, commands
        self.counts["asked_total"] += 1
        self._asked_ns[ticket] = self._clock.monotonic_ns()
        if len(self._asked_ns) > TICKETS_MAX:
            # Acknowledged long ago and never released, or not asked for again.
            del self._asked_ns[next(iter(self._asked_ns))]

    def acknowledged(self, ticket: int, receipt: Receipt) -> None:
        """Note how long durability took."""
        del receipt
        self.counts["acknowledged_total"] += 1
        if ticket in self._asked_ns:
            self._acknowledge.observe(self._waited_s(ticket))

    def refused(self, ticket: int, refused: Refused) -> None:
        """Forget the request."""
        del refused
        self.counts["refused_total"] += 1
        self._asked_ns.pop(ticket, None)

    def answered(self, ticket: int, answer: Answer) -> None:
        """Note how long release took."""
        del answer
        if ticket in self._asked_ns:
            self._release.observe(self._waited_s(ticket))
            del self._asked_ns[ticket]

    def _waited_s(self, ticket: int) -> float:
        return (self._clock.monotonic_ns() - self._asked_ns[ticket]) / NS_PER_SECOND

    def _histogram(self, telemetry: Telemetry, name: str, what: str) -> Histogram:
        return Histogram(
            f"{PREFIX}_gateway_{name}_seconds",
            f"from {what}",
            buckets=LATENCY_BUCKETS_S,
            registry=telemetry.registry,
        )
