"""Pages of jobs in a store, and their orders, for every store."""

import asyncio
from dataclasses import replace

import pytest

from tests.stores import add, cancel
from translation_server.core.change_feed import LAST, MAX_PAGE_SIZE, FeedPosition, is_full
from translation_server.core.job import Fate, Job, JobSnapshot, State, json_text
from translation_server.storage.statements import MAX_SORTED


async def test_pages_of_an_api_are_without_deleted_jobs(store):
    for _ in range(3):
        job = await add(store, api="aws", delay=1000.0)
    deleted = await store.change("ann", job.id, lambda job: job.delete(1005.0))
    assert (deleted.deleted_at, await store.find("ann", job.id, api="aws")) == (1005.0, deleted)
    for state, native in ((None, [3, 2, 1]), (State.PENDING, [2, 1]), (State.CANCELLED, [3])):
        page = {"limit": 9, "before": None, "state": state, "now": 1010.0}
        own = [2, 1] if state is not State.CANCELLED else []
        assert [job.ordinal for job in await store.page("ann", **page, api="aws")] == own
        assert [job.ordinal for job in await store.page("ann", **page)] == native


@pytest.mark.parametrize("large", ["output", "echo_text", "pauses_text"])
async def test_pages_of_large_jobs_are_shorter_than_their_limit(store, large):
    store.window = 7
    text = json_text("x" * (MAX_PAGE_SIZE // 4))
    fields = {"fate": Fate(10.0, State.COMPLETED, output=text)} if large == "output" else {large: text}
    for ordinal in range(1, 11):
        await add(store, **fields, changed_at=2000.0 + ordinal)

    def ordinals(jobs: list[Job]) -> list[int]:
        return [job.ordinal for job in jobs]

    for state in (None, State.COMPLETED, State.PENDING):
        page = {"limit": 9, "state": state, "now": 1005.0 if state is State.PENDING else 2000.0}
        assert ordinals(await store.page("ann", **page, before=None))[:4] == [10, 9, 8, 7]
        assert ordinals(await store.page("ann", **page, before=3)) == [2, 1]
        for before in (5, 7, None):
            assert is_full(await store.page("ann", **page, before=before), 9)
    assert ordinals(await store.accepted_after("ann", 2, 9)) == [3, 4, 5, 6]
    assert ordinals(await store.ending_after("ann", FeedPosition(1010.0, 5), 9)) == [6, 7, 8, 9]
    assert ordinals(await store.changed_after("ann", FeedPosition(2003.0, 3), 9)) == [4, 5, 6, 7]
    ids = [f"ann-{ordinal}" for ordinal in range(1, 11)]
    assert len(await store.find_many("ann", ids)) == 4
    assert ordinals(await store.find_many("ann", ids[:3])) == [1, 2, 3]


async def test_pages_of_an_api_and_a_kind(store):
    store.window = 3
    kinds = [("native", "translation"), ("aws", "translation"), ("aws", "transcription")] * 4
    for number, (api, kind) in enumerate(kinds):
        await add(store, api=api, kind=kind, delay=10.0 if number < 6 else 100.0)

    async def page(state: State | None = None, before: int | None = None, **of: str) -> list[int]:
        jobs = await store.page("ann", limit=3, before=before, state=state, now=1020.0, **of)
        return [job.ordinal for job in jobs]

    assert [await page(api="aws"), await page(api="aws", before=9)] == [[12, 11, 9], [8, 6, 5]]
    assert await page(api="aws", kind="translation", before=11) == [8, 5, 2]
    assert await page(State.PENDING, api="aws", kind="transcription") == [12, 9]
    assert await page(State.COMPLETED, api="aws", kind="translation") == [5, 2]
    assert await page(api="azure") == []


async def test_pages_are_newest_first(store):
    for _ in range(5):
        await add(store)
    await add(store, "bob")

    async def page(before):
        return [job.ordinal for job in await store.page("ann", limit=2, before=before, state=None, now=1000.0)]

    assert [await page(None), await page(4), await page(2), await page(1)] == [[5, 4], [3, 2], [1], []]


@pytest.mark.parametrize(
    ("state", "ordinals"),
    [(State.PENDING, [1]), (State.COMPLETED, [2]), (State.ERROR, [3]), (State.CANCELLED, [4]), (None, [5, 4, 3, 2, 1])],
)
async def test_pages_by_state(store, state, ordinals):
    await add(store, delay=100.0)
    await add(store, delay=10.0)
    await add(store, delay=10.0, outcome=State.ERROR)
    await cancel(store, "ann", (await add(store, delay=10.0)).id, 1005.0)
    if state is None:
        await add(store)
    page = await store.page("ann", limit=10, before=None, state=state, now=1010.0)
    assert [job.ordinal for job in page] == ordinals


async def test_find_many(store):
    jobs = [await add(store) for _ in range(3)]
    await add(store, "bob")
    some = await store.find_many("ann", ["ann-3", "unknown", "ann-1", "bob-1"])
    assert sorted(some, key=lambda job: job.ordinal) == [jobs[0], jobs[2]]
    assert await store.find_many("ann", []) == []


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_long_search_for_a_page_does_not_block_other_requests(store):
    store.window = 2
    first = await add(store)
    await asyncio.gather(*(add(store, delay=1e9) for _ in range(400)))
    search = asyncio.create_task(store.page("ann", limit=9, before=None, state=State.COMPLETED, now=2000.0))
    await asyncio.sleep(0)
    assert await store.find("ann", first.id) == first
    assert not search.done()
    assert await search == [first]


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("pending", [10, MAX_SORTED + 10])
async def test_pages_by_state_among_many_jobs(store, pending):
    store.window = MAX_SORTED // 4 - 1
    ended = [{"delay": 10.0, "outcome": outcome} for outcome in (State.COMPLETED, State.ERROR)] * 5
    fields = [*ended, *[{"delay": 1000.0}] * pending, *ended]
    jobs = await asyncio.gather(*(add(store, **job_fields) for job_fields in fields))
    for ordinal in (1, 12, 15):
        await cancel(store, "ann", jobs[ordinal - 1].id, 1005.0)
    paused = await store.change("ann", jobs[1].id, lambda job: job.pause(1005.0))
    newest_first = await store.page("ann", limit=9 * MAX_SORTED, before=None, state=None, now=0)
    assert paused in newest_first
    for state in State:
        in_state, before, limit = [], None, max(7, pending // 3)
        while page := await store.page("ann", limit=limit, before=before, state=state, now=1020.0):
            in_state += page
            before = page[-1].ordinal
        assert in_state == [job for job in newest_first if JobSnapshot(job, 1020.0).state is state]


async def ending_after(store, at, ordinal=LAST, limit=9):
    return [job.ordinal for job in await store.ending_after("ann", FeedPosition(at, ordinal), limit)]


async def changed_after(store, at, ordinal=0, limit=9):
    return [job.ordinal for job in await store.changed_after("ann", FeedPosition(at, ordinal), limit)]


async def test_jobs_in_the_order_of_their_ends(store):
    for delay in (20, 5, 15, 15, 15, 0):
        await add(store, created_at=1000, delay=delay)
    await add(store, "bob", created_at=1000, delay=15)
    assert await ending_after(store, 0) == [6, 2, 3, 4, 5, 1]
    assert await ending_after(store, 1000) == [2, 3, 4, 5, 1]
    assert await ending_after(store, 1004.9, limit=2) == [2, 3]
    assert await ending_after(store, 1015, ordinal=3, limit=2) == [4, 5]
    assert await ending_after(store, 1015, ordinal=4) == [5, 1]
    assert await ending_after(store, 1020) == []
    await cancel(store, "ann", "ann-1", 1006.0)
    await store.change("ann", "ann-4", lambda job: job.pause(1006.0))
    assert await ending_after(store, 1005) == [1, 3, 5]
    assert await ending_after(store, 1006) == [3, 5]


async def test_jobs_in_the_order_of_acceptance_and_of_change(store):
    assert (await store.accepted_after("ann", 0, 9), await changed_after(store, 0)) == ([], [])
    for created_at in (1000, 1001, 1002, 1003):
        await add(store, created_at=created_at, delay=100)
    await add(store, "bob", created_at=1001)
    for ordinal, limit, ordinals in ((0, 2, [1, 2]), (2, 2, [3, 4]), (3, 2, [4]), (4, 2, [])):
        assert [job.ordinal for job in await store.accepted_after("ann", ordinal, limit)] == ordinals
    assert await changed_after(store, 0) == []
    for ordinal, at in ((3, 1020.0), (1, 1030.0), (2, 1020.0)):
        await cancel(store, "ann", f"ann-{ordinal}", at)
    assert await changed_after(store, 1000) == [2, 3, 1]
    assert await changed_after(store, 1000, limit=1) == [2]
    assert await changed_after(store, 1020, ordinal=2) == [3, 1]
    assert await changed_after(store, 1030) == [1]
    assert await changed_after(store, 1030, ordinal=1) == []


async def test_changes_of_a_job_are_stored(store):
    job = await add(store, created_at=1000.0, delay=10.0)
    paused = await store.change("ann", job.id, lambda job: replace(job.pause(1004.0), changed_at=2000.0))
    assert (paused.paused_at, await store.find("ann", job.id)) == (1004.0, paused)
    assert await store.page("ann", limit=9, before=None, state=State.PENDING, now=5000.0) == [paused]
    assert (await ending_after(store, 0.0), await changed_after(store, 2000.0)) == ([], [1])
    unpaused = await store.change("ann", job.id, lambda job: job.unpause(1104.0))
    assert (unpaused.due_at, await store.ending_after("ann", FeedPosition(1105.0), 9)) == (1110.0, [unpaused])
    ended = await store.change("ann", job.id, lambda job: job.finish(1106.0, State.ERROR, "no speech"))
    assert await store.page("ann", limit=9, before=None, state=State.ERROR, now=1106.0) == [ended]
    assert (await store.find("ann", job.id)).fate.message == "no speech"
