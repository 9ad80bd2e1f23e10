"""The change bus: publishes changes of jobs and sandboxes to long polls and event streams.

Theory of operation: a job is published when it is accepted, and when its owner changes it. Its end is not published: it
is known from the beginning, so a long poll sets a timer for it. A change of a sandbox, for instance of its clock, wakes
all subscriptions of its owner.
"""

import asyncio
import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterator
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any

from translation_server.core.change_feed import MAX_PAGE_SIZE
from translation_server.core.job import Job, JobKey
from translation_server.service.job_cache import JobCache

WOKEN_AT_ONCE = 100
"""How many subscriptions of an owner are woken before other requests are served."""

MAX_PENDING = 1000
"""How many changed jobs a subscription keeps until it is read. If there are more, the reader has to ask the store."""


class Subscription:
    """Receives the changes of an owner's jobs, some of them more than once."""

    def __init__(self) -> None:
        self.closed = False  # whether the server is shutting down: then no one waits any longer
        self.newest: float = math.inf  # the last known ordinal; of later jobs, only the ordinal is kept
        self._changed: dict[int, Job] | None = {}
        self._size = 0
        self._wakeup = asyncio.get_running_loop().create_future()

    def notify(self, job: Job | None) -> None:
        """Keeps a changed job, if one is given, and wakes the reader."""
        if job is not None and job.ordinal > self.newest:
            self.newest = job.ordinal
        elif job is not None and self._changed is not None:
            before = self._changed.pop(job.ordinal, None)
            self._size += job.size - (before.size if before else 0)
            self._changed[job.ordinal] = job
            if len(self._changed) > MAX_PENDING or (len(self._changed) > 1 and self._size > MAX_PAGE_SIZE):
                self._changed = None
        self._wake()

    def _wake(self) -> None:
        if not self._wakeup.done():
            self._wakeup.set_result(None)

    async def wait(self, seconds: float) -> Collection[Job] | None:
        """Waits for a change, for at most ``seconds``.

        Returns the jobs that have changed since the last call; None where there were too many to keep.
        """
        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, self._wake)
        try:
            await self._wakeup
        finally:
            timer.cancel()
        changed, self._changed, self._size = self._changed, {}, 0
        self._wakeup = loop.create_future()
        return None if changed is None else changed.values()


class ChangeBus:
    """Passes changes on to subscriptions.

    ``watch`` reads the changes of other processes until it is cancelled; it runs while there are subscriptions.
    """

    def __init__(self, jobs: JobCache, watch: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._jobs = jobs
        self._watch = watch
        self._watching: asyncio.Task[None] | None = None
        self._subscriptions: defaultdict[str, defaultdict[JobKey | None, set[Subscription]]] = defaultdict(
            lambda: defaultdict(set)
        )
        self._closed = asyncio.Event()
        self.on_job: Callable[[Job], None] = lambda _: None  # called with each job that is published
        # Called with the owner of each sandbox that changes, and whether it was reset.
        self.on_sandbox: Callable[[str, bool], None] = lambda _, __: None

    @property
    def owners(self) -> AbstractSet[str]:
        """The owners that have subscriptions."""
        return self._subscriptions.keys()

    @contextlib.contextmanager
    def subscribe(self, owner: str, job: Job | None = None) -> Iterator[Subscription]:
        """Subscribes to the changes of an owner's jobs, or of one job since this version of it."""
        key = job.key if job else None
        subscription = Subscription()
        subscription.closed = self._closed.is_set()
        self._subscriptions[owner][key].add(subscription)
        if job and (latest := self._jobs.latest(job)) != job:
            subscription.notify(latest)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        try:
            yield subscription
        finally:
            self._subscriptions[owner][key].discard(subscription)
            if not self._subscriptions[owner][key]:
                del self._subscriptions[owner][key]
            if not self._subscriptions[owner]:
                del self._subscriptions[owner]
            if not self._subscriptions and self._watching:
                self._watching.cancel()
                self._watching = None

    def publish(self, job: Job) -> None:
        """Publishes a job that was accepted or changed."""
        self.on_job(job)
        if subscriptions := self._subscriptions.get(job.owner):
            for subscription in (*subscriptions.get(job.key, ()), *subscriptions.get(None, ())):
                subscription.notify(job)

    def wake(self, owner: str, reset: bool = False) -> None:
        """Wakes all subscriptions of an owner whose sandbox has changed, batch by batch; ``reset`` if it was reset."""
        self.on_sandbox(owner, reset)
        if owner in self._subscriptions:
            self._wake_next(iter(list(self._of(owner))))

    def _wake_next(self, waiting: Iterator[Subscription]) -> None:
        batch = list(islice(waiting, WOKEN_AT_ONCE))
        for subscription in batch:
            subscription.notify(None)
        if batch:
            asyncio.get_running_loop().call_soon(self._wake_next, waiting)

    def followers(self, owner: str) -> Collection[Subscription]:
        """Returns the subscriptions to all of an owner's jobs."""
        subscriptions = self._subscriptions.get(owner)
        return tuple(subscriptions.get(None, ())) if subscriptions else ()

    async def sleep(self, seconds: float) -> None:
        """Sleeps for ``seconds``; less if the server shuts down."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

    def close(self) -> None:
        """Ends all waiting, now and from now on."""
        self._closed.set()
        for owner in self._subscriptions:
            for subscription in self._of(owner):
                subscription.closed = True
                subscription.notify(None)

    def _of(self, owner: str) -> Iterator[Subscription]:
        for subscriptions in self._subscriptions.get(owner, {}).values():
            yield from subscriptions
