"""How long jobs take: distributions of delays, in seconds.

Each knows the hazard h(t), the rate at which jobs end that are still pending at t, as far as a plan of looks needs it:
``looks`` is the integral of √h from 0 to t, ``when`` its inverse. J. B. Keller's rule ("Optimum checking schedules for
systems subject to random failure", Management Science 21, 1974) looks each time that it has grown by √(2·worth).
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

SIGMAS = 8.5
"""Within so many standard deviations lies every normal number that 53 random bits can give."""

STEPS = 32
"""Table entries for one standard deviation."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any delay from ``low`` to ``high`` is as likely as any other; where the two are the same, every job takes it."""

    low: float
    high: float

    @property
    def latest(self) -> float:
        """The longest delay."""
        return self.high

    def cdf(self, time: float) -> float:
        """The probability that a job has ended by ``time``."""
        if not self.low < time < self.high:
            return float(time >= self.high)
        return (time - self.low) / (self.high - self.low)

    def quantile(self, probability: float) -> float:
        """The delay that this part of the jobs, from 0 to 1, stays below."""
        return self.low + (self.high - self.low) * probability

    def looks(self, time: float) -> float:
        """The integral of √h from 0 to ``time``."""
        left = self.high - min(max(time, self.low), self.high)
        return 2 * (math.sqrt(self.high - self.low) - math.sqrt(left))

    def when(self, looks: float) -> float:
        """The time at which ``looks`` is reached."""
        return self.high - (math.sqrt(self.high - self.low) - looks / 2) ** 2


@dataclass(frozen=True, slots=True)
class Exponential:
    """A pending job is as likely to end in the next second as in any other."""

    mean: float

    @property
    def latest(self) -> float:
        """The longest delay."""
        return math.inf

    def cdf(self, time: float) -> float:
        """The probability that a job has ended by ``time``."""
        return -math.expm1(-max(0.0, time) / self.mean)

    def quantile(self, probability: float) -> float:
        """The delay that this part of the jobs, from 0 to less than 1, stays below."""
        return -self.mean * math.log1p(-probability)

    def looks(self, time: float) -> float:
        """The integral of √h from 0 to ``time``."""
        return max(0.0, time) / math.sqrt(self.mean)

    def when(self, looks: float) -> float:
        """The time at which ``looks`` is reached."""
        return looks * math.sqrt(self.mean)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """The logarithm of the delay is normal, with the standard deviation ``sigma``: most near ``median``, a few long."""

    median: float
    sigma: float

    @property
    def latest(self) -> float:
        """The longest delay that is ever drawn."""
        return self._time(SIGMAS)

    def cdf(self, time: float) -> float:
        """The probability that a job has ended by ``time``."""
        return _survival(-self._deviation(time)) if time > 0 else 0.0

    def quantile(self, probability: float) -> float:
        """The delay that this part of the jobs, from 0 to less than 1, stays below."""
        below, above = -SIGMAS, SIGMAS
        while below < (middle := (below + above) / 2) < above:
            below, above = (middle, above) if _survival(-middle) <= probability else (below, middle)
        return self._time(below)

    def looks(self, time: float) -> float:
        """The integral of √h from 0 to ``time``."""
        table = _looks(self.sigma)
        place = (self._deviation(time) + SIGMAS) * STEPS if time > 0 else 0.0
        if place <= 0:
            return 0.0
        step = min(int(place), len(table) - 2)
        return math.sqrt(self.median) * (table[step] + (place - step) * (table[step + 1] - table[step]))

    def when(self, looks: float) -> float:
        """The time at which ``looks`` is reached."""
        table, scaled = _looks(self.sigma), looks / math.sqrt(self.median)
        step = min(bisect_right(table, scaled), len(table) - 1) - 1
        part = (scaled - table[step]) / (table[step + 1] - table[step])
        return self._time((step + part) / STEPS - SIGMAS)

    def _deviation(self, time: float) -> float:
        return (math.log(time) - math.log(self.median)) / self.sigma

    def _time(self, deviation: float) -> float:
        return self.median * math.exp(self.sigma * deviation)


Delays = Uniform | Exponential | LogNormal


def _survival(deviation: float) -> float:
    """The probability that a normal number is more than ``deviation`` standard deviations above its mean."""
    return math.erfc(deviation / math.sqrt(2)) / 2


@lru_cache(maxsize=16)
def _looks(sigma: float) -> tuple[float, ...]:
    """A lognormal's integral of √h where its median is 1, at each step of the normal number behind it."""
    middles = ((step + 0.5) / STEPS - SIGMAS for step in range(int(2 * SIGMAS * STEPS)))
    densities = (
        math.sqrt(sigma * math.exp(sigma * at - at * at / 2) / math.sqrt(2 * math.pi) / _survival(at)) for at in middles
    )
    return tuple(accumulate((density / STEPS for density in densities), initial=0.0))
