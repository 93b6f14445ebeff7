"""Published risk arrays: proposed by one pricer, attested by another, lapsing by time (MARG-04).

Integers are a model's only way in: the arrays count once a second, independent pricer has vouched
for their digest, and only until they expire.
"""

import numpy as np

from seawall.clearing.columns import check_columns
from seawall.clearing.layout import (
    AT_NS,
    INSTRUMENTS_USED,
    KIND,
    LOTS_MAX,
    OPTION_VALUE,
    PRICE_MAX,
    RISK_ROWS_KNOWN,
    RISK_UNIT,
    UNIT_EXPIRES,
    UNIT_ROWS,
    UNIT_SCALE,
    UNIT_STATUS,
    VALUE_PER_TICK,
)
from seawall.clearing.ledger import is_instrument
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.state import Int32, Proposal, State
from seawall.protocol.codec import encode_any, unpack_int32, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AttestRisk, Kind, PublishRisk
from seawall.protocol.digest import digest
from seawall.protocol.events import RiskActivated, RiskLapsed, RiskProposed
from seawall.protocol.units import AMOUNT_MAX

ACTIVE, LAPSED = 1, 2
CELL_BYTES = 4
NAME_LENGTH_MAX = 64


def risk_digest(command: PublishRisk) -> bytes:
    """Return what an attestation vouches for."""
    return digest(encode_any(command), person=b"seawall/risk")


def apply_publish_risk(
    state: State, command: PublishRisk, sender_id: int, out: Out
) -> Refusal | None:
    """Keep a proposal until another sender attests it; the newest of a unit replaces the last.

    Rejects
    -------
    COLUMN_LENGTH, COLUMN_LONG, INSTRUMENT_UNKNOWN, AMOUNT_RANGE, TERMS_RANGE, SCALE_WRONG,
    NAME_TAKEN, KIND_WRONG, RISK_EXPIRED.
    """
    refusal = _check_arrays(state, command) or _check_unit(state, command)
    if refusal:
        return refusal
    state.tables.proposals[command.unit_id] = Proposal(sender_id, command)
    out.event(RiskProposed(command.unit_id, risk_digest(command)))
    return None


def apply_attest_risk(
    state: State, command: AttestRisk, sender_id: int, out: Out
) -> Refusal | None:
    """Let a proposal count from now on, by the word of a sender who did not make it.

    Rejects
    -------
    RISK_UNKNOWN, SENDERS_SAME, RISK_EXPIRED.
    """
    proposal = state.tables.proposals.get(command.unit_id)
    # Who proposed it matters only of arrays that are known.
    if not proposal or risk_digest(proposal.command) != command.report_digest:
        return Reject.RISK_UNKNOWN, "report_digest"
    if proposal.proposer == sender_id:
        return Reject.SENDERS_SAME, "sender"
    if proposal.command.expires_at_ns <= state.scalar[AT_NS]:
        return Reject.RISK_EXPIRED, "report_digest"
    _activate(state, proposal.command)
    del state.tables.proposals[command.unit_id]
    state.tables.active_risk[command.unit_id] = command.report_digest
    out.event(RiskActivated(command.unit_id, command.report_digest, proposal.command.expires_at_ns))
    return None


def step_lapses(state: State, out: Out) -> None:
    """Note the units whose arrays have expired: from now on the safe default holds for them."""
    now = state.scalar[AT_NS]
    for unit in range(1, state.limits.units_max):
        if state.unit[unit, UNIT_STATUS] == ACTIVE and now > state.unit[unit, UNIT_EXPIRES]:
            state.unit[unit, UNIT_STATUS] = LAPSED
            out.event(RiskLapsed(unit))


