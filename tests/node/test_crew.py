"""The crew: processes by pid, ended by pid, and gone with their parent."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from seawall.node import crew as crew_module
from seawall.node.clock import SystemClock
from seawall.node.config import write_toml
from seawall.node.crew import Crew, CrewFault, Post

MODULE = "tests.node.sleeper"
PATIENCE_S = 30.0


def post(crew: Crew, name: str, role: str = "sleeper") -> Post:
    write_toml(crew.config_file(name), {"ready_file": str(crew.ready_file(name))})
    return Post(name, role, MODULE)


@pytest_asyncio.fixture
async def crew(tmp_path: Path) -> AsyncIterator[Crew]:
    crew = Crew(tmp_path)
    yield crew
    await crew.kill("a")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


async def test_a_process_starts_is_found_again_and_ends_when_told(crew: Crew) -> None:
    crew.start(post(crew, "a"))
    await crew.wait_ready("a", PATIENCE_S)
    pid = crew.pid("a")
    assert is_alive(pid)
    assert int(crew.ready_file("a").read_text()) == pid
    assert Crew(crew.folder).pid("a") == pid
    assert crew.pid("nobody") == 0
    await crew.stop("a")
    assert crew.pid("a") == Crew(crew.folder).pid("a") == 0
    assert not is_alive(pid)
    crew.start(post(crew, "a"))
    assert not crew.ready_file("a").exists() or crew.pid("a") != pid
    await crew.wait_ready("a", PATIENCE_S)


async def test_a_frozen_process_is_ended_as_well(crew: Crew) -> None:
    crew.start(post(crew, "a"))
    await crew.wait_ready("a", PATIENCE_S)
    crew.signal("a", signal.SIGSTOP)
    await crew.stop("a")
    assert crew.pid("a") == 0


async def test_a_deaf_process_is_ended_all_the_same(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew_module, "STOP_WAIT_S", 1.0)
    crew.start(post(crew, "a", "deaf"))
    await crew.wait_ready("a", PATIENCE_S)
    pid = crew.pid("a")
    await crew.stop("a")
    assert not is_alive(pid)


async def test_a_process_that_cannot_work_is_named_with_its_last_words(crew: Crew) -> None:
    crew.start(post(crew, "a", "broken"))
    with pytest.raises(CrewFault, match="a ended: it cannot work like this"):
        await crew.wait_ready("a", PATIENCE_S)


async def test_anothers_pid_is_not_ours(crew: Crew) -> None:
    """The number in the file has been given to another process meanwhile."""
    post(crew, "a")
    (crew.folder / "a" / "pid").write_text(str(os.getpid()))
    assert crew.pid("a") == 0
    await crew.kill("a")


async def test_a_crew_is_gone_with_its_parent(tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from pathlib import Path
from seawall.node.crew import Crew
from tests.node.test_crew import post

async def main() -> None:
    crew = Crew(Path({str(tmp_path)!r}))
    crew.start(post(crew, "a"))
    await crew.wait_ready("a", {PATIENCE_S})
    print(crew.pid("a"), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(PATIENCE_S):
        while is_alive(pid):
            await SystemClock().sleep(0.02)


async def test_a_detached_crew_stays_until_it_is_ended(tmp_path: Path) -> None:
    crew = Crew(tmp_path, detached=True)
    crew.start(post(crew, "a"))
    await crew.wait_ready("a", PATIENCE_S)
    # Another process would end it so; here its parent must reap it as well.
    other = Crew(tmp_path)
    assert other.pid("a") == crew.pid("a") > 0
    other.signal("a", signal.SIGTERM)
    await crew.stop("a")
    assert other.pid("a") == 0
