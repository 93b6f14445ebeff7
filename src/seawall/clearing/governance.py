"""Rules, parameters, senders and replicas change by command, never by deployment (GOVN-*)."""

import re

from seawall.clearing.authority import find_sender
from seawall.clearing.layout import AT_NS, EPOCH, RULES
from seawall.clearing.marks import add_source
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.state import Change, Sender, State
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    ActivateRules,
    AddSender,
    ReplicaTerms,
    Role,
    RotateKey,
    SetParameter,
    SetReplicas,
)
from seawall.protocol.events import ParameterSet, ReplicasSet, RulesActivated, SenderChanged
from seawall.protocol.genesis import RULES_VERSION
from seawall.protocol.signatures import KEY_BYTES
from seawall.protocol.units import AMOUNT_MAX, NS_PER_HOUR, PPB

DAY = 24 * NS_PER_HOUR
REPLICAS_MAX = 15
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
"""A replica's name is one word of a subject."""
CHANGES_MAX = 64

# name -> (least, most, whether a larger value is the looser one). GOVN-02.
BOUNDS: dict[str, tuple[int, int, bool]] = {
    "stale_ns": (1, DAY, True),
    "deviation_ppb": (0, PPB, True),
    "sources_min": (1, 64, False),
    "clock_skew_max_ns": (0, DAY, True),
    "halt_after_ns": (0, DAY, True),
    "halt_scale_ppb": (0, 10 * PPB, False),
    "halt_max_ns": (0, 7 * DAY, False),
    "velocity_ppb": (0, 10 * PPB, True),
    "velocity_halt_ns": (0, DAY, False),
    "warn_ppb": (PPB, 100 * PPB, False),
    "call_deadline_ns": (0, 7 * DAY, True),
    "stale_initial_ppb": (PPB, 100 * PPB, False),
    "restore_ppb": (PPB, 10 * PPB, False),
    "orders_per_tick_max": (1, 4096, False),
    "order_ttl_ns": (1, DAY, True),
    "liquidation_deadline_ns": (0, DAY, True),
    "fund_floor_minor": (-AMOUNT_MAX, AMOUNT_MAX, False),
    "adl_winners_max": (1, 4096, False),
    "reports_min": (1, 15, False),
    "payout_ttl_ns": (1, 7 * DAY, True),
    "governance_delay_ns": (0, 30 * DAY, False),
    "withdrawals_locked": (0, 1, False),
    "audit_lines_max": (0, 1 << 20, False),
    "checkpoint_entries": (1, 1 << 20, True),
}


def check_parameter(name: str, value: int) -> Refusal | None:
    """Return why a parameter may not have this value, or None."""
    if name not in BOUNDS:
        return Reject.PARAMETER_UNKNOWN, "name"
    least, most, _ = BOUNDS[name]
    return None if least <= value <= most else (Reject.TERMS_RANGE, "value")


def apply_set_parameter(
    state: State, command: SetParameter, sender_id: int, out: Out
) -> Refusal | None:
    """Tighten at once, loosen after `governance_delay_ns` (GOVN-02).

    Rejects
    -------
    TERMS_RANGE, PARAMETER_UNKNOWN.
    """
    refusal = check_parameter(command.name, command.value)
    if refusal:
        return refusal
    if len(state.tables.changes) >= CHANGES_MAX:
        return Reject.TERMS_RANGE, "name"
    now = state.scalar[AT_NS]
    before, larger_is_looser = state.parameter(command.name), BOUNDS[command.name][2]
    loosens = command.value > before if larger_is_looser else command.value < before
    effective_ns = now + state.parameter("governance_delay_ns") if loosens else now
    # A newer word on the same parameter replaces one that still waits.
    state.tables.changes = [c for c in state.tables.changes if c.name != command.name]
    if effective_ns > now:
        state.tables.changes.append(Change(command.name, command.value, effective_ns))
    else:
        state.tables.parameters[command.name] = command.value
    out.event(ParameterSet(command.name, command.value, effective_ns))
    return None


