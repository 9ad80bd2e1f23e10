"""How jobs change, told to whoever follows them as it happens, in pages between which requests are served."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from translation_server.core.change_feed import PAGE, Follower
from translation_server.core.clock import Clock
from translation_server.core.job import Job, Look, State
from translation_server.service.change_bus import Watch
from translation_server.service.sandbox_cache import Worlds
from translation_server.service.single_flight import MARGIN, amended_since
from translation_server.storage import Store

HEARTBEAT = 15.0
"""Seconds of silence after which whoever follows changes is told that there are none."""


class Told(NamedTuple):
    """How jobs have changed, in the order of the moments; ``more`` where there is more to tell at once.

    ``clock`` is that of the moments.
    """

    looks: list[Look]
    more: bool = False
    clock: Clock = Clock()


Changes = AsyncGenerator[Told, None]


class Following:
    """Tells how jobs change.

    Args:
        store: where they are kept.
        worlds: tell the time of each sandbox.
        watch: tells what is done to jobs.
        clock: real seconds since the epoch.
        see: called with each job that is told of, and the moment.
    """

    def __init__(
        self,
        store: Store,
        worlds: Worlds,
        watch: Watch,
        clock: Callable[[], float],
        see: Callable[[Job, float], Look],
    ) -> None:
        self._store = store
        self._worlds = worlds
        self._watch = watch
        self._clock = clock
        self._see = see

    async def all(self, owner: str, after: float) -> Changes:
        """How the caller's jobs change from a moment on.

        Each item tells of a page of changes, or of none after `HEARTBEAT` seconds of silence; what has changed already
        comes first. Right after the moment some may come that had come before. The end of the server ends it, and so
        does a reset of the sandbox, for then the jobs are gone.
        """
        loop, quiet_until, heard_at = asyncio.get_running_loop(), -math.inf, self._clock()
        with self._watch.listening(owner) as ear:
            begun = (await self._worlds.of(owner)).begun
            follower = Follower(after, await self._last_before(owner, after))
            ear.newest = follower.seen
            while (world := await self._worlds.of(owner)).begun == begun:
                await self._read(owner, follower)
                looks = follower.tell(world.clock.at(self._clock()))
                for look in looks:
                    self._see(look.job, look.now)
                more = len(looks) >= PAGE or follower.lacks_new or follower.lacks_ends
                if looks or (not more and loop.time() >= quiet_until):
                    yield Told(looks, more, world.clock)
                    quiet_until = -math.inf if more else loop.time() + HEARTBEAT
                if ear.over:
                    return
                if more:
                    await asyncio.sleep(0)
                    continue
                ear.newest = max(ear.newest, follower.seen)
                due_in = world.clock.seconds_to(follower.due_at, self._clock())
                news = await ear.wait(min(quiet_until - loop.time(), due_in))
                follower.more = ear.newest > follower.seen
                for job in news or ():
                    follower.amend(job)
                if news is None:
                    async for job in amended_since(self._store, owner, heard_at - MARGIN):
                        follower.amend(job)
                heard_at = self._clock()

    async def one(self, look: Look, after: float | None) -> Changes:
        """How a job that stands so changes from a moment on; without one, the first item is how it stands.

        The end of the job ends it, and what ends `all`.
        """
        loop, owner = asyncio.get_running_loop(), look.job.owner
        with self._watch.listening(owner, look.job.id) as ear:
            begun, clock = (world := await self._worlds.of(owner)).begun, world.clock
            changes = [look] if after is None else [change for change in look.changes if change.now > after]
            yield Told(changes, clock=clock)
            quiet_until, job = loop.time() + HEARTBEAT, look.job
            while look.state is State.PENDING and not ear.over:
                due_in = (await self._worlds.of(owner)).clock.seconds_to(job.over_at, self._clock())
                job = next(iter(await ear.wait(min(quiet_until - loop.time(), due_in)) or [job]))
                world = await self._worlds.of(owner)
                if world.begun != begun:
                    return
                look = self._see(job, world.clock.at(self._clock()))
                if look.state is not State.PENDING:
                    yield Told([Look(job, job.over_at)], clock=world.clock)
                elif loop.time() >= quiet_until:
                    yield Told([])
                    quiet_until = loop.time() + HEARTBEAT

    async def _read(self, owner: str, follower: Follower) -> None:
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
