"""The use cases: what can be done with jobs, given a store, a clock and a source of randomness."""

import asyncio
import hashlib
import json
import logging
import math
import uuid
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import asdict, dataclass

from translation_server.core import hints
from translation_server.core.changes import Follower
from translation_server.core.job import Job, Look, State, Submission
from translation_server.core.sandbox import Sandbox, seeded_entropy
from translation_server.stores import Idempotency, Store
from translation_server.watch import Watch

logger = logging.getLogger(__name__)

REMEMBERED_ENDS = 10_000
"""How many ended jobs a process remembers to have logged."""


SPREAD = 0.2
"""The part of the time for which a job may be held that its first hold may be shorter."""

HEARTBEAT = 15.0
"""Seconds of silence after which whoever follows changes is told that there are none."""

Changes = AsyncGenerator[list[Look], None]

FIRST = "\0first"
"""The idempotency key of a job that a look has started, so that looks at once start one; no caller can send it."""


class JobNotFound(Exception):  # noqa: N818 - says what happened, like the standard library's KeyError
    """The caller has no such job; somebody else may."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The first look at a submitted job; ``replayed`` where the same idempotency key had submitted it before."""

    look: Look
    replayed: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a caller's jobs, newest first, and the cursor of the next page, None on the last one."""

    looks: list[Look]
    next: int | None


