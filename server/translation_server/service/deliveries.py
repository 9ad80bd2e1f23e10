"""Delivers the events of jobs to their webhooks, at least once.

Theory of operation: what is due follows from the jobs, so nothing has to happen when a job ends. A background task asks
the store at most once a second which owners have an event or a retry in the future, and at what time the first one is
due. It learns of this process's own changes at once. For an owner with something due, a worker takes the owner's lease,
so that several servers do not send the same. It reads what is due, sends it, and stores the results. The next event of
a job becomes due only then, so the first attempts for a job are in order; retries delay nothing. If a process ends
before it has stored an attempt, the next process that takes the lease makes this attempt again.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn, Protocol

from translation_server.core.change_feed import MAX_PAGE_SIZE, is_full
from translation_server.core.clock import Clock, VirtualTime, WallTime
from translation_server.core.dialects.filters import timestamp
from translation_server.core.job import Job, json_text
from translation_server.core.metrics import Metrics
from translation_server.core.report.deliveries import ReportedAttempt, reported
from translation_server.core.webhook_events import (
    END,
    JobEvent,
    delivery_id,
    due_event,
    event_position,
    next_event_at,
    timed_event,
)
from translation_server.core.webhooks import Attempt, Delivery, DeliveryState, Webhook
from translation_server.service.delivery_worker import NEVER, SCAN_PAUSE, START, Worker, pause_after
from translation_server.service.sandbox_cache import SandboxCache
from translation_server.service.webhook_attempts import Attempts, log_attempt
from translation_server.service.webhook_receivers import CrowdedError, Receivers
from translation_server.storage import DeliveryStore, JobStore, StoreError

logger = logging.getLogger(__name__)
SOON = 2.0  # a worker waits for events and retries that are due within this many seconds
LEASE = 10.0  # how long an owner's deliveries are reserved for a process, in seconds
RENEWAL = 3.0  # how long after a lease was taken it is renewed, in seconds
RETRY_PAUSE = 5.0  # how long to wait after the store has failed, or while another process has the lease, in seconds
PAGE = 50  # how many due events and retries are read at a time, and how many attempts one commit stores
MAX_KNOWN = 5_000  # how many deliveries of an owner may be in progress or wait for their receiver
AT_ONCE = 8  # how many deliveries one receiver gets at the same time, so that a slow one does not hold up the others
IN_FLIGHT = 2_000  # how many deliveries a process sends at the same time
BEGUN_TOGETHER = 4  # how many attempts begin without other work of the process between them
MIN_PAUSE = 0.01  # how long changes are collected before due deliveries are read again, in seconds
MAX_REPORTED = 5_000  # how many deliveries a report card is about
FAILED = "webhooks: delivery failed, trying again in %g s: %s"
GRACE = 5.0  # how long a server that stops waits for attempts, in seconds


class DeliveryAndJobStore(DeliveryStore, JobStore, Protocol):
    """The parts of a store that deliveries need."""


class Deliveries:
    """Delivers events.

    Args:
        store: where jobs and deliveries are stored.
        sandboxes: the clocks of the owners.
        attempts: makes the attempts.
        clock: returns the wall time.
        retry_pause: how long to wait after the store has failed, or while another process has the lease, in seconds.
    """

    def __init__(  # noqa: PLR0913 - the options are keywords
        self,
        store: DeliveryAndJobStore,
        sandboxes: SandboxCache,
        *,
        attempts: Attempts,
        clock: Callable[[], WallTime],
        retry_pause: float = RETRY_PAUSE,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._attempts = attempts
        self._clock = clock
        self._retry_pause = retry_pause
        self._metrics = metrics or Metrics()
        self._holder = secrets.token_hex(8)
        self._due: dict[str, VirtualTime] = {}
        self._workers: dict[str, Worker] = {}
        self._not_before: dict[str, float] = {}
        self._receivers = Receivers(AT_ONCE)
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)
        self._beginning = asyncio.Semaphore(BEGUN_TOGETHER)
        self._closing = False

    async def run(self) -> NoReturn:
        """Delivers what is due, until it is cancelled."""
        while True:
            began = time.monotonic()
            try:
                self._due = dict(await self._store.owners_to_notify())
                for owner, at in list(self._due.items()):
                    if (await self._sandboxes.of(owner)).clock.seconds_to(at, self._clock()) <= SOON:
                        self._start(owner)
                await asyncio.sleep(pause_after(time.monotonic() - began))
            except Exception as error:
                logger.warning(FAILED, self._retry_pause, error, exc_info=not isinstance(error, StoreError))
                await asyncio.sleep(self._retry_pause)

    async def close(self) -> None:
        """Stops. Attempts in progress have `GRACE` seconds to end; the next process makes all others."""
        self._closing = True
        workers = list(self._workers.values())
        attempts = [attempt for worker in workers for attempt in worker.known.values()]
        if attempts:
            await asyncio.wait(attempts, timeout=GRACE)
        for task in [*attempts, *(worker.task for worker in workers if worker.task)]:
            task.cancel()
        for worker in workers:
            with suppress(StoreError):
                await self._store.release(worker.owner, self._holder)
        await self._attempts.sender.close()

    async def check(self, owner: str, url: str) -> None:
        """Checks that an owner's webhooks may be delivered to a URL.

        Raises:
            UnusableUrl: they may not; the message says what it must be.
        """
        await self._attempts.sender.check(owner, url)

    async def page(self, owner: str, *, limit: int, after: str | None) -> tuple[list[Delivery], str | None]:
        """Returns an owner's deliveries after the one with the id ``after``, newest first, and the next ``after``.

        Raises:
            KeyError: there is no delivery with the id ``after``.
        """
        before = None
        if after is not None:
            if (last := await self._store.find_delivery(owner, after)) is None:
                raise KeyError(after)
            before = last.ordinal, last.stage
        found = await self._store.deliveries(owner, limit=limit + 1, before=before)
        page, size = list[Delivery](), 0
        for delivery in found[:limit]:
            page.append(delivery)
            size += delivery.size
            if size >= MAX_PAGE_SIZE:
                break
        return page, page[-1].id if len(page) < len(found) else None

    async def due(self, owner: str, limit: int) -> list[tuple[Job, JobEvent]]:
        """Returns the owner's next events that are due and whose first attempt is not stored yet, with their jobs."""
        now = (await self._sandboxes.of(owner)).clock.virtual(self._clock())
        jobs = await self._store.jobs_to_notify(owner, START, now, limit)
        return [(job, event) for job in jobs if (event := due_event(job, now)) is not None]

    async def attempts_of(self, owner: str) -> list[ReportedAttempt]:
        """Returns the attempts of an owner's newest deliveries, for the report card."""
        return reported(one for one in await self._store.deliveries(owner, limit=MAX_REPORTED) if one.attempts)

    async def redeliver(self, owner: str, delivery_id: str) -> Delivery | None:
        """Makes another attempt of a delivery due now; returns None if there is no such delivery.

        If its URL has answered 410, deliveries to it are made again.
        """
        now = (await self._sandboxes.of(owner)).clock.virtual(self._clock())
        due = await self._store.change_delivery(owner, delivery_id, lambda delivery: delivery.due_again(now))
        if due is None:
            return None
        await self._store.allow_url(owner, due.url)
        self._due[owner] = min(now, self._due.get(owner, now))
        self._not_before.pop(owner, None)
        self.sandbox_changed(owner)
        return due

    async def ping(self, owner: str, url: str, secrets_of_receiver: tuple[str, ...]) -> Attempt:
        """Posts an event without a job to a URL, and returns the result.

        Raises:
            UnusableUrl: webhooks may not be delivered there.
        """
        await self.check(owner, url)
        clock = (await self._sandboxes.of(owner)).clock
        now = clock.virtual(self._clock())
        body = json_text({"type": "ping", "timestamp": timestamp(now), "data": {}})
        delivery = Delivery(f"msg_{secrets.token_urlsafe(18)}", 0, 0, "ping", "", url, now, body)
        return await self._attempts.sender.send(owner, delivery, Webhook(url, secrets=secrets_of_receiver), clock)

    def job_changed(self, job: Job) -> None:
        """Delivers the due events of a job that this process has accepted or changed, soon."""
        if job.webhook is None or (at := next_event_at(job)) is None:
            return
        self._due[job.owner] = min(at, self._due.get(job.owner, at))
        if worker := self._workers.get(job.owner):
            worker.change(read_all=event_position(job) <= worker.position)
        elif self._sandboxes.known_clock(job.owner).seconds_to(at, self._clock()) <= SOON:
            self._start(job.owner)

    def sandbox_changed(self, owner: str, reset: bool = False) -> None:
        """Reads again what is due, because the owner's sandbox has changed; ``reset`` if its jobs are gone."""
        if worker := self._workers.get(owner):
            if reset:
                worker.cancel_attempts()
            worker.change(read_all=True)
        elif owner in self._due:
            self._start(owner)

    def _start(self, owner: str) -> None:
        """Starts a worker for an owner, unless one is running or another process held the lease a moment ago."""
        if owner in self._workers or self._closing or time.monotonic() < self._not_before.get(owner, 0.0):
            return
        self._not_before.pop(owner, None)
        worker = self._workers[owner] = Worker(owner)
        worker.task = asyncio.create_task(self._work(worker))

    async def _work(self, worker: Worker) -> None:
        """Delivers what is due for an owner. After a failure of the store, it remembers the attempts in progress."""
        owner = worker.owner
        try:
            while not self._closing:
                try:
                    if not await self._deliver(worker):
                        self._not_before[owner] = time.monotonic() + self._retry_pause
                    break
                except Exception as error:
                    logger.warning(FAILED, self._retry_pause, error, exc_info=not isinstance(error, StoreError))
                    await asyncio.sleep(self._retry_pause)
            if worker.known:
                await asyncio.wait(worker.known.values())
        finally:
            del self._workers[owner]

    async def _deliver(self, worker: Worker) -> bool:
        """Delivers what is due for an owner until nothing is due soon; returns False while another process does it."""
        owner = worker.owner
        while not self._closing:
            worker.changed.clear()
            if time.monotonic() >= worker.read_again_at:
                worker.read_from_start()
                worker.gone = await self._store.gone_urls(owner)
            if not await self._has_lease(worker):
                return False
            clock = (await self._sandboxes.of(owner)).clock
            next_at = NEVER
            if len(worker.known) <= MAX_KNOWN - 2 * PAGE:
                next_at, more = await self._read(worker, clock)
                if more:
                    await asyncio.sleep(0)
                    continue
            if next_at == NEVER and not worker.known and not worker.changed.is_set():
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(worker.changed.wait(), min(SCAN_PAUSE, clock.seconds_to(next_at, self._clock())))
            await asyncio.sleep(MIN_PAUSE)
        await self._store.release(owner, self._holder)
        return True

    async def _has_lease(self, worker: Worker) -> bool:
        now = time.monotonic()
        if now < worker.leased_at + RENEWAL:
            return True
        if has_lease := await self._store.lease(worker.owner, self._holder, LEASE):
            worker.leased_at = now
        return has_lease

    async def _read(self, worker: Worker, clock: Clock) -> tuple[VirtualTime, bool]:
        """Starts the attempts of what is due; returns when something is due next, and whether more is due now."""
        wall = self._clock()
        now, horizon = clock.virtual(wall), clock.virtual(WallTime(wall + SOON))
        next_at, more = await self._read_events(worker, now, horizon)
        if worker.retry_at <= now:
            worker.retry_at = await self._read_retries(worker, now, horizon)
        more = more or worker.retry_at <= now
        if not more:
            worker.everything_was_read()
        return min(next_at, worker.retry_at), more

    async def _read_events(self, worker: Worker, now: VirtualTime, horizon: VirtualTime) -> tuple[VirtualTime, bool]:
        """Starts the attempts of a page of due events; returns when the next one is due, and whether there are more."""
        worker.recent.clear()
        page = await self._store.jobs_to_notify(worker.owner, worker.position, now, PAGE)
        for job in page:
            worker.position = event_position(job)
            self._start_event(worker, job, now)
        if is_full(page, PAGE):
            return NEVER, True
        following = await self._store.jobs_to_notify(worker.owner, worker.position, horizon, 1)
        return next((VirtualTime(event_position(job).at) for job in following), NEVER), False

    async def _read_retries(self, worker: Worker, now: VirtualTime, horizon: VirtualTime) -> VirtualTime:
        """Starts the attempts of a page of due retries; returns when the next one is due."""
        worker.recent.clear()
        page = await self._store.deliveries_due(worker.owner, worker.retried, horizon, PAGE)
        for delivery in page:
            due_at = delivery.next_at or now
            if due_at > now:
                return due_at
            worker.retried = due_at, delivery.id
            if not worker.has_begun(delivery.id):
                self._begin(worker, delivery.id, self._retry(worker, delivery))
        return now if len(page) == PAGE else NEVER

    def _start_event(self, worker: Worker, job: Job, now: VirtualTime) -> None:
        """Starts the first attempt of a job's due event, if there is one."""
        event = due_event(job, now)
        if event is None or (this := (job.ordinal, job.created_at)) in worker.busy:
            return
        if not worker.has_begun(new_id := delivery_id(job, event.stage)):
            worker.busy.add(this)
            event = timed_event(job, event, self._sandboxes.known_clock(worker.owner))
            self._begin(worker, new_id, self._deliver_event(worker, job, event, new_id))

    def _begin(self, worker: Worker, known_id: str, attempt: Coroutine[Any, Any, None]) -> None:
        """Makes an attempt in a task. If it cannot be made or stored, it is repeated after a pause; others go on."""

        async def run() -> None:
            try:
                await attempt
            except CrowdedError:
                pass
            except Exception as error:
                logger.warning(FAILED, self._retry_pause, error, exc_info=not isinstance(error, StoreError))
                await asyncio.sleep(self._retry_pause)
            finally:
                worker.drop(known_id)

        worker.known[known_id] = asyncio.create_task(run())

    async def _deliver_event(self, worker: Worker, job: Job, event: JobEvent, new_id: str) -> None:
        """Makes the first attempt of an event; then starts the job's next event if that is due."""
        url, jobs = job.webhook.url if job.webhook else "", []

        def new() -> Delivery:
            body = self._attempts.render(job, event)
            return Delivery(new_id, job.ordinal, event.stage, event.name, job.id, url, event.at, body, next_at=event.at)

        try:
            if await self._attempt(worker, job, url, new) and event.stage < END and not self._closing:
                clock = (await self._sandboxes.of(worker.owner)).clock
                jobs = await self._store.accepted_after(worker.owner, job.ordinal - 1, 1)  # it may have changed
        finally:
            worker.busy.discard((job.ordinal, job.created_at))
        for changed in jobs:
            self._start_event(worker, changed, clock.virtual(self._clock()))

    async def _retry(self, worker: Worker, delivery: Delivery) -> None:
        for job in await self._store.accepted_after(worker.owner, delivery.ordinal - 1, 1):
            if job.webhook and delivery_id(job, delivery.stage) == delivery.id:
                await self._attempt(worker, job, delivery.url, lambda: delivery)

    async def _attempt(self, worker: Worker, job: Job, url: str, delivery: Callable[[], Delivery]) -> bool:
        """Makes an attempt and stores the result; returns False if another process may have made it meanwhile."""
        async with self._receivers.turn(worker.owner, url), self._in_flight:
            async with self._beginning:
                await asyncio.sleep(0)
            if time.monotonic() >= worker.leased_at + LEASE:
                return False
            before = delivery()
            if url in worker.gone:
                after = replace(before, state=DeliveryState.GONE, next_at=None)
            else:
                clock = (await self._sandboxes.of(worker.owner)).clock
                after = await self._attempts.make(job, before, clock)
                log_attempt(worker.owner, after)
                self._count(after.attempts_since(before))
        if after.state is DeliveryState.GONE:
            worker.gone.add(url)
        await self._store_attempts(worker, after)
        worker.retry(after.next_at)
        if self._receivers.has_room_again(worker.owner, url):
            worker.change(read_all=True)
        return True

    def _count(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            self._metrics.attempts.add(attempt.result)
            if attempt.fault:
                self._metrics.faults.add("delivery", attempt.fault)

    async def _store_attempts(self, worker: Worker, delivery: Delivery) -> None:
        """Stores a delivery, together with others of its owner that came meanwhile; repeats it until it is stored."""
        worker.attempted.append(delivery)
        async with worker.storing:
            while batch := worker.attempted[:PAGE]:
                try:
                    await self._store.record_deliveries(worker.owner, batch)
                    del worker.attempted[: len(batch)]
                    worker.recent.update(stored.id for stored in batch)
                except StoreError as error:
                    logger.warning(FAILED, self._retry_pause, error)
                    await asyncio.sleep(self._retry_pause)
