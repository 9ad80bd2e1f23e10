"""When to poll next.

A schedule is a generator of delays in seconds. `next()` starts it and yields the delay before the first poll; each
Observation sent in yields the delay before the poll after that. It also receives the final observation, to learn from
it, and may end then. A plan makes a schedule for each wait: `Fixed(2)()`.

The theory: a wait costs `poll_cost` seconds per poll and one per second of lateness. If a pending job ends at the rate
h, polls at intervals of √(2·poll_cost/h) cost least [1]. Counted in these intervals, polls lie at whole numbers. Each
job's polls are shifted by its own part of an interval, to spread the polls of many jobs.

[1] J. B. Keller, "Optimum checking schedules for systems subject to random failure", Management Science 21, 1974.
"""

import re
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from itertools import count
from math import isnan, sqrt
from typing import Protocol, TypeAlias

from translation_client.core.estimator import ENOUGH, DurationEstimator, History, learned_plan
from translation_client.core.status import Observation, State

Schedule: TypeAlias = Generator[float, Observation, None]
Plan: TypeAlias = Callable[[], Schedule]

A_DAY = 86_400.0
LONGEST = A_DAY * 365
SOONEST = 0.05  # seconds: the least delay, so that a hint or a schedule of 0 makes no busy loop
SHORT = 1.0  # seconds: few jobs of a slow API end sooner
MOST_JITTER = 1.0  # seconds
LEAST_COST = 0.001  # seconds
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
LISTED = re.compile(r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,)?[^,]+")  # values between commas; a date contains one


@dataclass(frozen=True)
class Fixed:
    """Polls at once, then every `interval` seconds."""

    interval: float

    def __post_init__(self) -> None:
        _check("interval", self.interval)

    def __call__(self) -> Schedule:
        yield 0.0
        while True:
            yield self.interval


@dataclass(frozen=True)
class Exponential:
    """Polls at once, then after `initial` seconds; each delay is `factor` times the last one, up to `maximum` seconds.

    `jitter` is the random part of each delay, from 0 to 1: with 1, a delay is anything from 0 to its full length.
    """

    initial: float = 0.5
    factor: float = 2.0
    maximum: float = 8.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        _check("initial", self.initial)
        _check("factor", self.factor, 1)
        _check("maximum", self.maximum, self.initial)
        _check("jitter", self.jitter, most=1)

    def __call__(self) -> Schedule:
        observation, delay = (yield 0.0), self.initial
        for poll in count():
            observation = yield delay * (1 - self.jitter * chance(observation.status.id, poll))
            delay = min(delay * self.factor, self.maximum)


@dataclass(frozen=True)
class Progressive:
    """Polls less and less often, for jobs of unknown duration: delays grow with the square root of the job's age.

    Not even the order of magnitude of the duration is known. The rate at which such a job ends falls as 1/age, so the
    best interval grows as the square root of the age. Polls are due at the ages (1 + k·√poll_cost)² - 1 for
    k = 1, 2, …, so there are few in the first second. One poll is worth `poll_cost` seconds of lateness.
    """

    poll_cost: float = 0.25

    def __post_init__(self) -> None:
        _check("poll_cost", self.poll_cost, LEAST_COST)

    def __call__(self) -> Schedule:
        observation = yield 0.0
        while True:
            observation = yield next_poll(self, observation)

    def polls_until(self, age: float) -> float:
        return (sqrt(age + SHORT) - sqrt(SHORT)) / sqrt(self.poll_cost)

    def age_at(self, polls: float) -> float:
        return (sqrt(SHORT) + polls * sqrt(self.poll_cost)) ** 2 - SHORT


@dataclass(frozen=True)
class Learned:
    """Polls when past jobs of this kind ended; with fewer than five past jobs, polls like `Progressive`.

    Each job that completes or fails is added to `history`. One poll is worth `poll_cost` seconds of lateness.
    """

    history: DurationEstimator = field(default_factory=History)
    poll_cost: float = 0.25

    def __post_init__(self) -> None:
        _check("poll_cost", self.poll_cost, LEAST_COST)

    def __call__(self) -> Schedule:
        unlearned = Progressive(self.poll_cost)
        curve: PollCurve = unlearned
        observation = yield 0.0
        while not observation.status.state.ended:
            if curve is unlearned and len(durations := self.history.durations(observation.kind)) >= ENOUGH:
                curve = learned_plan(tuple(durations), self.poll_cost)
            observation = yield next_poll(curve, observation)
        if observation.status.state is not State.CANCELLED:
            self.history.add(observation.kind, observation.age)


