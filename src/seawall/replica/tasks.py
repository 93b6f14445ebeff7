"""Tasks that live and end together."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import TypeVar

T = TypeVar("T")


async def race(*contenders: Coroutine[object, object, object]) -> None:
    """Run all until the first one ends, cancel the others and wait for their end.

    What the first one raised is raised here; of several that raised, the first as listed.
    """
    tasks = [asyncio.create_task(contender) for contender in contenders]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        finished = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in finished:
        task.result()


async def end_iteration(iterator: AsyncIterator[T]) -> None:
    """Close an iterator that was left half way, where it is one that can be closed."""
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()
