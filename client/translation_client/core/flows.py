"""What the client does, as generators: what to send, how long to sleep, when to give up.

The laws of waiting:

- There is one deadline, on the monotonic clock, over sleeps, requests and reads. A sleep that would pass it ends at it,
  and one last look is taken there: a job that ended in time is not missed for an unlucky interval.
- A request may outlast the deadline by a small allowance: four times the slowest round trip of this wait, 40 ms at
  least; 1 s before the first answer, so that even a timeout of 0 hears one over a slow link.
- A look that was sent before the deadline and answered `pending` after it is followed by one last look.
- What may pass (`TRANSIENT` codes, no answer at all) is asked again after a pause with full jitter [1]. Only
  `max_retries` failures in a row and one more end a flow; any answer that means something starts the count anew.
- `Retry-After` is obeyed: as the least pause after a failure, in place of the schedule's delay while a job is pending,
  unless the schedule is the caller's own.

[1] Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
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
from translation_client.core.errors import JobTimeout, ProtocolError, TransportError
from translation_client.core.model import Command, Event, Flow, Notice, Reply, Send, Sleep, Status, one_line
from translation_client.core.schedule import Schedule, exponential, retry_after

T = TypeVar("T")
Step: TypeAlias = Generator[Command, Event, T]  # a part of a flow that comes to a result

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
LEAST_ALLOWANCE = 0.04  # seconds
FIRST_ALLOWANCE = 1.0  # seconds: enough for the name, the connection and the handshake of a far server
SOONEST = 0.05  # seconds: a Retry-After of 0 must not make a wait spin


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a caller may choose about every flow; durations are seconds.

    Attributes:
        random: Returns a number from [0, 1), anew at each call: the jitter.
        schedule: Makes the schedule of a wait; it is kept to the letter, whatever the server asks for, and where it
            ends, so does the wait. Without one the delays grow from `initial_delay` to `max_delay`.
    """

    initial_delay: float
    max_delay: float
    backoff_factor: float
    max_retries: int
    request_timeout: float
    random: Callable[[], float]
    dialect: Dialect = START
    schedule: Callable[[], Schedule] | None = None


@dataclass
class Time:
    """What a flow knows of the time: the events told it.

    Attributes:
        now: When the last event happened.
        deadline: When the flow has to end.
        sent: When the last request was sent.
        slowest: The longest that an answer has taken so far; None before the first.
    """

    now: float
    deadline: float = inf
    sent: float = -inf
    slowest: float | None = None

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self.deadline - self.now)


def submit(rules: Rules, time: Time, key: str, facts: Mapping[str, Any]) -> Flow:
    """Start a job and yield its first status."""
    _, heard = yield from _start(rules, time, key, facts)
    yield heard.status


def run(rules: Rules, time: Time, key: str, facts: Mapping[str, Any]) -> Flow:
    """Start a job and yield its first status, then each change, to its end."""
    reply, heard = yield from _start(rules, time, key, facts)
    yield from _follow(rules, time, reply, heard)


def watch(rules: Rules, time: Time, job_id: str) -> Flow:
    """Yield the status of a job, then each change, to its end."""
    reply, heard = yield from _look(rules, time, job_id, None)
    yield from _follow(rules, time, reply, heard)


def look(rules: Rules, time: Time, job_id: str) -> Flow:
    """Yield the status of a job."""
    _, heard = yield from _look(rules, time, job_id, None)
    yield heard.status


def cancel(rules: Rules, time: Time, job_id: str) -> Flow:
    """Cancel a job and yield what became of it."""
    send = cancelling(rules.dialect, job_id)
    reply = yield from _ask(
        rules, time, send, f"When the server is well, cancel job {job_id} again: twice does no harm."
    )
    yield read_job(rules.dialect, reply, job_id).status


def listing(rules: Rules, time: Time) -> Flow:
    """Yield the status of every job of this user, newest first, page after page as the caller goes on."""
    return _pages(rules, time, list_route(rules.dialect))


