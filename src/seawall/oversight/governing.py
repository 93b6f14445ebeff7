"""Rules, parameters, senders, replicas and halts by decree (GOVN, BRKR-03)."""

from seawall.oversight.house import Context, Pending, Sender
from seawall.oversight.record import ACCEPTED, REFUSED, SILENT
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    ActivateRules,
    AddSender,
    Role,
    RotateKey,
    SetHalt,
    SetParameter,
    SetReplicas,
)
from seawall.protocol.events import (
    HaltEnded,
    HaltStarted,
    ParameterSet,
    ReplicasSet,
    RulesActivated,
    SenderChanged,
)
from seawall.protocol.genesis import RULES_VERSION
from seawall.protocol.signatures import KEY_BYTES

ROLES_ALL = sum(Role)
REPLICAS_MAX = 15
LOOSER_WHEN_RAISED = {
    *("stale_ns", "deviation_ppb", "clock_skew_max_ns", "halt_after_ns", "velocity_ppb"),
    *("call_deadline_ns", "liquidation_deadline_ns"),
}
LOOSER_WHEN_LOWERED = {
    *("sources_min", "halt_scale_ppb", "halt_max_ns", "velocity_halt_ns", "warn_ppb"),
    *("stale_initial_ppb", "reports_min", "governance_delay_ns", "withdrawals_locked"),
}


def judge_rules(context: Context, command: ActivateRules) -> int:
    """Return the verdict on a rules version."""
    if command.version <= context.house.rules_version:
        return Reject.RULES_OLD
    return REFUSED if command.version > RULES_VERSION else ACCEPTED


def activate_rules(context: Context, command: ActivateRules) -> None:
    """Note the version."""
    context.house.rules_version = command.version
    context.record.say(RulesActivated(command.version))


def judge_parameter(context: Context, command: SetParameter) -> int:
    """Return the verdict on a parameter: its name is ruled, the range of its value is not."""
    known = command.name in context.house.parameters
    return SILENT if known else Reject.PARAMETER_UNKNOWN


def set_parameter(context: Context, command: SetParameter) -> None:
    """Change it when the house says, having checked that a loosening waits."""
    house, record = context.house, context.record
    told = record.take_parameter(command.name, command.value)
    if told is None:
        record.find("GOVN-02", f"ParameterSet {command.name}", command.value, "no event")
        return
    before = house.parameters[command.name]
    later_ns = house.now_ns + house.parameters["governance_delay_ns"]
    loosens = (command.name in LOOSER_WHEN_RAISED and command.value > before) or (
        command.name in LOOSER_WHEN_LOWERED and command.value < before
    )
    moments = (later_ns,) if loosens else (house.now_ns, later_ns)
    record.require(
        "GOVN-02",
        f"ParameterSet {command.name} takes effect {'later' if loosens else 'now or later'}",
        told.effective_ns in moments,
        told.effective_ns,
    )
    record.say(told)
    # The newest word on a parameter counts: an older one that still waits is dropped.
    house.pending = [each for each in house.pending if each.name != command.name]
    if told.effective_ns <= house.now_ns:
        house.parameters[command.name] = command.value
    else:
        house.pending.append(Pending(command.name, command.value, told.effective_ns))


def step_parameters(context: Context) -> None:
    """Let pending parameters take effect."""
    house = context.house
    due = [each for each in house.pending if each.effective_ns <= house.now_ns]
    house.pending = [each for each in house.pending if each.effective_ns > house.now_ns]
    for each in due:
        house.parameters[each.name] = each.value
        house.prices_moved = True
        context.record.say(ParameterSet(each.name, each.value, house.now_ns))


def judge_sender(context: Context, command: AddSender) -> int:
    """Return the verdict on a new sender."""
    house = context.house
    if not 0 <= command.roles <= ROLES_ALL or len(command.public_key) != KEY_BYTES:
        return REFUSED
    if any(each.name == command.name for each in house.senders.values()):
        return Reject.NAME_TAKEN
    limits = house.limits
    if len(house.senders) >= limits.senders_max:
        return REFUSED
    clocks_full = bool(command.roles & Role.CLOCK) and len(house.clocks) >= limits.clocks_max
    sources_full = bool(command.roles & Role.PRICES) and len(house.sources) >= limits.sources_max
    if clocks_full or sources_full:
        return REFUSED
    # Row 0 of the table may or may not count as a sender; the rules do not say. Nor whether a
    # name may be empty, a sender without roles, or one key belong to two senders.
    keys = [each.public_key for each in house.senders.values()]
    last = len(house.senders) + 1 == limits.senders_max
    odd = command.roles == 0 or not command.name or len(command.name) > 64
    return SILENT if last or odd or command.public_key in keys else ACCEPTED


def add_sender(context: Context, command: AddSender) -> None:
    """Admit the sender under the next id."""
    number = len(context.house.senders) + 1
    context.house.admit(Sender(number, command.name, command.public_key, command.roles))
    context.record.say(SenderChanged(number))


def judge_key(context: Context, command: RotateKey) -> int:
    """Return the verdict on a new key: by the sender itself or by governance."""
    by_itself = command.sender_id == context.sender.id
    if command.sender_id not in context.house.senders:
        return REFUSED
    if not by_itself and not context.sender.roles & Role.GOVERN:
        return Reject.ROLE_MISSING
    return ACCEPTED if len(command.public_key) in (0, KEY_BYTES) else REFUSED


def rotate_key(context: Context, command: RotateKey) -> None:
    """Replace or revoke the key."""
    context.house.senders[command.sender_id].public_key = command.public_key
    context.record.say(SenderChanged(command.sender_id))


def judge_replicas(context: Context, command: SetReplicas) -> int:
    """Return the verdict on a replica set; how a name must look the rules do not say."""
    del context
    names = {each.name for each in command.replicas}
    keys = {each.public_key for each in command.replicas}
    if not 1 <= len(command.replicas) <= REPLICAS_MAX:
        return Reject.TERMS_RANGE
    if min(len(names), len(keys)) < len(command.replicas):
        return Reject.TERMS_RANGE
    return SILENT if all(len(each) == KEY_BYTES for each in keys) else Reject.TERMS_RANGE


def set_replicas(context: Context, command: SetReplicas) -> None:
    """Replace the set; its epoch rises by one."""
    context.house.epoch += 1
    context.house.replicas = command.replicas
    house = context.house
    context.record.say(ReplicasSet(house.log_id, house.epoch, command.replicas))


def judge_halt(context: Context, command: SetHalt) -> int:
    """Return the verdict on a halt by decree."""
    house = context.house
    if command.instrument_id != 0 and command.instrument_id not in house.books.contracts:
        return Reject.INSTRUMENT_UNKNOWN
    lies_ahead = command.until_ns == 0 or command.until_ns > house.now_ns
    return ACCEPTED if lies_ahead else Reject.TIME_RANGE


def set_halt(context: Context, command: SetHalt) -> None:
    """Halt until a time, or resume; a halt that runs longer already is not cut short."""
    house = context.house
    contract = house.books.contracts.get(command.instrument_id)
    before = house.halted_until_ns if contract is None else contract.halted_until_ns
    until_ns = max(before, command.until_ns) if command.until_ns else 0
    if contract is None:
        house.halted_until_ns = until_ns
    else:
        contract.halted_until_ns = until_ns
    if until_ns:
        context.record.say(HaltStarted(command.instrument_id, until_ns, "operator"))
    elif before:
        context.record.say(HaltEnded(command.instrument_id))
