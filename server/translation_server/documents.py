"""A user's sandbox as JSON: what callers may send of it, what is stored, and what is shown."""

import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.types import StringConstraints
from pydantic_core import from_json, to_json

from translation_server.core.clock import Clock
from translation_server.core.delays import Delays
from translation_server.core.faults.rules import MOST_RULES, FaultRule
from translation_server.core.request_log import RequestRecord
from translation_server.core.sandbox import Hints, SandboxSettings, SandboxState, with_settings
from translation_server.core.scenarios import SCENARIOS, ScenarioName

logger = logging.getLogger(__name__)

Delay = Annotated[Delays, Discriminator("kind")]
Fault = Annotated[FaultRule, Discriminator("kind")]
Text = Annotated[str, StringConstraints(max_length=1000)]


def _seed_text(given: object) -> str:
    """The text of a seed: a number is the same seed as its text, and a whole number has no decimal point."""
    match given:
        case bool():
            pass
        case float() if math.isfinite(given):
            return str(int(given) if given.is_integer() else given)
        case int() | str():
            return str(given)
    raise ValueError("must be a number or a string")


Seed = Annotated[Text, BeforeValidator(_seed_text, json_schema_input_type=int | float | Text)]


class SandboxPatch(BaseModel):
    """The settings of a sandbox; what is absent, or null, is as the server has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    delay: Delay | None = Field(default=None, description="how long jobs take, in seconds")
    per_video_second: float | None = Field(
        default=None, ge=0, le=1e6, description="seconds that a job takes longer for each second of its video"
    )
    error_probability: float | None = Field(default=None, ge=0, le=1, description="how likely a job ends with `error`")
    paused: bool | None = Field(
        default=None, description="whether new jobs stay pending until they are unpaused or finished"
    )
    seed: Seed | None = Field(
        default=None, description="the same seed, the same fates and faults; a number is the same seed as its text"
    )
    hints: Hints | None = Field(default=None, description="what hints are made from")
    poll_cost: float | None = Field(
        default=None, ge=1e-6, le=1e6, description="how many seconds of lateness one poll is worth"
    )
    scenario: ScenarioName | None = Field(default=None, description="a named set of faults and settings")
    faults: Annotated[tuple[Fault, ...], Field(max_length=MOST_RULES)] | None = Field(
        default=None, description="what goes wrong; the first rule that fires for a request counts"
    )


class ClockChange(BaseModel):
    """How to set a sandbox's clock; what is absent stays as it is."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"minProperties": 1})

    speed: float | None = Field(default=None, ge=1e-6, le=1e6, description="seconds that pass for each real second")
    frozen: bool | None = Field(default=None, description="whether time stands still")
    advance: float = Field(default=0, ge=0, le=1e9, description="seconds to jump ahead")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must hold speed, frozen or advance")
        return self


OF_SCENARIOS = frozenset(name for scenario in SCENARIOS.values() for name in scenario.settings)
"""The settings that scenarios set."""


class _Stored(BaseModel):
    begun: float = 0.0
    settings: SandboxPatch = SandboxPatch()
    clock: Clock = Clock()
    since: float | None = None


FAULT: TypeAdapter[FaultRule] = TypeAdapter(Fault, config=ConfigDict(extra="forbid", strict=True))
SANDBOX = TypeAdapter(SandboxSettings)
RECORD = TypeAdapter(RequestRecord)


def read_sandbox(text: str | None, defaults: SandboxSettings, started: float) -> SandboxState:
    """The world that was stored; without one, that of the defaults, whose faults count their seconds from the start."""
    stored = _stored(text)
    settings = {name: value for name, value in stored.settings if value is not None}
    return SandboxState(
        with_settings(defaults, settings), stored.clock, started if stored.since is None else stored.since, stored.begun
    )


def change_settings(text: str | None, changes: SandboxPatch, moment: float) -> str:
    """The text to store after settings were changed at this moment of the sandbox's clock.

    A new scenario removes what was set before of the settings that scenarios set.
    """
    stored = _stored(text)
    settings = {name: value for name, value in stored.settings if value is not None}
    if "scenario" in changes.model_fields_set:
        settings = {name: value for name, value in settings.items() if name not in OF_SCENARIOS}
    settings |= {name: value for name, value in changes if name in changes.model_fields_set}
    stored.settings = SandboxPatch.model_construct(**settings)
    if starts_plan(changes):
        stored.since = moment
    return stored.model_dump_json(exclude_none=True)


def _stored(text: str | None) -> _Stored:
    """The stored document, without the settings that an older version accepted and this one refuses."""
    if text is None:
        return _Stored()
    with suppress(ValidationError):
        return _Stored.model_validate_json(text)
    document = from_json(text)
    settings = document["settings"] = _renamed(document["settings"])
    try:
        return _Stored.model_validate_json(to_json(document))
    except ValidationError as error:
        refused = {found["loc"][1] for found in error.errors() if found["loc"][0] == "settings"}
        logger.warning("ignoring stored settings that this version refuses: %s", ", ".join(map(str, refused)))
        document["settings"] = {name: settings[name] for name in settings.keys() - refused}
        return _Stored.model_validate_json(to_json(document))


FORMER_SETTINGS = {"day": "scenario", "hold": "paused", "lateness_worth": "poll_cost"}
FORMER_ROUTES = {"look": "poll", "bulk": "batch_poll"}
"""Names in stored documents of version 0.1.0, and what they are called today."""


def _renamed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings under today's names."""
    renamed = {FORMER_SETTINGS.get(name, name): value for name, value in settings.items()}
    for rule in renamed.get("faults", ()):
        rule["route"] = [FORMER_ROUTES.get(route, route) for route in rule.get("route", ())]
    return renamed


def begin_anew(real: float) -> str:
    """What is to be stored of a sandbox that was emptied at this real time."""
    return _Stored(begun=real).model_dump_json(exclude_none=True)


def starts_plan(changes: SandboxPatch) -> bool:
    """Whether faults begin to count anew."""
    return bool(changes.model_fields_set & {"scenario", "faults"})


def change_clock(text: str | None, change: ClockChange, real: float) -> str:
    """What is to be stored once the clock has been set at this real time."""
    stored = _stored(text)
    stored.clock = stored.clock.set(real, speed=change.speed, frozen=change.frozen, advance=change.advance)
    return stored.model_dump_json(exclude_none=True)


def shown_sandbox(settings: SandboxSettings) -> dict[str, Any]:
    """The settings of a sandbox as they are shown."""
    shown: dict[str, Any] = SANDBOX.dump_python(settings, mode="json")
    delay = {"kind": settings.delay.kind} | shown["delay"]
    return shown | {"delay": delay, "faults": [_shown_rule(rule) for rule in settings.faults]}


def shown_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Some settings of a sandbox as they are shown."""
    faults = [_shown_rule(rule) for rule in settings["faults"]]
    return SandboxPatch.model_construct(**settings).model_dump(mode="json", exclude_none=True) | {"faults": faults}


def _shown_rule(rule: FaultRule) -> dict[str, Any]:
    shown: dict[str, Any] = FAULT.dump_python(rule, mode="json", exclude_defaults=True)
    return {"kind": rule.kind} | shown