class Service:
    """What callers can do with their jobs.

    Args:
        store: where the jobs are kept.
        sandbox: tells how long jobs take and how they end, for those accepted from now on.
        clock: seconds since the epoch.
        entropy: random bytes for one fate, where the sandbox has no seed.
    """

    def __init__(
        self,
        store: Store,
        sandbox: Callable[[], Sandbox],
        *,
        clock: Callable[[], float],
        entropy: Callable[[], bytes],
    ) -> None:
        self._store = store
        self._sandbox = sandbox
        self._clock = clock
        self._entropy = entropy
        self._watch = Watch(store, clock)
        self._logged_ends: OrderedDict[tuple[str, int], None] = OrderedDict()

    async def submit(
        self,
        owner: str,
        submission: Submission,
        *,
        key: str | None = None,
        job_id: str | None = None,
    ) -> Accepted:
        """Accepts a job; it is on disk when this returns.

        Args:
            owner: whose job it is.
            submission: what was asked for.
            key: an idempotency key.
            job_id: the id that the caller wants; without one, the job gets a new UUID.

        Raises:
            KeyReused: the idempotency key came before, with another submission.
            IdTaken: the caller has a job of that id.
            StoreError: nothing was accepted.
        """

        def accept(ordinal: int) -> Job:
            sandbox = self._sandbox()
            seed = sandbox.seed
            entropy = self._entropy() if seed is None else seeded_entropy(seed, owner, ordinal)
            return Job(job_id or str(uuid.uuid4()), owner, ordinal, self._clock(), sandbox.fate(entropy), submission)

        idempotency = None if key is None else Idempotency(key, _fingerprint(submission, job_id))
        stored = await self._store.add(owner, accept, idempotency)
        if not stored.replayed:
            logger.info("job %s accepted for %s", stored.job.id, owner)
            self._watch.tell(stored.job)
        return Accepted(Look(stored.job, stored.job.created_at), stored.replayed)

    async def current(self, owner: str) -> Look:
        """How the caller's latest job stands now; a caller who has none gets one."""
        latest = await self._store.page(owner, limit=1, before=None, state=None, now=0)
        job = latest[0] if latest else (await self.submit(owner, Submission(), key=FIRST)).look.job
        return self._see(job, self._clock())

    async def look(self, owner: str, job_id: str) -> Look:
        """How one of the caller's jobs stands now.

        Raises:
            JobNotFound: the caller has no such job.
        """
        job = await self._store.find(owner, job_id)
        if job is None:
            raise JobNotFound
        return self._see(job, self._clock())

    async def look_many(self, owner: str, job_ids: Sequence[str]) -> tuple[list[Look], list[str]]:
        """How the caller's jobs of these ids stand, in the ids' order, and the ids that name none."""
        found = {job.id: job for job in await self._store.find_many(owner, job_ids)}
        now = self._clock()
        wanted = dict.fromkeys(job_ids)
        known = [self._see(found[job_id], now) for job_id in wanted if job_id in found]
        return known, [job_id for job_id in wanted if job_id not in found]

    async def page(self, owner: str, *, limit: int, after: int | None = None, state: State | None = None) -> Page:
        """The caller's jobs, newest first, from behind the cursor ``after``."""
        now = self._clock()
        jobs = await self._store.page(owner, limit=limit + 1, before=after, state=state, now=now)
        more, jobs = len(jobs) > limit, jobs[:limit]
        return Page([self._see(job, now) for job in jobs], jobs[-1].ordinal if more else None)

    async def cancel(self, owner: str, job_id: str) -> Look:
        """Cancels a pending job; an ended one stays as it is.

        Raises:
            JobNotFound: the caller has no such job.
        """
        job = await self._store.cancel(owner, job_id, self._clock)
        if job is None:
            raise JobNotFound
        self._watch.tell(job)
        return self._see(job, self._clock())

    async def hold(self, look: Look, seconds: float, until: Callable[[Look], float]) -> Look:
        """Waits until a pending job changes; how it stands then, or after so many seconds.

        Args:
            look: how the job stands.
            seconds: how long to wait at most; less, if the server goes down meanwhile.
            until: tells at which moment the job changes, unless it is cancelled before.
        """
        loop, job = asyncio.get_running_loop(), look.job
        if look.elapsed < seconds:  # the first time: many that were submitted together shall not come back together
            seconds *= 1 - SPREAD * hints.phase(job.owner, job.ordinal)
        give_up_at, change_at = loop.time() + seconds, until(look)
        with self._watch.listening(job.owner, job.id) as ear:
            while Look(job, now := self._clock()).state is State.PENDING and not ear.over:
                left = min(give_up_at - loop.time(), change_at - now)
                if left <= 0:
                    break
                for job in await ear.wait(left):  # noqa: B007 - the last is the newest
                    pass
        return self._see(job, self._clock())

    async def changes(self, owner: str, after: float | None = None, job_id: str | None = None) -> Changes:
        """How the caller's jobs, or one of them, change from a moment on, as it happens.

        Each item is a list of looks in the order of their moments, empty after `HEARTBEAT` seconds of silence. The
        first item is what has changed already; for one job, without a moment, it is how the job stands. Right after
        the moment some may come that had come before. The end of the one job, or of the server, ends it.
        """
        with self._watch.listening(owner, job_id) as ear:
            if job_id is None:
                since = self._clock() if after is None else after
                news = await self._store.ending(owner, since)
            else:
                look = await self.look(owner, job_id)
                since, news = look.now if after is None else after, [look.job]
                if after is None:
                    yield [look]
            follower, quiet_until = Follower(since), -math.inf
            while True:
                now = self._clock()
                looks = follower.follow(news, now)
                for look in looks:
                    self._see(look.job, look.now)
                if looks or now >= quiet_until:
                    yield looks
                    quiet_until = now + HEARTBEAT
                if ear.over or (job_id is not None and follower.idle):
                    return
                news = await ear.wait(min(quiet_until, follower.due_at) - self._clock())

    def now(self) -> float:
        """The moment, in seconds since the epoch."""
        return self._clock()

    def release(self) -> None:
        """Lets everybody go who waits, from now on."""
        self._watch.release()

    def hint(self, look: Look) -> float | None:
        """Seconds until the caller should look again; None once the job has ended, and where there are no hints."""
        return hints.hint(look, self._sandbox())

    async def check(self) -> None:
        """Returns if jobs can be looked at; raises StoreError if not."""
        await self._store.check()

    def _see(self, job: Job, now: float) -> Look:
        """A look at a job; the first one in this process that sees it ended is logged, within a bound of memory."""
        look = Look(job, now)
        key = (job.owner, job.ordinal)
        if look.state is not State.PENDING and key not in self._logged_ends:
            self._logged_ends[key] = None
            if len(self._logged_ends) > REMEMBERED_ENDS:
                self._logged_ends.popitem(last=False)
            logger.info("job %s of %s ended: %s after %.3f s", job.id, job.owner, look.state, look.elapsed)
        return look


def _fingerprint(submission: Submission, job_id: str | None) -> bytes:
    return hashlib.sha256(json.dumps([asdict(submission), job_id], sort_keys=True).encode()).digest()
