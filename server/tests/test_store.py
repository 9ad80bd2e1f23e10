"""One suite over all stores: what the service may rely on."""

import asyncio
from dataclasses import replace

import pytest

from translation_server.core.change_feed import LAST, FeedPosition
from translation_server.core.job import Fate, Job, JobSnapshot, State, Submission
from translation_server.storage import Cutoff, Idempotency, IdTaken, KeyReused, Store, Stored, StoreError, open_store
from translation_server.storage.rows import MANY

pytestmark = pytest.mark.anyio


def accepting(owner: str = "ann", created_at: float = 1000.0, delay: float = 10.0, outcome: State = State.COMPLETED):
    """What the service gives the store to make a job with; the job's id is its owner and ordinal."""

    def accept(ordinal: int) -> Job:
        return Job(
            f"{owner}-{ordinal}",
            owner,
            ordinal,
            created_at,
            Fate(delay, outcome),
            Submission("en", None, 1.5),
            changed_at=created_at,
        )

    return accept


async def add(store: Store, owner: str = "ann", **facts) -> Job:
    return (await store.add(owner, accepting(owner, **facts))).job


async def cancel(store: Store, owner: str, job_id: str, clock) -> Job | None:
    return await store.change(owner, job_id, lambda job: replace(job.cancel(clock()), changed_at=clock()))


async def test_a_job_comes_back_as_it_was_added(store):
    job = await add(store, created_at=1767323045.678901, delay=0.1 + 0.2)
    assert await store.find("ann", job.id) == job


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_a_job_is_there_after_the_store_was_closed(url):
    store = open_store(url)
    job = await add(store)
    await store.close()
    reopened = open_store(url)
    assert await reopened.find("ann", job.id) == job
    assert (await reopened.add("ann", accepting())).job.ordinal == 2
    await reopened.close()


async def test_another_owners_job_is_not_found(store):
    job = await add(store)
    assert await store.find("bob", job.id) is None
    assert await store.find_many("bob", [job.id]) == []
    assert await cancel(store, "bob", job.id, lambda: 1001.0) is None
    assert (await store.find("ann", job.id)).cancelled_at is None


async def test_each_owners_ordinals_have_neither_gap_nor_repetition(store):
    jobs = await asyncio.gather(*(add(store, owner) for owner in ["ann", "bob"] * 20))
    for owner in ("ann", "bob"):
        assert sorted(job.ordinal for job in jobs if job.owner == owner) == list(range(1, 21))


async def test_a_job_that_cannot_be_made_leaves_nothing_behind(store):
    def accept(_: int) -> Job:
        raise RuntimeError("no entropy")

    with pytest.raises(RuntimeError, match="no entropy"):
        await store.add("ann", accept)
    assert (await add(store)).ordinal == 1


async def test_the_same_key_gives_the_same_job(store):
    key = Idempotency("key", b"body")
    first = await store.add("ann", accepting(), key)
    again = await store.add("ann", accepting(), key)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.job == first.job
    assert (await store.add("ann", accepting(), Idempotency("other", b"body"))).job != first.job


async def test_the_same_key_with_the_fingerprint_that_an_older_version_made_gives_the_same_job(store):
    first = await store.add("ann", accepting(), Idempotency("key", b"older"))
    again = await store.add("ann", accepting(), Idempotency("key", b"body", former=b"older"))
    assert (again.replayed, again.job) == (True, first.job)


async def test_the_same_key_with_another_body_is_refused(store):
    await store.add("ann", accepting(), Idempotency("key", b"body"))
    with pytest.raises(KeyReused):
        await store.add("ann", accepting(), Idempotency("key", b"another"))
    assert (await add(store)).ordinal == 2


async def test_an_id_that_is_taken_is_refused(store):
    def accept(ordinal: int) -> Job:
        return Job("mine", "ann", ordinal, 1000.0, Fate(10.0, State.COMPLETED))

    first = (await store.add("ann", accept, Idempotency("key", b""))).job
    with pytest.raises(IdTaken):
        await store.add("ann", accept)
    assert (await store.add("ann", accept, Idempotency("key", b""))).job == first
    assert (await add(store)).ordinal == 2
    assert (await store.add("bob", lambda ordinal: replace(first, owner="bob", ordinal=ordinal))).job.owner == "bob"


async def test_a_key_is_its_owners_own(store):
    ann = await store.add("ann", accepting("ann"), Idempotency("key", b"body"))
    bob = await store.add("bob", accepting("bob"), Idempotency("key", b"another"))
    assert (ann.replayed, bob.replayed) == (False, False)


