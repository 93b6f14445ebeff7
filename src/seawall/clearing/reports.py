"""Facts from outside are booked when enough distinct reporters tell the same (LEDG-06).

A report has a stream (a venue's trades, a custodian's deposits) and a consecutive number; numbers
of a stream are booked in order and once. `reports_min` reporters must tell equal bytes.
"""

from seawall.clearing.authority import ROLES, find_sender
from seawall.clearing.cash import book_deposits, check_deposits
from seawall.clearing.outcome import Out, Refusal
from seawall.clearing.state import Report, State
from seawall.clearing.trades import book_trades, check_trades
from seawall.protocol.codec import encode_any
from seawall.protocol.codes import Reject
from seawall.protocol.commands import ConfirmReport, RecordDeposits, RecordTrades
from seawall.protocol.digest import digest
from seawall.protocol.events import Rejected, ReportPending, ReportsDisagree

NUMBERS_AHEAD_MAX = 8
"""A report may come this far ahead of the last one booked."""


def report_digest(command: RecordTrades | RecordDeposits) -> bytes:
    """Return what a reporter vouches for."""
    return digest(encode_any(command), person=b"seawall/report")


def apply_record_trades(
    state: State, command: RecordTrades, sender_id: int, out: Out
) -> Refusal | None:
    """Tell fills. Rejects: COLUMN_*, REPORT_OLD, REPORT_GAP, SENDERS_SAME, REPORTS_FULL."""
    return check_trades(state, command) or _record(state, command, sender_id, out)


def apply_record_deposits(
    state: State, command: RecordDeposits, sender_id: int, out: Out
) -> Refusal | None:
    """Tell deposits. Rejects: as trades, and ACCOUNT_UNKNOWN, ASSET_UNKNOWN, AMOUNT_RANGE."""
    return check_deposits(state, command) or _record(state, command, sender_id, out)


def _record(
    state: State, command: RecordTrades | RecordDeposits, sender_id: int, out: Out
) -> Refusal | None:
    refusal = _check_number(state, command.stream, command.number)
    if refusal:
        return refusal
    if _reporters_min(state) == 1 and _is_next(state, command.stream, command.number):
        # Nothing to wait for: book, without a digest unless somebody spoke before.
        versions = state.tables.reports.get((command.stream, command.number), [])
        told = report_digest(command) if versions else b""
        _forget(state, command.stream, command.number)
        refusal = _book(state, command, out)
        if not refusal and any(version.report_digest != told for version in versions):
            out.event(ReportsDisagree(command.stream, command.number, sender_id))
        _book_ready(state, command.stream, out)
        return refusal
    return _tell(
        state, (command.stream, command.number), report_digest(command), sender_id, command, out
    )


def apply_confirm_report(
    state: State, command: ConfirmReport, sender_id: int, out: Out
) -> Refusal | None:
    """Vouch for a report by its digest. Rejects: REPORT_OLD, REPORT_GAP, SENDERS_SAME, ..."""
    refusal = _check_number(state, command.stream, command.number)
    if refusal:
        return refusal
    key = (command.stream, command.number)
    return _tell(state, key, command.report_digest, sender_id, None, out)


def _reporters_min(state: State) -> int:
    return state.parameter("reports_min")


def _is_next(state: State, stream: int, number: int) -> bool:
    return number == state.tables.streams.get(stream, 0) + 1


def _check_number(state: State, stream: int, number: int) -> Refusal | None:
    streams = state.tables.streams
    if stream < 1 or (stream not in streams and len(streams) >= state.limits.streams_max):
        return Reject.TERMS_RANGE, "stream"
    booked = streams.get(stream, 0)
    if number <= booked:
        return Reject.REPORT_OLD, "number"
    if number > booked + NUMBERS_AHEAD_MAX:
        return Reject.REPORT_GAP, "number"
    return None


def _tell(
    state: State,
    key: tuple[int, int],
    told: bytes,
    sender_id: int,
    command: RecordTrades | RecordDeposits | None,
    out: Out,
) -> Refusal | None:
    """Note what a reporter tells; book what is ready, in order of number."""
    versions = state.tables.reports.get(key, [])
    if any(sender_id in version.reporters for version in versions):
        return Reject.SENDERS_SAME, "sender"
    if not versions and len(state.tables.reports) >= state.limits.reports_max:
        return Reject.REPORTS_FULL, "number"
    version = next((v for v in versions if v.report_digest == told), None)
    if version is None:
        version = Report(told, [], None)
        versions.append(version)
        state.tables.reports[key] = versions
    version.reporters.append(sender_id)
    version.command = version.command or command
    state.tables.streams.setdefault(key[0], 0)
    if len(versions) > 1:
        out.event(ReportsDisagree(*key, sender_id))
    _book_ready(state, key[0], out)
    if key in state.tables.reports:
        out.event(ReportPending(*key, len(version.reporters)))
    return None


def _book_ready(state: State, stream: int, out: Out) -> None:
    """Book the stream's reports that have their reporters, in order, until one has not."""
    for _ in range(NUMBERS_AHEAD_MAX):
        number = state.tables.streams.get(stream, 0) + 1
        ready = next(
            (
                version.command
                for version in state.tables.reports.get((stream, number), [])
                if version.command and _count_vouching(state, version) >= _reporters_min(state)
            ),
            None,
        )
        if ready is None:
            return
        _forget(state, stream, number)
        refusal = _book(state, ready, out)
        if refusal:
            # Not the command under way but an earlier one that it set free.
            out.event(Rejected(-1, refusal[0], refusal[1]))


def _count_vouching(state: State, version: Report) -> int:
    """Return how many reporters may speak of this: a custodian's word is none on trades."""
    assert version.command is not None
    allowed = ROLES[type(version.command)]
    senders = [find_sender(state, reporter) for reporter in version.reporters]
    return sum(1 for sender in senders if sender and sender.roles & allowed)


def _forget(state: State, stream: int, number: int) -> None:
    state.tables.reports.pop((stream, number), None)
    state.tables.streams[stream] = number


def _book(state: State, command: RecordTrades | RecordDeposits, out: Out) -> Refusal | None:
    """Book a report; what its accounts no longer allow is refused, but its number is spent."""
    if isinstance(command, RecordTrades):
        book_trades(state, command, out)
        return None
    return check_deposits(state, command) or book_deposits(state, command, out)
