"""The disks of a simulated house: slow, full, rotten, and forgetful when the power goes."""

from collections.abc import Sequence

from seawall.lab.clockwork import SimClock
from seawall.lab.weather import Weather
from seawall.lab.wires import flip_bit
from seawall.node.journal import JournalFault, MemoryJournal, Record, frame_record
from seawall.replica.disk import DiskFault, MemoryDisk

WRITE_S = (0.0005, 0.003)
SLOW_S = 0.5


class Platter(MemoryDisk):
    """A node's disk: outlives its processes.

    Attributes
    ----------
    clock : of the node's present life
    """

    def __init__(self, weather: Weather, clock: SimClock) -> None:
        super().__init__()
        self.clock = clock
        self._weather = weather

    async def write(self, name: str, chunks: Sequence[bytes]) -> None:
        """Store a file after a while; a process killed meanwhile leaves nothing of it."""
        weather = self._weather
        longest_s = SLOW_S if weather.strikes("disk_slow") else WRITE_S[1]
        await self.clock.sleep(weather.chance.uniform(WRITE_S[0], longest_s))
        if weather.strikes("disk_full"):
            raise DiskFault(f"{name}: no space left")
        await super().write(name, chunks)

    async def read(self, name: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Return a part of a file, unless the disk cannot; a bit may have rotted for good."""
        await self.clock.awake()
        weather = self._weather
        if weather.strikes("disk_unreadable"):
            raise DiskFault(f"{name}: input/output error")
        if name in self.files and weather.strikes("disk_bit_flip"):
            self.files[name] = flip_bit(weather, self.files[name])
        return await super().read(name, offset=offset, size=size)

    def spoil(self) -> bool:
        """Tear off the end of one file or turn a bit of it; tell whether there was one."""
        names = sorted(self.files)
        if not names:
            return False
        name = self._weather.chance.choice(names)
        data = self.files[name]
        if self._weather.chance.random() < 0.5:
            self.files[name] = data[: self._weather.chance.randrange(len(data) + 1)]
        else:
            self.files[name] = flip_bit(self._weather, data)
        return True


class PaperJournal(MemoryJournal):
    """A journal whose newest bytes are in a cache until they are synced.

    Parameters
    ----------
    synced : one cell, how many bytes of `store` would survive a loss of power
    """

    def __init__(
        self, store: bytearray, synced: list[int], weather: Weather, clock: SimClock
    ) -> None:
        super().__init__(store)
        self._synced = synced
        self._weather = weather
        self._clock = clock
        self.dead = False

    def write(self, record: Record) -> None:
        """Append a record to the cache, unless the disk is full."""
        if self.dead:
            return
        if self._weather.strikes("disk_full"):
            raise JournalFault("no space left")
        super().write(record)

    async def sync(self) -> None:
        """Wait until all that was written before the call is safe."""
        size_bytes = len(self._store)
        longest_s = SLOW_S if self._weather.strikes("disk_slow") else WRITE_S[1]
        await self._clock.sleep(self._weather.chance.uniform(WRITE_S[0], longest_s))
        if not self.dead:
            self._synced[0] = max(self._synced[0], min(size_bytes, len(self._store)))

    def rewrite(self, records: list[Record]) -> None:
        """Replace all records, durably."""
        if not self.dead:
            self._store[:] = b"".join(frame_record(record) for record in records)
            self._synced[0] = len(self._store)


class Drawer:
    """The journals of one node; implements `node.journal.Journals`."""

    def __init__(self, weather: Weather, clock: SimClock) -> None:
        self.clock = clock
        self._weather = weather
        self._stores: dict[str, tuple[bytearray, list[int]]] = {}
        self._open: list[PaperJournal] = []

    def open(self, name: str) -> PaperJournal:
        """Return the journal of this name for the node's present life."""
        store, synced = self._stores.setdefault(name, (bytearray(), [0]))
        journal = PaperJournal(store, synced, self._weather, self.clock)
        self._open.append(journal)
        return journal

    def names(self) -> list[str]:
        """Return the names of the journals that exist, in order."""
        return sorted(self._stores)

    def end_life(self, *, power_lost: bool) -> None:
        """Let nothing of the present life write again; without power the cache is lost."""
        for journal in self._open:
            journal.dead = True
        self._open.clear()
        if not power_lost:
            return
        for store, synced in self._stores.values():
            # The disk may have got any part of what was under way to it.
            kept = self._weather.chance.randint(min(synced[0], len(store)), len(store))
            del store[kept:]
            synced[0] = min(synced[0], kept)
