"""An honest house that is not the clearing room: the auditor's own account of an entry, told.

It serves tests of what the auditor notices, and of numbers worked out by hand. That two separate
implementations agree is shown elsewhere, against the clearing room itself.
"""

import copy

from seawall.oversight.auditor import Auditor
from seawall.oversight.books import Account, Contract
from seawall.oversight.record import ACCEPTED, SILENT, Record
from seawall.protocol.codec import encode_outcome, pack_int32, pack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.events import (
    AccountLines,
    AccountsMoved,
    AnyEvent,
    InstrumentLines,
    Outcome,
    Posted,
    Rejected,
)


class Teller:
    """Tells outcomes of logs without decisions: nobody is liquidated, no parameter changes."""

    def __init__(self) -> None:
        self.auditor = Auditor()

    def tell(self, seq: int, payload: bytes) -> bytes:
        """Return what an honest house says of an entry."""
        probe = copy.deepcopy(self.auditor)
        probe.follow(seq, payload, encode_outcome(Outcome(seq, (), ())))
        assert probe.record is not None
        outcome = Outcome(seq, self._events(probe, probe.record), tuple(probe.record.payouts))
        told = encode_outcome(outcome)
        found = self.auditor.follow(seq, payload, told)
        assert found == []
        return told

    def _events(self, probe: Auditor, record: Record) -> tuple[AnyEvent, ...]:
        events: list[AnyEvent] = list(record.said)
        for index, verdict in enumerate(record.verdicts):
            if verdict not in (ACCEPTED, SILENT):
                events.append(Rejected(index, max(verdict, Reject.MALFORMED), ""))
        for why, sums in sorted(record.postings.items()):
            places = sorted(sums)
            events.append(
                Posted(
                    why,
                    pack_int64([account for account, _ in places]),
                    pack_int32([asset for _, asset in places]),
                    pack_int64([sums[place] for place in places]),
                )
            )
        if record.moves:
            events.append(AccountsMoved(pack_int64([cell for row in record.moves for cell in row])))
        if probe.house is not None:
            books = probe.house.books
            lines = [line_of(each, record.seq) for _, each in sorted(books.touched.items())]
            contracts = [contract_line(each) for _, each in sorted(books.moved_contracts.items())]
            cells = pack_int64([cell for line in lines for cell in line])
            if lines:
                events.append(AccountLines(cells, len(lines)))
            if contracts:
                events.append(InstrumentLines(pack_int64([c for line in contracts for c in line])))
        return tuple(events)


def line_of(account: Account, seq: int) -> list[int]:
    """Return the cells of one account's line."""
    held = [(number, each.lots, each.cost) for number, each in sorted(account.holdings.items())]
    return [
        *(account.id, account.state, account.equity, account.maintenance, account.initial),
        *(int(account.evaluated_seq == seq), len(account.balances), *account.balances),
        *(len(held), *[cell for each in held for cell in each]),
    ]


def contract_line(contract: Contract) -> list[int]:
    """Return the cells of one instrument's line."""
    return [
        *(contract.id, contract.long_lots, contract.variation, contract.residual),
        *(-contract.costs_sum, contract.ticks),
    ]
