"""Lists by position: the right jobs whatever the options, and bounded memory, however many jobs a user has."""

import asyncio
import tracemalloc
from itertools import chain, product

import pytest

from tests.stores import add
from translation_server.core.clock import VirtualTime
from translation_server.core.job import Fate, Job, JobSnapshot, State
from translation_server.service import positioned_lists
from translation_server.service.positioned_lists import Filter, PositionedLists

NOW = VirtualTime(1010.0)
DELAYS = (1000.0, 5.0, 5.0, 1000.0, 5.0)
OUTCOMES = (State.COMPLETED, State.COMPLETED, State.ERROR)
ENDED = {State.COMPLETED, State.ERROR, State.CANCELLED}


async def add_many(store, many):
    def accept(n):
        fate = Fate(DELAYS[n % len(DELAYS)], OUTCOMES[n % len(OUTCOMES)])
        kind = "other" if n % 7 == 0 else "task"
        return Job(f"job-{n}", "ann", n, 1000.0, fate, changed_at=1000.0, api="mine", kind=kind)

    for _ in range(many):
        await store.add("ann", accept)


def lists_of(store):
    async def virtual_time(_owner):
        return NOW

    return PositionedLists(store, virtual_time, JobSnapshot)


async def test_ids_of_a_kind_come_in_bounded_parts_the_newest_first_and_without_deleted_jobs(store):
    store.window = 2

    async def parts(owner, **of_kind):
        found, before = list[list[int]](), None
        while part := await store.ids(owner, **of_kind, before=before):
            assert [job_id for _, job_id in part] == [f"ann-{ordinal}" for ordinal, _ in part]
            found.append([ordinal for ordinal, _ in part])
            before = found[-1][-1]
        return found

    assert await parts("ann", api="aws", kind="translation") == []
    for kind in ("translation", "translation", *["other"] * 4, "translation", "translation"):
        job = await add(store, api="aws", kind=kind)
    await store.change("ann", job.id, lambda job: job.delete(1005.0))
    await add(store)
    own, both = await parts("ann", api="aws", kind="translation"), await parts("ann", api="aws")
    assert ([*chain(*own)], [*chain(*both)]) == ([7, 2, 1], [7, 6, 5, 4, 3, 2, 1])
    assert max(map(len, own + both)) <= store.window
    assert await parts("bob", api="aws", kind="translation") == []


async def test_lists_by_position_have_the_right_jobs_whatever_the_options(store, monkeypatch):
    monkeypatch.setattr(positioned_lists, "SEARCHED", 3)
    store.window = 4
    await add_many(store, 40)
    lists = lists_of(store)
    page = {"limit": 99, "before": None, "state": None, "now": 0, "api": "mine"}
    everything = [(kind, await store.page("ann", **page, kind=kind)) for kind in (None, "task")]
    filters = (None, Filter({State.PENDING}, lambda _: True), Filter(ENDED, lambda shown: shown.job.ordinal % 4 > 0))
    for (kind, jobs), only, oldest_first in product(everything, filters, (False, True)):
        shown = [JobSnapshot(job, NOW) for job in (reversed(jobs) if oldest_first else jobs)]
        shown = [one for one in shown if not only or (one.state in only.states and only.accepts(one))]
        options = {"api": "mine", "kind": kind, "oldest_first": oldest_first, "only": only}
        for start, limit in product((0, 1, 5, len(shown) - 1, len(shown), 99), (1, 6)):
            page = await lists.page("ann", limit=limit, start=start, **options)
            assert (page.snapshots, page.start, page.count) == (shown[start : start + limit], start, len(shown))
        for after in (0, 1, 7, 20, 40, 41):
            start = sum(one.job.ordinal <= after if oldest_first else one.job.ordinal >= after for one in shown)
            page = await lists.page("ann", limit=6, after=after, **options)
            assert (page.snapshots, page.start, page.count) == (shown[start : start + 6], start, len(shown))


async def test_jobs_that_come_during_a_list_do_not_move_its_positions(store):
    await add_many(store, 9)
    lists, real = lists_of(store), store.ids

    async def ids(*args, **options):
        found = await real(*args, **options)
        if options["before"] > 100:
            await add_many(store, 2)
        return found

    store.ids = ids
    page = await lists.page("ann", api="mine", limit=2, start=3)
    assert [one.job.ordinal for one in page.snapshots] == [6, 5]


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("url", ["memory"], indirect=True)
@pytest.mark.parametrize("only", [None, Filter(set(State), lambda _: True)])
async def test_lists_by_position_of_many_jobs_take_memory_for_a_few_parts(store, only, monkeypatch):
    monkeypatch.setattr(positioned_lists, "SEARCHED", 100)
    store.window = 100
    await add_many(store, 5000)
    options = {"api": "mine", "limit": 5, "start": 4000, "only": only}
    await lists_of(store).page("ann", **options)  # the jobs remember their sizes
    tracemalloc.start()
    try:
        before, at_once = tracemalloc.get_traced_memory()[0], 10
        pages = await asyncio.gather(*(lists_of(store).page("ann", **options) for _ in range(at_once)))
        most = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert {page.count for page in pages} == {5000}
    assert most < at_once * 2**15
