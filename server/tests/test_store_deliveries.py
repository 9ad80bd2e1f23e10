"""The part of the store protocol that stores deliveries of webhooks, for every store."""

import asyncio
import math
from dataclasses import replace

import pytest

from tests.stores import add
from translation_server.core.change_feed import LAST, FeedPosition
from translation_server.core.job import State
from translation_server.core.webhook_events import END, delivery_id, event_position
from translation_server.core.webhooks import Attempt, Delivery, DeliveryState, SentRequest, Webhook
from translation_server.storage import Cutoff, open_store

START = FeedPosition(0.0, 0)
HOOK = Webhook("http://receiver/hook", secrets=("whsec_c2VjcmV0",), base_url="http://server")


def delivery_of(job, stage=END, **fields):
    made = Delivery(delivery_id(job, stage), job.ordinal, stage, "completed", job.id, HOOK.url, job.ends_at, "{}")
    return replace(made, **fields)


async def test_webhook_of_a_job_is_stored(store):
    job = await add(store, webhook=HOOK)
    assert (await store.find("ann", job.id)).webhook == HOOK


async def test_ends_are_found_in_the_order_of_their_times(store):
    late, early = [await add(store, webhook=HOOK, delay=delay) for delay in (30.0, 10.0)]
    await add(store, delay=1.0)
    await add(store, "bob", delay=1.0)
    assert await store.owners_to_notify() == {"ann": 1010.0}
    assert await store.owners_to_notify() == {"ann": 1010.0}
    assert "bob" not in await store.owners_to_notify()
    assert await store.jobs_to_notify("ann", START, 1009.0, 10) == []
    assert await store.jobs_to_notify("ann", START, 1030.0, 10) == [early, late]
    assert await store.jobs_to_notify("ann", START, 1030.0, 1) == [early]
    assert await store.jobs_to_notify("ann", event_position(early), 1030.0, 1) == [late]
    assert await store.jobs_to_notify("ann", event_position(early), 1029.0, 1) == []


async def test_change_of_a_job_moves_its_end(store):
    job = await add(store, webhook=HOOK)
    paused = await store.change("ann", job.id, lambda job: job.pause(1005.0))
    assert await store.owners_to_notify() == {}
    await store.change("ann", job.id, lambda job: job.unpause(1105.0))
    assert await store.owners_to_notify() == {"ann": paused.fate.delay + 1100.0}
    finished = await store.change("ann", job.id, lambda job: job.finish(1106.0, State.ERROR))
    assert await store.jobs_to_notify("ann", START, finished.ends_at, 10) == [finished]


async def test_recorded_end_is_not_found_again(store):
    job = await add(store, webhook=HOOK)
    requests = None, SentRequest({"webhook-id": "msg_1"}, 2, None), SentRequest({}, 3, "{ }")
    attempts = tuple(Attempt(1010.0, 5.0, 0.1, 200, request=request) for request in requests)
    delivered = delivery_of(job, state=DeliveryState.DELIVERED, attempts=attempts)
    await store.record_deliveries("ann", [delivered])
    assert await store.jobs_to_notify("ann", START, 1e9, 10) == []
    assert await store.owners_to_notify() == {}
    assert await store.deliveries("ann", limit=10) == [delivered]
    assert await store.find_delivery("ann", delivered.id) == delivered
    assert await store.find_delivery("ann", "msg_other") is None
    assert await store.find_delivery("bob", delivered.id) is None


async def test_changes_of_a_delivery_at_the_same_time_are_all_stored(store):
    job = await add(store, webhook=HOOK)
    await store.record_deliveries("ann", [delivery_of(job)])

    def attempted(number):
        attempt = Attempt(1010.0, float(number), 0.1, 500)
        return lambda delivery: replace(delivery, attempts=(*delivery.attempts, attempt), next_at=1100.0)

    changes = [store.change_delivery("ann", delivery_id(job, END), attempted(number)) for number in range(20)]
    await asyncio.gather(*changes)
    [stored] = await store.deliveries("ann", limit=10)
    assert {attempt.wall for attempt in stored.attempts} == set(range(20))
    assert await store.deliveries_due("ann", (0.0, ""), 1100.0, 10) == [stored]
    assert await store.change_delivery("ann", "msg_other", attempted(0)) is None
    assert await store.change_delivery("bob", stored.id, attempted(0)) is None
    await store.reset_sandbox("ann")
    assert await store.change_delivery("ann", stored.id, attempted(0)) is None


