"""Request logs: records of each user's requests, written in batches beside the requests."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from translation_server.core.clock import Clock
from translation_server.core.job import JobSnapshot
from translation_server.core.metrics import Metrics
from translation_server.core.request_log import RequestRecord
from translation_server.core.sandbox import SandboxState
from translation_server.documents import RECORD
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.storage import RequestLogStore, StoreError

logger = logging.getLogger(__name__)
PAUSE = 0.25  # how long records are collected before they are written, in seconds
PAUSE_FACTOR = 9.0  # the least pause as a multiple of the last write's duration, since requests come first
MAX_PAUSE = 2.0  # the longest pause, in seconds
BATCH_SIZE = 2_000  # how many records are written together at most: a job that arrives meanwhile waits for them
BATCH_JOBS = 5_000  # how many jobs the records of a batch may show: a record of a stream may show hundreds
MAX_SERIALISED = 32_768  # how many characters of records are serialised before other requests are served
PAGE = 500  # how many records are read at a time
MAX_PAGE_SIZE = 2**20  # how many characters of records `RequestLog.read` returns, before the last one
MAX_WAITING = 10_000  # how many records may wait to be written. If the store does not keep up, the oldest are lost
MAX_WAITING_JOBS = 100_000  # how many jobs the waiting records may show


class Refusals(NamedTuple):
    """How many requests that named a user were refused for their credentials, and the wall time of the first."""

    since: float
    requests: int


class RecordBuilder(Protocol):
    """A record that waits to be written."""

    at: float  # the wall time at which the request came
    snapshots: Sequence[JobSnapshot]  # the jobs that the answer shows
    refusals: Refusals | None  # the refused requests since the record before

    def text(self, clock: Clock) -> str:
        """Returns the record as JSON; ``clock`` is the sandbox's."""


