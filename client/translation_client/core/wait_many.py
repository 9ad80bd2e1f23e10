"""The flow for several jobs.

It uses the best way that the server supports:

1. Event stream: the flow opens the stream, reads the status of all jobs with batch polls of a hundred jobs, and then
   receives each change from the stream. The stream is opened first, so no change is missed. Jobs for which the server
   asks for a poll at once are polled until it does not.
2. Batch polls: jobs that are due at about the same time share a poll.
3. Polls: each job is polled by its own schedule.

A stream is useful if it reports the end of a job, or lasts for `LASTING` seconds. If a stream breaks off, the flow
opens it again after a pause (a backoff, and at least the server's ``retry``), and polls by the schedules until then.
After the reconnect it polls all jobs if events may have been lost: the last stream was not useful, an event could not
be read, or there is no event id to resume from.

The flow gives a stream up, and only polls from then on, if the stream is silent from the start (a proxy may buffer it),
is not an event stream, or was not useful several times in a row.

A failure of one job does not end the wait for the others: each job has its own retry budget for answers that cannot be
read. All jobs share one deadline. At the deadline they are polled a last time, for as long as `FlowTime` allows. The
job with the oldest status comes first.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from math import inf

from translation_client.core.batch_job import BatchJob
from translation_client.core.cancel_on_timeout import CANCEL_TIME, cancelled_late
from translation_client.core.deadline import FlowTime
from translation_client.core.decode import ParsedStatus, read_event, read_job
from translation_client.core.dialects import Listing, batch_polling, polling
from translation_client.core.effects import Chunk, Failure, Flow, Input, Listen, Reply, Send, WaitFailed, Warn
from translation_client.core.errors import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ProtocolError,
    TranslationError,
    TransportError,
)
from translation_client.core.lists import read_batch
from translation_client.core.refusals import refusal
from translation_client.core.requests import TRANSIENT, Failures, FlowOptions, Step, await_delivery, reason, request
from translation_client.core.sse import EventStream
from translation_client.core.status import JobTimeout, Status
from translation_client.core.wait_one import SCHEDULE_ENDED, result_of, timeout_error

MAX_BATCH = 100  # jobs per batch poll
MAX_BATCH_IDS = 6_000  # characters of ids per batch poll; every server accepts a URL of this length
BATCH_WINDOW = 0.5  # seconds: jobs that are due within this time share a batch poll
LEAST_CANCEL_TIME = 1.0  # seconds for the cancellation of one of several jobs
SILENCE = 40.0  # seconds: a stream that sends nothing for this time, not even a heartbeat, is dead
LASTING = 10.0  # seconds: a stream that still sends data after this time, even a heartbeat, is useful
NEXT_STEP = "The jobs are not affected: when the server is well, wait again."


@dataclass
class BatchWait:
    """The state of a wait for several jobs."""

    options: FlowOptions  # the caller's options
    time: FlowTime  # the flow's time
    jobs: dict[str, BatchJob]  # the jobs that the flow still waits for, by their ids
    batch_route: Listing | None  # the route of batch polls; None if each job is polled alone
    confirmed: bool = False  # whether the server has answered a batch poll
    cancels: bool = False  # whether jobs are cancelled when the time is up
    quiet: dict[str, float] = field(default_factory=dict)  # until when deliveries about a job cause no poll, by its id

    def is_valid(self, entry: int, job: BatchJob) -> bool:
        """Returns whether an entry in the queue of polls is current; a delivery of a webhook may have replaced it."""
        return job.entry == entry and job.id in self.jobs


def as_completed(options: FlowOptions, time: FlowTime, ids: Iterable[str], *, cancel_on_timeout: bool = False) -> Flow:
    """Yields each job's first status, then each change up to its final status or its WaitFailed."""
    listing = options.dialect.listing
    jobs = {job_id: _batch_job(options, time, job_id) for job_id in ids}
    wait = BatchWait(options, time, jobs, options.dialect.batches, cancels=cancel_on_timeout)
    failure: TransportError | None = None
    try:
        if listing and listing.events and options.events:
            try:
                yield from _by_stream(wait, listing.events)
            except ProtocolError as error:
                yield Warn(f"the event stream is given up, polling instead: {error}")
        yield from _by_polls(wait)
    except TransportError as error:
        failure = error
    end = time.now + CANCEL_TIME
    for job in [*jobs.values()]:
        fair = time.now + max(LEAST_CANCEL_TIME, (end - time.now) / len(jobs))
        yield from _give_up(wait, job, failure or job.timeout_error(), min(fair, end))