async def test_retries_are_due_in_the_order_of_their_times(store):
    jobs = [await add(store, webhook=HOOK) for _ in range(3)]
    waiting = [delivery_of(job, next_at=at) for job, at in zip(jobs, (1300.0, 1100.0, 1200.0), strict=True)]
    await store.record_deliveries("ann", waiting)
    assert await store.owners_to_notify() == {"ann": 1100.0}
    assert await store.owners_to_notify() == {"ann": 1100.0}
    beginning = (-math.inf, "")
    assert await store.deliveries_due("ann", beginning, 1250.0, 10) == [waiting[1], waiting[2]]
    assert await store.deliveries_due("ann", beginning, 1250.0, 1) == [waiting[1]]
    assert await store.deliveries_due("ann", (1100.0, ""), 1250.0, 1) == [waiting[1]]
    assert await store.deliveries_due("ann", (1100.0, waiting[1].id), 1250.0, 10) == [waiting[2]]
    await store.record_deliveries("ann", [replace(waiting[1], next_at=None, state=DeliveryState.FAILED)])
    assert await store.owners_to_notify() == {"ann": 1200.0}


async def test_deliveries_are_listed_newest_first(store):
    jobs = [await add(store, webhook=HOOK) for _ in range(2)]
    made = [delivery_of(job, stage) for job in jobs for stage in (1, END)]
    await store.record_deliveries("ann", made)
    assert await store.deliveries("ann", limit=3) == made[:0:-1]
    assert await store.deliveries("ann", limit=9, before=(2, END)) == [made[2], made[1], made[0]]
    assert await store.deliveries("ann", limit=9, before=(LAST, 0)) == made[::-1]


async def test_gone_urls_of_an_owner(store):
    gone, fine = [await add(store, webhook=HOOK) for _ in range(2)]
    await store.record_deliveries(
        "ann", [delivery_of(gone, state=DeliveryState.GONE), delivery_of(fine, url="http://other/")]
    )
    assert await store.gone_urls("ann") == {HOOK.url}
    assert await store.gone_urls("bob") == set()
    await store.allow_url("ann", HOOK.url)
    assert await store.gone_urls("ann") == set()


async def test_deliveries_of_jobs_that_are_gone_are_ignored(store):
    job = await add(store, webhook=HOOK)
    await store.reset_sandbox("ann")
    same_ordinal = await add(store, webhook=HOOK, created_at=2000.0)
    assert same_ordinal.ordinal == job.ordinal
    await store.record_deliveries("ann", [delivery_of(job)])
    assert await store.deliveries("ann", limit=10) == []
    assert await store.owners_to_notify() == {"ann": 2010.0}


async def test_reset_and_retention_delete_deliveries(store):
    job = await add(store, webhook=HOOK)
    await store.record_deliveries("ann", [delivery_of(job, state=DeliveryState.DELIVERED)])
    await store.purge("ann", Cutoff(2000.0, 2000.0), 10)
    assert await store.deliveries("ann", limit=10) == []
    job = await add(store, webhook=HOOK)
    await store.record_deliveries("ann", [delivery_of(job, next_at=1100.0)])
    await store.reset_sandbox("ann")
    assert (await store.deliveries("ann", limit=10), await store.owners_to_notify()) == ([], {})
    while await store.purge_queued(10):
        pass
    assert await store.deliveries("ann", limit=10) == []


async def test_retention_keeps_what_has_to_be_delivered(store):
    unsent, waiting, failed = [await add(store, webhook=HOOK) for _ in range(3)]
    retried = delivery_of(waiting, next_at=90_000.0)
    await store.record_deliveries("ann", [retried, delivery_of(failed, state=DeliveryState.FAILED)])
    assert await store.purge("ann", Cutoff(2000.0, 2000.0), 10) == 1
    assert [await store.find("ann", job.id) for job in (unsent, waiting, failed)] == [
        replace(unsent, notified=0),
        replace(waiting, notified=END),
        None,
    ]
    assert await store.deliveries("ann", limit=10) == [retried]
    await store.record_deliveries("ann", [replace(retried, next_at=None, state=DeliveryState.FAILED)])
    await store.record_deliveries("ann", [delivery_of(unsent, state=DeliveryState.GONE)])
    assert await store.purge("ann", Cutoff(2000.0, 2000.0), 10) == 2


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
async def test_one_process_holds_the_lease_of_an_owner(url):
    here, there = open_store(url), open_store(url)
    assert await here.lease("ann", "here", 60.0)
    assert await here.lease("ann", "here", 60.0)
    assert not await there.lease("ann", "there", 60.0)
    assert await there.lease("bob", "there", 60.0)
    await there.release("ann", "there")
    assert not await there.lease("ann", "there", 60.0)
    await here.release("ann", "here")
    assert await there.lease("ann", "there", -1.0)
    assert await here.lease("ann", "here", 60.0)  # the other lease has ended
    await here.close()
    await there.close()
