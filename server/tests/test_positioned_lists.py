"""Lists by position: the right jobs whatever the options, and bounded memory, however many jobs a user has."""

import asyncio
import tracemalloc
from itertools import chain, product

import pytest

from tests.stores import add
from translation_server.core.clock import VirtualTime
from translation_server.core.job import Fate, Job, JobSnapshot, State
from translation_server.service import positioned_lists
from translation_server.service.positioned_lists import ALL, PositionedLists

NOW = VirtualTime(1010.0)
DELAYS = (1000.0, 5.0, 5.0, 1000.0, 5.0)
OUTCOMES = (State.COMPLETED, State.COMPLETED, State.ERROR)
FILTERS = (
    ALL,
    {None: lambda shown: shown.job.ordinal % 4 > 0},
    {State.PENDING: None},
    {State.COMPLETED: None, State.ERROR: None, State.CANCELLED: None},
    {State.COMPLETED: lambda shown: shown.job.ordinal % 4 > 0, State.ERROR: None, State.CANCELLED: None},
)


async def add_many(store, many):
    def accept(n):
        fate = Fate(DELAYS[n % len(DELAYS)], OUTCOMES[n % len(OUTCOMES)])
        kind = "other" if n % 7 == 0 else "task"
        return Job(f"job-{n}", "ann", n, 1000.0, fate, changed_at=1000.0, api="mine", kind=kind)

    for _ in range(many):
        await store.add("ann", accept)


def is_wanted(shown, only):
    accepts = only.get(None) or only.get(shown.state)
    return not only.keys().isdisjoint({None, shown.state}) and (accepts is None or accepts(shown))


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
    monkeypatch.setattr(positioned_lists, "READ_JOBS", 3)
    store.window = 4
    await add_many(store, 40)
    lists = lists_of(store)
    page = {"limit": 99, "before": None, "state": None, "now": 0, "api": "mine"}
    everything = [(kind, await store.page("ann", **page, kind=kind)) for kind in (None, "task")]
    for (kind, jobs), only, oldest_first in product(everything, FILTERS, (False, True)):
        shown = [JobSnapshot(job, NOW) for job in (reversed(jobs) if oldest_first else jobs)]
        shown = [one for one in shown if is_wanted(one, only)]
        options = {"api": "mine", "kind": kind, "oldest_first": oldest_first, "only": only}
        for start, limit in product((0, 1, 5, len(shown) - 1, len(shown), 99), (1, 6)):
            page = await lists.page("ann", limit=limit, start=start, **options)
            assert (page.snapshots, page.start, page.count) == (shown[start : start + limit], start, len(shown))
            page = await lists.page("ann", limit=limit, start=start, counted=False, **options)
            assert page.snapshots == shown[start : start + limit]
            assert (page.count > start + limit) is (len(shown) > start + limit)
        for after in (0, 1, 7, 20, 40, 41):
            start = sum(one.job.ordinal <= after if oldest_first else one.job.ordinal >= after for one in shown)
            page = await lists.page("ann", limit=6, after=after, **options)
            assert (page.snapshots, page.start, page.count) == (shown[start : start + 6], start, len(shown))
            page = await lists.page("ann", limit=6, after=after, counted=False, **options)
            assert page.snapshots == shown[start : start + 6]
            assert (page.count > page.start + 6) is (len(shown) > start + 6)


class Reads:
    """Counts what lists read from a store."""

    def __init__(self, store, monkeypatch):
        self.ids = self.jobs = self.most_jobs = self.most_ids = 0
        for name in ("ids", "page", "find_many"):
            monkeypatch.setattr(store, name, self._counting(getattr(store, name), name))

    def _counting(self, read, name):
        async def counting(*args, **options):
            found = await read(*args, **options)
            if name == "ids":
                self.ids += len(found)
                self.most_ids = max(self.most_ids, len(found))
            else:
                self.jobs += len(found)
                self.most_jobs = max(self.most_jobs, len(found))
            return found

        return counting


@pytest.mark.parametrize("counted", [True, False])
async def test_lists_of_a_state_read_no_other_jobs_than_those_of_the_page(store, monkeypatch, counted):
    await add_many(store, 60)
    reads = Reads(store, monkeypatch)
    page = await lists_of(store).page("ann", api="mine", limit=3, only={State.PENDING: None}, counted=counted)
    assert [one.job.ordinal for one in page.snapshots] == [60, 58, 55]
    assert (reads.ids, reads.jobs) == (24 if counted else 4, 3)


@pytest.mark.parametrize(("counted", "jobs"), [(True, 24), (False, 5)])
async def test_lists_whose_filter_sees_the_jobs_end_with_their_page(store, monkeypatch, counted, jobs):
    monkeypatch.setattr(positioned_lists, "READ_JOBS", 5)
    await add_many(store, 60)
    reads = Reads(store, monkeypatch)
    only = {State.PENDING: lambda _: True}
    page = await lists_of(store).page("ann", api="mine", limit=3, only=only, counted=counted)
    assert [one.job.ordinal for one in page.snapshots] == [60, 58, 55]
    assert (reads.ids, reads.jobs) == (0, jobs + 3)


async def test_lists_that_begin_with_the_oldest_job_search_once(store, monkeypatch):
    await add_many(store, 60)
    reads = Reads(store, monkeypatch)
    page = await lists_of(store).page("ann", api="mine", limit=3, after=30, oldest_first=True)
    assert [one.job.ordinal for one in page.snapshots] == [31, 32, 33]
    assert (reads.ids, reads.jobs) == (60, 3)


@pytest.mark.parametrize("url", ["memory"], indirect=True)
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("only", [ALL, {None: lambda _: True}, dict.fromkeys(State, lambda _: True)])
async def test_other_requests_are_served_while_a_list_is_searched(store, monkeypatch, only, counted):
    await add_many(store, 2500)
    reads = Reads(store, monkeypatch)
    options = {"api": "mine", "limit": 3, "only": only, "counted": counted}
    page = await lists_of(store).page("ann", **options, oldest_first=True)
    assert [one.job.ordinal for one in page.snapshots] == [1, 2, 3]
    assert reads.most_jobs <= 250
    assert reads.most_ids <= 2000


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
@pytest.mark.parametrize("only", [ALL, dict.fromkeys(State), {None: lambda _: True}])
async def test_lists_by_position_of_many_jobs_take_memory_for_a_few_parts(store, only, monkeypatch):
    monkeypatch.setattr(positioned_lists, "READ_JOBS", 100)
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
