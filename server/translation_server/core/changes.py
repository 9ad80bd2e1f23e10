"""How an owner's jobs change, told once each: a pure function of the jobs heard of and of the time that goes on.

That a job ends is derived from its fate, so nobody has to tell of it; only jobs that were accepted, or to which
something has happened since, are heard of, some more than once.
"""

import heapq
import math
from collections import OrderedDict
from collections.abc import Iterable

from translation_server.core.job import Job, Look, State

REMEMBERED_ENDS = 10_000
"""How many ended jobs are remembered, so that their ends are not told again."""


class Follower:
    """Follows jobs from the moment ``since`` on."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._pending: dict[str, Job] = {}
        self._ends: list[tuple[float, str]] = []
        self._told: OrderedDict[str, None] = OrderedDict()

    @property
    def due_at(self) -> float:
        """The moment at which the next job ends, or infinity."""
        return self._ends[0][0] if self._ends else math.inf

    @property
    def idle(self) -> bool:
        """Whether no job is pending."""
        return not self._pending

    def follow(self, jobs: Iterable[Job], now: float) -> list[Look]:
        """Takes note of jobs; looks at all changes up to now that were not told yet, in their order."""
        looks = [look for job in jobs for look in self._hear(job, now)]
        while self.due_at <= now:
            job = self._pending.get(heapq.heappop(self._ends)[1])
            looks += self._hear(job, now) if job else []
        return sorted(looks, key=lambda look: look.now)

    def _hear(self, job: Job, now: float) -> list[Look]:
        look, known = Look(job, now), self._pending.get(job.id)
        if job.id in self._told:
            return []
        if look.state is State.PENDING:
            self._pending[job.id] = job
            if known is None or known.ends_at != job.ends_at:
                heapq.heappush(self._ends, (job.ends_at, job.id))
        else:
            self._pending.pop(job.id, None)
            self._told[job.id] = None
            if len(self._told) > REMEMBERED_ENDS:
                self._told.popitem(last=False)
        changes = [change for change in look.changes if change.now > self._since]
        return [change for change in changes if change.state is not State.PENDING] if known else changes
