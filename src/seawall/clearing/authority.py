"""Who may ask for what: senders, keys, numbers and roles (GOVN-01 to GOVN-04)."""

from seawall.clearing.state import Sender, State
from seawall.protocol.codec import SignedBatch
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    ActivateRules,
    AddSender,
    AnyCommand,
    AttestRisk,
    CloseAccount,
    ConfirmReport,
    ListInstrument,
    OpenAccounts,
    OpenSubAccounts,
    PublishPrices,
    PublishRisk,
    RecordDeposits,
    RecordTrades,
    ReportEffect,
    Role,
    RotateKey,
    SetHalt,
    SetMode,
    SetParameter,
    SetReplicas,
    Tick,
    Transfer,
    Withdraw,
)
from seawall.protocol.genesis import COMMANDS_MAX
from seawall.protocol.signatures import verify

ROLES: dict[type[AnyCommand], int] = {
    Tick: Role.CLOCK,
    ActivateRules: Role.GOVERN,
    SetParameter: Role.GOVERN,
    AddSender: Role.GOVERN,
    SetReplicas: Role.GOVERN,
    ListInstrument: Role.GOVERN,
    SetHalt: Role.OPERATE,
    OpenAccounts: Role.CLIENT,
    OpenSubAccounts: Role.CLIENT,
    CloseAccount: Role.CLIENT,
    SetMode: Role.CLIENT,
    Withdraw: Role.CLIENT,
    Transfer: Role.CLIENT,
    RecordDeposits: Role.CUSTODY,
    RecordTrades: Role.TRADES,
    ConfirmReport: Role.TRADES | Role.CUSTODY,
    PublishPrices: Role.PRICES,
    PublishRisk: Role.RISK,
    AttestRisk: Role.ATTEST,
    ReportEffect: Role.EFFECTS,
    # A sender rotates its own key with any role; another's needs GOVERN, which the rule checks.
    RotateKey: ~Role(0),
}
"""Any one of the bits allows the command."""


def find_sender(state: State, sender_id: int) -> Sender | None:
    """Return the sender of this id, or None."""
    senders = state.tables.senders
    return senders[sender_id - 1] if 0 < sender_id <= len(senders) else None


def check_batch(state: State, signed: SignedBatch) -> Reject | int:
    """Return why the batch is refused whole, or the seq at which it was applied before, or 0.

    Rejects
    -------
    LOG_WRONG, SENDER_UNKNOWN, SIGNATURE_BAD, NUMBER_OLD, NUMBER_REUSED, NUMBER_GAP,
    COMMANDS_EMPTY, COMMANDS_MANY, in this order.
    """
    batch = signed.batch
    if batch.log_id != state.tables.log_id:
        return Reject.LOG_WRONG
    sender = find_sender(state, batch.sender_id)
    if sender is None or not sender.public_key:
        return Reject.SENDER_UNKNOWN
    if not verify(sender.public_key, signed.body_digest, signed.signature):
        return Reject.SIGNATURE_BAD
    if batch.number <= sender.number:
        kept = sender.recents.get(batch.number)
        if kept is None:
            return Reject.NUMBER_OLD
        seq, body_digest = kept
        return seq if body_digest == signed.body_digest else Reject.NUMBER_REUSED
    if batch.number != sender.number + 1:
        return Reject.NUMBER_GAP
    if not batch.commands:
        return Reject.COMMANDS_EMPTY
    if len(batch.commands) > COMMANDS_MAX:
        return Reject.COMMANDS_MANY
    return 0


def remember(state: State, signed: SignedBatch, seq: int) -> None:
    """Note the batch as applied at `seq`; the oldest of `recents_max` is forgotten."""
    sender = find_sender(state, signed.batch.sender_id)
    assert sender is not None
    sender.number = signed.batch.number
    sender.recents[signed.batch.number] = (seq, signed.body_digest)
    if len(sender.recents) > state.limits.recents_max:
        del sender.recents[next(iter(sender.recents))]


def may(state: State, sender_id: int, command: AnyCommand) -> bool:
    """Tell whether the sender's roles allow the command."""
    sender = find_sender(state, sender_id)
    assert sender is not None
    return bool(sender.roles & ROLES[type(command)])
