"""Waiting for many jobs at once.

The law: never a request per job per tick. Where the server tells events, one look at a hundred jobs at a time says how
all of them stand, and the stream tells the rest; it is opened first, so that nothing falls in between. Where it does
not, jobs are looked at a hundred at a time, those together whose schedules want a look at about the same time. Where
the server can do neither, each job is looked at by its own schedule.

One job's failure is that job's alone. One deadline holds for all, with a last look at it.
"""

import heapq
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count

from translation_client.core.answers import Heard, read_bulk, read_event, read_job, refusal
from translation_client.core.dialects import Listing, looking
from translation_client.core.errors import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ProtocolError,
    TranslationError,
    TransportError,
)
from translation_client.core.events import EventStream
from translation_client.core.flows import TRANSIENT, Rules, Step, Time, allowance, ask, sleep, time_up
from translation_client.core.model import (
    Chunk,
    Cost,
    Event,
    Flow,
    Listen,
    Loss,
    Notice,
    Observation,
    Reply,
    Send,
    Status,
)
from translation_client.core.schedule import Schedule

BULK = 100  # jobs
LONGEST_BULK = 6_000  # characters of ids: what every server takes in an address
TOGETHER = 0.5  # seconds: looks that are due within this time are made in one
SILENCE = 40.0  # seconds: a stream without even a heartbeat is dead
AGAIN = "The jobs go on: when the server is well, wait again."


@dataclass
class Job:
    """What is known of one of the jobs."""

    id: str
    known: Status | None = None
    heard_at: float = 0.0
    looks: int = 0
    bytes: int = 0
    schedule: Schedule | None = None


Jobs = dict[str, Job]


def as_completed(rules: Rules, time: Time, ids: Iterable[str]) -> Flow:
    """Yield each job's first status, then each change to its final one, or its Loss."""
    jobs = {job_id: Job(job_id) for job_id in ids}
    listing = rules.dialect.list
    try:
        if listing and listing.events and rules.long_poll >= 1:
            yield from _by_stream(rules, time, jobs, listing, listing.events)
        if jobs:
            yield from _by_looks(rules, time, jobs, listing if listing and listing.ids else None)
    except TransportError as error:
        for job in jobs.values() if time.left else ():
            time.now = (yield Loss(job.id, error)).at
        if time.left:
            return
    for job in jobs.values():
        time.now = (yield Loss(job.id, time_up(rules, job.id, job.known))).at


def _by_stream(rules: Rules, time: Time, jobs: Jobs, listing: Listing, path: str) -> Flow:
    """Follow the stream until no job is left, or the time is up, or there is no stream to be had."""
    stream, failures = EventStream(), 0
    while jobs and time.left:
        resumed = {"Last-Event-ID": stream.last_id} if stream.last_id else {}
        send = Send("GET", path, headers={"Accept": "text/event-stream", **resumed})
        event: Event = yield Listen(send, min(rules.request_timeout, time.left))
        time.now = event.at
        if isinstance(event, Chunk):
            if not resumed and listing.ids:
                yield from _sweep(rules, time, jobs, listing)
            event = yield from _read(rules, time, jobs, stream)
            failures = 0
        if not jobs or not time.left:
            break
        if isinstance(event, Reply) and event.code not in TRANSIENT:
            error = refusal(rules.dialect, event)
            if isinstance(error, AuthenticationError):
                raise error
            return
        failures += 1
        if failures > rules.max_retries:
            return
        yield Notice(f"GET {path}: {event}; retry {failures} of {rules.max_retries}", failure=True)
        yield from sleep(time, rules.random() * min(rules.initial_delay * 2.0**failures, rules.max_delay))
    if jobs and listing.ids:
        yield from _sweep(rules, time, jobs, listing)


def _read(rules: Rules, time: Time, jobs: Jobs, stream: EventStream) -> Step[Event]:
    """Read until no job is left or the stream is at its end; return what that was."""
    while True:
        event = yield Listen(None, min(SILENCE, time.left))
        time.now = event.at
        if not isinstance(event, Chunk):
            return event
        try:
            told = stream.feed(event.data)
        except ValueError as error:
            raise ProtocolError(f"the stream of events makes no sense: {error}") from None
        for one in told:
            heard = read_event(rules.dialect, one.data)
            job = jobs.get(heard.status.id) if heard else None
            if job and heard:
                job.bytes += len(one.data)
                yield from _hear(rules, time, jobs, job, heard)
        if not jobs or not time.left:
            return event


