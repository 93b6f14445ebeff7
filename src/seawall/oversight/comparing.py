"""The auditor's events, postings and books held against what the house told."""

from seawall.oversight.books import Account, Contract
from seawall.oversight.cases import DECIDED
from seawall.oversight.house import House
from seawall.oversight.record import Record
from seawall.oversight.shapes import split_lines
from seawall.protocol.codec import unpack_int32, unpack_int64
from seawall.protocol.events import (
    AccountClosed,
    AccountLines,
    AccountsMoved,
    AccountsOpened,
    AnyEvent,
    CallIssued,
    CallMet,
    CallOverdue,
    DepositsRecorded,
    EffectExpired,
    EffectReported,
    EntryRefused,
    FundingPaid,
    HaltEnded,
    HaltStarted,
    IndexMoved,
    InstrumentLines,
    InstrumentListed,
    InstrumentSettled,
    MarksMoved,
    ModeSet,
    ParameterSet,
    Posted,
    Repeated,
    ReplicasSet,
    ReportPending,
    ReportsDisagree,
    RiskActivated,
    RiskLapsed,
    RiskProposed,
    RulesActivated,
    SenderChanged,
    SourceDeviated,
    Started,
    TimeMoved,
    TradesRecorded,
    Why,
    WithdrawalAccepted,
)
from seawall.protocol.ids import INSURANCE

RULES: dict[type[AnyEvent], str] = {
    EntryRefused: "GOVN-01",
    Repeated: "GOVN-01",
    Started: "GOVN-01",
    TimeMoved: "TIME-01",
    RulesActivated: "GOVN-03",
    ParameterSet: "GOVN-02",
    SenderChanged: "GOVN-04",
    ReplicasSet: "GOVN-04",
    InstrumentListed: "PROD-03",
    AccountsOpened: "ACCT-01",
    AccountClosed: "ACCT-03",
    ModeSet: "ACCT-04",
    DepositsRecorded: "LEDG-02",
    TradesRecorded: "LEDG-05",
    ReportPending: "LEDG-06",
    ReportsDisagree: "LEDG-06",
    WithdrawalAccepted: "LEDG-03",
    IndexMoved: "MARK-02",
    SourceDeviated: "MARK-02",
    MarksMoved: "MARK-03",
    FundingPaid: "FUND-02",
    InstrumentSettled: "SETL-01",
    RiskProposed: "MARG-04",
    RiskActivated: "MARG-04",
    RiskLapsed: "MARG-04",
    CallIssued: "CALL-03",
    CallMet: "CALL-03",
    CallOverdue: "CALL-03",
    HaltStarted: "BRKR-01",
    HaltEnded: "BRKR-01",
    EffectReported: "OUTB-01",
    EffectExpired: "OUTB-01",
}
"""Events that the auditor foretells to the last field, and the rule each belongs to."""

UNORDERED = (CallIssued, CallMet, CallOverdue, EffectExpired, HaltStarted, HaltEnded)
"""Their order within an entry says nothing."""


def compare_events(record: Record) -> None:
    """Hold what the house said happened against what the auditor says happened."""
    told: dict[type[AnyEvent], list[AnyEvent]] = {}
    said: dict[type[AnyEvent], list[AnyEvent]] = {}
    for events, into in ((record.told.events, told), (record.said, said)):
        for event in events:
            into.setdefault(type(event), []).append(event)
    for kind, rule in RULES.items():
        if kind in told or kind in said:
            _compare_list(record, rule, said.get(kind, []), told.get(kind, []))
    _compare_moves(record, [e for e in record.told.events if isinstance(e, AccountsMoved)])
    _compare_postings(record, [e for e in record.told.events if isinstance(e, Posted)])
    record.close_payouts()
    record.close_refusals()


