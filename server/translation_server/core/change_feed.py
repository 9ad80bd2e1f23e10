"""How an owner's jobs change, told once each and in order: a pure function of jobs that were read and of time.

Theory of operation: that a job begins is told in the order of the ordinals, up to the last one `seen`. That it ends is
derived from its fate, so nobody has to tell of it: ends are read ahead, page by page in the order of their places, and
told when they are due. Only what is done to a job is heard of, some of it more than once. So what is remembered is
bounded, however many jobs there are: a page of new jobs, two of upcoming ends, and some ends of jobs that were amended.
"""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from translation_server.core.job import Job, JobSnapshot
from translation_server.core.lru import LRU

PAGE = 200
"""Jobs that are read, and changes that are told, at a time."""

REMEMBERED_ENDS = 50_000
"""How many ends of amended jobs are remembered to have been told."""

LAST = 2**63 - 1
"""The ordinal behind all others."""


class FeedPosition(NamedTuple):
    """Where a job stands in an order by a time of its own, and by its ordinal where times are the same."""

    at: float
    ordinal: int = LAST


def end_of(job: Job) -> FeedPosition:
    """Where a job stands in the order in which jobs end."""
    return FeedPosition(job.ends_at, job.ordinal)


class ChangeFeed:
    """Follows an owner's jobs from the moment ``since`` on; the jobs up to the ordinal ``seen`` had begun before.

    Attributes:
        seen: The last ordinal whose beginning was told, if it had to be.
        horizon: The last place up to which all ends are known.
        more: Whether there may be new jobs that were not read.
    """

    def __init__(self, since: float, seen: int) -> None:
        self.seen = seen
        self.horizon = FeedPosition(since)
        self.more = True
        self._since = since
        self._new: deque[Job] = deque()
        self._ended = self.horizon
        self._upcoming: dict[int, Job] = {}
        self._ends: list[FeedPosition] = []
        self._late: list[JobSnapshot] = []
        self._told = LRU[int, None](REMEMBERED_ENDS)

    @property
    def lacks_new(self) -> bool:
        """Whether the next jobs behind `seen` have to be read."""
        return self.more and not self._new

    @property
    def lacks_ends(self) -> bool:
        """Whether the next ends behind `horizon` have to be read."""
        return not self._upcoming and self.horizon.at < math.inf

    @property
    def due_at(self) -> float:
        """The moment of the next end, as far as it is known, or infinity."""
        while self._ends and not self._is_upcoming(self._ends[0]):
            heapq.heappop(self._ends)
        return self._ends[0].at if self._ends else math.inf

    def begin(self, page: Sequence[Job]) -> None:
        """Takes the next jobs, in the order of their ordinals: a `PAGE` of them, or all."""
        self._new += page
        self.more = len(page) == PAGE

    def expect(self, page: Sequence[Job]) -> None:
        """Takes the next jobs in the order of their ends: a `PAGE` of them, or all that have one."""
        self.horizon = end_of(page[-1]) if len(page) == PAGE else FeedPosition(math.inf)
        for job in page:
            self._expect(job)

    def amend(self, job: Job) -> None:
        """Takes a job to which something may have been done."""
        known = self._upcoming.get(job.ordinal)
        is_new = job.ordinal > self.seen or job.changed_at == job.created_at
        if not is_new and (known is None or known.changed_at < job.changed_at):
            self._upcoming.pop(job.ordinal, None)
            self._late += self._end_or_expect(job)

    def tell(self, now: float) -> list[JobSnapshot]:
        """Looks at the next changes up to now, a `PAGE` or little more of them, in the order of their moments.

        Fewer where something has to be read before.
        """
        snapshots, self._late = self._late, []
        while len(snapshots) < PAGE and not (self.lacks_new or self.lacks_ends):
            due_at = self.due_at
            if self._new and self._new[0].created_at <= due_at:
                snapshots += self._begin(self._new.popleft())
            elif due_at <= now:
                self._ended = heapq.heappop(self._ends)
                job = self._upcoming.pop(self._ended.ordinal)
                snapshots += self._end(job) if job.ordinal <= self.seen else []
            else:
                break
        return snapshots

    def _begin(self, job: Job) -> list[JobSnapshot]:
        """A job that was over as soon as it began has an end only."""
        self.seen = job.ordinal
        begun = [JobSnapshot(job, job.created_at)] if self._since < job.created_at < job.ends_at else []
        return begun + self._end_or_expect(job)

    def _end_or_expect(self, job: Job) -> list[JobSnapshot]:
        """What is to be told of an end at a place that is behind already; one before it is told when it is due."""
        if end_of(job) <= self._ended:
            return self._end(job)
        self._expect(job)
        return []

    def _end(self, job: Job) -> list[JobSnapshot]:
        if job.ends_at <= self._since or job.ordinal in self._told:
            return []
        if job.changed_at != job.created_at:  # others are not heard of again
            self._told[job.ordinal] = None
        return [JobSnapshot(job, job.ends_at)]

    def _expect(self, job: Job) -> None:
        place, known = end_of(job), self._upcoming.get(job.ordinal)
        if place.at == math.inf or place > self.horizon or (known and known.changed_at > job.changed_at):
            return
        self._upcoming[job.ordinal] = job
        heapq.heappush(self._ends, place)
        if len(self._ends) > 2 * PAGE:
            self._ends = sorted({place for place in self._ends if self._is_upcoming(place)})
        if len(self._ends) > 2 * PAGE:
            self._ends = self._ends[:PAGE]
            self.horizon = self._ends[-1]
            self._upcoming = {place.ordinal: self._upcoming[place.ordinal] for place in self._ends}

    def _is_upcoming(self, place: FeedPosition) -> bool:
        job = self._upcoming.get(place.ordinal)
        return job is not None and end_of(job) == place
