"""A user's world as JSON: what callers may send of it, what is stored, and what is shown."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, TypeAdapter, ValidationError, model_validator
from pydantic.types import StringConstraints
from pydantic_core import from_json, to_json

from translation_server.core.clock import Clock
from translation_server.core.delays import Delays
from translation_server.core.faults.rules import MOST_RULES, Rule
from translation_server.core.request_log import Entry
from translation_server.core.sandbox import Hints, Sandbox, World, with_settings
from translation_server.core.scenarios import DAYS, DayName

logger = logging.getLogger(__name__)

Delay = Annotated[Delays, Discriminator("kind")]
Fault = Annotated[Rule, Discriminator("kind")]
Text = Annotated[str, StringConstraints(max_length=1000)]


class SandboxSettings(BaseModel):
    """The settings of a sandbox; what is absent, or null, is as the server has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    delay: Delay | None = Field(default=None, description="how long jobs take, in seconds")
    per_video_second: float | None = Field(
        default=None, ge=0, le=1e6, description="seconds that a job takes longer for each second of its video"
    )
    error_probability: float | None = Field(default=None, ge=0, le=1, description="how likely a job ends with `error`")
    hold: bool | None = Field(default=None, description="whether jobs stay pending until they are released or finished")
    seed: Text | None = Field(default=None, description="the same seed, the same fates and faults")
    hints: Hints | None = Field(default=None, description="what hints are made from")
    lateness_worth: float | None = Field(
        default=None, ge=1e-6, le=1e6, description="how many seconds of lateness one request is worth"
    )
    day: DayName | None = Field(default=None, description="a named day: settings under one word")
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


OF_DAYS = frozenset(name for day in DAYS.values() for name in day.settings)
"""What days set."""


class _Stored(BaseModel):
    begun: float = 0.0
    settings: SandboxSettings = SandboxSettings()
    clock: Clock = Clock()
    since: float | None = None


FAULT: TypeAdapter[Rule] = TypeAdapter(Fault, config=ConfigDict(extra="forbid", strict=True))
SANDBOX = TypeAdapter(Sandbox)
ENTRY = TypeAdapter(Entry)


def read_world(text: str | None, defaults: Sandbox, started: float) -> World:
    """The world that was stored; without one, that of the defaults, whose faults count their seconds from the start."""
    stored = _stored(text)
    settings = {name: value for name, value in stored.settings if value is not None}
    return World(
        with_settings(defaults, settings), stored.clock, started if stored.since is None else stored.since, stored.begun
    )


def change_settings(text: str | None, changes: SandboxSettings, moment: float) -> str:
    """What is to be stored once settings have been changed at this moment of the sandbox's clock.

    What was set before of what days set is gone with a new day.
    """
    stored = _stored(text)
    settings = {name: value for name, value in stored.settings if value is not None}
    if "day" in changes.model_fields_set:
        settings = {name: value for name, value in settings.items() if name not in OF_DAYS}
    settings |= {name: value for name, value in changes if name in changes.model_fields_set}
    stored.settings = SandboxSettings.model_construct(**settings)
    if starts_plan(changes):
        stored.since = moment
    return stored.model_dump_json(exclude_none=True)


def _stored(text: str | None) -> _Stored:
    """What was stored, but for settings that an older version took and this one refuses."""
    if text is None:
        return _Stored()
    try:
        return _Stored.model_validate_json(text)
    except ValidationError as error:
        document = from_json(text)
        refused = {found["loc"][1] for found in error.errors() if found["loc"][0] == "settings"}
        logger.warning("stored settings that this version refuses are left out: %s", ", ".join(map(str, refused)))
        document["settings"] = {name: document["settings"][name] for name in document["settings"].keys() - refused}
        return _Stored.model_validate_json(to_json(document))


def begin_anew(real: float) -> str:
    """What is to be stored of a sandbox that was emptied at this real time."""
    return _Stored(begun=real).model_dump_json(exclude_none=True)


def starts_plan(changes: SandboxSettings) -> bool:
    """Whether faults begin to count anew."""
    return bool(changes.model_fields_set & {"day", "faults"})


def change_clock(text: str | None, change: ClockChange, real: float) -> str:
    """What is to be stored once the clock has been set at this real time."""
    stored = _stored(text)
    stored.clock = stored.clock.set(real, speed=change.speed, frozen=change.frozen, advance=change.advance)
    return stored.model_dump_json(exclude_none=True)


def shown_sandbox(sandbox: Sandbox) -> dict[str, Any]:
    """The settings of a sandbox as they are shown."""
    shown: dict[str, Any] = SANDBOX.dump_python(sandbox, mode="json")
    delay = {"kind": sandbox.delay.kind} | shown["delay"]
    return shown | {"delay": delay, "faults": [_shown_rule(rule) for rule in sandbox.faults]}


def shown_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Some settings of a sandbox as they are shown."""
    faults = [_shown_rule(rule) for rule in settings["faults"]]
    return SandboxSettings.model_construct(**settings).model_dump(mode="json", exclude_none=True) | {"faults": faults}


def _shown_rule(rule: Rule) -> dict[str, Any]:
    shown: dict[str, Any] = FAULT.dump_python(rule, mode="json", exclude_defaults=True)
    return {"kind": rule.kind} | shown