def _compare_list(record: Record, rule: str, said: list[AnyEvent], told: list[AnyEvent]) -> None:
    if isinstance((said or told)[0], UNORDERED):
        said, told = sorted(said, key=repr), sorted(told, key=repr)
    name = type((said or told)[0]).__name__
    for position in range(max(len(said), len(told))):
        expected = said[position] if position < len(said) else None
        got = told[position] if position < len(told) else None
        if expected == got:
            record.compared += 1
        elif isinstance(expected, TradesRecorded) and isinstance(got, TradesRecorded):
            _compare_fills(record, rule, expected, got)
        elif isinstance(expected, EntryRefused) and isinstance(got, EntryRefused):
            record.claim(rule, f"{name}: code", expected.code, got.code)
        else:
            record.find(rule, f"{name} {position}", expected, got)


def _compare_fills(record: Record, rule: str, said: TradesRecorded, told: TradesRecorded) -> None:
    """Name the fill and the cell that differ."""
    names = ("code", "realised by buyer", "realised by seller", "fee of buyer", "fee of seller")
    record.claim(rule, "TradesRecorded: stream", said.stream, told.stream)
    record.claim(rule, "TradesRecorded: number", said.number, told.number)
    if not record.claim(rule, "TradesRecorded: length", len(said.results), len(told.results)):
        return
    ours, theirs = unpack_int64(said.results), unpack_int64(told.results)
    for position, (expected, got) in enumerate(zip(ours, theirs, strict=True)):
        fill, cell = divmod(position, 5)
        # A fill refused by both moved nothing; the rules give its other cells no meaning.
        if cell and ours[5 * fill] and theirs[5 * fill]:
            continue
        record.claim(rule, f"fill {fill}: {names[cell]}", expected, got)


def _compare_moves(record: Record, events: list[AccountsMoved]) -> None:
    """Compare who changed state, and at which figures, whatever the order."""
    told: list[tuple[int, ...]] = []
    for event in events:
        cells = unpack_int64(event.cells)
        told += [cells[start : start + 6] for start in range(0, len(cells), 6)]
    for move in sorted(set(record.moves) - set(told)):
        record.find("CALL-02", f"account {move[0]}: move", move, "none")
    for other in sorted(set(told) - set(record.moves)):
        record.find("CALL-02", f"account {other[0]}: move", "none", other)
    record.compared += len(set(told) & set(record.moves))


def _compare_postings(record: Record, events: list[Posted]) -> None:
    """Postings balance per asset, and sum up to what the auditor posted for the same reason."""
    told: dict[int, dict[tuple[int, int], int]] = {}
    for event in events:
        assets, amounts = unpack_int32(event.assets), unpack_int64(event.amounts)
        accounts = unpack_int64(event.accounts)
        totals: dict[int, int] = {}
        sums = told.setdefault(event.why, {})
        for account, asset, amount in zip(accounts, assets, amounts, strict=True):
            totals[asset] = totals.get(asset, 0) + amount
            sums[account, asset] = sums.get((account, asset), 0) + amount
        for asset, total in sorted(totals.items()):
            subject = f"{Why(event.why).name} postings of asset {asset}: sum"
            record.claim("LEDG-01", subject, 0, total)
    for why in sorted(set(told) | set(record.postings)):
        if why in DECIDED:
            continue
        expected, got = record.postings.get(why, {}), told.get(why, {})
        for key in sorted(set(expected) | set(got)):
            subject = f"{Why(why).name} posting of account {key[0]} in asset {key[1]}"
            record.claim("LEDG-01", subject, expected.get(key, 0), got.get(key, 0))


def check_conservation(house: House, record: Record) -> None:
    """The auditor's own books sum to zero: per asset, and per contract that moved."""
    for asset, total in enumerate(house.books.asset_sums):
        record.claim("INVR-01", f"own books, asset {asset}: sum", 0, total)
    for contract in house.books.moved_contracts.values():
        subject = f"own books, instrument {contract.id}"
        record.claim("INVR-01", f"{subject}: lots", 0, contract.lots_sum)
        carried = contract.residual - contract.variation * contract.terms.value_scale
        record.claim("INVR-01", f"{subject}: costs", contract.costs_sum, carried)


LINE_FIELDS = ("id", "state", "equity", "maintenance", "initial", "evaluated")


