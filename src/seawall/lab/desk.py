"""The clients' desk: every request with all that was heard of it, repeated until it is known."""

import asyncio
from typing import cast

import msgspec

from seawall.lab.charter import IDS, KEYS
from seawall.lab.stations import GatewayStation, Lost, Site
from seawall.node.receipts import Answer, Receipt, Refused, Stopped
from seawall.protocol.codec import encode_batch
from seawall.protocol.codes import Reject
from seawall.protocol.commands import AnyCommand, Batch

RETRY_S = 0.1
RETRY_LONGEST_S = 1.0
ASKED_AGAIN = (Reject.BACKLOG, Reject.LOG_DOWN, Reject.UNKNOWN_OUTCOME)
ASKED_AGAIN_SIGNED = (*ASKED_AGAIN, Reject.NUMBER_GAP, Reject.LOG_WRONG, Reject.SENDER_UNKNOWN)
"""A gateway that has just started does not yet know its log, who is in it, or the last numbers."""


class Request(msgspec.Struct):
    """One thing that a client wanted, under one name, however often it had to ask.

    Attributes
    ----------
    receipt : the acknowledgement, if any came
    refused : the gateway's final no, if it came to that
    answer : what a majority made of it, if the client waited for it
    lives : of the gateway, in which it was asked
    """

    sender: str
    name: str
    commands: tuple[AnyCommand, ...]
    receipt: Receipt | None = None
    refused: Refused | None = None
    answer: Answer | None = None
    tries: int = 0

    @property
    def settled(self) -> bool:
        """Whether the client knows what became of it."""
        return self.receipt is not None or self.refused is not None


class Desk:
    """Carries requests to the gateway that holds the sender's key."""

    def __init__(self, site: Site, homes: dict[str, GatewayStation]) -> None:
        self.requests: list[Request] = []
        self._site = site
        self._homes = homes
        self._scribbles = 0
        self._numbers: dict[str, int] = {}
        self._signing: dict[str, asyncio.Lock] = {}

    async def ask(
        self, sender: str, *commands: AnyCommand, answered: bool = False, alone: bool = False
    ) -> Request:
        """Ask until the request is acknowledged or refused for good.

        Parameters
        ----------
        answered : wait for the outcome as well
        """
        request = Request(sender, f"q{len(self.requests)}", commands)
        self.requests.append(request)
        while not request.settled:
            request.tries += 1
            said = await self._try(request, alone=alone)
            if isinstance(said, Receipt):
                request.receipt = said
            elif isinstance(said, Refused) and said.code not in ASKED_AGAIN:
                request.refused = said
            else:
                await self._pause(request)
        if answered and request.receipt is not None:
            await self._wait(request)
        return request

    async def ask_signed(self, sender: str, *commands: AnyCommand) -> Request:
        """Sign a batch as a client with its own key would, and see it through."""
        request = Request(sender, f"s{len(self.requests)}", commands)
        self.requests.append(request)
        lock = self._signing.setdefault(sender, asyncio.Lock())
        async with lock:
            number = self._numbers.get(sender, 0) + 1
            log_id = self._site.roster.log_id
            batch = Batch(log_id, IDS[sender], number, commands)
            payload = encode_batch(batch, KEYS[sender])
            while request.receipt is None:
                request.tries += 1
                said = await self._try_signed(sender, payload)
                if isinstance(said, Receipt):
                    request.receipt = said
                elif isinstance(said, Refused) and said.code not in ASKED_AGAIN_SIGNED:
                    request.refused = said
                    return request
                else:
                    await self._pause(request)
            self._numbers[sender] = number
            await self._wait(request)
        return request

    @property
    def log_id(self) -> bytes:
        """The identity of the log that is written to."""
        return self._site.roster.log_id

    async def scribble(self, payload: bytes) -> None:
        """Put bytes into the log past every gateway, as somebody with access to it might."""
        self._scribbles += 1
        self._site.tape.store(f"scribble.{self._scribbles}", payload)

    async def _try(self, request: Request, *, alone: bool) -> Receipt | Refused | None:
        home = self._homes[request.sender]
        if home.gateway is None:
            return None
        try:
            return await home.call(
                home.gateway.submit(
                    IDS[request.sender], request.commands, request_id=request.name, alone=alone
                )
            )
        except Lost:
            return None

    async def _try_signed(self, sender: str, payload: bytes) -> Receipt | Refused | None:
        home = self._homes[sender]
        if home.gateway is None:
            return None
        try:
            return await home.call(home.gateway.submit_signed(payload))
        except Lost:
            return None

    async def _pause(self, request: Request) -> None:
        """Wait before the next try, about twice as long as before the last one."""
        longest_s = min(RETRY_S * 2 ** (request.tries - 1), RETRY_LONGEST_S)
        await asyncio.sleep(self._site.weather.chance.uniform(0.1, 1) * longest_s)

    async def _wait(self, request: Request) -> None:
        """Wait for the outcome; a gateway that came back is asked again."""
        home = self._homes[request.sender]
        receipt = cast(Receipt, request.receipt)
        while request.answer is None:
            if home.gateway is None:
                await asyncio.sleep(RETRY_S)
                continue
            try:
                request.answer = await home.call(home.gateway.wait_released(receipt))
            except (Lost, Stopped):
                continue
            if request.answer is None:
                # Released before this life of the gateway began to remember.
                await asyncio.sleep(RETRY_S)
