"""Looks after a local cluster: what is wrong with a node, and what may safely be done about it.

A damaged or straggling node does not heal by itself, and two bad copies of three lose the log. So
one node is treated at a time, and only while all others are well.
"""

import asyncio
from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from seawall.node.cluster import ClusterFault, LocalCluster, NodeStatus

WATCH_EVERY_S = 5.0
UNWELL_S_MAX = 20.0
UNWELL_AFTER_RESTART_S_MAX = 60.0


class Action(StrEnum):
    """What is done to a node, from mild to harsh."""

    START = "start"
    RESTART = "restart"
    WIPE = "wipe"


class Remedy(msgspec.Struct, frozen=True):
    """What to do to which node, and why; `failure` says why it could not be done."""

    node: str
    action: Action
    reason: str
    failure: str = ""


class Watch:
    """Remembers how long each node has been unwell; decides, and does nothing."""

    def __init__(self) -> None:
        self._last_seqs: dict[str, int] = {}
        self._holed: dict[str, int] = {}
        self._unwell_since_s: dict[str, float] = {}
        self._restarted_at_s: dict[str, float] = {}
        self._blamed: dict[str, str] = {}

    def blame(self, node: str, reason: str) -> None:
        """Note that a reader found `node` to skip an entry.

        A rotten block is found by reading only: the node's own count of messages includes it.
        """
        self._blamed[node] = reason

    def decide(self, now_s: float, statuses: Sequence[NodeStatus]) -> Remedy | None:
        """The one remedy that is due, None when all is well or nothing may be done yet."""
        for status in statuses:
            self._observe(now_s, status, max(other.last_seq for other in statuses))
        for status in statuses:
            if status.pid == 0:
                return Remedy(node=status.name, action=Action.START, reason="it does not run")
        for status in statuses:
            others = [other for other in statuses if other.name != status.name]
            if all(other.name not in self._blamed and _is_well(other) for other in others):
                remedy = self._treat(now_s, status)
                if remedy is not None:
                    return remedy
        return None

    def _observe(self, now_s: float, status: NodeStatus, seq_max: int) -> None:
        stuck = status.last_seq < seq_max and status.last_seq == self._last_seqs.get(status.name)
        self._last_seqs[status.name] = status.last_seq
        self._holed[status.name] = (
            self._holed.get(status.name, 0) + 1 if status.hole_count != 0 else 0
        )
        if status.pid != 0 and (stuck or not status.healthy):
            self._unwell_since_s.setdefault(status.name, now_s)
        else:
            self._unwell_since_s.pop(status.name, None)
            self._restarted_at_s.pop(status.name, None)

    def _treat(self, now_s: float, status: NodeStatus) -> Remedy | None:
        name = status.name
        if (reason := self._blamed.pop(name, None)) is not None:
            return Remedy(node=name, action=Action.WIPE, reason=reason)
        if self._holed[name] > 1:
            # Seen twice, so that a count taken amid a write is not taken for damage.
            self._holed[name] = 0
            reason = f"{status.hole_count} entries are missing"
            return Remedy(node=name, action=Action.WIPE, reason=reason)
        since_s = self._unwell_since_s.get(name)
        if since_s is None:
            return None
        restarted_at_s = self._restarted_at_s.get(name)
        if restarted_at_s is None and now_s - since_s >= UNWELL_S_MAX:
            self._restarted_at_s[name] = now_s
            return Remedy(node=name, action=Action.RESTART, reason="unwell for too long")
        if restarted_at_s is not None and now_s - restarted_at_s >= UNWELL_AFTER_RESTART_S_MAX:
            self._restarted_at_s[name] = now_s
            return Remedy(node=name, action=Action.WIPE, reason="unwell after a restart")
        return None


def _is_well(status: NodeStatus) -> bool:
    return status.healthy and status.hole_count == 0


async def tend(
    cluster: LocalCluster,
    watch: Watch,
    report: Callable[[Remedy], None],
    *,
    every_s: float = WATCH_EVERY_S,
) -> None:
    """Look every `every_s`, apply what `watch` decides and report it; runs until cancelled."""
    while True:
        remedy = watch.decide(asyncio.get_running_loop().time(), await cluster.status())
        if remedy is not None:
            try:
                await _apply(cluster, remedy)
            except ClusterFault as fault:
                # Looked at again in the next round, with what will be known then.
                remedy = msgspec.structs.replace(remedy, failure=str(fault))
            report(remedy)
        await asyncio.sleep(every_s)


async def _apply(cluster: LocalCluster, remedy: Remedy) -> None:
    match remedy.action:
        case Action.START:
            await cluster.restart(remedy.node, wait=False)
        case Action.RESTART:
            await cluster.stop(remedy.node)
            await cluster.restart(remedy.node, wait=False)
        case Action.WIPE:
            await cluster.wipe(remedy.node)
