"""Pages of an owner's jobs, newest first, the same in every SQL database.

Theory of operation: where few jobs are in a state, finding a page of them takes a search through all jobs. It reads one
window of ordinals at a time, so other requests are served in between.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from translation_server.core.job import Job, State
from translation_server.storage.rows import COLUMNS, job_of
from translation_server.storage.statements import DATA_KEY, HAS_MANY_PENDING, IN_STATE, PENDING_ORDINALS

WINDOW = 10_000  # how many ordinals are searched at a time
LAST_ORDINAL = "SELECT jobs FROM owners WHERE name = :owner"
JOBS = f"SELECT {COLUMNS} FROM jobs WHERE owner = {DATA_KEY} AND"
NEWEST_FIRST = "ORDER BY ordinal DESC LIMIT :limit"

Fetch = Callable[[str, Mapping[str, object]], Awaitable[Sequence[Sequence[Any]]]]
"""Runs a statement with named parameters and returns its rows."""


async def find_page(fetch: Fetch, in_ordinals: str, state: State | None, parameters: Mapping[str, Any]) -> list[Job]:
    """Returns a page as `JobStore.page` does.

    Args:
        fetch: runs a statement.
        in_ordinals: the database's fastest condition for "the ordinal is in the result of this statement".
        state: the state of the jobs; None for all.
        parameters: owner, limit, before and now.
    """
    if state is None:
        return list(map(job_of, await fetch(f"{JOBS} ordinal < :before {NEWEST_FIRST}", parameters)))
    if state is State.PENDING and not await fetch(HAS_MANY_PENDING, parameters):
        pending = f"{JOBS} {in_ordinals.format(PENDING_ORDINALS)} {NEWEST_FIRST}"
        return list(map(job_of, await fetch(pending, parameters)))
    statement = f"{JOBS} ordinal < :before AND ordinal >= :floor AND {IN_STATE[state]} {NEWEST_FIRST}"
    jobs, last = list[Job](), await fetch(LAST_ORDINAL, parameters)
    top = min(last[0][0] + 1 if last else 0, parameters["before"])
    while top > 0 and len(jobs) < parameters["limit"]:
        window = {"before": top, "floor": top - WINDOW, "limit": parameters["limit"] - len(jobs)}
        jobs += map(job_of, await fetch(statement, {**parameters, **window}))
        top -= WINDOW
    return jobs
