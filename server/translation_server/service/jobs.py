"""The use cases: submit, poll, list, change and cancel jobs."""

import asyncio
import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from translation_server.core import hints
from translation_server.core.change_feed import MAX_PAGE_SIZE, is_full, size_of
from translation_server.core.clock import VirtualTime, WallTime
from translation_server.core.dialects.dialect import PLAIN, Dialect, View
from translation_server.core.fingerprint import fingerprint, former_fingerprint
from translation_server.core.job import Job, JobKey, JobSnapshot, State, Submission
from translation_server.core.lru import LRU
from translation_server.core.metrics import Metrics
from translation_server.core.report.deliveries import ReportedAttempt
from translation_server.core.sandbox import SandboxSettings
from translation_server.service.change_stream import ChangeStream
from translation_server.service.deliveries import Deliveries
from translation_server.service.faults import Faults
from translation_server.service.files import Files, Library
from translation_server.service.job_cache import RenderedJob, render_job
from translation_server.service.positioned_lists import PositionedLists
from translation_server.service.sandbox_cache import MAX_OWNERS, SandboxCache
from translation_server.service.staleness import Staleness
from translation_server.service.store_check import StoreCheck
from translation_server.service.submitter import Submitter
from translation_server.service.synchroniser import Synchroniser
from translation_server.storage import AmbiguousId, Idempotency, Store, TooLarge

logger = logging.getLogger(__name__)

MAX_LOGGED_ENDS = 100_000
"""How many ended jobs a process remembers as logged; 140 bytes each."""

HOLD_SPREAD = 0.2
"""The largest fraction by which a job's first long poll is shortened."""

LATEST_JOB = Idempotency("\0first", fingerprint({}), former_fingerprint({}))
"""The idempotency key of a job that a poll has started, so that concurrent polls start one. No caller can send it."""


class JobNotFound(Exception):  # noqa: N818 - says what happened, like the standard library's KeyError
    """The caller has no such job. Another user may have one."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a caller's jobs, newest first, and the cursor of the next page; None on the last one."""

    snapshots: list[JobSnapshot]
    next: int | None


