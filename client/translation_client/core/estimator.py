"""How long jobs take, learned from those that have ended, and when to look at the next one.

The estimate: each past duration stands for those near it, as a normal kernel on the logarithm [1], for durations differ
by factors. A small weight is given to a heavy tail (log-logistic, of shape 1, around the median): what has never been
seen may still come, and a job that outlasts all before it is looked at ever more seldom, like an unknown one.

The plan: the looks of Keller's rule (see `schedule`), counted in a table over the age of a job.

[1] B. W. Silverman, "Density Estimation for Statistics and Data Analysis", 1986, section 3.4; the factor of the
bandwidth is smaller than for a normal density, since a uniform one is to be seen too.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, pairwise
from math import erfc, exp, log, sqrt
from statistics import median, stdev
from typing import Protocol

ENOUGH = 5  # durations that say something
KEPT = 100  # durations of each kind; the oldest go first
SHORTEST = 0.001  # seconds
BANDWIDTH = 0.7
NARROWEST = 0.02  # as a part of the duration: jobs that took the same may differ by this
TAIL = 0.25  # the weight of the tail, where that of one past job is 1
REACH = 3.5  # bandwidths beyond the shortest and the longest duration that the table covers
POINTS = 128


class DurationEstimator(Protocol):
    """What `Learned` remembers by."""

    def durations(self, kind: str) -> Sequence[float]:
        """How many seconds the latest jobs of a kind have taken, the oldest first."""

    def add(self, kind: str, seconds: float) -> None:
        """Remember how long a job has taken."""


@dataclass
class History:
    """A memory that lasts as long as it is held."""

    kinds: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def durations(self, kind: str) -> Sequence[float]:
        """How many seconds the latest jobs of a kind have taken, the oldest first."""
        return self.kinds.get(kind, ())

    def add(self, kind: str, seconds: float) -> None:
        """Remember how long a job has taken."""
        self.kinds[kind] = (*self.durations(kind), max(seconds, SHORTEST))[-KEPT:]


@dataclass(frozen=True)
class Table:
    """A plan of looks: how many are due at some ages of a job, and on a straight line between these.

    Beyond the last age their number grows with the root of the age.
    """

    ages: Sequence[float]
    due: Sequence[float]
    poll_cost: float

    def polls(self, age: float) -> float:
        """How many looks are due until then."""
        if age >= self.ages[-1]:
            return self.due[-1] + (sqrt(age) - sqrt(self.ages[-1])) / sqrt(self.poll_cost)
        return _between(self.ages, self.due, max(age, 0.0))

    def when(self, polls: float) -> float:
        """The age at which so many are due."""
        if polls >= self.due[-1]:
            return (sqrt(self.ages[-1]) + (polls - self.due[-1]) * sqrt(self.poll_cost)) ** 2
        return _between(self.due, self.ages, max(polls, 0.0))


@lru_cache(maxsize=256)
def learned_plan(durations: tuple[float, ...], poll_cost: float) -> Table:
    """The looks that fit jobs such as those that have taken so many seconds; there are two of these at least."""
    logs = [log(max(seconds, SHORTEST)) for seconds in durations]
    width = max(BANDWIDTH * stdev(logs) * len(logs) ** -0.2, NARROWEST)
    middle, tail = exp(median(logs)), TAIL / (len(logs) + TAIL)
    first, last = min(logs) - REACH * width, max(logs) + REACH * width
    ages = [0.0, *(exp(first + (last - first) * point / (POINTS - 1)) for point in range(POINTS))]

    def pending(age: float) -> float:
        """The estimated probability that a job is still pending at an age."""
        near = sum(erfc((log(age) - center) / (width * sqrt(2))) for center in logs) / (2 * len(logs))
        return (1 - tail) * near + tail * middle / (middle + age)

    survival = [1.0, *map(pending, ages[1:])]
    rates = (
        sqrt(max(0.0, log(before / after)) * (end - begin) / (2 * poll_cost))
        for (begin, end), (before, after) in zip(pairwise(ages), pairwise(survival), strict=True)
    )
    return Table(ages, tuple(accumulate(rates, initial=0.0)), poll_cost)


def _between(places: Sequence[float], values: Sequence[float], place: float) -> float:
    """The value at a place, on a straight line between the places around it."""
    step = min(bisect_right(places, place), len(places) - 1) - 1
    begin, end = places[step], places[step + 1]
    part = (place - begin) / (end - begin) if end > begin else 1.0
    return values[step] + part * (values[step + 1] - values[step])
