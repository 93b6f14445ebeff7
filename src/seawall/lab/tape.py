"""The log of a simulated house: never loses what it acknowledged, and is otherwise a nuisance."""

import asyncio
from collections.abc import AsyncGenerator

from seawall.lab.clockwork import SimClock, VirtualLoop
from seawall.lab.weather import Weather
from seawall.lab.wires import flip_bit
from seawall.replica.log import (
    Appended,
    AppendRefused,
    AppendUnknown,
    Entry,
    LogUnavailable,
)
from seawall.replica.logs.bounds import check_message, check_start

APPEND_S = (0.0005, 0.004)
TIMEOUT_S = 0.25
LATE_S = 1.0
LAGGING_S = 0.5
ENTRIES_PER_TURN = 16


class Tape:
    """What the log's nodes hold together, and who can reach them.

    Attributes
    ----------
    down : whether no node of the log takes or gives entries now
    cut_off : names of nodes that cannot reach the log
    """

    def __init__(self, loop: VirtualLoop, weather: Weather) -> None:
        self.loop = loop
        self.weather = weather
        self.entries: list[Entry] = []
        self.down = False
        self.cut_off: set[str] = set()
        self._seq_by_message_id: dict[str, int] = {}
        self._readers: list[TapeReader] = []

    def store(self, message_id: str, payload: bytes) -> Appended:
        """Number and keep a message; the memory of message ids may have been lost."""
        known_seq = self._seq_by_message_id.get(message_id)
        if known_seq is not None and not self.weather.strikes("append_not_deduplicated"):
            return Appended(seq=known_seq, duplicate=True)
        seq = len(self.entries) + 1
        self.entries.append(Entry(seq=seq, payload=bytes(payload)))
        self._seq_by_message_id[message_id] = seq
        for reader in self._readers:
            reader.wake()
        return Appended(seq=seq, duplicate=False)

    def join(self, reader: "TapeReader") -> None:
        """Wake this reader when something is stored."""
        self._readers.append(reader)

    def leave(self, reader: "TapeReader") -> None:
        """Forget a reader."""
        self._readers.remove(reader)


class TapeReader:
    """One node's connection to the log; implements `replica.log.Log`.

    Parameters
    ----------
    suspect : whether this node may be served a corrupted entry, at its own risk
    """

    def __init__(self, tape: Tape, name: str, clock: SimClock, *, suspect: bool) -> None:
        self._tape = tape
        self._name = name
        self._clock = clock
        self._suspect = suspect
        self._news = asyncio.Event()
        self._closed = False
        tape.join(self)

    def wake(self) -> None:
        """Look again."""
        self._news.set()

    def hang_up(self) -> None:
        """End the connection at once and in silence: the process was killed."""
        if not self._closed:
            self._closed = True
            self._tape.leave(self)

    @property
    def _reachable(self) -> bool:
        return not self._tape.down and self._name not in self._tape.cut_off

    async def append(self, message_id: str, payload: bytes) -> Appended:
        """Store a message, or fail in one of the ways that a log has; see `Log.append`."""
        check_message(message_id, payload)
        tape, weather = self._tape, self._tape.weather
        await self._clock.sleep(weather.chance.uniform(*APPEND_S))
        if not self._reachable or weather.strikes("append_lost"):
            await self._clock.sleep(TIMEOUT_S)
            raise AppendUnknown("no answer; it was not stored")
        if weather.strikes("append_refused"):
            raise AppendRefused("no leader")
        if weather.strikes("append_late"):
            # It is still under way when the caller gives up, and arrives all the same.
            late_s = TIMEOUT_S + weather.chance.uniform(0, LATE_S)
            tape.loop.call_later(late_s, tape.store, message_id, payload)
            await self._clock.sleep(TIMEOUT_S)
            raise AppendUnknown("no answer; it will be stored")
        appended = tape.store(message_id, payload)
        if weather.strikes("append_reply_lost"):
            await self._clock.sleep(TIMEOUT_S)
            raise AppendUnknown("no answer; it was stored")
        await self._clock.sleep(weather.chance.uniform(*APPEND_S))
        return appended

    async def read(self, first_seq: int) -> AsyncGenerator[Entry, None]:
        """Yield entries, sometimes late, sometimes with a hole; see `Log.read`."""
        assert first_seq >= 1
        entries = self._tape.entries
        check_start(first_seq, len(entries))
        seq = first_seq
        while not self._closed:
            if not self._reachable:
                await self._clock.sleep(TIMEOUT_S)
                raise LogUnavailable("no node of the log answers")
            if seq <= len(entries):
                yield await self._fetch(seq)
                seq += 1
                if seq % ENTRIES_PER_TURN == 0:
                    await asyncio.sleep(0)
                continue
            self._news.clear()
            await self._news.wait()
            await self._clock.awake()

    async def _fetch(self, seq: int) -> Entry:
        entries, weather = self._tape.entries, self._tape.weather
        if self._clock.paused is not None:
            await self._clock.awake()
        if weather.strikes("read_lagging"):
            await self._clock.sleep(weather.chance.uniform(0, LAGGING_S))
        if weather.strikes("read_unavailable"):
            raise LogUnavailable("the serving node went away")
        if seq < len(entries) and weather.strikes("read_gap"):
            return entries[seq]
        entry = entries[seq - 1]
        # Nobody survives a first entry that is not the one of its own house.
        if self._suspect and seq > 1 and weather.strikes("read_corrupted"):
            return Entry(seq=seq, payload=flip_bit(weather, entry.payload))
        return entry

    async def last_seq(self) -> int:
        """Return the newest sequence; see `Log.last_seq`."""
        await self._clock.awake()
        if not self._reachable or self._closed:
            await self._clock.sleep(TIMEOUT_S)
            raise LogUnavailable("no node of the log answers")
        return len(self._tape.entries)

    async def close(self) -> None:
        """End the connection and its readers; see `Log.close`."""
        self.hang_up()
        self._news.set()
