"""The caches, and subscriptions to changes that other processes make in the store."""

import asyncio
import logging
import math
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import pytest

from translation_server.core.change_feed import MAX_PAGE_SIZE
from translation_server.core.job import Fate, Job, State
from translation_server.core.lru import LRU
from translation_server.core.sandbox import SandboxSettings
from translation_server.documents import reset_document
from translation_server.service import sandbox_cache
from translation_server.service.job_cache import MAX_SIZE, MIN_CAPACITY, CachedOwner, JobCache, Position
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.single_flight import SingleFlight
from translation_server.service.staleness import Staleness
from translation_server.service.synchroniser import Synchroniser
from translation_server.storage import StoreChange, StoreError
from translation_server.storage.memory import MemoryStore
from translation_server.storage.sqlite.store import SqliteStore


class Unversioned(MemoryStore):
    """A store that cannot tell whether other processes have written."""

    async def version(self):
        pass


def synchronise(store, max_age):
    sandboxes = SandboxCache(
        store,
        SandboxSettings,
        started=0.0,
        changeable=True,
        on_change=lambda *_: None,
        staleness=Staleness(store, max_age),
    )
    return Synchroniser(store, sandboxes, lambda: 1000.0)


def pending(ordinal):
    return Job(f"job-{ordinal}", "ann", ordinal, 1000.0, Fate(10.0, State.COMPLETED), changed_at=1000.0)


def cancelled(job):
    return replace(job.cancel(1001.0), changed_at=1001.0)


async def test_unreadable_data_is_logged_and_later_changes_are_published(caplog):
    store = Unversioned()
    with synchronise(store, 0.01).bus.subscribe("ann") as subscription:
        subscription.newest = 0
        await store.change_sandbox("ann", lambda _: "no sandbox")
        async with asyncio.timeout(30):
            while not any(record.exc_info for record in caplog.get_records("call")):
                await subscription.wait(0.01)
            await store.reset_sandbox("ann")
            await store.add("ann", pending)
            while subscription.newest < 1:
                assert not await subscription.wait(30)
            await store.change("ann", "job-1", cancelled)
            assert [changed.cancelled_at for changed in await subscription.wait(30)] == [1001.0]
    assert {record.levelno for record in caplog.get_records("call")} == {logging.WARNING}


class Announcing(MemoryStore):
    """A store that announces the changes that the test puts into a queue."""

    def __init__(self):
        super().__init__()
        self.announced = asyncio.Queue()

    async def version(self):
        pass

    async def changes(self, _seconds):
        return [await self.announced.get()]


async def test_announced_changes_are_published_at_once():
    store, sandbox_changes = Announcing(), asyncio.Queue()
    sandboxes = SandboxCache(
        store,
        SandboxSettings,
        started=0.0,
        changeable=True,
        on_change=lambda *change: sandbox_changes.put_nowait(change),
        staleness=Staleness(store),
    )
    bus = Synchroniser(store, sandboxes, lambda: 1000.0).bus
    for _ in range(3):
        await store.add("ann", pending)
    with bus.subscribe("ann") as subscription:
        store.announced.put_nowait(StoreChange("bob", range(1, 2)))
        await store.change("ann", "job-2", cancelled)
        subscription.newest = 2
        async with asyncio.timeout(30):
            store.announced.put_nowait(StoreChange("ann", range(2, 3)))
            assert [job.id for job in await subscription.wait(30)] == ["job-2"]
            store.announced.put_nowait(StoreChange("ann", range(1, 4)))
            while subscription.newest < 3:
                await subscription.wait(30)
            await sandboxes.of("ann")
            await store.change_sandbox("ann", lambda _: reset_document(1000.0))
            store.announced.put_nowait(StoreChange("ann"))
            assert await sandbox_changes.get() == ("ann", True)


class Counting(SqliteStore):
    """A store that counts the reads of changed jobs and of sandboxes."""

    def __init__(self, path):
        super().__init__(path)
        self.reads = Counter()

    async def changed_after(self, *arguments):
        self.reads["changed jobs"] += 1
        return await super().changed_after(*arguments)

    async def read_sandbox(self, owner):
        self.reads["sandbox"] += 1
        return await super().read_sandbox(owner)


@pytest.fixture
async def stores(tmp_path):
    """Two processes' stores over one file."""
    stores = Counting(tmp_path / "jobs.db"), SqliteStore(tmp_path / "jobs.db")
    yield stores
    for store in stores:
        await store.close()


async def test_one_read_updates_the_cache_and_the_subscriptions(stores):
    store, other = stores
    synchroniser = synchronise(store, 0.05)
    await other.add("ann", pending)
    job = await synchroniser.find("ann", "job-1")
    with synchroniser.bus.subscribe("ann", job) as subscription:
        await asyncio.sleep(0.3)  # until the first reads are done
        store.reads.clear()
        await asyncio.sleep(0.3)
        assert not store.reads
        await other.change("ann", job.id, cancelled)
        assert [changed.cancelled_at for changed in await subscription.wait(30)] == [1001.0]
        assert synchroniser.jobs.latest(job).cancelled_at == 1001.0
        assert store.reads == {"changed jobs": 1, "sandbox": 1}
    with synchroniser.bus.subscribe("ann", job) as subscription:
        assert [changed.cancelled_at for changed in await subscription.wait(0)] == [1001.0]


class Failing(MemoryStore):
    """A store whose version can be unknown."""

    fails = False

    async def version(self):
        if self.fails:
            raise StoreError
        return await super().version()


