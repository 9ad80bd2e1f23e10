"""Who waits for something to happen to jobs, and what wakes them.

Theory of operation: that a job ends is no news, since its end is known from the beginning; whoever waits for it sets a
timer. News are only that a job was accepted, that something was done to one, or that its owner's world has changed, as
when the clock was set. Here in this process they are told at once. What other processes on the same store do is told
by the store, or else asked for twice a second, for all who wait together, while somebody waits.
"""

import asyncio
import contextlib
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator

from translation_server.core.job import Job
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.single_flight import FRESH, MARGIN, amended_since
from translation_server.storage import Store, StoreChange, StoreError

logger = logging.getLogger(__name__)

MOST_NEWS = 1000
"""Jobs that are kept for somebody who does not ask for them; where there are more, the store has to be asked."""


class Subscription:
    """Hears of an owner's jobs.

    Attributes:
        closed: Whether nobody may wait any longer, since the server is going down.
        newest: The last ordinal that is known; of a later job nothing is kept but its ordinal.
    """

    def __init__(self) -> None:
        self.closed = False
        self.newest: float = math.inf
        self._news: dict[int, Job] | None = {}
        self._wakeup = asyncio.get_running_loop().create_future()

    def notify(self, job: Job | None) -> None:
        """Takes note of a job, or of nothing, and wakes whoever waits."""
        if job is not None and job.ordinal > self.newest:
            self.newest = job.ordinal
        elif job is not None and self._news is not None:
            self._news[job.ordinal] = job
            if len(self._news) > MOST_NEWS:
                self._news = None
        if not self._wakeup.done():
            self._wakeup.set_result(None)

    async def wait(self, seconds: float) -> Collection[Job] | None:
        """The jobs heard of since the last time, as they are now; without one, nothing for so many seconds.

        None where there were too many to be kept.
        """
        await asyncio.wait([self._wakeup], timeout=seconds)
        news, self._news = self._news, {}
        if self._wakeup.done():
            self._wakeup = asyncio.get_running_loop().create_future()
        return None if news is None else news.values()


class ChangeBus:
    """Tells those who wait of jobs that were accepted or changed, and of changed worlds.

    Args:
        store: where other processes' doings show.
        sandboxes: where they show as well.
        clock: real seconds since the epoch.
    """

    def __init__(self, store: Store, sandboxes: SandboxCache, clock: Callable[[], float]) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._clock = clock
        self._subscriptions: defaultdict[str, defaultdict[str | None, set[Subscription]]] = defaultdict(
            lambda: defaultdict(set)
        )
        self._begun: set[str] = set()
        self._asking: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    @contextlib.contextmanager
    def subscribe(self, owner: str, job_id: str | None = None) -> Iterator[Subscription]:
        """Within it, the ear hears of the owner's jobs, or of one of them, and of some more than once."""
        subscription = Subscription()
        subscription.closed = self._over.is_set()
        self._subscriptions[owner][job_id].add(subscription)
        self._begun.add(owner)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        try:
            yield subscription
        finally:
            self._subscriptions[owner][job_id].discard(subscription)
            if not self._subscriptions[owner][job_id]:
                del self._subscriptions[owner][job_id]
            if not self._subscriptions[owner]:
                del self._subscriptions[owner]
            if not self._subscriptions and self._asking:
                self._asking.cancel()
                self._asking = None

    def publish(self, job: Job) -> None:
        """Tells of a job that was accepted or changed."""
        if of := self._subscriptions.get(job.owner):
            for subscription in (*of.get(job.id, ()), *of.get(None, ())):
                subscription.notify(job)

    def wake(self, owner: str) -> None:
        """Wakes all who wait for something of an owner's, since their world has changed."""
        for subscriptions in self._subscriptions.get(owner, {}).values():
            for subscription in subscriptions:
                subscription.notify(None)

    async def sleep(self, seconds: float) -> None:
        """Waits for so many seconds; less, if the server goes down meanwhile."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    def close(self) -> None:
        """Lets everybody go, from now on."""
        self._over.set()
        for subscription in [
            subscription
            for of in self._subscriptions.values()
            for subscriptions in of.values()
            for subscription in subscriptions
        ]:
            subscription.closed = True
            subscription.notify(None)

    async def _ask(self) -> None:
        since, missed = self._clock() - MARGIN, True
        while True:
            news = await self._store.news(FRESH)
            owners, begun, self._begun = set(self._subscriptions), self._begun, set()
            try:
                for new in news or ():
                    if new.owner in owners:
                        await self._pass_on(new)
                for owner in owners if missed or news is None else owners & begun:
                    await self._sandboxes.refresh(owner)
                    await self._publish_newest(owner)
                    async for job in amended_since(self._store, owner, since):
                        self.publish(job)
                since, missed = self._clock() - MARGIN, False
            except Exception as error:
                logger.warning("%s", error, exc_info=not isinstance(error, StoreError))
                missed = True

    async def _pass_on(self, new: StoreChange) -> None:
        if not new.ordinals:
            await self._sandboxes.refresh(new.owner)
            return
        if len(new.ordinals) > 1:  # many that were accepted, not one that was
            await self._publish_newest(new.owner)
            return
        for job in await self._store.page(new.owner, limit=1, before=new.ordinals.stop, state=None, now=0.0):
            self.publish(job)

    async def _publish_newest(self, owner: str) -> None:
        """Tells those who follow all of an owner's jobs if there are new ones."""
        if (of := self._subscriptions.get(owner)) and (subscriptions := of.get(None)):
            for job in await self._store.page(owner, limit=1, before=None, state=None, now=0.0):
                for subscription in [
                    subscription for subscription in subscriptions if subscription.newest < job.ordinal
                ]:
                    subscription.notify(job)
