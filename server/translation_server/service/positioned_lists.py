"""Lists of jobs by their positions: pages by offset, totals, and lists that begin with the oldest job.

A position takes a search through all of the owner's jobs; lists by cursor, see `Service.page`, do without.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from translation_server.core.change_feed import MAX_PAGE_SIZE, size_of
from translation_server.core.clock import VirtualTime
from translation_server.core.job import Job, JobSnapshot
from translation_server.storage import JobStore, TooLarge


@dataclass(frozen=True, slots=True)
class PositionedPage:
    """Some of a list of jobs; ``start`` jobs come before them, of ``count`` jobs in all."""

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
    ) -> PositionedPage:
        """Returns a page from the position ``start`` on, or from behind the job with the ordinal ``after``.

        Raises:
            TooLarge: the jobs are too large to be read together.
        """
        ordinals = await self._store.ordinals(owner, api=api, kind=kind)
        if after is not None:
            start = bisect_right(ordinals, after) if oldest_first else len(ordinals) - bisect_left(ordinals, after)
        if not oldest_first:
            ordinals.reverse()
        wanted = ordinals[start : start + limit]
        jobs = list[Job]()
        if wanted:
            jobs = await self._store.page(
                owner, limit=len(wanted), before=max(wanted) + 1, state=None, now=0, api=api, kind=kind
            )
        if len(jobs) < len(wanted) and size_of(jobs) >= MAX_PAGE_SIZE:
            raise TooLarge
        jobs = [job for job in jobs if job.ordinal >= min(wanted)]  # of those that were deleted meanwhile, none
        now = await self._virtual_time(owner)
        snapshots = [self._snapshot(job, now) for job in (reversed(jobs) if oldest_first else jobs)]
        return PositionedPage(snapshots, start, len(ordinals))
