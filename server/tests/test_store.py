"""The part of the store protocol that stores jobs, for every store."""

import asyncio
from dataclasses import replace

import pytest

from tests.stores import accepting, add, cancel
from translation_server.core.change_feed import FeedPosition
from translation_server.core.job import Fate, Job, State, json_text
from translation_server.storage import AmbiguousId, Idempotency, IdTaken, KeyReused, Stored, StoreError, open_store
from translation_server.storage.batching import MAX_BATCH_SIZE
from translation_server.storage.memory import MemoryStore
from translation_server.storage.protocol import KEY_BYTES


async def test_job_round_trip(store):
    job = await add(store, created_at=1767323045.678901, delay=0.1 + 0.2)
    assert await store.find("ann", job.id) == job


async def test_pauses_are_stored_each_with_its_times(store):
    job = await add(store, created_at=1000.0, delay=2e9)
    pauses = [(1001.25, 1002.1), (1003.0, 1003.0), (1767323045.678901, 1767323046.0)]
    for began, ended in pauses:
        await store.change("ann", job.id, lambda job, at=began: job.pause(at))
        await store.change("ann", job.id, lambda job, at=ended: job.unpause(at))
    found = await store.find("ann", job.id)
    assert (found.pauses, found.paused_at) == (pauses, None)
    assert found.paused_for == pytest.approx(0.85 + 0.321099)


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_jobs_and_ordinals_survive_a_reopening(url):
    store = open_store(url)
    job = await add(store)
    await store.close()
    reopened = open_store(url)
    assert await reopened.find("ann", job.id) == job
    assert (await reopened.add("ann", accepting())).job.ordinal == 2
    await reopened.close()


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_file_key_is_created_once_for_all_who_open_the_store(url):
    first, second = open_store(url), open_store(url)
    assert len(first.file_key) == KEY_BYTES
    assert first.file_key == second.file_key
    await first.close()
    await second.close()


async def test_each_database_has_a_file_key_of_its_own(store):
    assert store.file_key != MemoryStore().file_key


async def test_jobs_of_other_owners_are_unknown(store):
    job = await add(store)
    assert await store.find("bob", job.id) is None
    assert await store.find_many("bob", [job.id]) == []
    assert await cancel(store, "bob", job.id, 1001.0) is None
    assert (await store.find("ann", job.id)).cancelled_at is None


async def test_ordinals_of_each_owner_have_no_gaps(store):
    jobs = await asyncio.gather(*(add(store, owner) for owner in ["ann", "bob"] * 20))
    for owner in ("ann", "bob"):
        assert sorted(job.ordinal for job in jobs if job.owner == owner) == list(range(1, 21))


async def test_failed_creation_of_a_job_uses_no_ordinal(store):
    def accept(_):
        raise RuntimeError("no entropy")

    with pytest.raises(RuntimeError, match="no entropy"):
        await store.add("ann", accept)
    assert (await add(store)).ordinal == 1


async def test_idempotency_key_returns_the_first_job(store):
    key = Idempotency("key", b"body")
    first = await store.add("ann", accepting(), key)
    again = await store.add("ann", accepting(), key)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.job == first.job
    assert (await store.add("ann", accepting(), Idempotency("other", b"body"))).job != first.job


async def test_idempotency_key_matches_the_fingerprint_of_an_older_version(store):
    first = await store.add("ann", accepting(), Idempotency("key", b"older"))
    again = await store.add("ann", accepting(), Idempotency("key", b"body", former=b"older"))
    assert (again.replayed, again.job) == (True, first.job)


async def test_idempotency_key_with_another_fingerprint_is_refused(store):
    await store.add("ann", accepting(), Idempotency("key", b"body"))
    with pytest.raises(KeyReused):
        await store.add("ann", accepting(), Idempotency("key", b"another"))
    assert (await add(store)).ordinal == 2


async def test_taken_id_is_refused(store):
    def accept(ordinal):
        return Job("mine", "ann", ordinal, 1000.0, Fate(10.0, State.COMPLETED))

    first = (await store.add("ann", accept, Idempotency("key", b""))).job
    with pytest.raises(IdTaken):
        await store.add("ann", accept)
    assert (await store.add("ann", accept, Idempotency("key", b""))).job == first
    assert (await add(store)).ordinal == 2
    assert (await store.add("bob", lambda ordinal: replace(first, owner="bob", ordinal=ordinal))).job.owner == "bob"


async def test_ids_are_unique_per_api_and_kind(store):
    kinds = [("native", "translation"), ("aws", "translation"), ("aws", "transcription")]
    jobs = [await add(store, job_id="mine", api=api, kind=kind) for api, kind in kinds]
    await add(store, "bob", job_id="mine", api="aws", kind="translation")
    for job in jobs:
        assert await store.find("ann", "mine", api=job.api, kind=job.kind) == job
        assert await store.find_many("ann", ["mine", "other"], api=job.api, kind=job.kind) == [job]
        with pytest.raises(IdTaken):
            await add(store, job_id="mine", api=job.api, kind=job.kind)
    assert await store.find("ann", "mine", api="native") == jobs[0]
    assert await store.find("ann", "mine", api="azure") is None
    assert sorted(job.ordinal for job in await store.find_many("ann", ["mine"])) == [1, 2, 3]
    assert (await add(store)).ordinal == 4


