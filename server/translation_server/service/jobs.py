"""The use cases: what can be done with jobs, given a store, a clock and a source of randomness."""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from translation_server.core import hints
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.entropy import seeded_entropy
from translation_server.core.fingerprint import fingerprint, former_fingerprint
from translation_server.core.job import Fate, Job, JobSnapshot, State, Submission
from translation_server.core.lru import LRU
from translation_server.core.sandbox import SandboxSettings
from translation_server.service.change_stream import ChangeStream
from translation_server.service.faults import Faults
from translation_server.service.freshness import MAX_AGE
from translation_server.service.job_cache import RenderedJob, render_job
from translation_server.service.sandbox_cache import MAX_OWNERS, SandboxCache
from translation_server.service.single_flight import SingleFlight
from translation_server.service.synchroniser import Synchroniser
from translation_server.storage import Idempotency, Store

logger = logging.getLogger(__name__)

REMEMBERED_ENDS = 100_000
"""How many ended jobs a process remembers to have logged; 140 bytes each."""

BATCH = 500
"""JobCache that are asked for at a time."""

SPREAD = 0.2
"""The part of the time for which a job may be held that its first hold may be shorter."""

REST = 9.0
"""How many times as long as a check of the store took the next one waits: it is a write, and anybody may ask for it."""

LONGEST_REST = 0.25
"""Seconds."""

FIRST = Idempotency("\0first", fingerprint({}), former_fingerprint({}))
"""The idempotency key of a job that a look has started, so that looks at once start one; no caller can send it."""


class JobNotFound(Exception):  # noqa: N818 - says what happened, like the standard library's KeyError
    """The caller has no such job; somebody else may."""


@dataclass(frozen=True, slots=True)
class FateOverride:
    """A fate of the caller's own for a job; what is None is drawn."""

    delay: float | None = None
    outcome: State | None = None
    message: str | None = None
    paused: bool | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The first look at a submitted job; ``replayed`` where the same idempotency key had submitted it before."""

    snapshot: JobSnapshot
    replayed: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a caller's jobs, newest first, and the cursor of the next page, None on the last one."""

    snapshots: list[JobSnapshot]
    next: int | None


