"""When to look next.

A schedule is a generator: `next()` starts it and yields the delay before the first look, then each Observation sent in
is answered with the delay before the look that follows. It is sent the final one too, so that it can learn; then it may
end. All delays are seconds. A plan makes a schedule for each wait: `Fixed(2)()`.

The theory: a wait costs `poll_cost` seconds for each look and one for each second of lateness. Where a pending job
ends at the rate h, looks at intervals of √(2·poll_cost/h) cost least [1]. Counted in these intervals, looks lie at
whole numbers; each job's are moved by a part of an interval of its own, so that a crowd does not march in step.

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
SOONEST = 0.05  # seconds: zero means now, but must not make a wait spin
SHORT = 1.0  # seconds: few jobs of a slow API end sooner
MOST_JITTER = 1.0  # seconds
MOMENT = 0.001  # seconds: the least worth of a look
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
SEVERAL = re.compile(r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,)?[^,]+")  # values with commas between; a date has one


@dataclass(frozen=True)
class Fixed:
    """Look at once, then every so many seconds."""

    interval: float

    def __post_init__(self) -> None:
        _check("interval", self.interval)

    def __call__(self) -> Schedule:
        """Make the schedule of one wait."""
        yield 0.0
        while True:
            yield self.interval


@dataclass(frozen=True)
class Exponential:
    """Look at once, then after ever longer delays.

    Attributes:
        initial: The first delay, in seconds.
        factor: How many times longer each delay is than the one before.
        maximum: The longest delay, in seconds.
        jitter: The part of each delay, from 0 to 1, that is left to chance: from none of it to all of it is waited.
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
        """Make the schedule of one wait."""
        seen, delay = (yield 0.0), self.initial
        for poll in count():
            seen = yield delay * (1 - self.jitter * chance(seen.status.id, poll))
            delay = min(delay * self.factor, self.maximum)


@dataclass(frozen=True)
class Progressive:
    """Look ever more seldom, as fits jobs of which nothing is known; delays grow with the root of the job's age.

    Of an unknown job as good as nothing is known of the order of its duration either: its rate of ending falls as one
    over its age, and the best interval grows as the root of that. Looks are due at ages (1 + k·√poll_cost)² - 1
    for k = 1, 2, …, hence few of them in the first second.

    Attributes:
        poll_cost: How many seconds of lateness one look is worth.
    """

    poll_cost: float = 0.25

    def __post_init__(self) -> None:
        _check("poll_cost", self.poll_cost, MOMENT)

    def __call__(self) -> Schedule:
        """Make the schedule of one wait."""
        seen = yield 0.0
        while True:
            seen = yield next_poll(self, seen)

    def polls(self, age: float) -> float:
        """How many looks are due until then."""
        return (sqrt(age + SHORT) - sqrt(SHORT)) / sqrt(self.poll_cost)

    def when(self, polls: float) -> float:
        """The age at which so many are due."""
        return (sqrt(SHORT) + polls * sqrt(self.poll_cost)) ** 2 - SHORT


@dataclass(frozen=True)
class Learned:
    """Look when jobs of this kind have been ending; until five have, as `Progressive` does.

    Attributes:
        history: What is remembered of past jobs; each job that ends by itself is added.
        poll_cost: How many seconds of lateness one look is worth.
    """

    history: DurationEstimator = field(default_factory=History)
    poll_cost: float = 0.25

    def __post_init__(self) -> None:
        _check("poll_cost", self.poll_cost, MOMENT)

    def __call__(self) -> Schedule:
        """Make the schedule of one wait."""
        cold = Progressive(self.poll_cost)
        plan: Lattice = cold
        seen = yield 0.0
        while not seen.status.state.ended:
            if plan is cold and len(durations := self.history.durations(seen.kind)) >= ENOUGH:
                plan = learned_plan(tuple(durations), self.poll_cost)
            seen = yield next_poll(plan, seen)
        if seen.status.state is not State.CANCELLED:
            self.history.add(seen.kind, seen.age)


