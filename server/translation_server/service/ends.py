"""The times at which jobs ended, for the report card; for any number of jobs of any size."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from translation_server.core.job import JobSnapshot, State
from translation_server.service.jobs import Service
from translation_server.storage import AmbiguousId, TooLarge

BATCH_SIZE = 500  # how many jobs are read at a time


async def ends_of(service: Service, owner: str, job_ids: Sequence[str]) -> dict[str, float]:
    """Returns the wall times at which the owner's jobs ended, without pending and cancelled jobs.

    An id that several jobs share is left out too: only the records of the requests say which job is meant.
    """
    clock = (await service.sandboxes.of(owner)).clock
    ends: dict[str, float] = {}
    for start in range(0, len(job_ids), BATCH_SIZE):
        await asyncio.sleep(0)
        async for snapshot in _snapshots(service, owner, job_ids[start : start + BATCH_SIZE]):
            if snapshot.state is not State.CANCELLED and (end := snapshot.wall_end(clock)) is not None:
                ends[snapshot.job.id] = end
    return ends


async def _snapshots(service: Service, owner: str, job_ids: Sequence[str]) -> AsyncIterator[JobSnapshot]:
    try:
        snapshots, _ = await service.snapshots(owner, job_ids)
    except (TooLarge, AmbiguousId):
        middle = len(job_ids) // 2
        for half in (job_ids[:middle], job_ids[middle:]) if middle else ():
            async for snapshot in _snapshots(service, owner, half):
                yield snapshot
    else:
        for snapshot in snapshots:
            yield snapshot
