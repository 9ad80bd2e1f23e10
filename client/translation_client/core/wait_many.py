"""Waiting for many jobs at once.

The law: never a request per job per tick. Where the server tells events, one look at a hundred jobs at a time says how
all of them stand, and the stream tells the rest; it is opened first, so that nothing falls in between. Where it does
not, jobs are looked at a hundred at a time, those together whose schedules want a look at about the same time. Where
the server can do neither, each job is looked at by its own schedule.

A stream is of use if it tells the end of a job, or lasts. One that breaks off is opened again, after the pauses of any
failure, and not before the server wants it; until then jobs are looked at by their schedules. After one of no use all
jobs are looked at, for what it should have told may be lost: so they are after an event that cannot be read, and where
the id of the last event cannot be sent. It is given up when it is silent from the start (a proxy that keeps it to
itself), when what it tells makes no sense, and when it has been of no use too often in a row.

One job's failure is that job's alone: what cannot be read of it spends a budget of its own. One deadline holds for
all, with a last look at it: at those first that were not heard of for longest, and at as many as one allowance is
enough for.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from math import inf

from translation_client.core.decode import ParsedStatus, read_batch, read_event, read_job, refusal
from translation_client.core.dialects import Listing, polling
from translation_client.core.effects import Chunk, Failure, Flow, Input, Listen, Reply, Send, WaitFailed, Warn
from translation_client.core.errors import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ProtocolError,
    TranslationError,
    TransportError,
)
from translation_client.core.requests import TRANSIENT, Failures, Rules, Step, Time, ask, sleep
from translation_client.core.sse import EventStream
from translation_client.core.status import Cost, Status
from translation_client.core.wait_one import NO_MORE, Job, time_up

BATCH = 100  # jobs
LONGEST_BATCH = 6_000  # characters of ids: what every server takes in an address
TOGETHER = 0.5  # seconds: looks that are due within this time are made in one
SILENCE = 40.0  # seconds: a stream without even a heartbeat is dead
LASTING = 10.0  # seconds: a stream that tells something after this, if only by a heartbeat, lasts
AGAIN = "The jobs go on: when the server is well, wait again."


@dataclass
class One(Job):
    """One of the jobs, and what it has cost.

    Attributes:
        failures: What could not be read of it since it was last heard of.
        last: The last of that.
        is_told: Whether the caller was told how it stands.
    """

    polls: int = 0
    bytes: int = 0
    failures: Failures = field(init=False)
    last: str = ""
    is_told: bool = False
    _due: float | None = None
    _is_planned: bool = False

    def __post_init__(self) -> None:
        self.failures = Failures(self.rules)

    def update(self, parsed: ParsedStatus, at: float) -> None:
        """Take down how it stands."""
        super().update(parsed, at)
        self.failures, self.last, self._is_planned = Failures(self.rules), "", False

    def due(self) -> float | None:
        """When it is to be looked at next; None is that it shall not be."""
        if not self._is_planned:
            self.plan_from(self.updated_at)
        return self._due

    def plan_from(self, at: float) -> None:
        """Let the schedule set when it is to be looked at next, if nothing has changed until then."""
        delay = self.delay()
        self.plan(None if delay is None else at + delay)

    def plan(self, due: float | None) -> None:
        """Set when it is to be looked at next, unless it is heard of before."""
        self._due, self._is_planned = due, True

    def end_of_time(self) -> TranslationError:
        """What its wait ends with when the time is up."""
        last = f", the last failure being {self.last}" if self.last else ""
        return time_up(self.rules, self.id, self.known, f"when the time was up{last}")


@dataclass
class Wait:
    """What the parts of the flow share.

    Attributes:
        rules: What the caller chose.
        time: What is known of the time.
        jobs: Those that are still waited for.
        batch_route: How several are looked at in one request; None is one by one.
        proven: Whether the server has shown that it can be looked at so.
    """

    rules: Rules
    time: Time
    jobs: dict[str, One]
    batch_route: Listing | None
    proven: bool = False


def as_completed(rules: Rules, time: Time, ids: Iterable[str]) -> Flow:
    """Yield each job's first status, then each change to its final one, or its Loss."""
    listing = rules.dialect.list
    jobs = {job_id: _one(rules, time, job_id) for job_id in ids}
    wait = Wait(rules, time, jobs, listing if listing and listing.ids else None)
    failure: TransportError | None = None
    try:
        if listing and listing.events and rules.events:
            try:
                yield from _by_stream(wait, listing.events)
            except ProtocolError as error:
                yield Warn(f"jobs are looked at, without a stream: {error}")
        yield from _by_polls(wait)
    except TransportError as error:
        failure = error
    for job in [*jobs.values()]:
        yield from _lose(wait, job, failure or job.end_of_time())


