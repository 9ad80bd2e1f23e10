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
    """What is stored of a sandbox; see `SandboxState`."""

    model_config = ConfigDict(extra="forbid")

    reset_at: float = 0.0
    settings: SandboxPatch = SandboxPatch()
    clock: Clock = Clock()
    faults_since: float | None = None


FAULT: TypeAdapter[FaultRule] = TypeAdapter(Fault, config=ConfigDict(extra="forbid", strict=True))
SANDBOX = TypeAdapter(SandboxSettings)
RECORD = TypeAdapter(RequestRecord)


def read_sandbox(text: str | None, defaults: SandboxSettings, started: float) -> SandboxState:
    """Returns a user's sandbox.

    Args:
        text: What is stored of it, if anything.
        defaults: The settings that the user has not set.
        started: When the server started: the fault rules of the defaults count their seconds from then on.
    """
    stored = _stored(text)
    return SandboxState(
        settings=with_settings(defaults, _own_settings(stored)),
        clock=stored.clock,
        faults_since=started if stored.faults_since is None else stored.faults_since,
        reset_at=stored.reset_at,
    )


def change_settings(text: str | None, changes: SandboxPatch, now: float) -> str:
    """Returns the text to store after the settings were changed at this virtual time.

    A new scenario removes the user's own settings of the kind that scenarios set.
    """
    stored = _stored(text)
    settings = _own_settings(stored)
    if "scenario" in changes.model_fields_set:
        settings = {name: value for name, value in settings.items() if name not in OF_SCENARIOS}
    settings |= {name: value for name, value in changes if name in changes.model_fields_set}
    stored.settings = SandboxPatch.model_construct(**settings)
    if restarts_faults(changes):
        stored.faults_since = now
    return stored.model_dump_json(exclude_none=True)


def restarts_faults(changes: SandboxPatch) -> bool:
    """Returns whether a change of settings lets fault rules count anew."""
    return bool(changes.model_fields_set & {"scenario", "faults"})


def change_clock(text: str | None, change: ClockChange, wall: float) -> str:
    """Returns the text to store after the clock was set at this wall time."""
    stored = _stored(text)
    stored.clock = stored.clock.set(wall, speed=change.speed, frozen=change.frozen, advance=change.advance)
    return stored.model_dump_json(exclude_none=True)


def reset_document(wall: float) -> str:
    """Returns the text to store after the sandbox was reset at this wall time."""
    return _Stored(reset_at=wall).model_dump_json(exclude_none=True)


def _own_settings(stored: _Stored) -> dict[str, Any]:
    return {name: value for name, value in stored.settings if value is not None}


def _stored(text: str | None) -> _Stored:
    """Reads a stored document, without the settings that an older version accepted and this one refuses."""
    if text is None:
        return _Stored()
    with suppress(ValidationError):
        return _Stored.model_validate_json(text)
    document = _renamed(from_json(text))
    try:
        return _Stored.model_validate_json(to_json(document))
    except ValidationError as error:
        refused = {found["loc"][1] for found in error.errors() if found["loc"][0] == "settings"}
        logger.warning("ignoring stored settings that this version refuses: %s", ", ".join(map(str, refused)))
        for name in refused:
            document["settings"].pop(name)
        return _Stored.model_validate_json(to_json(document))


FORMER_NAMES = {
    "begun": "reset_at",
    "since": "faults_since",
    "day": "scenario",
    "hold": "paused",
    "lateness_worth": "poll_cost",
    "real": "wall",
    "moment": "virtual",
}
FORMER_ROUTES = {"look": "poll", "bulk": "batch_poll"}
"""Names in the stored documents of version 0.1.0, and what they are called today."""


def _renamed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a stored document under today's names."""

    def renamed(names: Mapping[str, Any]) -> dict[str, Any]:
        return {FORMER_NAMES.get(name, name): value for name, value in names.items()}

    document = renamed(document)
    if "settings" in document:
        document["settings"] = renamed(document["settings"])
        for rule in document["settings"].get("faults", ()):
            rule["route"] = [FORMER_ROUTES.get(route, route) for route in rule.get("route", ())]
    if "clock" in document:
        document["clock"] = {"settings": [renamed(setting) for setting in document["clock"]["settings"]]}
    return document


def settings_document(settings: SandboxSettings) -> dict[str, Any]:
    """The settings of a sandbox as they are shown."""
    shown: dict[str, Any] = SANDBOX.dump_python(settings, mode="json")
    delay = {"kind": settings.delay.kind} | shown["delay"]
    return shown | {"delay": delay, "faults": [_shown_rule(rule) for rule in settings.faults]}


def scenario_document(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Some settings of a sandbox as they are shown."""
    faults = [_shown_rule(rule) for rule in settings["faults"]]
    return SandboxPatch.model_construct(**settings).model_dump(mode="json", exclude_none=True) | {"faults": faults}


def _shown_rule(rule: FaultRule) -> dict[str, Any]:
    shown: dict[str, Any] = FAULT.dump_python(rule, mode="json", exclude_defaults=True)
    return {"kind": rule.kind} | shown
