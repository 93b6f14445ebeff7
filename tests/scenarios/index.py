"""The index of the rules: `python -m tests.scenarios.index` writes it from the pages.

What it says is checked by tests/scenarios/test_index.py.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "rules"
INDEX = PAGES / "README.md"
SCENARIOS = ROOT / "tests" / "scenarios"
RULE = re.compile(r"\b[A-Z]{4}-\d{2}\b")

GROUPS = {
    "LEDG": "Ledger, cash and reports",
    "ACCT": "Accounts",
    "PROD": "Products",
    "MARK": "Prices and marks",
    "FUND": "Funding",
    "SETL": "Expiry",
    "BRKR": "Halts",
    "COLL": "Collateral",
    "MARG": "Margin",
    "CALL": "Standing and calls",
    "LIQD": "Liquidation",
    "WTRF": "The insurance fund",
    "TEAR": "Loss beyond the fund",
    "STEP": "Time",
    "TIME": "Time",
    "OUTB": "Effects",
    "ROND": "Rounding",
    "GOVN": "Authority and governance",
    "AUDT": "Lines for the auditor",
    "INVR": "Invariants",
    "RDND": "One log, many machines",
}


class Page(NamedTuple):
    """One rule page: its id, its title and all it says."""

    rule: str
    title: str
    text: str


def read_pages() -> list[Page]:
    """Return the pages in the order of the index."""
    found = []
    for path in PAGES.glob("*-*.md"):
        text = path.read_text()
        title = text.splitlines()[0].removeprefix(f"# {path.stem}").strip(" ·")
        found.append(Page(path.stem, title, text))
    order = list(GROUPS)
    return sorted(found, key=lambda page: (order.index(page.rule[:4]), page.rule))


def transcripts_of(rule: str) -> list[Path]:
    """Return the transcripts of a rule or a reject code."""
    return sorted(SCENARIOS.glob(f"{rule}-*.txt"))


def named_tests(page: Page) -> list[str]:
    """Return the test files that a page names, each once."""
    return list(dict.fromkeys(re.findall(r"tests/[a-z_/]+/test_[a-z_]+\.py", page.text)))


def write_index() -> str:
    """Return the text of the index."""
    lines = [
        "# Rules",
        "",
        "What the clearing house does, one page a rule. The code names a rule where it follows it;",
        "the page says how, and which transcripts and tests show it. A transcript is a file in",
        "`tests/scenarios` that starts with the rule's id: commands and the answers of the real",
        "machine. Reject codes have transcripts of their own, `tests/scenarios/NNN-*.txt`.",
        "",
        "Written by `python -m tests.scenarios.index`; a test fails when it is out of date.",
    ]
    group = ""
    for page in read_pages():
        if GROUPS[page.rule[:4]] != group:
            group = GROUPS[page.rule[:4]]
            lines += [
                "",
                f"## {group}",
                "",
                "| rule | | transcripts | tests |",
                "|---|---|---|---|",
            ]
        count = len(transcripts_of(page.rule))
        tests = ", ".join(f"`{Path(name).stem}`" for name in named_tests(page))
        lines.append(f"| [{page.rule}]({page.rule}.md) | {page.title} | {count} | {tests} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    INDEX.write_text(write_index())
