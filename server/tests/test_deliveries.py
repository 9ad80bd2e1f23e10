"""The service that delivers webhooks, with a sender of the test's."""

import asyncio
import math
from contextlib import asynccontextmanager

import pytest

from tests.stores import add, cancel
from translation_server.core.sandbox import SandboxSettings
from translation_server.core.webhooks import Attempt, Webhook
from translation_server.service.deliveries import Deliveries
from translation_server.service.jobs import Service
from translation_server.service.webhook_attempts import Attempts
from translation_server.service.webhook_receivers import Receivers
from translation_server.storage import StoreError
from translation_server.storage.memory import MemoryStore

HOOK = Webhook("http://receiver/hook")


class Sender:
    """Accepts everything, and keeps what it was given."""

    def __init__(self):
        self.sent = asyncio.Queue()

    async def check(self, user, url): ...

    async def send(self, _, delivery, __, clock, ___=None):
        await self.sent.put(delivery)
        return Attempt(clock.virtual(5000.0), 5000.0, 0.1, 204)

    async def close(self): ...

    async def take(self):
        return await asyncio.wait_for(self.sent.get(), 60)


@asynccontextmanager
async def delivering(store, render=lambda *_: "{}", sender=None, clock=lambda: 5000.0, wrap=None, **options):
    """Delivers what is due in a store; yields the sender. ``wrap`` replaces the cache of sandboxes."""
    service = Service(store, SandboxSettings, clock=clock, entropy=lambda: bytes(16))
    sandboxes, sender = (wrap or (lambda cache: cache))(service.sandboxes), sender or Sender()
    attempts = Attempts(sender, clock=clock, render=render)
    deliveries = Deliveries(store, sandboxes, attempts=attempts, clock=clock, **options)
    service.deliver_by(deliveries)
    running = asyncio.create_task(deliveries.run())
    yield sender
    running.cancel()
    await deliveries.close()


async def test_job_that_cannot_be_rendered_holds_up_no_other(caplog):
    store = MemoryStore()
    broken, fine = [await add(store, webhook=HOOK, job_id=name) for name in ("broken", "fine")]

    def render(job, _):
        if job.id == broken.id:
            raise LookupError("there is no file of the kind mp4")
        return "{}"

    async with delivering(store, render) as sender:
        assert (await sender.take()).job_id == fine.id
    assert "there is no file of the kind mp4" in caplog.text


class FailingStore(MemoryStore):
    """A store that fails to record the first attempts."""

    def __init__(self):
        super().__init__()
        self.has_failed = False
        self.recorded = asyncio.Event()

    async def record_deliveries(self, owner, deliveries):
        if not self.has_failed:
            self.has_failed = True
            raise StoreError("the disk is full")
        await super().record_deliveries(owner, deliveries)
        self.recorded.set()


async def test_attempt_that_cannot_be_recorded_is_not_made_again_by_the_same_process():
    store = FailingStore()
    job = await add(store, webhook=HOOK)
    async with delivering(store, retry_pause=0.01) as sender:
        await sender.take()
        await asyncio.wait_for(store.recorded.wait(), 60)
        assert sender.sent.empty()
    assert (await store.find("ann", job.id)).notified


class SlowStore(MemoryStore):
    """A store whose second read of due events began before the first attempt was stored, and ends after it."""

    def __init__(self, may_answer):
        super().__init__()
        self.reads = 0
        self.may_answer = may_answer
        self.recorded, self.read_again = asyncio.Event(), asyncio.Event()

    async def jobs_to_notify(self, *arguments):
        self.reads += 1
        if self.reads > 2:
            self.read_again.set()
        page = await super().jobs_to_notify(*arguments)
        if self.reads == 2:
            self.may_answer.set()
            await asyncio.wait_for(self.recorded.wait(), 60)
            for _ in range(100):  # until the attempt has ended
                await asyncio.sleep(0)
        return page

    async def record_deliveries(self, owner, deliveries):
        await super().record_deliveries(owner, deliveries)
        self.recorded.set()


async def test_read_that_began_before_an_attempt_was_stored_does_not_repeat_it():
    class SlowSender(Sender):
        async def send(self, *arguments):
            attempt = await super().send(*arguments)
            await may_answer.wait()
            return attempt

    may_answer = asyncio.Event()
    store, sender = SlowStore(may_answer), SlowSender()
    await add(store, webhook=HOOK)
    async with delivering(store, sender=sender):
        await sender.take()
        await asyncio.wait_for(store.recorded.wait(), 60)
        await asyncio.wait_for(store.read_again.wait(), 60)
    assert sender.sent.empty()


