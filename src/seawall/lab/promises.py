"""Promises: what a run must show, judged from the summary and from what was seen beside it."""

from collections.abc import Iterator

import msgspec

from seawall.lab.cast import REPLICAS, SENDER_IDS
from seawall.lab.chronicle import Freeze
from seawall.lab.faults import LIAR, LYING_SOURCE, Incident, Kind
from seawall.lab.readback import Kept
from seawall.lab.summary import Fault, Promise, Summary

SCHEDULED = (
    Kind.REPLICA_KILLED,
    Kind.REPLICA_LIED,
    Kind.LOG_LEADER_KILLED,
    Kind.SOURCE_LIED,
)

UNNOTICED_MS = 100.0
"""A gap up to this is the computer's own unrest: on two busy cores the longest of a short run's
ordinary gaps lies anywhere below it. Handing a lease or a lead over takes several times as long."""


class Seen(msgspec.Struct, frozen=True):
    """What the summary's keys have no room for.

    Attributes
    ----------
    accused : senders named as out of line by the house
    proved : replicas of whom votes prove that they were outvoted, checked with public keys alone
    chains_equal : whether our own replay of the log ends at the chain that a majority signed
    archived_seq : up to where the archive was read back and verified, certificates included
    asked_again : effects that a door was asked for twice
    node_ends : by log node: last entry and holes
    left_behind : processes of the house that still ran after its end
    halt_after_ns : doubt of this length must be followed by a halt
    """

    kept: Kept
    incidents: tuple[Incident, ...]
    freezes: tuple[Freeze, ...]
    accused: tuple[int, ...]
    proved: tuple[str, ...]
    chains_equal: bool
    archived_seq: int
    audited_seq: int
    asked_again: int
    node_ends: tuple[tuple[str, int, int], ...]
    left_behind: tuple[str, ...]
    halt_after_ns: int
    has_outage: bool
    """Whether the real venue stood still in this scenario."""


def judge(summary: Summary, seen: Seen) -> tuple[Promise, ...]:
    """Return every promise with what was shown of it."""
    return (
        *_judge_commands(summary, seen),
        *_judge_replicas(summary, seen),
        *_judge_faults(summary, seen),
        *_judge_books(summary, seen),
        *(_judge_outage(seen) if seen.has_outage else ()),
        *_judge_leavings(summary, seen),
    )


def _judge_commands(summary: Summary, seen: Seen) -> Iterator[Promise]:
    told, kept = summary.commands, seen.kept
    yield Promise(
        "no acknowledged command is lost",
        told.lost == 0 and told.applied == told.acknowledged > 0,
        f"{told.applied:,} of {told.acknowledged:,} found in applied entries",
    )
    yield Promise("no command is applied twice", told.doubled == 0, f"{told.doubled} doubled")
    yield Promise(
        "each receipt names the very place in the log",
        kept.misplaced == 0 and kept.unknown == 0,
        f"{kept.misplaced} misplaced, {kept.unknown} without an answer",
    )
    yield Promise(
        "no effect is asked for twice", seen.asked_again == 0, f"{seen.asked_again} asked again"
    )


def _judge_replicas(summary: Summary, seen: Seen) -> Iterator[Promise]:
    ends = {(end.seq, end.digest) for end in summary.replicas}
    names = tuple(end.name for end in summary.replicas)
    states = [end.state for end in summary.replicas]
    yield Promise(
        "all replicas end at the same entry with the same digest",
        len(ends) == 1 and names == REPLICAS and set(states) == {"voting"},
        ", ".join(f"{end.name} {end.digest[:8]}@{end.seq} {end.state}" for end in summary.replicas),
    )
    yield Promise(
        "our own replay of the log ends at the digest that a majority signed",
        seen.chains_equal,
        "equal" if seen.chains_equal else "different",
    )
    named = tuple(each.name for each in summary.quarantined)
    yield Promise(
        "the replica that computed one wrong unit is named, and nobody else",
        set(named) == {LIAR} and set(seen.proved) == {LIAR},
        f"named: {', '.join(named) or 'nobody'}; proved by votes: {', '.join(seen.proved)}",
    )


