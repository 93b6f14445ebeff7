"""Subjects: dot-separated words, and which subscription hears which."""

import re
from functools import lru_cache

# A bus message fits where a log message fits.
DATA_BYTES_MAX = 8 << 20
_WORD = r"[A-Za-z0-9_-]+"
_SUBJECT = re.compile(rf"{_WORD}(\.{_WORD})*")
_PATTERN = re.compile(rf"{_WORD}(\.{_WORD})*(\.>)?")


@lru_cache(maxsize=1024)
def is_subject(text: str) -> bool:
    """Whether `text` may be published on."""
    return _SUBJECT.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether `text` may be subscribed to: a subject, or a subject and `.>`."""
    return _PATTERN.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def hears(pattern: str, subject: str) -> bool:
    """Whether a subscription to `pattern` receives `subject`; `a.>` does not hear `a` itself."""
    if pattern.endswith(".>"):
        return subject.startswith(pattern[:-1])
    return pattern == subject


def check_data(data: bytes) -> None:
    """A bus message larger than `DATA_BYTES_MAX` is a bug of its sender: split it first."""
    assert len(data) <= DATA_BYTES_MAX, len(data)