class RequestLog:
    """Writes and reads the request logs of all users. Each keeps its newest ``limit`` records; 0 keeps no log.

    At most ``batch_size`` records are written together, and ``max_waiting`` may wait; then the oldest are lost.
    """

    def __init__(  # noqa: PLR0913 - the options are keywords
        self,
        store: RequestLogStore,
        sandboxes: SandboxCache,
        limit: int,
        *,
        batch_size: int = BATCH_SIZE,
        max_waiting: int = MAX_WAITING,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._limit = limit
        self._batch_size = batch_size
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[str, RecordBuilder]] = deque()
        self._waiting_jobs = 0
        self._lost: Counter[str] = Counter()
        self._metrics = metrics or Metrics()
        self._refusals: dict[str, Refusals] = {}
        self._flushing = asyncio.Lock()
        self._pause = PAUSE
        self._writing: asyncio.Task[None] | None = None

    def add(self, owner: str, record: RecordBuilder) -> None:
        """Adds a record; it is written soon."""
        if not self._limit:
            return
        if self._refusals:
            record.refusals = self._refusals.pop(owner, None)
        self._waiting.append((owner, record))
        self._waiting_jobs += len(record.snapshots)
        self._lose_oldest()
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_soon())

    def count_refused(self, owner: str, at: float) -> None:
        """Counts a request that named a user and was refused for its credentials.

        The count is part of the user's next record. So refused requests cannot displace records.
        """
        if self._limit:
            since, count = self._refusals.get(owner, (at, 0))
            sandbox = self._sandboxes.get(owner)
            reset = sandbox and since < sandbox.reset_at
            self._refusals[owner] = Refusals(at, 1) if reset else Refusals(since, count + 1)

    async def refused(self, owner: str) -> int:
        """Returns how many refused requests are in no record yet, as far as this process knows."""
        reset_at = (await self._sandboxes.of(owner)).reset_at
        if (refusals := self._refusals.get(owner)) and refusals.since < reset_at:
            del self._refusals[owner]
            return 0
        return refusals.requests if refusals else 0

    async def flush(self) -> None:
        """Writes the records that are waiting now.

        Raises:
            StoreError: not all could be written; the others wait for the next time.
        """
        async with self._flushing:
            left = len(self._waiting)
            while batch := self._take(min(left, self._batch_size)):
                left -= len(batch)
                try:
                    await self._write(batch)
                except StoreError:
                    self._waiting.extendleft(reversed(batch))
                    self._waiting_jobs += sum(len(record.snapshots) for _, record in batch)
                    self._lose_oldest()
                    raise

    async def read(self, owner: str, *, after: int, limit: int) -> tuple[list[tuple[int, RequestRecord]], bool]:
        """Returns a user's next records with a number over ``after``, oldest first, and whether there are more.

        The first record has the number 1. Where records show very many jobs, fewer than ``limit`` are returned.
        """
        found, size = list[tuple[int, str]](), 0
        async for page in self.pages(owner, after):
            for number, text in page:
                if len(found) == limit or size > MAX_PAGE_SIZE:
                    return await asyncio.to_thread(_parse, found), True
                found.append((number, text))
                size += len(text)
        return await asyncio.to_thread(_parse, found), False

    async def oldest(self, owner: str) -> int:
        """Returns the number of a user's oldest record; 1 if there is none."""
        first = await self._store.read_requests(owner, limit=1)
        return first[0][0] if first else 1

    async def pages(self, owner: str, after: int = 0) -> AsyncIterator[list[tuple[int, str]]]:
        """Yields a user's records as JSON with their numbers; other requests are served between the pages."""
        await self.flush()
        while page := await self._store.read_requests(owner, after=after, limit=PAGE):
            yield page
            after = page[-1][0]
            await asyncio.sleep(0)

    def dropped(self, owner: str, oldest: int) -> int:
        """Returns how many of a user's records were lost or deleted; ``oldest`` is the number of the oldest one."""
        return oldest - 1 + self._lost[owner]

    def drop(self, owner: str) -> None:
        """Drops the counts of a user whose sandbox was reset."""
        del self._lost[owner]
        self._refusals.pop(owner, None)

    async def close(self) -> None:
        """Writes the records that are still waiting."""
        if self._writing is not None:
            self._writing.cancel()
        await self._try_to_flush()

    async def _write(self, batch: Sequence[tuple[str, RecordBuilder]]) -> None:
        """Writes records, except those from before a reset of their sandbox."""
        texts, serialised, sandboxes = [], 0, dict[str, SandboxState]()
        for owner, record in batch:
            sandbox = sandboxes[owner] = sandboxes.get(owner) or await self._sandboxes.of(owner)
            if record.refusals and record.refusals.since < sandbox.reset_at:
                record.refusals = None
            text = record.text(sandbox.clock)
            texts.append((owner, record.at, text))
            serialised += len(text)
            if serialised > MAX_SERIALISED:
                serialised = 0
                sandboxes.clear()
                await asyncio.sleep(0)
        reset_at = {owner: (await self._sandboxes.of(owner)).reset_at for owner in {owner for owner, _ in batch}}
        if current := [(owner, text) for owner, at, text in texts if at >= reset_at[owner]]:
            await self._store.add_requests(current, self._limit)

    def _take(self, count: int) -> list[tuple[str, RecordBuilder]]:
        """Removes and returns the oldest waiting records, fewer where they show very many jobs."""
        batch, jobs = list[tuple[str, RecordBuilder]](), 0
        while self._waiting and len(batch) < count and jobs < BATCH_JOBS:
            batch.append(self._waiting.popleft())
            jobs += len(batch[-1][1].snapshots)
        self._waiting_jobs -= jobs
        return batch

    def _lose_oldest(self) -> None:
        while len(self._waiting) > self._max_waiting or self._waiting_jobs > MAX_WAITING_JOBS:
            owner, record = self._waiting.popleft()
            self._waiting_jobs -= len(record.snapshots)
            self._lost[owner] += 1
            self._metrics.dropped.add()
            if record.refusals:
                since, count = self._refusals.get(owner, (record.at, 0))
                self._refusals[owner] = Refusals(min(since, record.refusals.since), count + record.refusals.requests)

    async def _write_soon(self) -> None:
        await asyncio.sleep(self._pause)
        self._writing = None
        began = time.monotonic()
        await self._try_to_flush()
        self._pause = min(max(PAUSE, PAUSE_FACTOR * (time.monotonic() - began)), MAX_PAUSE)

    async def _try_to_flush(self) -> None:
        try:
            await self.flush()
        except StoreError as error:
            logger.warning("request log: %d records are not written yet: %s", len(self._waiting), error)


def _parse(texts: Sequence[tuple[int, str]]) -> list[tuple[int, RequestRecord]]:
    return [(number, RECORD.validate_json(text)) for number, text in texts]
