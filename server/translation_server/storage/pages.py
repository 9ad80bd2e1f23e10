"""Pages of an owner's jobs, the newest first, the same in every database.

Theory of operation: where few jobs stand in a state, to find a page of them takes going through all there are. That is
done window by window, so that others are served in between.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from translation_server.core.job import Job, State
from translation_server.storage.rows import COLUMNS, DATA_KEY, FEW_PENDING, IN_STATE, MANY_PENDING, job_of

WINDOW = 10_000
"""Ordinals that are gone through at a time."""

LAST_ORDINAL = "SELECT jobs FROM owners WHERE name = :owner"

JOBS = f"SELECT {COLUMNS} FROM jobs WHERE owner = {DATA_KEY} AND"
NEWEST_FIRST = "ORDER BY ordinal DESC LIMIT :limit"

Fetch = Callable[[str, Mapping[str, object]], Awaitable[Sequence[Sequence[Any]]]]
"""The rows of a statement with parameters by name."""


async def page(fetch: Fetch, among: str, state: State | None, asked: Mapping[str, Any]) -> list[Job]:
    """See Store.

    Args:
        fetch: asks the database.
        among: a condition that holds for ordinals among those of a statement, as the database takes it best.
        state: how the jobs stand.
        asked: owner, limit, before and now.
    """
    if state is None:
        return list(map(job_of, await fetch(f"{JOBS} ordinal < :before {NEWEST_FIRST}", asked)))
    if state is State.PENDING and not await fetch(MANY_PENDING, asked):
        return list(map(job_of, await fetch(f"{JOBS} {among.format(FEW_PENDING)} {NEWEST_FIRST}", asked)))
    statement = f"{JOBS} ordinal < :before AND ordinal >= :floor AND {IN_STATE[state]} {NEWEST_FIRST}"
    found, last = list[Job](), await fetch(LAST_ORDINAL, asked)
    top = min(last[0][0] + 1 if last else 0, asked["before"])
    while top > 0 and len(found) < asked["limit"]:
        window = {"before": top, "floor": top - WINDOW, "limit": asked["limit"] - len(found)}
        found += map(job_of, await fetch(statement, {**asked, **window}))
        top -= WINDOW
    return found