async def test_event_after_the_first_one_is_that_of_the_job_as_it_stands_then():
    class SlowSender(Sender):
        async def send(self, *arguments):
            attempt = await super().send(*arguments)
            await may_answer.wait()
            return attempt

    may_answer, now = asyncio.Event(), 5000.0
    store, sender = MemoryStore(), SlowSender()
    every = Webhook(HOOK.url, events=("started", "completed", "cancelled"))
    job = await add(store, webhook=every, created_at=4500.0, delay=1000.0)
    async with delivering(store, sender=sender, clock=lambda: now):
        assert (await sender.take()).event == "started"
        await cancel(store, "ann", job.id, now)
        now = 6000.0
        may_answer.set()
        assert (await sender.take()).event == "cancelled"
    assert sender.sent.empty()


class ReadAgain(MemoryStore):
    """A store that confirms an attempt of a start late: only after due events were read again, several times."""

    def __init__(self):
        super().__init__()
        self.read, self.is_stored = asyncio.Event(), False

    async def jobs_to_notify(self, *arguments):
        self.read.set()
        return await super().jobs_to_notify(*arguments)

    async def record_deliveries(self, owner, deliveries):
        await super().record_deliveries(owner, deliveries)
        if deliveries[0].event == "started":
            await self.is_read_again()
            self.is_stored = True

    async def is_read_again(self):
        for _ in range(6):
            self.read.clear()
            await asyncio.wait_for(self.read.wait(), 60)


class SlowSandboxes:
    """A cache of sandboxes that delays the task that has just stored the attempt of a start."""

    def __init__(self, cache, store):
        self.known_clock = cache.known_clock
        self._cache, self._store, self.went_on = cache, store, asyncio.Event()

    async def of(self, owner):
        if self._store.is_stored:
            self._store.is_stored = False
            await self._store.is_read_again()
            self.went_on.set()
        return await self._cache.of(owner)


async def test_event_that_was_read_while_the_one_before_was_stored_is_attempted_once(monkeypatch):
    def slow(cache):
        nonlocal sandboxes
        sandboxes = SlowSandboxes(cache, store)
        return sandboxes

    sandboxes, store = None, ReadAgain()
    monkeypatch.setattr("translation_server.service.deliveries.SCAN_PAUSE", 0.001)
    monkeypatch.setattr("translation_server.service.delivery_worker.SCAN_PAUSE", 0.001)
    await add(store, webhook=Webhook(HOOK.url, events=("started", "completed")))
    async with delivering(store, wrap=slow) as sender:
        assert [(await sender.take()).event for _ in range(2)] == ["started", "completed"]
        await asyncio.wait_for(sandboxes.went_on.wait(), 60)
        for _ in range(100):  # until a second attempt would have begun
            await asyncio.sleep(0)
    assert sender.sent.empty()


async def test_process_without_the_lease_delivers_nothing():
    class TakenStore(MemoryStore):
        async def lease(self, *_):
            asked.set()
            return False

    asked, store = asyncio.Event(), TakenStore()
    await add(store, webhook=HOOK)
    async with delivering(store) as sender:
        await asyncio.wait_for(asked.wait(), 60)
    assert sender.sent.empty()


@pytest.mark.parametrize(("quick", "expected"), [(math.inf, 3), (-1.0, 1)])
async def test_receiver_has_more_turns_at_the_same_time_while_it_answers_quickly(monkeypatch, quick, expected):
    async def deliver():
        nonlocal active, most
        async with receivers.turn("ann", "http://receiver/"):
            active += 1
            most = max(most, active)
            for _ in range(10):
                await asyncio.sleep(0)
            active -= 1

    monkeypatch.setattr("translation_server.service.webhook_receivers.QUICK", quick)
    receivers, active, most = Receivers(3), 0, 0
    async with receivers.turn("ann", "http://other/"), receivers.turn("bob", "http://receiver/"):
        await asyncio.wait_for(asyncio.gather(*(deliver() for _ in range(20))), 60)
    assert (active, most) == (0, expected)