def _judge_faults(summary: Summary, seen: Seen) -> Iterator[Promise]:
    begun = [incident.kind for incident in seen.incidents]
    unhealed = [incident.kind.value for incident in seen.incidents if not incident.healed_ns]
    yield Promise(
        "every fault took place and healed",
        sorted(begun) == sorted(SCHEDULED) and not unhealed,
        ", ".join(begun) + (f"; not healed: {', '.join(unhealed)}" if unhealed else ""),
    )
    killed = _find(summary.faults, Kind.REPLICA_KILLED)
    longest = summary.ordinary_gap_ms.max
    yield Promise(
        "killing a replica makes no gap in releases beyond the ordinary",
        killed is not None and killed.release_gap_ms <= max(longest, UNNOTICED_MS),
        "-" if killed is None else f"{killed.release_gap_ms} ms, ordinary up to {longest} ms",
    )
    liar = SENDER_IDS[LYING_SOURCE]
    yield Promise(
        "the lying price source is named, and no other",
        set(seen.accused) == {liar},
        f"senders named: {sorted(set(seen.accused))}, the liar is {liar}",
    )


def _judge_books(summary: Summary, seen: Seen) -> Iterator[Promise]:
    total = summary.fund_paid + summary.deleveraged + summary.socialised
    yield Promise(
        "shortfall = paid by the fund + deleveraged + socialised",
        summary.shortfall == total,
        f"{summary.shortfall:,} = {total:,}",
    )
    auditor = summary.auditor
    yield Promise(
        "the auditor has followed to the end and disagrees nowhere",
        auditor.disagreements == 0 and seen.audited_seq >= summary.entries and auditor.compared > 0,
        f"{auditor.compared:,} comparisons, {auditor.disagreements} disagreements,"
        f" entry {seen.audited_seq:,} of {summary.entries:,}",
    )
    yield Promise(
        "every invariant holds",
        summary.invariants.broken == 0 and summary.invariants.checked > 0,
        f"{summary.invariants.checked:,} checked, {summary.invariants.broken} broken",
    )
    yield Promise(
        "the market did what it must: calls and liquidations happened",
        summary.margin_calls > 0 and summary.liquidations > 0,
        f"{summary.margin_calls:,} calls, {summary.liquidations:,} liquidations",
    )


def _judge_outage(seen: Seen) -> Iterator[Promise]:
    liquidations = sum(freeze.liquidations for freeze in seen.freezes)
    released = sum(freeze.margin_released_minor for freeze in seen.freezes)
    withdrawals = sum(freeze.withdrawals for freeze in seen.freezes)
    lines = sum(freeze.lines for freeze in seen.freezes)
    tried = sum(freeze.tried for freeze in seen.freezes)
    yield Promise(
        "while prices are in doubt no liquidation starts, no margin is released, nobody withdraws",
        not (liquidations or released or withdrawals) and lines > 0 and tried > 0,
        f"{liquidations} liquidations, {released} released, {withdrawals} of {tried} withdrawals,"
        f" {lines:,} account lines looked at",
    )
    long = [f for f in seen.freezes if f.until_ns - f.from_ns >= seen.halt_after_ns]
    halted = [freeze for freeze in long if freeze.halted_until_ns > freeze.until_ns]
    yield Promise(
        "a protective halt follows each outage",
        len(long) == len(halted) > 0,
        f"{len(halted)} halts after {len(long)} outages",
    )


def _judge_leavings(summary: Summary, seen: Seen) -> Iterator[Promise]:
    ends = {(last_seq, holes) for _, last_seq, holes in seen.node_ends}
    yield Promise(
        "all log nodes hold the whole log, without a hole",
        ends == {(summary.entries, 0)} and len(seen.node_ends) == len(REPLICAS),
        ", ".join(f"{name} {last_seq:,}" for name, last_seq, _ in seen.node_ends),
    )
    yield Promise(
        "the archive proves the whole log",
        seen.archived_seq == summary.entries,
        f"verified up to {seen.archived_seq:,}",
    )
    yield Promise(
        "no process is left behind",
        not seen.left_behind,
        ", ".join(seen.left_behind) or "none",
    )


def _find(faults: tuple[Fault, ...], kind: Kind) -> Fault | None:
    return next((fault for fault in faults if fault.kind == kind), None)
