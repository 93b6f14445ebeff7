"""One house of the drill: it works, is struck, is healed, and its log is read after each blow."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import msgspec

from seawall.lab.drill_faults import Blow, Wrecker
from seawall.lab.drill_flow import CHECKPOINT_ENTRIES, CLIENTS, SENDERS, TERMS, Bank, Flow
from seawall.lab.drill_plan import Fault
from seawall.lab.drill_report import Ended, Run
from seawall.lab.drill_tail import Tail
from seawall.lab.drill_watch import ClientWatch
from seawall.lab.pulse import Window, longest_pause_ms
from seawall.lab.readback import Kept, compare, replay
from seawall.lab.watch import until
from seawall.node.charter import found
from seawall.node.clock import SystemClock
from seawall.node.cluster import ClusterFault
from seawall.node.cluster_watch import Remedy, tend
from seawall.node.cluster_watch import Watch as NodeWatch
from seawall.node.crew import CrewFault
from seawall.node.feed import Taker, roster_of_terms
from seawall.node.front import Front
from seawall.node.gateway import Intake
from seawall.node.house import House
from seawall.node.wiring import Network, make_front
from seawall.protocol.units import NS_PER_SECOND
from seawall.replica.log import Log
from seawall.replica.quarantine import Phase
from seawall.replica.tasks import race

T = TypeVar("T")

PATIENCE_S = 120.0
"""Longer than any election of a log leader: nobody is told that an outcome is unknown."""
WHOLE_WAIT_S = 150.0
"""Two rounds of the watch over the log's nodes: a restart, and a wipe if that was not enough."""
QUIET_S, SETTLE_S = 1.5, 0.5
FRESH_ENTRIES = 20
"""So many entries more than the log held when healing began must have gone all the way."""
POLL_S = 0.1


