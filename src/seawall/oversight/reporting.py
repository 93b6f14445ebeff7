"""Reports by quorum, and what they book: deposits and fills (LEDG-03, LEDG-05)."""

from seawall.oversight.books import (
    AMOUNT_BOUND,
    STATUS_TRADING,
    Account,
    Contract,
    Holding,
    ceil_div,
    fill_side,
)
from seawall.oversight.cash import may_receive, move
from seawall.oversight.house import Context, House, Report
from seawall.oversight.record import ACCEPTED, REFUSED, SILENT
from seawall.protocol.codec import encode_any, pack_int64, unpack_int32, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import ConfirmReport, RecordDeposits, RecordTrades, Role
from seawall.protocol.digest import digest
from seawall.protocol.events import (
    DepositsRecorded,
    ReportPending,
    ReportsDisagree,
    TradesRecorded,
    Why,
)
from seawall.protocol.ids import EXTERNAL, FEES
from seawall.protocol.units import PPB

AHEAD_MAX = 8
SLOTS = 16


def judge_report(context: Context, command: RecordTrades | RecordDeposits | ConfirmReport) -> int:
    """Return the verdict on telling a report."""
    house = context.house
    if isinstance(command, ConfirmReport):
        shape: int = ACCEPTED
    else:
        shape = _shape_fault(house, command)
    if shape:
        return shape
    if command.stream < 1:
        return REFUSED
    known = set(house.reports) | set(house.booked)
    if command.stream not in known and len(known) >= house.limits.streams_max:
        return REFUSED
    last = house.booked.get(command.stream, 0)
    if command.number <= last:
        return Reject.REPORT_OLD
    if command.number > last + AHEAD_MAX:
        return Reject.REPORT_GAP
    alone = house.parameters["reports_min"] == 1 and not isinstance(command, ConfirmReport)
    if alone and command.number == last + 1:
        return _judge_booking(context, command)
    waiting = house.reports.get(command.stream, {})
    report = waiting.get(command.number)
    if report is None:
        count = sum(len(each) for each in house.reports.values())
        return Reject.REPORTS_FULL if count >= house.limits.reports_max else ACCEPTED
    return Reject.SENDERS_SAME if context.sender.id in report.votes else ACCEPTED


def _judge_booking(context: Context, command: RecordTrades | RecordDeposits | ConfirmReport) -> int:
    """Return the verdict on what is booked at once; a refusal spends the number all the same."""
    if not isinstance(command, RecordDeposits):
        return ACCEPTED
    house = context.house
    fault = _overflow(house, command)
    if fault:
        house.booked[command.stream] = command.number
        house.reports.setdefault(command.stream, {}).pop(command.number, None)
        _book_ready(context, command.stream)
    return fault


def report_digest(command: RecordTrades | RecordDeposits) -> bytes:
    """Return what reporters vouch for."""
    return digest(encode_any(command), person=b"seawall/report")