def compare_lines(house: House, record: Record) -> tuple[int, int]:
    """Compare every line told; return how many accounts that was and how many were touched."""
    compared = touched = 0
    seen: dict[int, bool] = {}
    contracts: list[int] = []
    for event in record.told.events:
        if isinstance(event, AccountLines):
            touched += event.touched
            for cells in split_lines(event) or ():
                record.claim("AUDT-01", f"account {cells[0]}: one line", False, cells[0] in seen)
                seen[cells[0]] = True
                # The fund is touched by its own orders too, which move none of its books.
                known = cells[0] in house.books.touched or cells[0] == INSURANCE
                record.require("AUDT-01", f"account {cells[0]}: touched", known, "a line")
                _compare_account(house, record, cells)
        elif isinstance(event, InstrumentLines):
            contracts += unpack_int64(event.cells)
    _compare_contracts(house, record, contracts)
    compared = len(seen)
    if compared >= touched:
        for account in sorted(set(house.books.touched) - set(seen)):
            record.find("AUDT-01", f"account {account}: line", "a line", "none")
    return compared, touched


def _compare_account(house: House, record: Record, cells: tuple[int, ...]) -> None:
    account = house.account(cells[0])
    if account is None:
        record.find("AUDT-01", f"account {cells[0]}", "not open", "a line")
        return
    expected = (
        *(account.id, account.state, account.equity, account.maintenance, account.initial),
        int(account.evaluated_seq == record.seq),
    )
    fixed = len(LINE_FIELDS)
    subject = f"account {account.id}"
    for name, ours, theirs in zip(LINE_FIELDS, expected, cells[:fixed], strict=True):
        record.claim("CALL-01", f"{subject}: {name}", ours, theirs)
    balances = cells[fixed + 1 : fixed + 1 + cells[fixed]]
    if record.claim("AUDT-01", f"{subject}: assets", len(account.balances), len(balances)):
        for asset, (ours, theirs) in enumerate(zip(account.balances, balances, strict=True)):
            record.claim("AUDT-01", f"{subject}: balance {asset}", ours, theirs)
    _compare_holdings(record, account, cells[fixed + 2 + cells[fixed] :])


def _compare_holdings(record: Record, account: Account, cells: tuple[int, ...]) -> None:
    subject = f"account {account.id}"
    told = {cells[at]: (cells[at + 1], cells[at + 2]) for at in range(0, len(cells), 3)}
    record.claim("AUDT-01", f"{subject}: positions", len(account.holdings), len(cells) // 3)
    for instrument in sorted(set(told) | set(account.holdings)):
        held = account.holdings.get(instrument)
        lots, cost = told.get(instrument, (0, 0))
        place = f"{subject}: instrument {instrument}"
        record.claim("AUDT-01", f"{place} lots", held.lots if held else 0, lots)
        record.claim("AUDT-01", f"{place} cost", held.cost if held else 0, cost)


CONTRACT_FIELDS = ("id", "open interest", "variation", "residual", "open cost", "mark")


def _compare_contracts(house: House, record: Record, cells: list[int]) -> None:
    seen: dict[int, bool] = {}
    for start in range(0, len(cells), len(CONTRACT_FIELDS)):
        line = cells[start : start + len(CONTRACT_FIELDS)]
        record.claim("AUDT-01", f"instrument {line[0]}: one line", False, line[0] in seen)
        seen[line[0]] = True
        contract = house.books.contracts.get(line[0])
        if contract is None:
            record.find("AUDT-01", f"instrument {line[0]}", "not listed", "a line")
            continue
        for name, ours, theirs in zip(CONTRACT_FIELDS, _expected(contract), line, strict=True):
            record.claim("AUDT-01", f"instrument {contract.id}: {name}", ours, theirs)
    for missing in sorted(set(house.books.moved_contracts) - set(seen)):
        record.find("AUDT-01", f"instrument {missing}: line", "a line", "none")


def _expected(contract: Contract) -> tuple[int, ...]:
    return (
        *(contract.id, contract.long_lots, contract.variation, contract.residual),
        *(-contract.costs_sum, contract.ticks),
    )