async def test_one_key_sent_many_times_at_once_makes_one_job(store):
    added = await asyncio.gather(*(store.add("ann", accepting(), Idempotency("key", b"")) for _ in range(20)))
    assert {one.job.ordinal for one in added} == {1}
    assert sum(not one.replayed for one in added) == 1


async def test_cancelling_holds_only_for_a_pending_job(store):
    job = await add(store, created_at=1000.0, delay=10.0)
    assert (await cancel(store, "ann", job.id, lambda: 1004.0)).cancelled_at == 1004.0
    assert (await cancel(store, "ann", job.id, lambda: 1005.0)).cancelled_at == 1004.0
    assert (await store.find("ann", job.id)).cancelled_at == 1004.0
    ended = await add(store, created_at=1000.0, delay=10.0)
    assert (await cancel(store, "ann", ended.id, lambda: 1010.0)).cancelled_at is None
    assert await cancel(store, "ann", "unknown", lambda: 1004.0) is None


async def test_a_page_holds_the_newest_first_and_the_cursor_goes_on(store):
    for _ in range(5):
        await add(store)
    await add(store, "bob")

    async def page(before):
        return [job.ordinal for job in await store.page("ann", limit=2, before=before, state=None, now=1000.0)]

    assert [await page(None), await page(4), await page(2), await page(1)] == [[5, 4], [3, 2], [1], []]


async def test_an_error_of_one_submission_is_no_error_of_those_beside_it(store):
    first = await add(store)

    def failing(_: int) -> Job:
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


@pytest.mark.parametrize(
    ("state", "ordinals"),
    [
        (State.PENDING, [1]),
        (State.COMPLETED, [2]),
        (State.ERROR, [3]),
        (State.CANCELLED, [4]),
        (None, [5, 4, 3, 2, 1]),
    ],
)
async def test_a_page_of_one_state_holds_the_jobs_that_stand_so(store, state, ordinals):
    await add(store, delay=100.0)
    await add(store, delay=10.0)
    await add(store, delay=10.0, outcome=State.ERROR)
    await cancel(store, "ann", (await add(store, delay=10.0)).id, lambda: 1005.0)
    if state is None:
        await add(store)
    page = await store.page("ann", limit=10, before=None, state=state, now=1010.0)
    assert [job.ordinal for job in page] == ordinals


async def test_many_are_found_at_once(store):
    jobs = [await add(store) for _ in range(3)]
    await add(store, "bob")
    found = await store.find_many("ann", ["ann-3", "unknown", "ann-1", "bob-1"])
    assert sorted(found, key=lambda job: job.ordinal) == [jobs[0], jobs[2]]
    assert await store.find_many("ann", []) == []


async def test_a_store_that_answers_passes_the_check(store):
    await store.check()


@pytest.mark.parametrize("url", ["", "sqlite:///", "sqlite:///a\0b", "sqlite://jobs.db", "jobs.db", "mysql://host/db"])
def test_an_unknown_database_is_refused_with_what_to_use(url):
    with pytest.raises(StoreError, match="use sqlite:///path"):
        open_store(url)


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_others_are_served_while_a_page_is_sought_among_very_many_jobs(store, monkeypatch):
    monkeypatch.setattr("translation_server.storage.pages.WINDOW", 2)
    first = await add(store)
    await asyncio.gather(*(add(store, delay=1e9) for _ in range(400)))
    seeking = asyncio.create_task(store.page("ann", limit=9, before=None, state=State.COMPLETED, now=2000.0))
    await asyncio.sleep(0)
    assert await store.find("ann", first.id) == first
    assert not seeking.done()
    assert await seeking == [first]


