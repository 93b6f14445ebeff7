"""The crew: Python processes of a house, each with its own folder, known by pid, never by name."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from seawall.node.cluster import DIE_WITH_PARENT

RUNTIME = "seawall.node.runtime"
POLL_S = 0.02
STOP_WAIT_S = 10.0
LAST_WORDS_CHARS = 1500


class CrewFault(Exception):
    """A process did not start, or did not end; the message says which and what it said last."""


class Post(msgspec.Struct, frozen=True):
    """One place in the crew.

    Attributes
    ----------
    module : what `python -m` runs; production runs `RUNTIME` and nothing else
    role : its first argument
    """

    name: str
    role: str
    module: str = RUNTIME


class Crew:
    """Starts, looks after and ends processes under `folder`.

    Parameters
    ----------
    detached : let the processes outlive this one; otherwise the kernel ends them with it
    """

    def __init__(self, folder: Path, *, detached: bool = False) -> None:
        self.folder = folder.resolve()
        self._detached = detached
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def config_file(self, name: str) -> Path:
        """Where the configuration of a process is."""
        return self.folder / name / "config.toml"

    def ready_file(self, name: str) -> Path:
        """Where a process says that it does its work."""
        return self.folder / name / "ready"

    def start(self, post: Post) -> None:
        """Start a process that does not run; its configuration is written already."""
        assert self.pid(post.name) == 0
        self.ready_file(post.name).unlink(missing_ok=True)
        command = [sys.executable, "-m", post.module, post.role]
        command += ["--config", str(self.config_file(post.name))]
        if not self._detached:
            shim = [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid())]
            command = shim + command
        with (self.folder / post.name / "stderr.txt").open("wb") as stderr:
            # A session of its own: a ^C in the terminal is for us, not for the crew.
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        self._children[post.name] = child
        self._pid_file(post.name).write_text(str(child.pid))

    async def wait_ready(self, name: str, patience_s: float) -> None:
        """Return once the process does its work.

        Raises
        ------
        CrewFault
            It ended, or was not ready in time.
        """
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + patience_s
        while not self.ready_file(name).exists():
            if not self.pid(name):
                raise CrewFault(f"{name} ended: {self.last_words(name)}")
            if loop.time() >= give_up_s:
                raise CrewFault(f"{name}: not ready within {patience_s} s")
            await asyncio.sleep(POLL_S)

    def pid(self, name: str) -> int:
        """The process in this place, 0 when none runs."""
        child = self._children.get(name)
        if child is not None:
            return child.pid if child.poll() is None else 0
        try:
            pid = int(self._pid_file(name).read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return 0
        # The number may belong to another process by now: only one with our file is ours.
        return pid if str(self.config_file(name)).encode() in command.split(b"\0") else 0

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        pid = self.pid(name)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def stop(self, name: str) -> None:
        """Let a process end by itself; end it at once if it takes too long."""
        self.signal(name, signal.SIGTERM)
        # A stopped process takes no SIGTERM before it continues.
        self.signal(name, signal.SIGCONT)
        if not await self._gone(name):
            await self.kill(name)

    async def kill(self, name: str) -> None:
        """End a process at once, as a crash would."""
        self.signal(name, signal.SIGKILL)
        if not await self._gone(name):
            raise CrewFault(f"{name}: still there after SIGKILL")

    def last_words(self, name: str) -> str:
        """What the process last wrote to its standard error."""
        try:
            words = (self.folder / name / "stderr.txt").read_text(errors="replace")
        except OSError:
            words = ""
        return words[-LAST_WORDS_CHARS:].strip() or "it said nothing"

    async def _gone(self, name: str) -> bool:
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + STOP_WAIT_S
        while self.pid(name):
            if loop.time() >= give_up_s:
                return False
            await asyncio.sleep(POLL_S)
        return True

    def _pid_file(self, name: str) -> Path:
        return self.folder / name / "pid"
