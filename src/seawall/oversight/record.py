"""One entry as the house tells it, read piece by piece beside the auditor's own account of it."""

from collections.abc import Iterable

import msgspec

from seawall.oversight.findings import Finding
from seawall.protocol.commands import AnyCommand
from seawall.protocol.effects import AnyEffect, Payout
from seawall.protocol.events import AnyEvent, ParameterSet, Rejected, TimeMoved
from seawall.protocol.events import Outcome as Told

ACCEPTED = 0
"""A verdict on a command; positive ones are reject codes."""
REFUSED = -1
"""Refused, but the rules do not say with which code."""
SILENT = -2
"""The rules do not say: the house's verdict is taken, and counted as trusted."""


FREED = -1
"""The command that refusals of reports set free are told under."""


class Record:
    """The outcome under audit and what the auditor says should stand in it."""

    def __init__(self, seq: int, told: Told) -> None:
        self.seq = seq
        self.told = told
        self.said: list[AnyEvent] = []
        self.moves: list[tuple[int, int, int, int, int, int]] = []
        """Accounts that changed state, as in `AccountsMoved`."""
        self.payouts: list[Payout] = []
        self.postings: dict[int, dict[tuple[int, int], int]] = {}
        """Reason to (account id or minus an instrument, asset) to the sum posted."""
        self.verdicts: list[int] = []
        """What the auditor thinks of each command."""
        self.freed_codes: list[int] = []
        """Why reports were refused that a command set free; told as of command -1."""
        self.findings: list[Finding] = []
        self.compared = 0
        self.trusted = 0
        self.stepped = False
        """Whether time has moved in this entry: it does so at most once."""
        self.orders_checked = 0
        """Effects up to here were judged as orders, step by step."""
        self._steps = _split_steps(told.events)
        self._step = 0
        self._codes = {
            event.command: event.code for event in told.events if isinstance(event, Rejected)
        }
        self._parameters = [each for each in told.events if isinstance(each, ParameterSet)]
        self._payout_keys = [
            index for index, each in enumerate(told.effects) if isinstance(each, Payout)
        ]

    def say(self, event: AnyEvent) -> None:
        """Expect this event, in this order among those of its type."""
        self.said.append(event)

    def post(self, why: int, account: int, asset: int, amount: int) -> None:
        """Expect an amount among the postings of a reason."""
        sums = self.postings.setdefault(why, {})
        sums[account, asset] = sums.get((account, asset), 0) + amount

    def find(self, rule: str, subject: str, expected: object, got: object) -> None:
        """Note a disagreement."""
        self.compared += 1
        self.findings.append(Finding(self.seq, rule, subject, _show(expected), _show(got)))

    def claim(self, rule: str, subject: str, expected: object, got: object) -> bool:
        """Compare two values; note it if they differ. Returns whether they agree."""
        if expected == got:
            self.compared += 1
            return True
        self.find(rule, subject, expected, got)
        return False

    def require(self, rule: str, subject: str, holds: bool, got: object) -> bool:
        """Note a disagreement unless a condition holds, which `subject` names."""
        if holds:
            self.compared += 1
        else:
            self.find(rule, subject, "holds", got)
        return holds

    def judge(self, index: int, command: AnyCommand, verdict: int, rule: str) -> bool:
        """Compare the verdict on a command with the house's; return whether the books apply it.

        The books follow the auditor's own verdict; only where the rules are silent, the house's.
        """
        self.verdicts.append(verdict)
        code = self._codes.get(index, ACCEPTED)
        if verdict == SILENT:
            self.trusted += 1
            return code == ACCEPTED
        subject = f"command {index} {type(command).__name__}"
        if verdict == REFUSED:
            self.require(rule, f"{subject}: refused", code != ACCEPTED, code)
        else:
            self.claim(rule, f"{subject}: code", verdict, code)
        return verdict == ACCEPTED

    def close_refusals(self) -> None:
        """Compare refusals of reports set free, and note refusals of no command at all."""
        told = [each for each in self.told.events if isinstance(each, Rejected)]
        freed = [each.code for each in told if each.command == FREED]
        self.claim("LEDG-06", "reports refused when set free: codes", self.freed_codes, freed)
        places = [each.command for each in told if each.command != FREED]
        known = range(len(self.verdicts))
        sound = len(set(places)) == len(places) and all(each in known for each in places)
        self.require("GOVN-01", "each refusal is of one command", sound, places)

    def next_step(self) -> list[AnyEvent]:
        """Return the events of the next tick step: all since machine time moved."""
        self._step += 1
        return self._steps[self._step] if self._step < len(self._steps) else []

    def outside_steps(self) -> list[AnyEvent]:
        """Return the events before machine time first moved."""
        return self._steps[0]

    def take_parameter(self, name: str, value: int) -> ParameterSet | None:
        """Return, once, the event that tells when a parameter takes effect."""
        for position, event in enumerate(self._parameters):
            if event.name == name and event.value == value:
                return self._parameters.pop(position)
        return None

    def say_payout(self, payout: Payout) -> tuple[int, int] | None:
        """Expect a payout among the effects; return its key, or nothing if it is not there."""
        position = len(self.payouts)
        self.payouts.append(payout)
        if position >= len(self._payout_keys):
            self.find("OUTB-01", f"payout {position} of the entry", payout, "none")
            return None
        index = self._payout_keys[position]
        self.claim("OUTB-01", f"effect {index}", payout, self.told.effects[index])
        return self.seq, index

    def close_payouts(self) -> None:
        """Note payouts that nothing asked for."""
        for index in self._payout_keys[len(self.payouts) :]:
            self.find("OUTB-01", f"effect {index}", "none", self.told.effects[index])

    def effects(self) -> Iterable[tuple[int, AnyEffect]]:
        """Return the effects told, each with its index."""
        return enumerate(self.told.effects)


def _split_steps(events: tuple[AnyEvent, ...]) -> list[list[AnyEvent]]:
    steps: list[list[AnyEvent]] = [[]]
    for event in events:
        if isinstance(event, TimeMoved):
            steps.append([])
        steps[-1].append(event)
    return steps


def _show(value: object) -> str:
    if isinstance(value, msgspec.Struct):
        return repr(value)
    return str(value)
