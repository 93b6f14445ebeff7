"""The whole local house as processes of its own: three log nodes, replicas, an auditor.

Everything lies in one folder, so another process can find the house again:
`genesis.bin` and `keys/` (the charter), `log/` (the broker), and a folder for each process.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from seawall.node.audit import ASK_SUBJECT, AuditStatus
from seawall.node.build import use_kernel_cache
from seawall.node.charter import GENESIS_FILE, KEYS_FOLDER, Charter
from seawall.node.cluster import LocalCluster, NodeStatus
from seawall.node.config import write_toml
from seawall.node.crew import RUNTIME, Crew, CrewFault, Post
from seawall.node.runtime import WARM_FILE
from seawall.node.wiring import Network, append_genesis, open_nats
from seawall.replica.bus import RequestFailed
from seawall.replica.messages import Status, decode

AUDITOR = "auditor"
READY_WAIT_S = 60.0
STATUS_WAIT_S = 2.5
"""Replicas say how they are about once a second."""
WARM_WAIT_S = 300.0


class ProcessStatus(msgspec.Struct, frozen=True):
    """A process as its operating system sees it; `pid` is 0 when it does not run."""

    name: str
    pid: int
    ready: bool


class HouseStatus(msgspec.Struct, frozen=True):
    """How the house is: its processes, and what they say of themselves, where they answer."""

    name: str
    log_id: str
    nodes: tuple[NodeStatus, ...]
    processes: tuple[ProcessStatus, ...]
    replicas: tuple[Status, ...]
    auditor: AuditStatus | None


class House:
    """A local house in a folder that holds its charter.

    Parameters
    ----------
    detached : let it outlive this process; otherwise the kernel ends it with this process
    """

    def __init__(self, folder: Path, *, detached: bool = False) -> None:
        self.folder = folder.resolve()
        self.charter = Charter.load(self.folder)
        self.cluster = LocalCluster(self.folder / "log", detached=detached)
        self.crew = Crew(self.folder / "processes", detached=detached)

    @property
    def names(self) -> tuple[str, ...]:
        """The processes beside the broker's: replicas, then the auditor."""
        return (*self.charter.replica_names, AUDITOR)

    async def start(self, *, patience_s: float = READY_WAIT_S) -> None:
        """Start all that does not run; return once every replica votes and the auditor follows.

        Raises
        ------
        ClusterFault, CrewFault
            A process ended or was not ready in time; the message has its last words. Nothing is
            left running.
        """
        running = False
        try:
            await self._start(patience_s)
            running = True
        finally:
            if not running:
                await self.stop()

    async def _start(self, patience_s: float) -> None:
        await self.cluster.start()
        async with AsyncExitStack() as stack:
            network = await self.connect(stack, "house")
            await append_genesis(self.charter, network.log)
        await _warm_once()
        for name in self.names:
            if not self.crew.pid(name):
                self.launch(name)
        for name in self.names:
            await self.crew.wait_ready(name, patience_s)

    def launch(self, name: str, *, module: str = RUNTIME) -> None:
        """Start one process without waiting for it.

        Parameters
        ----------
        module : what it runs; anything but `RUNTIME` is for rehearsals of what can go wrong
        """
        place = self.names.index(name)
        role = AUDITOR if name == AUDITOR else "replica"
        own = self.crew.folder / name
        values: dict[str, str | int | float | list[str]] = {
            "name": name,
            # Each begins with another node, so that no node is everybody's.
            "urls": list(self.cluster.urls(place)),
            "genesis_file": str(self.folder / GENESIS_FILE),
            "folder": str(own),
            "ready_file": str(self.crew.ready_file(name)),
            "log_file": str(own / "log.jsonl"),
        }
        if role == "replica":
            values["key_file"] = str(self.folder / KEYS_FOLDER / f"{name}.seed")
        write_toml(self.crew.config_file(name), values)
        self.crew.start(Post(name, role, module))

    async def restart(self, name: str, *, module: str = RUNTIME) -> None:
        """Start a process that has ended and wait until it does its work again."""
        self.launch(name, module=module)
        await self.crew.wait_ready(name, READY_WAIT_S)

    async def kill(self, name: str) -> None:
        """End a process at once (SIGKILL), as a crash would; a log node by its own name too."""
        if name in self.cluster.names:
            await self.cluster.kill(name)
        else:
            await self.crew.kill(name)

    async def connect(self, stack: AsyncExitStack, name: str, *, first: int = 0) -> Network:
        """Connect to the log and the bus, beginning with node `first`; closed with the stack."""
        return await open_nats(stack, self.cluster.urls(first), name)

    async def status(self, network: Network | None = None) -> HouseStatus:
        """Return how the house is.

        Parameters
        ----------
        network : to ask replicas and the auditor over; without it only processes are looked at
        """
        replicas: tuple[Status, ...] = ()
        auditor = None
        if network is not None:
            replicas = await self._ask_replicas(network)
            auditor = await _ask_auditor(network)
        return HouseStatus(
            name=self.charter.genesis.name,
            log_id=self.charter.log_id.hex(),
            nodes=await self.cluster.status(),
            processes=tuple(
                ProcessStatus(name, self.crew.pid(name), self.crew.ready_file(name).exists())
                for name in self.names
            ),
            replicas=replicas,
            auditor=auditor,
        )

    async def stop(self) -> None:
        """End all processes, each by itself if it can; nothing is left behind."""
        await asyncio.gather(*(self.crew.stop(name) for name in self.names))
        await self.cluster.stop_gently()

    async def _ask_replicas(self, network: Network) -> tuple[Status, ...]:
        """Return the newest status of each replica that speaks within `STATUS_WAIT_S`."""
        heard: dict[str, Status] = {}
        running = [name for name in self.charter.replica_names if self.crew.pid(name)]
        try:
            async with asyncio.timeout(STATUS_WAIT_S):
                async for message in network.bus.subscribe("status.>"):
                    status = decode(Status, message.data)
                    if status is not None:
                        heard[status.replica] = status
                    if all(name in heard for name in running):
                        break
        except TimeoutError:
            pass
        return tuple(heard[name] for name in sorted(heard))


async def _ask_auditor(network: Network) -> AuditStatus | None:
    try:
        answer = await network.bus.request(ASK_SUBJECT, b"", timeout_s=STATUS_WAIT_S)
    except RequestFailed:
        return None
    return decode(AuditStatus, answer)


async def _warm_once() -> None:
    """Have the kernels of this build compiled, once, before several processes would do it."""
    cache = use_kernel_cache()
    if (cache / WARM_FILE).exists():
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        RUNTIME,
        "warm",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    try:
        async with asyncio.timeout(WARM_WAIT_S):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise CrewFault(f"warm: not done within {WARM_WAIT_S} s") from None
    if process.returncode != 0:
        raise CrewFault(f"warm: {said.decode(errors='replace')[-500:]}")