async def test_cached_data_is_stale_while_the_version_is_unknown():
    store, reads = Failing(), SingleFlight()
    staleness = Staleness(store, max_age=0.0)
    await staleness.check()
    read_at = time.monotonic()
    await staleness.check()
    assert staleness.changed_at < read_at
    store.fails = True
    assert await staleness.check() == math.inf
    assert staleness.is_stale(read_at, "ann", reads)


def test_job_cache_evicts_the_oldest_jobs_of_the_least_recent_owner():
    cache = JobCache()
    for owner in ("ann", "bob"):
        cache.owners[owner] = CachedOwner(Position(0.0, 0.0), 0.0)
    for owner, count in (("ann", 10), ("bob", MIN_CAPACITY)):
        for ordinal in range(count):
            cache.put(cache.owners[owner], replace(pending(ordinal), owner=owner))
    assert "ann" in cache.owners
    assert not cache.owners["ann"].jobs
    cache.put(cache.owners["bob"], replace(pending(MIN_CAPACITY), owner="bob"))
    assert (list(cache.owners), len(cache.owners["bob"].jobs)) == (["bob"], MIN_CAPACITY)


def test_job_cache_evicts_by_size_too():
    cache, cached = JobCache(), CachedOwner(Position(0.0, 0.0), 0.0)
    cache.owners["ann"] = cached
    large = [replace(pending(ordinal), echo_text="x" * (MAX_SIZE // 4)) for ordinal in range(9)]
    for job in large:
        cache.put(cached, job)
        cached.add_id(job, unique=True)
    assert [key.job_id for key in cached.jobs] == list(cached.sole) == ["job-5", "job-6", "job-7", "job-8"]
    cache.put(cached, replace(large[5], changed_at=2000.0))
    assert len(cached.jobs) == 4
    cache.drop("ann")
    cache.owners["bob"] = cached = CachedOwner(Position(0.0, 0.0), 0.0)
    for job in large[:4]:
        cache.put(cached, replace(job, owner="bob"))
    assert len(cached.jobs) == 4


async def test_sandbox_cache_evicts_by_size_too():
    store, evicted = MemoryStore(), []
    sandboxes = SandboxCache(
        store,
        SandboxSettings,
        started=0.0,
        changeable=True,
        on_change=lambda owner, _: evicted.append(owner),
        staleness=Staleness(store),
    )
    padding = " " * (sandbox_cache.MAX_SIZE // 3 - 99)
    for owner in ("ann", "bob", "cid", "dora"):
        await sandboxes.change(owner, lambda _: f"{{}}{padding}")
    assert (evicted, [*sandboxes.states]) == (["ann"], ["bob", "cid", "dora"])
    await sandboxes.clear("bob", 1000.0)
    await sandboxes.change("ann", lambda _: f"{{}}{padding}")
    assert [*sandboxes.states] == ["cid", "dora", "bob", "ann"]


async def test_subscription_keeps_changes_up_to_a_size():
    store = MemoryStore()
    bus = synchronise(store, 60).bus
    large = [replace(pending(ordinal), echo_text="x" * (MAX_PAGE_SIZE - 1)) for ordinal in range(3)]
    with bus.subscribe("ann") as subscription:
        for _ in range(3):
            bus.publish(large[0])
        assert list(await subscription.wait(0)) == [large[0]]
        for job in large:
            bus.publish(job)
        assert await subscription.wait(0) is None
        assert not await subscription.wait(0)


def test_lru_evicts_the_items_that_were_set_longest_ago():
    evicted = []
    cache = LRU[str, int](2, lambda *item: evicted.append(item))
    cache["a"], cache["b"] = 1, 2
    cache["a"] = 3
    cache["c"] = 4
    assert (dict(cache), evicted) == ({"a": 3, "c": 4}, [("b", 2)])
    cache.capacity = 1
    cache["d"] = 5
    assert (dict(cache), evicted[1:]) == ({"d": 5}, [("a", 3), ("c", 4)])


async def test_single_flight_runs_one_task_for_concurrent_callers():
    flights, runs, release = SingleFlight[int](), [], asyncio.Event()

    async def run():
        runs.append(None)
        await release.wait()
        return len(runs)

    callers = [asyncio.create_task(flights.run("key", run)) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()
    release.set()
    assert await asyncio.gather(*callers[1:]) == [1, 1]
    assert "key" not in flights
    assert await flights.run("key", run) == 2


async def test_other_requests_are_served_while_many_subscriptions_are_woken():
    bus = synchronise(MemoryStore(), 60).bus
    with ExitStack() as stack:
        waits = [
            asyncio.create_task(stack.enter_context(bus.subscribe("ann", pending(number))).wait(60))
            for number in range(1000)
        ]
        await asyncio.sleep(0)
        bus.wake("ann")
        for _ in range(3):  # as many turns as the first of them need
            await asyncio.sleep(0)
        assert 0 < sum(wait.done() for wait in waits) < len(waits)
        async with asyncio.timeout(30):
            await asyncio.gather(*waits)


async def test_finished_task_is_not_shared_with_a_caller_who_comes_before_it_is_removed():
    flight, finishing = SingleFlight(), asyncio.Event()

    async def first():
        finishing.set()
        return 1

    async def second():
        return 2

    async def later():
        await finishing.wait()
        return await flight.run("key", second)

    waiting = asyncio.create_task(later())
    await asyncio.sleep(0)
    assert (await flight.run("key", first), await waiting) == (1, 2)
    await asyncio.sleep(0)
    assert "key" not in flight