def step_changes(state: State, out: Out) -> None:
    """Put loosened parameters in force whose time has come."""
    now = state.scalar[AT_NS]
    if not state.tables.changes:
        return
    for change in state.tables.changes:
        if change.effective_ns <= now:
            state.tables.parameters[change.name] = change.value
            out.event(ParameterSet(change.name, change.value, now))
    state.tables.changes = [c for c in state.tables.changes if c.effective_ns > now]


def apply_activate_rules(
    state: State, command: ActivateRules, sender_id: int, out: Out
) -> Refusal | None:
    """Let newer rules hold from the next entry on (GOVN-03).

    A version that this build does not know stops the replica: it must not guess what new rules
    say, and the gateway refuses such a command before it reaches the log.
    """
    if command.version <= state.scalar[RULES]:
        return Reject.RULES_OLD, "version"
    assert command.version <= RULES_VERSION, "rules newer than this build"
    state.scalar[RULES] = command.version
    out.event(RulesActivated(command.version))
    return None


def apply_add_sender(state: State, command: AddSender, sender_id: int, out: Out) -> Refusal | None:
    """Admit a sender. Rejects: TERMS_RANGE, NAME_TAKEN, SENDERS_FULL (GOVN-04)."""
    if len(command.public_key) != KEY_BYTES:
        return Reject.TERMS_RANGE, "public_key"
    if not 0 < command.roles < 2 * max(Role):
        return Reject.TERMS_RANGE, "roles"
    if any(sender.name == command.name for sender in state.tables.senders) or not command.name:
        return Reject.NAME_TAKEN, "name"
    if len(state.tables.senders) >= state.limits.senders_max or not has_room(state, command.roles):
        return Reject.SENDERS_FULL, "roles"
    admit(state, command.name, command.public_key, command.roles)
    out.event(SenderChanged(len(state.tables.senders)))
    return None


def has_room(state: State, roles: int) -> bool:
    """Tell whether there is room for one more source or clock, if the roles ask for one."""
    if roles & Role.PRICES and len(state.tables.sources) >= state.limits.sources_max:
        return False
    return not (roles & Role.CLOCK and len(state.tables.clocks) >= state.limits.clocks_max)


def admit(state: State, name: str, public_key: bytes, roles: int) -> None:
    """Append a sender; its roles give it a place among the sources and clocks."""
    assert has_room(state, roles)
    state.tables.senders.append(Sender(name, public_key, roles))
    sender_id = len(state.tables.senders)
    if roles & Role.PRICES:
        add_source(state, sender_id)
    if roles & Role.CLOCK:
        state.tables.clocks[sender_id] = state.scalar[AT_NS]


def apply_rotate_key(state: State, command: RotateKey, sender_id: int, out: Out) -> Refusal | None:
    """Replace or revoke a key: one's own, or any with GOVERN (GOVN-04)."""
    sender, subject = find_sender(state, sender_id), find_sender(state, command.sender_id)
    assert sender is not None
    if sender_id != command.sender_id and not sender.roles & Role.GOVERN:
        return Reject.ROLE_MISSING, "sender"
    if subject is None:
        return Reject.TERMS_RANGE, "sender_id"
    if len(command.public_key) not in (0, KEY_BYTES):
        return Reject.TERMS_RANGE, "public_key"
    subject.public_key = command.public_key
    out.event(SenderChanged(command.sender_id))
    return None


def are_voters(replicas: tuple[ReplicaTerms, ...]) -> bool:
    """Tell whether these can be a replica set: 1 to 15, names and keys distinct and well formed."""
    if not 1 <= len(replicas) <= REPLICAS_MAX:
        return False
    names, keys = {replica.name for replica in replicas}, {r.public_key for r in replicas}
    if len(names) != len(replicas) or len(keys) != len(replicas):
        return False
    return all(
        len(replica.public_key) == KEY_BYTES and _NAME.fullmatch(replica.name)
        for replica in replicas
    )


def apply_set_replicas(
    state: State, command: SetReplicas, sender_id: int, out: Out
) -> Refusal | None:
    """Replace the voters; the epoch rises, so old votes cannot be counted for the new set."""
    if not are_voters(command.replicas):
        return Reject.TERMS_RANGE, "replicas"
    state.tables.replicas = command.replicas
    state.scalar[EPOCH] += 1
    out.event(ReplicasSet(state.tables.log_id, state.scalar[EPOCH], command.replicas))
    return None
