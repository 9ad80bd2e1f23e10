"""What the client does, as generators: what to send, how long to sleep, when to give up.

How each request is asked is in `asking`. When to look is decided anew after each answer: at once where the server holds
looks (`holding`), else when the schedule says.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from translation_client.core.decode import ParsedStatus, read_accepted, read_job, read_page
from translation_client.core.dialects import (
    CURRENT,
    Listing,
    cancelling,
    list_route,
    polling,
    submitting,
)
from translation_client.core.effects import Flow, Reply, Send, Warn
from translation_client.core.errors import NotFound, ProtocolError, TransportError
from translation_client.core.long_poll import LongPoll, prefer
from translation_client.core.requests import TRANSIENT, Rules, Step, Time, ask, pause, send_once, sleep
from translation_client.core.resume_token import token_of
from translation_client.core.schedule import Schedule, begin, next_delay
from translation_client.core.status import Cost, JobTimeout, Observation, Status
from translation_client.core.text import one_line

SPARE = 1.0  # seconds before the deadline that no look is held for: time for others, if it hangs
NO_MORE = "after the last look of the schedule"


@dataclass
class Job:
    """What is known of a job that is waited for.

    Attributes:
        id: Its id.
        rules: How it is waited for.
        began: When the wait did.
        known: How it stood when it was last heard of.
        updated_at: When that was.
        age: Seconds since its acceptance, then, if the server told.
    """

    id: str
    rules: Rules
    began: float
    known: Status | None = None
    updated_at: float = 0.0
    age: float | None = None

    def update(self, parsed: ParsedStatus, at: float) -> None:
        """Take down how it stands."""
        self.known, self.updated_at, self.age = parsed.status, at, parsed.age

    def delay(self) -> float | None:
        """Seconds from then until the next look, as the schedule says; None is that there shall be none."""
        if self.known is None:
            return 0.0
        return next_delay(self._schedule, self._seen(self.known, self.age, self.updated_at))

    def end(self, parsed: ParsedStatus, at: float) -> float | None:
        """Let the schedule learn from the final status; return the lateness. A job that was never pending has none."""
        if self.known is None:
            return None
        with suppress(StopIteration):
            self._schedule.send(self._seen(parsed.status, parsed.age, at))
        if self.age is None or parsed.age is None:
            return None
        return max(0.0, at - self.updated_at - (parsed.age - self.age))

    @cached_property
    def _schedule(self) -> Schedule:
        return begin(self.rules.schedule)

    def _seen(self, status: Status, age: float | None, at: float) -> Observation:
        return Observation(status, at - self.began if age is None else age, status.hint, self.rules.kind)


def submit(rules: Rules, time: Time, key: str, facts: Mapping[str, Any]) -> Flow:
    """Start a job and yield its first status."""
    reply, parsed = yield from _start(rules, time, key, facts)
    rules.begin(reply, parsed)
    yield parsed.status


def run(rules: Rules, time: Time, key: str, facts: Mapping[str, Any]) -> Flow:
    """Start a job and yield its first status, then each change, to its end."""
    reply, parsed = yield from _start(rules, time, key, facts)
    yield from _follow(rules, time, reply, parsed)


def watch(rules: Rules, time: Time, job_id: str, *, known: bool = False) -> Flow:
    """Yield the status of a job, then each change, to its end; `known` is whether the server has told of it before.

    A job that was left when the server had asked not to look at it before a time yet to come is not looked at sooner.
    """
    begun = rules.begun.pop(job_id, None)
    if begun is None or not begun[0].at + (begun[1].status.hint or 0.0) > time.now:
        begun = yield from _poll(rules, time, job_id, begun and begun[1].status, known=known)
    yield from _follow(rules, time, *begun)


def poll(rules: Rules, time: Time, job_id: str) -> Flow:
    """Yield the status of a job."""
    _, parsed = yield from _poll(rules, time, job_id)
    yield parsed.status


def cancel(rules: Rules, time: Time, job_id: str) -> Flow:
    """Cancel a job and yield what became of it."""
    again = f"When the server is well, cancel job {job_id} again: twice does no harm."
    read = partial(read_job, rules.dialect, job_id=job_id)
    send, known = cancelling(rules.dialect, job_id), job_id in rules.begun
    _, parsed = yield from ask(rules, time, send, again, read, known=known)
    yield parsed.status


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


def _start(rules: Rules, time: Time, key: str, facts: Mapping[str, Any]) -> Step[tuple[Reply, ParsedStatus]]:
    """Each try carries the same key, so that however many arrive, they make one job."""
    if rules.dialect.starts_by_poll:
        return (yield from _poll(rules, time, CURRENT))
    again = f"When the server is well, start again; with the idempotency key {key!r} it stays one job."
    send = submitting(rules.dialect, key, facts)
    if rules.long_poll >= 1:
        send = prefer(send, 0)
    read = partial(read_accepted, rules.dialect, job_id=facts.get("job_id"))
    return (yield from ask(rules, time, send, again, read))


def _follow(rules: Rules, time: Time, reply: Reply, parsed: ParsedStatus) -> Flow:
    """Yield the status in the reply, then look until the job has ended, and yield each change."""
    job, long_poll, warned = Job(parsed.status.id, rules, reply.at), LongPoll(int(rules.long_poll)), False
    while True:
        (status, word, _), ago = parsed, time.now - reply.at
        if word is not None and not warned:
            warned = True
            yield Warn(f"job {status.id} has the unknown status {one_line(word)!r}, which counts as pending")
        if status.state.ended:
            lateness = job.end(parsed, reply.at)
            yield replace(status, cost=Cost(time.polls, time.bytes, time.asleep, lateness))
            return
        news = status != job.known
        job.update(parsed, reply.at)
        if news:
            time.now = (yield status).at
        if time.last:
            rules.begin(reply, parsed)
            raise time_up(rules, status.id, status)
        if (delay := job.delay()) is None:
            raise time_up(rules, status.id, status, NO_MORE)
        yield from sleep(time, long_poll.pause(reply, max(0.0, delay - ago), time.left - SPARE))
        reply, parsed = yield from _poll(rules, time, status.id, status, long_poll)


def _poll(  # noqa: PLR0913 - all that a look knows
    rules: Rules,
    time: Time,
    job_id: str,
    status: Status | None = None,
    long_poll: LongPoll | None = None,
    *,
    known: bool = False,
) -> Step[tuple[Reply, ParsedStatus]]:
    """Look at a job, in a wait if there is a `long_poll`; `status` is how it stood when it was last heard of."""
    send, known = polling(rules.dialect, job_id), known or status is not None
    read, held = partial(read_job, rules.dialect, job_id=job_id), None
    if long_poll:
        held = yield from _long_poll(rules, time, send, long_poll)
    if long_poll.most if long_poll else rules.long_poll >= 1:
        send = prefer(send, 0)
    again = f"The job goes on: when the server is well, ask again for {job_id}."
    try:
        reply, parsed = yield from ask(rules, time, send, again, read, known=known, first=held)
    except (TransportError, ProtocolError, NotFound) as error:
        if time.left or (isinstance(error, NotFound) and not known):
            raise
        last = error.last if isinstance(error, TransportError) else error.message.rstrip(".")
        raise time_up(rules, job_id, status, f"when the time was up, the last failure being {last}") from error
    if long_poll and reply is not held:
        long_poll.asked = 0
    return reply, parsed


def _long_poll(rules: Rules, time: Time, send: Send, long_poll: LongPoll) -> Step[Reply | None]:
    """Take a look that may be held, if any may; None is that there was no answer that means something."""
    long_poll.asked = long_poll.seconds(time.left - SPARE)
    if not long_poll.asked:
        return None
    event = yield from send_once(rules, time, prefer(send, long_poll.asked), long_poll.asked)
    if isinstance(event, Reply) and event.code not in TRANSIENT:
        return event
    yield Warn(f"{send.method} {send.path}, which may be held for {long_poll.asked} s: {event}", failure=True)
    long_poll.most, long_poll.asked = long_poll.asked // 2, 0
    yield from sleep(time, pause(rules, event, rules.initial_delay))
    return None


def time_up(rules: Rules, job_id: str, known: Status | None, when: str = "when the time was up") -> JobTimeout:
    """What ends the wait for a job that goes on."""
    parsed = f"was still {known.state}" if known else "was not heard of"
    message = f"job {job_id} {parsed} {when}. It goes on: wait again with its id."
    return JobTimeout(message, job_id, known, token_of(rules.dialect.name, job_id))
