"""Retention: deletes old jobs and request records in the background, in steps so small that no request is delayed.

Theory of operation: a job is old if it ended and was last changed longer ago than the retention time, in wall time; the
clock of its owner's sandbox gives its end. Pending and paused jobs are never old. Each process visits one owner after
the other, again and again, and pauses after each step for a multiple of the step's duration. Several processes may do
so at once, since what one has deleted is gone for the others. The rows of sandboxes that were reset are deleted in the
same way, so another process continues where one was killed.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NoReturn

from translation_server.core.clock import WallTime
from translation_server.documents import RECORD
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.storage import Cutoff, RetentionStore, StoreError

logger = logging.getLogger(__name__)
STEP = 100  # how many jobs, and how many request records, one step deletes at most
PAUSE_FACTOR = 20  # the pause after a step, as a multiple of the step's duration
MAX_INTERVAL = 60.0  # the longest time between two rounds through all owners, in seconds
RETRY_PAUSE = 10.0  # the longest time until a failed purge is retried, in seconds
RESET_STEP = 250  # how many rows of sandboxes that were reset one step deletes at most
RESET_PAUSE_FACTOR = 9  # the pause after such a step, as a multiple of the step's duration
RESET_INTERVAL = 5.0  # the time between two searches for sandboxes that were reset, in seconds
FAILED = "retention: purge failed, retrying in %g s: %s"


async def purge_queued_forever(store: RetentionStore) -> NoReturn:
    """Deletes the rows of sandboxes that were reset, until it is cancelled."""
    while True:
        pause = RESET_INTERVAL
        try:
            began = time.monotonic()
            while await store.purge_queued(RESET_STEP):
                await asyncio.sleep(RESET_PAUSE_FACTOR * (time.monotonic() - began))
                began = time.monotonic()
        except Exception as error:
            pause = RETRY_PAUSE
            logger.warning(FAILED, pause, error, exc_info=not isinstance(error, StoreError))
        await asyncio.sleep(pause)


async def purge_forever(
    store: RetentionStore, sandboxes: SandboxCache, retention: float, clock: Callable[[], WallTime]
) -> NoReturn:
    """Deletes ended jobs and request records that are older than ``retention`` seconds, until it is cancelled."""
    pause = interval = min(MAX_INTERVAL, retention / 10)
    while True:
        await asyncio.sleep(pause)
        try:
            await purge(store, sandboxes, retention, clock)
            pause = interval
        except Exception as error:
            pause = min(RETRY_PAUSE, interval)
            logger.warning(FAILED, pause, error, exc_info=not isinstance(error, StoreError))


async def purge(
    store: RetentionStore, sandboxes: SandboxCache, retention: float, clock: Callable[[], WallTime]
) -> None:
    """Deletes old data of all owners, once."""
    owner = await store.next_owner("")
    while owner is not None:
        more = True
        while more:
            began = time.monotonic()
            more = await _step(store, sandboxes, owner, WallTime(clock() - retention))
            await asyncio.sleep(PAUSE_FACTOR * (time.monotonic() - began))
        owner = await store.next_owner(owner)


async def _step(store: RetentionStore, sandboxes: SandboxCache, owner: str, wall: WallTime) -> bool:
    """Deletes some data of an owner from before this wall time; returns whether there may be more."""
    virtual = (await sandboxes.clock(owner)).virtual(wall)
    records = await store.read_requests(owner, limit=1)
    if records and _is_old(records[0][1], wall):
        records = await store.read_requests(owner, limit=STEP)
    numbers = [number for number, record in records if _is_old(record, wall)]
    jobs = await store.purge(owner, Cutoff(virtual, wall, max(numbers, default=0)), STEP)
    return STEP in {jobs, len(numbers)}


def _is_old(record: str, wall: WallTime) -> bool:
    return RECORD.validate_json(record).at <= wall