class Rehearsal:
    """Runs the faults it is given, one after the other, in a house of its own.

    Attributes
    ----------
    runs, ended : what was seen; `ended` is None until the last fault has healed
    """

    def __init__(self, number: int, folder: Path, seed: int, say: Callable[[str], None]) -> None:
        self.runs: list[Run] = []
        self.ended: Ended | None = None
        self._number = number
        found(folder, TERMS)
        self._house = House(folder)
        self._clock = SystemClock()
        self._wrecker = Wrecker(self._house, random.Random(f"wrecker:{seed}:{number}"))
        self._roster = roster_of_terms(
            self._house.charter.log_id, 1, self._house.charter.genesis.replicas
        )
        self._say = say
        self._tail = Tail()
        self._kept = Kept(0, 0, 0, 0, 0, 0)
        self._uncertified = 0
        self._executions_checked = 0

    async def perform(self, faults: tuple[Fault, ...]) -> None:
        """Start the house, go through the faults, stop the house.

        Raises
        ------
        ClusterFault, CrewFault
            The house did not start.
        FlowFault
            It does not take what it must.
        """
        try:
            await self._house.start()
            async with AsyncExitStack() as stack:
                network = await self._house.connect(stack, "drill")
                senders = {name: place for place, name in enumerate(SENDERS, 1)}
                clients = frozenset(senders[name] for name in CLIENTS)
                self._watch = ClientWatch(self._clock, clients)
                self._bank = Bank(lambda: self._watch.newest)
                self._front = await self._open_front(network)
                self._flow = Flow(self._front.gateway, senders, self._clock)
                await race(self._act(faults), self._front.run(), self._watch.listen(network.bus))
        finally:
            await self._house.stop()

    async def _open_front(self, network: Network) -> Front:
        front = await make_front(
            self._house.charter,
            network,
            self._house.folder / "front",
            venue=self._bank,
            intake=Intake(patience_s=PATIENCE_S),
        )
        front.projection.keeps_lines = False
        front.gateway.witness = self._watch
        front.notice = self._watch.notice
        front.takers.append(Taker(self._watch.take))
        return front

    async def _act(self, faults: tuple[Fault, ...]) -> None:
        await self._flow.open()
        await race(self._break_all(faults), self._flow.run())

    async def _break_all(self, faults: tuple[Fault, ...]) -> None:
        # By then each replica has sealed a snapshot that can be damaged.
        problems = await self._wait_whole(2 * CHECKPOINT_ENTRIES)
        for fault in faults:
            if problems:
                # Whatever came next would be a second fault on top of the first.
                break
            run = await self._run(fault)
            problems = [*run.problems]
            self.runs.append(run)
            self._say(describe(run))
        self._flow.end()
        self.ended = await self._end()

    # One fault.

    async def _run(self, fault: Fault) -> Run:
        quiet = await self._be_quiet()
        blow = await self._wrecker.aim(fault)
        at_seq, start_ns = self._watch.chronicle.seq, self._clock.monotonic_ns()
        problems: list[str] = []
        remedies: list[Remedy] = []
        heal_ns = start_ns
        try:
            await self._wrecker.strike(blow)
            await self._clock.sleep(blow.down_s)
            heal_ns = self._clock.monotonic_ns()
            problems += await self._heal(blow, remedies)
        except (ClusterFault, CrewFault) as fault_found:
            problems.append(str(fault_found))
        gaps, end_ns = self._measure(start_ns), self._clock.monotonic_ns()
        if not self._wrecker.noticed(blow):
            problems.append("nobody noticed the damaged snapshot")
        lost, doubled, uncertified, found_wrong = await self._read_back()
        return Run(
            self._number,
            fault.value,
            blow.victims,
            at_seq,
            round((heal_ns - start_ns) / NS_PER_SECOND, 2),
            round((end_ns - heal_ns) / NS_PER_SECOND, 2),
            *gaps,
            *quiet,
            lost,
            doubled,
            uncertified,
            tuple(f"{remedy.action.value} {remedy.node}" for remedy in remedies),
            (*problems, *found_wrong),
        )

    async def _be_quiet(self) -> tuple[float, float]:
        """Return the longest gaps of a stretch in which nothing is broken."""
        await self._flowing()
        # Reading the log back kept this process busy: that pause is nobody's fault.
        await self._clock.sleep(SETTLE_S)
        start_ns = self._clock.monotonic_ns()
        await self._clock.sleep(QUIET_S)
        return self._measure(start_ns)

    def _measure(self, start_ns: int) -> tuple[float, float]:
        """Return the longest gap in acknowledgements and in releases from then until now."""
        window, pulse = Window(start_ns, self._clock.monotonic_ns()), self._watch.pulse
        return (
            longest_pause_ms(pulse.acknowledged, window),
            longest_pause_ms(pulse.released, window),
        )

    async def _flowing(self) -> None:
        seq = self._watch.chronicle.seq
        await until(lambda: self._watch.chronicle.seq > seq, patience_s=PATIENCE_S, poll_s=0.002)

    async def _heal(self, blow: Blow, remedies: list[Remedy]) -> list[str]:
        """Put things right and return what was still wrong when patience ended."""
        await self._wrecker.heal(blow)
        goal_seq = self._watch.held_seq + FRESH_ENTRIES
        looking = asyncio.create_task(self._wait_whole(goal_seq))
        # What looks after the log's nodes in production does so here.
        await race(
            tend(self._house.cluster, NodeWatch(), remedies.append), asyncio.wait((looking,))
        )
        return looking.result()

    # Whether it is whole.

    async def _wait_whole(self, goal_seq: int) -> list[str]:
        """Return nothing once everybody has done the entry `goal_seq`, or who has not in time."""
        began_ns = self._clock.monotonic_ns()
        give_up_ns = began_ns + int(WHOLE_WAIT_S) * NS_PER_SECOND
        while True:
            missing = [*self._behind(goal_seq, began_ns)]
            # Nodes are asked last: that takes a while, and the others have usually come first.
            missing = missing or await self._ill_nodes(goal_seq)
            if not missing or self._clock.monotonic_ns() >= give_up_ns:
                return missing
            await self._clock.sleep(POLL_S)

    def _behind(self, goal_seq: int, after_ns: int) -> list[str]:
        house, watch = self._house, self._watch
        said = [f"{name} does not run" for name in house.names if not house.crew.pid(name)]
        for name in house.charter.replica_names:
            heard_ns, status = watch.statuses.get(name, (0, None))
            if status is None or heard_ns < after_ns or status.seq < goal_seq:
                said.append(f"{name} is behind entry {goal_seq}")
            elif status.phase != Phase.VOTING.value:
                said.append(f"{name} is {status.phase}")
        if watch.audit is None or watch.audit.seq < goal_seq:
            said.append(f"the auditor is behind entry {goal_seq}")
        if watch.chronicle.seq < goal_seq:
            said.append(f"entry {goal_seq} is not released")
        interpreter = self._front.interpreter
        assert interpreter is not None
        if any(seq <= goal_seq - FRESH_ENTRIES for seq, _ in interpreter.outbox):
            said.append("payouts from before are still pending")
        return said

    async def _ill_nodes(self, goal_seq: int) -> list[str]:
        return [
            f"{node.name} is not well: entry {node.last_seq}, {node.hole_count} holes"
            for node in await self._house.cluster.status()
            if not node.healthy or node.hole_count != 0 or node.last_seq < goal_seq
        ]

    # What the log says.

    async def _read_back(self) -> tuple[int, int, int, list[str]]:
        """Return what is lost, doubled and uncertified since last time, and other findings."""
        # Before anything is awaited: these receipts name entries up to this one and none beyond.
        goal_seq = self._watch.held_seq
        foils = [
            msgspec.structs.replace(foil) for foil in self._watch.counterfoils.by_ticket.values()
        ]
        await self._read_log(self._tail.read_on, goal_seq)
        before, self._kept = self._kept, compare(self._tail.replayed(), foils)
        uncertified = self._check_executions()
        return (
            self._kept.lost - before.lost,
            self._kept.doubled - before.doubled,
            uncertified,
            self._find_wrong(),
        )

    async def _read_log(self, read: Callable[[Log, int], Awaitable[T]], last_seq: int) -> T:
        """Read over a new connection, each time beginning with another node than before."""
        async with AsyncExitStack() as stack:
            network = await self._house.connect(stack, "readback", first=len(self.runs))
            return await read(network.log, last_seq)

    def _check_executions(self) -> int:
        """Return how many payouts had no certificate, of those that the log read can judge."""
        uncertified = 0
        for execution in self._bank.executions[self._executions_checked :]:
            certificate = execution.certificate
            if certificate is not None and certificate.seq > self._tail.seq:
                break
            uncertified += not self._tail.is_covered(execution, self._roster)
            self._executions_checked += 1
        self._uncertified += uncertified
        return uncertified

    def _find_wrong(self) -> list[str]:
        watch, kept = self._watch, self._kept
        wrong = [f"{kept.lost} commands lost"] if kept.lost else []
        wrong += [f"{kept.doubled} commands doubled"] if kept.doubled else []
        wrong += [f"{kept.misplaced} commands misplaced"] if kept.misplaced else []
        wrong += [f"{self._uncertified} payouts without a certificate"] * bool(self._uncertified)
        for name, (_, status) in sorted(watch.statuses.items()):
            if self._tail.differs(status):
                wrong.append(f"{name} has another chain at entry {status.seq}")
        wrong += [f"{proof.replica} was outvoted at entry {proof.seq}" for proof in watch.proofs]
        disagreements = 0 if watch.audit is None else watch.audit.coverage.disagreements
        if disagreements or watch.findings:
            wrong.append(f"the auditor disagrees {max(disagreements, len(watch.findings))} times")
        return wrong

    # The end.

    async def _end(self) -> Ended:
        """Let everything come to rest, then read the log once more from its first entry."""
        interpreter = self._front.interpreter
        assert interpreter is not None
        rested = await until(self._rests, patience_s=PATIENCE_S)
        problems = [] if rested else ["payouts or receipts are still pending"]
        last_seq = self._watch.chronicle.seq
        problems += await self._wait_whole(last_seq)
        *_, wrong = await self._read_back()
        ends = {(s.seq, s.chain) for _, s in self._watch.statuses.values()}
        again = await self._read_log(replay, last_seq)
        if ends != {(last_seq, again.chain)}:
            problems.append("the replicas do not end where a replay from entry 1 does")
        if again.chain != self._tail.chain_at(last_seq):
            problems.append("the log does not read twice the same")
        if self._executions_checked != len(self._bank.executions):
            problems.append("some payouts were asked for on the word of entries beyond the log")
        kept = compare(again, list(self._watch.counterfoils.by_ticket.values()))
        executions = self._bank.executions
        repeated = sum(execution.repeated for execution in executions)
        if repeated:
            problems.append(f"{repeated} payouts were asked for again")
        return Ended(
            self._number,
            last_seq,
            kept.acknowledged,
            kept.lost,
            kept.doubled,
            kept.misplaced,
            kept.unknown,
            len(executions),
            repeated,
            self._uncertified,
            (*problems, *wrong),
        )

    def _rests(self) -> bool:
        """Tell whether the log holds nothing that is not released and no payout is pending."""
        interpreter = self._front.interpreter
        assert interpreter is not None
        gateway = self._front.gateway
        return not interpreter.outbox and gateway.kept_batches == 0 and gateway.ahead_entries == 0


def describe(run: Run) -> str:
    """Return the run in one line."""
    victims = ", ".join(run.victims) if len(run.victims) < 4 else "all"
    line = (
        f"{run.fault} ({victims}) {run.down_s:.1f} s, whole after {run.whole_s:.1f} s;"
        f" gaps: acknowledgements {run.ack_gap_ms:,.0f} ms, releases {run.release_gap_ms:,.0f} ms"
    )
    return "; ".join((line, *run.remedies, *run.problems))
