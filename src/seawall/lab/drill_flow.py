"""What goes on while the drill breaks things: clients move money without a pause, a bank pays.

No two commands are alike, so that one which the log holds twice cannot hide.
"""

import asyncio
from collections.abc import Callable

import msgspec

from seawall.lab.paper import Paper
from seawall.node.charter import Terms
from seawall.node.clock import Clock
from seawall.node.gateway import Gateway
from seawall.node.receipts import Answer, Receipt
from seawall.protocol.codec import pack_int32, pack_int64, unpack_int64
from seawall.protocol.codes import Reject
from seawall.protocol.commands import (
    AnyCommand,
    AssetTerms,
    EffectStatus,
    Mode,
    OpenAccounts,
    RecordDeposits,
    Role,
    Tick,
    Transfer,
    Withdraw,
)
from seawall.protocol.effects import AnyEffect
from seawall.protocol.events import AccountsOpened
from seawall.protocol.genesis import Limits, Parameters
from seawall.replica.votes import Certificate

CLIENTS = ("client-1", "client-2", "client-3")
CLOCK, CUSTODY, EFFECTS = "clock", "custody", "effects"
SENDERS = {
    **{name: int(Role.CLIENT) for name in CLIENTS},
    CLOCK: int(Role.CLOCK),
    CUSTODY: int(Role.CUSTODY),
    EFFECTS: int(Role.EFFECTS),
}
CHECKPOINT_ENTRIES = 50
"""So many snapshots are written that each fault finds a new one."""
TERMS = Terms(
    name="seawall-drill",
    senders=SENDERS,
    assets=(AssetTerms("USD", 6),),
    limits=Limits(accounts_max=64, cases_max=64),
    parameters=Parameters(checkpoint_entries=CHECKPOINT_ENTRIES),
)
USD = 0
DEPOSIT_MINOR = 10**13
CLIENT_PAUSE_S, TICK_PAUSE_S = 0.05, 0.5
WITHDRAW_EVERY = 5
ASK_AGAIN_S = 0.05
NOT_IN_LOG = (Reject.BACKLOG, Reject.LOG_DOWN)
"""Answers that promise that nothing happened: the same may be asked again."""


class FlowFault(Exception):
    """The house refused what every house must take, so the drill would prove nothing."""


class Execution(msgspec.Struct, frozen=True):
    """A payout that the bank was asked for.

    Attributes
    ----------
    certificate : the newest one that this process had heard of by then
    repeated : whether the bank had paid under this key before
    """

    key: str
    effect: AnyEffect
    certificate: Certificate | None
    repeated: bool


class Bank:
    """Pays, once per key, and notes with which proof in hand it was asked."""

    def __init__(self, newest: Callable[[], Certificate | None]) -> None:
        self.executions: list[Execution] = []
        self._newest = newest
        self._paper = Paper(lambda *_: False)

    async def execute(self, key: str, effect: AnyEffect) -> EffectStatus:
        """Pay; see `node.effects.Door`."""
        repeated = key in self._paper.ended
        self.executions.append(Execution(key, effect, self._newest(), repeated))
        return await self._paper.execute(key, effect)

    async def query(self, key: str) -> EffectStatus | None:
        """Return how a payout ended; see `node.effects.Door`."""
        return await self._paper.query(key)


class Flow:
    """Clients that ask, wait to be acknowledged, pause a moment and ask for the next thing.

    Attributes
    ----------
    abandoned : commands of which the gateway could not say whether the log holds them; they are
        not asked again, so that a second one in the log is nobody's but the house's doing
    """

    def __init__(self, gateway: Gateway, sender_ids: dict[str, int], clock: Clock) -> None:
        self.abandoned = 0
        self._gateway = gateway
        self._sender_ids = sender_ids
        self._clock = clock
        self._accounts: dict[str, tuple[int, ...]] = {}
        self._ending = False

    async def open(self) -> None:
        """Open two accounts a client and pay in."""
        await self._ask(CLOCK, Tick(self._clock.now_ns()))
        for name in CLIENTS:
            answer = await self._ask(name, OpenAccounts(2, Mode.CROSS))
            self._accounts[name] = unpack_int64(answer.first(AccountsOpened).accounts)
        accounts = [account for owned in self._accounts.values() for account in owned]
        deposit = RecordDeposits(
            stream=1,
            number=1,
            accounts=pack_int64(accounts),
            assets=pack_int32([USD] * len(accounts)),
            amounts=pack_int64([DEPOSIT_MINOR] * len(accounts)),
        )
        await self._ask(CUSTODY, deposit)

    async def run(self) -> None:
        """Move money until `end`, then do nothing until cancelled."""
        await asyncio.gather(*(self._move(name) for name in CLIENTS), self._tick())
        await asyncio.Event().wait()

    def end(self) -> None:
        """Let everybody finish what is under way and ask for nothing more."""
        self._ending = True

    async def _move(self, name: str) -> None:
        one, other = self._accounts[name]
        number = 0
        while not self._ending:
            number += 1
            # The amount is the number: that is what makes each command unlike all others.
            if number % WITHDRAW_EVERY == 0:
                command: AnyCommand = Withdraw(one, USD, number, number)
            elif number % 2:
                command = Transfer(one, other, USD, number)
            else:
                command = Transfer(other, one, USD, number)
            await self._submit(name, command)
            await self._clock.sleep(CLIENT_PAUSE_S)

    async def _tick(self) -> None:
        while not self._ending:
            await self._submit(CLOCK, Tick(self._clock.now_ns()))
            await self._clock.sleep(TICK_PAUSE_S)

    async def _submit(self, name: str, command: AnyCommand) -> Receipt | None:
        while True:
            said = await self._gateway.submit(self._sender_ids[name], (command,))
            if isinstance(said, Receipt):
                return said
            if said.code not in NOT_IN_LOG:
                if said.code is not Reject.UNKNOWN_OUTCOME:
                    raise FlowFault(f"{name}: {said.code.name} {said.field} {said.detail}")
                self.abandoned += 1
                return None
            await self._clock.sleep(ASK_AGAIN_S)

    async def _ask(self, name: str, command: AnyCommand) -> Answer:
        receipt = await self._submit(name, command)
        answer = None if receipt is None else await self._gateway.wait_released(receipt)
        if answer is None or answer.rejected is not None:
            raise FlowFault(f"{name}: {type(command).__name__} was not done: {answer}")
        return answer
