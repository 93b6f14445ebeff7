"""Liquidations as decided by the house: checked against the rules, then applied to the books.

What an order slices, who is taken over, who is deleveraged and who shares a loss are decisions.
The auditor does not make them again; it checks that each was allowed, that each amount is what the
rule says or within what it may be, and posts them to its own books.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from seawall.oversight.books import Account, Case, Contract, ceil_div
from seawall.oversight.calling import Distress, move_state, note_overdue, resting_state
from seawall.oversight.house import Context
from seawall.oversight.orders import restored_at, withdraw_orders
from seawall.oversight.requirement import Valuation, convert
from seawall.protocol.codec import unpack_int32, unpack_int64
from seawall.protocol.events import (
    AccountState,
    AnyEvent,
    CaseEnd,
    Deleveraged,
    LiquidationEnded,
    LiquidationStarted,
    PositionTransferred,
    Posted,
    ShortfallFound,
    Why,
)
from seawall.protocol.ids import INSURANCE

DECIDED = (Why.TAKEOVER, Why.FUND_PAYMENT, Why.DELEVERAGING, Why.SOCIALISED_LOSS)


@dataclass(slots=True)
class Ending:
    """What is gathered between two cases' ends, to be judged together."""

    fund_raw: int = 0
    shortfall: ShortfallFound | None = None
    taken: list[Deleveraged] = field(default_factory=list)
    lots: dict[tuple[int, int], int] = field(default_factory=dict)
    """(winner, instrument) to the lots it received."""
    gains: dict[tuple[int, int], int] = field(default_factory=dict)
    """(winner, instrument) to the profit it realised on them, minor units."""
    given: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """(reason, account, asset) to what was posted."""


