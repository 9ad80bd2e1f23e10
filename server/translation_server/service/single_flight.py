"""Single flight: concurrent callers who need the same result share one task."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs at most one task for each key at a time."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}

    def __contains__(self, key: Hashable) -> bool:
        """Whether a task is running for a key."""
        return key in self._tasks

    async def run(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Returns the result of the key's running task, or else of a new one.

        A caller that is cancelled does not cancel the task, since others may need it.
        """
        task = self._tasks.get(key)
        if task is None or task.done():  # a finished one may be here until the event loop has called `_remove`
            task = self._tasks[key] = asyncio.create_task(start())
            task.add_done_callback(partial(self._remove, key))
        return await asyncio.shield(task)

    def _remove(self, key: Hashable, task: asyncio.Task[T]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            task.exception()  # asyncio logs exceptions that nobody has read, for instance if all callers were cancelled
