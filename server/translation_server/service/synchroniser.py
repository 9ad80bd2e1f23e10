"""The synchroniser: reads the changes of other processes from the store, for the job cache and the change bus.

Theory of operation: every read continues at the position where the last read of the same owner ended. There are two
reasons to read:

- A poll finds that the cached jobs of its owner may be out of date. It reads the changes, at most twice a second.
  Meanwhile other polls are answered from the cache.
- An owner has subscriptions. A background task reads the owner's changes when the store announces them; if the store
  announces none, twice a second.

Each change is put into the cache and published on the bus. Changes by this process are published without a read.
Without polls and subscriptions, nothing is read.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping

from translation_server.core.change_feed import PAGE, FeedPosition, is_full
from translation_server.core.clock import WallTime
from translation_server.core.job import Job
from translation_server.service.change_bus import ChangeBus
from translation_server.service.job_cache import LIFETIME, CachedJob, CachedOwner, JobCache, Position
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.single_flight import SingleFlight
from translation_server.storage import JobStore, StoreChange, StoreError

logger = logging.getLogger(__name__)
MARGIN = 2.0  # by how many seconds a read overlaps the last one, because servers' clocks differ and commits take time


class Synchroniser:
    """Keeps the job cache up to date and publishes changes."""

    def __init__(self, store: JobStore, sandboxes: SandboxCache, clock: Callable[[], WallTime]) -> None:
        self.jobs = JobCache()
        self.bus = ChangeBus(self.jobs, self._watch)
        self._store = store
        self._sandboxes = sandboxes
        self._staleness = sandboxes.staleness
        self._clock = clock
        self._watched: dict[str, Position] = {}
        self._reads = SingleFlight[None]()

    def get(self, owner: str, job_id: str, api: str | None = None, kind: str | None = None) -> CachedJob | None:
        """Returns a cached job; None if it is not cached or may be out of date."""
        cached = self.jobs.owners.get(owner)
        if cached is None or self._is_stale(owner, cached.position):
            return None
        return cached.get(job_id, api, kind)

    async def find(self, owner: str, job_id: str, api: str | None = None, kind: str | None = None) -> Job | None:
        """Returns one of the owner's jobs, or None; changes by other processes show within a second.

        Raises:
            AmbiguousId: several jobs have this id.
        """
        cached = await self._up_to_date(owner)
        if found := cached.get(job_id, api, kind):
            return found.job
        job = await self._store.find(owner, job_id, api=api, kind=kind)
        if job is None:
            return None
        found_job = self.jobs.put(cached, job)
        if api is None and kind is None:
            cached.add_id(job, unique=True)
        return found_job

    def add(self, job: Job, *, unique: bool) -> None:
        """Caches and publishes a job that this process has accepted; ``unique`` if no other job can have its id."""
        self.publish(job)
        if cached := self.jobs.owners.get(job.owner):
            cached.add_id(job, unique=unique)

    def publish(self, job: Job) -> None:
        """Caches and publishes a job that this process has changed."""
        self._publish(self.jobs.owners.get(job.owner), job)

    def _publish(self, cached: CachedOwner | None, job: Job) -> None:
        self.bus.publish(self.jobs.put(cached, job) if cached else job)

    def _position(self, owner: str) -> Position:
        """Returns an owner's position. If nothing of this owner has been read, the position is now."""
        cached = self.jobs.owners.get(owner)
        return self._watched.get(owner) or (cached and cached.position) or Position(self._clock(), time.monotonic())

    async def _up_to_date(self, owner: str) -> CachedOwner:
        """Returns an owner's cached jobs; first reads the changes if the jobs may be out of date."""
        now = time.monotonic()
        cached = self.jobs.owners.get(owner)
        if cached is None or now > cached.cached_at + LIFETIME:
            self.jobs.drop(owner)
            cached = self.jobs.owners[owner] = CachedOwner(self._position(owner), now)
        if self._is_stale(owner, cached.position):
            self.jobs.owners.move_to_end(owner)
            await self._staleness.check()
            if self._is_stale(owner, cached.position):
                await self._read(owner, cached.position)
        return cached

    def _is_stale(self, owner: str, position: Position) -> bool:
        return self._staleness.is_stale(position.read_at, owner, self._reads)

    async def _read(self, owner: str, position: Position) -> None:
        """Reads an owner's changes since the position; if such a read is in progress, waits for it instead."""

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
                changes = await self._store.wait_for_changes(self._staleness.max_age)
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
        """Reads and publishes a change that the store has announced."""
        cached = self.jobs.owners.get(change.owner)
        if not change.ordinals:
            await self._sandboxes.refresh(change.owner)
        elif len(change.ordinals) > 1:  # only new jobs are announced together
            await self._publish_newest(change.owner)
        else:
            before = change.ordinals.stop
            for job in await self._store.page(change.owner, limit=1, before=before, state=None, now=0.0):
                self._publish(cached, job)

    async def _catch_up(self, positions: Mapping[str, Position]) -> None:
        """Reads the changes that other processes have written since the owners' positions."""
        read_at = min(await self._staleness.check(), time.monotonic())
        for owner, position in positions.items():
            await self._sandboxes.refresh(owner, read_at)
            while position.read_at < read_at:  # repeats if the first call waited for a read that had begun earlier
                await self._read(owner, position)

    async def _publish_newest(self, owner: str) -> None:
        """Notifies subscriptions to all of an owner's jobs of the newest job, unless they know it already."""
        if followers := self.bus.followers(owner):
            for job in await self._store.page(owner, limit=1, before=None, state=None, now=0.0):
                for subscription in followers:
                    if subscription.newest < job.ordinal:
                        subscription.notify(job)


async def changed_since(store: JobStore, owner: str, wall: float) -> AsyncIterator[Job]:
    """Yields the owner's jobs that were changed since a wall time; lets the event loop run between pages."""
    position, more = FeedPosition(wall, 0), True
    while more:
        page = await store.changed_after(owner, position, PAGE)
        for job in page:
            yield job
        if more := is_full(page, PAGE):
            position = FeedPosition(page[-1].changed_at, page[-1].ordinal)
            await asyncio.sleep(0)
