"""The liar lies by one unit and is honest otherwise; no production start leads to it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import seawall
from seawall.clearing import invariants
from seawall.lab import liar
from seawall.node import crew, runtime
from seawall.node.config import ConfigFault, ReplicaConfig, load_config, write_toml
from seawall.protocol.codec import decode_outcome
from seawall.protocol.events import AccountLines
from tests.lab.plays import played

PACKAGE = Path(seawall.__file__).parent
LIE_AT = 90


def test_the_lie_is_one_unit_that_every_invariant_misses() -> None:
    temptation = liar.Temptation()
    machine = liar.lying_machines(temptation)()
    entries = played(1).entries
    differing = []
    for seq, (payload, honest) in enumerate(entries[:400], 1):
        temptation.armed |= seq == LIE_AT
        if machine.apply(seq, payload) != honest:
            differing.append(seq)
    assert not temptation.armed
    assert min(differing) >= LIE_AT
    assert machine.state is not None
    assert invariants.check_full(machine.state) > 0
    first = min(differing)
    told = [e for e in decode_outcome(entries[first - 1][1]).events if isinstance(e, AccountLines)]
    assert told


def test_it_is_honest_until_it_is_told_to_lie() -> None:
    machine = liar.lying_machines(liar.Temptation())()
    for seq, (payload, honest) in enumerate(played(1).entries[:200], 1):
        assert machine.apply(seq, payload) == honest


def test_the_signal_arms_it() -> None:
    temptation = liar.Temptation()
    before = signal.getsignal(liar.LIE_SIGNAL)
    try:
        temptation.listen()
        assert not temptation.armed
        os.kill(os.getpid(), liar.LIE_SIGNAL)
        assert temptation.armed
    finally:
        signal.signal(liar.LIE_SIGNAL, before)


def test_a_production_process_never_loads_it() -> None:
    # Everything that `python -m seawall.node.runtime` may import, in a process of its own.
    program = (
        "import sys; import seawall.node.runtime, seawall.node.roles, seawall.node.wiring,"
        " seawall.node.house; print([name for name in sys.modules if '.lab' in name])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"


def test_the_production_entry_point_takes_no_machine(tmp_path: Path) -> None:
    for words in (
        ["replica", "--config", "x", "--machine", "liar"],
        ["liar", "--config", "x"],
        ["seawall.lab.liar"],
    ):
        with pytest.raises(SystemExit) as refused:
            runtime.main(words)
        assert refused.value.code == 2
    write_toml(tmp_path / "c.toml", {"name": "r", "machine": "seawall.lab.liar"})
    with pytest.raises(ConfigFault, match="machine"):
        load_config(ReplicaConfig, tmp_path / "c.toml")
    assert crew.Post("replica-1", "replica").module == runtime.__name__ == crew.RUNTIME


def test_only_the_lab_names_it() -> None:
    naming = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "lab.liar" in path.read_text() or "lying_machines" in path.read_text()
    }
    assert all(name.startswith("lab/") for name in naming)
    assert naming <= {"lab/liar.py", "lab/faults.py"}
