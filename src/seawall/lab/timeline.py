"""The timeline: what happened when, in machine time, read from the log alone."""

from typing import Any

import msgspec

from seawall.clearing.machine import Machine
from seawall.lab.recording import Recording
from seawall.lab.replay import Progress, ignore, steps
from seawall.oversight.auditor import Auditor
from seawall.protocol.codec import decode_outcome, unpack_int32, unpack_int64
from seawall.protocol.events import (
    AccountsMoved,
    AccountState,
    CallIssued,
    FundingPaid,
    Grade,
    HaltEnded,
    HaltStarted,
    IndexMoved,
    LiquidationEnded,
    LiquidationStarted,
    MarksMoved,
    ParameterSet,
    RiskLapsed,
    ShortfallFound,
    SourceDeviated,
    TimeMoved,
)

NOTES_MAX = 5000
MOVED_CELLS = 6


class Note(msgspec.Struct, frozen=True):
    """One thing worth telling; `kind` groups notes, `feed` or `logic` say whose doing it was."""

    seq: int
    at_ns: int
    kind: str
    text: str
    origin: str


class Sample(msgspec.Struct, frozen=True):
    """The house at one step of time."""

    at_ns: int
    seq: int
    mark_ticks: dict[int, int]
    grades: dict[int, int]
    states: dict[str, int]
    liquidations: int
    calls: int
    shortfall_minor: int


class Timeline(msgspec.Struct, frozen=True):
    """What happened, and how the house stood at every step."""

    name: str
    instrument_names: tuple[str, ...]
    sender_names: tuple[str, ...]
    entries: int
    notes: tuple[Note, ...]
    notes_dropped: int
    samples: tuple[Sample, ...]
    auditor_disagreements: int
    auditor_compared: int


class _Pen:
    """Writes notes and samples as events come by."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.dropped = 0
        self.samples: list[Sample] = []
        self.now = 0
        self._marks: dict[int, int] = {}
        self._grades: dict[int, int] = {}
        self._states: dict[int, int] = {}
        self._liquidations = self._calls = self._shortfall = 0

    def write(self, seq: int, events: tuple[Any, ...]) -> None:
        moved = False
        for event in events:
            if isinstance(event, TimeMoved):
                self.now, moved = event.at_ns, True
            self._take(seq, event)
        if moved:
            self._sample(seq)

    def _note(self, seq: int, kind: str, text: str, origin: str) -> None:
        if len(self.notes) < NOTES_MAX:
            self.notes.append(Note(seq, self.now, kind, text, origin))
        else:
            self.dropped += 1

    def _sample(self, seq: int) -> None:
        states = {state.name.lower(): 0 for state in AccountState if state}
        for account_state in self._states.values():
            states[AccountState(account_state).name.lower()] += 1
        self.samples.append(
            Sample(
                self.now,
                seq,
                dict(self._marks),
                dict(self._grades),
                states,
                self._liquidations,
                self._calls,
                self._shortfall,
            )
        )

    def _take(self, seq: int, event: Any) -> None:
        match event:
            case MarksMoved():
                rows = zip(
                    unpack_int32(event.instruments),
                    unpack_int64(event.ticks),
                    event.grades,
                    strict=True,
                )
                for instrument, ticks, grade in rows:
                    self._marks[instrument] = ticks
                    self._grades[instrument] = grade
            case IndexMoved():
                self._take_index(seq, event)
            case AccountsMoved():
                cells = unpack_int64(event.cells)
                for start in range(0, len(cells), MOVED_CELLS):
                    account, _, state = cells[start : start + 3]
                    self._states.pop(account, None)
                    if state:
                        self._states[account] = state
            case CallIssued():
                self._calls += 1
            case _:
                self._take_rare(seq, event)

    def _take_index(self, seq: int, event: IndexMoved) -> None:
        rows = zip(unpack_int32(event.feeds), unpack_int64(event.values), event.grades, strict=True)
        for feed, value, grade in rows:
            before = self._grades.get(-feed, Grade.FRESH)
            self._grades[-feed] = grade
            if grade != before:
                name = Grade(grade).name.lower().replace("_", " ")
                self._note(seq, "feed", f"feed {feed} is {name}, index held at {value}", "feed")

    def _take_rare(self, seq: int, event: Any) -> None:
        match event:
            case SourceDeviated():
                off = f"says {event.value}, its peers {event.median}"
                self._note(seq, "source", f"sender {event.sender_id} {off}", "feed")
            case HaltStarted():
                text = f"halt of {event.instrument_id or 'all'} ({event.why})"
                self._note(seq, "halt", text, "operator" if event.why == "operator" else "feed")
            case HaltEnded():
                self._note(seq, "halt", f"halt of {event.instrument_id or 'all'} ended", "logic")
            case LiquidationStarted():
                self._liquidations += 1
                gap = f"equity {event.equity_minor}, maintenance {event.maintenance_minor}"
                self._note(seq, "liquidation", f"account {event.account_id}: {gap}", "logic")
            case LiquidationEnded() | FundingPaid() | ParameterSet() | RiskLapsed():
                self._note(seq, type(event).__name__, _plain(event), "logic")
            case ShortfallFound():
                self._shortfall += event.shortfall_minor
                self._note(seq, "shortfall", _plain(event), "logic")
            case _:
                return


def _plain(event: msgspec.Struct) -> str:
    return ", ".join(f"{name} {getattr(event, name)}" for name in event.__struct_fields__)


async def read_timeline(recording: Recording, *, progress: Progress = ignore) -> Timeline:
    """Replay the log with the auditor beside it and write down what happened."""
    machine, auditor, pen = Machine(), Auditor(), _Pen()
    async for step in steps(recording, machine, progress=progress):
        seq = step.recorded.seq
        findings = auditor.follow(seq, step.recorded.payload, step.outcome)
        for finding in findings:
            pen.notes.append(Note(seq, pen.now, "auditor", repr(finding), "logic"))
        pen.write(seq, decode_outcome(step.outcome).events)
    tables = machine.state.tables if machine.state else None
    return Timeline(
        name=tables.name if tables else "",
        instrument_names=tuple(tables.instrument_names) if tables else (),
        sender_names=tuple(sender.name for sender in tables.senders) if tables else (),
        entries=machine.seq,
        notes=tuple(pen.notes),
        notes_dropped=pen.dropped,
        samples=tuple(pen.samples),
        auditor_disagreements=auditor.coverage.disagreements,
        auditor_compared=auditor.coverage.compared,
    )
