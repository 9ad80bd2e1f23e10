"""How long cached data may be served, such that a change by another process shows within a second."""

import asyncio
import math
import time
from typing import Any

from translation_server.service.single_flight import SingleFlight
from translation_server.storage import ChangeSource, StoreError

MAX_AGE = 0.5
"""How long a cached value is served without asking the store, in seconds; twice as long while it is read again."""

MAX_WAIT = 0.05
"""How long a request waits for the store's version, in seconds. A slow store must not delay all requests at once."""


class Staleness:
    """Decides which cached values are out of date.

    The store's version changes when another process writes. While it stays the same, all that was read since the last
    change is up to date: one query serves all owners. All times are on the monotonic clock.
    """

    def __init__(self, store: ChangeSource, max_age: float = MAX_AGE, max_wait: float = MAX_WAIT) -> None:
        self.max_age = max_age  # how long a cached value is served without asking the store, in seconds
        self._max_wait = max_wait  # how long a request waits for the store's version, in seconds
        self.changed_at = math.inf  # when another process wrote last, or later; infinity where the store cannot tell
        self._store = store
        self._version: object = None
        self._checked_at = self._check_began_at = -math.inf
        self._checking: asyncio.Task[None] | None = None
        self._checked = asyncio.Event()

    def is_stale(self, read_at: float, owner: str, reads: SingleFlight[Any]) -> bool:
        """Whether an owner's data from a read at this time may be out of date; ``reads`` are the reads in progress."""
        age = time.monotonic() - (read_at if read_at < self.changed_at else max(read_at, self._checked_at))
        return age > self.max_age and (age > 2 * self.max_age or owner not in reads)

    async def check(self) -> float:
        """Asks the store for its version, unless that was done just now, and returns `changed_at`.

        Returns infinity where the store has not answered in time. All callers share one timer, since ten thousand long
        polls may call this at once.
        """
        now = time.monotonic()
        if self._checking is None and now > self._check_began_at + self.max_age / 2:
            self._check_began_at, self._checked = now, asyncio.Event()
            self._checking = asyncio.create_task(self._read_version())
            asyncio.get_running_loop().call_later(self._max_wait, self._checked.set)
        if self._checking:
            await self._checked.wait()
        return math.inf if self._checking else self.changed_at

    async def _read_version(self) -> None:
        try:
            version = await self._store.version()
            if version is None or version != self._version:
                self._version, self.changed_at = version, math.inf if version is None else time.monotonic()
            self._checked_at = self._check_began_at
        except StoreError:
            self.changed_at = math.inf
        finally:
            self._checking = None
            self._checked.set()
