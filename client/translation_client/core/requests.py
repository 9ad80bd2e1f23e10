"""Sending a request: its timeouts, retries and pauses.

- A poll before the last one is cut off at the deadline. If the server has answered before, the poll gets half of the
  time left: a poll that hangs leaves time for others. It gets the allowance of `deadline` at least.
- Temporary failures (the codes in `TRANSIENT`, no answer, an unreadable one) are retried after a pause with full jitter
  [1]. A flow fails after `max_retries` + 1 failures in a row; each valid answer resets the count. `Retry-After` is the
  least pause after a failure.
- An unreadable answer of a server that has sent no valid one before is retried at most three times. Most likely it is
  another kind of server. After a submission it is not retried: a job may exist, and not every server honours the
  idempotency key.
- A submission without an idempotency key is retried only if it has certainly started no job: there was no connection,
  or the answer was a 429. HTTP asks for this (RFC 9110, section 9.2.2): a retry might start, and bill, a second job.
- A connection that this machine itself refuses is retried at most three times if the server has never answered. Most
  likely it does not run. A wait for a known job goes on as after any other failure: the server may be restarting.
- A 404 for a job that the server has accepted or shown before is retried three times. It may come from a replica that
  does not have the job yet.
- Files of a request add to its timeout, so that a slow upload ends.

[1] Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from translation_client.core.builtin_dialects import START
from translation_client.core.deadline import FlowTime
from translation_client.core.decode import ParsedStatus, wait_applied
from translation_client.core.dialects import Action, Dialect
from translation_client.core.effects import AwaitDelivery, Delivery, Effect, Failure, Input, Reply, Send, Sleep, Warn
from translation_client.core.errors import NotFound, ProtocolError, TranslationError, TransportError
from translation_client.core.refusals import problem_of, understood
from translation_client.core.resume_token import token_of
from translation_client.core.schedule import Schedule, retry_after

T = TypeVar("T")
Step: TypeAlias = Generator[Effect, Input, T]  # a part of a flow that returns a result
TRANSIENT = frozenset({408, 425, 429, *range(500, 600)})
TOO_MANY_REQUESTS = 429
MAX_REMEMBERED = 10_000  # jobs
LEAST_RATE = 100_000  # bytes per second: at this rate, files extend the timeout of their request
LULL = 1.0  # seconds: how soon a receiver is asked again that answered early without a job that was asked for
MAX_DOUBTFUL = 3  # failures in a row that are most likely permanent


@dataclass(frozen=True, kw_only=True)
class FlowOptions:
    """The caller's options for every flow. Durations are in seconds.

    ``remembered`` has the last status of jobs that were started, or whose wait timed out, until the next wait for them.
    ``urls`` has the addresses that answers have named for further requests on a job.
    """

    schedule: Callable[[], Schedule]  # makes the schedule of each wait, which ends with it
    initial_delay: float  # the longest pause after a first failure
    max_delay: float  # the longest pause after any failure
    backoff_factor: float  # how much the longest pause grows with each further failure
    max_retries: int  # how many failures in a row are retried
    request_timeout: float  # the timeout of a request; the waiting time of long polls and the time for files are added
    random: Callable[[], float]  # returns a new random number from [0, 1) at each call, for the jitter
    dialect: Dialect = START
    parameters: Mapping[str, str] = field(default_factory=dict)  # of the dialect's paths
    webhook: bool = False  # whether webhooks about the jobs may be delivered
    long_poll: float = 0.0  # how long the server may hold a poll; below 1 there are no long polls
    kind: str = ""  # the kind of job; schedules learn durations per kind
    remembered: dict[str, tuple[Reply, ParsedStatus]] = field(default_factory=dict, compare=False)
    urls: dict[str, Mapping[Action, str]] = field(default_factory=dict, compare=False)

    def remember(self, reply: Reply, parsed: ParsedStatus) -> None:
        """Keeps the status of a job for its next wait."""
        _store(self.remembered, parsed.status.id, (reply, parsed))

    def follow(self, parsed: ParsedStatus) -> ParsedStatus:
        """Keeps the addresses that an answer names; returns the answer with the address of the polls in its token."""
        job_id, known = parsed.status.id, self.urls.get(parsed.status.id, {})
        if not known and not parsed.urls:
            return parsed
        _store(self.urls, job_id, {**known, **parsed.urls})
        return parsed._replace(status=replace(parsed.status, token=self.token(job_id)))

    def url(self, action: Action, job_id: str) -> str | None:
        """Returns the address that an answer has named for an action on a job, if there is one."""
        return self.urls.get(job_id, {}).get(action)

    def token(self, job_id: str) -> str:
        """Returns the resume token of a job."""
        return token_of(self.dialect.name, job_id, self.url("poll", job_id))

    @property
    def events(self) -> bool:
        """Whether to use event streams: they are the long poll of several jobs."""
        return self.long_poll >= 1


def _store(stored: dict[str, T], job_id: str, value: T) -> None:
    """Stores a value for a job, and drops the oldest of too many."""
    stored[job_id] = value
    if len(stored) > MAX_REMEMBERED:
        stored.pop(next(iter(stored)), None)


@dataclass
class Failures:
    """A count of failures in a row."""

    options: FlowOptions  # the caller's options
    count: int = 0  # how many there are
    doubtful: int = 0  # how many of them are most likely permanent
    limit: int = field(init=False)  # how many are allowed; depends on the kind of the last one
    _ceiling: float = field(init=False)

    def __post_init__(self) -> None:
        self.limit, self._ceiling = self.options.max_retries, self.options.initial_delay

    def record(self, error: TranslationError | None = None, *, confirmed: bool = False, absent: bool = False) -> bool:
        """Counts a failure; returns whether to retry. `error` is the error of an unreadable answer.

        `confirmed` is whether the server has confirmed before that the requested resource exists; `absent`, whether
        there is most likely no server.
        """
        is_doubtful = absent or (error is not None and (not confirmed or isinstance(error, NotFound)))
        self.count += 1
        self.doubtful += is_doubtful
        self.limit = min(MAX_DOUBTFUL, self.options.max_retries) if is_doubtful else self.options.max_retries
        return self.count <= self.options.max_retries and self.doubtful <= MAX_DOUBTFUL

    def pause(self, failure: Input) -> float:
        """Returns seconds until the next try."""
        ceiling = self._ceiling
        self._ceiling = min(ceiling * self.options.backoff_factor, self.options.max_delay)
        return pause(self.options, failure, ceiling)

    def warning(self, text: str, delay: float) -> Warn:
        """Returns the warning of a failure that is retried after a delay in seconds."""
        return Warn(f"{text}; retry {self.count} of {self.limit} in {delay:.1f} s", self.count)


def request(  # noqa: PLR0913 - all that a request depends on
    options: FlowOptions,
    time: FlowTime,
    send: Send,
    next_step: str,  # what the error tells the user to do next
    read: Callable[[Reply], T],  # reads an answer, or raises an error
    *,
    submits: bool = False,  # whether the request may start a job
    confirmed: bool = False,  # see `Failures.record`
    waiting: bool = False,  # whether the request is part of a wait for a job that is said to exist
    hold: int = 0,  # how many seconds the first try lets the server hold it
    first: Reply | None = None,  # an answer that has arrived already
) -> Step[tuple[Reply, T]]:
    """Sends a request, with retries, until there is a valid answer; returns the answer and the result of `read`.

    Raises:
        TransportError: The retries or the time ran out.
        ProtocolError: Likewise, and the last answer could not be read.
        TranslationError: As from `read`.
    """
    failures, reply = Failures(options), first
    while True:
        result: Input = reply or (yield from send_once(options, time, send, hold))
        error, reply = None, None
        if isinstance(result, Reply) and result.code not in TRANSIENT:
            try:
                return result, read(result)
            except (NotFound, ProtocolError) as caught:
                if isinstance(caught, NotFound) and not confirmed:
                    raise
                error = caught
        absent = isinstance(result, Failure) and result.absent and not waiting and not time.answered
        may_retry = failures.record(error, confirmed=confirmed, absent=absent)
        may_retry = may_retry and not (submits and _may_have_started(options.dialect, result, error))
        why = error.message.rstrip(".") if error else reason(options, result)
        if not may_retry if time.left else time.last or not send.only_reads:
            if isinstance(error, NotFound):
                raise error
            what_next = "Start the server, or correct its address." if absent else next_step
            message = f"{send} failed ({failures.count} in a row): {why}. {what_next}"
            raise ProtocolError(message) if error else TransportError(message, why, failures.count)
        delay = min(failures.pause(result), time.left)
        yield failures.warning(f"{send}: {why}", delay)
        yield from sleep(time, delay)
        if hold:  # the cause that cut off the held request may do so again
            send, hold = prefer(send, 0), 0


def sleep(time: FlowTime, seconds: float) -> Step[None]:
    """Sleeps, but not beyond the deadline."""
    seconds = min(seconds, time.left)
    if seconds:
        time.asleep += seconds
        time.now = (yield Sleep(seconds)).at


def await_delivery(
    options: FlowOptions, time: FlowTime, seconds: float, ids: Collection[str], quiet: dict[str, float]
) -> Step[Sequence[str]]:
    """Sleeps for some seconds, or until webhooks about some of these jobs are delivered; returns those jobs.

    Args:
        options: The caller's options.
        time: The flow's time.
        seconds: How long to wait at most.
        ids: The jobs.
        quiet: Until when deliveries about a job cause no poll, by its id. Times that are past are removed.
    """
    if not options.webhook:
        yield from sleep(time, seconds)
        return ()
    end = time.now + min(seconds, time.left)
    while time.left and time.now < end:
        for job_id in [job_id for job_id, until in quiet.items() if until <= time.now]:
            del quiet[job_id]
        asked = {job_id: None for job_id in ids if job_id not in quiet} if quiet else ids
        until = min([end, *quiet.values()])
        if asked:
            began, result = time.now, (yield AwaitDelivery(asked, until - time.now))
            time.now = result.at
            time.asleep += time.now - began
            if isinstance(result, Delivery) and (found := [job_id for job_id in result.ids if job_id in asked]):
                return [*dict.fromkeys(found)]
        left = max(0.0, until - time.now)
        yield from sleep(time, min(left, LULL) if asked else left)
    return ()


def send_once(options: FlowOptions, time: FlowTime, send: Send, hold: int = 0) -> Step[Input]:
    """Sends a request once; the server may hold it for `hold` seconds."""
    least = 0.0 if time.last else time.allowance / 2
    time.last = not time.left
    cut_off = send.only_reads and not time.last
    left = time.left if cut_off else max(time.deadline + time.allowance - time.now, least)
    timeout = options.request_timeout + hold + sum(file.size for file in (send.files or {}).values()) / LEAST_RATE
    if cut_off and time.slowest is not None:
        timeout = min(timeout, hold + max(time.allowance, (left - hold) / 2))
    result = yield replace(send, timeout=min(timeout, left), left=left)
    if isinstance(result, Reply):
        result = understood(options.dialect, result)
    time.now = result.at
    time.requests += 1
    if send.only_reads:
        time.polls += 1
        time.bytes += len(result.body) if isinstance(result, Reply) else 0
    time.answered = time.answered or isinstance(result, Reply)
    waited = hold if isinstance(result, Reply) and wait_applied(result) else 0
    if isinstance(result, Reply) and result.took >= waited:  # else the waiting time in `took` is unknown
        time.trip = result.took - waited
        time.slowest = max(time.slowest or 0.0, time.trip)
    return result


def pause(options: FlowOptions, failure: Input, ceiling: float) -> float:
    """Returns seconds until the next try: a random part of the ceiling, but no less than the server asks for."""
    hint = retry_after(failure.headers) if isinstance(failure, Reply) else None
    return max(hint or 0.0, options.random() * ceiling)


def prefer(send: Send, seconds: int) -> Send:
    """Returns the request with a `Prefer: wait` of this many seconds."""
    return replace(send, headers={**send.headers, "Prefer": f"wait={seconds}"})


def reason(options: FlowOptions, failure: Input) -> str:
    """Returns why a request failed; for a refusal, with its text."""
    if isinstance(failure, Reply) and (text := problem_of(options.dialect, failure).text):
        return f"{failure}: {text}"
    return str(failure)


def _may_have_started(dialect: Dialect, failure: Input, error: TranslationError | None) -> bool:
    """Returns whether a submission that failed may have started a job that a retry would start again."""
    match failure:
        case _ if error or dialect.idempotency:
            return error is not None
        case Reply(code=code):
            return code != TOO_MANY_REQUESTS
        case _:
            return not (isinstance(failure, Failure) and failure.unsent)
