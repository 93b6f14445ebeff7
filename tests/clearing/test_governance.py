"""Parameters, senders, keys and voters change by command (GOVN-02 to GOVN-04)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.clearing import governance
from seawall.clearing.governance import (
    BOUNDS,
    apply_activate_rules,
    apply_add_sender,
    apply_rotate_key,
    apply_set_parameter,
    apply_set_replicas,
    check_parameter,
    step_changes,
)
from seawall.clearing.layout import AT_NS, EPOCH, RULES
from seawall.clearing.outcome import Out
from seawall.clearing.state import State
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
from seawall.protocol.events import RulesActivated
from seawall.protocol.genesis import RULES_VERSION, Parameters
from tests.clearing import builders
from tests.clearing.builders import CLIENT, GOVERN, sender_key

DELAY_NS = Parameters().governance_delay_ns
names = st.sampled_from(sorted({*BOUNDS} - {"governance_delay_ns"}))


@st.composite
def settings_of(draw: st.DrawFn) -> tuple[str, int]:
    name = draw(names)
    least, most, _ = BOUNDS[name]
    return name, draw(st.integers(least, most) | st.sampled_from((least, most)))


def test_every_parameter_has_bounds_and_its_default_lies_within() -> None:
    assert {*BOUNDS} == {*Parameters.__struct_fields__}
    for name in BOUNDS:
        assert check_parameter(name, getattr(Parameters(), name)) is None


@settings(max_examples=200)
@given(st.lists(st.tuples(settings_of(), st.integers(0, DELAY_NS)), max_size=12))
def test_a_model_of_delays_agrees(drawn: list[tuple[tuple[str, int], int]]) -> None:
    """Tighter at once, looser after the delay, the newest word alone."""
    state = builders.house(0, priced=False)
    now = state.scalar[AT_NS]
    force = dict(state.tables.parameters)
    waiting: dict[str, tuple[int, int]] = {}
    for (name, value), pause_ns in drawn:
        now += pause_ns
        state.scalar[AT_NS] = now
        step_changes(state, builders.enter(state))
        for other, (wanted, at_ns) in list(waiting.items()):
            if at_ns <= now:
                force[other] = wanted
                del waiting[other]
        assert state.tables.parameters == force
        out = builders.enter(state)
        assert apply_set_parameter(state, SetParameter(name, value), GOVERN, out) is None
        larger_is_looser = BOUNDS[name][2]
        looser = value > force[name] if larger_is_looser else value < force[name]
        waiting.pop(name, None)
        if looser:
            waiting[name] = (value, now + DELAY_NS)
        else:
            force[name] = value
        assert state.tables.parameters == force
        assert {c.name: (c.value, c.effective_ns) for c in state.tables.changes} == waiting


@given(names, st.integers(-(1 << 63), (1 << 63) - 1))
def test_no_parameter_leaves_its_bounds(name: str, value: int) -> None:
    state = builders.house(0, priced=False)
    before = list(state.pages())
    least, most, _ = BOUNDS[name]
    refusal = apply_set_parameter(state, SetParameter(name, value), GOVERN, Out(state))
    assert refusal == (None if least <= value <= most else (Reject.TERMS_RANGE, "value"))
    assert refusal is None or list(state.pages()) == before


def test_newer_rules_than_the_build_stop_it() -> None:
    """Nobody guesses what rules say that this build does not know (GOVN-03)."""
    state = builders.house(0, priced=False)
    for version in range(-1, RULES_VERSION + 1):
        refusal = apply_activate_rules(state, ActivateRules(version), GOVERN, Out(state))
        assert refusal == (Reject.RULES_OLD, "version")
    with pytest.raises(AssertionError):
        apply_activate_rules(state, ActivateRules(RULES_VERSION + 1), GOVERN, Out(state))
    assert state.scalar[RULES] == RULES_VERSION


def test_rules_that_the_build_knows_are_activated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it will be once there are second rules."""
    monkeypatch.setattr(governance, "RULES_VERSION", 2)
    state = builders.house(0, priced=False)
    out = builders.enter(state)
    assert apply_activate_rules(state, ActivateRules(2), GOVERN, out) is None
    assert out.events == [RulesActivated(2)]
    assert state.scalar[RULES] == 2


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1023)), max_size=40))
def test_senders_are_admitted_while_there_is_room_for_their_roles(
    drawn: list[tuple[int, int]],
) -> None:
    state = builders.house(0, priced=False)
    for name, roles in drawn:
        before = list(state.pages())
        known = {sender.name for sender in state.tables.senders}
        command = AddSender(f"new {name}", sender_key(40 + name).public_key, roles)
        refusal = apply_add_sender(state, command, GOVERN, builders.enter(state))
        if refusal:
            assert refusal[0] in (Reject.TERMS_RANGE, Reject.NAME_TAKEN, Reject.SENDERS_FULL)
            state.scalar[0] -= 1
            assert list(state.pages()) == before
        else:
            assert roles
            assert f"new {name}" not in known
        clocks = [i for i, s in enumerate(state.tables.senders, 1) if s.roles & Role.CLOCK]
        sources = [i for i, s in enumerate(state.tables.senders, 1) if s.roles & Role.PRICES]
        assert list(state.tables.clocks) == clocks
        assert state.tables.sources == sources
        assert len(clocks) <= state.limits.clocks_max
        assert len(sources) <= state.limits.sources_max