async def test_many_slow_receivers_do_not_delay_another(monkeypatch):
    class SlowSender(Sender):
        async def send(self, user, delivery, *arguments):
            if "slow" in delivery.url:
                await asyncio.Event().wait()
            return await super().send(user, delivery, *arguments)

    for name, value in {"IN_FLIGHT": 150, "GRACE": 0.0}.items():
        monkeypatch.setattr(f"translation_server.service.deliveries.{name}", value)
    store = MemoryStore()
    for number in range(300):
        await add(store, webhook=Webhook(f"http://slow-{number % 100}/"), created_at=4000.0)
    due = await add(store, webhook=HOOK, created_at=4000.0)
    async with delivering(store, sender=SlowSender()) as sender:
        assert (await sender.take()).job_id == due.id


class HangingSender(Sender):
    """Never gets an answer from URLs with "hang"."""

    async def send(self, user, delivery, *arguments):
        if "hang" in delivery.url:
            await asyncio.Event().wait()
        return await super().send(user, delivery, *arguments)


async def test_receiver_that_hangs_delays_no_other_user(monkeypatch):
    monkeypatch.setattr("translation_server.service.deliveries.GRACE", 0.0)
    store = MemoryStore()
    for _ in range(20):
        await add(store, webhook=Webhook("http://receiver/hang"), created_at=4000.0)
    due = await add(store, "bob", webhook=HOOK, created_at=4000.0)
    async with delivering(store, sender=HangingSender()) as sender:
        assert (await sender.take()).job_id == due.id


class BecomingSlow(Sender):
    """Answers the first delivery to a URL with "slow" at once, and all others late."""

    has_answered = False

    async def send(self, user, delivery, *arguments):
        if "slow" in delivery.url and self.has_answered:
            await asyncio.sleep(0.05)
        self.has_answered = True
        return await super().send(user, delivery, *arguments)


@pytest.mark.parametrize(("sender", "path"), [(HangingSender, "hang"), (BecomingSlow, "slow")])
async def test_slow_receiver_delays_no_other_of_its_user(monkeypatch, sender, path):
    names = {"deliveries.MAX_KNOWN": 20, "deliveries.PAGE": 5, "deliveries.GRACE": 0.0, "webhook_receivers.QUICK": 0.02}
    for name, value in {**names, "webhook_receivers.MAX_WAITING": 3}.items():
        monkeypatch.setattr(f"translation_server.service.{name}", value)
    store, taken = MemoryStore(), 0
    for _ in range(100):
        await add(store, webhook=Webhook(f"http://other/{path}"), created_at=4000.0)
    due = await add(store, webhook=HOOK, created_at=4000.0)
    async with delivering(store, sender=sender()) as sending:
        while (await sending.take()).job_id != due.id:
            taken += 1
    assert taken < 50


async def test_slow_receiver_gets_everything(monkeypatch):
    for name, value in {"QUICK": -1.0, "MAX_WAITING": 3}.items():
        monkeypatch.setattr(f"translation_server.service.webhook_receivers.{name}", value)
    store = MemoryStore()
    jobs = {(await add(store, webhook=HOOK, created_at=4000.0)).id for _ in range(50)}
    async with delivering(store) as sender:
        assert {(await sender.take()).job_id for _ in jobs} == jobs


async def test_reset_ends_the_attempts_for_the_jobs_before_it(monkeypatch):
    caches = []
    monkeypatch.setattr("translation_server.service.deliveries.GRACE", 0.0)
    store = MemoryStore()
    for _ in range(20):
        await add(store, webhook=Webhook("http://receiver/hang"), created_at=4000.0)
    sender = HangingSender()
    asked = asyncio.Event()

    async def send(*arguments):
        asked.set()
        return await HangingSender.send(sender, *arguments)

    sender.send = send
    async with delivering(store, sender=sender, wrap=lambda cache: caches.append(cache) or cache):
        await asyncio.wait_for(asked.wait(), 60)
        await caches[0].clear("ann", 5000.0)
        due = await add(store, webhook=HOOK, created_at=4000.0)
        assert (await sender.take()).job_id == due.id


@pytest.mark.parametrize("delay", [0.0, 1000.0])
async def test_events_that_are_due_later_are_not_delivered_now(delay):
    store = MemoryStore()
    await add(store, webhook=HOOK, created_at=4500.0, delay=delay)
    due = await add(store, webhook=HOOK, job_id="due", created_at=4000.0)
    async with delivering(store) as sender:
        ids = {(await sender.take()).job_id for _ in range(1 if delay else 2)}
    assert due.id in ids
    assert len(ids) == (1 if delay else 2)
    assert sender.sent.empty()
