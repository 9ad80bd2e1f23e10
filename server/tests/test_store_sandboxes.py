"""The parts of the store protocol that store sandboxes, fault counts and request logs, for every store."""

import asyncio
from dataclasses import replace

import pytest

from tests.stores import accepting, add, cancel
from translation_server.core.change_feed import LAST, FeedPosition
from translation_server.core.job import State
from translation_server.storage import Cutoff, Idempotency, open_store
from translation_server.storage.statements import MAX_TRIMMED


async def test_sandbox_changes_are_serialised(store):
    assert await store.read_sandbox("ann") is None
    await asyncio.gather(*(store.change_sandbox("ann", lambda text: (text or "") + "x") for _ in range(20)))
    assert await store.change_sandbox("bob", lambda text: f"{text}, changed") == "None, changed"
    assert await store.read_sandbox("ann") == "x" * 20
    assert (await add(store)).ordinal == 1


async def test_fault_counts(store):
    seen = []

    def draw(count, fired):
        seen.append((count, tuple(fired)))
        return ["rule 1"] if count > 2 and fired[1] < 2 else []

    for _ in range(6):
        await store.count_faults("ann", "poll 1", ["rule 0", "rule 1"], draw)
    await store.count_faults("bob", "poll 1", ["rule 0", "rule 1"], draw)
    assert seen == [(1, (0, 0)), (2, (0, 0)), (3, (0, 0)), (4, (0, 1)), (5, (0, 2)), (6, (0, 2)), (1, (0, 0))]
    assert await store.fault_counts("ann", ["poll 1", "rule 0", "rule 1"]) == [6, 0, 2]
    await store.change_sandbox("ann", lambda _: "", reset_counts=True)
    assert await store.fault_counts("ann", ["poll 1", "rule 1"]) == [0, 0]
    assert await store.fault_counts("bob", ["poll 1"]) == [1]


async def test_concurrent_counts_are_all_counted(store):
    drawn = []
    await asyncio.gather(
        *(store.count_faults("ann", "submit 0", [], lambda count, _: drawn.append(count) or []) for _ in range(50))
    )
    assert sorted(drawn) == list(range(1, 51))


async def test_request_logs_keep_the_newest_records(store):
    assert await store.read_requests("ann") == []
    await store.add_requests([("ann", "a"), ("bob", "b"), ("ann", "c")], 3)
    await store.add_requests([("ann", "d"), ("ann", "e")], 3)
    assert await store.read_requests("ann") == [(2, "c"), (3, "d"), (4, "e")]
    assert await store.read_requests("ann", after=2, limit=1) == [(3, "d")]
    assert await store.read_requests("ann", after=LAST, limit=100) == []
    assert await store.read_requests("bob") == [(1, "b")]


async def test_request_logs_that_are_written_in_large_batches_keep_the_newest_records(store):
    limit, batches = 1_000, (1, 25, 700, 999, 7, 350)
    for batch in batches:
        before = sum(batches[: batches.index(batch)])
        await store.add_requests([("ann", f"record {before + number}") for number in range(1, batch + 1)], limit)
    records, last = await store.read_requests("ann"), sum(batches)
    assert records == [(number, f"record {number}") for number in range(last - len(records) + 1, last + 1)]
    assert limit <= len(records) <= 1.01 * limit
    first = records[0][0]
    for after in (0, first, first + 4, first + 5, first + 6, last - 1, last):
        expected = [record for record in records if record[0] > after]
        assert await store.read_requests("ann", after=after) == expected
        assert await store.read_requests("ann", after=after, limit=3) == expected[:3]

    await store.purge("ann", Cutoff(0, 0, first + 500), 9)
    left = await store.read_requests("ann")
    assert left == records[-len(left) :]
    assert 0 <= len(left) - (last - first - 500) < 10
    await store.purge("ann", Cutoff(0, 0, last), 9)
    assert await store.read_requests("ann") == []


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_request_logs_are_trimmed_in_steps_after_a_lower_limit(store):
    many = 2 * MAX_TRIMMED + 100
    await store.add_requests([("ann", "a")] * many, 99)
    sizes = [len(await store.read_requests("ann"))]
    for _ in range(2):
        await store.add_requests([("ann", "a")], 2)
        sizes.append(len(await store.read_requests("ann")))
    assert sizes == [MAX_TRIMMED + 99, 99, 2]
    assert [number for number, _ in await store.read_requests("ann")] == [many + 1, many + 2]


async def test_reset_deletes_everything_of_one_owner(store):
    for owner in ("ann", "bob"):
        for number in range(3):
            await store.add(owner, accepting(owner), Idempotency(f"key {number}", b"body"), "{}")
        await cancel(store, owner, f"{owner}-1", 1005.0)
        await store.change_sandbox(owner, lambda _: "settings")
        await store.count_faults(owner, "poll 1", [], lambda *_: [])
        await store.add_requests([(owner, "record")] * 3, 9)
    for text in ("new", None):
        await store.reset_sandbox("ann", text)
        assert await store.find("ann", "ann-1") is None
        assert await store.find_many("ann", ["ann-1", "ann-2"]) == []
        for state in (None, *State):
            assert await store.page("ann", limit=9, before=None, state=state, now=1005.0) == []
        assert await store.accepted_after("ann", 0, 9) == []
        assert await store.ending_after("ann", FeedPosition(0.0), 9) == []
        assert await store.changed_after("ann", FeedPosition(0.0), 9) == []
        assert await store.change("ann", "ann-2", lambda job: job) is None
        assert (await store.read_sandbox("ann"), await store.fault_counts("ann", ["poll 1"])) == (text, [0])
        assert (await store.read_requests("ann"), await store.read_input("ann", 1)) == ([], None)
        assert await store.purge("ann", Cutoff(9e9, 9e9, 9), 9) == 0
        added = await store.add("ann", accepting(), Idempotency("key 0", b"another"))
        assert (added.replayed, added.job.ordinal, added.job.owner) == (False, 1, "ann")
        assert (await cancel(store, "ann", "ann-1", 1006.0)).cancelled_at == 1006.0
        assert [job.owner for job in await store.ending_after("ann", FeedPosition(0.0), 9)] == ["ann"]
        await store.add_requests([("ann", "new")], 9)
        await store.count_faults("ann", "poll 1", [], lambda *_: [])
        assert (await store.read_requests("ann"), await store.fault_counts("ann", ["poll 1"])) == ([(1, "new")], [1])
    assert [job.ordinal for job in await store.page("bob", limit=9, before=None, state=None, now=0)] == [3, 2, 1]
    assert (await store.read_sandbox("bob"), await store.fault_counts("bob", ["poll 1"])) == ("settings", [1])
    assert await store.read_requests("bob") == [(1, "record"), (2, "record"), (3, "record")]


