"""The use cases of jobs: caches, and processes whose clocks disagree."""

import asyncio
from dataclasses import replace

import pytest

from translation_server.core.delays import Fixed, Uniform
from translation_server.core.dialects.builtin import DIALECTS
from translation_server.core.dialects.dialect import Api
from translation_server.core.job import State, Submission
from translation_server.core.sandbox import SandboxSettings
from translation_server.service.jobs import JobNotFound, Service
from translation_server.service.staleness import Staleness
from translation_server.storage import AmbiguousId, Idempotency
from translation_server.storage.memory import MemoryStore
from translation_server.storage.sqlite.store import SqliteStore


@pytest.fixture
def service(store):
    """Makes the service of a process whose clock is so many seconds ahead."""
    sandbox = SandboxSettings(delay=Uniform(1000, 1000))

    def service(ahead):
        return Service(store, lambda: sandbox, clock=lambda: 5000.0 + sum(ahead), entropy=lambda: bytes(64))

    return service


async def test_cancel_shows_although_the_clock_was_set_back(service):
    ahead = [1.0]
    one = service(ahead)
    job_id = (await one.submit("ann", Submission())).snapshot.job.id
    assert (await one.snapshot("ann", job_id)).state is State.PENDING
    ahead[0] = 0.0
    assert (await one.cancel("ann", job_id)).state is State.CANCELLED
    assert (await one.snapshot("ann", job_id)).state is State.CANCELLED


async def test_cancel_by_a_process_whose_clock_is_behind_shows(service):
    one, other = service([1.0]), service([])
    job_id = (await one.submit("ann", Submission())).snapshot.job.id
    for process in (one, other):
        assert (await process.snapshot("ann", job_id)).state is State.PENDING
    assert (await other.cancel("ann", job_id)).state is State.CANCELLED
    assert (await other.snapshot("ann", job_id)).state is State.CANCELLED


async def test_each_api_sees_its_own_jobs(service):
    one = service([])
    apis = ("native", "aws")
    native, aws = [(await one.submit("ann", Submission(), api=api, job_id="mine")).snapshot for api in apis]
    for _ in range(2):  # from the store, then from the cache
        assert (await one.snapshot("ann", "mine", api="aws", kind="translation")).job == aws.job
        assert (await one.snapshot("ann", "mine", api="native")).job == native.job
        with pytest.raises(AmbiguousId):
            await one.snapshot("ann", "mine")
        with pytest.raises(JobNotFound):
            await one.snapshot("ann", "mine", api="aws", kind="transcription")
    with pytest.raises(AmbiguousId):
        await one.snapshots("ann", ["other", "mine"])
    assert [found.job for found in (await one.snapshots("ann", ["mine"], api="aws"))[0]] == [aws.job]
    assert [found.job for found in (await one.page("ann", limit=9, api="aws")).snapshots] == [aws.job]
    assert (await one.cancel("ann", "mine", api="aws", kind="translation")).state is State.CANCELLED
    assert (await one.snapshot("ann", "mine", api="native")).state is State.PENDING


async def test_a_job_is_found_in_its_api_and_stays_in_memory_while_its_id_is_unique(service):
    one, other = service([]), service([])
    await one.snapshot("ann", (await one.submit("ann", Submission())).snapshot.job.id)
    made = (await one.submit("ann", Submission(), api="aws", job_id="made", chosen=False)).snapshot.job
    mine = (await one.submit("ann", Submission(), api="aws", job_id="mine")).snapshot.job
    assert (one.cached_job("ann", "made"), one.cached_job("ann", "mine")) == (made, None)
    for process in (one, other):
        assert await process.find_in_api("ann", "made", "aws") == made
        assert await process.find_in_api("ann", "mine", "aws") == mine
        assert process.cached_job("ann", "mine") == mine
        for unknown in (("ann", "made", "fal"), ("bob", "made", "aws"), ("ann", "other", "aws")):
            with pytest.raises(JobNotFound):
                await process.find_in_api(*unknown)
    await one.submit("ann", Submission(), api="fal", job_id="mine")
    assert one.cached_job("ann", "mine") is None
    assert await one.find_in_api("ann", "mine", "aws") == mine
    await one.submit("ann", Submission(), api="aws", kind="other", job_id="mine")
    with pytest.raises(AmbiguousId):
        await one.find_in_api("ann", "mine", "aws")


async def test_id_that_becomes_ambiguous_is_noticed(service):
    one = service([])
    first = (await one.submit("ann", Submission(), job_id="mine")).snapshot
    assert (await one.snapshot("ann", "mine")).job == first.job
    await one.submit("ann", Submission(), api="aws", job_id="mine")
    with pytest.raises(AmbiguousId):
        await one.snapshot("ann", "mine")


