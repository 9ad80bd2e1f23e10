"""How a request is asked: for how long, how often, and after which pauses.

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

[1] Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from math import inf
from typing import TypeAlias, TypeVar

from translation_client.core.decode import ParsedStatus
from translation_client.core.dialects import START, Dialect
from translation_client.core.effects import Effect, Input, Reply, Send, Sleep, Warn
from translation_client.core.errors import NotFound, ProtocolError, TranslationError, TransportError
from translation_client.core.schedule import Schedule, retry_after

T = TypeVar("T")
Step: TypeAlias = Generator[Effect, Input, T]  # a part of a flow that comes to a result

TRANSIENT = frozenset({408, 425, 429, *range(500, 600)})
LEAST_ALLOWANCE = 0.03  # seconds
SLACK = 0.02  # seconds
NEAR = 0.025  # seconds: a round trip to a server that is near
NEAR_ALLOWANCE = 0.04  # seconds: more than half as long again as that
FIRST_ALLOWANCE = 1.0  # seconds: enough for the name, the connection and the handshake of a far server
MOMENT = 0.001  # seconds: less than this is no time
MOST_BEGUN = 10_000  # jobs
FEW = 3  # failures in a row, of those that are most likely for good


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
    begun: "dict[str, tuple[Reply, ParsedStatus]]" = field(default_factory=dict, compare=False)

    def begin(self, reply: Reply, parsed: ParsedStatus) -> None:
        """Take down a job that is not waited for now."""
        self.begun[parsed.status.id] = reply, parsed
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
        polls: How many requests asked for a status.
        bytes: What their answers brought.
        asleep: Seconds slept.
    """

    now: float
    deadline: float = inf
    slowest: float | None = None
    began: float = field(init=False)
    trip: float | None = field(init=False)
    last: bool = False
    polls: int = 0
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

    def pause(self, failed: Input) -> float:
        """Seconds until the next try."""
        ceiling, self.ceiling = self.ceiling, min(self.ceiling * self.rules.backoff_factor, self.rules.max_delay)
        return pause(self.rules, failed, ceiling)


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
        event: Input = reply or (yield from send_once(rules, time, send))
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
        if not borne if time.left else time.last or not is_poll(send):
            if isinstance(error, NotFound):
                raise error
            message = f"{send.method} {send.path} failed ({failures.count} in a row): {why}. {again}"
            raise ProtocolError(message) if error else TransportError(message, why, failures.count)
        yield Warn(f"{send.method} {send.path}: {why}; retry {failures.count} of {failures.most}", failure=True)
        yield from sleep(time, failures.pause(event))


def sleep(time: Time, seconds: float) -> Step[None]:
    """Sleep, until the deadline at most."""
    seconds = min(seconds, time.left)
    if seconds:
        time.asleep += seconds
        time.now = (yield Sleep(seconds)).at


def send_once(rules: Rules, time: Time, send: Send, held: int = 0) -> Step[Input]:
    """Send once, a request that may be held for so many seconds."""
    least = 0.0 if time.last else time.allowance / 2
    time.last = not time.left
    cut = is_poll(send) and not time.last
    left = time.left if cut else max(time.deadline + time.allowance - time.now, least)
    longest = rules.request_timeout + held
    if cut and time.slowest is not None:
        longest = min(longest, held + max(time.allowance, (left - held) / 2))
    event = yield replace(send, timeout=min(longest, left), left=left)
    time.now = event.at
    if is_poll(send):
        time.polls += 1
        time.bytes += len(event.body) if isinstance(event, Reply) else 0
    if isinstance(event, Reply) and event.took >= held:  # else it may have been held for any part of that
        time.trip = event.took - held
        time.slowest = max(time.slowest or 0.0, time.trip)
    return event


def pause(rules: Rules, failed: Input, ceiling: float) -> float:
    """Seconds until the next try: a random share of the ceiling, but at least what the server asked for."""
    asked = retry_after(failed.headers) if isinstance(failed, Reply) else None
    return max(asked or 0.0, rules.random() * ceiling)


def is_poll(send: Send) -> bool:
    """Whether it changes nothing."""
    return send.method == "GET"
