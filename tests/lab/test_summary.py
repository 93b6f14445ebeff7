"""The summary's keys never change, and each promise breaks when its fact does."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from seawall.lab.cast import REPLICAS, SENDER_IDS
from seawall.lab.chronicle import Freeze
from seawall.lab.faults import LIAR, LYING_SOURCE, Incident, Kind
from seawall.lab.promises import SCHEDULED, Seen, judge
from seawall.lab.pulse import Spread, Window
from seawall.lab.readback import Kept
from seawall.lab.summary import (
    Audit,
    Commands,
    Fault,
    FrozenWindow,
    Fund,
    Invariants,
    Quarantined,
    ReplicaEnd,
    Summary,
)

SUMMARY = Summary(
    scenario="march-2020",
    seed=1,
    accounts=200,
    entries=900,
    commands=Commands(1000, 1000, 0, 0),
    replicas=tuple(ReplicaEnd(name, 900, "ab" * 32, "voting") for name in REPLICAS),
    quarantined=(Quarantined(LIAR, 500, "dissent"),),
    faults=tuple(Fault(kind.value, 5, 9.0, 3, 9.0) for kind in SCHEDULED),
    ordinary_gap_ms=Spread(1.0, 9.0, 20.0),
    margin_calls=3,
    liquidations=2,
    insurance_fund=Fund({"USD": 9}, {"USD": 8}),
    shortfall=6,
    fund_paid=1,
    deleveraged=2,
    socialised=3,
    frozen_window=FrozenWindow(0, 0, 0),
    auditor=Audit(77, 0, 1.0),
    invariants=Invariants(50, 0),
    wall_s=1.5,
)
FREEZE = Freeze(5, 0, last_seq=9, until_ns=900, lines=4, tried=2, halted_until_ns=1000)
SEEN = Seen(
    kept=Kept(1000, 1000, 0, 0, 0, 0),
    incidents=tuple(Incident(kind, "x", 5, 0, Window(0, 1), healed_ns=7) for kind in SCHEDULED),
    freezes=(FREEZE,),
    accused=(SENDER_IDS[LYING_SOURCE],),
    proved=(LIAR,),
    chains_equal=True,
    archived_seq=900,
    audited_seq=900,
    asked_again=0,
    node_ends=(("n1", 900, 0), ("n2", 900, 0), ("n3", 900, 0)),
    left_behind=(),
    halt_after_ns=300,
    has_outage=True,
)

KEYS = """
scenario, seed, accounts, entries, commands{acknowledged,applied,lost,doubled},
replicas[{name,seq,digest,state}], quarantined[{name,seq,reason}],
faults[{kind,at_seq,release_gap_ms,release_gap_entries,intake_gap_ms}],
ordinary_gap_ms{p50,p99,max}, margin_calls, liquidations, insurance_fund{before,after}, shortfall,
fund_paid, deleveraged, socialised, frozen_window{liquidations,margin_released,withdrawals},
auditor{compared,disagreements,coverage}, invariants{checked,broken}, wall_s
"""


def spell(value: Any) -> str:
    if isinstance(value, list):
        return f"[{spell(value[0])}]"
    return "{" + ",".join(value) + "}" if isinstance(value, dict) else ""


def test_the_keys_are_those_that_are_documented() -> None:
    told = json.loads(msgspec.json.encode(SUMMARY))
    spelled = ",".join(f"{key}{spell(value)}" for key, value in told.items())
    assert spelled == re.sub(r"\s", "", KEYS)
    page = (Path(__file__).parents[2] / "docs" / "demo.md").read_text()
    for word in re.findall(r"\w+", KEYS):
        assert f"`{word}`" in page, word


def test_all_promises_are_kept_when_all_is_well() -> None:
    assert [promise for promise in judge(SUMMARY, SEEN) if not promise.kept] == []


def other(what: Any, **changed: Any) -> Any:
    return msgspec.structs.replace(what, **changed)


ENDS = SUMMARY.replicas
UNHEALED = Incident(Kind.REPLICA_KILLED, "x", 5, 0, Window(0, 1))
BROKEN: list[tuple[str, Any, Any]] = [
    ("lost", other(SUMMARY, commands=Commands(1000, 999, 1, 0)), SEEN),
    ("lost", other(SUMMARY, commands=Commands(0, 0, 0, 0)), SEEN),
    ("applied twice", other(SUMMARY, commands=Commands(1000, 1000, 0, 1)), SEEN),
    ("receipt", SUMMARY, other(SEEN, kept=Kept(1000, 1000, 0, 0, 1, 0))),
    ("receipt", SUMMARY, other(SEEN, kept=Kept(1000, 1000, 0, 0, 0, 1))),
    ("effect", SUMMARY, other(SEEN, asked_again=1)),
    ("digest", other(SUMMARY, replicas=(*ENDS[:2], other(ENDS[2], digest="cd"))), SEEN),
    ("digest", other(SUMMARY, replicas=(*ENDS[:2], other(ENDS[2], seq=899))), SEEN),
    ("digest", other(SUMMARY, replicas=(*ENDS[:2], other(ENDS[2], state="out"))), SEEN),
    ("digest", other(SUMMARY, replicas=ENDS[:2]), SEEN),
    ("replay", SUMMARY, other(SEEN, chains_equal=False)),
    ("wrong unit", other(SUMMARY, quarantined=()), SEEN),
    ("wrong unit", other(SUMMARY, quarantined=(Quarantined("replica-1", 5, "dissent"),)), SEEN),
    ("wrong unit", SUMMARY, other(SEEN, proved=())),
    ("every fault", SUMMARY, other(SEEN, incidents=SEEN.incidents[:3])),
    ("every fault", SUMMARY, other(SEEN, incidents=(UNHEALED, *SEEN.incidents[1:]))),
    ("no gap", other(SUMMARY, faults=(other(SUMMARY.faults[0], release_gap_ms=100.1),)), SEEN),
    ("no gap", other(SUMMARY, faults=()), SEEN),
    ("price source", SUMMARY, other(SEEN, accused=())),
    ("price source", SUMMARY, other(SEEN, accused=(SENDER_IDS[LYING_SOURCE], 1))),
    ("shortfall", other(SUMMARY, socialised=4), SEEN),
    ("auditor", other(SUMMARY, auditor=Audit(77, 1, 1.0)), SEEN),
    ("auditor", other(SUMMARY, auditor=Audit(0, 0, 1.0)), SEEN),
    ("auditor", SUMMARY, other(SEEN, audited_seq=899)),
    ("invariant", other(SUMMARY, invariants=Invariants(50, 1)), SEEN),
    ("market did", other(SUMMARY, liquidations=0), SEEN),
    ("in doubt", SUMMARY, other(SEEN, freezes=(other(FREEZE, liquidations=1),))),
    ("in doubt", SUMMARY, other(SEEN, freezes=(other(FREEZE, margin_released_minor=1),))),
    ("in doubt", SUMMARY, other(SEEN, freezes=(other(FREEZE, withdrawals=1),))),
    ("in doubt", SUMMARY, other(SEEN, freezes=(other(FREEZE, tried=0),))),
    ("halt", SUMMARY, other(SEEN, freezes=(other(FREEZE, halted_until_ns=0),))),
    ("halt", SUMMARY, other(SEEN, freezes=())),
    ("log nodes", SUMMARY, other(SEEN, node_ends=SEEN.node_ends[:2])),
    ("log nodes", SUMMARY, other(SEEN, node_ends=(*SEEN.node_ends[:2], ("n3", 900, 1)))),
    ("archive", SUMMARY, other(SEEN, archived_seq=899)),
    ("left behind", SUMMARY, other(SEEN, left_behind=("n1",))),
]


@pytest.mark.parametrize(("names", "summary", "seen"), BROKEN)
def test_a_promise_breaks_with_its_fact(names: str, summary: Summary, seen: Seen) -> None:
    broken = [promise.says for promise in judge(summary, seen) if not promise.kept]
    assert any(names in says for says in broken), broken


def test_a_gap_as_long_as_an_ordinary_one_is_none() -> None:
    gap = other(SUMMARY.faults[0], release_gap_ms=180.0)
    ordinary = other(SUMMARY, faults=(gap,), ordinary_gap_ms=Spread(1.0, 9.0, 180.0))
    assert all(promise.kept for promise in judge(ordinary, SEEN))


def test_without_an_outage_nothing_is_promised_of_one() -> None:
    promises = judge(SUMMARY, other(SEEN, freezes=(), has_outage=False))
    assert all(promise.kept for promise in promises)
