"""Effects leave the outbox once: done, failed or expired (OUTB-01)."""

from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing.layout import AT_NS, SEQ
from seawall.clearing.outbox import apply_report_effect, step_outbox
from seawall.clearing.outcome import Out
from seawall.protocol.codes import Reject
from seawall.protocol.commands import EffectStatus, ReportEffect
from seawall.protocol.effects import RaiseAlarm
from seawall.protocol.events import EffectExpired, EffectReported
from seawall.protocol.units import NS_PER_SECOND
from tests.clearing import builders
from tests.clearing.builders import EFFECTS

actions = st.lists(
    st.tuples(
        st.sampled_from(("emit", "emit", "report", "tick")), st.integers(0, 9), st.integers(-1, 4)
    ),
    max_size=50,
)


@given(actions)
def test_a_model_of_what_is_owed_agrees(drawn: list[tuple[str, int, int]]) -> None:
    state = builders.house(0, priced=False)
    owed: dict[tuple[int, int], int] = {}
    gone: list[tuple[int, int]] = []
    for action, choice, status in drawn:
        out = builders.enter(state)
        now = state.scalar[AT_NS]
        if action == "emit":
            for index in range(choice % 3):
                expires_ns = now + choice * NS_PER_SECOND
                key = out.effect(RaiseAlarm(expires_ns, "test", index))
                assert key == (state.scalar[SEQ], index)
                owed[key] = expires_ns
        elif action == "report":
            keys = [*owed, *gone, (choice, 0)]
            key = keys[choice % len(keys)]
            refusal = apply_report_effect(state, ReportEffect(*key, status), EFFECTS, out)
            if status not in (EffectStatus.DONE, EffectStatus.FAILED):
                assert refusal == (Reject.TERMS_RANGE, "status")
            elif key not in owed:
                assert refusal == (Reject.EFFECT_UNKNOWN, "seq")
            else:
                assert refusal is None
                assert out.events == [EffectReported(*key, status)]
                del owed[key]
                gone.append(key)
        else:
            state.scalar[AT_NS] = now + choice * NS_PER_SECOND
            step_outbox(state, out)
            expired = [key for key, at_ns in owed.items() if at_ns < state.scalar[AT_NS]]
            assert out.events == [EffectExpired(*key) for key in expired]
            for key in expired:
                del owed[key]
            gone += expired
        assert [*state.tables.outbox] == [*owed]


def test_what_does_not_fit_is_told_before_it_is_tried() -> None:
    state = builders.house(0, priced=False)
    out = Out(state)
    for index in range(state.limits.outbox_max):
        assert not out.outbox_full()
        out.effect(RaiseAlarm(0, "test", index))
    assert out.outbox_full()
    assert not Out(builders.house(0, priced=False)).outbox_full(state.limits.outbox_max)
    assert Out(builders.house(0, priced=False)).outbox_full(state.limits.outbox_max + 1)
