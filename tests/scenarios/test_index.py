"""Every rule has a page, a page its transcripts and tests, a code or message its transcript."""

import functools
import re
from pathlib import Path

import pytest

from seawall.protocol.codes import Reject
from seawall.protocol.effects import AnyEffect
from seawall.protocol.events import AnyEvent, RulesActivated
from seawall.protocol.genesis import RULES_VERSION
from tests.scenarios.index import (
    INDEX,
    ROOT,
    RULE,
    SCENARIOS,
    Page,
    named_tests,
    read_pages,
    transcripts_of,
    write_index,
)
from tests.scenarios.transcript import Played, play

PAGES = read_pages()
CODES = [code for code in Reject if code < 600]
"""6xx are the gateway's: they never enter the log."""


@functools.cache
def played(path: Path) -> Played:
    return play(path.read_text())


def test_every_rule_that_the_sources_name_has_a_page() -> None:
    named = {
        rule: str(path.relative_to(ROOT))
        for path in sorted((ROOT / "src").rglob("*.py"))
        for rule in RULE.findall(path.read_text())
    }
    known = {page.rule for page in PAGES}
    assert {rule: path for rule, path in named.items() if rule not in known} == {}


def test_the_index_is_what_the_pages_say() -> None:
    assert INDEX.read_text() == write_index()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.rule)
def test_a_page_names_transcripts_and_tests_that_exist(page: Page) -> None:
    assert page.text.startswith(f"# {page.rule} · ")
    assert f"`tests/scenarios/{page.rule}-*.txt`" in page.text
    assert transcripts_of(page.rule)
    files = named_tests(page)
    assert files
    sources = "".join((ROOT / name).read_text() for name in files)
    named = set(re.findall(r"`(test_\w+)`", page.text))
    assert {name for name in named if f"def {name}(" not in sources} == set()
    # Other rules that the page refers to.
    known = {other.rule for other in PAGES}
    assert set(RULE.findall(page.text)) <= known


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.txt")), ids=lambda path: path.stem)
def test_a_transcript_is_named_for_what_it_shows(path: Path) -> None:
    title = path.read_text().splitlines()[0]
    rules = {page.rule for page in PAGES}
    if path.stem == "bad-input":
        return
    label = path.stem[:3] if path.stem[0].isdigit() else path.stem[:7]
    assert title.startswith(label)
    if label.isdigit():
        assert title.startswith(f"{label} {Reject(int(label)).name}: ")
    else:
        assert label in rules


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_every_code_is_shown_by_its_transcript(code: Reject) -> None:
    paths = transcripts_of(str(int(code)))
    assert paths
    for path in paths:
        assert code in played(path).seen.codes


def test_every_event_and_effect_is_shown() -> None:
    seen: set[str] = set()
    for path in SCENARIOS.glob("*.txt"):
        seen |= played(path).seen.messages
    kinds = {*AnyEvent.__args__, *AnyEffect.__args__}
    # There are no second rules yet that could be activated (GOVN-03).
    unseen = {RulesActivated.__name__} if RULES_VERSION == 1 else set()
    assert {kind.__name__ for kind in kinds} - seen == unseen
