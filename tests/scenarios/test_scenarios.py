"""Every transcript in this folder plays as it is written: one for each rule and each reject code.

`SEAWALL_REWRITE=1 pytest tests/scenarios` writes what is answered now; read the difference.
"""

import os
from pathlib import Path

import pytest

from tests.scenarios.transcript import FOLDER, play

FILES = sorted(FOLDER.glob("*.txt"))
REWRITE = bool(os.environ.get("SEAWALL_REWRITE"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_transcript_plays_as_written(path: Path) -> None:
    text = path.read_text()
    played = play(text)
    if REWRITE:
        path.write_text(played.text)
    assert text == played.text
    assert played.findings == []
