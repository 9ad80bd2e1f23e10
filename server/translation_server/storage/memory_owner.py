"""What `MemoryStore` has of one owner."""

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from translation_server.core.change_feed import MAX_PAGE_SIZE, FeedPosition, end_of
from translation_server.core.faults.rules import ACTIONS, counted_as
from translation_server.core.job import Job, JobKey
from translation_server.core.webhook_events import END, STARTED, next_event_at
from translation_server.core.webhooks import Delivery
from translation_server.storage.protocol import ShownEnd

MAX_UNINTERRUPTED = 1000  # how many jobs are read before other requests are served


@dataclass(slots=True)
class Owner:
    """The data of one owner; ``ends`` and ``changes`` are sorted, for the orders of `JobStore`."""

    jobs: dict[int, Job] = field(default_factory=dict)
    ordinals: dict[str, list[int]] = field(default_factory=dict)  # by the ids of the jobs
    last: int = 0
    keys: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    keys_by_ordinal: dict[int, str] = field(default_factory=dict)
    inputs: dict[int, str] = field(default_factory=dict)
    ends: list[FeedPosition] = field(default_factory=list)
    changes: list[FeedPosition] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)  # the URLs that have answered 410
    shown_ends: set[int] = field(default_factory=set)  # the ordinals of jobs whose ends an answer has shown
    to_notify: set[int] = field(default_factory=set)  # the ordinals of jobs whose next event has a time
    sandbox: str | None = None
    fault_counts: Counter[str] = field(default_factory=Counter)
    deliveries: dict[tuple[int, int], Delivery] = field(default_factory=dict)  # by ordinal and stage
    requests: deque[tuple[int, str]] = field(default_factory=deque)
    last_request: int = 0

    def add_positions(self, job: Job) -> None:
        """Adds a job to the orders by end and by change."""
        insort(self.ends, end_of(job))
        if job.may_have_changed:
            insort(self.changes, FeedPosition(job.changed_at, job.ordinal))

    def remove_positions(self, job: Job) -> None:
        """Removes a job from these orders."""
        del self.ends[bisect_left(self.ends, end_of(job))]
        if job.may_have_changed:
            del self.changes[bisect_left(self.changes, FeedPosition(job.changed_at, job.ordinal))]

    def delete(self, job: Job) -> None:
        """Deletes a job with everything that belongs to it."""
        self.to_notify.discard(job.ordinal)
        if self.jobs.pop(job.ordinal, None):
            self.ordinals[job.id].remove(job.ordinal)
            if not self.ordinals[job.id]:
                del self.ordinals[job.id]
            self.remove_positions(job)
        self.keys.pop(self.keys_by_ordinal.pop(job.ordinal, ""), None)
        self.inputs.pop(job.ordinal, None)
        self.shown_ends.discard(job.ordinal)
        for stage in range(STARTED, END + 1):
            self.deliveries.pop((job.ordinal, stage), None)
        for action in ACTIONS:
            self.fault_counts.pop(counted_as(action, job.ordinal), None)

    def put(self, job: Job) -> None:
        """Stores a job, or another version of it."""
        self.jobs[job.ordinal] = job
        if next_event_at(job) is None:
            self.to_notify.discard(job.ordinal)
        else:
            self.to_notify.add(job.ordinal)

    def has_to_deliver(self, job: Job) -> bool:
        """Whether an event of a job has to be delivered, now or later."""
        made = (self.deliveries.get((job.ordinal, stage)) for stage in range(STARTED, END + 1))
        return job.ordinal in self.to_notify or any(one and one.next_at is not None for one in made)

    def find(self, job_key: JobKey) -> list[Job]:
        """Returns the jobs of a key."""
        jobs = [self.jobs[ordinal] for ordinal in self.ordinals.get(job_key.job_id, ())]
        return [job for job in jobs if job_key.means(job)]

    def show_end(self, end: ShownEnd) -> bool:
        """Notes that an answer has shown an end; returns whether it is the first, and the job is there."""
        job = self.jobs.get(end.ordinal)
        if job is None or job.id != end.job_id or end.ordinal in self.shown_ends:
            return False
        self.shown_ends.add(end.ordinal)
        return True

    def count_pending(self, now: float) -> int:
        """Returns how many jobs are pending."""
        return len(self.ends) - bisect_right(self.ends, FeedPosition(now))

    def has_own_clock(self, unset_clock: str) -> bool:
        """Whether the sandbox's clock was set; see `MetricsStore`."""
        return self.sandbox is not None and unset_clock not in self.sandbox

    def below(self, before: int | None) -> Iterable[int]:
        """Returns the ordinals below one, the highest first."""
        return range(self.last if before is None else min(before - 1, self.last), 0, -1)

    async def first(
        self,
        ordinals: Iterable[int],
        limit: int,
        is_wanted: Callable[[Job], bool] = lambda _: True,
        max_size: float = MAX_PAGE_SIZE,
    ) -> list[Job]:
        """Returns the first jobs with these ordinals that are wanted; other requests are served in between."""
        found, size = list[Job](), 0
        for count, ordinal in enumerate(ordinals, 1):
            if len(found) == limit or size >= max_size:
                break
            if (job := self.jobs.get(ordinal)) and is_wanted(job):
                found.append(job)
                size += job.size
            if not count % MAX_UNINTERRUPTED:
                await asyncio.sleep(0)
        return found
