"""The auditor's own ledger: accounts, holdings, contracts, and the arithmetic of a fill.

Objects and dictionaries on purpose: nothing here resembles the columns it checks. Every amount
enters through `credit` or `vary`, and every lot through `settle_side`, which keep running sums;
conservation is therefore checked after each entry without walking the books.
"""

from dataclasses import dataclass, field

from seawall.protocol.commands import InstrumentTerms, Kind, Style
from seawall.protocol.events import AccountState, Grade

AMOUNT_BOUND = 1 << 62
"""Balances and costs stay strictly below this in magnitude."""
STATUS_TRADING = 1
STATUS_SETTLED = 2
STATUS_WAITING = 3
"""Expired, but without a price to settle at: no new trades."""


@dataclass(slots=True)
class Holding:
    """Lots and the signed value (value units) they were entered at."""

    lots: int = 0
    cost: int = 0


@dataclass(slots=True)
class Case:
    """An account being liquidated."""

    deadline_ns: int
    overdue: bool
    """Opened for a margin call unmet, not for a breach of maintenance."""


@dataclass(slots=True)
class Account:
    """One account; ids are never reused, so neither are these objects."""

    id: int
    owner: int
    mode: int
    balances: list[int]
    parent: int = 0
    children: int = 0
    holdings: dict[int, Holding] = field(default_factory=dict)
    state: int = AccountState.HEALTHY
    equity: int = 0
    maintenance: int = 0
    initial: int = 0
    evaluated_seq: int = 0
    moved_seq: int = 0
    """Entry that last changed balances, holdings or mode."""
    call_deadline_ns: int = 0
    case: Case | None = None

    @property
    def moved(self) -> bool:
        """Tell whether it changed since its last evaluation, or in the very same entry."""
        return self.moved_seq >= self.evaluated_seq

    def is_empty(self) -> bool:
        """Tell whether nothing is left on the account."""
        return not self.holdings and not any(self.balances)