def _check_arrays(state: State, command: PublishRisk) -> Refusal | None:
    """Return what is wrong with the columns, their instruments and values."""
    refusal = check_columns(state, command, (("instruments", 4), ("values", 8)))
    if refusal:
        return refusal
    cells = len(command.instruments) // CELL_BYTES * max(command.row_count, 0)
    if len(command.rows) != cells * CELL_BYTES:
        return Reject.COLUMN_LENGTH, "rows"
    instruments = unpack_int32(command.instruments)
    for place, instrument in enumerate(instruments):
        if not is_instrument(state, instrument):
            return Reject.INSTRUMENT_UNKNOWN, f"instruments[{place}]"
    for place, value in enumerate(unpack_int64(command.values)):
        if not 0 <= value <= _value_max(state, instruments[place]):
            return Reject.AMOUNT_RANGE, f"values[{place}]"
    return None


def _check_unit(state: State, command: PublishRisk) -> Refusal | None:
    """Return what contradicts the unit: its number, rows, scale, members or time."""
    if not 0 < command.unit_id < state.limits.units_max:
        return Reject.TERMS_RANGE, "unit_id"
    if not _are_names(command):
        return Reject.TERMS_RANGE, "row_names"
    if not 0 < command.row_count <= state.limits.rows_max:
        return Reject.SCALE_WRONG, "row_count"
    if command.scale <= 0 or not _is_bounded(state, command):
        return Reject.SCALE_WRONG, "scale"
    instruments = unpack_int32(command.instruments)
    for place, instrument in enumerate(instruments):
        if instrument in instruments[:place]:
            return Reject.NAME_TAKEN, f"instruments[{place}]"
    for place, instrument in enumerate(instruments):
        if state.instrument[instrument, RISK_UNIT] != command.unit_id:
            return Reject.KIND_WRONG, f"instruments[{place}]"
    if command.expires_at_ns <= state.scalar[AT_NS]:
        return Reject.RISK_EXPIRED, "expires_at_ns"
    return None


def _value_max(state: State, instrument: int) -> int:
    """Return the largest value of one lot that was proven to fit; only options have one here."""
    if state.instrument[instrument, KIND] != Kind.OPTION:
        return 0
    return state.instrument[instrument, PRICE_MAX] * state.instrument[instrument, VALUE_PER_TICK]


def _are_names(command: PublishRisk) -> bool:
    if len(command.row_names) not in (0, command.row_count):
        return False
    return all(len(name) <= NAME_LENGTH_MAX for name in command.row_names)


def _is_bounded(state: State, command: PublishRisk) -> bool:
    """Tell whether no portfolio within the lots limits can lose more than fits."""
    cells = unpack_int32(command.rows)
    worst = 0
    for place, instrument in enumerate(unpack_int32(command.instruments)):
        row = cells[place * command.row_count : (place + 1) * command.row_count]
        worst += state.instrument[instrument, LOTS_MAX] * max(abs(cell) for cell in row)
    return worst * command.scale <= AMOUNT_MAX


def _activate(state: State, command: PublishRisk) -> None:
    """Copy rows and values; instruments of the unit that are not among them fall to the default."""
    unit = command.unit_id
    state.unit[unit, UNIT_ROWS] = command.row_count
    state.unit[unit, UNIT_SCALE] = command.scale
    state.unit[unit, UNIT_EXPIRES] = command.expires_at_ns
    state.unit[unit, UNIT_STATUS] = ACTIVE
    state.tables.row_names[unit] = command.row_names
    for instrument in range(1, state.scalar[INSTRUMENTS_USED]):
        if state.instrument[instrument, RISK_UNIT] == unit:
            state.instrument[instrument, RISK_ROWS_KNOWN] = 0
            state.instrument[instrument, OPTION_VALUE] = 0
            state.rows[instrument] = 0
    cells = np.frombuffer(command.rows, "<i4").reshape(-1, command.row_count)
    values = unpack_int64(command.values)
    for place, instrument in enumerate(unpack_int32(command.instruments)):
        state.rows[instrument] = _padded(cells[place], state.limits.rows_max)
        state.instrument[instrument, RISK_ROWS_KNOWN] = 1
        state.instrument[instrument, OPTION_VALUE] = values[place]


def _padded(row: Int32, length: int) -> Int32:
    """Repeat row 0 to the full length: it changes neither the worst loss nor where it binds."""
    padded = np.full(length, row[0], np.int32)
    padded[: len(row)] = row
    return padded