def _batch_job(options: FlowOptions, time: FlowTime, job_id: str) -> BatchJob:
    """Returns a job to wait for, with its status from an earlier request, if the client has one."""
    job = BatchJob(job_id, options, time.now, updated_at=time.now)
    if remembered := options.remembered.pop(job_id, None):
        reply, parsed = remembered
        job.update(parsed, reply.at)
        if reply.at + (parsed.status.hint or 0.0) <= time.now:
            job.plan(time.now)
    return job


def _by_stream(wait: BatchWait, path: str) -> Flow:
    """Reads the event stream until all jobs have ended, the time is up, or the stream is given up.

    Raises:
        ProtocolError: The stream is silent, or is not an event stream.
    """
    options, time = wait.options, wait.time
    stream, failures, useful, opened = EventStream(), Failures(options), False, False
    while wait.jobs and time.left:
        send = Send("GET", path, headers={"Accept": "text/event-stream", **stream.resume_headers})
        result: Input = yield Listen(send, min(options.request_timeout, time.left))
        time.now = result.at
        if isinstance(result, Chunk):
            opened = True
            if not (stream.resume_headers and useful):
                yield from _poll(wait, wait.jobs.values())
                yield from _poll_unsettled(wait)
            if wait.jobs and time.left:
                useful, result = yield from _read_stream(wait, stream)
            if useful:
                failures = Failures(options)
                for job in wait.jobs.values():
                    job.plan_from(time.now)
        if not wait.jobs or not time.left:
            return
        error = _stream_error(wait, result)
        if isinstance(error, NotFound | InvalidRequest) or not failures.record(error, confirmed=opened):
            return
        delay = max(failures.pause(result), stream.retry)
        yield failures.warning(f"GET {path}: {error or reason(options, result)}", delay)
        yield from _by_polls(wait, time.now + delay)


def _stream_error(wait: BatchWait, result: Input) -> TranslationError | None:
    """Returns the error of an answer that is not a stream; None for a transient failure.

    Raises:
        AuthenticationError: The server refused the credentials.
    """
    if not isinstance(result, Reply) or result.code in TRANSIENT:
        return None
    error = refusal(wait.options.dialect, result)
    if isinstance(error, AuthenticationError):
        raise error
    return error


def _read_stream(wait: BatchWait, stream: EventStream) -> Step[tuple[bool, Input]]:
    """Reads a stream until it or all jobs have ended; returns whether it was useful, and the last input.

    Raises:
        ProtocolError: The stream is silent, or is not an event stream.
    """
    time, began, useful = wait.time, wait.time.now, False
    while True:
        result = yield Listen(None, min(SILENCE, time.left))
        time.now = result.at
        if not isinstance(result, Chunk):
            if not useful and time.now - began >= SILENCE:
                raise ProtocolError("the event stream is silent")
            return useful, result
        useful = useful or time.now - began >= LASTING
        try:
            events = stream.feed(result.data)
        except ValueError as error:
            raise ProtocolError(f"the event stream cannot be read: {error}") from None
        for event in events:
            try:
                parsed = read_event(wait.options.dialect, event)
            except ProtocolError as error:
                return False, Failure(f"an event cannot be read: {error.message}", result.at)
            job = wait.jobs.get(parsed.status.id) if parsed else None
            if job and parsed:
                job.bytes += len(event.data)
                useful = useful or parsed.status.state.ended
                if not _is_outdated(job.status, parsed.status):
                    yield from _update(wait, job, parsed)
        if not wait.jobs or not time.left:
            return useful, result


