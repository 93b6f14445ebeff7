"""Chronicle: what certified outcomes say happened, counted from the log alone."""

import msgspec

from seawall.lab.cast import INDEX_FEED
from seawall.protocol.codec import SignedBatch, decode_payload, unpack_int32, unpack_int64
from seawall.protocol.commands import Withdraw
from seawall.protocol.events import (
    AccountLines,
    CallIssued,
    Deleveraged,
    Grade,
    HaltStarted,
    IndexMoved,
    LiquidationStarted,
    Outcome,
    ShortfallFound,
    SourceDeviated,
    TimeMoved,
    WithdrawalAccepted,
)
from seawall.protocol.ids import INSURANCE

LINE_HEAD_CELLS = 7


class Freeze(msgspec.Struct):
    """A stretch in which the index was in doubt, and what happened meanwhile.

    `margin_released_minor` is by how much requirements fell, over all accounts, in the valuation
    asset: in doubt none may fall. `tried` counts withdrawals that were asked for.
    """

    first_seq: int
    from_ns: int
    last_seq: int = 0
    until_ns: int = 0
    lines: int = 0
    tried: int = 0
    liquidations: int = 0
    margin_released_minor: int = 0
    withdrawals: int = 0
    halted_until_ns: int = 0
    """Until when the protective halt after it lasts, 0 for none."""


class Chronicle:
    """Counts over entries and their outcomes, taken in order.

    Attributes
    ----------
    fund : balances of the insurance fund now, per asset
    freezes : stretches of doubt about the index; the last one may be under way
    accused : senders whose price was named as out of line, with the entry
    """

    def __init__(self) -> None:
        self.seq = 0
        self.at_ns = 0
        self.margin_calls = 0
        self.liquidations = 0
        self.deleveragings = 0
        self.shortfall_minor = 0
        self.fund_paid_minor = 0
        self.deleveraged_minor = 0
        self.socialised_minor = 0
        self.fund: tuple[int, ...] = ()
        self.freezes: list[Freeze] = []
        self.accused: list[tuple[int, int]] = []
        self._frozen = False
        self._was_fresh = False
        self._sampled = False
        self._required: dict[int, tuple[int, int]] = {}

    def take(self, payload: bytes, outcome: Outcome) -> None:
        """Take in the next entry and its certified outcome."""
        assert outcome.seq == self.seq + 1
        self.seq = outcome.seq
        for event in outcome.events:
            if isinstance(event, TimeMoved):
                self.at_ns = event.at_ns
            elif isinstance(event, IndexMoved):
                self._take_index(event)
        if self._frozen:
            self._take_tries(payload)
        for event in outcome.events:
            self._take_event(event)

    @property
    def frozen(self) -> bool:
        """Whether the index is in doubt now."""
        return self._frozen

    def _take_index(self, event: IndexMoved) -> None:
        grades = dict(zip(unpack_int32(event.feeds), event.grades, strict=True))
        grade = grades.get(INDEX_FEED)
        if grade is None:
            return
        if grade == Grade.FRESH:
            if self._frozen:
                self.freezes[-1].last_seq = self.seq - 1
                self.freezes[-1].until_ns = self.at_ns
            self._was_fresh, self._frozen = True, False
        elif self._was_fresh and not self._frozen:
            self._frozen = True
            if self._sampled:
                # What was last seen may be from long before the doubt: compare within it alone.
                self._required.clear()
            self.freezes.append(Freeze(self.seq, self.at_ns))

    def _take_tries(self, payload: bytes) -> None:
        content = decode_payload(payload)
        assert isinstance(content, SignedBatch)
        tries = sum(isinstance(command, Withdraw) for command in content.batch.commands)
        self.freezes[-1].tried += tries

    def _take_event(self, event: object) -> None:
        match event:
            case AccountLines():
                count = self._take_lines(unpack_int64(event.cells))
                self._sampled |= count < event.touched
            case CallIssued():
                self.margin_calls += 1
            case LiquidationStarted():
                self.liquidations += 1
                if self._frozen:
                    self.freezes[-1].liquidations += 1
            case WithdrawalAccepted():
                if self._frozen:
                    self.freezes[-1].withdrawals += 1
            case ShortfallFound():
                self.shortfall_minor += event.shortfall_minor
                self.fund_paid_minor += event.fund_paid_minor
                self.deleveraged_minor += event.deleveraged_minor
                self.socialised_minor += event.socialised_minor
            case Deleveraged():
                self.deleveragings += 1
            case SourceDeviated():
                self.accused.append((event.sender_id, self.seq))
            case HaltStarted(why="outage"):
                if self.freezes:
                    self.freezes[-1].halted_until_ns = event.until_ns
            case _:
                return

    def _take_lines(self, cells: tuple[int, ...]) -> int:
        """Take in account lines and return how many there were."""
        start = count = 0
        while start < len(cells):
            count += 1
            balances_end = start + LINE_HEAD_CELLS + cells[start + 6]
            account = cells[start]
            if account == INSURANCE:
                self.fund = cells[start + LINE_HEAD_CELLS : balances_end]
            if cells[start + 5] == 1:
                self._take_requirement(account, cells[start + 3], cells[start + 4])
            start = balances_end + 1 + 3 * cells[balances_end]
        return count

    def _take_requirement(self, account: int, maintenance: int, initial: int) -> None:
        if self._frozen:
            freeze = self.freezes[-1]
            freeze.lines += 1
            before = self._required.get(account)
            if before is not None:
                fall = max(before[0] - maintenance, before[1] - initial, 0)
                freeze.margin_released_minor += fall
        self._required[account] = (maintenance, initial)
