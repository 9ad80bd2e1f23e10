"""The jobs in this process's memory, for servers that live no longer than a test."""

import asyncio
import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from translation_server.core.change_feed import FeedPosition, end_of
from translation_server.core.faults.rules import ACTIONS, counted_as
from translation_server.core.job import Job, JobSnapshot, State
from translation_server.storage.protocol import Cutoff, Idempotency, IdTaken, KeyReused, Stored

WITHOUT_PAUSE = 1000
"""Jobs that are gone through without giving way to others."""


@dataclass(slots=True)
class _Owner:
    """What is kept of an owner, the jobs by their ordinals; ``ends`` and ``amended`` are the orders of `Store`."""

    jobs: dict[int, Job] = field(default_factory=dict)
    ordinals: dict[str, int] = field(default_factory=dict)
    last: int = 0
    keys: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    key_of: dict[int, str] = field(default_factory=dict)
    ends: list[FeedPosition] = field(default_factory=list)
    amended: list[FeedPosition] = field(default_factory=list)
    sandbox: str | None = None
    tallies: Counter[str] = field(default_factory=Counter)
    request_log: deque[tuple[int, str]] = field(default_factory=deque)
    requests: int = 0

    def put_in_order(self, job: Job) -> None:
        insort(self.ends, end_of(job))
        if job.changed_at != job.created_at:
            insort(self.amended, FeedPosition(job.changed_at, job.ordinal))

    def take_out_of_order(self, job: Job) -> None:
        del self.ends[bisect_left(self.ends, end_of(job))]
        if job.changed_at != job.created_at:
            del self.amended[bisect_left(self.amended, FeedPosition(job.changed_at, job.ordinal))]


