"""The venue, the bank and the pager of a simulated house: late, silent, forgetful, twice."""

from collections.abc import Callable

import msgspec

from seawall.lab.clockwork import SimClock
from seawall.lab.weather import Weather
from seawall.node.effects import DoorFault, Interpreter
from seawall.protocol.commands import EffectStatus
from seawall.protocol.effects import AnyEffect

ANSWER_S = (0.001, 0.01)
LATE_S = 2.0
TIMEOUT_S = 0.5
FAILED_SHARE = 0.15


class Done(msgspec.Struct, frozen=True):
    """What the outside world has done under one key, in a given second."""

    key: str
    effect: AnyEffect
    status: EffectStatus
    at_s: float


class Venue:
    """The outside world: it outlives every process of the house.

    Attributes
    ----------
    honours_keys : whether a second order under a key is the first one; if not, it is a second one
    wrong : what it was asked that it should never have been asked
    """

    def __init__(self, weather: Weather, now_s: Callable[[], float]) -> None:
        self.done: dict[str, Done] = {}
        self.wrong: list[str] = []
        self.honours_keys = weather.chance.random() < 0.5
        self.on_done: Callable[[Done], None] = lambda _: None
        self._weather = weather
        self._now_s = now_s

    def act(self, key: str, effect: AnyEffect) -> EffectStatus:
        """Do what is asked, now; whoever asks twice gets it twice, or one thing under one key."""
        known = self.done.get(key)
        if known is not None:
            if known.effect != effect:
                self.wrong.append(f"key {key} was used for two different effects")
            if not self.honours_keys:
                self.wrong.append(f"effect {key} was executed twice")
            return known.status
        failed = self._weather.chance.random() < FAILED_SHARE
        status = EffectStatus.FAILED if failed else EffectStatus.DONE
        self.done[key] = Done(key, effect, status, self._now_s())
        self.on_done(self.done[key])
        return status


class VenueDoor:
    """One process' way to the venue; implements `node.effects.Door`.

    Attributes
    ----------
    interpreter : who acts through it, so that what it knows can be held against what it does
    """

    def __init__(
        self, venue: Venue, weather: Weather, clock: SimClock, certified_seq: Callable[[], int]
    ) -> None:
        self.interpreter: Interpreter | None = None
        self._venue = venue
        self._weather = weather
        self._clock = clock
        self._certified_seq = certified_seq

    async def execute(self, key: str, effect: AnyEffect) -> EffectStatus:
        """Let it take place, perhaps late, perhaps without a word; see `Door.execute`."""
        self._check(key, effect)
        venue, weather = self._venue, self._weather
        if weather.strikes("venue_silent"):
            await self._clock.sleep(TIMEOUT_S)
            raise DoorFault("no answer; it did not begin")
        if weather.strikes("venue_late"):
            late_s = weather.chance.uniform(0, LATE_S)
            if not venue.honours_keys:
                # Without keys only what is on record can be asked for, so it is there at once.
                status = venue.act(key, effect)
                await self._clock.sleep(late_s)
                return status
            await self._clock.sleep(late_s)
        status = venue.act(key, effect)
        if weather.strikes("venue_answer_lost"):
            await self._clock.sleep(TIMEOUT_S)
            raise DoorFault("no answer; it took place")
        await self._clock.sleep(weather.chance.uniform(*ANSWER_S))
        return status

    async def query(self, key: str) -> EffectStatus | None:
        """Return what the venue has on record; see `Door.query`."""
        await self._clock.sleep(self._weather.chance.uniform(*ANSWER_S))
        if self._weather.strikes("venue_silent"):
            raise DoorFault("no answer")
        known = self._venue.done.get(key)
        return None if known is None else known.status

    def _check(self, key: str, effect: AnyEffect) -> None:
        """Hold what is asked against what is certified and what the asker knows."""
        seq, index = (int(word) for word in key.split(":"))
        if seq > self._certified_seq():
            self._venue.wrong.append(f"effect {key} was begun without a certificate")
        interpreter = self.interpreter
        assert interpreter is not None
        if (seq, index) not in interpreter.outbox:
            self._venue.wrong.append(f"effect {key} was begun and is not in the outbox")
        elif effect.expires_at_ns < interpreter.at_ns:
            self._venue.wrong.append(f"effect {key} was begun after it expired")