class Service:
    """What callers can do with their jobs.

    Args:
        store: where the jobs are kept.
        settings: the settings of those who have set nothing.
        clock: real seconds since the epoch.
        entropy: random bytes for one fate or fault, where the sandbox has no seed.
        changeable: whether callers may set their sandboxes.
        max_age: how long cached data is used without asking the store, in seconds.
    """

    def __init__(  # noqa: PLR0913 - the options are keywords
        self,
        store: Store,
        settings: Callable[[], SandboxSettings],
        *,
        clock: Callable[[], float],
        entropy: Callable[[], bytes],
        changeable: bool = True,
        max_age: float = MAX_AGE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self.sandboxes = SandboxCache(
            store, settings, started=clock(), changeable=changeable, on_change=self._sandbox_changed, max_age=max_age
        )
        self._synchroniser = Synchroniser(store, self.sandboxes, clock)
        self._jobs, self._bus = self._synchroniser.jobs, self._synchroniser.bus
        self.following = ChangeStream(store, self.sandboxes, self._bus, clock, self._see)
        self.faults = Faults(store, self.sandboxes, self._synchroniser, clock=clock, entropy=entropy)
        self._checking = SingleFlight[None]()
        self._check_at = 0.0
        self._logged_ends = LRU[int, None](REMEMBERED_ENDS)

    def make_room_for(self, users: int) -> None:
        """Keeps at hand what the polls of so many users need, if they are more than there is room for anyway."""
        self.sandboxes.states.capacity = self._jobs.owners.capacity = max(MAX_OWNERS, users)

    async def submit(
        self,
        owner: str,
        submission: Submission,
        *,
        idempotency: Idempotency | None = None,
        job_id: str | None = None,
        fate_override: FateOverride | None = None,
    ) -> Accepted:
        """Accepts a job; it is on disk when this returns.

        Args:
            owner: whose job it is.
            submission: what was asked for.
            idempotency: an idempotency key, and what tells the submission from others.
            job_id: the id that the caller wants; without one, the job gets a new UUID.
            fate_override: the fate that the caller wants.

        Raises:
            KeyReused: the idempotency key came before, with another submission.
            IdTaken: the caller has a job of that id.
            StoreError: nothing was accepted.
        """
        sandbox = await self.sandboxes.of(owner)
        settings, fate_override = sandbox.settings, fate_override or FateOverride()

        def accept(ordinal: int) -> Job:
            real = self._clock()
            entropy = self._entropy() if settings.seed is None else seeded_entropy(settings.seed, owner, ordinal)
            drawn = settings.fate(entropy, submission.video_length)
            delay = drawn.delay if fate_override.delay is None else fate_override.delay
            job = Job(
                job_id or str(uuid.uuid4()),
                owner,
                ordinal,
                sandbox.clock.at(real),
                Fate(delay, fate_override.outcome or drawn.outcome, fate_override.message),
                submission,
                changed_at=real,
            )
            paused = settings.paused if fate_override.paused is None else fate_override.paused
            return replace(job, paused_at=job.created_at) if paused else job

        stored = await self._store.add(owner, accept, idempotency)
        if not stored.replayed:
            logger.info("job %s accepted for %s", stored.job.id, owner)
            self._synchroniser.publish(stored.job)
        return Accepted(JobSnapshot(stored.job, stored.job.created_at), stored.replayed)

    async def current(self, owner: str) -> JobSnapshot:
        """How the caller's latest job stands now; a caller who has none gets one."""
        latest = await self._store.page(owner, limit=1, before=None, state=None, now=0)
        job = latest[0] if latest else (await self.submit(owner, Submission(), idempotency=FIRST)).snapshot.job
        return self._see(job, await self.now(owner))

    async def snapshot(self, owner: str, job_id: str) -> JobSnapshot:
        """How one of the caller's jobs stands now.

        Raises:
            JobNotFound: the caller has no such job.
        """
        job = await self._synchroniser.find(owner, job_id)
        if job is None:
            raise JobNotFound
        return self._see(job, await self.now(owner))

    def told(self, owner: str, job_id: str, dialect: Dialect) -> tuple[RenderedJob, JobSnapshot] | None:
        """What the row tells of a job, and how it stands; None where something has to be read, or may go wrong."""
        sandbox, kept = self.sandboxes.get(owner), self._synchroniser.get(owner, job_id)
        if sandbox is None or kept is None or sandbox.settings.faults:
            return None
        snapshot, rendering = JobSnapshot(kept.job, sandbox.clock.at(self._clock())), kept.renderings.get(dialect.name)
        if rendering is None or rendering.sandbox is not sandbox or snapshot.now >= rendering.until:
            rendering = kept.renderings[dialect.name] = render_job(dialect, self._see(kept.job, snapshot.now), sandbox)
        return rendering, snapshot

    async def snapshots(self, owner: str, job_ids: Sequence[str]) -> tuple[list[JobSnapshot], list[str]]:
        """How the caller's jobs of these ids stand, in the ids' order, and the ids that name none."""
        found = {job.id: job for job in await self._store.find_many(owner, job_ids)}
        now = await self.now(owner)
        wanted = dict.fromkeys(job_ids)
        known = [self._see(found[job_id], now) for job_id in wanted if job_id in found]
        return known, [job_id for job_id in wanted if job_id not in found]

    async def page(self, owner: str, *, limit: int, after: int | None = None, state: State | None = None) -> Page:
        """The caller's jobs, newest first, from behind the cursor ``after``."""
        now = await self.now(owner)
        jobs = await self._store.page(owner, limit=limit + 1, before=after, state=state, now=now)
        more, jobs = len(jobs) > limit, jobs[:limit]
        return Page([self._see(job, now) for job in jobs], jobs[-1].ordinal if more else None)

    async def cancel(self, owner: str, job_id: str) -> JobSnapshot:
        """Cancels a pending job; an ended one stays as it is.

        Raises:
            JobNotFound: the caller has no such job.
        """
        return await self.amend(owner, job_id, Job.cancelled)

    async def amend(self, owner: str, job_id: str, change: Callable[[Job, float], Job]) -> JobSnapshot:
        """Does something to a job; ``change`` is given the moment.

        Raises:
            JobNotFound: the caller has no such job.
        """
        clock = (await self.sandboxes.of(owner)).clock

        before = None

        def amended(job: Job) -> Job:
            nonlocal before
            before, real = job, self._clock()
            after = change(job, clock.at(real))
            later = math.nextafter(job.changed_at, math.inf)  # even if this clock is behind that of the last change
            return after if after == job else replace(after, changed_at=max(real, later))

        try:
            job = await self._store.amend(owner, job_id, amended)
        except BaseException:  # it may have been amended
            self._jobs.drop(owner)
            raise
        if job is None:
            raise JobNotFound
        if job != before:
            self._synchroniser.publish(job)
        return self._see(job, await self.now(owner))

    async def hold(self, snapshot: JobSnapshot, seconds: float, until: Callable[[JobSnapshot], float]) -> JobSnapshot:
        """Waits until a pending job changes; how it stands then, or after so many seconds.

        Args:
            snapshot: how the job stands.
            seconds: how long to wait at most, in real time; less, if the server goes down meanwhile.
            until: tells at which moment the job changes, unless something is done to it before.

        Raises:
            JobNotFound: the job is gone, since the sandbox was emptied.
        """
        loop, job = asyncio.get_running_loop(), snapshot.job
        if snapshot.elapsed < seconds:  # the first time: many that were submitted together shall not come back together
            seconds *= 1 - SPREAD * hints.phase(job.owner, job.ordinal)
        give_up_at, change_at = loop.time() + seconds, until(snapshot)
        with self._bus.subscribe(job.owner, job) as subscription:
            while not subscription.closed:
                clock, real = (await self.sandboxes.of(job.owner)).clock, self._clock()
                left = min(give_up_at - loop.time(), clock.seconds_to(change_at, real))
                if left <= 0 or JobSnapshot(job, clock.at(real)).state is not State.PENDING:
                    break
                news = await subscription.wait(left)
                job = next(iter(news)) if news else (await self.snapshot(job.owner, job.id)).job
                change_at = until(JobSnapshot(job, clock.at(real)))
        return self._see(job, await self.now(job.owner))

    async def ends(self, owner: str, job_ids: Sequence[str]) -> dict[str, float]:
        """The real times at which those of the owner's jobs ended that did by themselves."""
        clock = (await self.sandboxes.of(owner)).clock
        ends: dict[str, float] = {}
        for start in range(0, len(job_ids), BATCH):
            await asyncio.sleep(0)
            snapshots, _ = await self.snapshots(owner, job_ids[start : start + BATCH])
            ends |= {
                snapshot.job.id: clock.real(snapshot.job.ends_at)
                for snapshot in snapshots
                if snapshot.state in {State.COMPLETED, State.ERROR}
            }
        return ends

    def real(self) -> float:
        """The real time, in seconds since the epoch."""
        return self._clock()

    async def now(self, owner: str) -> float:
        """The moment that the owner's clock shows, in seconds since the epoch."""
        return (await self.sandboxes.of(owner)).clock.at(self._clock())

    async def rest(self, seconds: float) -> None:
        """Waits for so many seconds; less, if the server goes down meanwhile."""
        await self._bus.sleep(seconds)

    def release(self) -> None:
        """Lets everybody go who waits, from now on."""
        self._bus.close()

    async def hint(self, snapshot: JobSnapshot) -> float | None:
        """Seconds until the caller should look again; None once the job has ended, and where there are no hints."""
        sandbox = await self.sandboxes.of(snapshot.job.owner)
        return hints.hint(snapshot, sandbox.settings, sandbox.clock.now.rate or 1.0)

    def _sandbox_changed(self, owner: str, emptied: bool) -> None:
        """The owner's world has changed."""
        if emptied:
            self._jobs.drop(owner)
        self._bus.wake(owner)

    async def check(self) -> None:
        """Returns if a job would be accepted now; whoever asks meanwhile is told the same.

        Raises:
            StoreError: it would not.
        """
        await self._checking.run(None, self._check)

    async def _check(self) -> None:
        await asyncio.sleep(self._check_at - time.monotonic())
        began = time.monotonic()
        await self._store.check()
        self._check_at = (ended := time.monotonic()) + min(REST * (ended - began), LONGEST_REST)

    def _see(self, job: Job, now: float) -> JobSnapshot:
        """A look at a job; the first one in this process that sees it ended is logged, within a bound of memory."""
        snapshot = JobSnapshot(job, now)
        if snapshot.state is State.PENDING:
            return snapshot
        key = hash((job.owner, job.ordinal))
        if key not in self._logged_ends:
            logger.info("job %s of %s ended: %s after %.3f s", job.id, job.owner, snapshot.state, snapshot.elapsed)
            self._logged_ends[key] = None
        return snapshot
