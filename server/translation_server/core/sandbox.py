"""A user's sandbox: its settings, from which each job's fate is drawn, and its clock."""

# ruff: noqa: RUF009 - `_setting` is `dataclasses.field`

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from annotated_types import Interval, Len

from translation_server.core.clock import EPOCH, Clock, VirtualTime, WallTime
from translation_server.core.delays import Delays, Uniform
from translation_server.core.entropy import uniform
from translation_server.core.faults.rules import FaultRule
from translation_server.core.job import Fate, State, json_text
from translation_server.core.scenarios import SCENARIOS, ScenarioName

MAX_SEED_LENGTH = 1000
MAX_POLLS = 1000  # after how many polls a job may end at most

SecondsPerSecond = Annotated[float, Interval(ge=0, le=1e6)]
Probability = Annotated[float, Interval(ge=0, le=1)]
Seed = Annotated[str, Len(1, MAX_SEED_LENGTH)]
Polls = Annotated[int, Interval(ge=1, le=MAX_POLLS)]
Hints = Literal["honest", "exact", "none"]
PollCost = Annotated[float, Interval(ge=1e-6, le=1e6)]


def _setting(default: object, description: str) -> Any:  # noqa: ANN401 - as `dataclasses.field` has it
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """The settings of a sandbox.

    This is the only place for their types, limits, defaults and descriptions. The model of requests that change them,
    the server's own settings and the arguments of `TranslationServer` are derived from it.
    """

    delay: Delays = _setting(Uniform(3, 7), "how long jobs take, in seconds")
    per_video_second: SecondsPerSecond = _setting(0, "extra seconds that a job takes for each second of its video")
    error_probability: Probability = _setting(0.3, "the probability that a job ends with `error`")
    after_polls: Polls | None = _setting(
        None, "new jobs end at this poll, whatever the clock says; 1 ends them at the first one"
    )
    paused: bool = _setting(False, "whether new jobs stay pending until they are unpaused or finished")
    seed: Seed | None = _setting(
        None,
        "a seed for random numbers: the same seed gives the same delays, outcomes and faults. "
        '`42` and `"42"` are the same seed',
    )
    hints: Hints = _setting(
        "honest",
        "how hints are computed: `honest` from the delays, `exact` from the job's actual end; `none` sends no hints",
    )
    poll_cost: PollCost = _setting(
        0.25,
        "the cost of one poll, in seconds of lateness (the time from a job's end until the client knows it); "
        "a higher cost means fewer polls",
    )
    output: object = _setting(None, "the output of jobs that complete, any JSON; if not set, that of their dialect")
    webhook: object = _setting(None, "where the events of new jobs are delivered, unless a job has its own webhook")
    scenario: ScenarioName | None = _setting(
        None, f"a named set of faults and settings: {', '.join(f'`{name}`' for name in SCENARIOS)}"
    )
    faults: tuple[FaultRule, ...] = _setting((), "the fault rules; the first one that fires for a request counts")

    def extra_delay(self, video_length: float | None) -> float:
        """Returns how many seconds longer a job takes for its video."""
        return self.per_video_second * (video_length or 0.0)

    def fate(self, entropy: bytes, video_length: float | None = None) -> Fate:
        """Draws a job's fate from 16 random bytes. The same bytes give the same fate."""
        delay, outcome = uniform(entropy[:8]), uniform(entropy[8:])
        seconds = self.delay.quantile(delay) + self.extra_delay(video_length)
        return Fate(
            delay=seconds if self.after_polls is None else math.inf,
            outcome=State.ERROR if outcome < self.error_probability else State.COMPLETED,
            after_polls=self.after_polls,
            output=None if self.output is None else json_text(self.output),
        )


def with_settings(defaults: SandboxSettings, settings: Mapping[str, Any]) -> SandboxSettings:
    """Returns the settings: the user's own override the scenario's, and these override the server's.

    The server's own fault rules override those of the server's scenario, but not those of a scenario that the user has
    chosen.
    """
    scenario: ScenarioName | None = settings.get("scenario", defaults.scenario)
    of_scenario = {} if scenario is None else SCENARIOS[scenario].settings
    own_faults = {"faults": defaults.faults} if defaults.faults and "scenario" not in settings else {}
    return replace(defaults, **{**of_scenario, **own_faults, **settings})


@dataclass(frozen=True, slots=True)
class SandboxState:
    """A user's sandbox."""

    settings: SandboxSettings
    clock: Clock = field(default_factory=Clock)
    faults_since: VirtualTime = VirtualTime(EPOCH)  # the virtual time from which its fault rules count their seconds
    reset_at: WallTime = EPOCH  # the wall time at which it was last reset
