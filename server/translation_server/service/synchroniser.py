"""The synchroniser: reads the changes of other processes from the store, for the job cache and for the change bus.

Theory of operation: the changes of each owner of interest are read from where the last read ended. There are two
reasons to read. A poll finds that the cached jobs of its owner may be out of date: one poll reads, at most twice a
second, while the others are answered from the cache. Or somebody waits for changes: then a background task reads them
as soon as the store announces them, or else twice a second. Either way a change goes to the cache and to the bus.
While nobody polls and nobody waits, nothing is read. The changes of this process take the same way, without a read.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping

from translation_server.core.change_feed import PAGE, FeedPosition
from translation_server.core.clock import WallTime
from translation_server.core.job import Job
from translation_server.service.change_bus import ChangeBus
from translation_server.service.job_cache import LIFETIME, CachedJob, CachedOwner, JobCache, Position
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.single_flight import SingleFlight
from translation_server.storage import JobStore, StoreChange, StoreError

logger = logging.getLogger(__name__)

MARGIN = 2.0
"""Seconds before the last read from which changes are read again: servers' clocks differ, and commits take time."""


class Synchroniser:
    """Keeps the job cache up to date and publishes changes.

    Args:
        store: where other processes' changes show.
        sandboxes: the cache of sandboxes.
        clock: wall time, in seconds since the epoch.

    Attributes:
        jobs: The job cache.
        bus: The change bus.
    """

    def __init__(self, store: JobStore, sandboxes: SandboxCache, clock: Callable[[], WallTime]) -> None:
        self.jobs = JobCache()
        self.bus = ChangeBus(self.jobs, self._watch)
        self._store = store
        self._sandboxes = sandboxes
        self._freshness = sandboxes.freshness
        self._clock = clock
        self._watched: dict[str, Position] = {}
        self._reads = SingleFlight[None]()

    def get(self, owner: str, job_id: str) -> CachedJob | None:
        """Returns a cached job; None where the store has to be read."""
        cached = self.jobs.owners.get(owner)
        if cached is None or self._is_stale(owner, cached.position):
            return None
        return cached.jobs.get(job_id)

    async def find(self, owner: str, job_id: str) -> Job | None:
        """Returns one of the owner's jobs, or None; changes by other processes show within a second."""
        cached = await self._fresh(owner)
        if found := cached.jobs.get(job_id):
            return found.job
        job = await self._store.find(owner, job_id)
        return job and self.jobs.put(cached, job)

    def publish(self, job: Job) -> None:
        """Passes on a job that this process has accepted or changed."""
        self._publish(self.jobs.owners.get(job.owner), job)

    def _publish(self, cached: CachedOwner | None, job: Job) -> None:
        self.bus.publish(self.jobs.put(cached, job) if cached else job)

    def _position(self, owner: str) -> Position:
        """Returns the position of an owner; that of a new one is the present."""
        cached = self.jobs.owners.get(owner)
        return self._watched.get(owner) or (cached and cached.position) or Position(self._clock(), time.monotonic())

    async def _fresh(self, owner: str) -> CachedOwner:
        """Returns an owner's cached jobs once they are up to date."""
        now = time.monotonic()
        cached = self.jobs.owners.get(owner)
        if cached is None or now > cached.cached_at + LIFETIME:
            self.jobs.drop(owner)
            cached = self.jobs.owners[owner] = CachedOwner(self._position(owner), now)
        if self._is_stale(owner, cached.position):
            self.jobs.owners.move_to_end(owner)
            await self._freshness.check()
            if self._is_stale(owner, cached.position):
                await self._read(owner, cached.position)
        return cached

    def _is_stale(self, owner: str, position: Position) -> bool:
        return self._freshness.is_stale(position.read_at, owner, self._reads)

    async def _read(self, owner: str, position: Position) -> None:
        """Reads an owner's changes since the position, unless such a read is in progress; then waits for that one."""

        async def read() -> None:
            cached, read_at, changed_at = self.jobs.owners.get(owner), time.monotonic(), self._clock()
            await self._publish_newest(owner)
            async for job in changed_since(self._store, owner, position.changed_at - MARGIN):
                self._publish(cached, job)
            position.read_at, position.changed_at = read_at, changed_at

        await self._reads.run(owner, read)

    async def _watch(self) -> None:
        """Reads the changes of all owners that have subscriptions, until it is cancelled."""
        watched = self._watched = {}
        complete = False
        try:
            while True:
                changes = await self._store.wait_for_changes(self._freshness.max_age)
                new = {owner: self._position(owner) for owner in self.bus.owners - watched.keys()}
                for owner in watched.keys() - self.bus.owners:
                    del watched[owner]
                watched |= new
                try:
                    for change in changes or ():
                        if change.owner in watched:
                            await self._apply(change)
                    await self._catch_up(new if complete and changes is not None else watched)
                    complete = True
                except Exception as error:
                    logger.warning("%s", error, exc_info=not isinstance(error, StoreError))
                    complete = False
        finally:
            watched.clear()

    async def _apply(self, change: StoreChange) -> None:
        """Reads and passes on a change that the store has announced."""
        cached = self.jobs.owners.get(change.owner)
        if not change.ordinals:
            await self._sandboxes.refresh(change.owner)
        elif len(change.ordinals) > 1:  # only accepted jobs are announced together
            await self._publish_newest(change.owner)
        else:
            before = change.ordinals.stop
            for job in await self._store.page(change.owner, limit=1, before=before, state=None, now=0.0):
                self._publish(cached, job)

    async def _catch_up(self, positions: Mapping[str, Position]) -> None:
        """Reads the changes of owners, where other processes have written since their positions."""
        read_at = min(await self._freshness.check(), time.monotonic())
        for owner, position in positions.items():
            await self._sandboxes.refresh(owner, read_at)
            while position.read_at < read_at:  # again, where the read that was in progress had begun before
                await self._read(owner, position)

    async def _publish_newest(self, owner: str) -> None:
        """Publishes the owner's newest job to subscriptions to all of the owner's jobs that do not know it yet."""
        if followers := self.bus.followers(owner):
            for job in await self._store.page(owner, limit=1, before=None, state=None, now=0.0):
                for subscription in followers:
                    if subscription.newest < job.ordinal:
                        subscription.notify(job)


async def changed_since(store: JobStore, owner: str, wall: float) -> AsyncIterator[Job]:
    """Yields the owner's jobs that were changed since a wall time; other requests are served between the pages."""
    position, more = FeedPosition(wall, 0), True
    while more:
        page = await store.changed_after(owner, position, PAGE)
        for job in page:
            yield job
        if more := len(page) == PAGE:
            position = FeedPosition(page[-1].changed_at, page[-1].ordinal)
            await asyncio.sleep(0)
