"""The `StateMachine` contract: what a replica runs, votes on, saves and restores."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Protocol

import msgspec

from seawall.protocol.digest import DIGEST_BYTES, digest
from seawall.protocol.signatures import KEY_BYTES

PAGE_BYTES_MAX = 1 << 20
OUTCOME_BYTES_MAX = 7 << 20
"""7 MiB: one outcome, its envelope and a certificate still fit one message of the bus."""
ROSTER_MAX = 15

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class Roster(msgspec.Struct, frozen=True, array_like=True):
    """The replica set of one epoch, as the state holds it.

    An entry is voted on by the roster in force before it, entry 1 by the one it names. Hence a
    change of the set is itself certified by the old set and binds from the next entry on.
    """

    log_id: bytes
    epoch: int
    keys: tuple[tuple[str, bytes], ...]
    """(name, public key), sorted by name; empty before entry 1."""

    @property
    def majority(self) -> int:
        """How many equal votes certify: more than half of all members, present or not."""
        return len(self.keys) // 2 + 1

    def key_of(self, name: str) -> bytes | None:
        """Return the member's public key, None for a stranger."""
        for member, key in self.keys:
            if member == name:
                return key
        return None


NOBODY = Roster(log_id=b"", epoch=0, keys=())
"""The roster of a machine that has not seen entry 1."""


def check_roster(roster: Roster) -> str | None:
    """Return what makes `roster` unfit to vote, None if nothing does."""
    names = [name for name, _ in roster.keys]
    if len(roster.log_id) != DIGEST_BYTES:
        return "the log id is no digest"
    if not 1 <= len(names) <= ROSTER_MAX:
        return f"a roster has 1 to {ROSTER_MAX} members"
    if any(first >= second for first, second in pairwise(names)):
        return "names are not in order or not unique"
    if any(_NAME.fullmatch(name) is None for name in names):
        return "a name is not one word of a subject"
    if any(len(key) != KEY_BYTES for _, key in roster.keys):
        return "a key has the wrong length"
    if len({key for _, key in roster.keys}) != len(names):
        return "two members share a key, so one could vote twice"
    return None


class StateMachine(Protocol):
    """A deterministic machine: the same entries give the same outcomes, bytes for bytes.

    Made empty, at seq 0. `apply` is total: a payload it cannot read is an outcome like any other.
    A bug asserts; nobody catches it, the replica stops.
    """

    @property
    def seq(self) -> int:
        """Sequence of the last entry applied, 0 for none."""
        ...

    def apply(self, seq: int, payload: bytes) -> bytes:
        """Apply entry `seq` == self.seq + 1; return at most `OUTCOME_BYTES_MAX` canonical bytes."""
        ...

    def roster(self) -> Roster:
        """Return the replica set in state: who votes on the next entry."""
        ...

    def roster_of(self, outcome: bytes) -> Roster | None:
        """Return the replica set that this outcome puts in force, if it does; no state needed.

        Readers without a machine learn of a change by it. Entry 1 counts as a change.
        """
        ...

    def checkpoint_of(self, outcome: bytes) -> bytes | None:
        """Return the state digest that this outcome certifies, if it is one; no state needed."""
        ...

    def pages(self) -> Iterator[bytes]:
        """Yield the canonical state, seq included, in pages of at most `PAGE_BYTES_MAX` bytes."""
        ...

    def restore(self, pages: Iterable[bytes]) -> None:
        """Take over a state from pages that are certified; the machine is an empty one."""
        ...

    def digest(self) -> bytes:
        """Return the digest of the state: `digest_state` of its pages."""
        ...


def digest_page(page: bytes) -> bytes:
    """Return the digest that stands for one page."""
    return digest(page, person=b"seawall/page")


def digest_state(page_digests: Iterable[bytes]) -> bytes:
    """Return the digest of a state from the digests of its pages.

    Two levels, so that a machine may keep the digests of untouched pages and a reader may
    check each page before it is used.
    """
    return digest(b"".join(page_digests), person=b"seawall/state")
