"""Retention: old jobs and request records are deleted, in every store."""

import asyncio

import pytest

from tests.processes import wait_until
from translation_server.core.job import Fate, Job, State
from translation_server.core.sandbox import SandboxSettings
from translation_server.documents import ClockChange, change_clock
from translation_server.service.retention import STEP, purge, purge_forever
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.staleness import Staleness

HOUR = 3600.0
NOW = 1_000_000.0


async def add(store, owner, *, changed_at, created_at=None, delay=0.0, paused=False):
    created_at = changed_at if created_at is None else created_at

    def accept(ordinal):
        paused_at = created_at if paused else None
        fate = Fate(delay, State.COMPLETED)
        return Job(f"{owner}-{ordinal}", owner, ordinal, created_at, fate, paused_at=paused_at, changed_at=changed_at)

    await store.add(owner, accept)


async def ordinals(store, owner):
    return sorted(job.ordinal for job in await store.page(owner, limit=999, before=None, state=None, now=0))


def sandboxes(store):
    options = {"changeable": True, "on_change": lambda *_: None, "staleness": Staleness(store)}
    return SandboxCache(store, SandboxSettings, started=0.0, **options)


async def test_only_jobs_that_ended_long_ago_are_deleted(store):
    for age, delay in ((3, 0), (3, 1.5 * HOUR), (3, 2.5 * HOUR), (1, 0)):
        await add(store, "ann", changed_at=NOW - age * HOUR, delay=delay)
    await add(store, "ann", changed_at=NOW - 9 * HOUR, paused=True)
    await purge(store, sandboxes(store), 2 * HOUR, lambda: NOW)
    assert await ordinals(store, "ann") == [2, 3, 4, 5]
    await purge(store, sandboxes(store), 2 * HOUR, lambda: NOW + HOUR)
    assert await ordinals(store, "ann") == [3, 5]


async def test_ends_are_those_on_the_clock_of_the_sandbox(store):
    for owner, change, set_at, created_at in (
        ("frozen", {"frozen": True}, NOW - 9 * HOUR, NOW - 9 * HOUR),
        ("advanced", {"advance": 99 * HOUR}, NOW - HOUR, NOW - 5 * HOUR),
    ):
        document = ClockChange.model_validate(change)
        await store.change_sandbox(owner, lambda text, by=document, at=set_at: change_clock(text, by, at))
        await add(store, owner, changed_at=NOW - 5 * HOUR, created_at=created_at, delay=6 * HOUR)
    await purge(store, sandboxes(store), 2 * HOUR, lambda: NOW)
    assert [await ordinals(store, owner) for owner in ("frozen", "advanced")] == [[1], [1]]
    await purge(store, sandboxes(store), 2 * HOUR, lambda: NOW + 1.5 * HOUR)
    assert [await ordinals(store, owner) for owner in ("frozen", "advanced")] == [[1], []]


async def test_purge_visits_all_owners_and_takes_many_steps(store):
    for owner, count in (("ann", 2 * STEP + 1), ("bob", 1)):
        for _ in range(count):
            await add(store, owner, changed_at=0.0, delay=1.0)
    records = [("cid", f'{{"at":{at},"virtual_at":0,"took":0,"method":"GET","path":"/"}}') for at in (1, 2)]
    await store.add_requests(records, 9)
    await purge(store, sandboxes(store), HOUR, lambda: HOUR + 1.5)
    assert [await ordinals(store, owner) for owner in ("ann", "bob")] == [[], []]
    assert [number for number, _ in await store.read_requests("cid")] == [2]


@pytest.mark.parametrize("url", ["memory"], indirect=True)
async def test_failed_purge_is_logged_and_retried(store, caplog):
    await store.add_requests([("ann", "not a record")], 9)
    await add(store, "bob", changed_at=0.0, delay=1.0)
    purging = asyncio.create_task(purge_forever(store, sandboxes(store), 0.1, lambda: NOW))
    async with asyncio.timeout(30):
        while await ordinals(store, "bob"):
            if "retention: purge failed, retrying in 0.01 s: " in caplog.text:
                await store.reset_sandbox("ann")
            await asyncio.sleep(0.01)
    purging.cancel()


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_server_deletes_old_jobs_and_their_idempotency_keys(start, url):
    api = start(database_url=url, retention="1s", max_delay=0)
    old = api.submit({}, **{"Idempotency-Key": "key"})
    pending = api.submit({"simulate": {"delay": 1000}})
    wait_until(lambda: [job["job_id"] for job in api.get("/jobs").json()["jobs"]] == [pending])
    assert api.submit({}, **{"Idempotency-Key": "key"}) != old