class MemoryStore:
    """A Store that forgets everything when it is closed."""

    def __init__(self) -> None:
        self._owners: defaultdict[str, _Owner] = defaultdict(_Owner)
        self._emptied: list[dict[Any, Any] | list[Any] | deque[Any]] = []

    async def add(self, owner: str, accept: Callable[[int], Job], idempotency: Idempotency | None = None) -> Stored:
        """See Store."""
        of = self._owners[owner]
        if idempotency is not None and idempotency.key in of.keys:
            fingerprint, ordinal = of.keys[idempotency.key]
            if not idempotency.matches(fingerprint):
                raise KeyReused(idempotency.key)
            return Stored(of.jobs[ordinal], replayed=True)
        job = accept(of.last + 1)
        if job.id in of.ordinals:
            raise IdTaken(job.id)
        of.jobs[job.ordinal] = job
        of.ordinals[job.id] = of.last = job.ordinal
        of.put_in_order(job)
        if idempotency is not None:
            of.keys[idempotency.key] = idempotency.fingerprint, job.ordinal
            of.key_of[job.ordinal] = idempotency.key
        return Stored(job, replayed=False)

    async def find(self, owner: str, job_id: str) -> Job | None:
        """See Store."""
        found = await self.find_many(owner, [job_id])
        return found[0] if found else None

    async def find_many(self, owner: str, job_ids: Sequence[str]) -> list[Job]:
        """See Store."""
        of = self._owners[owner]
        return [of.jobs[of.ordinals[job_id]] for job_id in dict.fromkeys(job_ids) if job_id in of.ordinals]

    async def page(self, owner: str, *, limit: int, before: int | None, state: State | None, now: float) -> list[Job]:
        """See Store."""
        of, page = self._owners[owner], list[Job]()
        newest = of.last if before is None else min(before - 1, of.last)
        async for job in _each(of, range(newest, 0, -1)):
            if len(page) == limit:
                break
            if state in {None, JobSnapshot(job, now).state}:
                page.append(job)
        return page

    async def change(self, owner: str, job_id: str, change: Callable[[Job], Job]) -> Job | None:
        """See Store."""
        of = self._owners[owner]
        ordinal = of.ordinals.get(job_id)
        if ordinal is None:
            return None
        before = of.jobs[ordinal]
        job = change(before)
        of.take_out_of_order(before)
        of.put_in_order(job)
        of.jobs[ordinal] = job
        return job

    async def ending_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        """See Store."""
        of = self._owners[owner]
        start = bisect_right(of.ends, position)
        return [of.jobs[place.ordinal] for place in of.ends[start : start + limit] if place.at < math.inf]

    async def accepted_after(self, owner: str, ordinal: int, limit: int) -> list[Job]:
        """See Store."""
        of, page = self._owners[owner], list[Job]()
        async for job in _each(of, range(ordinal + 1, of.last + 1)):
            page.append(job)
            if len(page) == limit:
                break
        return page

    async def changed_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        """See Store."""
        of = self._owners[owner]
        start = bisect_right(of.amended, position)
        return [of.jobs[place.ordinal] for place in of.amended[start : start + limit]]

    async def wait_for_changes(self, seconds: float) -> None:
        """See Store."""
        await asyncio.sleep(seconds)

    async def version(self) -> int:
        """See Store."""
        return 0

    async def read_sandbox(self, owner: str) -> str | None:
        """See Store."""
        return self._owners[owner].sandbox

    async def change_sandbox(
        self, owner: str, change: Callable[[str | None], str], *, reset_counts: bool = False
    ) -> str:
        """See Store."""
        of = self._owners[owner]
        of.sandbox = sandbox = change(of.sandbox)
        if reset_counts:
            self._emptied.append(of.tallies)
            of.tallies = Counter()
        return sandbox

    async def count_faults(
        self, owner: str, subject: str, rules: Sequence[str], draw: Callable[[int, Sequence[int]], Iterable[str]]
    ) -> None:
        """See Store."""
        tallies = self._owners[owner].tallies
        tallies[subject] += 1
        tallies.update(list(draw(tallies[subject], [tallies[rule] for rule in rules])))

    async def uncount_fault(self, owner: str, subject: str) -> None:
        """See Store."""
        self._owners[owner].tallies[subject] -= 1

    async def fault_counts(self, owner: str, subjects: Sequence[str]) -> list[int]:
        """See Store."""
        return [self._owners[owner].tallies[subject] for subject in subjects]

    async def add_requests(self, entries: Sequence[tuple[str, str]], limit: int) -> None:
        """See Store."""
        for owner, entry in entries:
            of = self._owners[owner]
            of.requests += 1
            of.request_log.append((of.requests, entry))
            if len(of.request_log) > limit:
                of.request_log.popleft()

    async def read_requests(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        """See Store."""
        request_log = self._owners[owner].request_log
        skipped = max(0, after - request_log[0][0] + 1) if request_log else 0
        return list(islice(request_log, skipped, None if limit is None else skipped + limit))

    async def next_owner(self, name: str) -> str | None:
        """See Store."""
        return min((owner for owner in self._owners if owner > name), default=None)

    async def purge(self, owner: str, cutoff: Cutoff, limit: int) -> int:
        """See Store."""
        of, gone = self._owners[owner], list[Job]()
        ended = of.ends[: bisect_right(of.ends, FeedPosition(cutoff.ended_by))]
        async for job in _each(of, (place.ordinal for place in ended)):
            if len(gone) == limit:
                break
            if job.changed_at <= cutoff.changed_by:
                gone.append(job)
        for job in gone:
            if of.jobs.pop(job.ordinal, None):
                del of.ordinals[job.id]
                of.take_out_of_order(job)
            of.keys.pop(of.key_of.pop(job.ordinal, ""), None)
            for action in ACTIONS:
                of.tallies.pop(counted_as(action, job.ordinal), None)
        while of.request_log and of.request_log[0][0] <= cutoff.request:
            of.request_log.popleft()
        return len(gone)

    async def reset_sandbox(self, owner: str, sandbox: str | None = None) -> None:
        """See Store."""
        of = self._owners.pop(owner, _Owner())
        self._emptied += of.jobs, of.ordinals, of.keys, of.key_of, of.ends, of.amended, of.tallies, of.request_log
        self._owners[owner] = _Owner(sandbox=sandbox)

    async def purge_queued(self, limit: int) -> bool:
        """See Store."""
        if not self._emptied:
            return False
        emptied = self._emptied[-1]
        for _ in range(min(limit, len(emptied))):
            emptied.popitem() if isinstance(emptied, dict) else emptied.pop()
        if not emptied:
            self._emptied.pop()
        return True

    async def check(self) -> None:
        """See Store."""

    async def close(self) -> None:
        """See Store."""
        self._owners.clear()
        self._emptied.clear()


async def _each(of: _Owner, ordinals: Iterable[int]) -> AsyncIterator[Job]:
    """The jobs of these ordinals that are there, in their order; others have their turn in between."""
    for count, ordinal in enumerate(ordinals, 1):
        if job := of.jobs.get(ordinal):
            yield job
        if not count % WITHOUT_PAUSE:
            await asyncio.sleep(0)
