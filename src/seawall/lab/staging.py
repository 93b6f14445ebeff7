"""Staging: puts a real house up, plays the script before it with faults on the way, takes it down.

Import after `node.build.use_kernel_cache`, as the clearing room comes with it.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from seawall.lab.bars import TICKS_PER_USD, Bar
from seawall.lab.board import Board, ReplicaView, View, clock_face
from seawall.lab.cast import INDEX_FEED, REPLICAS, Cast
from seawall.lab.faults import LIAR, LIAR_MODULE, Faults, Plan
from seawall.lab.paper import Paper
from seawall.lab.pulse import Window
from seawall.lab.script import Script
from seawall.lab.stage import HouseStage
from seawall.lab.watch import Watch, until
from seawall.node.charter import GENESIS_FILE, KEYS_FOLDER
from seawall.node.clock import SystemClock
from seawall.node.cluster import ClusterFault, NodeStatus
from seawall.node.feed import Taker
from seawall.node.front import Front
from seawall.node.gateway import Intake
from seawall.node.house import House
from seawall.node.keys import write_seed
from seawall.node.wiring import make_front
from seawall.protocol.codec import encode_genesis
from seawall.protocol.events import Grade
from seawall.replica.quarantine import Phase

PATIENCE_S = 120.0
"""Longer than any election of a log leader: nobody is ever told that an outcome is unknown."""
BOARD_EVERY_S = 0.25
TELL_EVERY_MINUTES = 20
AUDIT_WAIT_S = 900.0
"""The auditor is plain Python and may still be reading when the market has closed."""


class Terms(msgspec.Struct, frozen=True):
    """What is played; see `Script`."""

    seed: int
    accounts: int
    reports_a_minute: int


class Played(msgspec.Struct, frozen=True):
    """A performance, as it was seen from the outside, with the house still up."""

    watch: Watch
    faults: Faults
    paper: Paper
    fund_before: tuple[int, ...]
    whole: Window
    """From the first minute to the last one, in monotonic time."""
    last_seq: int
    nodes: tuple[NodeStatus, ...]


def found_house(folder: Path, cast: Cast) -> None:
    """Write the cast's charter to `folder`, as `node.charter.found` would with random keys."""
    names = [terms.name for terms in cast.genesis.senders]
    for number, seed in cast.sender_seeds.items():
        write_seed(folder / KEYS_FOLDER / f"{names[number - 1]}.seed", seed)
    for name, seed in cast.replica_seeds.items():
        write_seed(folder / KEYS_FOLDER / f"{name}.seed", seed)
    (folder / GENESIS_FILE).write_bytes(encode_genesis(cast.genesis))


@asynccontextmanager
async def running_house(folder: Path, cast: Cast, board: Board) -> AsyncIterator[House]:
    """Found a house, run it, and leave no process and no broker store behind."""
    found_house(folder, cast)
    house = House(folder)
    try:
        board.say("starting three log nodes, three replicas and an auditor ...")
        await house.start()
        # The liar-to-be is an honest replica too, until it is told otherwise.
        await house.crew.stop(LIAR)
        await house.restart(LIAR, module=LIAR_MODULE)
        yield house
    finally:
        await house.stop()
        _tidy_up(house)


def _tidy_up(house: House) -> None:
    """Keep logs and evidence of the processes, throw away stores, keys and snapshots."""
    shutil.rmtree(house.cluster.folder, ignore_errors=True)
    shutil.rmtree(house.folder / KEYS_FOLDER, ignore_errors=True)
    shutil.rmtree(house.folder / "front", ignore_errors=True)
    for name in REPLICAS:
        shutil.rmtree(house.crew.folder / name / "snapshots", ignore_errors=True)


