"""What callers can do with their jobs, told by clocks that do not agree."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from translation_server.core.delays import Fixed, Uniform
from translation_server.core.job import Job, State, Submission
from translation_server.core.sandbox import SandboxSettings
from translation_server.service.jobs import Service
from translation_server.storage.memory import MemoryStore
from translation_server.storage.sqlite.store import SqliteStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def service(store):
    """Makes a process over the store; its clock is so many seconds ahead."""
    sandbox = SandboxSettings(delay=Uniform(1000, 1000))

    def service(ahead: list[float]) -> Service:
        return Service(store, lambda: sandbox, clock=lambda: 5000.0 + sum(ahead), entropy=lambda: bytes(64))

    return service


async def test_what_is_done_by_a_clock_that_was_set_back_is_seen(service):
    ahead = [1.0]
    one = service(ahead)
    job_id = (await one.submit("ann", Submission())).snapshot.job.id
    assert (await one.snapshot("ann", job_id)).state is State.PENDING
    ahead[0] = 0.0
    assert (await one.cancel("ann", job_id)).state is State.CANCELLED
    assert (await one.snapshot("ann", job_id)).state is State.CANCELLED


async def test_what_a_server_does_whose_clock_is_behind_is_seen(service):
    one, other = service([1.0]), service([])
    job_id = (await one.submit("ann", Submission())).snapshot.job.id
    for there in (one, other):
        assert (await there.snapshot("ann", job_id)).state is State.PENDING
    assert (await other.cancel("ann", job_id)).state is State.CANCELLED
    assert (await other.snapshot("ann", job_id)).state is State.CANCELLED


class Reading(MemoryStore):
    """A store that counts the jobs that are read by their ids."""

    read = 0

    async def find(self, owner: str, job_id: str) -> Job | None:
        self.read += 1
        return await super().find(owner, job_id)


async def test_what_is_at_hand_follows_the_number_of_users(caplog):
    caplog.set_level("INFO", "translation_server")
    store = Reading()
    sandbox = SandboxSettings(delay=Fixed(0))
    service = Service(store, lambda: sandbox, clock=lambda: 5000.0, entropy=lambda: bytes(64))
    service.set_users(30_000)
    owners = [f"u{number}" for number in range(12_000)]  # with 24,000 jobs: more than fit, if it did not
    jobs = [(await service.submit(owner, Submission())).snapshot.job for owner in owners for _ in range(2)]
    for read in (len(jobs), 0, 0):
        store.read = 0
        for job in jobs:
            assert (await service.snapshot(job.owner, job.id)).state is not State.PENDING
        assert store.read == read
    assert caplog.text.count(" ended: ") == len(jobs)


class Asked(SqliteStore):
    """A store that counts how often it is asked what was done to an owner's jobs."""

    asked = 0

    async def amended(self, owner: str, *place: Any) -> list[Job]:
        self.asked += 1
        return await super().amended(owner, *place)


async def test_the_store_is_asked_about_owners_only_once_others_have_written_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr("translation_server.service.freshness.MAX_WAIT", 60)
    store, other = Asked(tmp_path / "jobs.db"), SqliteStore(tmp_path / "jobs.db")
    sandbox = SandboxSettings(delay=Fixed(1e9))
    service = Service(store, lambda: sandbox, clock=lambda: 5000.0, entropy=lambda: bytes(64), max_age=0.05)
    jobs = [(await service.submit(f"u{number}", Submission())).snapshot.job for number in range(20)]

    async def states() -> set[State]:
        await asyncio.sleep(0.06)  # what was known is old by now
        return {(await service.snapshot(job.owner, job.id)).state for job in jobs}

    for _ in range(2):
        assert await states() == {State.PENDING}
    store.asked = 0
    for _ in range(3):
        assert await states() == {State.PENDING}
        await service.submit("u0", Submission())
    assert store.asked == 0
    cancelled = jobs[-1]
    await other.amend(cancelled.owner, cancelled.id, lambda job: replace(job.cancelled(5000.0), changed_at=5001.0))
    assert await states() == {State.PENDING, State.CANCELLED}
    for one in (store, other):
        await one.close()
