"""Bugs put in on purpose: the world must notice each, and say something to the point."""

import pytest

from seawall.lab.mutants import MUTANTS, broken
from seawall.lab.sim import hunt
from seawall.lab.world import run
from seawall.replica.machine import Roster

# Mutant -> words of the witness that tell the bug from an accident.
WITNESSES = {
    "acknowledged_before_durable": "was acknowledged",
    "breaker_ignored": "auditor",
    "command_said_twice": "was applied",
    "deleveraging_makes_money": "TEAR-01",
    "digest_skips_a_field": "",
    "dissent_ignored": "never named",
    "effect_after_expiry": "",
    "effect_doubled": "executed twice",
    "equivocation_ignored": "named",
    "funding_not_zero_sum": "",
    "gap_stepped_over": "a process stopped",
    "journal_forgotten": "applied 2 times",
    "ledger_one_unit_off": "auditor",
    "liar_sets_the_price": "MARK-02",
    "lost_command": "",
    "message_id_reused": "",
    "outvoted_goes_on": "",
    "payout_returned_though_paid": "auditor",
    "quarantine_rejoined_too_early": "votes again",
    "release_without_majority": "without a certificate",
    "repeat_applied": "times",
    "snapshot_off_by_one": "a process stopped",
    "snapshot_unchecked": "a process stopped",
    "stale_mark_accepted": "auditor",
    "stale_read_served_as_fresh": "a read from",
    "vote_skipped": "not whole again",
    "vote_unsigned": "",
    "withdrawal_ignores_margin": "auditor",
}


def test_every_mutant_is_hunted_here() -> None:
    assert sorted(WITNESSES) == sorted(MUTANTS)
    assert len(MUTANTS) >= 25


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_is_found(name: str) -> None:
    found = hunt(name)
    assert found.found, found.reason
    assert WITNESSES[name] in found.reason


def test_a_mutant_is_gone_when_its_run_is_over() -> None:
    honest = vars(Roster)["majority"]
    with broken("release_without_majority"):
        assert vars(Roster)["majority"] is not honest
    assert vars(Roster)["majority"] is honest
    assert run(1) == run(1)
