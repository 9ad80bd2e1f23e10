"""The journals: what each user's requests were and what became of them, written down in batches beside the requests."""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from translation_server.core.clock import Clock
from translation_server.core.job import JobSnapshot
from translation_server.core.request_log import RequestRecord
from translation_server.documents import RECORD
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.storage import Store, StoreError

logger = logging.getLogger(__name__)

PAUSE = 0.25
"""Seconds for which entries are gathered before they are written."""

REST = 9.0
"""How many times as long as the last writing took the next pause is, at least: requests come first."""

LONGEST_PAUSE = 2.0
"""Seconds."""

TOGETHER = 2_000
"""Entries that are written together at most: a job that is to be written meanwhile waits for them."""

AT_A_TIME = 32_768
"""Characters of entries that are made without giving way to requests: one may tell of hundreds of jobs."""

PAGE = 500
"""Entries that are read at a time."""

JOBS_TOGETHER = 5_000
"""Jobs of which entries tell that are written together: a stream tells of hundreds in one."""

LARGEST = 2**20
"""Characters of entries that a page holds, and one entry more."""

JOBS_WAITING = 100_000
"""Jobs of which entries may tell that wait to be written."""

WAITING_AT_MOST = 10_000
"""Entries that may wait to be written; where the store does not keep up, the oldest go first."""


class Refusals(NamedTuple):
    """How many requests that named a user were refused for their credentials, and the real time of the first."""

    since: float
    many: int


class RecordBuilder(Protocol):
    """An entry, but for what the sandbox's clock tells; ``at`` is the real time at which the request came.

    ``snapshots`` are what it tells of jobs, ``refusals`` those since the entry before.
    """

    at: float
    snapshots: Sequence[JobSnapshot]
    refusals: Refusals | None

    def text(self, clock: Clock) -> str:
        """The entry as JSON."""


