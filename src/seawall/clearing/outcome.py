"""What one entry brings forth: events in order, effects with their keys, refusals without trace."""

from seawall.clearing.layout import SEQ
from seawall.clearing.state import Pending, State
from seawall.protocol.codes import Reject
from seawall.protocol.effects import AnyEffect
from seawall.protocol.events import AnyEvent

Refusal = tuple[Reject, str]
"""A code and the name of the field that is wrong."""


EVENT_BYTES = 64
"""More than an event takes besides its columns, on the average."""
CROWDED_BYTES = 4 << 20


class Out:
    """Collects the events and effects of the entry under way; effects enter the outbox at once."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.events: list[AnyEvent] = []
        self.effects: list[AnyEffect] = []
        self.swept = False
        """Whether a step computed requirements in this entry."""
        self._size_bytes = 0

    def event(self, event: AnyEvent) -> None:
        """Append an event."""
        self.events.append(event)
        self._size_bytes += EVENT_BYTES
        for name in event.__struct_fields__:
            value = getattr(event, name)
            if isinstance(value, bytes):
                self._size_bytes += len(value)

    @property
    def crowded(self) -> bool:
        """Whether the outcome is so large that what can wait waits for the next step."""
        return self._size_bytes > CROWDED_BYTES

    def outbox_full(self, more: int = 1) -> bool:
        """Tell whether `more` effects would not fit the outbox."""
        return len(self.state.tables.outbox) + more > self.state.limits.outbox_max

    def effect(self, effect: AnyEffect, *, case: int = 0) -> tuple[int, int]:
        """Append an effect, put it in the outbox and return its key (seq, index).

        Parameters
        ----------
        case : index + 1 of the liquidation case that waits for it, else 0
        """
        assert not self.outbox_full()
        key = (self.state.scalar[SEQ], len(self.effects))
        self.effects.append(effect)
        self.state.tables.outbox[key] = Pending(effect, case)
        return key