def _pages(rules: Rules, time: Time, route: Listing) -> Flow:
    cursor = None
    while True:
        reply = yield from _ask(rules, time, route.send(cursor), "When the server is well, list the jobs again.")
        jobs, following = read_page(rules.dialect, route, reply)
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
        return (yield from _look(rules, time, CURRENT, None))
    again = f"When the server is well, start again; with the idempotency key {key!r} it stays one job."
    reply = yield from _ask(rules, time, submitting(rules.dialect, key, facts), again)
    return reply, read_accepted(rules.dialect, reply, facts.get("job_id"))


def _follow(rules: Rules, time: Time, reply: Reply, heard: Heard) -> Flow:
    """Yield the status in the reply, then look until the job has ended, and yield each change."""
    own = rules.schedule
    schedule = own() if own else exponential(rules.initial_delay, rules.backoff_factor, rules.max_delay)
    next(schedule, None)  # the reply at hand is the first look
    known, warned = None, False
    while True:
        status, word = heard
        if word is not None and not warned:
            warned = True
            yield Notice(f"job {status.id} has the unknown status {one_line(word)!r}, which counts as pending")
        if status != known:
            time.now = (yield status).at
        if status.state.ended:
            return
        if time.sent >= time.deadline:
            raise _timeout(status.id, status)
        try:
            delay = schedule.send(status)
        except StopIteration:
            raise _timeout(status.id, status, "after the last look of the schedule") from None
        known, hint = status, delay if own else retry_after(reply.headers)
        yield from _sleep(time, delay if hint is None else max(hint, SOONEST))
        reply, heard = yield from _look(rules, time, status.id, status)


def _look(rules: Rules, time: Time, job_id: str, known: Status | None) -> Step[tuple[Reply, Heard]]:
    send = looking(rules.dialect, job_id)
    try:
        reply = yield from _ask(rules, time, send, f"The job goes on: when the server is well, ask again for {job_id}.")
    except TransportError as error:
        if time.left:
            raise
        raise _timeout(job_id, known, f"when the time was up, the last failure being {error.last}") from error
    return reply, read_job(rules.dialect, reply, job_id)


def _timeout(job_id: str, known: Status | None, when: str = "when the time was up") -> JobTimeout:
    heard = f"was still {known.state}" if known else "was not heard of"
    return JobTimeout(f"job {job_id} {heard} {when}. It goes on: wait again with its id.", job_id, known)


def _ask(rules: Rules, time: Time, send: Send, again: str) -> Step[Reply]:
    """Send until there is an answer that means something.

    Raises:
        TransportError: The budget of failures is spent, or the time is up; `again` says what to do next.
    """
    failures, ceiling = 0, rules.initial_delay
    while True:
        time.sent = time.now
        left = time.left + (FIRST_ALLOWANCE if time.slowest is None else max(LEAST_ALLOWANCE, 4 * time.slowest))
        event = yield replace(send, timeout=min(rules.request_timeout, left), left=left)
        time.now = event.at
        asked = None
        if isinstance(event, Reply):
            time.slowest = max(time.slowest or 0.0, event.took)
            if event.code not in TRANSIENT:
                return event
            asked = retry_after(event.headers)
        failures += 1
        if failures > rules.max_retries or not time.left:
            message = f"{send.method} {send.path} failed ({failures} in a row): {event}. {again}"
            raise TransportError(message, str(event), failures)
        yield Notice(f"{send.method} {send.path}: {event}; retry {failures} of {rules.max_retries}", failure=True)
        yield from _sleep(time, max(asked or 0.0, rules.random() * ceiling))
        ceiling = min(ceiling * rules.backoff_factor, rules.max_delay)


def _sleep(time: Time, seconds: float) -> Step[None]:
    seconds = min(seconds, time.left)
    if seconds:
        time.now = (yield Sleep(seconds)).at
