"""A small honest state machine: balances that entries add to. For these tests only."""

from collections.abc import Iterable, Iterator

import msgspec

from seawall.protocol.codec import log_id_of
from seawall.protocol.signatures import SigningKey
from seawall.replica.machine import (
    NOBODY,
    Roster,
    check_roster,
    digest_page,
    digest_state,
)

ACCOUNTS_PER_PAGE = 4

Keys = tuple[tuple[str, bytes], ...]


class Head(msgspec.Struct, frozen=True, array_like=True):
    seq: int
    roster: Roster
    checkpoint_entries: int


class Found(msgspec.Struct, frozen=True, array_like=True, tag=True):
    keys: Keys
    checkpoint_entries: int


class Add(msgspec.Struct, frozen=True, array_like=True, tag=True):
    account: int
    amount: int
    padding: bytes = b""


class Enrol(msgspec.Struct, frozen=True, array_like=True, tag=True):
    keys: Keys


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    seq: int
    said: str
    balance: int = 0
    roster: Roster | None = None
    state_digest: bytes = b""
    padding: bytes = b""


Command = Found | Add | Enrol


class Ledger:
    """Adds amounts to accounts; entry 1 is `Found`, `Enrol` replaces the replica set."""

    def __init__(self) -> None:
        self._seq = 0
        self._roster = NOBODY
        self._checkpoint_entries = 0
        self.balances: dict[int, int] = {}

    @property
    def seq(self) -> int:
        return self._seq

    def roster(self) -> Roster:
        return self._roster

    def apply(self, seq: int, payload: bytes) -> bytes:
        assert seq == self._seq + 1
        self._seq = seq
        outcome = self._decide(payload)
        every = self._checkpoint_entries
        if every and seq % every == 0:
            outcome = msgspec.structs.replace(outcome, state_digest=self.digest())
        return msgspec.msgpack.encode(outcome)

    def _decide(self, payload: bytes) -> Outcome:
        try:
            command = msgspec.msgpack.decode(payload, type=Command)
        except msgspec.DecodeError:
            return Outcome(self._seq, "malformed")
        if isinstance(command, Add):
            balance = self.balances.get(command.account, 0) + self._amount_of(command)
            self.balances[command.account] = balance
            return Outcome(self._seq, "added", balance, padding=command.padding)
        if isinstance(command, Found) == (self._seq != 1):
            return Outcome(self._seq, "refused")
        log_id = log_id_of(payload) if self._seq == 1 else self._roster.log_id
        roster = Roster(log_id=log_id, epoch=self._roster.epoch + 1, keys=command.keys)
        if check_roster(roster) is not None:
            return Outcome(self._seq, "refused")
        self._roster = roster
        if isinstance(command, Found):
            self._checkpoint_entries = command.checkpoint_entries
        return Outcome(self._seq, "enrolled", roster=roster)

    def _amount_of(self, command: Add) -> int:
        return command.amount

    def roster_of(self, outcome: bytes) -> Roster | None:
        return msgspec.msgpack.decode(outcome, type=Outcome).roster

    def checkpoint_of(self, outcome: bytes) -> bytes | None:
        return msgspec.msgpack.decode(outcome, type=Outcome).state_digest or None

    def pages(self) -> Iterator[bytes]:
        yield msgspec.msgpack.encode(Head(self._seq, self._roster, self._checkpoint_entries))
        lines = sorted(self.balances.items())
        for start in range(0, len(lines), ACCOUNTS_PER_PAGE):
            yield msgspec.msgpack.encode(lines[start : start + ACCOUNTS_PER_PAGE])

    def restore(self, pages: Iterable[bytes]) -> None:
        assert self._seq == 0
        head, *rest = pages
        read = msgspec.msgpack.decode(head, type=Head)
        self._seq, self._roster = read.seq, read.roster
        self._checkpoint_entries = read.checkpoint_entries
        for page in rest:
            self.balances.update(msgspec.msgpack.decode(page, type=list[tuple[int, int]]))

    def digest(self) -> bytes:
        return digest_state(digest_page(page) for page in self.pages())


class Liar(Ledger):
    """Adds one unit too many at each of the entries in `lies_at`."""

    def __init__(self, *lies_at: int) -> None:
        super().__init__()
        self.lies_at = lies_at

    def _amount_of(self, command: Add) -> int:
        return command.amount + (1 if self._seq in self.lies_at else 0)


def key_of(name: str) -> SigningKey:
    return SigningKey(name.encode().ljust(32, b"."))


def keys_of(*names: str) -> Keys:
    return tuple((name, key_of(name).public_key) for name in sorted(names))


def genesis(*names: str, checkpoint_entries: int = 10) -> bytes:
    return msgspec.msgpack.encode(Found(keys_of(*names), checkpoint_entries))


def addition(index: int, *, padding: bytes = b"") -> bytes:
    return msgspec.msgpack.encode(Add(index % 13, index * 7 - 3, padding))


def enrolment(*names: str) -> bytes:
    return msgspec.msgpack.encode(Enrol(keys_of(*names)))


def roster_for(*names: str, epoch: int = 1) -> Roster:
    """The roster that a log founded by `genesis(*names)` has."""
    return Roster(log_id=log_id_of(genesis(*names)), epoch=epoch, keys=keys_of(*names))
