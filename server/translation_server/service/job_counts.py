"""Counts that hold for all processes of all servers: the ends of jobs, and the pending jobs.

Theory of operation: nothing happens when a job ends, so there is nothing to count then. An end counts when an answer
first shows it. The process that answers may not be the first one, so it asks the store, in the background, whether
another process has shown this end before.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from translation_server.core.clock import WallTime
from translation_server.core.job import JobSnapshot, State
from translation_server.core.lru import LRU
from translation_server.core.metrics import Metrics
from translation_server.documents import unset_clock
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.storage import MetricsStore, ShownEnd, StoreError

logger = logging.getLogger(__name__)

MAX_KNOWN = 100_000  # how many ends a process remembers as shown; 140 bytes each
MAX_WAITING = 10_000  # how many ends may wait for the store. If it does not keep up, the oldest are not counted
BATCH = 500  # how many ends are added to the store together
RETRY_PAUSE = 5.0  # how long to wait after the store has failed, in seconds


class _Shown(NamedTuple):
    """An end that an answer has shown; ``lateness`` is in seconds."""

    end: ShownEnd
    api: str
    state: State
    lateness: float


class JobCounts:
    """Counts ends and pending jobs; ``clock`` returns the wall time."""

    def __init__(
        self, store: MetricsStore, sandboxes: SandboxCache, metrics: Metrics, clock: Callable[[], WallTime]
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._metrics = metrics
        self._clock = clock
        self._known = LRU[int, None](MAX_KNOWN)
        self._waiting = deque[_Shown](maxlen=MAX_WAITING)
        self._adding: asyncio.Task[None] | None = None

    def count_end(self, snapshot: JobSnapshot, answered_at: float) -> None:
        """Counts the end of a job that an answer has shown, unless an earlier answer of any process has shown it."""
        job = snapshot.job
        key = hash((job.owner, job.ordinal, job.id))
        if key in self._known:
            return
        self._known[key] = None
        ended_at = snapshot.wall_end(self._sandboxes.known_clock(job.owner))
        lateness = 0.0 if ended_at is None else max(0.0, answered_at - ended_at)
        end = ShownEnd(job.owner, job.ordinal, job.id)
        self._waiting.append(_Shown(end, job.api, snapshot.state, lateness))
        if self._adding is None:
            self._adding = asyncio.create_task(self._add_all())

    async def settled(self) -> None:
        """Returns once all ends that were shown until now are counted, or the store has failed."""
        if self._adding is not None:
            await asyncio.wait([self._adding], timeout=RETRY_PAUSE)

    async def pending(self) -> int | None:
        """Returns how many jobs of all users are pending; None if the store does not answer."""
        try:
            return await self._pending()
        except StoreError as error:
            logger.warning("metrics: the pending jobs cannot be counted: %s", error)
            return None

    async def _pending(self) -> int:
        wall, unset = self._clock(), unset_clock()
        count = await self._store.count_pending(wall, unset)
        for owner in await self._store.owners_with_clock(unset):
            count += await self._store.count_pending_of(owner, (await self._sandboxes.clock(owner)).virtual(wall))
        return count

    def close(self) -> None:
        """Stops counting; ends that are still waiting are not counted."""
        if self._adding is not None:
            self._adding.cancel()

    async def _add_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                are_new = await self._store.add_shown_ends([shown.end for shown in batch])
            except Exception as error:
                message = "metrics: %d ends are not counted yet: %s"
                logger.warning(message, len(batch), error, exc_info=not isinstance(error, StoreError))
                self._waiting.extendleft(reversed(batch))
                await asyncio.sleep(RETRY_PAUSE)
                continue
            for shown, is_new in zip(batch, are_new, strict=True):
                if is_new:
                    self._count(shown)
        self._adding = None

    def _count(self, shown: _Shown) -> None:
        self._metrics.ended.add(shown.api, shown.state)
        if shown.state is not State.CANCELLED:
            self._metrics.lateness.observe(shown.lateness)