class Liquidation:
    """One step's decisions, in the order in which the house made them."""

    def __init__(self, context: Context, valuation: Valuation) -> None:
        self.context = context
        self.house = context.house
        self.record = context.record
        self.valuation = valuation
        self.raw = {
            each.id: valuation.equity(each, haircut=False)
            for each in self.house.books.accounts.values()
            if each.case is not None
        }
        self.ending = self._new_ending()
        self.sharers: dict[int, bool] = {}
        """Accounts that bore part of a loss in this step."""

    def _new_ending(self) -> Ending:
        fund = self.house.house_account(INSURANCE)
        return Ending(self.valuation.equity(fund, haircut=False))

    def open_cases(self, distressed: dict[int, Distress], events: list[AnyEvent]) -> None:
        """Check which liquidations started against who had to be liquidated, and open them."""
        started = [each for each in events if isinstance(each, LiquidationStarted)]
        before = sum(1 for each in self.house.books.accounts.values() if each.case is not None)
        for event in started:
            self._open_case(event, distressed.pop(event.account_id, None))
        # While it holds positions the fund has a case of its own; it may still hold the row of
        # what it has just sold.
        room = self.house.limits.cases_max - before - len(started) - 1
        for distress in distressed.values():
            if room > 0:
                self.record.find(
                    "LIQD-01", f"account {distress.account.id}: liquidation", "started", "not"
                )
            else:
                self.record.trusted += 1
            if not distress.overdue:
                move_state(self.context, distress.account, AccountState.CALLED)
        self._check_priority([each for each in started if each.account_id in self.raw])

    def _open_case(self, event: LiquidationStarted, distress: Distress | None) -> None:
        subject = f"account {event.account_id}: liquidation"
        account = self.house.account(event.account_id)
        if distress is None:
            self.record.find("LIQD-01", subject, "none allowed", "started")
        else:
            self.record.claim("LIQD-01", f"{subject} overdue", distress.overdue, event.overdue)
            note_overdue(self.context, distress)
        if account is None or account.case is not None:
            return
        self.record.claim("LIQD-01", f"{subject} equity", account.equity, event.equity_minor)
        self.record.claim(
            "LIQD-01", f"{subject} maintenance", account.maintenance, event.maintenance_minor
        )
        limit_ns = self.house.parameters["liquidation_deadline_ns"]
        account.case = Case(self.house.now_ns + limit_ns, event.overdue)
        self.raw[account.id] = self.valuation.equity(account, haircut=False)
        move_state(self.context, account, AccountState.LIQUIDATING)

    def _check_priority(self, started: list[LiquidationStarted]) -> None:
        """Each new case must not be less urgent than the next one (LIQD-01)."""
        for first, second in pairwise(started):
            a, b = (self.house.books.accounts[each.account_id] for each in (first, second))
            self.record.require(
                "LIQD-01", f"account {a.id} is liquidated before {b.id}", _precedes(a, b), "after"
            )

    def apply(self, events: list[AnyEvent]) -> None:
        """Check and post every decision among a step's events."""
        for event in events:
            match event:
                case PositionTransferred():
                    self._transfer(event)
                case Posted() if event.why in DECIDED:
                    self._post(event)
                case Deleveraged() if event.instrument_id in self.house.books.contracts:
                    self.ending.taken.append(event)
                case Deleveraged():
                    self.record.find("TEAR-01", "Deleveraged", "an instrument", event)
                case ShortfallFound():
                    self.record.claim(
                        "LIQD-05",
                        f"account {event.account_id}: parts of the shortfall",
                        event.shortfall_minor,
                        event.fund_paid_minor + event.deleveraged_minor + event.socialised_minor,
                    )
                    self.ending.shortfall = event
                case LiquidationEnded():
                    self._end(event)
                    self.ending = self._new_ending()
                case _:
                    pass
        self._evaluate_moved()
        left = self.ending
        if left.shortfall or left.taken or left.lots or left.given:
            self.record.find("LIQD-05", "decisions of a case", "its end", "no end")

    def _evaluate_moved(self) -> None:
        """Evaluate again whom the decisions moved; their states wait for the next step."""
        for account in self.house.books.touched.values():
            if account.moved and self.house.is_client(account):
                self._store(account)

    def _store(self, account: Account) -> None:
        worth = self.valuation.evaluate(account)
        account.equity, account.maintenance = worth.equity, worth.maintenance
        account.initial = worth.initial
        account.evaluated_seq = self.record.seq

    def _transfer(self, event: PositionTransferred) -> None:
        """Post lots that moved at the mark: both sides realise as in a fill without fee."""
        subject = f"transfer of instrument {event.instrument_id} from {event.from_account}"
        giver = self.house.account(event.from_account)
        taker = self.house.account(event.to_account)
        contract = self.house.books.contracts.get(event.instrument_id)
        if giver is None or taker is None or contract is None:
            self.record.find("LIQD-05", subject, "accounts and instrument that exist", event)
            return
        self.record.require("LIQD-05", f"{subject}: by a case", giver.case is not None, giver.state)
        held = giver.holdings.get(contract.id)
        lots_held = held.lots if held else 0
        reduces = 0 < abs(event.lots) <= abs(lots_held) and lots_held * event.lots > 0
        self.record.require("LIQD-05", f"{subject}: reduces", reduces, event.lots)
        if taker.id != INSURANCE:
            self._check_winner(taker, contract, event.lots)
        maintenance = self._maintenance(taker)
        self.house.books.trade(giver, contract, -event.lots, contract.value)
        gain = self.house.books.trade(taker, contract, event.lots, contract.value)
        key = (taker.id, contract.id)
        self.ending.lots[key] = self.ending.lots.get(key, 0) + event.lots
        self.ending.gains[key] = self.ending.gains.get(key, 0) + gain
        if taker.id != INSURANCE:
            self.record.require(
                "TEAR-01",
                f"account {taker.id}: requirement does not rise",
                self._maintenance(taker) <= maintenance,
                self._maintenance(taker),
            )

    def _maintenance(self, account: Account) -> int:
        return self.valuation.requirement(account)[0]

    def _check_winner(self, winner: Account, contract: Contract, lots: int) -> None:
        """A winner stands on the other side with a profit, is a client's and in no case."""
        subject = f"account {winner.id} as winner in instrument {contract.id}"
        held = winner.holdings.get(contract.id)
        opposite = held is not None and held.lots * lots < 0 and abs(lots) <= abs(held.lots)
        self.record.require("TEAR-01", f"{subject}: opposite lots", opposite, lots)
        profit = held.lots * contract.value - held.cost if held else 0
        self.record.require("TEAR-01", f"{subject}: in profit", profit > 0, profit)
        free = self.house.is_client(winner) and winner.case is None
        self.record.require("TEAR-01", f"{subject}: a client in no case", free, winner.state)

    def _post(self, event: Posted) -> None:
        """Post a decided movement of money."""
        rows = zip(
            unpack_int64(event.accounts),
            unpack_int32(event.assets),
            unpack_int64(event.amounts),
            strict=True,
        )
        for number, asset, amount in rows:
            account = self.house.account(number)
            if account is None:
                self.record.find("LIQD-05", f"{Why(event.why).name} posting", "an account", number)
                continue
            self.house.books.credit(account, asset, amount)
            key = (event.why, number, asset)
            self.ending.given[key] = self.ending.given.get(key, 0) + amount
            if event.why == Why.SOCIALISED_LOSS and amount < 0:
                self.sharers[number] = True

    def _end(self, event: LiquidationEnded) -> None:
        """Check that a case may end as it did, and close it."""
        account = self.house.account(event.account_id)
        if account is None or account.case is None:
            self.record.find("LIQD-02", f"account {event.account_id}: case", "none", "ended")
            return
        withdraw_orders(self.context, account)
        worth = account.equity if event.end == CaseEnd.RESTORED else self.raw.get(account.id, 0)
        self.record.claim(
            "LIQD-02", f"account {account.id}: equity at the end", worth, event.equity_minor
        )
        if event.end == CaseEnd.RESTORED:
            self._check_restored(account)
            account.case = None
            move_state(self.context, account, resting_state(self.house, account))
            return
        raw = self.raw.get(account.id, 0)
        subject = f"account {account.id}"
        expected = CaseEnd.TAKEN_OVER if raw >= 0 else CaseEnd.DEFAULTED
        self.record.claim("LIQD-05", f"{subject}: end", int(expected), event.end)
        self.record.require("LIQD-05", f"{subject}: left empty", account.is_empty(), account)
        self._check_frozen(account, f"{subject}: resolved")
        self._check_shortfall(account, raw)
        self._check_deleveraging(account)
        self._check_sharing(account)
        account.case = None
        self._store(account)
        move_state(self.context, account, AccountState.HEALTHY)

    def _check_restored(self, account: Account) -> None:
        enough = restored_at(self.house, account)
        self.record.require(
            "LIQD-02",
            f"account {account.id}: restored at {enough}",
            account.equity >= enough,
            account.equity,
        )

    def _check_frozen(self, account: Account, subject: str) -> None:
        frozen = self.house.is_doubtful(account) or self.house.account_halted(account)
        self.record.require("MARK-05", f"{subject} without doubt or halt", not frozen, "frozen")

    def _check_shortfall(self, account: Account, raw: int) -> None:
        """The shortfall is what raw equity lacks; the fund bears it as far as it can (LIQD-05)."""
        event, subject = self.ending.shortfall, f"account {account.id}"
        if raw >= 0:
            self.record.claim("LIQD-05", f"{subject}: shortfall", None, event)
            return
        if event is None or event.account_id != account.id:
            self.record.find("LIQD-05", f"{subject}: shortfall", -raw, event)
            return
        self.record.claim("LIQD-05", f"{subject}: shortfall", -raw, event.shortfall_minor)
        floor = self.house.parameters["fund_floor_minor"]
        bearable = min(-raw, max(0, self.ending.fund_raw - floor))
        parts = (event.fund_paid_minor, event.deleveraged_minor, event.socialised_minor)
        self.record.require("LIQD-05", f"{subject}: no negative part", min(parts) >= 0, parts)
        self.record.require(
            "LIQD-05", f"{subject}: fund pays {bearable}", parts[0] >= bearable, parts[0]
        )
        # What cannot be divided in coins is left to the fund too: at most a unit of each where
        # an account's means are counted, and one where it pays.
        dust = sum(2 + 2 * ceil_div(each.price, each.unit) for each in self.house.assets)
        if parts[0] > bearable + dust:
            sharers = [
                each.id
                for each in self.house.books.accounts.values()
                if each.id not in self.sharers and self._shares(each, dust)
            ]
            self.record.require(
                "TEAR-02", f"{subject}: nobody left to share {parts[0]}", not sharers, sharers
            )

    def _shares(self, account: Account, dust: int) -> bool:
        """Tell whether an account could bear a part of a loss of more than dust (TEAR-02)."""
        if not self.house.is_client(account) or account.case is not None:
            return False
        if max(account.balances) <= 0 or self.valuation.is_doubtful(account):
            return False
        return self.valuation.equity(account) > self.valuation.requirement(account)[1] + dust

    def _check_deleveraging(self, account: Account) -> None:
        """No winner gives up more than it made on the lots it gave up (TEAR-01)."""
        ending, worth_low, worth_high = self.ending, 0, 0
        for event in ending.taken:
            key = (event.account_id, event.instrument_id)
            subject = f"account {event.account_id} deleveraged in {event.instrument_id}"
            self.record.claim("TEAR-01", f"{subject}: against", account.id, event.against)
            self.record.claim(
                "TEAR-01", f"{subject}: lots", abs(ending.lots.get(key, 0)), abs(event.lots)
            )
            gain = ending.gains.get(key, 0)
            within = 0 <= event.amount_minor <= max(0, gain)
            self.record.require(
                "TEAR-01", f"{subject}: amount within {gain}", within, event.amount_minor
            )
            asset = self.house.books.contracts[event.instrument_id].terms.asset_id
            terms = self.house.assets[asset]
            worth_low += convert(terms, event.amount_minor, haircut=False)
            worth_high -= convert(terms, -event.amount_minor - 1, haircut=False)
        told = ending.shortfall.deleveraged_minor if ending.shortfall else 0
        within = worth_low <= told <= worth_high
        self.record.require(
            "TEAR-01", f"account {account.id}: deleveraged {worth_low}..{worth_high}", within, told
        )
        self._claim_given(Why.DELEVERAGING)

    def _given_worth(self, why: Why) -> tuple[int, int]:
        """Return what was given for a reason, least and most, in the valuation asset."""
        low = high = 0
        for (reason, _, asset), amount in self.ending.given.items():
            if reason == why and amount < 0:
                terms = self.house.assets[asset]
                low += convert(terms, -amount - 1, haircut=False)
                high -= convert(terms, amount - 1, haircut=False)
        return low, high

    def _claim_given(self, why: Why) -> None:
        """Each winner's posting is the amount that it was told."""
        told: dict[tuple[int, int], int] = {}
        for event in self.ending.taken:
            asset = self.house.books.contracts[event.instrument_id].terms.asset_id
            key = (event.account_id, asset)
            told[key] = told.get(key, 0) - event.amount_minor
        for (reason, number, asset), amount in self.ending.given.items():
            if reason == why and amount < 0:
                expected = told.get((number, asset), 0)
                self.record.claim("TEAR-01", f"account {number}: given up", expected, amount)

    def _check_sharing(self, bankrupt: Account) -> None:
        """Whoever shares a loss has the balance for it and is in no case (TEAR-02)."""
        event, subject = self.ending.shortfall, f"account {bankrupt.id}"
        paid = self._given_worth(Why.FUND_PAYMENT)
        shared = self._given_worth(Why.SOCIALISED_LOSS)
        for name, (low, high), told in (
            ("fund paid", paid, event.fund_paid_minor if event else 0),
            ("socialised", shared, event.socialised_minor if event else 0),
        ):
            self.record.require(
                "TEAR-02", f"{subject}: {name} {low}..{high}", low <= told <= high, told
            )
        for (why, number, asset), amount in self.ending.given.items():
            if why != Why.SOCIALISED_LOSS or amount >= 0:
                continue
            payer = self.house.books.accounts[number]
            able = payer.balances[asset] >= 0 and payer.case is None and self.house.is_client(payer)
            self.record.require(
                "TEAR-02", f"account {number}: shares a loss it can bear", able, amount
            )


def _precedes(a: Account, b: Account) -> bool:
    """Tell whether case a comes before case b: relative shortfall, then size, then id."""
    lack_a, lack_b = a.maintenance - a.equity, b.maintenance - b.equity
    if (a.maintenance == 0) != (b.maintenance == 0):
        return a.maintenance == 0
    left, right = lack_a * b.maintenance, lack_b * a.maintenance
    if a.maintenance and left != right:
        return left > right
    return (-a.maintenance, a.id) < (-b.maintenance, b.id)
