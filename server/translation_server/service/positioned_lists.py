"""Lists of jobs by their positions: pages by offset, totals, lists that begin with the oldest job, or of some states.

Finding a position takes a search through the owner's jobs. It reads them in parts, between which other requests are
served, and keeps only those of the page. It reads only ids, unless a filter has to see the jobs. It ends with the page,
unless the answer shows how many jobs there are, or the list begins with the oldest job. Only a page far from the oldest
job, of a list that begins with it, takes a second search. Lists by cursor without a filter need no search, see
`Service.page`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from translation_server.core.change_feed import LAST, MAX_PAGE_SIZE, size_of
from translation_server.core.clock import VirtualTime
from translation_server.core.job import Job, JobSnapshot, State
from translation_server.storage import JobStore, TooLarge

READ_JOBS, READ_IDS = 200, 2000
"""How many jobs, or only ids, a search reads at once. No other request is served while they are filtered and sorted."""

Ids = list[tuple[int, str]]
"""The ordinals and ids of jobs, the newest first."""


Accepts = Callable[[JobSnapshot], bool]
"""Returns whether to include a job in a list."""

Filter = Mapping[State | None, Accepts | None]
"""The states of a list's jobs, each with a further condition; None means every state, or no further condition."""

ALL: Filter = {None: None}
"""The filter that accepts every job."""


@dataclass(frozen=True, slots=True)
class PositionedPage:
    """A page of a list of ``count`` jobs; ``start`` jobs come before it.

    If the jobs did not have to be counted, ``start`` counts from the cursor, and ``count`` is larger than the
    position of the page's end exactly if there are more jobs.
    """

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
        only: Filter = ALL,
        counted: bool = True,
    ) -> PositionedPage:
        """Returns a page from the position ``start`` on, or after the job with the ordinal ``after``.

        Raises:
            TooLarge: the jobs are too large to be read together.
        """
        now = await self._virtual_time(owner)
        search = _Search(self._store, owner, api, kind, only, now)
        if not (counted or oldest_first):
            start, before = (start, LAST) if after is None else (0, after)
            wanted, count = await search.slice(start, start + limit, before=before)
        elif oldest_first:
            start, count, wanted = await search.oldest(limit, start, after)
        else:
            start, count, wanted = await search.newest(limit, start, after)
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
    only: Filter
    now: VirtualTime

    async def newest(self, limit: int, start: int, after: int | None) -> tuple[int, int, dict[int, str]]:
        """Returns the position of a page, how many jobs there are, and the page's ids by ordinal."""
        count, newer, found = 0, 0, Ids()
        async for part in self.parts(before=LAST):
            if after is not None:
                older = bisect_right(part, -after, key=lambda one: -one[0])
                newer += older
                found += part[older : older + limit - len(found)]
            else:
                found += part[max(0, start - count) : max(0, start + limit - count)]
            count += len(part)
        return (start if after is None else newer), count, dict(found)

    async def oldest(self, limit: int, start: int, after: int | None) -> tuple[int, int, dict[int, str]]:
        """Returns the same for a list that begins with the oldest job."""
        count, newer, newest, found = 0, 0, 0, Ids()
        async for part in self.parts(before=LAST):
            newest, count = newest or part[0][0], count + len(part)
            following = part if after is None else part[: bisect_left(part, -after, key=lambda one: -one[0])]
            newer += len(following)
            found = (found + following)[-limit:]
        if after is not None:
            return count - newer, count, dict(found)
        if start:  # only now it is known where the page begins
            wanted, _ = await self.slice(count - start - limit, count - start, before=newest + 1)
            return start, count, wanted
        return start, count, dict(found)

    async def slice(self, start: int, end: int, *, before: int) -> tuple[dict[int, str], int]:
        """Returns the ids by ordinal of the jobs between two positions, counted from the newest below ``before``.

        The number beside them is larger than ``end`` exactly if there are jobs after them.
        """
        found, position = dict[int, str](), 0
        async with aclosing(self.parts(before=before, limit=max(0, end) + 1)) as parts:
            async for part in parts:
                found |= part[max(0, start - position) : max(0, end - position)]
                position += len(part)
                if position > end:
                    break
        return found, position

    async def parts(self, *, before: int, limit: int = LAST) -> AsyncGenerator[Ids]:
        """Yields the ids of the jobs below an ordinal, the newest first; other requests are served in between.

        A caller that needs no more than ``limit`` jobs saves reading more at once.
        """
        found, reading = Ids(), dict.fromkeys(self.only, before)
        while reading:  # it always continues the list of the state whose last read job is the newest
            state = max(reading, key=reading.__getitem__)
            part, last = await self._part(state, reading[state], limit)
            found += part
            if last:
                reading[state] = last
            else:
                del reading[state]
            found.sort(reverse=True)
            certain = bisect_right(found, -max(reading.values(), default=0), key=lambda one: -one[0])
            if certain:
                yield found[:certain]
            del found[:certain]

    async def _part(self, state: State | None, before: int, limit: int) -> tuple[Ids, int]:
        """Reads a part of the jobs in a state; returns the ids of those that are wanted, and the last ordinal read."""
        owner, api, kind, now = self.owner, self.api, self.kind, self.now
        if (accepts := self.only[state]) is None:
            limit = min(limit, READ_IDS)
            ids = await self.store.ids(owner, api=api, kind=kind, before=before, state=state, now=now, limit=limit)
            return ids, ids[-1][0] if ids else 0
        jobs = await self.store.page(owner, api=api, kind=kind, before=before, state=state, now=now, limit=READ_JOBS)
        found = [(job.ordinal, job.id) for job in jobs if accepts(JobSnapshot(job, self.now))]
        return found, jobs[-1].ordinal if jobs else 0
