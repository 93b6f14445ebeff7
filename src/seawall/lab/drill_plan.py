"""The plan of a drill: which faults there are, and in which order they come."""

import random
from enum import StrEnum


class Fault(StrEnum):
    """What is broken. Killed is SIGKILL, paused is SIGSTOP."""

    REPLICA_KILLED = "replica_killed"
    TWO_REPLICAS_KILLED = "two_replicas_killed"
    ALL_REPLICAS_KILLED = "all_replicas_killed"
    LOG_LEADER_KILLED = "log_leader_killed"
    LOG_FOLLOWER_KILLED = "log_follower_killed"
    TWO_LOG_NODES_KILLED = "two_log_nodes_killed"
    ALL_LOG_NODES_KILLED = "all_log_nodes_killed"
    AUDITOR_KILLED = "auditor_killed"
    EVERYTHING_KILLED = "everything_killed"
    REPLICA_PAUSED = "replica_paused"
    LOG_LEADER_PAUSED = "log_leader_paused"
    LOG_FOLLOWER_PAUSED = "log_follower_paused"
    SNAPSHOT_TRUNCATED = "snapshot_truncated"
    SNAPSHOT_FLIPPED = "snapshot_flipped"
    REPLICA_WIPED = "replica_wiped"
    LOG_NODE_WIPED = "log_node_wiped"


def draw_faults(runs: int, seed: int) -> tuple[Fault, ...]:
    """Return the faults of so many runs: every kind once before any comes again."""
    chance = random.Random(f"drill:{seed}")
    kinds: list[Fault] = []
    while len(kinds) < runs:
        kinds += chance.sample(list(Fault), len(Fault))
    return tuple(kinds[:runs])