def _sweep(rules: Rules, time: Time, jobs: Jobs, listing: Listing) -> Flow:
    """Look at all jobs, a hundred at a time; past the deadline for no longer than one request may take."""
    waiting = list(jobs.values())
    while waiting and (time.left or time.now <= time.deadline + allowance(time)):
        batch = _batch(waiting)
        waiting = waiting[len(batch) :]
        yield from _look_at(rules, time, jobs, batch, listing)


def _batch(jobs: Sequence[Job]) -> Sequence[Job]:
    room = LONGEST_BULK
    for number, job in enumerate(jobs[:BULK]):
        room -= len(job.id)
        if room < 0 and number:
            return jobs[:number]
    return jobs[:BULK]


def _by_looks(rules: Rules, time: Time, jobs: Jobs, listing: Listing | None) -> Flow:
    """Look by the schedules until no job is left or the time is up."""
    order = count()
    queue = [(time.now, next(order), job) for job in jobs.values()]
    while queue and not time.last:
        yield from sleep(time, max(0.0, queue[0][0] - time.now))
        now, batch = max(time.now, queue[0][0]), list[Job]()
        while queue and len(batch) < (BULK if listing else 1) and queue[0][0] <= now + (TOGETHER if listing else 0):
            batch.append(heapq.heappop(queue)[2])
        try:
            yield from _look_at(rules, time, jobs, batch, listing)
        except (NotFound, InvalidRequest, ProtocolError) as error:  # a server that does not know bulk looks
            yield Notice(f"jobs are looked at one by one: {error}")
            listing = None
        for job in batch:
            if job.id in jobs:
                delay = _delay(rules, time, job)
                heapq.heappush(queue, (time.now + delay, next(order), job))


def _look_at(rules: Rules, time: Time, jobs: Jobs, batch: Sequence[Job], listing: Listing | None) -> Flow:
    """Look at some jobs in one request, or at one."""
    if listing is None:
        (job,) = batch
        reply = yield from ask(rules, time, looking(rules.dialect, job.id), AGAIN)
        answers: dict[str, Heard | TranslationError] = {}
        try:
            answers[job.id] = read_job(rules.dialect, reply, job.id)
        except AuthenticationError:
            raise
        except TranslationError as error:
            answers[job.id] = error
    else:
        reply = yield from ask(rules, time, listing.look([job.id for job in batch]), AGAIN)
        answers = read_bulk(rules.dialect, listing, reply, [job.id for job in batch])
    for job in batch:
        job.looks += 1
        job.bytes += len(reply.body) // len(batch)
        answer = answers[job.id]
        if isinstance(answer, TranslationError):
            del jobs[job.id]
            time.now = (yield Loss(job.id, answer)).at
        else:
            yield from _hear(rules, time, jobs, job, answer)


def _hear(rules: Rules, time: Time, jobs: Jobs, job: Job, heard: Heard) -> Flow:
    """Take note of how a job stands, and yield it if that is news."""
    status, known = heard.status, job.known
    if status.state.ended:
        del jobs[job.id]
        lateness = None
        if known and known.elapsed is not None and status.elapsed is not None:
            lateness = max(0.0, time.now - job.heard_at - (status.elapsed - known.elapsed))
        with suppress(StopIteration):
            _schedule(rules, job).send(_seen(rules, time, status))
        status = replace(status, cost=Cost(job.looks, job.bytes, time.asleep, lateness))
    job.known, job.heard_at = status, time.now
    if status != known:
        time.now = (yield status).at


def _schedule(rules: Rules, job: Job) -> Schedule:
    if job.schedule is None:
        job.schedule = rules.schedule()
        next(job.schedule, None)
    return job.schedule


def _delay(rules: Rules, time: Time, job: Job) -> float:
    """Seconds until the next look at a job; none more is as long as there is."""
    if job.known is None:
        return 0.0
    try:
        return _schedule(rules, job).send(_seen(rules, time, job.known))
    except StopIteration:
        return time.left


def _seen(rules: Rules, time: Time, status: Status) -> Observation:
    age = time.now - time.began if status.elapsed is None else status.elapsed
    return Observation(status, age, status.hint, rules.kind)
