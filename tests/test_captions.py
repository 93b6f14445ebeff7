"""ARCHITECTURE.md names every file with what its docstring says."""

from tests.captions import PAGE, captions, written


def test_every_file_has_its_caption() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert written(page) == page, "run `python -m tests.captions`"


def test_a_missing_caption_is_seen() -> None:
    page = PAGE.read_text(encoding="utf-8")
    first = next(line for line in captions().splitlines() if line.startswith("- `"))
    assert written(page.replace(first + "\n", "")) == page
    assert page.replace(first + "\n", "") != page
