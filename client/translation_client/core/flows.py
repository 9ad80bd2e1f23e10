"""What the client does, as generators: what to send, how long to sleep, when to give up.

The laws of waiting:

- There is one deadline, on the monotonic clock, over sleeps, requests and reads. A sleep that would pass it ends at it,
  and one last look is taken there: a job that ended in time is not missed for an unlucky interval.
- The last look, and the start of a job, may outlast the deadline, by a small allowance: half as long again as the
  slowest round trip that the wait knows of and 20 ms, 30 ms at least. It is 40 ms at most where the latest took less
  than 25 ms: the server is near, whatever was slow before was a busy machine or a connection being made, and the 10 ms
  that are left of 50 are for leaving. While nothing was heard in the first second it is 1 s, so that even a timeout of
  0 hears an answer over a slow link. It is counted from the deadline, for waking up late is no reason to leave later
  still; but the first last look has half of it in any case. Further ones have what the first has left.
- An earlier look is cut off at the deadline. One to a server that was heard before has half of the time that is left
  for itself, or that allowance if it is more, so that a look which hangs leaves time for others.
- What may pass (`TRANSIENT` codes, no answer at all, one that cannot be read) is asked again after a pause with full
  jitter [1]. Only `max_retries` failures in a row and one more end a flow; any answer that means something starts the
  count anew. A `Retry-After` is the least pause after a failure.
- An answer that cannot be read is borne three times in a row only where nothing that the dialect promises was read
  before: most likely another kind of server is there. One to a submission is not borne at all: it may have started a
  job, and not every server heeds the key.
- A 404 for a job that the server has told of, if only by accepting it, may be a replica that has not heard of it yet:
  it is borne three times in a row.

When to look is decided anew after each answer: at once where the server holds looks (`holding`), else when the schedule
says.

[1] Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import inf
from typing import Any, TypeAlias, TypeVar

from translation_client.core.answers import Heard, read_accepted, read_job, read_page
from translation_client.core.dialects import (
    CURRENT,
    START,
    Dialect,
    Listing,
    cancelling,
    list_route,
    looking,
    submitting,
)
from translation_client.core.errors import JobTimeout, NotFound, ProtocolError, TranslationError, TransportError
from translation_client.core.holding import Hold, prefer
from translation_client.core.model import (
    Command,
    Cost,
    Event,
    Flow,
    Notice,
    Observation,
    Reply,
    Send,
    Sleep,
    Status,
)
from translation_client.core.schedule import Schedule, begin, next_delay, retry_after
from translation_client.core.text import one_line
from translation_client.core.tokens import token_of

T = TypeVar("T")
Step: TypeAlias = Generator[Command, Event, T]  # a part of a flow that comes to a result

TRANSIENT = frozenset({408, 425, 429, *range(500, 600)})
LEAST_ALLOWANCE = 0.03  # seconds
SLACK = 0.02  # seconds
NEAR = 0.025  # seconds: a round trip to a server that is near
NEAR_ALLOWANCE = 0.04  # seconds: more than half as long again as that
FIRST_ALLOWANCE = 1.0  # seconds: enough for the name, the connection and the handshake of a far server
SPARE = 1.0  # seconds before the deadline that no look is held for: time for others, if it hangs
MOMENT = 0.001  # seconds: less than this is no time
MOST_BEGUN = 10_000  # jobs
FEW = 3  # failures in a row, of those that are most likely for good
NO_MORE = "after the last look of the schedule"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a caller may choose about every flow; durations are seconds.

    Attributes:
        schedule: Makes the schedule of each wait; where it ends, so does the wait.
        initial_delay: The longest pause after the first failure in a row.
        max_delay: The longest pause after any failure.
        backoff_factor: How many times longer the pause may be after each further failure.
        max_retries: How many failures in a row are borne.
        request_timeout: How long a request may take, besides being held.
        random: Returns a number from [0, 1), anew at each call: the jitter.
        dialect: What the server speaks.
        long_poll: How long one look may be held by the server; below 1 none is.
        kind: What jobs of this sort are called; schedules learn by it.
        begun: Jobs that were started, or left when the time was up, and how they stood then, until they are waited for.
    """

    schedule: Callable[[], Schedule]
    initial_delay: float
    max_delay: float
    backoff_factor: float
    max_retries: int
    request_timeout: float
    random: Callable[[], float]
    dialect: Dialect = START
    long_poll: float = 0.0
    kind: str = ""
    begun: "dict[str, tuple[Reply, Heard]]" = field(default_factory=dict, compare=False)

    def begin(self, reply: Reply, heard: Heard) -> None:
        """Take down a job that is not waited for now."""
        self.begun[heard.status.id] = reply, heard
        if len(self.begun) > MOST_BEGUN:
            self.begun.pop(next(iter(self.begun)), None)

    @property
    def events(self) -> bool:
        """Whether a stream of events may tell of several jobs: it is the held look of them all."""
        return self.long_poll >= 1


