"""The faults of the drill: who is struck, how, for how long, and what is done to make it good."""

import asyncio
import random
import shutil
import signal
from pathlib import Path
from typing import assert_never

import msgspec

from seawall.lab.drill_plan import Fault
from seawall.node.house import AUDITOR, House
from seawall.replica.snapshots import pages_name

PAUSED = (Fault.REPLICA_PAUSED, Fault.LOG_LEADER_PAUSED, Fault.LOG_FOLLOWER_PAUSED)
DAMAGED = (Fault.SNAPSHOT_TRUNCATED, Fault.SNAPSHOT_FLIPPED)
DOWN_S, PAUSE_S = (0.5, 3.0), (2.0, 8.0)
"""Shortest and longest time between a blow and its healing."""


class Blow(msgspec.Struct, frozen=True):
    """One fault, aimed: who is struck, and for how long nothing is done about it."""

    fault: Fault
    victims: tuple[str, ...]
    down_s: float


class Wrecker:
    """Breaks the house and puts it together again.

    Parameters
    ----------
    chance : decides on victims and durations
    """

    def __init__(self, house: House, chance: random.Random) -> None:
        self._house = house
        self._chance = chance

    async def aim(self, fault: Fault) -> Blow:
        """Return who is to be struck by this fault now."""
        down_s = round(self._chance.uniform(*(PAUSE_S if fault in PAUSED else DOWN_S)), 2)
        return Blow(fault, await self._choose(fault), down_s)

    async def _choose(self, fault: Fault) -> tuple[str, ...]:
        replicas, nodes = self._house.charter.replica_names, self._house.cluster.names
        match fault:
            case Fault.TWO_REPLICAS_KILLED:
                return tuple(self._chance.sample(replicas, 2))
            case Fault.ALL_REPLICAS_KILLED:
                return replicas
            case Fault.TWO_LOG_NODES_KILLED:
                return tuple(self._chance.sample(nodes, 2))
            case Fault.ALL_LOG_NODES_KILLED:
                return nodes
            case Fault.LOG_NODE_WIPED:
                return (self._chance.choice(nodes),)
            case Fault.AUDITOR_KILLED:
                return (AUDITOR,)
            case Fault.EVERYTHING_KILLED:
                return (*nodes, *self._house.names)
            case Fault.LOG_LEADER_KILLED | Fault.LOG_LEADER_PAUSED:
                return (await self._house.cluster.leader_of_stream(),)
            case Fault.LOG_FOLLOWER_KILLED | Fault.LOG_FOLLOWER_PAUSED:
                leader = await self._house.cluster.leader_of_stream()
                return (self._chance.choice([name for name in nodes if name != leader]),)
            case Fault.SNAPSHOT_TRUNCATED | Fault.SNAPSHOT_FLIPPED:
                return (self._chance.choice([name for name in replicas if self._seals(name)]),)
            case Fault.REPLICA_KILLED | Fault.REPLICA_PAUSED | Fault.REPLICA_WIPED:
                return (self._chance.choice(replicas),)
            case _:
                assert_never(fault)

    async def strike(self, blow: Blow) -> None:
        """Break it. Raises `ClusterFault`, `CrewFault`."""
        if blow.fault in PAUSED:
            for name in blow.victims:
                self._pause(name)
        elif blow.fault is Fault.LOG_NODE_WIPED:
            # It comes back by itself, empty, and copies its peers; `heal` finds it running.
            await self._house.cluster.wipe(blow.victims[0])
        else:
            # Together: each signal is sent before anybody's end is waited for.
            await asyncio.gather(*(self._house.kill(name) for name in blow.victims))
            for name in blow.victims:
                self._damage(blow.fault, name)

    async def heal(self, blow: Blow) -> None:
        """Let what was paused go on and start what was killed, without waiting for it."""
        for name in blow.victims:
            if blow.fault in PAUSED:
                self._resume(name)
            elif name in self._house.cluster.names:
                await self._house.cluster.restart(name, wait=False)
            else:
                self._house.launch(name)

    def noticed(self, blow: Blow) -> bool:
        """Tell whether the replica refused the snapshot that was damaged; True if none was."""
        if blow.fault not in DAMAGED:
            return True
        log = (self._house.crew.folder / blow.victims[0] / "log.jsonl").read_text()
        # Only what the new process said, which is what stands behind the last start.
        return "SnapshotRefused" in log.rpartition('"started"')[2]

    def _pause(self, name: str) -> None:
        if name in self._house.cluster.names:
            self._house.cluster.pause(name)
        else:
            self._house.crew.signal(name, signal.SIGSTOP)

    def _resume(self, name: str) -> None:
        if name in self._house.cluster.names:
            self._house.cluster.resume(name)
        else:
            self._house.crew.signal(name, signal.SIGCONT)

    def _damage(self, fault: Fault, name: str) -> None:
        folder = self._house.crew.folder / name
        if fault is Fault.REPLICA_WIPED:
            shutil.rmtree(folder)
        elif fault in DAMAGED:
            # The newest snapshot that has a seal: no other is read when a replica starts.
            newest_seq = int(self._seals(name)[-1].stem.removeprefix("state-"))
            path = folder / "snapshots" / pages_name(newest_seq)
            pages = path.read_bytes()
            if fault is Fault.SNAPSHOT_TRUNCATED:
                path.write_bytes(pages[: self._chance.randrange(len(pages))])
            else:
                path.write_bytes(flip_bit(pages, self._chance.randrange(8 * len(pages))))

    def _seals(self, name: str) -> list[Path]:
        """Return the seals of a replica's snapshots, oldest first."""
        return sorted((self._house.crew.folder / name / "snapshots").glob("state-*.seal"))


def flip_bit(data: bytes, place: int) -> bytes:
    """Return the bytes with one bit changed."""
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)