@dataclass(frozen=True)
class Hinted:
    """Polls when the server asks for it, never sooner; without a hint, by the plan `fallback`.

    `jitter` is the part of a hint that may be added at random, from 0 to 1; at most 1 s is added.
    """

    fallback: Plan = field(default_factory=Progressive)
    jitter: float = 0.05

    def __post_init__(self) -> None:
        _check("jitter", self.jitter, most=1)

    def __call__(self) -> Schedule:
        fallback = self.fallback()
        delay = next(fallback)
        for poll in count():
            observation = yield delay
            try:
                delay = fallback.send(observation)
            except StopIteration:
                return
            if observation.hint is not None:
                spread = min(self.jitter * observation.hint, MOST_JITTER)
                delay = max(observation.hint, SOONEST) + spread * chance(observation.status.id, poll)


@dataclass(frozen=True)
class Seldom:
    """Polls `factor` times as seldom as the plan `often`, and leaves at least `least` seconds between polls.

    It is for waits that a webhook ends. Their polls only make up for a lost delivery.
    """

    often: Plan
    factor: float = 10.0
    least: float = 5.0

    def __call__(self) -> Schedule:
        often = self.often()
        delay = next(often)
        while True:
            observation = yield delay
            try:
                delay = max(self.least, self.factor * often.send(observation))
            except StopIteration:
                return


def start_schedule(plan: Plan) -> Schedule:
    """Makes the schedule of a wait, and skips its first delay: the caller has just polled.

    Raises:
        ValueError: The plan makes no generator.
    """
    schedule = plan()
    if not isinstance(schedule, Generator):
        expected = "a generator of delays, as Fixed(2) does, for example"
        raise ValueError(f"schedule must make {expected}; it made {schedule!r}")  # noqa: TRY004 - a ValueError, as for every argument
    next(schedule, None)
    return schedule


def next_delay(schedule: Schedule, observation: Observation) -> float | None:
    """Returns seconds until the next poll, at least SOONEST; None if the schedule has ended.

    Raises:
        ValueError: The schedule yielded something other than seconds.
    """
    try:
        delay = schedule.send(observation)
    except StopIteration:
        return None
    if not isinstance(delay, int | float) or isnan(delay):
        raise ValueError(f"schedule must yield seconds, not {delay!r}")
    return min(delay, LONGEST) if delay > 0 else SOONEST


class PollCurve(Protocol):
    """The number of polls that are due as a growing function of a job's age, and its inverse."""

    def polls_until(self, age: float) -> float:
        """Returns how many polls are due until this age."""

    def age_at(self, polls: float) -> float:
        """Returns the age at which this many polls are due."""


def next_poll(curve: PollCurve, observation: Observation) -> float:
    """Returns seconds until the poll of this job that is closest to one interval away."""
    offset = chance(observation.status.id) - 0.5
    target = round(curve.polls_until(observation.age) + 1 - offset) + offset
    return max(SOONEST, curve.age_at(target) - observation.age)


def chance(job_id: str, poll: int = 0) -> float:
    """Returns a pseudo-random number from [0, 1), the same for the same poll of the same job."""
    digest = blake2b(f"{poll} {job_id}".encode(errors="replace"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)


def _check(name: str, value: float, least: float = 0, most: float = LONGEST) -> None:
    if not (isinstance(value, int | float) and least <= value <= most):
        raise ValueError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the delay that a server asks for, in seconds and at most a day; None if it asks for none.

    `Retry-After` (RFC 9110, section 10.2.3) is a number of seconds, which may have a fraction, or a date. A date is
    compared with the server's own `Date`, because our clock may differ; the drivers add our time if there is none.
    Values that are neither are ignored; the largest of several counts. `retry-after-ms` is the same in milliseconds. It
    counts if `Retry-After` is missing, smaller, or this value rounded to seconds.
    """
    now = _http_date(headers.get("date", ""))
    seconds = _largest(delay(text, now) for text in LISTED.findall(headers.get("retry-after", "")))
    finer = _largest(delay(text, per_second=1000.0) for text in headers.get("retry-after-ms", "").split(","))
    if finer is None or (seconds is not None and finer <= seconds - 1):
        return seconds
    return finer


def _largest(delays: Iterable[float | None]) -> float | None:
    return max((seconds for seconds in delays if seconds is not None), default=None)


def delay(text: str, now: datetime | None = None, *, per_second: float = 1.0) -> float | None:
    """Reads a number of units, or a date if the server's time is known; in seconds, at most a day."""
    text = text.strip()
    if NUMBER.fullmatch(text):
        return min(max(0.0, float(text) / per_second), A_DAY)
    then = now and _http_date(text)
    return min(max(0.0, (then - now).total_seconds()), A_DAY) if then and now else None


def _http_date(text: str) -> datetime | None:
    """Reads any of the three formats of RFC 9110, section 5.6.7; a date without a zone is in UTC."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
