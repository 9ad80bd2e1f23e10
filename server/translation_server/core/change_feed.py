"""The change feed: every change of an owner's jobs, once each and in order, as a pure function of jobs and time.

Theory of operation: the feed reads new jobs in the order of their ordinals, and ends in the order of their times. The
end of a job follows from its fate, so the feed knows it in advance and emits it when it is due. Only jobs that their
owner changed have to be passed to the feed, and may be passed more than once. So the feed holds a bounded number of
jobs, however many there are: a page of new ones, two pages of upcoming ends, and the ends of changed jobs that it has
emitted lately.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from translation_server.core.clock import VirtualTime
from translation_server.core.job import Job, JobSnapshot
from translation_server.core.lru import LRU

PAGE = 200  # how many jobs are read, and how many changes are emitted, at a time
MAX_PAGE_SIZE = 4 * 2**20  # the largest sum of `Job.size` over a page, without its last job
MAX_EMITTED_ENDS = 50_000  # how many emitted ends of changed jobs a feed remembers
LAST = 2**63 - 1  # an ordinal above all others


class FeedPosition(NamedTuple):
    """The position of a job in an order by time, and by ordinal where times are the same."""

    at: float
    ordinal: int = LAST


def end_of(job: Job) -> FeedPosition:
    """Returns the position of a job in the order of ends."""
    return FeedPosition(job.ends_at, job.ordinal)


def is_full(page: Sequence[Job], limit: int) -> bool:
    """Whether a page is as long or as large as it may be, so there may be more."""
    return len(page) >= limit or size_of(page) >= MAX_PAGE_SIZE


def size_of(jobs: Iterable[Job]) -> int:
    """Returns how large jobs are together."""
    return sum(job.size for job in jobs)


class ChangeFeed:
    """Emits the changes of an owner's jobs after ``since``; ``last_ordinal`` is the last job accepted by then."""

    def __init__(self, since: VirtualTime, last_ordinal: int, page_size: int = PAGE) -> None:
        self.page_size = page_size  # how many jobs are read, and how many changes are emitted, at a time
        self.last_ordinal = last_ordinal  # of the last job whose beginning was emitted, or lies before that time
        self.horizon = FeedPosition(since)  # the position up to which all ends were read
        self.may_have_new = True  # whether there may be new jobs that were not read
        self._since = since
        self._new: deque[Job] = deque()
        self._last_end = self.horizon
        self._upcoming: dict[int, Job] = {}
        self._ends: list[FeedPosition] = []
        self._late: list[JobSnapshot] = []
        self._emitted = LRU[int, None](MAX_EMITTED_ENDS)

    @property
    def needs_new(self) -> bool:
        """Whether the next jobs after `last_ordinal` have to be read."""
        return self.may_have_new and not self._new

    @property
    def needs_ends(self) -> bool:
        """Whether the next ends after `horizon` have to be read."""
        return not self._upcoming and self.horizon.at < math.inf

    @property
    def due_at(self) -> VirtualTime:
        """The virtual time of the next end that was read, or infinity."""
        while self._ends and not self._is_upcoming(self._ends[0]):
            heapq.heappop(self._ends)
        return VirtualTime(self._ends[0].at if self._ends else math.inf)

    def add_new(self, page: Sequence[Job]) -> None:
        """Adds the next jobs in the order of their ordinals: a full page of them, or all."""
        self._new += page
        self.may_have_new = is_full(page, self.page_size)

    def add_ends(self, page: Sequence[Job]) -> None:
        """Adds the next jobs in the order of their ends: a full page of them, or all that have an end."""
        self.horizon = end_of(page[-1]) if is_full(page, self.page_size) else FeedPosition(math.inf)
        for job in page:
            self._add_end(job)

    def add_changed(self, job: Job) -> None:
        """Adds a job that its owner may have changed."""
        known = self._upcoming.get(job.ordinal)
        is_new = job.ordinal > self.last_ordinal or not job.course_may_have_changed
        if not is_new and (known is None or known.changed_at < job.changed_at):
            self._upcoming.pop(job.ordinal, None)
            self._late += self._emit_or_add_end(job)

    @property
    def has_late_page(self) -> bool:
        """Whether changed jobs have brought a page of changes to emit."""
        return is_full([late.job for late in self._late], self.page_size)

    def emit(self, now: VirtualTime) -> list[JobSnapshot]:
        """Returns the next changes up to now, in the order of their times: a page of them, or slightly more.

        It stops earlier if new jobs or ends have to be read first.
        """
        changes, self._late = self._late, []
        while len(changes) < self.page_size and not (self.needs_new or self.needs_ends):
            due_at = self.due_at
            if self._new and self._new[0].created_at <= due_at:
                changes += self._emit_new(self._new.popleft())
            elif due_at <= now:
                self._last_end = heapq.heappop(self._ends)
                job = self._upcoming.pop(self._last_end.ordinal)
                changes += self._emit_end(job) if job.ordinal <= self.last_ordinal else []
            else:
                break
        return changes

    def _emit_new(self, job: Job) -> list[JobSnapshot]:
        """Returns the beginning of a job, and its end if that has passed. A job without a duration has only an end."""
        self.last_ordinal = job.ordinal
        began = [job.beginning] if self._since < job.created_at < job.ends_at else []
        return began + self._emit_or_add_end(job)

    def _emit_or_add_end(self, job: Job) -> list[JobSnapshot]:
        """Returns the end of a job if later ends were emitted already; otherwise adds it to the upcoming ones."""
        if end_of(job) <= self._last_end:
            return self._emit_end(job)
        self._add_end(job)
        return []

    def _emit_end(self, job: Job) -> list[JobSnapshot]:
        if job.ends_at <= self._since or job.ordinal in self._emitted:
            return []
        if job.course_may_have_changed:  # other jobs are not added again
            self._emitted[job.ordinal] = None
        return [JobSnapshot(job, job.ends_at)]

    def _add_end(self, job: Job) -> None:
        end, known = end_of(job), self._upcoming.get(job.ordinal)
        if end.at == math.inf or end > self.horizon or (known and known.changed_at > job.changed_at):
            return
        self._upcoming[job.ordinal] = job
        heapq.heappush(self._ends, end)
        if len(self._ends) > 2 * self.page_size:
            self._ends = sorted({end for end in self._ends if self._is_upcoming(end)})
        is_large = job.size and len(self._upcoming) > 1 and size_of(self._upcoming.values()) > 2 * MAX_PAGE_SIZE
        if len(self._ends) > 2 * self.page_size or is_large:
            self._keep_earliest_ends()

    def _keep_earliest_ends(self) -> None:
        """Drops all upcoming ends but a page of the earliest ones; the others are read again later."""
        ends = sorted({end for end in self._ends if self._is_upcoming(end)})
        sizes = accumulate(self._upcoming[end.ordinal].size for end in ends)
        fitting = sum(size <= MAX_PAGE_SIZE for size in sizes)
        self._ends = ends[: max(1, min(fitting, self.page_size))]
        self.horizon = self._ends[-1]
        self._upcoming = {end.ordinal: self._upcoming[end.ordinal] for end in self._ends}

    def _is_upcoming(self, end: FeedPosition) -> bool:
        job = self._upcoming.get(end.ordinal)
        return job is not None and end_of(job) == end
