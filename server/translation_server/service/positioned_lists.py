"""Lists of jobs by their positions: pages by offset, totals, lists that begin with the oldest job, or of some states.

Finding a position takes a search through all of the owner's jobs. Lists by cursor need no search, see `Service.page`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from translation_server.core.change_feed import MAX_PAGE_SIZE, size_of
from translation_server.core.clock import VirtualTime
from translation_server.core.job import Job, JobSnapshot, State
from translation_server.storage import JobStore, TooLarge

SEARCHED = 1000
"""How many jobs a search for those of some states reads at once."""


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
        ids = await self._filtered(owner, only, api=api, kind=kind) if only else {}
        ordinals = sorted(ids) if only else await self._store.ordinals(owner, api=api, kind=kind)
        if after is not None:
            start = bisect_right(ordinals, after) if oldest_first else len(ordinals) - bisect_left(ordinals, after)
        if not oldest_first:
            ordinals.reverse()
        wanted = ordinals[start : start + limit]
        jobs = list[Job]()
        if only:
            jobs = await self._store.find_many(owner, [ids[ordinal] for ordinal in wanted], api=api, kind=kind)
            jobs.sort(key=lambda job: job.ordinal, reverse=True)
        elif wanted:
            jobs = await self._store.page(
                owner, limit=len(wanted), before=max(wanted) + 1, state=None, now=0, api=api, kind=kind
            )
        if len(jobs) < len(wanted) and size_of(jobs) >= MAX_PAGE_SIZE:
            raise TooLarge
        shown = set(wanted)
        jobs = [job for job in jobs if job.ordinal in shown and job.deleted_at is None]  # some are deleted meanwhile
        now = await self._virtual_time(owner)
        snapshots = [self._snapshot(job, now) for job in (reversed(jobs) if oldest_first else jobs)]
        return PositionedPage(snapshots, start, len(ordinals))

    async def _filtered(self, owner: str, only: Filter, *, api: str, kind: str | None) -> dict[int, str]:
        """Returns the ids of some of the jobs by their ordinals."""
        now, found = await self._virtual_time(owner), dict[int, str]()
        for state in only.states:
            before: int | None = None
            while jobs := await self._store.page(
                owner, limit=SEARCHED, before=before, state=state, now=now, api=api, kind=kind
            ):
                found |= {job.ordinal: job.id for job in jobs if only.accepts(JobSnapshot(job, now))}
                before = jobs[-1].ordinal
        return found
