"""Proposed, attested and lapsed risk arrays (MARG-04)."""

from seawall.oversight.books import Contract
from seawall.oversight.house import Context, House, Unit
from seawall.oversight.record import ACCEPTED, REFUSED, SILENT
from seawall.protocol.codec import encode_any, unpack_int32, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AttestRisk, PublishRisk
from seawall.protocol.digest import digest
from seawall.protocol.events import RiskActivated, RiskLapsed, RiskProposed
from seawall.protocol.units import AMOUNT_MAX


def judge_proposal(context: Context, command: PublishRisk) -> int:
    """Return the verdict on proposed arrays: refused where a written bound is broken."""
    house = context.house
    if _shape_broken(house, command):
        return REFUSED
    listed = [house.books.contracts.get(each) for each in unpack_int32(command.instruments)]
    if None in listed or len({each.id for each in listed if each}) != len(listed):
        return REFUSED
    contracts = [each for each in listed if each is not None]
    if any(each.terms.risk_unit != command.unit_id for each in contracts):
        return REFUSED
    values = unpack_int64(command.values)
    pairs = list(zip(contracts, values, strict=True))
    if any(not 0 <= value <= _largest_value(contract) for contract, value in pairs):
        return REFUSED
    if len(command.row_names) not in (0, command.row_count):
        return REFUSED
    if len(listed) > house.limits.column_max or any(len(each) > 64 for each in command.row_names):
        return REFUSED
    if _largest_loss(contracts, command) > AMOUNT_MAX:
        return REFUSED
    return ACCEPTED if contracts else SILENT


def _largest_value(contract: Contract) -> int:
    """Return the largest value of a lot that may be published: an option's only."""
    return contract.terms.price_max * contract.terms.value_per_tick * contract.is_option


def _shape_broken(house: House, command: PublishRisk) -> bool:
    count = len(command.instruments) // 4
    return (
        not 1 <= command.unit_id < house.limits.units_max
        or not 0 < command.row_count <= house.limits.rows_max
        or command.scale <= 0
        or command.expires_at_ns <= house.now_ns
        or len(command.instruments) % 4 != 0
        or len(command.rows) != 4 * count * command.row_count
        or len(command.values) != 8 * count
    )


def _largest_loss(contracts: list[Contract], command: PublishRisk) -> int:
    """Return the bound on any account's row: every lot of the limit at its worst cell."""
    cells, width = unpack_int32(command.rows), command.row_count
    total = 0
    for position, contract in enumerate(contracts):
        row = cells[position * width : (position + 1) * width]
        total += contract.terms.lots_max * max(abs(cell) for cell in row)
    return total * command.scale


def propose(context: Context, command: PublishRisk) -> None:
    """Keep the proposal; the newest of a unit replaces the one before."""
    unit = context.house.units.setdefault(command.unit_id, Unit(command.unit_id))
    unit.proposal = command
    unit.proposal_digest = digest(encode_any(command), person=b"seawall/risk")
    unit.proposer = context.sender.id
    context.record.say(RiskProposed(command.unit_id, unit.proposal_digest))


def judge_attestation(context: Context, command: AttestRisk) -> int:
    """Return the verdict on an attestation."""
    house = context.house
    unit = house.units.get(command.unit_id)
    if unit is None or unit.proposal is None or unit.proposal_digest != command.report_digest:
        # A unit that cannot exist may be answered as a term out of range.
        return Reject.RISK_UNKNOWN if 1 <= command.unit_id < house.limits.units_max else REFUSED
    if unit.proposer == context.sender.id:
        return Reject.SENDERS_SAME
    assert isinstance(unit.proposal, PublishRisk)
    if unit.proposal.expires_at_ns == house.now_ns:
        return SILENT
    return Reject.RISK_EXPIRED if unit.proposal.expires_at_ns < house.now_ns else ACCEPTED


def activate(context: Context, command: AttestRisk) -> None:
    """Let the proposed arrays count from now on; the unit's other instruments have none."""
    house = context.house
    unit = house.units[command.unit_id]
    proposal = unit.proposal
    assert isinstance(proposal, PublishRisk)
    cells, values = unpack_int32(proposal.rows), unpack_int64(proposal.values)
    for contract in house.books.contracts.values():
        if contract.terms.risk_unit == unit.id:
            contract.rows = ()
    for position, each in enumerate(unpack_int32(proposal.instruments)):
        contract = house.books.contracts[each]
        start = position * proposal.row_count
        contract.rows = cells[start : start + proposal.row_count]
        if contract.is_option:
            contract.option_value = values[position]
    unit.status, unit.scale = 1, proposal.scale
    unit.expires_at_ns = proposal.expires_at_ns
    unit.proposal = None
    house.prices_moved = True
    context.record.say(RiskActivated(unit.id, command.report_digest, unit.expires_at_ns))


def step_lapses(context: Context) -> None:
    """Let arrays lapse whose expiry has passed."""
    house = context.house
    for _, unit in sorted(house.units.items()):
        if unit.status == 1 and house.now_ns > unit.expires_at_ns:
            unit.status = 2
            house.prices_moved = True
            context.record.say(RiskLapsed(unit.id))
