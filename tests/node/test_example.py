"""The example of the README runs and prints what it says."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "first_house.py"


def test_the_first_house_refuses_what_it_must_and_agrees_with_itself() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], check=True, capture_output=True, text=True
    )
    refusal, replicas = done.stdout.splitlines()
    assert refusal == "Rejected(command=0, code=402, field='amount_minor')"
    chains = {words.split("'")[3] for words in replicas.split("), (")}
    assert len(chains) == 1
