"""The house as the script's stage: commands go through the gateway, effects come out of it."""

import asyncio

from seawall.lab.cast import SENDER_IDS
from seawall.node.front import Front
from seawall.node.joined import Joined
from seawall.node.receipts import Receipt
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AnyCommand
from seawall.protocol.events import AnyEvent

WAIT_S = 0.02
WAITED_OUT = (Reject.BACKLOG, Reject.LOG_DOWN)
"""Answers that promise that nothing happened: the same may be asked again."""


class NotTaken(Exception):
    """The gateway will not take the commands, or cannot tell what became of them."""


class HouseStage:
    """Plays before a running house.

    Attributes
    ----------
    refusals : how often the gateway asked to come back later
    """

    def __init__(self, front: Front) -> None:
        assert front.interpreter is not None
        self.refusals = 0
        self._gateway = front.gateway
        self._interpreter = front.interpreter
        self._news = asyncio.Event()

    def take(self, joined: Joined) -> None:
        """Take notice of the next released entry; the interpreter has taken it before."""
        del joined
        self._news.set()

    async def submit(self, sender: str, *commands: AnyCommand) -> object:
        """Return once the commands are durable, as one entry."""
        while True:
            said = await self._gateway.submit(SENDER_IDS[sender], commands, alone=True)
            if isinstance(said, Receipt):
                return said
            if said.code not in WAITED_OUT:
                raise NotTaken(f"{sender}: {said.code.name} {said.field} {said.detail}")
            self.refusals += 1
            await asyncio.sleep(WAIT_S)

    async def released(self, receipt: object) -> tuple[AnyEvent, ...]:
        """Return the events of the entry once a majority certified them."""
        assert isinstance(receipt, Receipt)
        answer = await self._gateway.wait_released(receipt)
        return () if answer is None else answer.events

    async def settled(self) -> None:
        """Return once the outbox is empty: everything was carried out, and reported."""
        while self._interpreter.outbox:
            self._news.clear()
            await self._news.wait()
