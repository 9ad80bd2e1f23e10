"""How jobs change, told to whoever follows them as it happens, in pages between which requests are served."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from translation_server.core.change_feed import PAGE, ChangeFeed
from translation_server.core.clock import Clock
from translation_server.core.job import Job, JobSnapshot, State
from translation_server.service.change_bus import ChangeBus
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.synchroniser import MARGIN, changed_since
from translation_server.storage import Store

HEARTBEAT = 15.0
"""Seconds of silence after which whoever follows changes is told that there are none."""


class ChangePage(NamedTuple):
    """How jobs have changed, in the order of the moments; ``more`` where there is more to tell at once.

    ``clock`` is that of the moments.
    """

    snapshots: list[JobSnapshot]
    more: bool = False
    clock: Clock = Clock()


Changes = AsyncGenerator[ChangePage, None]


class ChangeStream:
    """Tells how jobs change.

    Args:
        store: where they are kept.
        sandboxes: tell the time of each sandbox.
        watch: tells what is done to jobs.
        clock: real seconds since the epoch.
        see: called with each job that is told of, and the moment.
    """

    def __init__(
        self,
        store: Store,
        sandboxes: SandboxCache,
        watch: ChangeBus,
        clock: Callable[[], float],
        see: Callable[[Job, float], JobSnapshot],
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._bus = watch
        self._clock = clock
        self._see = see

    async def all(self, owner: str, after: float) -> Changes:
        """How the caller's jobs change from a moment on.

        Each item tells of a page of changes, or of none after `HEARTBEAT` seconds of silence; what has changed already
        comes first. Right after the moment some may come that had come before. The end of the server ends it, and so
        does a reset of the sandbox, for then the jobs are gone.
        """
        loop, quiet_until, heard_at = asyncio.get_running_loop(), -math.inf, self._clock()
        with self._bus.subscribe(owner) as subscription:
            begun = (await self._sandboxes.of(owner)).begun
            follower = ChangeFeed(after, await self._last_before(owner, after))
            subscription.newest = follower.seen
            while (sandbox := await self._sandboxes.of(owner)).begun == begun:
                await self._read(owner, follower)
                snapshots = follower.tell(sandbox.clock.at(self._clock()))
                for snapshot in snapshots:
                    self._see(snapshot.job, snapshot.now)
                more = len(snapshots) >= PAGE or follower.lacks_new or follower.lacks_ends
                if snapshots or (not more and loop.time() >= quiet_until):
                    yield ChangePage(snapshots, more, sandbox.clock)
                    quiet_until = -math.inf if more else loop.time() + HEARTBEAT
                if subscription.closed:
                    return
                if more:
                    await asyncio.sleep(0)
                    continue
                subscription.newest = max(subscription.newest, follower.seen)
                due_in = sandbox.clock.seconds_to(follower.due_at, self._clock())
                news = await subscription.wait(min(quiet_until - loop.time(), due_in))
                follower.more = subscription.newest > follower.seen
                for job in news or ():
                    follower.amend(job)
                if news is None:
                    async for job in changed_since(self._store, owner, heard_at - MARGIN):
                        follower.amend(job)
                heard_at = self._clock()

    async def one(self, snapshot: JobSnapshot, after: float | None) -> Changes:
        """How a job that stands so changes from a moment on; without one, the first item is how it stands.

        The end of the job ends it, and what ends `all`.
        """
        loop, owner = asyncio.get_running_loop(), snapshot.job.owner
        with self._bus.subscribe(owner, snapshot.job) as subscription:
            begun, clock = (sandbox := await self._sandboxes.of(owner)).begun, sandbox.clock
            changes = [snapshot] if after is None else [change for change in snapshot.changes if change.now > after]
            yield ChangePage(changes, clock=clock)
            quiet_until, job = loop.time() + HEARTBEAT, snapshot.job
            while snapshot.state is State.PENDING and not subscription.closed:
                due_in = (await self._sandboxes.of(owner)).clock.seconds_to(job.over_at, self._clock())
                job = next(iter(await subscription.wait(min(quiet_until - loop.time(), due_in)) or [job]))
                sandbox = await self._sandboxes.of(owner)
                if sandbox.begun != begun:
                    return
                snapshot = self._see(job, sandbox.clock.at(self._clock()))
                if snapshot.state is not State.PENDING:
                    yield ChangePage([JobSnapshot(job, job.over_at)], clock=sandbox.clock)
                elif loop.time() >= quiet_until:
                    yield ChangePage([])
                    quiet_until = loop.time() + HEARTBEAT

    async def _read(self, owner: str, follower: ChangeFeed) -> None:
        if follower.lacks_new:
            follower.begin(await self._store.accepted(owner, follower.seen, PAGE))
        if follower.lacks_ends:
            follower.expect(await self._store.ending(owner, follower.horizon, PAGE))

    async def _last_before(self, owner: str, moment: float) -> int:
        """The ordinal of the owner's last job that was accepted up to a moment: sought by halves, as they came."""

        async def newest(before: int | None) -> Job | None:
            page = await self._store.page(owner, limit=1, before=before, state=None, now=0.0)
            return page[0] if page else None

        job = await newest(None)
        if job is None or job.created_at <= moment:
            return job.ordinal if job else 0
        last, first_after = 0, job.ordinal
        while first_after - last > 1:
            middle = (last + first_after) // 2
            job = await newest(middle + 1)
            if job is None or job.created_at <= moment:
                last = middle
            else:
                first_after = job.ordinal
        return last