class Performance:
    """One run of the script before one house."""

    def __init__(self, house: House, bars: list[Bar], board: Board) -> None:
        self._house = house
        self._bars = bars
        self._board = board
        self._clock = SystemClock()
        self._minute = 0
        self._news: list[str] = []

    async def play(self, plan: Plan, terms: Terms) -> Played:
        """Play from the first bar to the last and wait until everybody has caught up."""
        async with AsyncExitStack() as stack:
            network = await self._house.connect(stack, "demo")

            def trade(account: int, instrument: int, lots: int, limit: int) -> bool:
                return script.execute(account, instrument, lots, limit)

            paper = Paper(trade)
            front = await make_front(
                self._house.charter,
                network,
                self._house.folder / "front",
                venue=paper,
                intake=Intake(patience_s=PATIENCE_S),
            )
            front.projection.keeps_lines = False
            stage = HouseStage(front)
            script = Script(
                stage,
                seed=terms.seed,
                accounts=terms.accounts,
                bars=self._bars,
                reports_a_minute=terms.reports_a_minute,
            )
            watch = Watch(self._clock, script.hear)
            front.gateway.witness = watch
            front.notice = watch.notice
            front.takers += [Taker(watch.take), Taker(stage.take)]
            faults = Faults(plan, self._house, watch, self._clock, self._tell)
            acting = asyncio.create_task(self._act(script, watch, faults))
            around = (
                asyncio.create_task(front.run()),
                asyncio.create_task(watch.listen(network.bus)),
                asyncio.create_task(self._draw(front, watch)),
            )
            try:
                await asyncio.wait((acting, *around), return_when=asyncio.FIRST_COMPLETED)
                for task in around:
                    if task.done():
                        task.result()
                whole, fund_before = await acting
            finally:
                acting.cancel()
                for running in around:
                    running.cancel()
                await asyncio.gather(acting, *around, return_exceptions=True)
            return Played(
                watch,
                faults,
                paper,
                fund_before,
                whole,
                watch.chronicle.seq,
                await self._house.cluster.status(),
            )

    async def _act(
        self, script: Script, watch: Watch, faults: Faults
    ) -> tuple[Window, tuple[int, ...]]:
        self._tell("opening accounts, paying in, taking positions ...")
        await script.open()
        fund_before = watch.chronicle.fund
        start_ns = self._clock.monotonic_ns()
        for minute in range(1, len(self._bars)):
            self._minute = minute
            liar = await faults.begin_minute(self._bars[minute].at_ns)
            await script.play(minute, liar=liar)
        end_ns = self._clock.monotonic_ns()
        await faults.heal()
        await script.close()
        self._tell("the market has closed; waiting for replicas and auditor ...")
        await self._wait_for_all(watch)
        return Window(start_ns, end_ns), fund_before

    async def _wait_for_all(self, watch: Watch) -> None:
        """Wait for those who are behind; who does not come is seen in the result."""
        last_seq = watch.chronicle.seq

        def replicas_there() -> bool:
            said = [watch.statuses.get(name) for name in REPLICAS]
            return all(
                told is not None and told[1].seq == last_seq and told[1].phase == Phase.VOTING.value
                for told in said
            )

        await until(replicas_there, patience_s=PATIENCE_S)
        await until(
            lambda: watch.audit is not None and watch.audit.seq >= last_seq,
            patience_s=AUDIT_WAIT_S,
        )
        await until(
            lambda: watch.newest is not None and watch.newest.seq >= last_seq, patience_s=PATIENCE_S
        )
        for name in self._house.cluster.names:
            try:
                await self._house.cluster.wait_current(name)
            except ClusterFault as fault:
                self._tell(str(fault))

    # What people see.

    def _tell(self, line: str) -> None:
        market = clock_face(self._bars[self._minute].at_ns)
        self._news = [*self._news, f"{market}  {line}"][-6:]
        self._board.say(f"{market}  {line}")

    async def _draw(self, front: Front, watch: Watch) -> None:
        told_minute = 0
        while True:
            await asyncio.sleep(BOARD_EVERY_S)
            view = self._view(front, watch)
            self._board.show(view)
            if self._minute >= told_minute + TELL_EVERY_MINUTES:
                told_minute = self._minute
                self._board.tell(view)

    def _view(self, front: Front, watch: Watch) -> View:
        index = front.projection.indices.get(INDEX_FEED)
        return View(
            at_ns=front.projection.at_ns,
            price=0.0 if index is None else index.ticks / TICKS_PER_USD,
            grade="" if index is None else Grade(index.grade).name.lower(),
            seq=watch.chronicle.seq,
            minute=self._minute,
            minutes=len(self._bars) - 1,
            replicas=tuple(self._view_replica(name, watch) for name in REPLICAS),
            audited_seq=0 if watch.audit is None else watch.audit.seq,
            states=front.projection.accounts_by_state(),
            fund=_fund(watch.chronicle.fund),
            liquidations=watch.chronicle.liquidations,
            margin_calls=watch.chronicle.margin_calls,
            news=tuple(self._news),
        )

    def _view_replica(self, name: str, watch: Watch) -> ReplicaView:
        told = watch.statuses.get(name)
        if not self._house.crew.pid(name):
            return ReplicaView(name, "dead", 0, 0, "")
        if told is None:
            return ReplicaView(name, "starting", 0, 0, "")
        _, status = told
        lag = max(watch.chronicle.seq - status.seq, 0)
        return ReplicaView(name, status.phase, status.seq, lag, status.chain.hex()[:12])


def _fund(balances: tuple[int, ...]) -> str:
    if len(balances) < 2:
        return "-"
    return f"{balances[0] / 10**6:,.0f} USD {balances[1] / 10**8:,.2f} XBT"