@dataclass
class Time:
    """What a flow knows of the time, as the events told it, and what it has cost.

    Attributes:
        now: When the last event happened.
        deadline: When the flow has to end.
        slowest: The longest round trip so far, known from before or heard; None before the first.
        began: When the flow began.
        trip: What the last round trip took.
        last: Whether the last request was sent when the time was up.
        looks: How many requests asked for a status.
        bytes: What their answers brought.
        asleep: Seconds slept.
    """

    now: float
    deadline: float = inf
    slowest: float | None = None
    began: float = field(init=False)
    trip: float | None = field(init=False)
    last: bool = False
    looks: int = 0
    bytes: int = 0
    asleep: float = 0.0

    def __post_init__(self) -> None:
        self.began, self.trip = self.now, self.slowest

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        left = self.deadline - self.now
        return left if left > MOMENT else 0.0

    @property
    def allowance(self) -> float:
        """How many seconds the last request may outlast the deadline."""
        if self.slowest is None and self.now - self.began < FIRST_ALLOWANCE:
            return FIRST_ALLOWANCE
        allowance = max(LEAST_ALLOWANCE, SLACK + 1.5 * (self.slowest or 0.0))
        near = self.trip is not None and self.trip < NEAR
        return min(allowance, NEAR_ALLOWANCE) if near else allowance

    @property
    def over(self) -> bool:
        """Whether not even a last request may be sent any more."""
        return self.last and self.now >= self.deadline + self.allowance


@dataclass
class Failures:
    """The failures in a row, and what is borne of them."""

    rules: Rules
    count: int = 0
    doubts: int = 0
    most: int = field(init=False)
    ceiling: float = field(init=False)

    def __post_init__(self) -> None:
        self.most, self.ceiling = self.rules.max_retries, self.rules.initial_delay

    def bear(self, error: TranslationError | None = None, *, known: bool = False) -> bool:
        """Count one more; return whether it is borne.

        Args:
            error: What is wrong with an answer that cannot be read; None for any other failure.
            known: Whether the server has told before what it was asked for.
        """
        is_doubt = error is not None and (not known or isinstance(error, NotFound))
        self.count += 1
        self.doubts += is_doubt
        self.most = min(FEW, self.rules.max_retries) if is_doubt else self.rules.max_retries
        return self.count <= self.rules.max_retries and self.doubts <= FEW

    def pause(self, failed: Event) -> float:
        """Seconds until the next try."""
        ceiling, self.ceiling = self.ceiling, min(self.ceiling * self.rules.backoff_factor, self.rules.max_delay)
        return pause(self.rules, failed, ceiling)


@dataclass
class Job:
    """What is known of a job that is waited for.

    Attributes:
        id: Its id.
        rules: How it is waited for.
        began: When the wait did.
        known: How it stood when it was last heard of.
        heard_at: When that was.
        age: Seconds since its acceptance, then, if the server told.
    """

    id: str
    rules: Rules
    began: float
    known: Status | None = None
    heard_at: float = 0.0
    age: float | None = None

    def hear(self, heard: Heard, at: float) -> None:
        """Take down how it stands."""
        self.known, self.heard_at, self.age = heard.status, at, heard.age

    def delay(self) -> float | None:
        """Seconds from then until the next look, as the schedule says; None is that there shall be none."""
        if self.known is None:
            return 0.0
        return next_delay(self._schedule, self._seen(self.known, self.age, self.heard_at))

    def end(self, heard: Heard, at: float) -> float | None:
        """Let the schedule learn from the final status; return the lateness. A job that was never pending has none."""
        if self.known is None:
            return None
        with suppress(StopIteration):
            self._schedule.send(self._seen(heard.status, heard.age, at))
        if self.age is None or heard.age is None:
            return None
        return max(0.0, at - self.heard_at - (heard.age - self.age))

    @cached_property
    def _schedule(self) -> Schedule:
        return begin(self.rules.schedule)

    def _seen(self, status: Status, age: float | None, at: float) -> Observation:
        return Observation(status, at - self.began if age is None else age, status.hint, self.rules.kind)


def submit(rules: Rules, time: Time, key: str, facts: Mapping[str, Any]) -> Flow:
    """Start a job and yield its first status."""
    reply, heard = yield from _start(rules, time, key, facts)
    rules.begin(reply, heard)
    yield heard.status


