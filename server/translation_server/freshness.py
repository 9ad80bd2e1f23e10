"""How old may be what is known of the store, so that what another process does shows within a second.

Whoever asks the store again asks for what is older than the last answer by a margin: servers' clocks differ, and what
was being committed did not show yet.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, TypeVar

from translation_server.core.changes import PAGE, Place
from translation_server.core.job import Job
from translation_server.stores import Store

T = TypeVar("T")

OWNERS = 20_000
"""Owners of whom a process knows at a time what their polls need, unless there are more users: 2 KiB for each."""

FRESH = 0.5
"""Seconds for which what was read is taken for the present."""

FRESH_ENOUGH = 1.0
"""Seconds for which it is while the store is being asked anew."""

MARGIN = 2.0
"""Seconds that a commit may take: the store is asked again for what is this old."""


class Asking(Generic[T]):
    """Asks the store something about owners: about each of them once, however many want to know."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}

    def is_due(self, owner: str, asked_at: float) -> bool:
        """Whether what was learned of an owner at this time, on the monotonic clock, is no longer the present."""
        return time.monotonic() > asked_at + (FRESH_ENOUGH if owner in self._tasks else FRESH)

    async def ask(self, owner: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What comes of asking; those who ask about the owner meanwhile are told the same."""
        task = self._tasks.get(owner)
        if task is None:
            task = self._tasks[owner] = asyncio.create_task(ask())
            task.add_done_callback(lambda done: (self._tasks.pop(owner), done.cancelled() or done.exception()))
        return await asyncio.shield(task)


async def amended_since(store: Store, owner: str, since: float) -> AsyncIterator[Job]:
    """The owner's jobs to which something was done since a real time; requests are served between their pages."""
    place, more = Place(since, 0), True
    while more:
        page = await store.amended(owner, place, PAGE)
        for job in page:
            yield job
        if more := len(page) == PAGE:
            place = Place(page[-1].changed_at, page[-1].ordinal)
            await asyncio.sleep(0)