@pytest.mark.parametrize("pending", [10, MANY + 10])
async def test_the_jobs_in_a_state_are_found_page_by_page_however_many_others_there_are(store, pending, monkeypatch):
    monkeypatch.setattr("translation_server.storage.pages.WINDOW", MANY // 4 - 1)
    facts = [{"delay": 10.0, "outcome": outcome} for outcome in (State.COMPLETED, State.ERROR)] * 5
    jobs = await asyncio.gather(*(add(store, **fact) for fact in (*facts, *[{"delay": 1000.0}] * pending, *facts)))
    for ordinal in (1, 12, 15):
        await cancel(store, "ann", jobs[ordinal - 1].id, lambda: 1005.0)
    pause = await store.change("ann", jobs[1].id, lambda job: job.pause(1005.0))
    everything = await store.page("ann", limit=9 * MANY, before=None, state=None, now=0)
    assert pause in everything
    for state in State:
        found, before, limit = [], None, max(7, pending // 3)
        while page := await store.page("ann", limit=limit, before=before, state=state, now=1020.0):
            found += page
            before = page[-1].ordinal
        assert found == [job for job in everything if JobSnapshot(job, 1020.0).state is state]


async def ending(store, at: float, ordinal: int = LAST, limit: int = 9) -> list[int]:
    return [job.ordinal for job in await store.ending_after("ann", FeedPosition(at, ordinal), limit)]


async def amended(store, at: float, ordinal: int = 0, limit: int = 9) -> list[int]:
    return [job.ordinal for job in await store.changed_after("ann", FeedPosition(at, ordinal), limit)]


async def test_jobs_are_read_in_the_order_of_their_ends_page_by_page(store):
    for delay in (20, 5, 15, 15, 15, 0):
        await add(store, created_at=1000, delay=delay)
    await add(store, "bob", created_at=1000, delay=15)
    assert await ending(store, 0) == [6, 2, 3, 4, 5, 1]
    assert await ending(store, 1000) == [2, 3, 4, 5, 1]
    assert await ending(store, 1004.9, limit=2) == [2, 3]
    assert await ending(store, 1015, ordinal=3, limit=2) == [4, 5]
    assert await ending(store, 1015, ordinal=4) == [5, 1]
    assert await ending(store, 1020) == []
    await cancel(store, "ann", "ann-1", lambda: 1006.0)
    await store.change("ann", "ann-4", lambda job: job.pause(1006.0))
    assert await ending(store, 1005) == [1, 3, 5]
    assert await ending(store, 1006) == [3, 5]


async def test_jobs_are_read_in_the_order_in_which_they_were_accepted_or_amended_page_by_page(store):
    assert (await store.accepted_after("ann", 0, 9), await amended(store, 0)) == ([], [])
    for created_at in (1000, 1001, 1002, 1003):
        await add(store, created_at=created_at, delay=100)
    await add(store, "bob", created_at=1001)
    for after, limit, found in ((0, 2, [1, 2]), (2, 2, [3, 4]), (3, 2, [4]), (4, 2, [])):
        assert [job.ordinal for job in await store.accepted_after("ann", after, limit)] == found
    assert await amended(store, 0) == []
    for ordinal, at in ((3, 1020.0), (1, 1030.0), (2, 1020.0)):
        await cancel(store, "ann", f"ann-{ordinal}", lambda at=at: at)
    assert await amended(store, 1000) == [2, 3, 1]
    assert await amended(store, 1000, limit=1) == [2]
    assert await amended(store, 1020, ordinal=2) == [3, 1]
    assert await amended(store, 1030) == [1]
    assert await amended(store, 1030, ordinal=1) == []


async def test_whatever_is_done_to_a_job_is_kept(store):
    job = await add(store, created_at=1000.0, delay=10.0)
    pause = await store.change("ann", job.id, lambda job: replace(job.pause(1004.0), changed_at=2000.0))
    assert (pause.paused_at, await store.find("ann", job.id)) == (1004.0, pause)
    assert await store.page("ann", limit=9, before=None, state=State.PENDING, now=5000.0) == [pause]
    assert (await ending(store, 0.0), await amended(store, 2000.0)) == ([], [1])
    unpause = await store.change("ann", job.id, lambda job: job.unpause(1104.0))
    assert (unpause.due_at, await store.ending_after("ann", FeedPosition(1105.0), 9)) == (1110.0, [unpause])
    ended = await store.change("ann", job.id, lambda job: job.finish(1106.0, State.ERROR, "no speech"))
    assert await store.page("ann", limit=9, before=None, state=State.ERROR, now=1106.0) == [ended]
    assert (await store.find("ann", job.id)).fate.message == "no speech"


async def test_what_cannot_be_done_to_a_job_leaves_it_as_it_was(store):
    job = await add(store)

    def fail(_: Job) -> Job:
        raise RuntimeError("not this one")

    with pytest.raises(RuntimeError, match="not this one"):
        await store.change("ann", job.id, fail)
    assert await store.find("ann", job.id) == job


async def test_a_world_is_kept_for_each_owner_and_changed_by_one_at_a_time(store):
    assert await store.read_sandbox("ann") is None
    await asyncio.gather(*(store.change_sandbox("ann", lambda text: (text or "") + "x") for _ in range(20)))
    assert await store.change_sandbox("bob", lambda text: f"{text}, nothing") == "None, nothing"
    assert await store.read_sandbox("ann") == "x" * 20
    assert (await add(store)).ordinal == 1


async def test_subjects_are_counted_one_by_one_with_what_is_drawn_for_them(store):
    seen = []

    def draw(count: int, fired) -> list[str]:
        seen.append((count, tuple(fired)))
        return ["rule 1"] if count > 2 and fired[1] < 2 else []

    for _ in range(6):
        await store.count_faults("ann", "look 1", ["rule 0", "rule 1"], draw)
    await store.count_faults("bob", "look 1", ["rule 0", "rule 1"], draw)
    assert seen == [(1, (0, 0)), (2, (0, 0)), (3, (0, 0)), (4, (0, 1)), (5, (0, 2)), (6, (0, 2)), (1, (0, 0))]
    assert await store.fault_counts("ann", ["look 1", "rule 0", "rule 1"]) == [6, 0, 2]
    await store.change_sandbox("ann", lambda _: "", reset_counts=True)
    assert await store.fault_counts("ann", ["look 1", "rule 1"]) == [0, 0]
    assert await store.fault_counts("bob", ["look 1"]) == [1]


async def test_nothing_is_lost_of_counts_made_at_once(store):
    drawn = []
    await asyncio.gather(
        *(store.count_faults("ann", "submit 0", [], lambda count, _: drawn.append(count) or []) for _ in range(50))
    )
    assert sorted(drawn) == list(range(1, 51))


async def test_a_journal_keeps_the_newest_of_each_owner(store):
    assert await store.read_requests("ann") == []
    await store.add_requests([("ann", "a"), ("bob", "b"), ("ann", "c")], 3)
    await store.add_requests([("ann", "d"), ("ann", "e")], 3)
    assert await store.read_requests("ann") == [(2, "c"), (3, "d"), (4, "e")]
    assert await store.read_requests("ann", after=2, limit=1) == [(3, "d")]
    assert await store.read_requests("bob") == [(1, "b")]


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_a_journal_whose_limit_was_lowered_is_shortened_in_steps(store, monkeypatch):
    for module in ("sqlite", "postgres"):
        monkeypatch.setattr(f"translation_server.storage.{module}.store.MOST_TRIMMED", 2)
    await store.add_requests([("ann", "a")] * 9, 9)
    kept = []
    for _ in range(4):
        await store.add_requests([("ann", "a")], 2)
        kept.append([number for number, _ in await store.read_requests("ann")])
    assert kept == [[4, 5, 6, 7, 8, 9, 10], [7, 8, 9, 10, 11], [10, 11, 12], [12, 13]]


async def test_an_owner_is_forgotten_at_once_and_begins_anew(store):
    for owner in ("ann", "bob"):
        for number in range(3):
            await store.add(owner, accepting(owner), Idempotency(f"key {number}", b"body"))
        await cancel(store, owner, f"{owner}-1", lambda: 1005.0)
        await store.change_sandbox(owner, lambda _: "world")
        await store.count_faults(owner, "look 1", [], lambda *_: [])
        await store.add_requests([(owner, "entry")] * 3, 9)
    for sandbox in ("anew", None):
        await store.reset_sandbox("ann", sandbox)
        assert await store.find("ann", "ann-1") is None
        assert await store.find_many("ann", ["ann-1", "ann-2"]) == []
        for state in (None, *State):
            assert await store.page("ann", limit=9, before=None, state=state, now=1005.0) == []
        assert await ending(store, 0.0) == await amended(store, 0.0) == await store.accepted_after("ann", 0, 9) == []
        assert await store.change("ann", "ann-2", lambda job: job) is None
        assert (await store.read_sandbox("ann"), await store.fault_counts("ann", ["look 1"])) == (sandbox, [0])
        assert await store.read_requests("ann") == []
        assert await store.purge("ann", Cutoff(9e9, 9e9, 9), 9) == 0
        added = await store.add("ann", accepting(), Idempotency("key 0", b"another"))
        assert (added.replayed, added.job.ordinal, added.job.owner) == (False, 1, "ann")
        assert (await cancel(store, "ann", "ann-1", lambda: 1006.0)).cancelled_at == 1006.0
        assert [job.owner for job in await store.ending_after("ann", FeedPosition(0.0), 9)] == ["ann"]
        await store.add_requests([("ann", "new")], 9)
        await store.count_faults("ann", "look 1", [], lambda *_: [])
        assert (await store.read_requests("ann"), await store.fault_counts("ann", ["look 1"])) == ([(1, "new")], [1])
    assert [job.ordinal for job in await store.page("bob", limit=9, before=None, state=None, now=0)] == [3, 2, 1]
    assert (await store.read_sandbox("bob"), await store.fault_counts("bob", ["look 1"])) == ("world", [1])
    assert await store.read_requests("bob") == [(1, "entry"), (2, "entry"), (3, "entry")]


async def test_what_was_forgotten_at_once_is_purged_in_steps_and_nothing_else(store):
    for _ in range(5):
        await add(store)
        await store.count_faults("ann", "look 1", [], lambda *_: [])
        await store.add_requests([("ann", "entry")], 9)
    await store.change_sandbox("ann", lambda _: "", reset_counts=True)
    await store.reset_sandbox("ann", "anew")
    kept = await add(store)
    await store.count_faults("ann", "look 1", [], lambda *_: [])
    await store.add_requests([("ann", "entry")], 9)
    steps = 0
    while await store.purge_queued(2):
        steps += 1
    assert steps >= 6
    assert await store.page("ann", limit=9, before=None, state=None, now=0) == [kept]
    assert (await store.fault_counts("ann", ["look 1"]), await store.read_requests("ann")) == ([1], [(1, "entry")])


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_a_purge_goes_on_in_another_process_and_leaves_no_row(url):
    store, other = open_store(url), open_store(url)
    try:
        for _ in range(3):
            await asyncio.gather(*(add(store) for _ in range(10)))
            await store.reset_sandbox("ann", "anew")
        assert await store.purge_queued(4)
        while any(await asyncio.gather(store.purge_queued(4), other.purge_queued(4))):
            pass
        assert [await one.purge_queued(4) for one in (store, other)] == [False, False]
        assert (await add(other)).ordinal == 1
    finally:
        await store.close()
        await other.close()


async def test_what_is_old_is_forgotten_and_nothing_else(store):
    pause = await add(store, created_at=1000, delay=0)
    await store.change("ann", pause.id, lambda job: replace(job, paused_at=1000.0))
    await add(store, created_at=1000, delay=1000)
    await cancel(store, "ann", (await add(store, created_at=1000, delay=1000)).id, lambda: 1001.5)
    for delay in (1, 2, 3):
        await add(store, created_at=1000, delay=delay)
    await add(store, "bob", created_at=1000, delay=1)
    keyed = Idempotency("key", b"body")
    await store.add("ann", accepting(created_at=1000, delay=0.5), keyed)
    for ordinal in (1, 7):
        await store.count_faults("ann", f"poll {ordinal}", [], lambda *_: [])
    await store.add_requests([("ann", entry) for entry in "abc"], 9)

    old = Cutoff(1002, 1001, 2)
    assert [await store.purge("ann", old, 2) for _ in range(3)] == [2, 1, 0]
    assert [job.ordinal for job in await store.page("ann", limit=9, before=None, state=None, now=0)] == [6, 3, 2, 1]
    assert await store.purge("ann", replace(old, changed_by=1002), 9) == 1
    assert [job.ordinal for job in await store.page("ann", limit=9, before=None, state=None, now=0)] == [6, 2, 1]
    assert await store.find("bob", "bob-1")
    assert await store.fault_counts("ann", ["poll 1", "poll 7"]) == [1, 0]
    assert await store.read_requests("ann") == [(3, "c")]
    assert (await store.add("ann", accepting(), keyed)).job.ordinal == 8

    await store.purge("ann", replace(old, request=3), 9)
    await store.add_requests([("ann", "d")], 9)
    assert await store.read_requests("ann") == [(4, "d")]


async def test_jobs_that_changed_lately_do_not_keep_those_behind_them(store):
    for _ in range(2):
        job = await add(store, created_at=1000, delay=1)
        await store.change("ann", job.id, lambda job: replace(job, changed_at=5000.0))
    await add(store, created_at=1000, delay=2)
    assert await store.purge("ann", Cutoff(2000, 2000), 2) == 1


async def test_ordinals_go_on_when_all_jobs_are_forgotten(store):
    await add(store)
    assert await store.purge("ann", Cutoff(2000, 2000), 9) == 1
    assert await store.find("ann", "ann-1") is None
    assert (await add(store)).ordinal == 2


async def test_owners_are_found_one_after_the_other(store):
    for owner in ("bob", "ann", "cid"):
        await add(store, owner)
    await store.add_requests([("dora", "entry")], 9)
    owners, owner = [], ""
    while (owner := await store.next_owner(owner)) is not None:
        owners.append(owner)
    assert owners == ["ann", "bob", "cid", "dora"]


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_several_may_forget_at_once(url):
    stores = [open_store(url) for _ in range(3)]
    for _ in range(50):
        await add(stores[0])
    gone = await asyncio.gather(*(store.purge("ann", Cutoff(2000, 2000), 10) for store in stores * 4))
    assert sum(gone) == 50
    for store in stores:
        await store.close()