async def test_id_of_several_jobs_is_ambiguous(store):
    jobs = [await add(store, job_id="mine", api=api) for api in ("native", "aws")]
    for use in (store.find("ann", "mine"), store.change("ann", "mine", lambda job: job.cancel(1001.0))):
        with pytest.raises(AmbiguousId, match="mine") as refused:
            await use
        assert sorted(refused.value.jobs, key=lambda job: job.ordinal) == jobs
    changed = await store.change("ann", "mine", lambda job: job.cancel(1001.0), api="aws", kind="translation")
    assert (changed.api, changed.cancelled_at) == ("aws", 1001.0)
    assert await store.find("ann", "mine", api="native") == jobs[0]


async def test_input_is_stored_apart_from_the_job(store):
    texts = [None, '{"prompt":"a \\u0000 and a \\ud83d\\ude00"}', '"x"' * 100_000]
    for text in texts:
        await store.add("ann", accepting(), job_input=text)
    assert [await store.read_input("ann", ordinal) for ordinal in (1, 2, 3, 4)] == [*texts, None]
    assert await store.read_input("bob", 2) is None


async def test_input_of_a_repeated_or_failed_submission_is_not_stored(store):
    def fail(_: int) -> Job:
        raise ArithmeticError

    key = Idempotency("key", b"body")
    outcomes = await asyncio.gather(
        store.add("ann", accepting(), key, "1"),
        store.add("ann", accepting(), key, "2"),
        store.add("ann", fail, None, "3"),
        store.add("ann", accepting(), None, "4"),
        return_exceptions=True,
    )
    assert [getattr(outcome, "replayed", None) for outcome in outcomes] == [False, True, None, False]
    assert [await store.read_input("ann", ordinal) for ordinal in (1, 2, 3)] == ["1", "4", None]


async def test_inputs_that_are_large_together_are_all_stored(store):
    text = "x" * (MAX_BATCH_SIZE // 3)
    added = await asyncio.gather(*(store.add("ann", accepting(), None, text) for _ in range(10)))
    assert [await store.read_input("ann", one.job.ordinal) == text for one in added] == [True] * 10


async def test_output_code_and_echo_are_stored(store):
    fate = Fate(10.0, State.ERROR, "no speech", 3, "E1", json_text({"a": [1, "\0\ud83d\ude00", None]}))
    job = await add(store, fate=fate, echo_text=json_text({"input.prompt": "é"}))
    assert await store.find("ann", job.id) == job
    assert job.echo == {"input.prompt": "é"}
    changed = await store.change("ann", job.id, lambda job: replace(job, fate=replace(fate, output="7", code=None)))
    assert await store.find("ann", job.id) == changed != job


async def test_deletion_of_an_ended_job_is_stored_and_keeps_its_id_taken(store):
    job = await add(store, api="aws", delay=1.0)
    changed_at = job.changed_at + 7
    deleted = await store.change("ann", job.id, lambda job: replace(job.delete(1005.0), changed_at=changed_at))
    assert (deleted.cancelled_at, deleted.deleted_at, deleted.changed_before) == (None, 1005.0, job.changed_at)
    assert await store.find("ann", job.id) == deleted
    assert await store.changed_after("ann", FeedPosition(job.changed_at), 9) == [deleted]
    with pytest.raises(IdTaken):
        await add(store, api="aws", job_id=job.id)


async def test_idempotency_keys_belong_to_their_owner(store):
    ann = await store.add("ann", accepting("ann"), Idempotency("key", b"body"))
    bob = await store.add("bob", accepting("bob"), Idempotency("key", b"another"))
    assert (ann.replayed, bob.replayed) == (False, False)


async def test_concurrent_submissions_with_one_key_create_one_job(store):
    added = await asyncio.gather(*(store.add("ann", accepting(), Idempotency("key", b"")) for _ in range(20)))
    assert {stored.job.ordinal for stored in added} == {1}
    assert sum(not stored.replayed for stored in added) == 1


async def test_cancellation_applies_to_pending_jobs_only(store):
    job = await add(store, created_at=1000.0, delay=10.0)
    assert (await cancel(store, "ann", job.id, 1004.0)).cancelled_at == 1004.0
    assert (await cancel(store, "ann", job.id, 1005.0)).cancelled_at == 1004.0
    assert (await store.find("ann", job.id)).cancelled_at == 1004.0
    ended = await add(store, created_at=1000.0, delay=10.0)
    assert (await cancel(store, "ann", ended.id, 1010.0)).cancelled_at is None
    assert await cancel(store, "ann", "unknown", 1004.0) is None


async def test_failed_submission_leaves_concurrent_ones_alone(store):
    first = await add(store)

    def failing(_):
        raise ArithmeticError

    outcomes = await asyncio.gather(
        store.add("ann", accepting()),
        store.add("ann", failing),
        store.add("ann", lambda ordinal: replace(first, ordinal=ordinal)),
        store.add("ann", accepting()),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [Stored, ArithmeticError, IdTaken, Stored]
    page = await store.page("ann", limit=9, before=None, state=None, now=1000.0)
    assert [job.ordinal for job in page] == [3, 2, 1]


async def test_check_of_a_working_store(store):
    await store.check()


@pytest.mark.parametrize("url", ["", "sqlite:///", "sqlite:///a\0b", "sqlite://jobs.db", "jobs.db", "mysql://host/db"])
def test_unsupported_database_url(url):
    with pytest.raises(StoreError, match="use sqlite:///path"):
        open_store(url)


async def test_failed_change_leaves_a_job_as_it_was(store):
    job = await add(store)

    def fail(_):
        raise RuntimeError("not this one")

    with pytest.raises(RuntimeError, match="not this one"):
        await store.change("ann", job.id, fail)
    assert await store.find("ann", job.id) == job
