"""The cache of jobs: recently read or written ones, from which a poll is answered without reading the store.

Theory of operation: an accepted job changes only when its owner changes it, so one that was read once can answer every
poll. The synchroniser keeps the cached jobs up to date. Within a minute all of an owner's jobs are read again, because
nothing announces the jobs that retention purged.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from translation_server.core.change_feed import size_of
from translation_server.core.dialects.dialect import Dialect, PartialBody, View
from translation_server.core.hints import NextPoll, next_poll
from translation_server.core.job import Job, JobKey, JobSnapshot, State
from translation_server.core.lru import LRU
from translation_server.core.sandbox import SandboxState
from translation_server.service.sandbox_cache import MAX_OWNERS

LIFETIME = 60.0  # how long an owner's jobs may be cached before all are read again, in seconds
MIN_CAPACITY = 10_000  # how many jobs may be cached, however few owners have them

MAX_SIZE = 32 * 2**20
"""The largest sum of `Job.size` over all cached jobs, which take 1 to 2 KiB each besides. Renderings double both."""

JOBS_PER_OWNER = 8
"""How many jobs may be cached for each cached owner, on average; each takes 1 to 2 KiB. Beyond that, the oldest jobs of
the owner who was inactive for longest are evicted first."""


class RenderedJob(NamedTuple):
    """A job's body in one dialect.

    It is valid in this state of the sandbox, before the virtual time ``until``, for requests to this origin.
    ``snapshots`` holds the first snapshot that it was rendered from.
    """

    sandbox: SandboxState
    until: float
    snapshots: tuple[JobSnapshot]
    body: PartialBody
    next_poll: NextPoll | None
    origin: str

    def hint(self, now: float) -> float | None:
        """Returns the seconds until the caller should poll again, if there are hints."""
        return self.next_poll and self.next_poll.seconds(now, self.sandbox.clock.current.rate)


class CachedJob(NamedTuple):
    """A job, and its renderings by the names of the dialects."""

    job: Job
    renderings: dict[str, RenderedJob]


@dataclass(slots=True)
class Position:
    """How far an owner's changes have been read from the store."""

    changed_at: float  # the wall time up to which all changes are known, except commits in progress
    read_at: float  # when they were read, on the monotonic clock


@dataclass(slots=True)
class CachedOwner:
    """An owner's cached jobs by their keys; ``cached_at`` is on the monotonic clock.

    ``sole`` holds the keys of jobs whose ids no other job of the owner has, by these ids.
    """

    position: Position
    cached_at: float
    jobs: dict[JobKey, CachedJob] = field(default_factory=dict)
    sole: dict[str, JobKey] = field(default_factory=dict)

    def get(self, job_id: str, api: str | None = None, kind: str | None = None) -> CachedJob | None:
        """Returns the only job with an id, or the one of an API and kind, if it is cached."""
        key = self.sole.get(job_id) if api is None else JobKey(job_id, api, kind)
        return key and self.jobs.get(key)

    def add_id(self, job: Job, *, unique: bool) -> None:
        """Notes the id of a job; ``unique`` if no other job of the owner has it."""
        if unique and job.key in self.jobs:
            self.sole[job.id] = job.key
        elif self.sole.get(job.id) != job.key:
            self.sole.pop(job.id, None)

    def evict_oldest(self) -> Job:
        """Evicts the job that was cached first, and returns it."""
        key = next(iter(self.jobs))
        if self.sole.get(key.job_id) == key:
            del self.sole[key.job_id]
        return self.jobs.pop(key).job


def render_job(dialect: Dialect, snapshot: JobSnapshot, sandbox: SandboxState, view: View) -> RenderedJob:
    """Renders a job in a dialect, from this snapshot on."""
    hint, until = None, math.inf
    if dialect.sends_hints:
        hint = next_poll(snapshot, sandbox.settings, sandbox.clock.current.rate)
    if snapshot.state is State.PENDING:
        ends = dialect.changes_at(snapshot), snapshot.job.cancelled_at or math.inf
        until = min(*ends, hint.until if hint else math.inf)
    if snapshot.state is State.COMPLETED:  # the URLs of its files change from time to time
        until = min((view.file_path(snapshot, kind)[1] for kind in dialect.file_types), default=until)
    body = dialect.partial_body(snapshot, view)
    return RenderedJob(sandbox, until, (snapshot.lean,), body, hint, view.origin)


class JobCache:
    """Caches jobs of the owners who were active last, by their names."""

    def __init__(self) -> None:
        self.owners = LRU[str, CachedOwner](MAX_OWNERS, lambda _, cached: self._uncount(cached))
        self._count = self._size = 0

    def put(self, cached: CachedOwner, job: Job) -> Job:
        """Caches a job of an owner and returns it; if the cache has a later version, returns that."""
        before = cached.jobs.get(key := job.key)
        if before and (before.job == job or before.job.changed_at > job.changed_at):
            return before.job
        if job.ends_after_polls:  # no poll of it can be answered from memory
            return job
        cached.jobs[key] = CachedJob(job, {})
        if self.owners.get(job.owner) is cached:
            self._count += before is None
            self._size += job.size - (before.job.size if before else 0)
        while self._count > max(MIN_CAPACITY, JOBS_PER_OWNER * len(self.owners)) or self._size > MAX_SIZE:
            oldest = next(iter(self.owners.values()))
            if oldest.jobs:
                self._size -= oldest.evict_oldest().size
                self._count -= 1
            else:
                self.owners.popitem(last=False)
        return job

    def latest(self, job: Job) -> Job:
        """Returns the cached version of a job, which may be later; if there is none, the job itself."""
        cached = self.owners.get(job.owner)
        found = cached and cached.jobs.get(job.key)
        return found.job if found else job

    def drop(self, owner: str) -> None:
        """Drops an owner and their jobs."""
        if cached := self.owners.pop(owner, None):
            self._uncount(cached)

    def _uncount(self, cached: CachedOwner) -> None:
        self._count -= len(cached.jobs)
        self._size -= size_of(cached_job.job for cached_job in cached.jobs.values())
