"""The machine of a replica that lies; the others run the one of the production wiring."""

import msgspec

from seawall.lab.weather import Weather
from seawall.node.wiring import ClearingMachine
from seawall.protocol.codec import (
    decode_outcome,
    encode_outcome,
    pack_int64,
    unpack_int64,
)
from seawall.protocol.effects import Payout, PlaceOrder
from seawall.protocol.events import AccountLines, AnyEvent, Outcome


class Liar(ClearingMachine):
    """Computes rightly and says otherwise, now and then: one unit too many somewhere."""

    def __init__(self, weather: Weather) -> None:
        super().__init__()
        self.lies: list[int] = []
        self._weather = weather

    def apply(self, seq: int, payload: bytes) -> bytes:
        """Return the outcome, or a lie about it."""
        honest = super().apply(seq, payload)
        outcome = decode_outcome(honest)
        lie = _bend(outcome)
        if lie is None or not self._weather.strikes("replica_lies"):
            return honest
        self.lies.append(seq)
        return encode_outcome(lie)


def _bend(outcome: Outcome) -> Outcome | None:
    """Return the outcome with one unit added to an effect or to the books, if it has any."""
    if outcome.effects:
        first = outcome.effects[0]
        if isinstance(first, Payout):
            wrong: Payout | PlaceOrder = msgspec.structs.replace(
                first, amount_minor=first.amount_minor + 1
            )
        elif isinstance(first, PlaceOrder):
            wrong = msgspec.structs.replace(first, lots=first.lots + 1)
        else:
            return None
        return msgspec.structs.replace(outcome, effects=(wrong, *outcome.effects[1:]))
    events: list[AnyEvent] = list(outcome.events)
    for place, event in enumerate(events):
        if isinstance(event, AccountLines):
            cells = list(unpack_int64(event.cells))
            cells[-1] += 1
            events[place] = msgspec.structs.replace(event, cells=pack_int64(cells))
            return msgspec.structs.replace(outcome, events=tuple(events))
    return None
