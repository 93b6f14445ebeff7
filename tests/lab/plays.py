"""Solo runs of the quick scenario, each played once and shared by the tests."""

import asyncio
from functools import cache

from seawall.lab.bars import SCENARIOS, Bar, read_bars
from seawall.lab.cast import Cast, make_cast
from seawall.lab.chronicle import Chronicle
from seawall.lab.faults import LYING_SOURCE
from seawall.lab.paper import Paper
from seawall.lab.script import Script
from seawall.protocol.codec import decode_outcome
from seawall.protocol.units import NS_PER_SECOND
from tests.lab.solo import Solo

TRADERS = 200


def quick_bars() -> list[Bar]:
    return read_bars(SCENARIOS["march-2020"], quick=True)


def cast_of(seed: int) -> Cast:
    return make_cast(seed, TRADERS, quick_bars()[0].at_ns - NS_PER_SECOND)


@cache
def played(seed: int, *, lying_from: int = 0) -> Solo:
    """Play all minutes; from `lying_from` on, if given, one source lies for five minutes."""
    solo = Solo(cast_of(seed))
    bars = quick_bars()
    script = Script(solo, seed=seed, accounts=TRADERS, bars=bars)
    solo.paper, solo.hear = Paper(script.execute), script.hear

    async def play() -> None:
        await script.open()
        for minute in range(1, len(bars)):
            lies = lying_from and lying_from <= minute < lying_from + 5
            await script.play(minute, liar=LYING_SOURCE if lies else None)
        await script.close()

    asyncio.run(play())
    return solo


def chronicle_of(solo: Solo) -> Chronicle:
    chronicle = Chronicle()
    for payload, outcome in solo.entries:
        chronicle.take(payload, decode_outcome(outcome))
    return chronicle
