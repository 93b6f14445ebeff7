"""The post-mortem: what happened, in whose hands it lay, and how long each stage took."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined

from seawall.lab.timeline import Note, Sample, Timeline
from seawall.protocol.events import Grade
from seawall.protocol.units import NS_PER_SECOND

WIDTH, HEIGHT = 960, 180
POINTS_MAX = 960
NOTES_SHOWN = 400


class Stage(msgspec.Struct, frozen=True):
    """One measured delay, in milliseconds; the source says where it was measured."""

    name: str
    p50_ms: float
    p99_ms: float
    max_ms: float


class Postmortem(msgspec.Struct, frozen=True):
    """The report; `verdict` answers whether it was the feed or the logic."""

    title: str
    entries: int
    started: str
    ended: str
    verdict: str
    counts: dict[str, int]
    auditor_compared: int
    auditor_disagreements: int
    frozen_minutes: int
    stages: tuple[Stage, ...]
    faults: tuple[dict[str, Any], ...]
    quarantined: tuple[dict[str, Any], ...]
    notes: tuple[Note, ...]
    samples: tuple[Sample, ...]
    instrument_names: tuple[str, ...]


def read_summary(path: Path) -> dict[str, Any]:
    """Return the summary of the run that made the log; empty if there is none."""
    if not path.exists():
        return {}
    summary = msgspec.json.decode(path.read_bytes())
    return summary if isinstance(summary, dict) else {}


def write_postmortem(timeline: Timeline, summary: dict[str, Any]) -> Postmortem:
    """Return the report of a timeline; `summary` adds what the log cannot know (real faults)."""
    samples = timeline.samples
    return Postmortem(
        title=timeline.name or "a log without genesis",
        entries=timeline.entries,
        started=when(samples[0].at_ns) if samples else "",
        ended=when(samples[-1].at_ns) if samples else "",
        verdict=judge(timeline),
        counts=dict(sorted(Counter(note.kind for note in timeline.notes).items())),
        auditor_compared=timeline.auditor_compared,
        auditor_disagreements=timeline.auditor_disagreements,
        frozen_minutes=sum(1 for sample in samples if _doubtful(sample)),
        stages=_stages(summary),
        faults=tuple(summary.get("faults", ())),
        quarantined=tuple(summary.get("quarantined", ())),
        notes=timeline.notes,
        samples=samples,
        instrument_names=timeline.instrument_names,
    )


def judge(timeline: Timeline) -> str:
    """Return whether the feed or the logic is to blame for what was out of the ordinary."""
    if timeline.auditor_disagreements:
        return (
            f"the logic: the auditor disagrees {timeline.auditor_disagreements} times; "
            "no figure of this log should be trusted before that is explained"
        )
    fed = [note for note in timeline.notes if note.origin == "feed"]
    liquidations = sum(1 for note in timeline.notes if note.kind == "liquidation")
    if not fed:
        return f"neither: no source was out of line, and {liquidations} liquidations were audited"
    doubtful = sum(1 for sample in timeline.samples if _doubtful(sample))
    in_doubt = _liquidations_in_doubt(timeline)
    return (
        f"the feed: {len(fed)} events of sources or feeds, {doubtful} steps with doubtful marks, "
        f"in which {in_doubt} liquidations began; the auditor agrees with every figure"
    )


def render_html(report: Postmortem) -> str:
    """Return a page that needs nothing but itself."""
    environment = Environment(
        loader=PackageLoader("seawall.lab"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["when"] = when
    charts = [
        (f"{name}: mark", draw(_marks(report.samples, instrument)))
        for instrument, name in enumerate(report.instrument_names)
        if instrument
    ]
    charts.append(
        ("liquidations so far", draw([(s.at_ns, s.liquidations) for s in report.samples]))
    )
    charts.append(
        ("shortfall so far", draw([(s.at_ns, s.shortfall_minor) for s in report.samples]))
    )
    template = environment.get_template("postmortem.html.j2")
    shown = [note for note in report.notes if note.kind != "liquidation"][:NOTES_SHOWN]
    return template.render(
        report=report,
        charts=charts,
        shades=_shades(report.samples),
        shown=shown,
        size=(WIDTH, HEIGHT),
    )


def draw(points: list[tuple[int, int]]) -> str:
    """Return the path of a line chart in the view box WIDTH by HEIGHT; empty without points."""
    if len(points) < 2:
        return ""
    stride = -(-len(points) // POINTS_MAX)
    points = points[::stride]
    first, last = points[0][0], points[-1][0]
    low, high = min(y for _, y in points), max(y for _, y in points)
    steps = [
        f"{(x - first) * WIDTH / max(last - first, 1):.1f} "
        f"{HEIGHT - (y - low) * HEIGHT / max(high - low, 1):.1f}"
        for x, y in points
    ]
    return "M" + " L".join(steps)


def when(at_ns: int) -> str:
    """Return machine time in UTC, to the second."""
    return datetime.fromtimestamp(at_ns / NS_PER_SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _marks(samples: tuple[Sample, ...], instrument: int) -> list[tuple[int, int]]:
    return [
        (sample.at_ns, sample.mark_ticks[instrument])
        for sample in samples
        if instrument in sample.mark_ticks
    ]


def _doubtful(sample: Sample) -> bool:
    return any(grade != Grade.FRESH for place, grade in sample.grades.items() if place > 0)


def _liquidations_in_doubt(timeline: Timeline) -> int:
    doubtful = {sample.seq for sample in timeline.samples if _doubtful(sample)}
    return sum(1 for n in timeline.notes if n.kind == "liquidation" and n.seq in doubtful)


def _shades(samples: tuple[Sample, ...]) -> list[tuple[float, float]]:
    """Return (x, width) of the stretches with doubtful marks."""
    if len(samples) < 2:
        return []
    first, span = samples[0].at_ns, max(samples[-1].at_ns - samples[0].at_ns, 1)
    shades: list[tuple[float, float]] = []
    begun: int | None = None
    for sample in samples:
        if _doubtful(sample) and begun is None:
            begun = sample.at_ns
        elif not _doubtful(sample) and begun is not None:
            shades.append(((begun - first) * WIDTH / span, (sample.at_ns - begun) * WIDTH / span))
            begun = None
    if begun is not None:
        shades.append(((begun - first) * WIDTH / span, WIDTH - (begun - first) * WIDTH / span))
    return shades


def _stages(summary: dict[str, Any]) -> tuple[Stage, ...]:
    """Return the measured delays of a summary: every key `*_ms` that holds p50, p99 and max."""
    found = []
    for key, value in summary.items():
        if key.endswith("_ms") and isinstance(value, dict) and {"p50", "p99", "max"} <= set(value):
            name = key.removesuffix("_ms").replace("_", " ")
            found.append(Stage(name, value["p50"], value["p99"], value["max"]))
    return tuple(found)
