"""The nemesis: kills, pauses, cuts apart and spoils, by the weather of the seed; then it heals."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from seawall.lab.stations import ReplicaStation, Site, Station
from seawall.protocol.units import NS_PER_HOUR

STEPS_MAX = 40
"""A process dies up to this many turns of the loop after a timer, so between any two awaits."""


class Nemesis:
    """Brings about the events of `weather.EVENTS` until it is cancelled."""

    def __init__(self, site: Site, stations: list[Station], replicas: list[ReplicaStation]) -> None:
        self._site = site
        self._stations = stations
        self._replicas = replicas
        self._chance = site.weather.chance
        self._acts: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "replica_crash": self._crash_replica,
            "gateway_crash": self._crash_gateway,
            "power_loss": self._cut_power,
            "pause": self._pause,
            "partition": self._part,
            "partition_one_way": self._part_one_way,
            "log_outage": self._stop_log,
            "log_cut_off": self._cut_off_log,
            "date_jump": self._jump_date,
            "snapshot_corrupted": self._spoil_snapshot,
        }

    async def run(self) -> None:
        """Let every kind of event of this seed happen, each at its own pace."""
        kinds = sorted(self._site.weather.intervals_s)
        await asyncio.gather(*(self._repeat(kind) for kind in kinds))

    async def _repeat(self, kind: str) -> None:
        mean_s = self._site.weather.intervals_s[kind]
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / mean_s))
            for _ in range(self._chance.randrange(STEPS_MAX)):
                await asyncio.sleep(0)
            await self._acts[kind]()

    async def heal(self) -> None:
        """Undo all that is still amiss: everything runs and everyone reaches everyone."""
        site = self._site
        site.wires.cuts.clear()
        site.tape.cut_off.clear()
        site.tape.down = False
        for station in self._stations:
            station.go_on()
            self._revive(station)

    async def _crash(self, station: Station, kind: str, *, power_lost: bool) -> None:
        if not station.is_up:
            return
        self._site.weather.note(kind)
        await station.kill(power_lost=power_lost)
        await asyncio.sleep(self._chance.uniform(0.02, 1.5))
        self._revive(station)

    @staticmethod
    def _revive(station: Station) -> None:
        """Start it, unless somebody else was quicker."""
        if not station.is_up:
            station.start()

    async def _crash_replica(self) -> None:
        station = self._chance.choice(self._replicas)
        await self._crash(station, "replica_crash", power_lost=False)

    async def _crash_gateway(self) -> None:
        gateways = [s for s in self._stations if not isinstance(s, ReplicaStation)]
        await self._crash(self._chance.choice(gateways), "gateway_crash", power_lost=False)

    async def _cut_power(self) -> None:
        station = self._chance.choice(self._stations)
        await self._crash(station, "power_loss", power_lost=True)

    async def _pause(self) -> None:
        station = self._chance.choice(self._stations)
        self._site.weather.note("pause")
        station.pause()
        await asyncio.sleep(self._chance.uniform(0.02, 2.0))
        station.go_on()

    def _halves(self) -> tuple[list[str], list[str]]:
        names = [station.name for station in self._stations]
        self._chance.shuffle(names)
        size = self._chance.randrange(1, len(names))
        return names[:size], names[size:]

    async def _part(self) -> None:
        ours, theirs = self._halves()
        await self._cut("partition", [(a, b) for a in ours for b in theirs], both_ways=True)

    async def _part_one_way(self) -> None:
        ours, theirs = self._halves()
        cut = [(a, b) for a in ours for b in theirs]
        await self._cut("partition_one_way", cut, both_ways=False)

    async def _cut(self, kind: str, pairs: list[tuple[str, str]], *, both_ways: bool) -> None:
        cuts = self._site.wires.cuts
        if both_ways:
            pairs = pairs + [(b, a) for a, b in pairs]
        self._site.weather.note(kind)
        cuts.update(pairs)
        await asyncio.sleep(self._chance.uniform(0.1, 2.0))
        cuts.difference_update(pairs)

    async def _stop_log(self) -> None:
        self._site.weather.note("log_outage")
        self._site.tape.down = True
        await asyncio.sleep(self._chance.uniform(0.05, 2.0))
        self._site.tape.down = False

    async def _cut_off_log(self) -> None:
        name = self._chance.choice(self._stations).name
        self._site.weather.note("log_cut_off")
        self._site.tape.cut_off.add(name)
        await asyncio.sleep(self._chance.uniform(0.05, 2.0))
        self._site.tape.cut_off.discard(name)

    async def _jump_date(self) -> None:
        station = self._chance.choice(self._stations)
        self._site.weather.note("date_jump")
        station.clock.offset_ns += self._chance.choice((-1, 1)) * NS_PER_HOUR

    async def _spoil_snapshot(self) -> None:
        station = self._chance.choice(self._replicas)
        if station.snapshots.spoil():
            self._site.weather.note("snapshot_corrupted")
