"""The weather of a run: which faults may strike, how often, and how often each of them did."""

import random
from collections import Counter

# Kind -> (least, most) chance per occasion, drawn for each seed that has the kind at all.
# Occasions: a message, an append, an entry read, a disk call, an effect, a price, a tick.
STRIKES: dict[str, tuple[float, float]] = {
    "message_lost": (0.01, 0.25),
    "message_delayed": (0.01, 0.10),
    "message_repeated": (0.01, 0.20),
    "message_reordered": (0.05, 0.30),
    "message_corrupted": (0.002, 0.03),
    "vote_forged": (0.01, 0.10),
    "vote_replayed": (0.01, 0.10),
    "append_refused": (0.02, 0.20),
    "append_reply_lost": (0.02, 0.20),
    "append_lost": (0.02, 0.15),
    "append_late": (0.02, 0.10),
    "append_not_deduplicated": (0.1, 0.8),
    "read_lagging": (0.01, 0.05),
    "read_gap": (0.005, 0.03),
    "read_unavailable": (0.005, 0.03),
    "read_corrupted": (0.002, 0.01),
    "disk_slow": (0.05, 0.50),
    "disk_full": (0.02, 0.30),
    "disk_unreadable": (0.02, 0.20),
    "disk_bit_flip": (0.05, 0.30),
    "source_lying": (0.02, 0.15),
    "source_stuck": (0.02, 0.15),
    "source_absent": (0.02, 0.20),
    "clock_skewed": (0.05, 0.50),
    "clock_jump": (0.005, 0.03),
    "venue_late": (0.05, 0.50),
    "venue_silent": (0.05, 0.30),
    "venue_answer_lost": (0.05, 0.30),
    "venue_twice": (0.05, 0.30),
    "replica_lies": (0.01, 0.05),
    "replica_votes_twice": (0.01, 0.05),
}

# Kind -> (least, most) seconds between two events that the nemesis brings about.
EVENTS: dict[str, tuple[float, float]] = {
    "replica_crash": (0.3, 3.0),
    "gateway_crash": (0.5, 4.0),
    "power_loss": (0.5, 5.0),
    "pause": (0.3, 3.0),
    "partition": (0.3, 4.0),
    "partition_one_way": (0.3, 4.0),
    "log_outage": (0.5, 4.0),
    "log_cut_off": (0.5, 4.0),
    "date_jump": (0.5, 4.0),
    "snapshot_corrupted": (0.5, 3.0),
}

KINDS = (*STRIKES, *EVENTS)
BYZANTINE = ("replica_lies", "replica_votes_twice")
"""At most one replica, the seed's suspect, is ever struck by these or reads a corrupted entry."""
SHARE = 0.35
"""Of all kinds, how many a seed has on average."""


class Weather:
    """Decides by one generator whether a fault strikes; calm after the faulty phase.

    Parameters
    ----------
    chance : the run's only source of randomness
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.calm = False
        self.struck: Counter[str] = Counter()
        share = chance.choice((0.0, SHARE / 2, SHARE, SHARE, 2 * SHARE))
        self.rates = {
            kind: chance.uniform(*bounds)
            for kind, bounds in STRIKES.items()
            if chance.random() < share
        }
        self.intervals_s = {
            kind: chance.uniform(*bounds)
            for kind, bounds in EVENTS.items()
            if chance.random() < share
        }

    def strikes(self, kind: str) -> bool:
        """Tell whether this fault happens now, and count it."""
        rate = self.rates.get(kind)
        if rate is None or self.calm or self.chance.random() >= rate:
            return False
        self.struck[kind] += 1
        return True

    def note(self, kind: str) -> None:
        """Count an event of the nemesis."""
        assert kind in EVENTS
        self.struck[kind] += 1
