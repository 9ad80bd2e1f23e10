"""Retention: what ended long enough ago is forgotten, in steps so small that no request notices.

Theory of operation: a job is as old as the real time since its end is long; of what was accepted or changed within that
time nothing goes, and a pending or held job never does. The clock of its owner's sandbox tells how it stood then. Every
process goes from owner to owner, over and over, and rests after each step for many times as long as the step took.
Several may do so at once: a step of one leaves nothing to do for the other. What a reset has forgotten at once is
purged the same way, by every process, so that it goes on where another one was killed.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NoReturn

from translation_server.documents import RECORD
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.storage import Cutoff, RetentionStore, StoreError

logger = logging.getLogger(__name__)

STEP = 100
"""Jobs, and entries of a journal, that are forgotten at a time."""

REST = 20
"""How many times as long as a step took is rested after it."""

ROUND = 60.0
"""Seconds from the end of a round to the next one, at most."""


EMPTIED_STEP = 250
"""Rows of emptied sandboxes that are purged at a time."""

EMPTIED_REST = 9
"""How many times as long as such a step took is rested after it."""

EMPTIED_ROUND = 5.0
"""Seconds from the end of a purge to the next time that something is looked for."""


async def purge_queued_forever(store: RetentionStore) -> NoReturn:
    """Purges what resets have forgotten."""
    while True:
        pause = EMPTIED_ROUND
        try:
            began = time.monotonic()
            while await store.purge_queued(EMPTIED_STEP):
                await asyncio.sleep(EMPTIED_REST * (time.monotonic() - began))
                began = time.monotonic()
        except Exception as error:
            logger.warning(
                "emptied sandboxes are not purged yet: %s", error, exc_info=not isinstance(error, StoreError)
            )
            pause = ROUND
        await asyncio.sleep(pause)


async def purge_forever(
    store: RetentionStore, sandboxes: SandboxCache, retention: float, clock: Callable[[], float]
) -> NoReturn:
    """Forgets what has been old for so many seconds.

    Args:
        store: where everything is kept.
        sandboxes: tell the time of each sandbox.
        retention: seconds for which ended jobs are kept.
        clock: real seconds since the epoch.
    """
    while True:
        await asyncio.sleep(min(ROUND, retention / 10))
        try:
            await purge(store, sandboxes, retention, clock)
        except Exception as error:
            logger.warning("what is old is kept for now: %s", error, exc_info=not isinstance(error, StoreError))


async def purge(store: RetentionStore, sandboxes: SandboxCache, retention: float, clock: Callable[[], float]) -> None:
    """Goes from owner to owner once."""
    owner = await store.next_owner("")
    while owner is not None:
        more = True
        while more:
            began = time.monotonic()
            more = await _step(store, sandboxes, owner, clock() - retention)
            await asyncio.sleep(REST * (time.monotonic() - began))
        owner = await store.next_owner(owner)


async def _step(store: RetentionStore, sandboxes: SandboxCache, owner: str, before: float) -> bool:
    """Forgets some of what is old of an owner; tells whether there may be more."""
    moment = (await sandboxes.clock(owner)).virtual(before)
    records = await store.read_requests(owner, limit=1)
    if records and _is_old(records[0][1], before):
        records = await store.read_requests(owner, limit=STEP)
    old = [number for number, record in records if _is_old(record, before)]
    jobs = await store.purge(owner, Cutoff(moment, before, max(old, default=0)), STEP)
    return STEP in {jobs, len(old)}


def _is_old(record: str, before: float) -> bool:
    return RECORD.validate_json(record).at <= before
