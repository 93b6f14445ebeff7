"""The outbox: effects that the world still owes, by key, until reported or expired (OUTB-01)."""

from seawall.clearing.cash import finish_payout
from seawall.clearing.layout import AT_NS
from seawall.clearing.liquidation import on_effect
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.state import Pending, State
from seawall.protocol.codes import Reject
from seawall.protocol.commands import EffectStatus, ReportEffect
from seawall.protocol.effects import Payout
from seawall.protocol.events import EffectExpired, EffectReported


def apply_report_effect(
    state: State, command: ReportEffect, sender_id: int, out: Out
) -> Refusal | None:
    """Clear an effect with what became of it. Rejects: TERMS_RANGE, EFFECT_UNKNOWN."""
    if command.status not in (EffectStatus.DONE, EffectStatus.FAILED):
        return Reject.TERMS_RANGE, "status"
    pending = state.tables.outbox.pop((command.seq, command.index), None)
    if pending is None:
        return Reject.EFFECT_UNKNOWN, "seq"
    out.event(EffectReported(command.seq, command.index, command.status))
    _finish(state, out, pending, EffectStatus(command.status))
    return None


def step_outbox(state: State, out: Out) -> None:
    """Take out what has expired: it will never be executed.

    An effect that was executed at the very end and reported too late is refused as unknown and
    for the operators: the venue's own record, by key, tells what happened.
    """
    now = state.scalar[AT_NS]
    expired = [
        (key, pending)
        for key, pending in state.tables.outbox.items()
        if pending.effect.expires_at_ns < now
    ]
    for key, pending in expired:
        del state.tables.outbox[key]
        out.event(EffectExpired(*key))
        _finish(state, out, pending, None)


def _finish(state: State, out: Out, pending: Pending, status: EffectStatus | None) -> None:
    if isinstance(pending.effect, Payout):
        finish_payout(state, out, pending.effect, status)
    if pending.case:
        on_effect(state, pending.case - 1, out)