def _is_outdated(last: Status | None, status: Status) -> bool:
    """Returns whether an event is older than the last status; a reopened stream repeats some events."""
    if status.state.ended or last is None or last.elapsed is None or status.elapsed is None:
        return False
    return status.elapsed < last.elapsed


def _poll_unsettled(wait: BatchWait) -> Flow:
    """Polls by the schedules until each job's last answer could be read and did not ask for a poll at once.

    A server that asks for a poll at once may be waiting for it. A job of this project's simulator can end at its nth
    poll: until then, the stream has nothing to report.
    """
    while due := [job.due() or 0.0 for job in wait.jobs.values() if job.failures.count or job.asks_for_poll]:
        if not wait.time.left:
            return
        yield from _by_polls(wait, max(due))


def _by_polls(wait: BatchWait, until: float = inf) -> Flow:
    """Polls by the schedules until this time or until all jobs have ended; at the deadline, polls a last time."""
    time, order, due, queue = wait.time, count(), [*wait.jobs.values()], list[tuple[float, int, BatchJob]]()
    while time.left:
        for job in due:
            if job.id not in wait.jobs:
                continue
            if (planned := job.due()) is None:
                yield from _give_up(wait, job, timeout_error(wait.options, job.id, job.status, SCHEDULE_ENDED))
            else:
                job.entry = next(order)
                heapq.heappush(queue, (planned, job.entry, job))
        while queue and not wait.is_valid(*queue[0][1:]):
            heapq.heappop(queue)
        if not queue:
            return
        pause = max(0.0, min(queue[0][0], until) - time.now)
        if delivered := (yield from await_delivery(wait.options, time, pause, wait.jobs, wait.quiet)):
            due = [wait.jobs[job_id] for job_id in delivered]
            yield from _poll_due(wait, due, is_delivered=True)
            continue
        if time.left and queue[0][0] > until:
            return
        together, due = max(time.now, queue[0][0]) + (BATCH_WINDOW if wait.batch_route else 0.0), []
        while time.left and queue and queue[0][0] <= together:
            _, number, job = heapq.heappop(queue)
            due.extend([job] if wait.is_valid(number, job) else [])
        yield from _poll_due(wait, due, is_delivered=False)
    stale = (job for job in wait.jobs.values() if job.status is None or job.updated_at < time.deadline)
    yield from _poll(wait, sorted(stale, key=lambda job: job.updated_at))


def _poll_due(wait: BatchWait, jobs: Sequence[BatchJob], *, is_delivered: bool) -> Flow:
    """Polls jobs, because webhooks about them were delivered or it is time. Then it plans their pauses."""
    for job in jobs:
        job.is_delivered = is_delivered
    yield from _poll(wait, jobs)
    now = wait.time.now
    for job in jobs:
        job.is_delivered = False
        if job.id not in wait.jobs or not wait.options.webhook or (due := job.due()) is None:
            continue
        if job.failures.count:
            job.quiet_until = due
        else:
            job.plan(now + job.pause(max(0.0, due - now), now, is_delivered=is_delivered))
        if job.quiet_until > now:
            wait.quiet[job.id] = job.quiet_until


def _poll(wait: BatchWait, jobs: Iterable[BatchJob]) -> Flow:
    """Polls jobs, in batches if the server supports them; after the deadline, only until `FlowTime.over`."""
    waiting = [*jobs]
    while waiting and not wait.time.over:
        batch = _batch(waiting) if wait.batch_route else waiting[:1]
        try:
            yield from _poll_batch(wait, batch)
        except (NotFound, InvalidRequest, ProtocolError) as error:  # the server does not support batch polls
            yield Warn(f"batch polls are given up, polling one by one: {error}")
            wait.batch_route = None
            continue
        except TransportError:
            if wait.time.left:
                raise
        del waiting[: len(batch)]


