"""MARG-04: risk arrays count once attested by another sender, and only until they expire."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.clearing.layout import (
    AT_NS,
    MARK_GRADE,
    MARK_VALUE,
    OPTION_VALUE,
    RISK_ROWS_KNOWN,
    UNIT_EXPIRES,
    UNIT_ROWS,
    UNIT_SCALE,
    UNIT_STATUS,
)
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.riskbook import (
    ACTIVE,
    LAPSED,
    apply_attest_risk,
    apply_publish_risk,
    risk_digest,
)
from seawall.clearing.state import State
from seawall.protocol.codec import pack_int32, pack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AttestRisk, PublishRisk
from seawall.protocol.events import Grade, RiskActivated, RiskLapsed, RiskProposed
from seawall.protocol.units import AMOUNT_MAX, NS_PER_HOUR
from tests.clearing.builders import (
    ATTEST,
    CALL,
    FUTURE,
    LINEAR,
    PRICED_NS,
    RISK,
    RISK_UNIT,
    enter,
    house,
    linear,
    move,
    option,
)

EXPIRES_NS = PRICED_NS + NS_PER_HOUR


def arrays(**changes: Any) -> PublishRisk:
    """Return arrays of three rows for the linear perpetual and the call."""
    command = PublishRisk(
        unit_id=RISK_UNIT,
        row_count=3,
        scale=1,
        expires_at_ns=EXPIRES_NS,
        instruments=pack_int32([LINEAR, CALL]),
        rows=pack_int32([-5, 0, 5, -1, 0, 2]),
        values=pack_int64([0, 7_000_000]),
        row_names=("down", "flat", "up"),
    )
    return msgspec.structs.replace(command, **changes)


def publish_risk(state: State, command: PublishRisk) -> tuple[Refusal | None, Out]:
    out = enter(state)
    return apply_publish_risk(state, command, RISK, out), out


def attest_it(state: State, command: PublishRisk, by: int = ATTEST) -> tuple[Refusal | None, Out]:
    out = enter(state)
    word = AttestRisk(command.unit_id, risk_digest(command))
    return apply_attest_risk(state, word, by, out), out


def test_a_proposal_changes_nothing_until_it_is_attested() -> None:
    state = house(0)
    rows, units, instruments = state.rows.copy(), state.units.copy(), state.instruments.copy()
    refusal, out = publish_risk(state, arrays())
    assert refusal is None
    assert out.events == [RiskProposed(RISK_UNIT, risk_digest(arrays()))]
    assert (state.rows == rows).all()
    assert (state.units == units).all()
    assert (state.instruments == instruments).all()


def test_attested_arrays_count() -> None:
    state = house(0)
    publish_risk(state, arrays(scale=1_000))
    refusal, out = attest_it(state, arrays(scale=1_000))
    assert refusal is None
    told = risk_digest(arrays(scale=1_000))
    assert out.events == [RiskActivated(RISK_UNIT, told, EXPIRES_NS)]
    assert state.tables.active_risk == {RISK_UNIT: told}
    assert state.tables.row_names[RISK_UNIT] == ("down", "flat", "up")
    assert state.unit[RISK_UNIT, UNIT_STATUS] == ACTIVE
    assert state.unit[RISK_UNIT, UNIT_ROWS] == 3
    assert state.unit[RISK_UNIT, UNIT_SCALE] == 1_000
    assert state.unit[RISK_UNIT, UNIT_EXPIRES] == EXPIRES_NS
    # Padded to 16 rows by repeating the first.
    assert state.rows[LINEAR].tolist() == [-5, 0, 5] + [-5] * 13
    assert state.rows[CALL].tolist() == [-1, 0, 2] + [-1] * 13
    assert state.instrument[LINEAR, RISK_ROWS_KNOWN] == 1
    assert state.instrument[FUTURE, RISK_ROWS_KNOWN] == 0
    assert state.instrument[CALL, OPTION_VALUE] == 7_000_000


def test_what_new_arrays_leave_out_falls_to_the_default() -> None:
    state = house(0)
    for command in (
        arrays(),
        arrays(
            instruments=pack_int32([FUTURE]),
            rows=pack_int32([1, 2, 3]),
            values=pack_int64([0]),
        ),
    ):
        publish_risk(state, command)
        assert attest_it(state, command)[0] is None
    assert state.instrument[LINEAR, RISK_ROWS_KNOWN] == 0
    assert state.instrument[CALL, RISK_ROWS_KNOWN] == 0
    assert state.instrument[FUTURE, RISK_ROWS_KNOWN] == 1
    assert not state.rows[LINEAR].any()
    move(state, 50_000)
    assert state.instrument[CALL, MARK_GRADE] == Grade.STALE


def test_the_newest_proposal_replaces_the_last() -> None:
    state = house(0)
    publish_risk(state, arrays())
    publish_risk(state, arrays(scale=2))
    assert attest_it(state, arrays())[0] == (Reject.RISK_UNKNOWN, "report_digest")
    assert attest_it(state, arrays(scale=2))[0] is None


def test_nobody_attests_his_own_proposal() -> None:
    state = house(0)
    publish_risk(state, arrays())
    before = state.digest()
    out = Out(state)
    word = AttestRisk(RISK_UNIT, risk_digest(arrays()))
    assert apply_attest_risk(state, word, RISK, out) == (Reject.SENDERS_SAME, "sender")
    assert out.events == []
    assert state.digest() == before


def test_an_attestation_is_for_these_very_bytes_and_once() -> None:
    state = house(0)
    assert attest_it(state, arrays())[0] == (Reject.RISK_UNKNOWN, "report_digest")
    publish_risk(state, arrays())
    changed = arrays(rows=pack_int32([-5, 0, 5, -1, 0, 3]))
    assert attest_it(state, changed)[0] == (Reject.RISK_UNKNOWN, "report_digest")
    assert attest_it(state, arrays())[0] is None
    assert attest_it(state, arrays())[0] == (Reject.RISK_UNKNOWN, "report_digest")


def test_expired_arrays_are_not_attested() -> None:
    state = house(0)
    publish_risk(state, arrays())
    state.scalar[AT_NS] = EXPIRES_NS
    assert attest_it(state, arrays())[0] == (Reject.RISK_EXPIRED, "report_digest")
    assert state.unit[RISK_UNIT, UNIT_STATUS] == 0


def test_arrays_lapse_once_after_their_last_nanosecond() -> None:
    state = house(0)
    publish_risk(state, arrays())
    attest_it(state, arrays())
    move(state, 50_000)
    assert state.instrument[CALL, MARK_VALUE] == 7_000_000

    def lapses(at_ns: int) -> list[Any]:
        out = move(state, 50_000, after_ns=at_ns - state.scalar[AT_NS])
        return [event for event in out.events if isinstance(event, RiskLapsed)]

    assert lapses(EXPIRES_NS) == []
    assert lapses(EXPIRES_NS + 1) == [RiskLapsed(RISK_UNIT)]
    assert state.unit[RISK_UNIT, UNIT_STATUS] == LAPSED
    assert state.instrument[CALL, MARK_GRADE] == Grade.STALE
    assert lapses(EXPIRES_NS + 2) == []


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"instruments": b""}, Reject.COLUMN_LENGTH, "instruments"),
        ({"instruments": b"\1"}, Reject.COLUMN_LENGTH, "instruments"),
        ({"values": pack_int64([0])}, Reject.COLUMN_LENGTH, "values"),
        ({"rows": pack_int32([1, 2, 3, 4, 5])}, Reject.COLUMN_LENGTH, "rows"),
        ({"row_count": 2}, Reject.COLUMN_LENGTH, "rows"),
        ({"instruments": pack_int32([LINEAR, 5])}, Reject.INSTRUMENT_UNKNOWN, "instruments[1]"),
        ({"instruments": pack_int32([0, CALL])}, Reject.INSTRUMENT_UNKNOWN, "instruments[0]"),
        ({"values": pack_int64([0, -1])}, Reject.AMOUNT_RANGE, "values[1]"),
        ({"values": pack_int64([1, 0])}, Reject.AMOUNT_RANGE, "values[0]"),
        ({"values": pack_int64([0, 10**12 + 1])}, Reject.AMOUNT_RANGE, "values[1]"),
        ({"unit_id": 0}, Reject.TERMS_RANGE, "unit_id"),
        ({"unit_id": 4}, Reject.TERMS_RANGE, "unit_id"),
        ({"row_names": ("one",)}, Reject.TERMS_RANGE, "row_names"),
        ({"row_names": ("x" * 65, "y", "z")}, Reject.TERMS_RANGE, "row_names"),
        ({"row_count": 0, "rows": b"", "row_names": ()}, Reject.SCALE_WRONG, "row_count"),
        ({"scale": 0}, Reject.SCALE_WRONG, "scale"),
        ({"scale": -1}, Reject.SCALE_WRONG, "scale"),
        ({"scale": AMOUNT_MAX}, Reject.SCALE_WRONG, "scale"),
        ({"instruments": pack_int32([CALL, CALL])}, Reject.NAME_TAKEN, "instruments[1]"),
        ({"unit_id": 2}, Reject.KIND_WRONG, "instruments[0]"),
        ({"expires_at_ns": PRICED_NS}, Reject.RISK_EXPIRED, "expires_at_ns"),
    ],
)
def test_wrong_arrays_are_named_and_leave_no_trace(
    changes: dict[str, Any], code: Reject, field: str
) -> None:
    state = house(0)
    before = state.digest()
    out = Out(state)
    assert apply_publish_risk(state, arrays(**changes), RISK, out) == (code, field)
    assert out.events == []
    assert state.digest() == before


def test_too_many_rows_are_refused() -> None:
    state = house(0)
    command = arrays(row_count=17, rows=pack_int32([0] * 34), row_names=())
    assert publish_risk(state, command)[0] == (Reject.SCALE_WRONG, "row_count")


@given(
    st.lists(
        st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=2), min_size=2, max_size=2
    ),
    st.integers(1, AMOUNT_MAX) | st.integers(1, 10**6),
    st.integers(1, 400_000),
)
def test_the_largest_loss_fits_or_the_scale_is_wrong(
    cells: list[list[int]], scale: int, lots_max: int
) -> None:
    contracts = [linear(lots_max=lots_max), option(lots_max=lots_max)]
    state = house(0, contracts=contracts, priced=False)
    command = arrays(
        row_count=2,
        scale=scale,
        instruments=pack_int32([1, 2]),
        rows=pack_int32(cells[0] + cells[1]),
        values=pack_int64([0, 0]),
        row_names=(),
    )
    worst = lots_max * sum(max(abs(cell) for cell in row) for row in cells) * scale
    refusal, _ = publish_risk(state, command)
    assert refusal == (None if worst < 1 << 62 else (Reject.SCALE_WRONG, "scale"))
