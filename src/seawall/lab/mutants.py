"""Mutants: named bugs for the simulated house only, each of which a sweep must notice."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

Patch = Callable[[ExitStack], None]
MUTANTS: dict[str, Patch] = {}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Break the house in one named way for as long as the context lasts."""
    with ExitStack() as stack:
        MUTANTS[name](stack)
        yield
