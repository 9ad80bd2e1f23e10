"""Reads pages of an owner's jobs and request records, in the same way from every SQL database.

Theory of operation: if only few jobs are in a state, or belong to an API, a page of them is found by a search through
all jobs. The search reads one window of ordinals at a time, so other requests are served in between.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from translation_server.core.change_feed import LAST, FeedPosition, end_of, is_full
from translation_server.core.job import Job, State
from translation_server.storage import statements as sql
from translation_server.storage.batching import GroupCommit
from translation_server.storage.protocol import OnCommit, sole
from translation_server.storage.rows import COLUMNS, job_of

LAST_ORDINAL = "SELECT jobs FROM owners WHERE name = :owner"
JOBS = f"SELECT {COLUMNS} FROM jobs WHERE owner = {sql.DATA_KEY} AND"
DESCENDING = "ordinal DESC"
NEWEST_FIRST = f"ORDER BY {DESCENDING} LIMIT :limit"

IDS = f"""
    SELECT ordinal, id FROM jobs WHERE owner = {sql.DATA_KEY} AND ordinal >= :floor AND ordinal < :before
    AND deleted_at IS NULL AND {{wanted}}{{of_kind}} {NEWEST_FIRST}
"""


class PageReader(ABC):
    """The part of a Store in a SQL database that reads jobs and request records.

    A search reads ``window`` ordinals at a time. ``_in_ordinals`` is the database's fastest condition for "the ordinal
    is in the result of this statement".
    """

    window = 10_000
    _in_ordinals: str
    _additions: GroupCommit

    def observe_commits(self, on_commit: OnCommit) -> None:
        self._additions.on_commit = on_commit

    @abstractmethod
    async def _fetch(self, statement: str, parameters: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """Runs a statement with named parameters and returns its rows."""

    @abstractmethod
    async def _fetch_page(
        self, statement: str, order: str, parameters: Mapping[str, object]
    ) -> Sequence[Sequence[Any]]:
        """Runs a statement that finds jobs in this order; returns the rows until their size is `MAX_PAGE_SIZE`."""

    async def _jobs(self, statement: str, order: str, parameters: Mapping[str, object]) -> list[Job]:
        return [job_of(row) for row in await self._fetch_page(statement, order, parameters)]

    async def find(self, owner: str, job_id: str, *, api: str | None = None, kind: str | None = None) -> Job | None:
        return sole(await self.find_many(owner, [job_id], api=api, kind=kind))

    @abstractmethod
    async def find_many(
        self, owner: str, job_ids: Sequence[str], *, api: str | None = None, kind: str | None = None
    ) -> list[Job]: ...

    async def page(  # noqa: PLR0913 - the options are keywords
        self,
        owner: str,
        *,
        limit: int,
        before: int | None,
        state: State | None,
        now: float,
        api: str | None = None,
        kind: str | None = None,
    ) -> list[Job]:
        before, of_kind = LAST if before is None else before, sql.of_kind(api, kind)
        of_kind += " AND deleted_at IS NULL" if of_kind else ""
        parameters = {"owner": owner, "before": before, "now": now, "limit": limit, "api": api, "kind": kind}
        if state is None and not of_kind:
            return await self._jobs(f"{JOBS} ordinal < :before {NEWEST_FIRST}", DESCENDING, parameters)
        if state is State.PENDING and not await self._fetch(sql.HAS_MANY_PENDING, parameters):
            pending = self._in_ordinals.format(sql.PENDING_ORDINALS.format(of_kind=of_kind))
            return await self._jobs(f"{JOBS} {pending} {NEWEST_FIRST}", DESCENDING, parameters)
        wanted = sql.IN_STATE[state] if state else "TRUE"
        statement = f"{JOBS} ordinal < :before AND ordinal >= :floor AND {wanted}{of_kind} {NEWEST_FIRST}"
        jobs, last = list[Job](), await self._fetch(LAST_ORDINAL, parameters)
        top = min(last[0][0] + 1 if last else 0, before)
        while top > 0 and not is_full(jobs, limit):
            part = {"before": top, "floor": top - self.window, "limit": limit - len(jobs)}
            jobs += await self._jobs(statement, DESCENDING, {**parameters, **part})
            top -= self.window
        return jobs

    async def ids(  # noqa: PLR0913 - the options are keywords
        self,
        owner: str,
        *,
        api: str,
        kind: str | None = None,
        before: int | None = None,
        state: State | None = None,
        now: float = 0.0,
        limit: int = LAST,
    ) -> list[tuple[int, str]]:
        parameters = {"owner": owner, "api": api, "kind": kind, "now": now, "limit": limit}
        wanted, found = sql.IN_STATE[state] if state else "TRUE", list[tuple[int, str]]()
        statement = IDS.format(wanted=wanted, of_kind=sql.of_kind(api, kind))
        last = await self._fetch(LAST_ORDINAL, parameters)
        top = min(last[0][0] + 1 if last else 0, LAST if before is None else before)
        while top > 0 and not found:
            part = {"floor": top - self.window, "before": top}
            found = [(ordinal, job_id) for ordinal, job_id in await self._fetch(statement, {**parameters, **part})]
            top -= self.window
        return found

    async def accepted_after(self, owner: str, ordinal: int, limit: int) -> list[Job]:
        parameters = {"owner": owner, "ordinal": ordinal, "limit": limit}
        return await self._jobs(sql.ACCEPTED_AFTER, "ordinal", parameters)

    async def ending_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        parameters = {"owner": owner, "limit": limit, **position._asdict()}
        jobs = await self._jobs(sql.ENDING_AFTER, sql.BY_END, parameters)
        return sorted(jobs, key=end_of)[:limit]

    async def changed_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        parameters = {"owner": owner, "limit": limit, **position._asdict()}
        jobs = await self._jobs(sql.CHANGED_AFTER, sql.BY_CHANGE, parameters)
        return sorted(jobs, key=lambda job: (job.changed_at, job.ordinal))[:limit]

    async def read_input(self, owner: str, ordinal: int) -> str | None:
        rows = await self._fetch(sql.READ_INPUT, {"owner": owner, "ordinal": ordinal})
        return rows[0][0] if rows else None

    async def read_sandbox(self, owner: str) -> str | None:
        rows = await self._fetch(sql.READ_SANDBOX, {"owner": owner})
        return rows[0][0] if rows else None

    async def count_pending(self, now: float, unset_clock: str) -> int:
        [(count,)] = await self._fetch(sql.COUNT_PENDING, {"now": now, "unset_clock": unset_clock})
        return int(count)

    async def count_pending_of(self, owner: str, now: float) -> int:
        [(count,)] = await self._fetch(sql.COUNT_PENDING_OF, {"owner": owner, "now": now})
        return int(count)

    async def owners_with_clock(self, unset_clock: str) -> list[str]:
        return [name for (name,) in await self._fetch(sql.OWNERS_WITH_CLOCK, {"unset_clock": unset_clock})]

    async def next_owner(self, name: str) -> str | None:
        rows = await self._fetch("SELECT name FROM owners WHERE name > :name ORDER BY name LIMIT 1", {"name": name})
        return rows[0][0] if rows else None
