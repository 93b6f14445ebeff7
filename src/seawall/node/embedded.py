"""A whole house in one process: SQLite log, replicas as tasks; the code is the cluster's own."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from seawall.node.charter import Charter
from seawall.node.effects import Door
from seawall.node.front import Front
from seawall.node.gateway import Intake
from seawall.node.projections import Projection
from seawall.node.receipts import Answer, Receipt, Refused, Stopped
from seawall.node.wiring import (
    Network,
    ReplicaPlan,
    append_genesis,
    make_front,
    make_replica,
    open_hub,
    open_sqlite,
)
from seawall.protocol.commands import AnyCommand
from seawall.replica.doors import Notice
from seawall.replica.messages import Status
from seawall.replica.replica import Replica
from seawall.replica.tasks import race

T = TypeVar("T")


class NotTaken(Exception):
    """The gateway did not take the commands; `refused` says why."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(f"{refused.code.name} ({refused.field}) {refused.detail}".strip())
        self.refused = refused


class Embedded:
    """A house on a laptop, in a test, in a notebook."""

    def __init__(
        self,
        charter: Charter,
        front: Front,
        replicas: list[Replica],
        notices: list[tuple[str, Notice]],
    ) -> None:
        self.charter = charter
        self.front = front
        self.replicas = replicas
        self.notices = notices
        """(replica, what happened): dissent, quarantine, snapshots; the newest thousand."""
        self._running: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        folder: Path,
        charter: Charter,
        *,
        venue: Door | None = None,
        intake: Intake | None = None,
    ) -> AsyncIterator["Embedded"]:
        """Open the house in `folder`, founded there at the first time; it stands still when left.

        Parameters
        ----------
        charter : with the keys of its replicas, and of the senders that speak here
        venue : where effects take place; without one they wait in the outbox until they expire
        """
        async with AsyncExitStack() as stack:
            log = open_sqlite(stack, folder / "log.sqlite")
            await append_genesis(charter, log)
            connect = open_hub(stack)
            notices: list[tuple[str, Notice]] = []
            replicas = [
                make_replica(
                    ReplicaPlan(name, charter.keys[name], folder / name),
                    Network(log, connect()),
                    partial(_note, notices, name),
                )
                for name in charter.replica_names
            ]
            network = Network(log, connect())
            front = await make_front(charter, network, folder, venue=venue, intake=intake)
            house = cls(charter, front, replicas, notices)
            await house._start(await log.last_seq())
            try:
                yield house
            finally:
                await house._stop()

    @property
    def projection(self) -> Projection:
        """What the house looks like, up to the newest released entry."""
        return self.front.projection

    def status(self) -> list[Status]:
        """Return how the replicas are."""
        return [replica.status() for replica in self.replicas]

    async def submit(self, sender: str, *commands: AnyCommand, request_id: str = "") -> Answer:
        """Return what a majority of replicas made of the commands, in an entry of their own.

        Parameters
        ----------
        sender : the name in genesis
        request_id : a name for the request; repeated under the same name it happens once

        Raises
        ------
        NotTaken
            The gateway refused; nothing is in the log unless the code is UNKNOWN_OUTCOME.
        Stopped
            The house stopped, or the outcome was released too long ago to be at hand.
        """
        said = await self._alive(
            self.front.gateway.submit(
                self.charter.sender_id(sender), commands, request_id=request_id, alone=True
            )
        )
        if isinstance(said, Refused):
            raise NotTaken(said)
        return await self.answer(said)

    async def answer(self, receipt: Receipt) -> Answer:
        """Return what a majority of replicas made of the receipt's commands."""
        answer = await self._alive(self.front.gateway.wait_released(receipt))
        if answer is None:
            raise Stopped(f"the outcome of entry {receipt.seq} is no longer at hand")
        return answer

    async def _start(self, end_seq: int) -> None:
        parts = [self.front.run(), *(replica.run() for replica in self.replicas)]
        self._running = asyncio.create_task(race(*parts))
        await self._alive(self.front.gateway.progress.reached(end_seq))

    async def _stop(self) -> None:
        assert self._running is not None
        await self.front.save()
        failed = self._running.done()
        self._running.cancel()
        done = await asyncio.gather(self._running, return_exceptions=True)
        if failed and isinstance(done[0], Exception):
            raise done[0]

    async def _alive(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the work's result, unless the house fails first."""
        assert self._running is not None
        task = asyncio.create_task(work)
        try:
            await asyncio.wait((task, self._running), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Stopped("the house stopped")
            return task.result()
        finally:
            task.cancel()


def _note(notices: list[tuple[str, Notice]], name: str, notice: Notice) -> None:
    notices.append((name, notice))
    del notices[:-1000]
