"""A stage with one machine on it: the same script, without cluster, votes or waiting."""

from seawall.lab.cast import EFFECTS, SENDER_IDS, Cast
from seawall.lab.paper import Paper
from seawall.node.wiring import ClearingMachine
from seawall.protocol.codec import decode_outcome, encode_batch, encode_genesis, log_id_of
from seawall.protocol.commands import AnyCommand, Batch, ReportEffect
from seawall.protocol.effects import AnyEffect
from seawall.protocol.events import AnyEvent, Outcome
from seawall.protocol.signatures import SigningKey


class Solo:
    """Applies what is submitted at once; keeps every entry with its outcome."""

    def __init__(self, cast: Cast) -> None:
        self.machine = ClearingMachine()
        self.entries: list[tuple[bytes, bytes]] = []
        self.hear = self._forget
        self.paper: Paper | None = None
        self._keys = {number: SigningKey(seed) for number, seed in cast.sender_seeds.items()}
        self._numbers: dict[int, int] = {}
        self._effects: list[tuple[int, int, AnyEffect]] = []
        genesis = encode_genesis(cast.genesis)
        self._log_id = log_id_of(genesis)
        self.apply(genesis)

    def apply(self, payload: bytes) -> Outcome:
        outcome = self.machine.apply(self.machine.seq + 1, payload)
        self.entries.append((payload, outcome))
        return decode_outcome(outcome)

    async def submit(self, sender: str, *commands: AnyCommand) -> Outcome:
        number = SENDER_IDS[sender]
        self._numbers[number] = self._numbers.get(number, 0) + 1
        batch = Batch(self._log_id, number, self._numbers[number], commands)
        outcome = self.apply(encode_batch(batch, self._keys[number]))
        self._effects += [(outcome.seq, i, effect) for i, effect in enumerate(outcome.effects)]
        self.hear(outcome.events)
        return outcome

    async def released(self, receipt: object) -> tuple[AnyEvent, ...]:
        assert isinstance(receipt, Outcome)
        return receipt.events

    async def settled(self) -> None:
        assert self.paper is not None
        while self._effects:
            seq, index, effect = self._effects.pop(0)
            status = await self.paper.execute(f"{seq}:{index}", effect)
            await self.submit(EFFECTS, ReportEffect(seq, index, status))

    def _forget(self, events: tuple[AnyEvent, ...]) -> None:
        del events