async def test_long_poll_ignores_a_job_of_the_same_id(service):
    one = service([])
    mine = {"owner": "ann", "submission": Submission(), "job_id": "mine"}
    pending = (await one.submit(**mine)).snapshot
    await one.submit(**mine, api="aws")
    hold = asyncio.create_task(one.hold(pending, 60, lambda snapshot: snapshot.job.due_at))
    await asyncio.sleep(0)
    await one.cancel("ann", "mine", api="aws")
    await one.cancel("ann", "mine", api="native")
    assert ((await hold).job.api, (await hold).state) == ("native", State.CANCELLED)


async def test_deleted_job_is_unknown_to_its_api_only(service):
    one, aws = service([]), {"api": "aws", "kind": "translation"}
    job_id = (await one.submit("ann", Submission(), **aws)).snapshot.job.id
    dialect = replace(DIALECTS[0], api=Api(name="aws"))
    await one.snapshot("ann", job_id)
    assert one.render_cached("ann", job_id, dialect)
    assert (await one.delete("ann", job_id, **aws)).state is State.CANCELLED
    assert one.render_cached("ann", job_id, dialect) is None
    for use in (one.snapshot, one.cancel, one.delete):
        with pytest.raises(JobNotFound):
            await use("ann", job_id, **aws)
    assert await one.snapshots("ann", [job_id], api="aws") == ([], [job_id])
    assert (await one.page("ann", limit=9, api="aws")).snapshots == []
    assert (await one.snapshot("ann", job_id)).job.deleted_at == 5000.0
    assert [found.job.id for found in (await one.page("ann", limit=9)).snapshots] == [job_id]
    assert await one.ordinal("ann", job_id, **aws) == 1


async def test_each_api_has_idempotency_keys_of_its_own(service):
    one = service([])
    key = Idempotency("key", b"")
    first, again, other = [
        await one.submit("ann", Submission(), api=api, idempotency=key) for api in ("aws", "aws", "azure")
    ]
    assert (again.replayed, other.replayed, again.snapshot.job) == (True, False, first.snapshot.job)


class CountingFinds(MemoryStore):
    """A store that counts the jobs that are read by their ids."""

    finds = 0

    async def find(self, owner, job_id, **of):
        self.finds += 1
        return await super().find(owner, job_id, **of)


@pytest.mark.usefixtures("untraced")
async def test_capacity_of_the_caches_follows_the_number_of_users(caplog):
    caplog.set_level("INFO", "translation_server")
    store = CountingFinds()
    sandbox = SandboxSettings(delay=Fixed(0))
    service = Service(store, lambda: sandbox, clock=lambda: 5000.0, entropy=lambda: bytes(64))
    service.set_users(30_000)
    owners = [f"u{number}" for number in range(12_000)]  # 24,000 jobs are more than fit by default
    jobs = [(await service.submit(owner, Submission())).snapshot.job for owner in owners for _ in range(2)]
    for finds in (len(jobs), 0, 0):
        store.finds = 0
        for job in jobs:
            assert (await service.snapshot(job.owner, job.id)).state is not State.PENDING
        assert store.finds == finds
    assert caplog.text.count(" ended: ") == len(jobs)


class CountingReads(SqliteStore):
    """A store that counts the reads of changed jobs."""

    reads = 0

    async def changed_after(self, owner, *position):
        self.reads += 1
        return await super().changed_after(owner, *position)


async def test_changes_are_read_only_after_another_process_has_written(tmp_path):
    store, other = CountingReads(tmp_path / "jobs.db"), SqliteStore(tmp_path / "jobs.db")
    sandbox = SandboxSettings(delay=Fixed(1e9))
    service = Service(
        store,
        lambda: sandbox,
        clock=lambda: 5000.0,
        entropy=lambda: bytes(64),
        staleness=Staleness(store, max_age=0.05, max_wait=60),
    )
    jobs = [(await service.submit(f"u{number}", Submission())).snapshot.job for number in range(20)]

    async def states():
        await asyncio.sleep(0.06)  # until the cached jobs are stale
        return {(await service.snapshot(job.owner, job.id)).state for job in jobs}

    for _ in range(2):
        assert await states() == {State.PENDING}
    store.reads = 0
    for _ in range(3):
        assert await states() == {State.PENDING}
        await service.submit("u0", Submission())
    assert store.reads == 0
    cancelled = jobs[-1]
    await other.change(cancelled.owner, cancelled.id, lambda job: replace(job.cancel(5000.0), changed_at=5001.0))
    assert await states() == {State.PENDING, State.CANCELLED}
    await store.close()
    await other.close()