@dataclass(frozen=True)
class Hinted:
    """Look when the server says, and never before; where it says nothing, as another plan does.

    Attributes:
        fallback: That plan.
        jitter: The part of a delay that may be added to it by chance, 1 s at most.
    """

    fallback: Plan = field(default_factory=Progressive)
    jitter: float = 0.05

    def __post_init__(self) -> None:
        _check("jitter", self.jitter, most=1)

    def __call__(self) -> Schedule:
        """Make the schedule of one wait."""
        fallback = self.fallback()
        delay = next(fallback)
        for poll in count():
            seen = yield delay
            try:
                delay = fallback.send(seen)
            except StopIteration:
                return
            if seen.hint is not None:
                spread = min(self.jitter * seen.hint, MOST_JITTER)
                delay = max(seen.hint, SOONEST) + spread * chance(seen.status.id, poll)


def begin(plan: Plan) -> Schedule:
    """Make the schedule of a wait whose first look is at hand.

    Raises:
        ValueError: The plan makes no generator.
    """
    schedule = plan()
    if not isinstance(schedule, Generator):
        raise ValueError(  # noqa: TRY004 - as for every argument
            f"schedule must make a generator of delays, as Fixed(2) does, for example; it made {schedule!r}"
        )
    next(schedule, None)
    return schedule


def next_delay(schedule: Schedule, seen: Observation) -> float | None:
    """Seconds until the next look, and never none at all; None is that the schedule has ended.

    Raises:
        ValueError: The schedule yielded what is no number of seconds.
    """
    try:
        delay = schedule.send(seen)
    except StopIteration:
        return None
    if not isinstance(delay, int | float) or isnan(delay):
        raise ValueError(f"schedule must yield seconds, not {delay!r}")
    return min(delay, LONGEST) if delay > 0 else SOONEST


class Lattice(Protocol):
    """A plan as a growing number of looks, and the inverse of that."""

    def polls(self, age: float) -> float:
        """How many looks are due until then."""

    def when(self, polls: float) -> float:
        """The age at which so many are due."""


def next_poll(plan: Lattice, seen: Observation) -> float:
    """Seconds until the look of this job that is nearest to one interval away."""
    offset = chance(seen.status.id) - 0.5
    target = round(plan.polls(seen.age) + 1 - offset) + offset
    return max(SOONEST, plan.when(target) - seen.age)


def chance(job_id: str, poll: int = 0) -> float:
    """A number from 0 to less than 1 that is the same for the same look at the same job, and like random otherwise."""
    digest = blake2b(f"{poll} {job_id}".encode(errors="replace"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)


def _check(name: str, value: float, least: float = 0, most: float = LONGEST) -> None:
    if not (isinstance(value, int | float) and least <= value <= most):
        raise ValueError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The delay in seconds that a server asks for, or None.

    It is told by `Retry-After` (RFC 9110, section 10.2.3), as seconds, with a fraction or without, or as a date, which
    is held against the server's own `Date`, so that no clock of this side matters; without that header it means
    nothing. What is neither a number nor a date is ignored; of several values the largest counts. `retry-after-ms`
    tells the same in milliseconds: it counts where `Retry-After` is missing, is less, or is this rounded to seconds.
    More than a day is cut to a day.
    """
    now = _http_date(headers.get("date", ""))
    seconds = _largest(_seconds(text, now) for text in SEVERAL.findall(headers.get("retry-after", "")))
    finer = _largest(_seconds(text, None, 1000.0) for text in headers.get("retry-after-ms", "").split(","))
    if finer is None or (seconds is not None and finer <= seconds - 1):
        return seconds
    return finer


def _largest(told: Iterable[float | None]) -> float | None:
    return max((seconds for seconds in told if seconds is not None), default=None)


def _seconds(text: str, now: datetime | None, per_second: float = 1.0) -> float | None:
    """A delay that is told as a number of units, or as a date where it is known what the server's clock shows."""
    text = text.strip()
    if NUMBER.fullmatch(text):
        return min(max(0.0, float(text) / per_second), A_DAY)
    then = now and _http_date(text)
    return min(max(0.0, (then - now).total_seconds()), A_DAY) if then and now else None


def _http_date(text: str) -> datetime | None:
    """Read any of the three forms of RFC 9110, section 5.6.7; the one without a zone is in UTC as well."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
