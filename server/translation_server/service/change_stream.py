"""Change streams: every change of an owner's jobs, or of one job, as it happens.

Changes come in pages, between which other requests are served.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from translation_server.core.change_feed import ChangeFeed
from translation_server.core.clock import Clock, VirtualTime, WallTime
from translation_server.core.job import Job, JobSnapshot, State
from translation_server.service.change_bus import ChangeBus
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.synchroniser import MARGIN, changed_since
from translation_server.storage import JobStore

HEARTBEAT = 15.0  # how long a stream may be silent before it yields an empty page, in seconds
BATCH_SECONDS = 0.1  # how long `ChangeStream.jobs` collects changes, in seconds


class ChangePage(NamedTuple):
    """Snapshots of jobs at the times of their changes, in this order.

    ``more`` says that the next page follows at once; ``clock`` is the sandbox's.
    """

    snapshots: list[JobSnapshot]
    more: bool = False
    clock: Clock = Clock()


Changes = AsyncGenerator[ChangePage, None]


class ChangeStream:
    """Streams changes of jobs; ``snapshot`` makes a snapshot of a job at a virtual time."""

    def __init__(
        self,
        store: JobStore,
        sandboxes: SandboxCache,
        bus: ChangeBus,
        clock: Callable[[], WallTime],
        snapshot: Callable[[Job, VirtualTime], JobSnapshot],
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._bus = bus
        self._clock = clock
        self._snapshot = snapshot

    async def all(self, owner: str, after: VirtualTime) -> Changes:
        """Yields the changes of the caller's jobs after a virtual time.

        Past changes come first. A few changes right after that time may have been streamed before. After `HEARTBEAT`
        seconds of silence an empty page comes. The stream ends when the server shuts down, and when the sandbox is
        reset, because then the jobs are gone.
        """
        loop, silent_until, read_at = asyncio.get_running_loop(), -math.inf, self._clock()
        with self._bus.subscribe(owner) as subscription:
            reset_at = (await self._sandboxes.of(owner)).reset_at
            feed = ChangeFeed(after, await self._last_before(owner, after))
            subscription.newest = feed.last_ordinal
            while (sandbox := await self._sandboxes.of(owner)).reset_at == reset_at:
                await self._read(owner, feed)
                snapshots = feed.emit(sandbox.clock.virtual(self._clock()))
                for snapshot in snapshots:
                    self._snapshot(snapshot.job, snapshot.now)
                more = len(snapshots) >= feed.page_size or feed.needs_new or feed.needs_ends
                if snapshots or (not more and loop.time() >= silent_until):
                    yield ChangePage(snapshots, more, sandbox.clock)
                    silent_until = -math.inf if more else loop.time() + HEARTBEAT
                if subscription.closed:
                    return
                if more:
                    await asyncio.sleep(0)
                    continue
                subscription.newest = max(subscription.newest, feed.last_ordinal)
                due_in = sandbox.clock.seconds_to(feed.due_at, self._clock())
                changed = await subscription.wait(min(silent_until - loop.time(), due_in))
                feed.may_have_new = subscription.newest > feed.last_ordinal
                for job in changed or ():
                    feed.add_changed(job)
                if changed is None:
                    async for job in changed_since(self._store, owner, read_at - MARGIN):
                        feed.add_changed(job)
                        if feed.has_late_page:
                            yield ChangePage(feed.emit(sandbox.clock.virtual(self._clock())), True, sandbox.clock)
                read_at = self._clock()

    async def one(self, snapshot: JobSnapshot, after: VirtualTime | None) -> Changes:
        """Yields the changes of a job after a virtual time. Without a time, the job's current snapshot comes first.

        The stream ends when the job ends, when the server shuts down, and when the sandbox is reset.
        """
        loop, owner = asyncio.get_running_loop(), snapshot.job.owner
        with self._bus.subscribe(owner, snapshot.job) as subscription:
            reset_at, clock = (sandbox := await self._sandboxes.of(owner)).reset_at, sandbox.clock
            changes = [snapshot] if after is None else [change for change in snapshot.changes if change.now > after]
            yield ChangePage(changes, clock=clock)
            silent_until, job = loop.time() + HEARTBEAT, snapshot.job
            while snapshot.state is State.PENDING and not subscription.closed:
                due_in = (await self._sandboxes.of(owner)).clock.seconds_to(job.ends_at, self._clock())
                job = next(iter(await subscription.wait(min(silent_until - loop.time(), due_in)) or [job]))
                sandbox = await self._sandboxes.of(owner)
                if sandbox.reset_at != reset_at:
                    return
                snapshot = self._snapshot(job, sandbox.clock.virtual(self._clock()))
                if snapshot.state is not State.PENDING:
                    yield ChangePage([JobSnapshot(job, job.ends_at)], clock=sandbox.clock)
                elif loop.time() >= silent_until:
                    yield ChangePage([])
                    silent_until = loop.time() + HEARTBEAT

    async def jobs(self, owner: str, limit: int, seconds: float) -> AsyncGenerator[list[Job], None]:
        """Yields the caller's newest jobs, at most ``limit``, then those that are accepted or changed from then on.

        A list comes at least every ``seconds``, even an empty one. The ends of jobs are no changes: a job says itself
        when it ends. The stream ends when the server shuts down, and when the sandbox is reset.
        """
        with self._bus.subscribe(owner) as subscription:
            reset_at = (await self._sandboxes.of(owner)).reset_at
            jobs = await self._newest(owner, limit)
            last = subscription.newest = jobs[-1].ordinal if jobs else 0
            while (await self._sandboxes.of(owner)).reset_at == reset_at:
                yield jobs
                if subscription.closed:
                    return
                changed = await subscription.wait(seconds)
                await self._bus.sleep(BATCH_SECONDS)  # what changes meanwhile comes with it
                jobs = list(await self._newest(owner, limit) if changed is None else changed)
                if subscription.newest > last:
                    jobs += await self._store.accepted_after(owner, last, limit)
                last = max([last, *(job.ordinal for job in jobs)])

    async def _newest(self, owner: str, limit: int) -> list[Job]:
        """Returns an owner's newest jobs, in the order in which they were accepted."""
        return (await self._store.page(owner, limit=limit, before=None, state=None, now=0.0))[::-1]

    async def _read(self, owner: str, feed: ChangeFeed) -> None:
        if feed.needs_new:
            feed.add_new(await self._store.accepted_after(owner, feed.last_ordinal, feed.page_size))
        if feed.needs_ends:
            feed.add_ends(await self._store.ending_after(owner, feed.horizon, feed.page_size))

    async def _last_before(self, owner: str, virtual: VirtualTime) -> int:
        """Returns the ordinal of the owner's last job that was accepted by a virtual time, by binary search."""

        async def newest(before: int | None) -> Job | None:
            page = await self._store.page(owner, limit=1, before=before, state=None, now=0.0)
            return page[0] if page else None

        job = await newest(None)
        if job is None or job.created_at <= virtual:
            return job.ordinal if job else 0
        last, first_after = 0, job.ordinal
        while first_after - last > 1:
            middle = (last + first_after) // 2
            job = await newest(middle + 1)
            if job is None or job.created_at <= virtual:
                last = middle
            else:
                first_after = job.ordinal
        return last
