"""How long jobs take, learned from those that have ended, and when to poll the next one.

The estimate: each past duration is a normal kernel on the logarithm [1], because durations differ by factors. A heavy
tail (log-logistic, shape 1, around the median) gets a small weight, because a job may take longer than any before. Such
a job is polled ever less often, like one of unknown duration.

The plan: the polls of Keller's rule (see `schedule`), in a table over the age of a job.

[1] B. W. Silverman, "Density Estimation for Statistics and Data Analysis", 1986, section 3.4. The factor of the
bandwidth is smaller here than for a normal density: it has to recognize a uniform density too.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, pairwise
from math import erfc, exp, log, sqrt
from statistics import median, stdev
from typing import Protocol

ENOUGH = 5  # durations for an estimate
MAX_DURATIONS = 100  # durations of each kind; the oldest are dropped
SHORTEST = 0.001  # seconds
BANDWIDTH = 0.7
NARROWEST = 0.02  # of the logarithm: jobs that take the same time differ by this much
TAIL = 0.25  # the weight of the tail; one past job has 1
MARGIN = 3.5  # bandwidths that the table covers beyond the shortest and the longest duration
POINTS = 128


class DurationEstimator(Protocol):
    """The durations of past jobs, as `Learned` uses them."""

    def durations(self, kind: str) -> Sequence[float]:
        """Returns the durations of the latest jobs of a kind in seconds, the oldest first."""

    def add(self, kind: str, seconds: float) -> None:
        """Adds a job's duration."""


@dataclass
class History:
    """The durations of past jobs, in memory."""

    kinds: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def durations(self, kind: str) -> Sequence[float]:
        return self.kinds.get(kind, ())

    def add(self, kind: str, seconds: float) -> None:
        self.kinds[kind] = (*self.durations(kind), max(seconds, SHORTEST))[-MAX_DURATIONS:]


@dataclass(frozen=True)
class Table:
    """How many polls are due at some ages of a job, linear in between.

    Beyond the last age their number grows with the square root of the age.
    """

    ages: Sequence[float]
    due: Sequence[float]
    poll_cost: float

    def polls_until(self, age: float) -> float:
        if age >= self.ages[-1]:
            return self.due[-1] + (sqrt(age) - sqrt(self.ages[-1])) / sqrt(self.poll_cost)
        return _interpolate(self.ages, self.due, max(age, 0.0))

    def age_at(self, polls: float) -> float:
        if polls >= self.due[-1]:
            return (sqrt(self.ages[-1]) + (polls - self.due[-1]) * sqrt(self.poll_cost)) ** 2
        return _interpolate(self.due, self.ages, max(polls, 0.0))


@lru_cache(maxsize=256)
def learned_plan(durations: tuple[float, ...], poll_cost: float) -> Table:
    """Returns the polls for jobs like those with these durations, in seconds; at least two are needed."""
    logs = [log(max(seconds, SHORTEST)) for seconds in durations]
    width = max(BANDWIDTH * stdev(logs) * len(logs) ** -0.2, NARROWEST)
    middle, tail = exp(median(logs)), TAIL / (len(logs) + TAIL)
    first, last = min(logs) - MARGIN * width, max(logs) + MARGIN * width
    ages = [0.0, *(exp(first + (last - first) * point / (POINTS - 1)) for point in range(POINTS))]

    def pending(age: float) -> float:
        """Returns the estimated probability that a job is still pending at an age."""
        near = sum(erfc((log(age) - center) / (width * sqrt(2))) for center in logs) / (2 * len(logs))
        return (1 - tail) * near + tail * middle / (middle + age)

    survival = [1.0, *map(pending, ages[1:])]
    polls = (
        sqrt(max(0.0, log(before / after)) * (end - begin) / (2 * poll_cost))
        for (begin, end), (before, after) in zip(pairwise(ages), pairwise(survival), strict=True)
    )
    return Table(ages, tuple(accumulate(polls, initial=0.0)), poll_cost)


def _interpolate(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    step = min(bisect_right(xs, x), len(xs) - 1) - 1
    begin, end = xs[step], xs[step + 1]
    part = (x - begin) / (end - begin) if end > begin else 1.0
    return ys[step] + part * (ys[step + 1] - ys[step])