def _shape_fault(house: House, command: RecordTrades | RecordDeposits) -> int:
    """Return what is wrong with the columns, or ACCEPTED."""
    if isinstance(command, RecordTrades):
        cells: tuple[int, ...] = (8, 8, 4, 8, 8, 1)
        columns: tuple[bytes, ...] = (
            *(command.buyers, command.sellers, command.instruments),
            *(command.lots, command.prices, command.flags),
        )
    else:
        cells = (8, 4, 8)
        columns = (command.accounts, command.assets, command.amounts)
    if any(len(column) % cell for column, cell in zip(columns, cells, strict=True)):
        return Reject.COLUMN_LENGTH
    counts = {len(column) // cell for column, cell in zip(columns, cells, strict=True)}
    if len(counts) != 1:
        return Reject.COLUMN_LENGTH
    if max(counts) == 0:
        return SILENT
    if max(counts) > house.limits.column_max:
        return Reject.COLUMN_LONG
    if isinstance(command, RecordTrades):
        return ACCEPTED
    return _deposit_fault(house, command)


def _deposit_fault(house: House, command: RecordDeposits) -> int:
    faults = []
    accounts = [house.account(each) for each in unpack_int64(command.accounts)]
    if None in accounts:
        faults.append(int(Reject.ACCOUNT_UNKNOWN))
    if any(not 0 <= each < len(house.assets) for each in unpack_int32(command.assets)):
        faults.append(Reject.ASSET_UNKNOWN)
    if any(not 0 < each < AMOUNT_BOUND for each in unpack_int64(command.amounts)):
        faults.append(Reject.AMOUNT_RANGE)
    if any(each is not None and not may_receive(each) for each in accounts):
        faults.append(REFUSED)
    return min(faults, default=ACCEPTED)


def tell_report(context: Context, command: RecordTrades | RecordDeposits | ConfirmReport) -> None:
    """Count the sender's word, then book whatever is ready, in order of number."""
    house = context.house
    waiting = house.reports.setdefault(command.stream, {})
    report = waiting.setdefault(command.number, Report(house.now_ns))
    if isinstance(command, ConfirmReport):
        told = command.report_digest
    else:
        told = report_digest(command)
        report.bodies[told] = command
    if any(vote != told for vote in report.votes.values()):
        context.record.say(ReportsDisagree(command.stream, command.number, context.sender.id))
    report.votes[context.sender.id] = told
    booked = _book_ready(context, command.stream)
    if command.number not in booked:
        votes = sum(1 for each in report.votes.values() if each == told)
        context.record.say(ReportPending(command.stream, command.number, votes))


def _book_ready(context: Context, stream: int) -> list[int]:
    """Book the next numbers of a stream as long as each has its quorum; return them."""
    house, booked = context.house, []
    waiting = house.reports[stream]
    while (number := house.booked.get(stream, 0) + 1) in waiting:
        body = _agreed(house, waiting[number])
        if body is None:
            break
        del waiting[number]
        house.booked[stream] = number
        booked.append(number)
        if isinstance(body, RecordTrades):
            book_trades(context, body)
        elif isinstance(body, RecordDeposits):
            # What its accounts no longer allow is refused; its number is spent.
            fault = _deposit_fault(house, body) or _overflow(house, body)
            if fault:
                context.record.freed_codes.append(fault)
            else:
                _book_deposits(context, body)
    return booked


def _agreed(house: House, report: Report) -> object | None:
    for told, body in report.bodies.items():
        role = Role.TRADES if isinstance(body, RecordTrades) else Role.CUSTODY
        allowed = [each for each in report.votes if house.senders[each].roles & role]
        votes = sum(1 for each in allowed if report.votes[each] == told)
        if votes >= house.parameters["reports_min"]:
            return body
    return None


def _overflow(house: House, command: RecordDeposits) -> int:
    """Return AMOUNT_OVERFLOW if a balance, or what the outside world owes, would not fit."""
    money = list(zip(unpack_int32(command.assets), unpack_int64(command.amounts), strict=True))
    sums: dict[tuple[int, int], int] = {}
    for account_id, (asset, amount) in zip(unpack_int64(command.accounts), money, strict=True):
        sums[account_id, asset] = sums.get((account_id, asset), 0) + amount
        sums[EXTERNAL, asset] = sums.get((EXTERNAL, asset), 0) - amount
    for (account_id, asset), amount in sums.items():
        account = house.account(account_id)
        if account is not None and abs(account.balances[asset] + amount) >= AMOUNT_BOUND:
            return Reject.AMOUNT_OVERFLOW
    return ACCEPTED


def _book_deposits(context: Context, command: RecordDeposits) -> None:
    house = context.house
    rows = zip(
        unpack_int64(command.accounts),
        unpack_int32(command.assets),
        unpack_int64(command.amounts),
        strict=True,
    )
    for account_id, asset, amount in rows:
        account = house.account(account_id)
        if account is not None:
            payer = house.house_account(EXTERNAL)
            move(context, Why.DEPOSIT, payer, account, (asset, amount))
    context.record.say(DepositsRecorded(command.stream, command.number))


def book_trades(context: Context, command: RecordTrades) -> None:
    """Post each fill or refuse it on its own, in order."""
    rows = zip(
        unpack_int64(command.buyers),
        unpack_int64(command.sellers),
        unpack_int32(command.instruments),
        unpack_int64(command.lots),
        unpack_int64(command.prices),
        command.flags,
        strict=True,
    )
    cells: list[int] = []
    for row in rows:
        cells += _post_fill(context.house, row)
    context.record.say(TradesRecorded(command.stream, command.number, pack_int64(cells)))


def _post_fill(house: House, row: tuple[int, int, int, int, int, int]) -> list[int]:
    """Return the five cells of one fill, posted if its code is 0."""
    buyer_id, seller_id, instrument, lots, ticks, flags = row
    buyer, seller = house.account(buyer_id), house.account(seller_id)
    if buyer is None or seller is None:
        return [Reject.ACCOUNT_UNKNOWN, 0, 0, 0, 0]
    contract = house.books.contracts.get(instrument)
    if contract is None:
        return [Reject.INSTRUMENT_UNKNOWN, 0, 0, 0, 0]
    fault = _fill_fault(contract, buyer, seller, (lots, ticks))
    if fault:
        return [fault, 0, 0, 0, 0]
    value = contract.value_at(ticks)
    sides = [(buyer, lots), (seller, -lots)]
    afters = [
        fill_side(each.holdings.get(instrument, Holding()), signed, value, contract.is_premium)
        for each, signed in sides
    ]
    fees = [
        _fee(contract, lots, ticks, bool(flags & 1)),
        _fee(contract, lots, ticks, not flags & 1),
    ]
    fault = _books_fault(house, contract, list(zip((buyer, seller), afters, fees, strict=True)))
    if fault:
        return [fault, 0, 0, 0, 0]
    realised = []
    for (account, _), (after, gain), fee in zip(sides, afters, fees, strict=True):
        realised.append(house.books.settle_side(account, contract, after, gain))
        if fee:
            house.books.pay(account, house.house_account(FEES), contract.terms.asset_id, fee)
    return [0, *realised, *fees]


def _fill_fault(contract: Contract, buyer: Account, seller: Account, terms: tuple[int, int]) -> int:
    lots, ticks = terms
    if not 0 < lots <= contract.terms.lots_max:
        return Reject.LOTS_RANGE
    if not contract.terms.price_min <= ticks <= contract.terms.price_max:
        return Reject.PRICE_RANGE
    if buyer is seller:
        return Reject.SIDES_SAME
    return ACCEPTED if contract.status == STATUS_TRADING else Reject.INSTRUMENT_CLOSED


def _fee(contract: Contract, lots: int, ticks: int, taker: bool) -> int:
    """Return the fee of a side, minor units, rounded up; a rebate is negative."""
    rate_ppb = contract.terms.taker_fee_ppb if taker else contract.terms.maker_fee_ppb
    return ceil_div(lots * contract.fee_value(ticks) * rate_ppb, PPB * contract.terms.value_scale)


Side = tuple[Account, tuple[Holding, int], int]


def _books_fault(house: House, contract: Contract, sides: list[Side]) -> int:
    """Return why the books cannot take the fill, or ACCEPTED."""
    asset = contract.terms.asset_id
    if any(abs(after.lots) > contract.terms.lots_max for _, (after, _), _ in sides):
        return Reject.LOTS_LIMIT
    for account, (after, gain), fee in sides:
        balance = account.balances[asset] + gain // contract.terms.value_scale - fee
        if max(abs(balance), abs(after.cost)) >= AMOUNT_BOUND:
            return Reject.AMOUNT_OVERFLOW
    fees = house.house_account(FEES).balances[asset] + sum(fee for _, _, fee in sides)
    if abs(fees) >= AMOUNT_BOUND:
        return Reject.AMOUNT_OVERFLOW
    return _slots_fault(house, contract, sides)


def _slots_fault(house: House, contract: Contract, sides: list[Side]) -> int:
    """Return POSITIONS_FULL if the extension rows cannot hold a new position."""
    opening = [each for each, _, _ in sides if contract.id not in each.holdings]
    wanted = sum(1 for each in opening if len(each.holdings) % SLOTS == 0 and each.holdings)
    if wanted == 0:
        return ACCEPTED
    used = sum(
        -(-len(each.holdings) // SLOTS) - 1
        for each in house.books.accounts.values()
        if len(each.holdings) > SLOTS
    )
    return Reject.POSITIONS_FULL if used + wanted > house.limits.extensions_max else ACCEPTED