@dataclass(slots=True)
class Contract:
    """One instrument: its terms, its share of the books, its prices."""

    id: int
    terms: InstrumentTerms
    deductions: tuple[int, ...] = ()
    status: int = STATUS_TRADING
    # Books. Lots and costs are sums over accounts; the first must stay zero.
    lots_sum: int = 0
    long_lots: int = 0
    costs_sum: int = 0
    variation: int = 0
    residual: int = 0
    # Prices.
    ticks: int = 0
    value: int = 0
    notional: int = 0
    underlying: int = 0
    grade: int = Grade.TOO_FEW
    basis: int = 0
    halted_until_ns: int = 0
    # Funding and settlement.
    funding_next_ns: int = 0
    premium_sum: int = 0
    premium_count: int = 0
    sampled_at_ns: int = 0
    final_sum: int = 0
    final_count: int = 0
    # Risk rows.
    rows: tuple[int, ...] = ()
    option_value: int = 0

    @property
    def is_option(self) -> bool:
        """Tell whether the value is attested instead of computed."""
        return self.terms.kind == Kind.OPTION

    @property
    def is_inverse(self) -> bool:
        """Tell whether a lot is worth minus a constant over the price."""
        return self.terms.kind in (Kind.INVERSE_PERPETUAL, Kind.INVERSE_FUTURE)

    @property
    def is_perpetual(self) -> bool:
        """Tell whether it pays funding and never expires."""
        return self.terms.kind in (Kind.LINEAR_PERPETUAL, Kind.INVERSE_PERPETUAL)

    @property
    def is_premium(self) -> bool:
        """Tell whether the value moves in cash at the trade."""
        return self.terms.style == Style.PREMIUM

    def value_at(self, ticks: int) -> int:
        """Return the signed value of one lot at a price, in value units (PROD-01)."""
        if not self.is_inverse:
            return ticks * self.terms.value_per_tick
        return -(self.terms.inverse_numerator // ticks) if ticks > 0 else 0

    def fee_value(self, ticks: int) -> int:
        """Return what a fee is a share of, value units per lot (PROD-02)."""
        if self.is_option and self.underlying:
            return self.underlying
        return abs(self.value_at(ticks))


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up; b > 0."""
    return -(-a // b)


def fill_side(holding: Holding, lots: int, value: int, premium: bool) -> tuple[Holding, int]:
    """Return the holding after one side of a fill, and what the side realised in value units.

    Parameters
    ----------
    lots : signed, bought is +
    value : of one lot, value units
    premium : the value moves in cash and nothing is carried as cost

    Rounding
    --------
    The cost that leaves with closed lots is rounded up, so profit is rounded down (LEDG-05).
    """
    if premium:
        return Holding(holding.lots + lots, 0), -lots * value
    if holding.lots * lots >= 0:
        return Holding(holding.lots + lots, holding.cost + lots * value), 0
    closed = min(abs(lots), abs(holding.lots))
    if holding.lots < 0:
        closed = -closed
    # `closed` carries the sign of what was held; what it brings in now, less what it had cost.
    cost_closed = ceil_div(holding.cost * abs(closed), abs(holding.lots))
    opened = lots + closed
    after = Holding(holding.lots + lots, holding.cost - cost_closed + opened * value)
    return after, closed * value - cost_closed


class Books:
    """Accounts and contracts with their running sums."""

    def __init__(self, asset_count: int) -> None:
        self.seq = 0
        self.accounts: dict[int, Account] = {}
        self.contracts: dict[int, Contract] = {}
        self.asset_sums: list[int] = [0] * asset_count
        """Balances plus variation per asset: zero after every entry."""
        self.touched: dict[int, Account] = {}
        self.moved_contracts: dict[int, Contract] = {}

    def start_entry(self, seq: int) -> None:
        """Forget what earlier entries touched."""
        self.seq = seq
        self.touched = {}
        self.moved_contracts = {}

    def touch(self, account: Account) -> None:
        """Mark an account changed by this entry and due for evaluation."""
        account.moved_seq = self.seq
        self.touched[account.id] = account

    def credit(self, account: Account, asset: int, amount: int) -> None:
        """Add to a balance; the running sum of the asset remembers it."""
        account.balances[asset] += amount
        self.asset_sums[asset] += amount
        self.touch(account)

    def pay(self, payer: Account, payee: Account, asset: int, amount: int) -> None:
        """Move an amount from one account to another."""
        self.credit(payer, asset, -amount)
        self.credit(payee, asset, amount)

    def vary(self, contract: Contract, amount: int) -> None:
        """Add to the contract's variation account."""
        contract.variation += amount
        self.asset_sums[contract.terms.asset_id] += amount
        self.moved_contracts[contract.id] = contract

    def settle_side(self, account: Account, contract: Contract, after: Holding, gain: int) -> int:
        """Write one side of a fill and return the profit booked, minor units, rounded down."""
        before = account.holdings.get(contract.id, Holding())
        contract.lots_sum += after.lots - before.lots
        contract.long_lots += max(0, after.lots) - max(0, before.lots)
        contract.costs_sum += after.cost - before.cost
        if after.lots:
            account.holdings[contract.id] = after
        else:
            account.holdings.pop(contract.id, None)
        minor, rest = divmod(gain, contract.terms.value_scale)
        contract.residual += rest
        self.vary(contract, -minor)
        self.credit(account, contract.terms.asset_id, minor)
        return minor

    def trade(self, account: Account, contract: Contract, lots: int, value: int) -> int:
        """Post one feeless side of a fill at a value and return the profit booked."""
        held = account.holdings.get(contract.id, Holding())
        after, gain = fill_side(held, lots, value, contract.is_premium)
        return self.settle_side(account, contract, after, gain)

    def holders(self, contract: Contract) -> list[Account]:
        """Return the accounts that hold lots, in no particular order."""
        return [each for each in self.accounts.values() if contract.id in each.holdings]