class RequestLog:
    """Everybody's journal.

    Args:
        store: where they are kept.
        sandboxes: tell the time of each sandbox.
        limit: how many entries each keeps, the newest; with 0 there are none.
    """

    def __init__(self, store: Store, sandboxes: SandboxCache, limit: int) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._limit = limit
        self._records: deque[tuple[str, RecordBuilder]] = deque()
        self._jobs = 0
        self._lost: Counter[str] = Counter()
        self._refusals: dict[str, Refusals] = {}
        self._flushing = asyncio.Lock()
        self._pause = PAUSE
        self._writing: asyncio.Task[None] | None = None

    def add(self, owner: str, record: RecordBuilder) -> None:
        """Takes note of a request."""
        if not self._limit:
            return
        if self._refusals:
            record.refusals = self._refusals.pop(owner, None)
        self._records.append((owner, record))
        self._jobs += len(record.snapshots)
        self._lose_the_oldest()
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_soon())

    def refuse(self, owner: str, at: float) -> None:
        """Counts a request that named an owner and was refused for its credentials; the owner's next entry tells it.

        So it takes no place of an entry, and ends with them.
        """
        if self._limit:
            since, many = self._refusals.get(owner, (at, 0))
            sandbox = self._sandboxes.get(owner)
            self._refusals[owner] = Refusals(at, 1) if sandbox and since < sandbox.begun else Refusals(since, many + 1)

    async def refused(self, owner: str) -> int:
        """How many refused requests no entry has told yet, as far as this process knows."""
        begun = (await self._sandboxes.of(owner)).begun
        if (pending := self._refusals.get(owner)) and pending.since < begun:
            del self._refusals[owner]
            return 0
        return pending.many if pending else 0

    async def flush(self) -> None:
        """Writes down what was noted so far.

        Raises:
            StoreError: not all could be written; the rest waits for the next time.
        """
        async with self._flushing:
            left = len(self._records)
            while some := self._take(min(left, TOGETHER)):
                left -= len(some)
                try:
                    await self._write(some)
                except StoreError:
                    self._records.extendleft(reversed(some))
                    self._jobs += sum(len(record.snapshots) for _, record in some)
                    self._lose_the_oldest()
                    raise

    async def read(self, owner: str, *, after: int, limit: int) -> tuple[list[tuple[int, RequestRecord]], bool]:
        """A user's next entries with a number over ``after``, the oldest first, and whether there are more.

        The first of all had the number 1. Where they tell of very many jobs there are fewer than the limit.
        """
        found, size = list[tuple[int, str]](), 0
        async for page in self.pages(owner, after):
            for number, stored in page:
                if len(found) == limit or size > LARGEST:
                    return await asyncio.to_thread(_parsed, found), True
                found.append((number, stored))
                size += len(stored)
        return await asyncio.to_thread(_parsed, found), False

    async def oldest(self, owner: str) -> int:
        """The number of a user's first entry that is still there."""
        first = await self._store.request_log(owner, limit=1)
        return first[0][0] if first else 1

    async def pages(self, owner: str, after: int = 0) -> AsyncIterator[list[tuple[int, str]]]:
        """A user's entries as they are kept, with their numbers; others have their turn between the pages."""
        await self.flush()
        while page := await self._store.request_log(owner, after=after, limit=PAGE):
            yield page
            after = page[-1][0]
            await asyncio.sleep(0)

    def dropped(self, owner: str, oldest: int) -> int:
        """How many entries of a user are no longer there, or never were; ``oldest`` is the number of the first."""
        return oldest - 1 + self._lost[owner]

    def drop(self, owner: str) -> None:
        """Forgets what was not written down of a user who begins anew."""
        del self._lost[owner]
        self._refusals.pop(owner, None)

    async def close(self) -> None:
        """Writes down the rest."""
        if self._writing is not None:
            self._writing.cancel()
        await self._flush_if_possible()

    async def _write(self, records: Sequence[tuple[str, RecordBuilder]]) -> None:
        """Writes some down, but for those from before their sandbox was emptied."""
        stored_records, made = [], 0
        for owner, record in records:
            sandbox = await self._sandboxes.of(owner)
            if record.refusals and record.refusals.since < sandbox.begun:
                record.refusals = None
            text = record.text(sandbox.clock)
            stored_records.append((owner, record.at, text))
            made += len(text)
            if made > AT_A_TIME:
                made = 0
                await asyncio.sleep(0)
        begun = {owner: (await self._sandboxes.of(owner)).begun for owner in {owner for owner, _ in records}}
        if of_now := [(owner, text) for owner, at, text in stored_records if at >= begun[owner]]:
            await self._store.record(of_now, self._limit)

    def _take(self, most: int) -> list[tuple[str, RecordBuilder]]:
        """The oldest that wait, fewer where they tell of very many jobs."""
        some, jobs = list[tuple[str, RecordBuilder]](), 0
        while self._records and len(some) < most and jobs < JOBS_TOGETHER:
            some.append(self._records.popleft())
            jobs += len(some[-1][1].snapshots)
        self._jobs -= jobs
        return some

    def _lose_the_oldest(self) -> None:
        while len(self._records) > WAITING_AT_MOST or self._jobs > JOBS_WAITING:
            owner, record = self._records.popleft()
            self._jobs -= len(record.snapshots)
            self._lost[owner] += 1
            if record.refusals:
                since, many = self._refusals.get(owner, (record.at, 0))
                self._refusals[owner] = Refusals(min(since, record.refusals.since), many + record.refusals.many)

    async def _write_soon(self) -> None:
        await asyncio.sleep(self._pause)
        self._writing = None
        began = time.monotonic()
        await self._flush_if_possible()
        self._pause = min(max(PAUSE, REST * (time.monotonic() - began)), LONGEST_PAUSE)

    async def _flush_if_possible(self) -> None:
        try:
            await self.flush()
        except StoreError as error:
            logger.warning("requests are not in the journal yet: %s", error)


def _parsed(stored_records: Sequence[tuple[int, str]]) -> list[tuple[int, RequestRecord]]:
    return [(number, RECORD.validate_json(stored)) for number, stored in stored_records]
