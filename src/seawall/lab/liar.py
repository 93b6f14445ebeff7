"""The replica that computes one wrong unit: an entry point of its own, for demonstrations alone.

`python -m seawall.lab.liar replica --config FILE` is `seawall.node.runtime` with another machine.
It is honest until it gets SIGUSR1; then one minor unit moves, in its state only, from one client
to another. Books and invariants still add up, so only a vote can find it. Nothing that production
runs imports this module, and no configuration names it: an import contract and a test hold that.
"""

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from seawall.node.runtime import main

if TYPE_CHECKING:
    from seawall.node.wiring import ClearingMachine

LIE_SIGNAL = signal.SIGUSR1


class Temptation:
    """Whether the next entry is to be computed from a falsified state; once only."""

    def __init__(self) -> None:
        self.armed = False

    def listen(self) -> None:
        """Arm at the next signal."""
        signal.signal(LIE_SIGNAL, self._arm)

    def _arm(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.armed = True


def lying_machines(temptation: Temptation) -> "type[ClearingMachine]":
    """Return a maker of machines that give in to the temptation."""
    # Only now: numba must find its cache in place.
    from seawall.clearing.layout import BALANCE, POSITION_COUNT
    from seawall.node.wiring import ClearingMachine
    from seawall.protocol.ids import HOUSE_ROWS

    class LyingMachine(ClearingMachine):
        def apply(self, seq: int, payload: bytes) -> bytes:
            if temptation.armed and self._shift_one_unit():
                # After its quarantine it restores an honest state and stays honest.
                temptation.armed = False
            return super().apply(seq, payload)

        def _shift_one_unit(self) -> bool:
            if self.state is None:
                return False
            account = self.state.account
            rich = [
                row
                for row in range(HOUSE_ROWS, len(self.state.used("accounts")))
                if account[row, BALANCE] > 1 and account[row, POSITION_COUNT] > 0
            ]
            if len(rich) < 2:
                return False
            account[rich[0], BALANCE] -= 1
            account[rich[1], BALANCE] += 1
            return True

    return LyingMachine


def run(arguments: list[str]) -> int:
    """Run the process; see `seawall.node.runtime.main`."""
    temptation = Temptation()
    temptation.listen()
    return main(arguments, lambda: lying_machines(temptation))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
