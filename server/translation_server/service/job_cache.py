"""The jobs at hand: what was lately read of the store or written to it, so that a look needs no trip there.

Theory of operation: nothing of an accepted job changes but by what its owner does to it, so a job that was read once
can serve every look. What this process does to one is told at once; what others do is asked of the store twice a second
at most, for owners that send requests, and by one of these requests while the others are served; where the store can
tell that nobody else has written to it, that serves all owners. Within a minute all is read anew, which tells of jobs
that were taken away.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from translation_server.core.dialects.dialect import Dialect, Form
from translation_server.core.hints import NextPoll, next_poll
from translation_server.core.job import Job, JobSnapshot, State
from translation_server.core.sandbox import SandboxState
from translation_server.service.single_flight import MARGIN, OWNERS, ForeignWrites, SingleFlight, amended_since
from translation_server.storage import Store

ANEW = 60.0
"""Seconds after which everything is read anew."""

AT_LEAST = 10_000
"""Jobs that may be at hand at a time, however few owners they are of."""

EACH = 8
"""Jobs that may be at hand for each owner at hand, on the average; 1 to 2 KiB each. Where there are more, those of the
owner who was away for longest go first, the oldest first."""


class RenderedJob(NamedTuple):
    """What a wire format tells of a job for a while: up to the moment ``until``, in this world.

    ``snapshots`` is the first look of that time.
    """

    sandbox: SandboxState
    until: float
    snapshots: tuple[JobSnapshot]
    form: Form
    advice: NextPoll | None

    def hint(self, now: float) -> float | None:
        """Seconds until the caller should look again, if there are hints."""
        return self.advice and self.advice.seconds(now, _rate(self.sandbox))


class CachedJob(NamedTuple):
    """A job, and what is told of it by the wire formats, by their names."""

    job: Job
    renderings: dict[str, RenderedJob]


@dataclass(slots=True)
class _Owner:
    """An owner's jobs at hand; ``since`` is the real time up to which all changes are known but for the margin."""

    since: float
    began_at: float
    asked_at: float
    jobs: dict[str, CachedJob] = field(default_factory=dict)


def render_job(dialect: Dialect, snapshot: JobSnapshot, sandbox: SandboxState) -> RenderedJob:
    """What the row tells of a job, from this look on."""
    advice, until = next_poll(snapshot, sandbox.settings, _rate(sandbox)), math.inf
    if snapshot.state is State.PENDING:
        until = min(
            dialect.changes_at(snapshot), advice.until if advice else math.inf, snapshot.job.cancelled_at or math.inf
        )
    return RenderedJob(sandbox, until, (snapshot,), dialect.form(snapshot), advice)


def _rate(sandbox: SandboxState) -> float:
    return sandbox.clock.now.rate or 1.0


class JobCache:
    """Everybody's jobs at hand.

    Args:
        store: where all of them are.
        clock: real seconds since the epoch.
        others: tells whether other processes have written to the store.

    Attributes:
        owners: Of how many owners there may be jobs at hand at a time.
    """

    def __init__(self, store: Store, clock: Callable[[], float], others: ForeignWrites) -> None:
        self._store = store
        self._clock = clock
        self.owners = OWNERS
        self._owners: OrderedDict[str, _Owner] = OrderedDict()
        self._foreign_writes = others
        self._asking = SingleFlight[None](others)
        self._count = 0

    def get(self, owner: str, job_id: str) -> CachedJob | None:
        """A job that needs no asking; None where something has to be asked."""
        known = self._owners.get(owner)
        return None if known is None or self._asking.is_due(owner, known.asked_at) else known.jobs.get(job_id)

    async def find(self, owner: str, job_id: str) -> Job | None:
        """One of the owner's jobs, or None, as it was half a second ago or later."""
        known = await self._owner(owner)
        if kept := known.jobs.get(job_id):
            return kept.job
        job = await self._store.find(owner, job_id)
        if job and job_id not in known.jobs:
            self._keep(known, job)
        return job

    def put(self, job: Job) -> None:
        """Takes note of a job that was accepted or changed."""
        if known := self._owners.get(job.owner):
            self._keep(known, job)

    def drop(self, owner: str) -> None:
        """Lets go of an owner's jobs."""
        if known := self._owners.pop(owner, None):
            self._count -= len(known.jobs)

    async def _owner(self, owner: str) -> _Owner:
        now = time.monotonic()
        known = self._owners.get(owner)
        if known is None or now > known.began_at + ANEW:
            self.drop(owner)
            known = self._owners[owner] = _Owner(self._clock(), now, now)
            self._make_room()
        elif self._asking.is_due(owner, known.asked_at):
            self._owners.move_to_end(owner)
            await self._foreign_writes.ask()
            if self._asking.is_due(owner, known.asked_at):
                await self._asking.ask(owner, lambda: self._ask(owner, known))
        return known

    async def _ask(self, owner: str, known: _Owner) -> None:
        asked_at, since = time.monotonic(), self._clock()
        async for job in amended_since(self._store, owner, known.since - MARGIN):
            self._keep(known, job)
        known.asked_at, known.since = asked_at, since

    def _keep(self, known: _Owner, job: Job) -> None:
        kept = known.jobs.get(job.id)
        if kept is None or (kept.job != job and kept.job.changed_at <= job.changed_at):
            known.jobs[job.id] = CachedJob(job, {})
            self._count += kept is None and self._owners.get(job.owner) is known
        self._make_room()

    def _make_room(self) -> None:
        while self._count > max(AT_LEAST, EACH * len(self._owners)) or len(self._owners) > self.owners:
            name, oldest = next(iter(self._owners.items()))
            if oldest.jobs:
                del oldest.jobs[next(iter(oldest.jobs))]
                self._count -= 1
            else:
                del self._owners[name]
