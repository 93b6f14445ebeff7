"""Captions of all source files in ARCHITECTURE.md, taken from their docstrings.

`python -m tests.captions` rewrites them; a test fails when they no longer tell the truth.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "ARCHITECTURE.md"
START, END = "<!-- captions: from the docstrings -->", "<!-- end of captions -->"
ROOMS = (
    *("protocol", "clearing", "risk", "replica", "venues", "oversight"),
    *("node", "lab", "surfaces"),
)


def caption(path: Path) -> str:
    """Return the first paragraph of a module's docstring, in one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def captions() -> str:
    """Return the captions of every file, by room, in Markdown."""
    lines = []
    for room in ROOMS:
        folder = ROOT / "src" / "seawall" / room
        if not folder.exists():
            continue
        lines += [f"### {room}", "", caption(folder / "__init__.py"), ""]
        files = sorted(path for path in folder.rglob("*.py") if path.name != "__init__.py")
        for path in files:
            lines.append(f"- `{path.relative_to(folder).as_posix()}` {caption(path)}")
        lines.append("")
    return "\n".join(lines)


def written(page: str) -> str:
    """Return the page with its captions rewritten."""
    head, _, rest = page.partition(START)
    _, _, tail = rest.partition(END)
    assert tail is not rest
    return f"{head}{START}\n\n{captions()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
