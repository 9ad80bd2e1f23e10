"""A sandbox's clock: virtual time as a function of wall time. It can run faster, stand still, and jump ahead.

Both times are in seconds since the epoch. Virtual time never goes back.
"""

import math
from dataclasses import dataclass, replace
from typing import NewType

WallTime = NewType("WallTime", float)
VirtualTime = NewType("VirtualTime", float)

EPOCH = WallTime(0.0)

LATEST = VirtualTime(250e9)
"""The virtual time at which every clock stops: in the year 9892, close to the last one that a timestamp can hold."""

MAX_SETTINGS = 100  # how many of its latest settings a clock keeps


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a clock, valid from the wall time ``wall`` on, when the clock shows ``virtual``.

    ``speed`` is in seconds of virtual time per second of wall time. A frozen clock keeps its speed for later.
    """

    wall: WallTime
    virtual: VirtualTime
    speed: float = 1.0
    frozen: bool = False

    @property
    def rate(self) -> float:
        """The speed, or 0 while the clock is frozen."""
        return 0.0 if self.frozen else self.speed

    def virtual_at(self, wall: WallTime) -> VirtualTime:
        """Returns what the clock shows at a wall time."""
        return VirtualTime(min(LATEST, self.virtual + max(0.0, wall - self.wall) * self.rate))


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock with its latest settings, the oldest first. One that was never set shows wall time."""

    settings: tuple[Setting, ...] = (Setting(EPOCH, VirtualTime(EPOCH)),)

    @property
    def current(self) -> Setting:
        """The current setting."""
        return self.settings[-1]

    @property
    def shows_wall_time(self) -> bool:
        """Whether the clock was never set."""
        return not self.settings[-1].wall

    def virtual(self, wall: WallTime) -> VirtualTime:
        """Returns the virtual time at a wall time, which may be in the past."""
        for setting in reversed(self.settings):
            if setting.wall <= wall:
                return setting.virtual_at(wall)
        return self.settings[0].virtual_at(wall)

    def wall(self, virtual: VirtualTime) -> WallTime:
        """Returns the wall time at which the clock first showed a virtual time, by the settings that it keeps."""
        ends = (*(following.wall for following in self.settings[1:]), math.inf)
        for setting, until in zip(self.settings, ends, strict=True):
            if virtual <= setting.virtual:
                return setting.wall
            if setting.rate and (wall := setting.wall + (virtual - setting.virtual) / setting.rate) < until:
                return WallTime(wall)
        return WallTime(math.inf)

    def seconds_to(self, virtual: VirtualTime, wall: WallTime) -> float:
        """Returns how many seconds after a wall time the clock shows a virtual time.

        That is 0 if the clock has passed this time already, and infinity while it is frozen.
        """
        left = virtual - self.virtual(wall)
        if left <= 0:
            return 0.0
        return left / self.current.rate if self.current.rate and virtual <= LATEST else math.inf

    def set(
        self, wall: WallTime, *, speed: float | None = None, frozen: bool | None = None, advance: float = 0.0
    ) -> "Clock":
        """Returns the clock with a new setting from a wall time on; options that are None stay as they are."""
        setting = Setting(
            wall,
            VirtualTime(min(LATEST, self.virtual(wall) + advance)),
            self.current.speed if speed is None else speed,
            self.current.frozen if frozen is None else frozen,
        )
        return replace(self, settings=(*self.settings, setting)[-MAX_SETTINGS:])
