"""A store in this process's memory, for servers that live no longer than a test."""

import asyncio
import math
import secrets
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain, islice
from typing import Any

from translation_server.core.change_feed import LAST, MAX_PAGE_SIZE, FeedPosition
from translation_server.core.clock import VirtualTime
from translation_server.core.job import Job, JobKey, JobSnapshot, State
from translation_server.core.webhook_events import delivery_id, event_position, next_event_at
from translation_server.core.webhooks import Delivery, DeliveryState
from translation_server.storage.memory_owner import Owner
from translation_server.storage.protocol import (
    KEY_BYTES,
    Cutoff,
    Idempotency,
    IdTaken,
    KeyReused,
    OnCommit,
    ShownEnd,
    Stored,
    sole,
)


def _page(jobs: list[Job]) -> list[Job]:
    """Returns the first of the jobs, until their size is `MAX_PAGE_SIZE`."""
    sizes = accumulate(job.size for job in jobs)
    return jobs[: 1 + sum(size < MAX_PAGE_SIZE for size in sizes)]


class MemoryStore:
    """A Store whose data is gone once it is closed. `ids` returns at most ``window`` ids at a time."""

    window = 10_000

    def __init__(self) -> None:
        self._owners: defaultdict[str, Owner] = defaultdict(Owner)
        self.file_key = secrets.token_bytes(KEY_BYTES)
        self._purge_queue: list[dict[Any, Any] | list[Any] | deque[Any]] = []

    async def add(
        self,
        owner: str,
        accept: Callable[[int], Job],
        idempotency: Idempotency | None = None,
        job_input: str | None = None,
    ) -> Stored:
        data = self._owners[owner]
        if idempotency is not None and idempotency.key in data.keys:
            fingerprint, ordinal = data.keys[idempotency.key]
            if not idempotency.matches(fingerprint):
                raise KeyReused(idempotency.key)
            return Stored(data.jobs[ordinal], replayed=True)
        job = accept(data.last + 1)
        if data.find(job.key):
            raise IdTaken(job.id)
        data.put(job)
        data.ordinals.setdefault(job.id, []).append(job.ordinal)
        data.last = job.ordinal
        data.add_positions(job)
        if idempotency is not None:
            data.keys[idempotency.key] = idempotency.fingerprint, job.ordinal
            data.keys_by_ordinal[job.ordinal] = idempotency.key
        if job_input is not None:
            data.inputs[job.ordinal] = job_input
        return Stored(job, replayed=False)

    async def find(self, owner: str, job_id: str, *, api: str | None = None, kind: str | None = None) -> Job | None:
        return sole(self._owners[owner].find(JobKey(job_id, api, kind)))

    async def find_many(
        self, owner: str, job_ids: Sequence[str], *, api: str | None = None, kind: str | None = None
    ) -> list[Job]:
        data = self._owners[owner]
        return _page([job for job_id in dict.fromkeys(job_ids) for job in data.find(JobKey(job_id, api, kind))])

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
        data = self._owners[owner]

        def is_wanted(job: Job) -> bool:
            if job.deleted_at is not None and (api or kind):
                return False
            return JobKey(job.id, api, kind).means(job) and state in {None, JobSnapshot(job, VirtualTime(now)).state}

        return await data.first(data.below(before), limit, is_wanted)

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
        data, wanted = self._owners[owner], (api, None, kind)

        def is_wanted(job: Job) -> bool:
            if (job.api, job.deleted_at, kind and job.kind) != wanted:
                return False
            return state is None or JobSnapshot(job, VirtualTime(now)).state is state

        jobs = await data.first(data.below(before), min(limit, self.window), is_wanted)
        return [(job.ordinal, job.id) for job in jobs]

    async def change(
        self,
        owner: str,
        job_id: str,
        change: Callable[[Job], Job],
        *,
        api: str | None = None,
        kind: str | None = None,
    ) -> Job | None:
        data = self._owners[owner]
        before = sole(data.find(JobKey(job_id, api, kind)))
        if before is None:
            return None
        job = change(before)
        data.remove_positions(before)
        data.add_positions(job)
        data.put(job)
        return job

    async def accepted_after(self, owner: str, ordinal: int, limit: int) -> list[Job]:
        data = self._owners[owner]
        return await data.first(range(ordinal + 1, data.last + 1), limit)

    async def ending_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        data = self._owners[owner]
        start = bisect_right(data.ends, position)
        return _page([data.jobs[end.ordinal] for end in data.ends[start : start + limit] if end.at < math.inf])

    async def changed_after(self, owner: str, position: FeedPosition, limit: int) -> list[Job]:
        data = self._owners[owner]
        start = bisect_right(data.changes, position)
        return _page([data.jobs[change.ordinal] for change in data.changes[start : start + limit]])

    async def read_input(self, owner: str, ordinal: int) -> str | None:
        return self._owners[owner].inputs.get(ordinal)

    async def wait_for_changes(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def version(self) -> int:
        return 0

    async def read_sandbox(self, owner: str) -> str | None:
        return self._owners[owner].sandbox

    async def change_sandbox(
        self, owner: str, change: Callable[[str | None], str], *, reset_counts: bool = False
    ) -> str:
        data = self._owners[owner]
        data.sandbox = text = change(data.sandbox)
        if reset_counts:
            self._purge_queue.append(data.fault_counts)
            data.fault_counts = Counter()
        return text

    async def reset_sandbox(self, owner: str, text: str | None = None) -> None:
        old = self._owners.pop(owner, Owner())
        self._purge_queue += old.jobs, old.ordinals, old.keys, old.keys_by_ordinal, old.ends, old.changes
        self._purge_queue += old.inputs, old.fault_counts, old.requests, old.deliveries
        self._owners[owner] = Owner(sandbox=text)

    async def count_faults(
        self, owner: str, subject: str, rules: Sequence[str], draw: Callable[[int, Sequence[int]], Iterable[str]]
    ) -> None:
        counts = self._owners[owner].fault_counts
        counts[subject] += 1
        counts.update(list(draw(counts[subject], [counts[rule] for rule in rules])))

    async def uncount_fault(self, owner: str, subject: str) -> None:
        self._owners[owner].fault_counts[subject] -= 1

    async def fault_counts(self, owner: str, subjects: Sequence[str]) -> list[int]:
        return [self._owners[owner].fault_counts[subject] for subject in subjects]

    async def add_requests(self, records: Sequence[tuple[str, str]], limit: int) -> None:
        for owner, record in records:
            data = self._owners[owner]
            data.last_request += 1
            data.requests.append((data.last_request, record))
            if len(data.requests) > limit:
                data.requests.popleft()

    async def read_requests(self, owner: str, *, after: int = 0, limit: int | None = None) -> list[tuple[int, str]]:
        requests = self._owners[owner].requests
        skipped = min(len(requests), max(0, after - requests[0][0] + 1)) if requests else 0
        return list(islice(requests, skipped, None if limit is None else skipped + limit))

    def observe_commits(self, on_commit: OnCommit) -> None: ...  # it commits nothing

    async def add_shown_ends(self, ends: Sequence[ShownEnd]) -> list[bool]:
        return [self._owners[end.owner].show_end(end) for end in ends]

    async def count_pending(self, now: float, unset_clock: str) -> int:
        counted = [data for data in self._owners.values() if not data.has_own_clock(unset_clock)]
        return sum(data.count_pending(now) for data in counted)

    async def count_pending_of(self, owner: str, now: float) -> int:
        return self._owners[owner].count_pending(now)

    async def owners_with_clock(self, unset_clock: str) -> list[str]:
        return [name for name, data in self._owners.items() if data.has_own_clock(unset_clock)]

    async def next_owner(self, name: str) -> str | None:
        return min((owner for owner in self._owners if owner > name), default=None)

    async def purge(self, owner: str, cutoff: Cutoff, limit: int) -> int:
        data = self._owners[owner]
        ended = data.ends[: bisect_right(data.ends, FeedPosition(cutoff.ended_by))]
        old = await data.first(
            (end.ordinal for end in ended),
            limit,
            lambda job: job.changed_at <= cutoff.changed_by and not data.has_to_deliver(job),
            math.inf,
        )
        for job in old:
            data.delete(job)
        while data.requests and data.requests[0][0] <= cutoff.request:
            data.requests.popleft()
        return len(old)

    async def purge_queued(self, limit: int) -> bool:
        if not self._purge_queue:
            return False
        items = self._purge_queue[-1]
        for _ in range(min(limit, len(items))):
            items.popitem() if isinstance(items, dict) else items.pop()
        if not items:
            self._purge_queue.pop()
        return True

    async def owners_to_notify(self) -> Mapping[str, VirtualTime]:
        found = dict[str, VirtualTime]()
        for owner, data in self._owners.items():
            events = (next_event_at(data.jobs[ordinal]) for ordinal in data.to_notify)
            attempts = (delivery.next_at for delivery in data.deliveries.values())
            if times := [at for at in chain(events, attempts) if at is not None]:
                found[owner] = min(times)
        return found

    async def jobs_to_notify(self, owner: str, position: FeedPosition, now: VirtualTime, limit: int) -> list[Job]:
        data = self._owners[owner]
        events = (event_position(data.jobs[ordinal]) for ordinal in data.to_notify)
        due = sorted(event for event in events if position < event <= FeedPosition(now))
        return _page([data.jobs[event.ordinal] for event in due[:limit]])

    async def deliveries_due(
        self, owner: str, position: tuple[float, str], now: VirtualTime, limit: int
    ) -> list[Delivery]:
        due = {(one.next_at or now, one.id): one for one in self._owners[owner].deliveries.values() if one.is_due(now)}
        return [due[key] for key in sorted(due) if key > position][:limit]

    async def record_deliveries(self, owner: str, deliveries: Sequence[Delivery]) -> None:
        data = self._owners[owner]
        for delivery in deliveries:
            job = data.jobs.get(delivery.ordinal)
            if job and delivery_id(job, delivery.stage) == delivery.id:
                data.put(replace(job, notified=max(job.notified, delivery.stage)))
                data.deliveries[delivery.ordinal, delivery.stage] = delivery
                if delivery.state is DeliveryState.GONE:
                    data.gone.add(delivery.url)

    async def change_delivery(
        self, owner: str, delivery_id: str, change: Callable[[Delivery], Delivery]
    ) -> Delivery | None:
        if (before := await self.find_delivery(owner, delivery_id)) is None:
            return None
        after = self._owners[owner].deliveries[before.ordinal, before.stage] = change(before)
        return after

    async def deliveries(self, owner: str, *, limit: int, before: tuple[int, int] | None = None) -> list[Delivery]:
        stored = self._owners[owner].deliveries
        return [stored[key] for key in sorted(stored, reverse=True) if before is None or key < before][:limit]

    async def find_delivery(self, owner: str, delivery_id: str) -> Delivery | None:
        found = (delivery for delivery in self._owners[owner].deliveries.values() if delivery.id == delivery_id)
        return next(found, None)

    async def gone_urls(self, owner: str) -> set[str]:
        return set(self._owners[owner].gone)

    async def allow_url(self, owner: str, url: str) -> None:
        self._owners[owner].gone.discard(url)

    async def lease(self, owner: str, holder: str, seconds: float) -> bool:  # noqa: ARG002 - there is one process
        return True

    async def release(self, owner: str, holder: str) -> None: ...

    async def check(self) -> None: ...

    async def close(self) -> None:
        self._owners.clear()
        self._purge_queue.clear()