def run(rules: Rules, time: Time, key: str, facts: Mapping[str, Any]) -> Flow:
    """Start a job and yield its first status, then each change, to its end."""
    reply, heard = yield from _start(rules, time, key, facts)
    yield from _follow(rules, time, reply, heard)


def watch(rules: Rules, time: Time, job_id: str, *, known: bool = False) -> Flow:
    """Yield the status of a job, then each change, to its end; `known` is whether the server has told of it before.

    A job that was left when the server had asked not to look at it before a time yet to come is not looked at sooner.
    """
    begun = rules.begun.pop(job_id, None)
    if begun is None or not begun[0].at + (begun[1].status.hint or 0.0) > time.now:
        begun = yield from _look(rules, time, job_id, begun and begun[1].status, known=known)
    yield from _follow(rules, time, *begun)


def look(rules: Rules, time: Time, job_id: str) -> Flow:
    """Yield the status of a job."""
    _, heard = yield from _look(rules, time, job_id)
    yield heard.status


def cancel(rules: Rules, time: Time, job_id: str) -> Flow:
    """Cancel a job and yield what became of it."""
    again = f"When the server is well, cancel job {job_id} again: twice does no harm."
    read = partial(read_job, rules.dialect, job_id=job_id)
    send, known = cancelling(rules.dialect, job_id), job_id in rules.begun
    _, heard = yield from ask(rules, time, send, again, read, known=known)
    yield heard.status


def listing(rules: Rules, time: Time) -> Flow:
    """Yield the status of every job of this user, newest first, page after page as the caller goes on."""
    return _pages(rules, time, list_route(rules.dialect))


def _pages(rules: Rules, time: Time, route: Listing) -> Flow:
    cursor, again = None, "When the server is well, list the jobs again."
    while True:
        read = partial(read_page, rules.dialect, route)
        _, (jobs, following) = yield from ask(rules, time, route.send(cursor), again, read, known=cursor is not None)
        for status in jobs:
            time.now = (yield status).at
        if not following:
            return
        if following == cursor:
            raise ProtocolError(f"the list of jobs goes in a circle at {cursor!r}. Report this to the server's keeper.")
        cursor = following


def _start(rules: Rules, time: Time, key: str, facts: Mapping[str, Any]) -> Step[tuple[Reply, Heard]]:
    """Each try carries the same key, so that however many arrive, they make one job."""
    if rules.dialect.starts_by_look:
        return (yield from _look(rules, time, CURRENT))
    again = f"When the server is well, start again; with the idempotency key {key!r} it stays one job."
    send = submitting(rules.dialect, key, facts)
    if rules.long_poll >= 1:
        send = prefer(send, 0)
    read = partial(read_accepted, rules.dialect, job_id=facts.get("job_id"))
    return (yield from ask(rules, time, send, again, read))


def _follow(rules: Rules, time: Time, reply: Reply, heard: Heard) -> Flow:
    """Yield the status in the reply, then look until the job has ended, and yield each change."""
    job, hold, warned = Job(heard.status.id, rules, reply.at), Hold(int(rules.long_poll)), False
    while True:
        (status, word, _), ago = heard, time.now - reply.at
        if word is not None and not warned:
            warned = True
            yield Notice(f"job {status.id} has the unknown status {one_line(word)!r}, which counts as pending")
        if status.state.ended:
            lateness = job.end(heard, reply.at)
            yield replace(status, cost=Cost(time.looks, time.bytes, time.asleep, lateness))
            return
        news = status != job.known
        job.hear(heard, reply.at)
        if news:
            time.now = (yield status).at
        if time.last:
            rules.begin(reply, heard)
            raise time_up(rules, status.id, status)
        if (delay := job.delay()) is None:
            raise time_up(rules, status.id, status, NO_MORE)
        yield from sleep(time, hold.pause(reply, max(0.0, delay - ago), time.left - SPARE))
        reply, heard = yield from _look(rules, time, status.id, status, hold)


def _look(  # noqa: PLR0913 - all that a look knows
    rules: Rules,
    time: Time,
    job_id: str,
    status: Status | None = None,
    hold: Hold | None = None,
    *,
    known: bool = False,
) -> Step[tuple[Reply, Heard]]:
    """Look at a job, in a wait if there is a `hold`; `status` is how it stood when it was last heard of."""
    send, known = looking(rules.dialect, job_id), known or status is not None
    read, held = partial(read_job, rules.dialect, job_id=job_id), None
    if hold:
        held = yield from _held(rules, time, send, hold)
    if hold.most if hold else rules.long_poll >= 1:
        send = prefer(send, 0)
    again = f"The job goes on: when the server is well, ask again for {job_id}."
    try:
        reply, heard = yield from ask(rules, time, send, again, read, known=known, first=held)
    except (TransportError, ProtocolError, NotFound) as error:
        if time.left or (isinstance(error, NotFound) and not known):
            raise
        last = error.last if isinstance(error, TransportError) else error.message.rstrip(".")
        raise time_up(rules, job_id, status, f"when the time was up, the last failure being {last}") from error
    if hold and reply is not held:
        hold.asked = 0
    return reply, heard