def _one(rules: Rules, time: Time, job_id: str) -> One:
    """A job to wait for; one that was started just now is known."""
    one = One(job_id, rules, time.now, updated_at=time.now)
    if begun := rules.begun.pop(job_id, None):
        reply, parsed = begun
        one.update(parsed, reply.at)
        if reply.at + (parsed.status.hint or 0.0) <= time.now:
            one.plan(time.now)
    return one


def _by_stream(wait: Wait, path: str) -> Flow:
    """Follow the stream until no job is left, or the time is up, or there is no stream to be had that is of use.

    Raises:
        ProtocolError: As from `_read`.
    """
    rules, time = wait.rules, wait.time
    stream, failures, of_use, opened = EventStream(), Failures(rules), False, False
    while wait.jobs and time.left:
        send = Send("GET", path, headers={"Accept": "text/event-stream", **stream.resumes})
        event: Input = yield Listen(send, min(rules.request_timeout, time.left))
        time.now = event.at
        if isinstance(event, Chunk):
            opened = True
            if not (stream.resumes and of_use):
                yield from _poll(wait, wait.jobs.values())
                yield from _settle(wait)
            if wait.jobs and time.left:
                of_use, event = yield from _read(wait, stream)
            if of_use:
                failures = Failures(rules)
                for job in wait.jobs.values():
                    job.plan_from(time.now)
        if not wait.jobs or not time.left:
            return
        error = _refused(wait, event)
        if isinstance(error, NotFound | InvalidRequest) or not failures.bear(error, known=opened):
            return
        yield Warn(f"GET {path}: {error or event}; retry {failures.count} of {failures.most}", failure=True)
        yield from _by_polls(wait, time.now + max(failures.pause(event), stream.retry))


def _refused(wait: Wait, event: Input) -> TranslationError | None:
    """What is wrong with an answer that is no stream; None for any other failure.

    Raises:
        AuthenticationError: It refuses the credentials.
    """
    if not isinstance(event, Reply) or event.code in TRANSIENT:
        return None
    error = refusal(wait.rules.dialect, event)
    if isinstance(error, AuthenticationError):
        raise error
    return error


def _read(wait: Wait, stream: EventStream) -> Step[tuple[bool, Input]]:
    """Read until no job is left or the stream is at its end; return whether it was of use, and what the end was.

    Raises:
        ProtocolError: It tells nothing, or what makes no sense.
    """
    time, began, of_use = wait.time, wait.time.now, False
    while True:
        event = yield Listen(None, min(SILENCE, time.left))
        time.now = event.at
        if not isinstance(event, Chunk):
            if not of_use and time.now - began >= SILENCE:
                raise ProtocolError("the stream of events tells nothing")
            return of_use, event
        of_use = of_use or time.now - began >= LASTING
        try:
            told = stream.feed(event.data)
        except ValueError as error:
            raise ProtocolError(f"the stream of events makes no sense: {error}") from None
        for one in told:
            try:
                parsed = read_event(wait.rules.dialect, one)
            except ProtocolError as error:
                return False, Failure(f"an event cannot be read: {error.message}", event.at)
            job = wait.jobs.get(parsed.status.id) if parsed else None
            if job and parsed:
                job.bytes += len(one.data)
                of_use = of_use or parsed.status.state.ended
                if not _told_before(job.known, parsed.status):
                    yield from _update(wait, job, parsed)
        if not wait.jobs or not time.left:
            return of_use, event


def _told_before(known: Status | None, status: Status) -> bool:
    """Whether an event is one from before the last look: a stream that is taken up again repeats some."""
    if status.state.ended or known is None or known.elapsed is None or status.elapsed is None:
        return False
    return status.elapsed < known.elapsed


def _settle(wait: Wait) -> Flow:
    """Look by the schedules until each job was heard of, or is lost."""
    while due := [job.due() or 0.0 for job in wait.jobs.values() if job.failures.count]:
        if not wait.time.left:
            return
        yield from _by_polls(wait, max(due))