@given(st.integers(1, 12), st.integers(-1, 14), st.sampled_from((0, 31, 32, 33)))
def test_a_key_is_changed_by_its_sender_or_by_governance(
    sender: int, subject: int, size: int
) -> None:
    state = builders.house(0, priced=False)
    keys = [each.public_key for each in state.tables.senders]
    command = RotateKey(subject, bytes(size))
    refusal = apply_rotate_key(state, command, sender, Out(state))
    allowed = sender in (subject, GOVERN) and 1 <= subject <= 12 and size in (0, 32)
    assert (refusal is None) == allowed
    if allowed:
        keys[subject - 1] = bytes(size)
    assert [each.public_key for each in state.tables.senders] == keys


def replicas(*labels: str, key: int | None = None) -> SetReplicas:
    return SetReplicas(
        tuple(
            ReplicaTerms(label, sender_key(60 + place if key is None else key).public_key)
            for place, label in enumerate(labels)
        )
    )


@pytest.mark.parametrize(
    ("command", "fits"),
    [
        (replicas("r1"), True),
        (replicas(*(f"r{n}" for n in range(15))), True),
        (replicas(*(f"r{n}" for n in range(16))), False),
        (replicas(), False),
        (replicas("r1", "r1"), False),
        (replicas("r1", "r2", key=3), False),
        (replicas("R1"), False),
        (replicas("r1.votes"), False),
        (replicas(""), False),
        (SetReplicas((ReplicaTerms("r1", bytes(31)),)), False),
    ],
)
def test_voters_are_distinct_and_each_change_is_an_epoch(command: SetReplicas, fits: bool) -> None:
    state = builders.house(0, priced=False)
    before = state.tables.replicas
    refusal = apply_set_replicas(state, command, GOVERN, Out(state))
    assert refusal == (None if fits else (Reject.TERMS_RANGE, "replicas"))
    assert state.tables.replicas == (command.replicas if fits else before)
    assert state.scalar[EPOCH] == (2 if fits else 1)


def rotate(state: State, sender: int) -> object:
    return apply_rotate_key(state, RotateKey(CLIENT, b""), sender, Out(state))


def test_nobody_else_revokes_a_key() -> None:
    state = builders.house(0, priced=False)
    assert rotate(state, CLIENT + 1) == (Reject.ROLE_MISSING, "sender")
    assert rotate(state, GOVERN) is None
