"""How old may be what is known of the store, so that what another process does shows within a second.

Whoever asks the store again asks for what is older than the last answer by a margin: servers' clocks differ, and what
was being committed did not show yet.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, TypeVar

from translation_server.core.change_feed import PAGE, FeedPosition
from translation_server.core.job import Job
from translation_server.storage import Store, StoreError

T = TypeVar("T")

OWNERS = 20_000
"""Owners of whom a process knows at a time what their polls need, unless there are more users: 2 KiB for each."""

FRESH = 0.5
"""Seconds for which what was read is taken for the present."""

FRESH_ENOUGH = 1.0
"""Seconds for which it is while the store is being asked anew."""

AT_ONCE = 0.05
"""Seconds for which somebody waits to hear whether others have written at all."""

MARGIN = 2.0
"""Seconds that a commit may take: the store is asked again for what is this old."""


class ForeignWrites:
    """Tells whether other processes have written to the store: while none has, what was read of it stays the present.

    So one question serves all owners, however many there are. All times are on the monotonic clock.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._version: object = None
        self._since, self._until, self._asked_at = math.inf, -math.inf, -math.inf
        self._asking: asyncio.Task[None] | None = None
        self._answered = asyncio.Event()

    def known_until(self, read_at: float) -> float:
        """Up to when what was read at this time is known to be the present."""
        return self._until if read_at >= self._since else read_at

    async def ask(self) -> None:
        """Asks the store, unless that was done just now; whoever comes while it takes long does not wait for it.

        All who wait share one timer: ten thousand long polls may come at once.
        """
        now = time.monotonic()
        if self._asking is None and now > self._asked_at + FRESH / 2:
            self._asked_at, self._answered = now, asyncio.Event()
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever asks on is told
            asyncio.get_running_loop().call_later(AT_ONCE, self._answered.set)
        if self._asking:
            await self._answered.wait()

    async def _ask(self) -> None:
        try:
            version = await self._store.version()
            if version is None or version != self._version:
                self._version, self._since = version, math.inf if version is None else time.monotonic()
            self._until = self._asked_at
        except StoreError:
            self._since = math.inf
        finally:
            self._asking = None
            self._answered.set()


class SingleFlight(Generic[T]):
    """Asks the store something about owners: about each of them once, however many want to know.

    Args:
        others: tells for how long the answers hold, where nobody else has written anything.
    """

    def __init__(self, others: ForeignWrites | None = None) -> None:
        self._foreign_writes = others
        self._tasks: dict[str, asyncio.Task[T]] = {}

    def is_due(self, owner: str, asked_at: float) -> bool:
        """Whether what was learned of an owner at this time, on the monotonic clock, is no longer the present."""
        fresh = FRESH_ENOUGH if owner in self._tasks else FRESH
        now = time.monotonic()
        return now > asked_at + fresh and (
            self._foreign_writes is None or now > self._foreign_writes.known_until(asked_at) + fresh
        )

    async def ask(self, owner: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What comes of asking; those who ask about the owner meanwhile are told the same."""
        task = self._tasks.get(owner)
        if task is None:
            task = self._tasks[owner] = asyncio.create_task(ask())
            task.add_done_callback(lambda done: (self._tasks.pop(owner), done.cancelled() or done.exception()))
        return await asyncio.shield(task)


async def amended_since(store: Store, owner: str, since: float) -> AsyncIterator[Job]:
    """The owner's jobs to which something was done since a real time; requests are served between their pages."""
    place, more = FeedPosition(since, 0), True
    while more:
        page = await store.amended(owner, place, PAGE)
        for job in page:
            yield job
        if more := len(page) == PAGE:
            place = FeedPosition(page[-1].changed_at, page[-1].ordinal)
            await asyncio.sleep(0)