def _by_polls(wait: Wait, until: float = inf) -> Flow:
    """Look by the schedules until then, or no job is left, or the time is up, and take a last look in that case."""
    time, order, due, queue = wait.time, count(), [*wait.jobs.values()], list[tuple[float, int, One]]()
    while time.left:
        for job in due:
            if job.id not in wait.jobs:
                continue
            if (planned := job.due()) is None:
                yield from _lose(wait, job, time_up(wait.rules, job.id, job.known, NO_MORE))
            else:
                heapq.heappush(queue, (planned, next(order), job))
        if not queue:
            return
        yield from sleep(time, max(0.0, min(queue[0][0], until) - time.now))
        if time.left and queue[0][0] > until:
            return
        together, due = max(time.now, queue[0][0]) + (TOGETHER if wait.batch_route else 0.0), []
        while time.left and queue and queue[0][0] <= together:
            due.append(heapq.heappop(queue)[2])
        yield from _poll(wait, due)
    stale = (job for job in wait.jobs.values() if job.known is None or job.updated_at < time.deadline)
    yield from _poll(wait, sorted(stale, key=lambda job: job.updated_at))


def _poll(wait: Wait, jobs: Iterable[One]) -> Flow:
    """Look at jobs, a hundred at a time where the server can; past the deadline for as long as that may be."""
    waiting = [*jobs]
    while waiting and not wait.time.over:
        batch = _batch(waiting) if wait.batch_route else waiting[:1]
        try:
            yield from _poll_batch(wait, batch)
        except (NotFound, InvalidRequest, ProtocolError) as error:  # a server that knows no bulk looks, or no more
            yield Warn(f"jobs are looked at one by one: {error}")
            wait.batch_route = None
            continue
        except TransportError:
            if wait.time.left:
                raise
        del waiting[: len(batch)]


def _batch(jobs: Sequence[One]) -> Sequence[One]:
    room = LONGEST_BATCH
    for number, job in enumerate(jobs[:BATCH]):
        room -= len(job.id)
        if room < 0 and number:
            return jobs[:number]
    return jobs[:BATCH]


def _poll_batch(wait: Wait, batch: Sequence[One]) -> Flow:
    """Look at some jobs in one request, or at one."""
    rules, ids = wait.rules, [job.id for job in batch]
    answers: dict[str, ParsedStatus | TranslationError] = {}
    if wait.batch_route:
        read = partial(read_batch, rules.dialect, wait.batch_route, asked=ids)
        reply, answers = yield from ask(rules, wait.time, wait.batch_route.poll(ids), AGAIN, read, known=wait.proven)
        wait.proven = True
    else:
        reply, _ = yield from ask(rules, wait.time, polling(rules.dialect, ids[0]), AGAIN, lambda reply: reply)
        try:
            answers[ids[0]] = read_job(rules.dialect, reply, ids[0])
        except AuthenticationError:
            raise
        except TranslationError as error:
            answers[ids[0]] = error
    for job in batch:
        job.polls += 1
        job.bytes += len(reply.body) // len(batch)
        answer = answers[job.id]
        if isinstance(answer, TranslationError):
            yield from _fail(wait, job, answer, reply)
        else:
            yield from _update(wait, job, answer)


def _update(wait: Wait, job: One, parsed: ParsedStatus) -> Flow:
    """Take note of how a job stands, and yield it if that is news."""
    status, known, time = parsed.status, job.known, wait.time
    if status.state.ended:
        del wait.jobs[job.id]
        status = replace(status, cost=Cost(job.polls, job.bytes, time.asleep, job.end(parsed, time.now)))
    job.update(parsed, time.now)
    if status != known or not job.is_told:
        job.is_told = True
        time.now = (yield status).at


def _fail(wait: Wait, job: One, error: TranslationError, reply: Reply) -> Flow:
    """Take note of what is wrong with an answer about a job, which is looked at again as long as that is borne."""
    known = job.known is not None
    if not isinstance(error, ProtocolError) and not (known and isinstance(error, NotFound)):
        yield from _lose(wait, job, error)
        return
    borne, job.last = job.failures.bear(error, known=known), error.message.rstrip(".")
    if wait.time.left and not borne:
        yield from _lose(wait, job, error)
        return
    yield Warn(f"job {job.id}: {job.last}; retry {job.failures.count} of {job.failures.most}", failure=True)
    job.plan(wait.time.now + job.failures.pause(reply))


def _lose(wait: Wait, job: One, error: TranslationError) -> Flow:
    """End the wait for one job."""
    del wait.jobs[job.id]
    wait.time.now = (yield WaitFailed(job.id, error)).at
