"""Everything the auditor believes about the house: one object that all its checks share."""

from dataclasses import dataclass, field

import msgspec

from seawall.oversight.books import Account, Books, Contract
from seawall.oversight.record import Record
from seawall.protocol.commands import AssetTerms, Role
from seawall.protocol.effects import AnyEffect
from seawall.protocol.events import Grade
from seawall.protocol.genesis import Genesis, Limits
from seawall.protocol.ids import (
    DEFAULT_FUND,
    EXTERNAL,
    FEES,
    HOUSE_ROWS,
    INSURANCE,
    ROUNDING,
    SKIN_IN_THE_GAME,
    TRANSIT,
)

HOUSE_ACCOUNTS = (FEES, INSURANCE, ROUNDING, EXTERNAL, TRANSIT, SKIN_IN_THE_GAME, DEFAULT_FUND)


@dataclass(slots=True)
class Sender:
    """Whoever signs batches."""

    id: int
    name: str
    public_key: bytes
    roles: int
    last_number: int = 0
    recents: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    """Number to the digest of the batch and the entry it was applied at; insertion is age."""


@dataclass(slots=True)
class Asset:
    """An asset and its price in the valuation asset."""

    terms: AssetTerms
    unit: int
    price: int
    grade: int


@dataclass(slots=True)
class Feed:
    """A published series: what each source said and the index made of it."""

    id: int
    told: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Sender to (value, observed at)."""
    deviating: dict[int, bool] = field(default_factory=dict)
    index: int = 0
    grade: int = Grade.TOO_FEW
    doubt_since_ns: int = 0


@dataclass(slots=True)
class Report:
    """A report number of a stream: bodies and who vouches for which."""

    told_at_ns: int
    votes: dict[int, bytes] = field(default_factory=dict)
    bodies: dict[bytes, msgspec.Struct] = field(default_factory=dict)


@dataclass(slots=True)
class Unit:
    """A risk unit's arrays: proposed and active."""

    id: int
    status: int = 0
    """0 never active, 1 active, 2 lapsed."""
    scale: int = 0
    expires_at_ns: int = 0
    proposal: msgspec.Struct | None = None
    proposal_digest: bytes = b""
    proposer: int = 0


@dataclass(slots=True)
class Pending:
    """A parameter that changes later."""

    name: str
    value: int
    effective_ns: int


class House:
    """The auditor's own state, made from genesis."""

    def __init__(self, genesis: Genesis, log_id: bytes) -> None:
        self.log_id = log_id
        self.limits: Limits = genesis.limits
        self.parameters: dict[str, int] = msgspec.structs.asdict(genesis.parameters)
        self.pending: list[Pending] = []
        self.rules_version = genesis.rules_version
        self.now_ns = genesis.at_ns
        self.genesis_ns = genesis.at_ns
        self.clocks: dict[int, int] = {}
        self.senders: dict[int, Sender] = {}
        self.sources: list[int] = []
        for position, terms in enumerate(genesis.senders, 1):
            self.admit(Sender(position, terms.name, terms.public_key, terms.roles))
        self.assets = [
            Asset(terms, 10**terms.decimals, 0, Grade.TOO_FEW) for terms in genesis.assets
        ]
        self.assets[0].price, self.assets[0].grade = self.assets[0].unit, Grade.FRESH
        self.feeds: dict[int, Feed] = {}
        for asset in self.assets[1:]:
            self.use_feed(asset.terms.feed_id)
        self.books = Books(len(self.assets))
        for account in HOUSE_ACCOUNTS:
            self.books.accounts[account] = Account(account, 0, 0, [0] * len(self.assets))
        self.next_row = HOUSE_ROWS
        self.vacated: list[int] = []
        """Ids whose rows are free again, the newest last."""
        self.epoch = 1
        self.replicas = genesis.replicas
        self.halted_until_ns = 0
        """The halt of all instruments together."""
        self.units: dict[int, Unit] = {}
        self.reports: dict[int, dict[int, Report]] = {}
        self.booked: dict[int, int] = {}
        self.outbox: dict[tuple[int, int], AnyEffect] = {}
        self.prices_moved = True
        """Marks, prices or grades changed since the last evaluation."""
        self.evaluated_ns = -1

    def admit(self, sender: Sender) -> None:
        """Add a sender with the clock and the price column that its roles bring."""
        self.senders[sender.id] = sender
        if sender.roles & Role.CLOCK:
            self.clocks[sender.id] = self.genesis_ns
        if sender.roles & Role.PRICES:
            self.sources.append(sender.id)

    def use_feed(self, feed_id: int) -> None:
        """Note that an instrument or an asset names this feed."""
        if feed_id:
            self.feeds.setdefault(feed_id, Feed(feed_id))

    def account(self, account_id: int) -> Account | None:
        """Return the open account of this id."""
        return self.books.accounts.get(account_id)

    def house_account(self, account_id: int) -> Account:
        """Return one of the fixed accounts."""
        return self.books.accounts[account_id]

    def is_client(self, account: Account) -> bool:
        """Tell whether the account is a client's."""
        return account.id not in HOUSE_ACCOUNTS

    def is_halted(self, contract: Contract) -> bool:
        """Tell whether a halt is on, of this instrument or of all."""
        return self.now_ns < max(contract.halted_until_ns, self.halted_until_ns)

    def account_halted(self, account: Account) -> bool:
        """Tell whether the account holds anything halted (BRKR-01)."""
        contracts = self.books.contracts
        return any(self.is_halted(contracts[each]) for each in account.holdings)

    def is_doubtful(self, account: Account) -> bool:
        """Tell whether anything the account holds is priced in doubt (MARK-05)."""
        contracts = [self.books.contracts[each] for each in account.holdings]
        if any(each.grade != Grade.FRESH for each in contracts):
            return True
        if any(self.assets[each.terms.asset_id].grade != Grade.FRESH for each in contracts):
            return True
        return any(
            balance and asset.grade != Grade.FRESH
            for balance, asset in zip(account.balances[1:], self.assets[1:], strict=True)
        )


class Context(msgspec.Struct, frozen=True):
    """What a judgement needs: the books, the entry's record, and who asks."""

    house: House
    record: Record
    sender: Sender
