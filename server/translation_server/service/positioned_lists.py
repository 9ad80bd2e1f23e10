"""Lists of jobs by their positions: pages by offset, totals, lists that begin with the oldest job, or of some states.

Finding a position takes a search through all of the owner's jobs. It reads them in parts and keeps only those of the
page. Where the page's place depends on how many jobs there are, it counts them first and then reads up to there again.
Lists by cursor need no search, see `Service.page`.
"""

from bisect import bisect_right
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass

from translation_server.core.change_feed import LAST, MAX_PAGE_SIZE, size_of
from translation_server.core.clock import VirtualTime
from translation_server.core.job import Job, JobSnapshot, State
from translation_server.storage import JobStore, TooLarge

SEARCHED = 1000
"""How many jobs a search for those of some states reads at once."""

Ids = list[tuple[int, str]]
"""The ordinals and ids of jobs, the newest first."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice of jobs: by their states, and by a function that returns whether to include a job."""

    states: Collection[State]
    accepts: Callable[[JobSnapshot], bool]


@dataclass(frozen=True, slots=True)
class PositionedPage:
    """A page of a list of ``count`` jobs; ``start`` jobs come before it."""

    snapshots: list[JobSnapshot]
    start: int
    count: int


class PositionedLists:
    """Lists jobs of an API, of one kind or all of them; the arguments are parts of `Service`."""

    def __init__(
        self,
        store: JobStore,
        virtual_time: Callable[[str], Awaitable[VirtualTime]],
        snapshot: Callable[[Job, VirtualTime], JobSnapshot],
    ) -> None:
        self._store = store
        self._virtual_time = virtual_time
        self._snapshot = snapshot

    async def page(  # noqa: PLR0913 - the options are keywords
        self,
        owner: str,
        *,
        api: str,
        kind: str | None = None,
        limit: int,
        start: int = 0,
        after: int | None = None,
        oldest_first: bool = False,
        only: Filter | None = None,
    ) -> PositionedPage:
        """Returns a page from the position ``start`` on, or after the job with the ordinal ``after``.

        Raises:
            TooLarge: the jobs are too large to be read together.
        """
        now = await self._virtual_time(owner)
        search = _Search(self._store, owner, api, kind, only, now)
        newest, count, newer, wanted = 0, 0, 0, dict[int, str]()
        async for part in search.parts(before=LAST):
            newest = newest or part[0][0]
            wanted |= part[max(0, start - count) : max(0, start + limit - count)]
            count += len(part)
            if after is not None:
                newer += sum(ordinal > after - (not oldest_first) for ordinal, _ in part)
        if after is not None:
            start = count - newer if oldest_first else newer
        if oldest_first or after is not None:  # only now it is known where the page begins
            first = count - start - limit if oldest_first else start
            wanted = await search.slice(first, first + limit, before=newest + 1)
        jobs = await self._store.find_many(owner, list(wanted.values()), api=api, kind=kind)
        if size_of(jobs) >= MAX_PAGE_SIZE and not wanted.keys() <= {job.ordinal for job in jobs}:
            raise TooLarge
        jobs = [job for job in jobs if job.ordinal in wanted and job.deleted_at is None]  # some are deleted meanwhile
        jobs.sort(key=lambda job: job.ordinal, reverse=not oldest_first)
        return PositionedPage([self._snapshot(job, now) for job in jobs], start, count)


@dataclass(frozen=True, slots=True)
class _Search:
    """A search through the owner's jobs of an API and kind, all of them or those that a filter accepts."""

    store: JobStore
    owner: str
    api: str
    kind: str | None
    only: Filter | None
    now: VirtualTime

    async def slice(self, start: int, end: int, *, before: int) -> dict[int, str]:
        """Returns the ids by ordinal of the jobs between two positions, counted from the newest below ``before``."""
        found, position = dict[int, str](), 0
        async with aclosing(self.parts(before=before)) as parts:
            async for part in parts:
                found |= part[max(0, start - position) : max(0, end - position)]
                position += len(part)
                if position >= end:
                    break
        return found

    async def parts(self, *, before: int) -> AsyncGenerator[Ids]:
        """Yields the ids of the jobs below an ordinal, the newest first; other requests are served in between."""
        if self.only:
            async for part in self._filtered(self.only, before):
                yield part
            return
        while part := await self.store.ids(self.owner, api=self.api, kind=self.kind, before=before):
            yield part
            before = part[-1][0]

    async def _filtered(self, only: Filter, before: int) -> AsyncGenerator[Ids]:
        """Merges the lists of the states: it always continues the list whose last read job is the newest."""
        found, reading = Ids(), dict.fromkeys(only.states, before)
        while reading:
            state = max(reading, key=reading.__getitem__)
            jobs = await self.store.page(
                self.owner,
                limit=SEARCHED,
                before=reading[state],
                state=state,
                now=self.now,
                api=self.api,
                kind=self.kind,
            )
            found += [(job.ordinal, job.id) for job in jobs if only.accepts(JobSnapshot(job, self.now))]
            if jobs:
                reading[state] = jobs[-1].ordinal
            else:
                del reading[state]
            found.sort(reverse=True)
            certain = bisect_right(found, -max(reading.values(), default=0), key=lambda one: -one[0])
            if certain:
                yield found[:certain]
            del found[:certain]