async def test_purge_after_a_reset_deletes_only_old_rows(store):
    for _ in range(5):
        await store.add("ann", accepting(), job_input="old")
        await store.count_faults("ann", "poll 1", [], lambda *_: [])
        await store.add_requests([("ann", "record")], 9)
    await store.change_sandbox("ann", lambda _: "", reset_counts=True)
    await store.reset_sandbox("ann", "new")
    job = (await store.add("ann", accepting(), job_input="new")).job
    await store.count_faults("ann", "poll 1", [], lambda *_: [])
    await store.add_requests([("ann", "record")], 9)
    steps = 0
    while await store.purge_queued(2):
        steps += 1
    assert steps >= 9
    assert await store.page("ann", limit=9, before=None, state=None, now=0) == [job]
    assert (await store.fault_counts("ann", ["poll 1"]), await store.read_requests("ann")) == ([1], [(1, "record")])
    assert await store.read_input("ann", 1) == "new"


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_purge_after_a_reset_by_two_processes(url):
    store, other = open_store(url), open_store(url)
    try:
        for _ in range(3):
            await asyncio.gather(*(add(store) for _ in range(10)))
            await store.reset_sandbox("ann", "new")
        assert await store.purge_queued(4)
        while any(await asyncio.gather(store.purge_queued(4), other.purge_queued(4))):
            pass
        assert [await each.purge_queued(4) for each in (store, other)] == [False, False]
        assert (await add(other)).ordinal == 1
    finally:
        await store.close()
        await other.close()


async def test_purge_deletes_only_old_data(store):
    paused = await add(store, created_at=1000, delay=0)
    await store.change("ann", paused.id, lambda job: replace(job, paused_at=1000.0))
    await add(store, created_at=1000, delay=1000)
    await cancel(store, "ann", (await add(store, created_at=1000, delay=1000)).id, 1001.5)
    for delay in (1, 2, 3):
        await add(store, created_at=1000, delay=delay)
    await add(store, "bob", created_at=1000, delay=1)
    idempotency = Idempotency("key", b"body")
    await store.add("ann", accepting(created_at=1000, delay=0.5), idempotency, "old")
    assert await store.read_input("ann", 7) == "old"
    for ordinal in (1, 7):
        await store.count_faults("ann", f"poll {ordinal}", [], lambda *_: [])
    await store.add_requests([("ann", record) for record in "abc"], 9)

    cutoff = Cutoff(1002, 1001, 2)
    assert [await store.purge("ann", cutoff, 2) for _ in range(3)] == [2, 1, 0]
    assert [job.ordinal for job in await store.page("ann", limit=9, before=None, state=None, now=0)] == [6, 3, 2, 1]
    assert await store.purge("ann", replace(cutoff, changed_by=1002), 9) == 1
    assert [job.ordinal for job in await store.page("ann", limit=9, before=None, state=None, now=0)] == [6, 2, 1]
    assert await store.find("bob", "bob-1")
    assert await store.fault_counts("ann", ["poll 1", "poll 7"]) == [1, 0]
    assert await store.read_input("ann", 7) is None
    assert await store.read_requests("ann") == [(3, "c")]
    assert (await store.add("ann", accepting(), idempotency)).job.ordinal == 8

    await store.purge("ann", replace(cutoff, request=3), 9)
    await store.add_requests([("ann", "d")], 9)
    assert await store.read_requests("ann") == [(4, "d")]


async def test_purge_skips_recently_changed_jobs(store):
    for _ in range(2):
        job = await add(store, created_at=1000, delay=1)
        await store.change("ann", job.id, lambda job: replace(job, changed_at=5000.0))
    await add(store, created_at=1000, delay=2)
    assert await store.purge("ann", Cutoff(2000, 2000), 2) == 1


async def test_ordinals_continue_after_a_purge(store):
    await add(store)
    assert await store.purge("ann", Cutoff(2000, 2000), 9) == 1
    assert await store.find("ann", "ann-1") is None
    assert (await add(store)).ordinal == 2


async def test_next_owner(store):
    for owner in ("bob", "ann", "cid"):
        await add(store, owner)
    await store.add_requests([("dora", "record")], 9)
    owners, owner = [], ""
    while (owner := await store.next_owner(owner)) is not None:
        owners.append(owner)
    assert owners == ["ann", "bob", "cid", "dora"]


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_concurrent_purges(url):
    stores = [open_store(url) for _ in range(3)]
    for _ in range(50):
        await add(stores[0])
    purged = await asyncio.gather(*(store.purge("ann", Cutoff(2000, 2000), 10) for store in stores * 4))
    assert sum(purged) == 50
    for store in stores:
        await store.close()
