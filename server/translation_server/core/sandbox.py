"""One user's world: how long their jobs take and how they end, what goes wrong, and what time it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from translation_server.core.clock import Clock
from translation_server.core.delays import Delays, Uniform
from translation_server.core.entropy import uniform
from translation_server.core.faults.rules import FaultRule
from translation_server.core.job import Fate, State
from translation_server.core.scenarios import SCENARIOS, ScenarioName

Hints = Literal["honest", "exact", "none"]
"""What hints are made from: the delays that jobs take, the very job's fate, or nothing: there are none."""


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """The settings of a user's world.

    Attributes:
        delay: How long jobs take, in seconds.
        per_video_second: How many seconds longer a job takes for each second of its video.
        error_probability: How likely a job ends with ``error``.
        paused: Whether new jobs are paused, until they are unpaused or finished.
        seed: The same seed, the same fates and faults.
        hints: What hints are made from.
        poll_cost: How many seconds of lateness one poll is worth: the higher it is, the fewer polls the hints ask for.
        scenario: The scenario, whose settings hold where the user has set nothing.
        faults: What goes wrong; the first rule that fits a request counts.
    """

    delay: Delays = field(default_factory=lambda: Uniform(3, 7))
    per_video_second: float = 0.0
    error_probability: float = 0.3
    paused: bool = False
    seed: str | None = None
    hints: Hints = "honest"
    poll_cost: float = 0.25
    scenario: ScenarioName | None = None
    faults: tuple[FaultRule, ...] = ()

    def longer(self, video_length: float | None) -> float:
        """Seconds that a job takes longer for its video's length."""
        return self.per_video_second * (video_length or 0.0)

    def fate(self, entropy: bytes, video_length: float | None = None) -> Fate:
        """Draws a job's fate from 16 random bytes: the same bytes, the same fate."""
        delay, outcome = uniform(entropy[:8]), uniform(entropy[8:])
        return Fate(
            delay=self.delay.quantile(delay) + self.longer(video_length),
            outcome=State.ERROR if outcome < self.error_probability else State.COMPLETED,
        )


def with_settings(defaults: SandboxSettings, settings: Mapping[str, Any]) -> SandboxSettings:
    """The sandbox with a user's own settings, which win over those of the scenario, which win over the server's.

    The server's own faults win over those of the server's scenario, but not over those of a scenario that the user has
    chosen.
    """
    scenario: ScenarioName | None = settings.get("scenario", defaults.scenario)
    of_scenario = {} if scenario is None else SCENARIOS[scenario].settings
    own = {"faults": defaults.faults} if defaults.faults and "scenario" not in settings else {}
    return replace(defaults, **{**of_scenario, **own, **settings})


@dataclass(frozen=True, slots=True)
class SandboxState:
    """A user's sandbox.

    Attributes:
        settings: Its settings.
        clock: Its clock.
        faults_since: The virtual time from which its fault rules count their seconds.
        reset_at: The wall time at which it was last reset.
    """

    settings: SandboxSettings
    clock: Clock = field(default_factory=Clock)
    faults_since: float = 0.0
    reset_at: float = 0.0