def _held(rules: Rules, time: Time, send: Send, hold: Hold) -> Step[Reply | None]:
    """Take a look that may be held, if any may; None is that there was no answer that means something."""
    hold.asked = hold.seconds(time.left - SPARE)
    if not hold.asked:
        return None
    event = yield from _send(rules, time, prefer(send, hold.asked), hold.asked)
    if isinstance(event, Reply) and event.code not in TRANSIENT:
        return event
    yield Notice(f"{send.method} {send.path}, which may be held for {hold.asked} s: {event}", failure=True)
    hold.most, hold.asked = hold.asked // 2, 0
    yield from sleep(time, pause(rules, event, rules.initial_delay))
    return None


def time_up(rules: Rules, job_id: str, known: Status | None, when: str = "when the time was up") -> JobTimeout:
    """What ends the wait for a job that goes on."""
    heard = f"was still {known.state}" if known else "was not heard of"
    message = f"job {job_id} {heard} {when}. It goes on: wait again with its id."
    return JobTimeout(message, job_id, known, token_of(rules.dialect.name, job_id))


def ask(  # noqa: PLR0913 - all that a request is about
    rules: Rules,
    time: Time,
    send: Send,
    again: str,
    read: Callable[[Reply], T],
    *,
    known: bool = False,
    first: Reply | None = None,
) -> Step[tuple[Reply, T]]:
    """Send until there is an answer that means something; return it, and what was read in it.

    Args:
        rules: What the caller chose.
        time: What is known of the time.
        send: The request.
        again: What to do next where this fails.
        read: Reads an answer, or raises what is wrong with it.
        known: Whether the server has told before what it is asked for.
        first: An answer that is there already.

    Raises:
        TransportError: The budget of failures is spent, or the time is up.
        ProtocolError: So it is, and the last answer could not be read.
        TranslationError: As from `read`.
    """
    failures, reply = Failures(rules), first
    while True:
        event: Event = reply or (yield from _send(rules, time, send))
        error, reply = None, None
        if isinstance(event, Reply) and event.code not in TRANSIENT:
            try:
                return event, read(event)
            except (NotFound, ProtocolError) as caught:
                if isinstance(caught, NotFound) and not known:
                    raise
                error = caught
        borne = failures.bear(error, known=known) and not (error and send.method == "POST")
        why = error.message.rstrip(".") if error else str(event)
        if not borne if time.left else time.last or not _is_look(send):
            if isinstance(error, NotFound):
                raise error
            message = f"{send.method} {send.path} failed ({failures.count} in a row): {why}. {again}"
            raise ProtocolError(message) if error else TransportError(message, why, failures.count)
        yield Notice(f"{send.method} {send.path}: {why}; retry {failures.count} of {failures.most}", failure=True)
        yield from sleep(time, failures.pause(event))


def sleep(time: Time, seconds: float) -> Step[None]:
    """Sleep, until the deadline at most."""
    seconds = min(seconds, time.left)
    if seconds:
        time.asleep += seconds
        time.now = (yield Sleep(seconds)).at


def _send(rules: Rules, time: Time, send: Send, held: int = 0) -> Step[Event]:
    """Send once, a request that may be held for so many seconds."""
    least = 0.0 if time.last else time.allowance / 2
    time.last = not time.left
    cut = _is_look(send) and not time.last
    left = time.left if cut else max(time.deadline + time.allowance - time.now, least)
    longest = rules.request_timeout + held
    if cut and time.slowest is not None:
        longest = min(longest, held + max(time.allowance, (left - held) / 2))
    event = yield replace(send, timeout=min(longest, left), left=left)
    time.now = event.at
    if _is_look(send):
        time.looks += 1
        time.bytes += len(event.body) if isinstance(event, Reply) else 0
    if isinstance(event, Reply) and event.took >= held:  # else it may have been held for any part of that
        time.trip = event.took - held
        time.slowest = max(time.slowest or 0.0, time.trip)
    return event


def pause(rules: Rules, failed: Event, ceiling: float) -> float:
    """Seconds until the next try: a random share of the ceiling, but at least what the server asked for."""
    asked = retry_after(failed.headers) if isinstance(failed, Reply) else None
    return max(asked or 0.0, rules.random() * ceiling)


def _is_look(send: Send) -> bool:
    return send.method == "GET"