class Service:
    """The use cases of jobs.

    Args:
        store: where the jobs are stored.
        settings: returns the settings of users who have set nothing.
        clock: wall time, in seconds since the epoch.
        entropy: returns random bytes for one fate or fault, where the sandbox has no seed.
        changeable: whether callers may change their sandboxes.
        staleness: decides which cached data is out of date; made for the store if it is missing.
        files: the output files; the server's own if they are missing.
        metrics: counts jobs and long polls.

    Attributes:
        sandboxes: The cache of sandboxes.
        submit: Accepts a job, as `Submitter.submit` does.
        faults: Draws and counts faults.
        change_stream: Streams changes of jobs.
        lists: Lists jobs by their positions.
        files: Signs the URLs of output files.
    """

    def __init__(  # noqa: PLR0913 - the options are keywords
        self,
        store: Store,
        settings: Callable[[], SandboxSettings],
        *,
        clock: Callable[[], WallTime],
        entropy: Callable[[], bytes],
        changeable: bool = True,
        staleness: Staleness | None = None,
        files: Files | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._metrics = metrics or Metrics()
        self._clock = clock
        self._started = clock()
        self.sandboxes = SandboxCache(
            store,
            settings,
            started=self._started,
            changeable=changeable,
            on_change=self._sandbox_changed,
            staleness=staleness or Staleness(store),
        )
        self._synchroniser = Synchroniser(store, self.sandboxes, clock)
        self._jobs, self._bus = self._synchroniser.jobs, self._synchroniser.bus
        self.submit = Submitter(
            store, self.sandboxes, self._synchroniser, clock=clock, entropy=entropy, metrics=self._metrics
        ).submit
        self.change_stream = ChangeStream(store, self.sandboxes, self._bus, clock, self._snapshot)
        self.lists = PositionedLists(store, self.virtual_time, self._snapshot)
        self.faults = Faults(store, self.sandboxes, self._synchroniser, clock=clock, entropy=entropy)
        self._check = StoreCheck(store)
        self.files = files or Files(store.file_key, Library())
        self._deliveries: Deliveries | None = None
        self._logged_ends = LRU[int, None](MAX_LOGGED_ENDS)

    async def attempts_of(self, owner: str) -> list[ReportedAttempt]:
        """Returns the attempts to deliver the events of an owner's newest jobs, for the report card."""
        return await self._deliveries.attempts_of(owner) if self._deliveries else []

    def deliver_by(self, deliveries: Deliveries) -> None:
        """Starts passing all changes to the deliveries of webhooks."""
        self.check_webhook, self._deliveries = deliveries.check, deliveries
        self._bus.on_job, self._bus.on_sandbox = deliveries.job_changed, deliveries.sandbox_changed

    def set_users(self, users: int) -> None:
        """Makes the caches large enough for the polls of this many users."""
        self.sandboxes.states.capacity = self._jobs.owners.capacity = max(MAX_OWNERS, users)

    async def current(self, owner: str) -> JobSnapshot:
        """Returns a snapshot of the caller's latest job; a caller without jobs gets a new one."""
        newest = await self._store.page(owner, limit=1, before=None, state=None, now=0)
        job = newest[0] if newest else (await self.submit(owner, Submission(), idempotency=LATEST_JOB)).snapshot.job
        return self._snapshot(job, await self.virtual_time(owner))

    async def snapshot(
        self, owner: str, job_id: str, *, api: str | None = None, kind: str | None = None
    ) -> JobSnapshot:
        """Returns a snapshot of one of the caller's jobs.

        Raises:
            JobNotFound: the caller has no such job.
            AmbiguousId: the caller has several such jobs.
        """
        job = await self._find(owner, job_id, api, kind)
        if is_hidden(job, api, kind):
            raise JobNotFound
        return self._snapshot(job, await self.virtual_time(owner))

    async def find_in_api(self, owner: str, job_id: str, api: str) -> Job:
        """Returns one of the caller's jobs of an API, whatever its kind.

        Raises:
            JobNotFound: the caller has no such job.
            AmbiguousId: the caller has several such jobs.
        """
        try:
            job = await self._find(owner, job_id, None, None)  # an id that means one job stays in memory
        except AmbiguousId:
            return await self._find(owner, job_id, api, None)
        if job.api != api:
            raise JobNotFound
        return job

    def cached_job(self, owner: str, job_id: str) -> Job | None:
        """Returns the caller's only job of an id, if it is in memory."""
        cached = self._synchroniser.get(owner, job_id)
        return cached and cached.job

    def render_cached(
        self, owner: str, job_id: str, dialect: Dialect, view_of: Callable[[], View] = lambda: PLAIN
    ) -> tuple[RenderedJob, JobSnapshot] | None:
        """Returns a job as rendered in a dialect, and its snapshot, from memory alone.

        Returns:
            None where the store has to be read, or the sandbox has fault rules.
        """
        sandbox, cached = self.sandboxes.get(owner), self._synchroniser.get(owner, job_id, **dialect.owned)
        if sandbox is None or cached is None or sandbox.settings.faults:
            return None
        snapshot = JobSnapshot(cached.job, sandbox.clock.virtual(self._clock()))
        view = view_of() if snapshot.state in dialect.absolute_states else PLAIN
        rendered = cached.renderings.get(dialect.name)
        if (
            rendered is None
            or rendered.sandbox is not sandbox
            or snapshot.now >= rendered.until
            or rendered.origin != view.origin
        ):
            if cached.job.deleted_at is not None:  # its own API hides it, other routes show it
                return None
            rendered = render_job(dialect, self._snapshot(cached.job, snapshot.now), sandbox, view)
            cached.renderings[dialect.name] = rendered
        return rendered, snapshot

    async def snapshots(
        self, owner: str, job_ids: Sequence[str], *, api: str | None = None, kind: str | None = None
    ) -> tuple[list[JobSnapshot], list[str]]:
        """Returns snapshots of the caller's jobs of these ids, in this order, and the ids without a job.

        Raises:
            AmbiguousId: the caller has several jobs with one of these ids.
            TooLarge: the jobs are too large to be read together.
        """
        jobs, found = await self._store.find_many(owner, job_ids, api=api, kind=kind), dict[str, Job]()
        if size_of(jobs) >= MAX_PAGE_SIZE and len(job_ids) > 1:
            raise TooLarge
        for job in jobs:
            if not is_hidden(job, api, kind) and found.setdefault(job.id, job) is not job:
                raise AmbiguousId([found[job.id], job])
        now, unique = await self.virtual_time(owner), dict.fromkeys(job_ids)
        snapshots = [self._snapshot(found[job_id], now) for job_id in unique if job_id in found]
        return snapshots, [job_id for job_id in unique if job_id not in found]

    async def page(  # noqa: PLR0913 - the options are keywords
        self,
        owner: str,
        *,
        limit: int,
        after: int | None = None,
        state: State | None = None,
        api: str | None = None,
        kind: str | None = None,
    ) -> Page:
        """Returns the caller's jobs after the cursor ``after``, newest first."""
        now = await self.virtual_time(owner)
        jobs = await self._store.page(owner, limit=limit + 1, before=after, state=state, now=now, api=api, kind=kind)
        more, jobs = is_full(jobs, limit + 1), jobs[:limit]
        return Page([self._snapshot(job, now) for job in jobs], jobs[-1].ordinal if more else None)

    async def ordinal(self, owner: str, job_id: str, *, api: str | None = None, kind: str | None = None) -> int:
        """Returns the ordinal of one of the caller's jobs. A list can continue after a deleted job, too.

        Raises:
            JobNotFound: the caller never had such a job.
            AmbiguousId: the caller has several such jobs.
        """
        return (await self._find(owner, job_id, api, kind)).ordinal

    async def cancel(self, owner: str, job_id: str, *, api: str | None = None, kind: str | None = None) -> JobSnapshot:
        """Cancels a pending job; an ended one stays as it is.

        Raises:
            JobNotFound: the caller has no such job.
            AmbiguousId: the caller has several such jobs.
        """
        return await self.amend(owner, job_id, Job.cancel, api=api, kind=kind)

    async def delete(self, owner: str, job_id: str, *, api: str | None = None, kind: str | None = None) -> JobSnapshot:
        """Hides a job from its API, and cancels it if it is pending. The native API and the sandbox still show it.

        Raises:
            JobNotFound: the caller has no such job.
            AmbiguousId: the caller has several such jobs.
        """
        return await self.amend(owner, job_id, Job.delete, api=api, kind=kind)

    async def count_poll(self, snapshot: JobSnapshot) -> JobSnapshot:
        """Counts a poll of a job that ends after polls; returns the new snapshot.

        Raises:
            JobNotFound: the job is gone because the sandbox was reset.
        """
        job = snapshot.job
        return await self._change(job.owner, job.key, Job.poll)

    async def read_input(self, job: Job) -> dict[str, object]:
        """Returns everything that a job's caller has sent."""
        text = await self._store.read_input(job.owner, job.ordinal)
        document: dict[str, object] = json.loads(text) if text else {}
        return document

    async def amend(
        self,
        owner: str,
        job_id: str,
        change: Callable[[Job, VirtualTime], Job],
        *,
        api: str | None = None,
        kind: str | None = None,
    ) -> JobSnapshot:
        """Changes a job; ``change`` is called with the job and the virtual time.

        Raises:
            JobNotFound: the caller has no such job.
            AmbiguousId: the caller has several such jobs.
        """

        def change_visible(job: Job, now: VirtualTime) -> Job:
            if is_hidden(job, api, kind):
                raise JobNotFound
            return change(job, now)

        return await self._change(owner, JobKey(job_id, api, kind), change_visible)

    async def _change(self, owner: str, key: JobKey, change: Callable[[Job, VirtualTime], Job]) -> JobSnapshot:
        clock = (await self.sandboxes.of(owner)).clock
        before = None

        def amend(job: Job) -> Job:
            nonlocal before
            before, wall = job, self._clock()
            after = change(job, clock.virtual(wall))
            later = math.nextafter(job.changed_at, math.inf)  # even where this clock is behind that of the last change
            return after if after == job else replace(after, changed_at=WallTime(max(wall, later)))

        try:
            job = await self._store.change(owner, key.job_id, amend, api=key.api, kind=key.kind)
        except BaseException:  # it may have been changed
            self._jobs.drop(owner)
            raise
        if job is None:
            raise JobNotFound
        if job != before:
            self._synchroniser.publish(job)
        return self._snapshot(job, await self.virtual_time(owner))

    async def hold(
        self, snapshot: JobSnapshot, seconds: float, until: Callable[[JobSnapshot], VirtualTime]
    ) -> JobSnapshot:
        """Waits until a pending job changes, or its time is up; returns a new snapshot.

        If only polls can change the job, it does not wait.

        Args:
            snapshot: the job's current snapshot.
            seconds: how long to wait at most, in wall time; it ends earlier if the server shuts down.
            until: returns the virtual time at which the job changes by itself.

        Raises:
            JobNotFound: the job is gone because the sandbox was reset.
        """
        loop, job = asyncio.get_running_loop(), snapshot.job
        if snapshot.elapsed < seconds:  # the first long poll: it spreads the polls of jobs submitted together
            seconds *= 1 - HOLD_SPREAD * hints.phase(job.owner, job.ordinal)
        deadline, changes_at = loop.time() + seconds, until(snapshot)
        with self._bus.subscribe(job.owner, job) as subscription, self._metrics.long_polls.one_more():
            while True:
                clock, wall = (await self.sandboxes.of(job.owner)).clock, self._clock()
                snapshot = JobSnapshot(job, clock.virtual(wall))
                left = min(deadline - loop.time(), clock.seconds_to(changes_at, wall))
                ended = snapshot.state is not State.PENDING
                if left <= 0 or ended or subscription.closed or job.counts_polls:
                    return self._snapshot(job, snapshot.now)
                changed = await subscription.wait(left)
                latest = next(iter(changed)) if changed else await self._find(job.owner, *job.key)
                if latest is not job:
                    job, changes_at = latest, until(JobSnapshot(latest, clock.virtual(wall)))

    def wall_time(self) -> WallTime:
        """Returns the wall time, in seconds since the epoch."""
        return self._clock()

    async def virtual_time(self, owner: str) -> VirtualTime:
        """Returns the time on the clock of the owner's sandbox, in seconds since the epoch."""
        return (await self.sandboxes.of(owner)).clock.virtual(self._clock())

    async def sleep(self, seconds: float) -> None:
        """Sleeps for ``seconds``; less if the server shuts down."""
        await self._bus.sleep(seconds)

    def end_waits(self) -> None:
        """Ends all long polls, event streams and sleeps, now and from now on."""
        self._bus.close()

    async def check(self) -> None:
        """Checks that a job would be accepted now; concurrent callers share one check.

        Raises:
            StoreError: it would not be accepted.
        """
        await self._check.run()

    async def _find(self, owner: str, job_id: str, api: str | None, kind: str | None) -> Job:
        job = await self._synchroniser.find(owner, job_id, api, kind)
        if job is None:
            raise JobNotFound
        return job

    def _sandbox_changed(self, owner: str, reset: bool) -> None:
        if reset:
            self._jobs.drop(owner)
        self._bus.wake(owner, reset)

    def _snapshot(self, job: Job, now: VirtualTime) -> JobSnapshot:
        """Returns a snapshot of a job; logs an end since this process started, when it is shown for the first time."""
        snapshot = JobSnapshot(job, now)
        if snapshot.state is not State.PENDING and (key := hash((job.owner, job.ordinal))) not in self._logged_ends:
            self._logged_ends[key] = None
            ended = snapshot.wall_end(self.sandboxes.known_clock(job.owner))
            if ended is not None and ended >= self._started:
                logger.info("job %s of %s ended: %s after %.3f s", job.id, job.owner, snapshot.state, snapshot.elapsed)
        return snapshot


def is_hidden(job: Job, api: str | None = None, kind: str | None = None) -> bool:
    """Whether a job was deleted, and the request is for its API."""
    return job.deleted_at is not None and (api is not None or kind is not None)
