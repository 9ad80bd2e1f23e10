"""How long jobs take: distributions of delays, in seconds.

Each distribution has the same methods. ``cdf`` returns the probability that a job has ended by a time. ``quantile``
returns the delay that a share of jobs, from 0 to less than 1, does not exceed. ``latest`` is the longest delay that can
be drawn.

The hazard rate h(t) of a distribution is the rate at which jobs that are still pending at t end. ``poll_integral`` is
the integral of √h from 0 to t. By J. B. Keller's rule ("Optimum checking schedules for systems subject to random
failure", Management Science 21, 1974), a client polls each time this integral has grown by √(2·poll_cost).

The empirical distribution of n durations gives each of them the probability 1/n. Its cdf at t is the share of durations
up to t, and its quantile at p is the least duration whose cdf is at least p (definition 1 in R. J. Hyndman and Y. Fan,
"Sample quantiles in statistical packages", The American Statistician 50, 1996). So every draw is one of the durations.
It has no hazard rate. For the polls, it is assumed that between two successive durations one of the pending jobs ends,
at a constant rate (the piecewise exponential estimator: J. Kitchin, N. A. Langberg and F. Proschan, "A new method for
estimating life distributions from incomplete data", Statistics & Decisions 1, 1983).
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Annotated, Literal

from annotated_types import Interval, Len

SIGMAS = 8.5  # the most standard deviations that a normal number from 53 random bits can lie from its mean
STEPS = 32  # table entries per standard deviation
MAX_DURATIONS = 1000  # how many durations an empirical distribution may have
Seconds = Annotated[float, Interval(ge=0, le=1e9)]
Span = Annotated[float, Interval(ge=1e-9, le=1e9)]


@dataclass(frozen=True, slots=True)
class Fixed:
    """Every job takes the same time."""

    kind: Literal["fixed"] = field(default="fixed", kw_only=True)
    seconds: Seconds

    @property
    def latest(self) -> float:
        return self.seconds

    def cdf(self, time: float) -> float:
        return float(time >= self.seconds)

    def quantile(self, probability: float) -> float:  # noqa: ARG002 - all delays are the same
        return self.seconds

    def poll_integral(self, time: float) -> float:  # noqa: ARG002 - a poll before the end gains nothing
        return 0.0

    def inverse_poll_integral(self, integral: float) -> float:  # noqa: ARG002 - no poll comes before the end
        return self.seconds


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every delay from ``min`` to ``max`` is equally likely."""

    kind: Literal["uniform"] = field(default="uniform", kw_only=True)
    min: Seconds
    max: Seconds

    def __post_init__(self) -> None:
        """Raises ValueError if min is more than max."""
        if self.min > self.max:
            raise ValueError(f"min, which is {self.min:g}, must not be more than max, which is {self.max:g}")

    @property
    def latest(self) -> float:
        return self.max

    def cdf(self, time: float) -> float:
        if not self.min < time < self.max:
            return float(time >= self.max)
        return (time - self.min) / (self.max - self.min)

    def quantile(self, probability: float) -> float:
        return self.min + (self.max - self.min) * probability

    def poll_integral(self, time: float) -> float:
        left = self.max - sorted((self.min, time, self.max))[1]
        return 2 * (math.sqrt(self.max - self.min) - math.sqrt(left))

    def inverse_poll_integral(self, integral: float) -> float:
        return self.max - (math.sqrt(self.max - self.min) - integral / 2) ** 2


