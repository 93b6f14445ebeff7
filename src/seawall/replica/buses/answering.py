"""Answers under way: a bounded set of tasks that ends with its bus."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

ANSWERS_MAX = 64
Answer = TypeVar("Answer")


class Answering:
    """Runs each answer as a task, so that a slow question does not hold up the next one."""

    def __init__(self) -> None:
        # A list and not a set: tasks end in the order in which they began, in every run.
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, answer: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer] | None:
        """Begin an answer; None when `ANSWERS_MAX` are under way (the asker will time out)."""
        if len(self._tasks) >= ANSWERS_MAX:
            answer.close()
            return None
        task = asyncio.get_running_loop().create_task(answer)
        self._tasks.append(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._tasks.remove(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            # Nobody awaits an answer: a bug in one must still reach the process.
            task.get_loop().call_exception_handler(
                {"message": "a bus answer failed", "exception": bug, "task": task}
            )

    async def close(self) -> None:
        """Cancel what is under way and wait until it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
