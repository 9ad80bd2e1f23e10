"""Subscriptions to changes that other processes make in the store."""

import asyncio
import logging
from dataclasses import replace

import pytest

from translation_server.core.job import Fate, Job, State
from translation_server.core.sandbox import SandboxSettings
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.synchroniser import Synchroniser
from translation_server.storage import Store
from translation_server.storage.memory import MemoryStore
from translation_server.storage.sqlite.store import SqliteStore

pytestmark = pytest.mark.anyio


class Unversioned(MemoryStore):
    """A store that cannot tell whether other processes have written."""

    async def version(self) -> None:
        pass


def synchronise(store: Store, max_age: float) -> Synchroniser:
    sandboxes = SandboxCache(
        store, SandboxSettings, started=0.0, changeable=True, on_change=lambda *_: None, max_age=max_age
    )
    return Synchroniser(store, sandboxes, lambda: 1000.0)


def pending(ordinal: int) -> Job:
    return Job(f"job-{ordinal}", "ann", ordinal, 1000.0, Fate(10.0, State.COMPLETED), changed_at=1000.0)


def cancelled(job: Job) -> Job:
    return replace(job.cancelled(1001.0), changed_at=1001.0)


async def test_unreadable_data_is_logged_and_later_changes_are_published(caplog):
    store = Unversioned()
    with synchronise(store, 0.01).bus.subscribe("ann") as subscription:
        subscription.newest = 0
        await store.change_sandbox("ann", lambda _: "no sandbox")
        async with asyncio.timeout(30):
            while not any(record.exc_info for record in caplog.get_records("call")):
                await subscription.wait(0.01)
            await store.clear("ann")
            await store.add("ann", pending)
            while subscription.newest < 1:
                assert not await subscription.wait(30)
            await store.amend("ann", "job-1", cancelled)
            assert [changed.cancelled_at for changed in await subscription.wait(30)] == [1001.0]
    assert {record.levelno for record in caplog.get_records("call")} == {logging.WARNING}


class Counting(SqliteStore):
    """A store that counts the reads of changed jobs and of sandboxes."""

    reads = 0

    async def amended(self, *arguments) -> list[Job]:
        self.reads += 1
        return await super().amended(*arguments)

    async def sandbox(self, owner: str) -> str | None:
        self.reads += 1
        return await super().sandbox(owner)


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
        store.reads = 0
        await asyncio.sleep(0.3)
        assert store.reads == 0
        await other.amend("ann", job.id, cancelled)
        assert [changed.cancelled_at for changed in await subscription.wait(30)] == [1001.0]
        assert synchroniser.jobs.latest(job).cancelled_at == 1001.0
        assert store.reads <= 2
    with synchroniser.bus.subscribe("ann", job) as subscription:
        assert [changed.cancelled_at for changed in await subscription.wait(0)] == [1001.0]