@dataclass(frozen=True, slots=True)
class Exponential:
    """A pending job ends with the same probability in every second."""

    kind: Literal["exponential"] = field(default="exponential", kw_only=True)
    mean: Span

    @property
    def latest(self) -> float:
        return math.inf

    def cdf(self, time: float) -> float:
        return -math.expm1(-max(0.0, time) / self.mean)

    def quantile(self, probability: float) -> float:
        return -self.mean * math.log1p(-probability)

    def poll_integral(self, time: float) -> float:
        return max(0.0, time) / math.sqrt(self.mean)

    def inverse_poll_integral(self, integral: float) -> float:
        return integral * math.sqrt(self.mean)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """The logarithm of the delay is normal, with the standard deviation ``sigma``; a few delays are long."""

    kind: Literal["lognormal"] = field(default="lognormal", kw_only=True)
    median: Span
    sigma: Annotated[float, Interval(ge=1e-6, le=5)]

    @property
    def latest(self) -> float:
        return self._time(SIGMAS)

    def cdf(self, time: float) -> float:
        return _survival(-self._deviation(time)) if time > 0 else 0.0

    def quantile(self, probability: float) -> float:
        below, above = -SIGMAS, SIGMAS
        while below < (middle := (below + above) / 2) < above:
            below, above = (middle, above) if _survival(-middle) <= probability else (below, middle)
        return self._time(below)

    def poll_integral(self, time: float) -> float:
        table = _poll_integral(self.sigma)
        position = (self._deviation(time) + SIGMAS) * STEPS if time > 0 else 0.0
        if position <= 0:
            return 0.0
        step = min(int(position), len(table) - 2)
        return math.sqrt(self.median) * (table[step] + (position - step) * (table[step + 1] - table[step]))

    def inverse_poll_integral(self, integral: float) -> float:
        table, scaled = _poll_integral(self.sigma), integral / math.sqrt(self.median)
        step = min(bisect_right(table, scaled), len(table) - 1) - 1
        fraction = (scaled - table[step]) / (table[step + 1] - table[step])
        return self._time((step + fraction) / STEPS - SIGMAS)

    def _deviation(self, time: float) -> float:
        return (math.log(time) - math.log(self.median)) / self.sigma

    def _time(self, deviation: float) -> float:
        return self.median * math.exp(self.sigma * deviation)


@dataclass(frozen=True, slots=True)
class Empirical:
    """Each of the ``durations`` of past jobs is equally likely."""

    kind: Literal["empirical"] = field(default="empirical", kw_only=True)
    durations: Annotated[tuple[Seconds, ...], Len(1, MAX_DURATIONS)]
    _poll_integrals: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sorts the durations, and computes the integral of √h from 0 to each."""
        ordered = tuple(sorted(self.durations))
        pending = range(len(ordered) - 1, 0, -1)  # how many jobs are still pending after each duration but the last
        steps = (math.sqrt((end - start) / jobs) for (start, end), jobs in zip(pairwise(ordered), pending, strict=True))
        object.__setattr__(self, "durations", ordered)
        object.__setattr__(self, "_poll_integrals", tuple(accumulate(steps, initial=0.0)))

    @property
    def latest(self) -> float:
        """The longest delay."""
        return self.durations[-1]

    def cdf(self, time: float) -> float:
        """Returns the probability that a job has ended by ``time``."""
        return bisect_right(self.durations, time) / len(self.durations)

    def quantile(self, probability: float) -> float:
        """Returns the least of the delays that this share of jobs, from 0 to 1, does not exceed."""
        return self.durations[max(0, math.ceil(probability * len(self.durations)) - 1)]

    def poll_integral(self, time: float) -> float:
        """Returns the integral of √h from 0 to ``time``."""
        return _interpolated(self.durations, self._poll_integrals, time)

    def inverse_poll_integral(self, integral: float) -> float:
        """Returns the time at which the integral of √h reaches ``integral``."""
        return _interpolated(self._poll_integrals, self.durations, integral)


Delays = Fixed | Uniform | Exponential | LogNormal | Empirical

KINDS: Mapping[str, type[Delays]] = MappingProxyType(
    {"fixed": Fixed, "uniform": Uniform, "lognormal": LogNormal, "exponential": Exponential, "empirical": Empirical}
)
"""The distributions by name."""


def _survival(deviation: float) -> float:
    """Returns the probability of a normal number more than ``deviation`` standard deviations above its mean."""
    return math.erfc(deviation / math.sqrt(2)) / 2


@lru_cache(maxsize=1024)  # 17 kB each; sandboxes may differ in sigma
def _poll_integral(sigma: float) -> tuple[float, ...]:
    """Returns the integral of √h of a lognormal with the median 1, at each step of its normal number."""
    middles = ((step + 0.5) / STEPS - SIGMAS for step in range(int(2 * SIGMAS * STEPS)))
    densities = (
        math.sqrt(sigma * math.exp(sigma * at - at * at / 2) / math.sqrt(2 * math.pi) / _survival(at)) for at in middles
    )
    return tuple(accumulate((density / STEPS for density in densities), initial=0.0))


def _interpolated(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """Returns the value at ``x`` of the function that is linear between the points and constant beyond them."""
    after = bisect_right(xs, x)
    if not 0 < after < len(xs):
        return ys[min(after, len(ys) - 1)]
    before = after - 1
    return ys[before] + (ys[after] - ys[before]) * ((x - xs[before]) / (xs[after] - xs[before]))
