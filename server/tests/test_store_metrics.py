"""The part of the store protocol for metrics, for every store."""

import asyncio

from tests.stores import accepting, add
from translation_server.storage import Cutoff, ShownEnd

UNSET = '"clock":{}'


def end_of(job):
    return ShownEnd(job.owner, job.ordinal, job.id)


async def test_an_end_is_new_once(store):
    jobs = [await add(store) for _ in range(3)]
    first, second, third = map(end_of, jobs)
    assert await store.add_shown_ends([second, first]) == [True, True]
    assert await store.add_shown_ends([first, third, first._replace(owner="bob")]) == [False, True, False]
    assert await store.add_shown_ends([]) == []


async def test_concurrent_processes_add_each_end_once(store):
    ends = [end_of(await add(store)) for _ in range(10)]
    added = await asyncio.gather(*(store.add_shown_ends(ends[start:] + ends[:start]) for start in range(10)))
    assert sum(map(sum, added)) == 10


async def test_ends_are_new_again_after_a_reset(store):
    before = end_of(await add(store))
    assert await store.add_shown_ends([before]) == [True]
    await store.reset_sandbox("ann")
    after = end_of(await add(store, job_id="new"))
    assert (before.ordinal, after.ordinal) == (1, 1)
    assert await store.add_shown_ends([before, after]) == [False, True]
    while await store.purge_queued(100):
        pass
    assert await store.add_shown_ends([after]) == [False]


async def test_shown_ends_are_purged_with_their_jobs(store):
    job = await add(store, delay=1.0)
    await store.add_shown_ends([end_of(job)])
    assert await store.purge("ann", Cutoff(2000.0, 2e9), 10) == 1
    assert await store.add_shown_ends([end_of(job)]) == [False]


async def test_pending_jobs_of_all_owners(store):
    for owner, delay in (("ann", 1.0), ("ann", 5.0), ("bob", 5.0), ("cat", 5.0)):
        await store.add(owner, accepting(owner, delay=delay))
    await store.change_sandbox("bob", lambda _: f"{{{UNSET}}}")
    await store.change_sandbox("cat", lambda _: '{"clock":{"settings":[]}}')
    await store.change_sandbox("dan", lambda _: "{}")
    assert await store.count_pending(1000.0, UNSET) == 3
    assert await store.count_pending(1001.0, UNSET) == 2
    assert await store.count_pending(1005.0, UNSET) == 0
    assert sorted(await store.owners_with_clock(UNSET)) == ["cat", "dan"]
    assert [await store.count_pending_of("cat", now) for now in (1004.0, 1005.0)] == [1, 0]
    assert await store.count_pending_of("dan", 0.0) == 0
    await store.reset_sandbox("ann", f"{{{UNSET}}}")
    assert await store.count_pending(1000.0, UNSET) == 1


async def test_commits_are_observed(store):
    seen = []
    store.observe_commits(lambda waits, succeeded: seen.append((len(waits), succeeded)))
    await asyncio.gather(*(add(store) for _ in range(5)))
    assert sum(number for number, _ in seen) in {0, 5}  # memory commits nothing
    assert all(succeeded for _, succeeded in seen)
