"""The whole state: preallocated int64 columns, a few small tables, pages and the digest."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from seawall.clearing.kernels.columns import zeros_aligned
from seawall.clearing.layout import (
    ACCOUNT_WIDTH,
    ASSET_WIDTH,
    ASSETS_MAX,
    CASE_WIDTH,
    EXTENSION_FREE,
    EXTENSION_WIDTH,
    FEED_WIDTH,
    INSTRUMENT_WIDTH,
    INSTRUMENTS_USED,
    META_WIDTH,
    NEXT,
    ROWS_USED,
    SOURCE_WIDTH,
    TIER_WIDTH,
    TIERS_MAX,
    UNIT_WIDTH,
)
from seawall.protocol.commands import (
    PublishRisk,
    RecordDeposits,
    RecordTrades,
    ReplicaTerms,
)
from seawall.protocol.digest import digest
from seawall.protocol.effects import AnyEffect
from seawall.protocol.genesis import Limits, Parameters
from seawall.protocol.ids import HOUSE_ROWS

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]

PAGE_BYTES = 1 << 20


class Sender(msgspec.Struct, array_like=True):
    """Whoever signs batches: key, roles and the numbers it has used."""

    name: str
    public_key: bytes
    roles: int
    number: int = 0
    recents: dict[int, tuple[int, bytes]] = {}
    """number -> (seq, body digest) of the newest `recents_max` batches, oldest first."""


class Report(msgspec.Struct, array_like=True):
    """A report that waits for more reporters to say the same."""

    report_digest: bytes
    reporters: list[int]
    command: RecordTrades | RecordDeposits | None
    """None while only confirmations came."""


class Pending(msgspec.Struct, array_like=True):
    """An effect in the outbox."""

    effect: AnyEffect
    case: int
    """Index + 1 of the liquidation case that waits for it, else 0."""


class Proposal(msgspec.Struct, array_like=True):
    """Risk arrays that wait for attestation."""

    proposer: int
    command: PublishRisk


class Change(msgspec.Struct, array_like=True):
    """A loosened parameter that waits for its time."""

    name: str
    value: int
    effective_ns: int


class Tables(msgspec.Struct, array_like=True):
    """The small, sparse part of the state; keys are kept in the order they came."""

    log_id: bytes
    name: str
    parameters: dict[str, int]
    replicas: tuple[ReplicaTerms, ...]
    operators_min: int
    senders: list[Sender]
    """Sender i + 1 at index i."""
    asset_names: list[str]
    instrument_names: list[str]
    clocks: dict[int, int]
    """sender id -> latest tick, of all CLOCK senders"""
    sources: list[int]
    """sender ids in order of their source column"""
    streams: dict[int, int]
    """report stream -> last number booked"""
    reports: dict[tuple[int, int], list[Report]]
    """(stream, number) -> the versions told so far"""
    outbox: dict[tuple[int, int], Pending]
    proposals: dict[int, Proposal]
    """risk unit -> newest proposal"""
    active_risk: dict[int, bytes]
    """risk unit -> digest of the active arrays"""
    row_names: dict[int, tuple[str, ...]]
    changes: list[Change]
    generations: dict[int, int]
    """row -> last generation, of vacated rows"""
    vacant_rows: list[int]


class State:
    """All that the machine knows after some entry.

    Columns are numpy arrays for kernels; `cells` of an array (a memoryview) reads and writes one
    word as a Python int, where an overflow raises instead of wrapping.
    """

    COLUMNS = (
        "accounts",
        "extensions",
        "instruments",
        "tiers",
        "assets",
        "feeds",
        "sources",
        "units",
        "rows",
        "cases",
        "meta",
    )

    def __init__(self, limits: Limits, tables: Tables) -> None:
        self.limits = limits
        self.tables = tables
        self.accounts: Int64 = zeros_aligned(limits.accounts_max, ACCOUNT_WIDTH)
        self.accounts32: Int32 = self.accounts.view(np.int32)
        self.extensions: Int64 = zeros_aligned(limits.extensions_max, EXTENSION_WIDTH)
        self.extensions32: Int32 = self.extensions.view(np.int32)
        self.instruments: Int64 = zeros_aligned(limits.instruments_max, INSTRUMENT_WIDTH)
        self.tiers: Int64 = np.zeros((limits.instruments_max, TIERS_MAX, TIER_WIDTH), np.int64)
        self.assets: Int64 = np.zeros((ASSETS_MAX, ASSET_WIDTH), np.int64)
        self.feeds: Int64 = np.zeros((limits.feeds_max, FEED_WIDTH), np.int64)
        self.sources: Int64 = np.zeros(
            (limits.sources_max, limits.feeds_max, SOURCE_WIDTH), np.int64
        )
        self.units: Int64 = np.zeros((limits.units_max, UNIT_WIDTH), np.int64)
        self.rows: Int32 = np.zeros((limits.instruments_max, limits.rows_max), np.int32)
        self.cases: Int64 = np.zeros((limits.cases_max, CASE_WIDTH), np.int64)
        self.meta: Int64 = np.zeros(META_WIDTH, np.int64)
        # The touched list of the entry under way: scratch, no part of the state.
        self.touched: Int32 = np.zeros(limits.accounts_max, np.int32)
        self.touched_count: Int64 = np.zeros(1, np.int64)
        # One cell at a time, as Python ints: reading is exact and writing refuses to wrap.
        self.account = self.accounts.data
        self.extension = self.extensions.data
        self.instrument = self.instruments.data
        self.tier = self.tiers.data
        self.asset = self.assets.data
        self.feed = self.feeds.data
        self.source = self.sources.data
        self.unit = self.units.data
        self.case = self.cases.data
        self.scalar = self.meta.data

    def parameter(self, name: str) -> int:
        """Return the parameter in force now."""
        return self.tables.parameters[name]

    def open_house(self, parameters: Parameters) -> None:
        """Set the scalars and free lists of an empty house."""
        self.tables.parameters = {
            name: getattr(parameters, name) for name in Parameters.__struct_fields__
        }
        self.scalar[ROWS_USED] = HOUSE_ROWS
        self.scalar[INSTRUMENTS_USED] = 1
        for index in range(self.limits.extensions_max):
            last = index + 1 == self.limits.extensions_max
            self.extension[index, NEXT] = 0 if last else index + 2
        self.scalar[EXTENSION_FREE] = 1 if self.limits.extensions_max else 0

    def used(self, column: str) -> npt.NDArray[Any]:
        """Return the part of a column that can differ from zero."""
        whole: npt.NDArray[Any] = getattr(self, column)
        if column == "accounts":
            return whole[: self.scalar[ROWS_USED]]
        if column in ("instruments", "tiers", "rows"):
            return whole[: self.scalar[INSTRUMENTS_USED]]
        return whole

    def pages(self) -> Iterator[bytes]:
        """Yield the canonical state: limits and tables first, then the columns in bounded pages.

        Invariants
        ----------
        Equal states yield equal pages on every machine (columns are little-endian).
        """
        yield msgspec.msgpack.encode((self.limits, self.tables))
        for column in self.COLUMNS:
            # A view of the column's own bytes: nothing is copied until a page is cut.
            raw = _bytes_of(self.used(column))
            yield f"{column}:{len(raw)}".encode()
            for start in range(0, len(raw), PAGE_BYTES):
                yield bytes(raw[start : start + PAGE_BYTES])

    def digest(self) -> bytes:
        """Return the digest of the whole state: the digest of its page digests."""
        return digest(
            b"".join(digest(page, person=b"seawall/page") for page in self.pages()),
            person=b"seawall/state",
        )

    @classmethod
    def from_pages(cls, pages: Iterable[bytes]) -> "State":
        """Return the state that yielded `pages`; their digest is the caller's to check."""
        stream = iter(pages)
        limits, tables = msgspec.msgpack.decode(next(stream), type=tuple[Limits, Tables])
        state = cls(limits, tables)
        for column in cls.COLUMNS:
            name, _, size = next(stream).decode().partition(":")
            assert name == column
            raw = _bytes_of(getattr(state, column))
            filled = 0
            while filled < int(size):
                page = next(stream)
                raw[filled : filled + len(page)] = page
                filled += len(page)
            assert filled == int(size)
        return state


def _bytes_of(column: npt.NDArray[Any]) -> memoryview:
    """Return a column's own bytes; a view without cells cannot be cast."""
    return column.data.cast("B") if column.size else memoryview(b"")
