"""A sandbox's time: a function of real time that can run faster, stand still, and jump ahead; it never goes back.

Real times are seconds since the epoch, moments are the same on the sandbox's clock, speeds are sandbox seconds per
real second.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

LATEST = 250e9
"""The moment at which every clock stops, in the ten thousandth year, which is the last that a timestamp can tell."""

REMEMBERED = 100
"""How many of its latest settings a clock remembers."""


@dataclass(frozen=True, slots=True)
class Setting:
    """From the real time ``real`` on, when the clock showed ``moment``, it goes at ``speed``, unless it is frozen."""

    real: float = 0.0
    moment: float = 0.0
    speed: float = 1.0
    frozen: bool = False

    @property
    def rate(self) -> float:
        """Sandbox seconds per real second, 0 while it is frozen."""
        return 0.0 if self.frozen else self.speed

    def at(self, real: float) -> float:
        """What it shows at a real time."""
        return min(LATEST, self.moment + max(0.0, real - self.real) * self.rate)


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock with its latest settings, the oldest first; without any it shows the real time."""

    settings: tuple[Setting, ...] = (Setting(),)

    @property
    def now(self) -> Setting:
        """How the clock is set now."""
        return self.settings[-1]

    @property
    def shows_wall_time(self) -> bool:
        """Whether it was never set, so that its moments are real times."""
        return not self.settings[-1].real

    def at(self, real: float) -> float:
        """The moment that it shows, or showed, at a real time."""
        for setting in reversed(self.settings):
            if setting.real <= real:
                return setting.at(real)
        return self.settings[0].at(real)

    def seconds_to(self, moment: float, real: float) -> float:
        """Real seconds from now until it shows a moment: none if it has, infinitely many while it is frozen."""
        left = moment - self.at(real)
        if left <= 0:
            return 0.0
        return left / self.now.rate if self.now.rate and moment <= LATEST else math.inf

    def set(
        self, real: float, *, speed: float | None = None, frozen: bool | None = None, advance: float = 0.0
    ) -> "Clock":
        """The clock set anew at a real time; what is not given stays as it is."""
        setting = Setting(
            real,
            min(LATEST, self.at(real) + advance),
            self.now.speed if speed is None else speed,
            self.now.frozen if frozen is None else frozen,
        )
        return replace(self, settings=(*self.settings, setting)[-REMEMBERED:])

    def real(self, moment: float) -> float:
        """The real time at which it first showed a moment, as far as its settings are remembered."""
        for setting, until in self._spans():
            if moment <= setting.moment:
                return setting.real
            if setting.rate and (real := setting.real + (moment - setting.moment) / setting.rate) < until:
                return real
        return math.inf

    def _spans(self) -> Iterator[tuple[Setting, float]]:
        for setting, following in pairwise(self.settings):
            yield setting, following.real
        yield self.now, math.inf
