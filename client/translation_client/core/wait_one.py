"""The flows for one job (start, poll, cancel, delete, watch), and the list of all jobs.

`requests` sends each request. After each answer the flow decides when to poll next: at once if the server holds polls
(`long_poll`), else when the schedule says.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal, TypeAlias

from translation_client.core.deadline import FlowTime
from translation_client.core.decode import (
    ParsedStatus,
    read_accepted,
    read_cancelled,
    read_deleted,
    read_job,
    read_result,
)
from translation_client.core.dialects import CURRENT, cancelling, deleting, fetching_result, listing, polling
from translation_client.core.effects import Flow, Reply, Send, Upload, Warn
from translation_client.core.errors import NotFound, ProtocolError, TransportError
from translation_client.core.links import NOTHING
from translation_client.core.lists import read_page
from translation_client.core.long_poll import MOST_DOUBLINGS, LongPoll
from translation_client.core.requests import (
    TRANSIENT,
    FlowOptions,
    Step,
    await_delivery,
    pause,
    prefer,
    reason,
    request,
    send_once,
    sleep,
)
from translation_client.core.schedule import Schedule, next_delay, start_schedule
from translation_client.core.status import Cost, JobTimeout, Observation, State, Status
from translation_client.core.submissions import submitting
from translation_client.core.text import one_line

Answer: TypeAlias = tuple[Reply, ParsedStatus]

RESERVE = 1.0  # no long poll may last until this many seconds before the deadline: if it hangs, another poll is sent
GLANCE = 1  # seconds for which the first poll of an unknown job may be held: a long poll never comes too early
SCHEDULE_ENDED = "after the last poll of the schedule"
GOES_ON = ". It goes on: wait again with its id."


@dataclass
class Job:
    """A job in a wait."""

    id: str  # its id
    options: FlowOptions  # the caller's options
    began: float  # when the wait began
    status: Status | None = None  # the last known status
    updated_at: float = 0.0  # when it arrived
    age: float | None = None  # seconds since the job's acceptance at that time, if the server reports them
    early: int = 0  # how many polls that a delivery caused showed it pending
    is_checked: bool = False  # whether the next poll is the second one that a delivery causes
    quiet_until: float = 0.0  # until then, deliveries cause no poll

    def update(self, parsed: ParsedStatus, at: float) -> None:
        """Stores a new status."""
        self.status, self.updated_at, self.age = parsed.status, at, parsed.age

    def delay(self) -> float | None:
        """Returns seconds from the last status to the next poll; None if the schedule has ended."""
        if self.status is None:
            return 0.0
        return next_delay(self._schedule, self._observation(self.status, self.age, self.updated_at))

    def finish(self, parsed: ParsedStatus, at: float) -> float | None:
        """Shows the schedule the final status; returns the lateness, None for a job that was never pending."""
        if self.status is None:
            return None
        with suppress(StopIteration):
            self._schedule.send(self._observation(parsed.status, parsed.age, at))
        if self.age is None or parsed.age is None:
            return None
        return max(0.0, at - self.updated_at - (parsed.age - self.age))

    def pause(self, delay: float, at: float, *, is_delivered: bool) -> float:
        """Returns seconds to the next poll, after one that found the job pending at this time.

        A delivery causes a poll at once. If this shows a pending job, the delivery may be older than the poll, or the
        poll may come from a replica that is behind: another poll follows soon. After each of them, deliveries cause no
        poll for a while, so a receiver that reports the job again and again causes few polls.

        Args:
            delay: The seconds by the schedule.
            at: When the poll was answered.
            is_delivered: Whether a delivery has caused the poll.
        """
        if is_delivered or self.is_checked:
            self.early = min(self.early + 1, MOST_DOUBLINGS)
            self.quiet_until = at + 2.0 ** (self.early - 1)
        self.is_checked = is_delivered
        return min(delay, self.quiet_until - at) if is_delivered else delay

    @cached_property
    def _schedule(self) -> Schedule:
        return start_schedule(self.options.schedule)

    def _observation(self, status: Status, age: float | None, at: float) -> Observation:
        return Observation(status, at - self.began if age is None else age, status.hint, self.options.kind)


def submit(
    options: FlowOptions,
    time: FlowTime,
    key: str,
    fields: Mapping[str, Any],
    files: Mapping[str, Upload] | None = None,
) -> Flow:
    """Starts a job and yields its first status."""
    reply, parsed = yield from _start(options, time, key, fields, files)
    options.remember(reply, parsed)
    yield parsed.status


def run(
    options: FlowOptions,
    time: FlowTime,
    key: str,
    fields: Mapping[str, Any],
    files: Mapping[str, Upload] | None = None,
) -> Flow:
    """Starts a job and yields its first status, then each change, up to the final status."""
    reply, parsed = yield from _start(options, time, key, fields, files)
    yield from _follow(options, time, reply, parsed)


def watch(options: FlowOptions, time: FlowTime, job_id: str, *, confirmed: bool = False) -> Flow:
    """Yields the status of a job, then each change, up to the final status.

    If the server's last hint for this job has not passed yet, the first poll waits for it. `confirmed` is whether the
    server has confirmed before that the job exists.
    """
    status = None
    if remembered := options.remembered.pop(job_id, None):
        reply, parsed = remembered
        status = parsed.status
    if status is None or reply.at + (status.hint or 0.0) <= time.now:
        reply, parsed = yield from poll_job(
            options, time, job_id, status, confirmed=confirmed, waiting=True, hold=GLANCE
        )
    yield from _follow(options, time, reply, parsed)


def poll(options: FlowOptions, time: FlowTime, job_id: str, hold: int = 0) -> Flow:
    """Yields the status of a job; the server may hold the poll for `hold` seconds."""
    _, parsed = yield from poll_job(options, time, job_id, hold=hold)
    yield (yield from result_of(options, time, parsed))


def cancel(options: FlowOptions, time: FlowTime, job_id: str) -> Flow:
    """Cancels a job and yields its status."""
    _, parsed = yield from cancel_job(options, time, job_id, confirmed=job_id in options.remembered)
    options.remembered.pop(job_id, None)  # its hint is out of date: a wait must not sleep until then
    yield (yield from result_of(options, time, parsed))


def cancel_job(options: FlowOptions, time: FlowTime, job_id: str, *, confirmed: bool) -> Step[Answer]:
    """Cancels a job, and polls it if the answer does not show it."""
    next_step = f"When the server is well, cancel job {job_id} again; a second cancellation changes nothing."
    read = partial(read_cancelled, options.dialect, job_id=job_id)
    send = cancelling(options.dialect, job_id, options.parameters, options.url("cancel", job_id))
    reply, parsed = yield from request(options, time, send, next_step, read, confirmed=confirmed)
    if parsed is None:
        return (yield from poll_job(options, time, job_id, confirmed=True))
    return reply, parsed


def delete(options: FlowOptions, time: FlowTime, job_id: str) -> Flow:
    """Deletes a job; yields nothing. If a retry does not find the job, the try before has deleted it."""
    send = deleting(options.dialect, job_id, options.parameters)
    next_step = f"When the server is well, delete job {job_id} again."
    try:
        yield from request(options, time, send, next_step, partial(read_deleted, options.dialect))
    except NotFound:
        if time.requests == 1:
            raise
    options.remembered.pop(job_id, None)
    options.urls.pop(job_id, None)


def list_jobs(options: FlowOptions, time: FlowTime) -> Flow:
    """Yields the status of every job of this user, newest first; fetches pages as the caller iterates.

    Raises:
        ValueError: The dialect has no list.
    """
    first = listing(options.dialect, None, options.parameters)
    return _pages(options, time, first)


def _pages(options: FlowOptions, time: FlowTime, send: Send) -> Flow:
    cursor, next_step = None, "When the server is well, list the jobs again."
    while True:
        read, confirmed = partial(read_page, options.dialect, cursor=cursor), cursor is not None
        _, page = yield from request(options, time, send, next_step, read, confirmed=confirmed)
        for error in page.unread:
            yield Warn(f"a job in the answer to {send} cannot be read and is left out: {error.message}")
        for parsed in page.jobs:
            time.now = (yield options.follow(parsed).status).at
        if not page.next:
            return
        if page.next == cursor:
            problem = f"the list of jobs repeats the page at {cursor!r} without end"
            raise ProtocolError(f"{problem}. Report this to the server's operator.")
        cursor = page.next
        send = listing(options.dialect, cursor, options.parameters)


def _start(
    options: FlowOptions, time: FlowTime, key: str, fields: Mapping[str, Any], files: Mapping[str, Upload] | None
) -> Step[Answer]:
    """Starts a job. All tries carry the same idempotency key, so they make one job."""
    if options.dialect.starts_by_poll:
        return (yield from poll_job(options, time, CURRENT))
    next_step = f"When the server is well, start again with idempotency_key={key!r}: it stays one job."
    if options.dialect.idempotency is None:
        next_step = "A job may exist: this API has no idempotency keys. Look for it before you start again."
    send = submitting(options.dialect, key, fields, options.parameters, files)
    if options.long_poll >= 1:
        send = prefer(send, 0)
    read = partial(read_accepted, options.dialect, job_id=fields.get("job_id"))
    reply, parsed = yield from request(options, time, send, next_step, read, submits=True)
    return reply, options.follow(parsed)


def _follow(options: FlowOptions, time: FlowTime, reply: Reply, parsed: ParsedStatus) -> Flow:
    """Yields the first status, then polls until the job has ended and yields each change."""
    job, long_poll, warned = Job(parsed.status.id, options, reply.at), LongPoll(int(options.long_poll)), False
    delivered: Collection[str] = ()
    while True:
        status, word, since = parsed.status, parsed.unknown, time.now - reply.at
        if word is not None and not warned:
            warned = True
            yield Warn(f"job {status.id} has the unknown status {one_line(word)!r}, which counts as pending")
        if status.state.ended:
            lateness = job.finish(parsed, reply.at)
            status = yield from result_of(options, time, parsed)
            yield replace(status, cost=Cost(time.polls, time.bytes, time.asleep, lateness, ended_by(delivered)))
            return
        changed = status != job.status
        job.update(parsed, reply.at)
        if changed:
            time.now = (yield status).at
        if time.last:
            options.remember(reply, parsed)
            raise timeout_error(options, status.id, status)
        if (delay := job.delay()) is None:
            raise timeout_error(options, status.id, status, SCHEDULE_ENDED)
        delay = long_poll.pause(reply, max(0.0, delay - since), time.left - RESERVE)
        delay = job.pause(delay, time.now, is_delivered=bool(delivered))
        delivered = yield from await_delivery(options, time, delay, (status.id,), {status.id: job.quiet_until})
        reply, parsed = yield from poll_job(options, time, status.id, status, long_poll, waiting=True)


def ended_by(delivered: object) -> Literal["poll", "delivery"]:
    """Returns what ended a wait, for its cost; `delivered` is true if its last poll was right after a delivery."""
    return "delivery" if delivered else "poll"


def result_of(options: FlowOptions, time: FlowTime, polled: ParsedStatus) -> Step[Status]:
    """Returns the status of an ended job with its result, if the dialect has a request of its own for the result."""
    status = polled.status
    if polled.states <= {State.PENDING, State.CANCELLED} or polled.urls.get("result") == NOTHING:
        return status
    send = fetching_result(options.dialect, status.id, options.parameters, options.url("result", status.id))
    if send is None:
        return status
    read = partial(read_result, options.dialect, polled=polled)
    next_step = f"The job has ended: when the server is well, wait again for {status.id}."
    _, parsed = yield from request(options, time, send, next_step, read, confirmed=True)
    error, code = parsed.status.error or status.error, parsed.status.error_code or status.error_code
    return replace(parsed.status, elapsed=status.elapsed, error=error, error_code=code)


def poll_job(  # noqa: PLR0913 - all that a poll depends on
    options: FlowOptions,
    time: FlowTime,
    job_id: str,
    status: Status | None = None,
    long_poll: LongPoll | None = None,
    *,
    confirmed: bool = False,  # whether the server has confirmed before that the job exists
    waiting: bool = False,  # whether this is part of a wait
    hold: int = 0,  # seconds for which the server may hold the poll of a job whose status is unknown
) -> Step[Answer]:
    """Polls a job; `status` is its last known status, `long_poll` is the wait's, if a wait has begun."""
    send = polling(options.dialect, job_id, options.parameters, options.url("poll", job_id))
    confirmed = confirmed or status is not None
    read, first = partial(read_job, options.dialect, job_id=job_id), None
    if long_poll:
        first = yield from _long_poll(options, time, send, long_poll)
    if status is not None or options.long_poll < 1 or time.left < hold + RESERVE:
        hold = 0
    if long_poll.longest if long_poll else options.long_poll >= 1:
        send = prefer(send, hold)
    next_step = f"The job itself is not affected: when the server is well, wait again for {job_id}."
    try:
        reply, parsed = yield from request(
            options, time, send, next_step, read, confirmed=confirmed, waiting=waiting, hold=hold, first=first
        )
    except (TransportError, ProtocolError, NotFound) as error:
        if time.left or (isinstance(error, NotFound) and not confirmed):
            raise
        last = error.last if isinstance(error, TransportError) else error.message.rstrip(".")
        raise timeout_error(options, job_id, status, f"when the time was up; the last failure: {last}") from error
    if long_poll and reply is not first:
        long_poll.requested = 0
    return reply, options.follow(parsed)


def _long_poll(options: FlowOptions, time: FlowTime, send: Send, long_poll: LongPoll) -> Step[Reply | None]:
    """Sends a long poll, if there is time for one; returns its answer, or None if there is none to use."""
    long_poll.requested = long_poll.seconds(time.left - RESERVE)
    if not long_poll.requested:
        return None
    result = yield from send_once(options, time, prefer(send, long_poll.requested), long_poll.requested)
    if isinstance(result, Reply) and result.code not in TRANSIENT:
        return result
    delay = min(pause(options, result, options.initial_delay), time.left)
    text = f"{send}, a long poll of {long_poll.requested} s: {reason(options, result)}"
    yield Warn(f"{text}; a shorter one in {delay:.1f} s", retry=1)
    long_poll.longest, long_poll.requested = long_poll.requested // 2, 0
    yield from sleep(time, delay)
    return None


def timeout_error(
    options: FlowOptions, job_id: str, status: Status | None, when: str = "when the time was up"
) -> JobTimeout:
    """Returns the error that ends the wait for a pending job."""
    state = f"was still {status.state}" if status else "had not been seen"
    return JobTimeout(f"job {job_id} {state} {when}{GOES_ON}", job_id, status, options.token(job_id))