def _batch(jobs: Sequence[BatchJob]) -> Sequence[BatchJob]:
    room = MAX_BATCH_IDS
    for number, job in enumerate(jobs[:MAX_BATCH]):
        room -= len(job.id)
        if room < 0 and number:
            return jobs[:number]
    return jobs[:MAX_BATCH]


def _poll_batch(wait: BatchWait, batch: Sequence[BatchJob]) -> Flow:
    """Polls a batch in one request; without a batch route, the batch is one job."""
    options, ids = wait.options, [job.id for job in batch]
    answers: dict[str, ParsedStatus | TranslationError] = {}
    if wait.batch_route:
        send = batch_polling(options.dialect, ids, options.parameters)
        read = partial(read_batch, options.dialect, wait.batch_route, ids=ids)
        reply, answers = yield from request(
            options, wait.time, send, NEXT_STEP, read, confirmed=wait.confirmed, waiting=True
        )
        wait.confirmed = True
    else:
        send = polling(options.dialect, ids[0], options.parameters, options.url("poll", ids[0]))
        reply, _ = yield from request(options, wait.time, send, NEXT_STEP, lambda reply: reply, waiting=True)
        try:
            answers[ids[0]] = read_job(options.dialect, reply, ids[0])
        except AuthenticationError:
            raise
        except TranslationError as error:
            answers[ids[0]] = error
    for job in batch:
        job.polls += 1
        job.bytes += len(reply.body) // len(batch)
        answer = answers[job.id]
        if isinstance(answer, TranslationError):
            yield from _record_failure(wait, job, answer, send, reply)
        else:
            yield from _update(wait, job, answer)


def _update(wait: BatchWait, job: BatchJob, parsed: ParsedStatus) -> Flow:
    """Stores a new status, and yields it if it is the first or has changed."""
    parsed = wait.options.follow(parsed)
    status, previous, time = parsed.status, job.status, wait.time
    if status.state.ended:
        try:
            status = yield from result_of(wait.options, time, parsed)
        except (NotFound, InvalidRequest, ProtocolError, TransportError) as error:
            yield from _give_up(wait, job, error)
            return
        del wait.jobs[job.id]
        status = replace(status, cost=job.cost(time, job.finish(parsed, time.now)))
    job.update(parsed, time.now)
    if status != previous or not job.is_reported:
        job.is_reported = True
        time.now = (yield status).at


def _record_failure(wait: BatchWait, job: BatchJob, error: TranslationError, send: Send, reply: Reply) -> Flow:
    """Plans the retry of a job whose answer cannot be read, or gives up."""
    confirmed = job.status is not None
    if not isinstance(error, ProtocolError) and not (confirmed and isinstance(error, NotFound)):
        yield from _give_up(wait, job, error)
        return
    may_retry, job.last_failure = job.failures.record(error, confirmed=confirmed), error.message.rstrip(".")
    if wait.time.left and not may_retry:
        if isinstance(error, ProtocolError):
            problem = f"{send} failed for job {job.id} ({job.failures.count} in a row): {job.last_failure}"
            error = ProtocolError(f"{problem}. {NEXT_STEP}")
        yield from _give_up(wait, job, error)
        return
    delay = job.failures.pause(reply)
    yield job.failures.warning(f"job {job.id}: {job.last_failure}", delay)
    job.plan(wait.time.now + delay)


def _give_up(wait: BatchWait, job: BatchJob, error: TranslationError, end: float | None = None) -> Flow:
    """Ends the wait for a job with an error; cancels the job first, until `end`, if the wait does that."""
    del wait.jobs[job.id]
    result: Status | WaitFailed = WaitFailed(job.id, error)
    if wait.cancels and isinstance(error, JobTimeout):
        try:
            status = yield from cancelled_late(wait.options, wait.time, error, end or wait.time.now + CANCEL_TIME)
        except JobTimeout as late:
            result = WaitFailed(job.id, late)
        else:
            result = replace(status, cost=job.cost(wait.time))
    wait.time.now = (yield result).at
