"""The verdict: what a performance showed, measured from the log, the votes and the clock."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from seawall.lab.bars import Bar
from seawall.lab.board import Board
from seawall.lab.cast import REPLICAS, Cast, make_cast
from seawall.lab.faults import PLANS, Kind
from seawall.lab.promises import Seen, judge
from seawall.lab.pulse import (
    Pulse,
    Window,
    longest_pause_ms,
    measure_ordinary,
    most_unreleased,
    write_pulse,
)
from seawall.lab.readback import (
    Kept,
    Replayed,
    archive,
    compare,
    cut_segments,
    replay,
)
from seawall.lab.script import REPORTS_A_MINUTE
from seawall.lab.staging import Performance, Played, Terms, running_house
from seawall.lab.summary import (
    Audit,
    Commands,
    Fault,
    FrozenWindow,
    Fund,
    Invariants,
    Quarantined,
    ReplicaEnd,
    Report,
    Summary,
)
from seawall.lab.watch import Watch
from seawall.node.feed import roster_of_terms
from seawall.node.house import House
from seawall.protocol.codec import encode_genesis, log_id_of
from seawall.protocol.units import NS_PER_SECOND
from seawall.replica.archive import Archive, ArchiveFault
from seawall.replica.disk import FolderDisk
from seawall.replica.findings import Dissent, verify_dissent, verify_equivocation
from seawall.replica.machine import Roster

if TYPE_CHECKING:
    from seawall.lab.demo import Options

ARCHIVE_FOLDER, HOUSE_FOLDER = "archive", "house"
COMPLAINTS_FILE, INCIDENTS_FILE, PULSE_FILE = "complaints.txt", "incidents.json", "pulse.csv"


class Aftermath(msgspec.Struct, frozen=True):
    """What was found once the market had closed.

    `archived_seq` is up to where the archive proves the log, `broken` how many replicas stopped
    over an invariant, `left_behind` what still ran after the house was taken down.
    """

    replayed: Replayed
    kept: Kept
    archived_seq: int
    broken: int
    left_behind: tuple[str, ...]


async def perform(
    options: "Options", bars: list[Bar], folder: Path, board: Board, began_s: float
) -> Report:
    """Play the bars before a house in `folder` and return the report."""
    cast = make_cast(options.seed, options.traders, bars[0].at_ns - NS_PER_SECOND)
    plan = PLANS[options.scenario, options.quick]
    complaints: list[str] = []
    # What connections to killed nodes leave behind belongs in a file, not between the figures.
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.append(str(context))
    )
    async with running_house(folder / HOUSE_FOLDER, cast, board) as house:
        performance = Performance(house, bars, board)
        # The shorter the play, the more of it must be between two faults.
        reports = REPORTS_A_MINUTE * (2 if options.quick else 1)
        played = await performance.play(plan, Terms(options.seed, options.traders, reports))
        board.say("reading the log back and replaying it ...")
        replayed = await _read_back(house, played)
        archived_seq = await _archive(folder / ARCHIVE_FOLDER, cast, played, replayed, board)
        broken = _count_broken(house)
    _write_notes(folder, played, complaints)
    after = Aftermath(
        replayed,
        compare(replayed, list(played.watch.counterfoils.by_ticket.values())),
        archived_seq,
        broken,
        _left_behind(house),
    )
    seen = _gather(cast, played, after, has_outage=any(not bar.observed for bar in bars))
    summary = _summarise(options, cast, played, after)
    summary = msgspec.structs.replace(summary, wall_s=round(time.monotonic() - began_s, 3))
    return Report(summary, judge(summary, seen), str(folder), _notes(played))


def _write_notes(folder: Path, played: Played, complaints: list[str]) -> None:
    """Leave what a post-mortem wants to know and no log can tell."""
    (folder / COMPLAINTS_FILE).write_text("\n".join(complaints))
    incidents = msgspec.json.encode(played.faults.incidents)
    (folder / INCIDENTS_FILE).write_bytes(msgspec.json.format(incidents, indent=2) + b"\n")
    write_pulse(folder / PULSE_FILE, played.watch.pulse)


async def _read_back(house: House, played: Played) -> Replayed:
    async with AsyncExitStack() as stack:
        # Over another node than the one the gateway began with.
        network = await house.connect(stack, "readback", first=1)
        return await replay(network.log, played.last_seq)


async def _archive(
    folder: Path, cast: Cast, played: Played, replayed: Replayed, board: Board
) -> int:
    """Write the log to an archive and verify it; return up to where it is proven."""
    certificates = dict(played.watch.certificates)
    if played.watch.newest is not None:
        certificates[played.watch.newest.seq] = played.watch.newest
    target = Archive(FolderDisk(folder, writer="demo"))
    try:
        await archive(cut_segments(replayed, certificates), target)
        return (await target.verify({1: _roster(cast)})).seq
    except ArchiveFault as fault:
        board.say(f"archive: {fault}")
        return 0


def _roster(cast: Cast) -> Roster:
    log_id = log_id_of(encode_genesis(cast.genesis))
    return roster_of_terms(log_id, 1, cast.genesis.replicas)


def _count_broken(house: House) -> int:
    """Return how many replicas ended because something did not hold that must."""
    return sum("AssertionError" in house.crew.last_words(name) for name in REPLICAS)


def _left_behind(house: House) -> tuple[str, ...]:
    processes = [name for name in house.names if house.crew.pid(name)]
    return (*processes, *(name for name in house.cluster.names if house.cluster.pid(name)))


def _gather(cast: Cast, played: Played, after: Aftermath, *, has_outage: bool) -> Seen:
    watch = played.watch
    newest = watch.newest
    return Seen(
        kept=after.kept,
        incidents=tuple(played.faults.incidents),
        freezes=tuple(watch.chronicle.freezes),
        accused=tuple(sender for sender, _ in watch.chronicle.accused),
        proved=_proved(watch, _roster(cast)),
        chains_equal=newest is not None
        and (newest.seq, newest.chain) == (after.replayed.last_seq, after.replayed.chain),
        archived_seq=after.archived_seq,
        audited_seq=0 if watch.audit is None else watch.audit.seq,
        asked_again=len(played.paper.asked_again),
        node_ends=tuple((node.name, node.last_seq, node.hole_count) for node in played.nodes),
        left_behind=after.left_behind,
        halt_after_ns=cast.genesis.parameters.halt_after_ns,
        has_outage=has_outage,
    )


def _proved(watch: Watch, roster: Roster) -> tuple[str, ...]:
    """Return who is proven, with public keys alone, to have said something else than a majority."""
    names = []
    for proof in watch.proofs:
        if isinstance(proof, Dissent):
            wrong = verify_dissent(proof, roster)
        else:
            wrong = verify_equivocation(proof, roster)
        if wrong is None:
            names.append(proof.replica)
    return tuple(sorted(set(names)))


def _summarise(options: "Options", cast: Cast, played: Played, after: Aftermath) -> Summary:
    watch, chronicle = played.watch, played.watch.chronicle
    names = [terms.name for terms in cast.genesis.assets]
    kept, audit = after.kept, watch.audit
    coverage = None if audit is None else audit.coverage
    return Summary(
        scenario=options.scenario,
        seed=options.seed,
        accounts=options.traders,
        entries=after.replayed.last_seq,
        commands=Commands(kept.acknowledged, kept.applied, kept.lost, kept.doubled),
        replicas=tuple(_end_of(name, watch) for name in REPLICAS if name in watch.statuses),
        quarantined=tuple(
            Quarantined(proof.replica, proof.seq, type(proof).__name__.lower())
            for proof in watch.proofs
        ),
        faults=_faults(played),
        ordinary_gap_ms=measure_ordinary(watch.pulse.released, played.whole, _disturbed(played)),
        margin_calls=chronicle.margin_calls,
        liquidations=chronicle.liquidations,
        insurance_fund=Fund(
            dict(zip(names, played.fund_before, strict=False)),
            dict(zip(names, chronicle.fund, strict=False)),
        ),
        shortfall=chronicle.shortfall_minor,
        fund_paid=chronicle.fund_paid_minor,
        deleveraged=chronicle.deleveraged_minor,
        socialised=chronicle.socialised_minor,
        frozen_window=FrozenWindow(
            sum(freeze.liquidations for freeze in chronicle.freezes),
            sum(freeze.margin_released_minor for freeze in chronicle.freezes),
            sum(freeze.withdrawals for freeze in chronicle.freezes),
        ),
        auditor=Audit(
            0 if coverage is None else coverage.compared,
            0 if coverage is None else coverage.disagreements,
            0.0
            if coverage is None
            else round(coverage.accounts_compared / max(coverage.accounts_touched, 1), 6),
        ),
        invariants=Invariants(after.replayed.invariants_checked, after.broken),
        wall_s=0.0,
    )


def _end_of(name: str, watch: Watch) -> ReplicaEnd:
    _, status = watch.statuses[name]
    return ReplicaEnd(name, status.seq, status.chain.hex(), status.phase)


def _faults(played: Played) -> tuple[Fault, ...]:
    pulse = played.watch.pulse
    faults = [
        _measure(pulse, incident.kind, incident.at_seq, incident.watched)
        for incident in played.faults.incidents
    ]
    for freeze in played.watch.chronicle.freezes:
        window = _window_of(pulse, freeze.first_seq, freeze.last_seq)
        faults.append(_measure(pulse, Kind.VENUE_OUTAGE, freeze.first_seq, window))
    return tuple(sorted(faults, key=lambda fault: fault.at_seq))


def _measure(pulse: Pulse, kind: Kind, at_seq: int, window: Window) -> Fault:
    return Fault(
        kind=kind.value,
        at_seq=at_seq,
        release_gap_ms=longest_pause_ms(pulse.released, window),
        release_gap_entries=most_unreleased(pulse, window),
        intake_gap_ms=longest_pause_ms(pulse.acknowledged, window),
    )


def _window_of(pulse: Pulse, first_seq: int, last_seq: int) -> Window:
    times = [beat.at_ns for beat in pulse.released if first_seq <= beat.seq <= last_seq]
    return Window(min(times, default=0), max(times, default=0))


def _disturbed(played: Played) -> list[Window]:
    """Return the stretches from each fault until it had healed.

    A lie about prices breaks nothing of the house: releases around it are ordinary.
    """
    return [
        Window(
            incident.watched.start_ns,
            max(incident.healed_ns or played.whole.end_ns, incident.watched.end_ns),
        )
        for incident in played.faults.incidents
        if incident.kind is not Kind.SOURCE_LIED
    ]


def _notes(played: Played) -> tuple[str, ...]:
    paused_ms = sum(
        longest_pause_ms(played.watch.pulse.acknowledged, incident.watched)
        for incident in played.faults.incidents
        if incident.kind is Kind.LOG_LEADER_KILLED
    )
    waited_s = played.faults.waited_ns / NS_PER_SECOND
    return (
        f"market time stood still for {paused_ms / 1000:.1f} s while the log chose a new leader,",
        f"and for {waited_s:.1f} s until one fault had healed before the next began",
    )
