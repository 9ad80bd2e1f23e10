"""A user's sandbox as JSON: the changes that callers send, the stored document, and the one that is shown."""

import logging
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Self, get_type_hints

from annotated_types import Len
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import from_json, to_json

from translation_server.core import sandbox
from translation_server.core.clock import EPOCH, Clock, VirtualTime, WallTime
from translation_server.core.delays import Delays
from translation_server.core.faults.rules import MOST_RULES, FaultRule
from translation_server.core.request_log import RequestRecord
from translation_server.core.sandbox import SandboxSettings, SandboxState, with_settings
from translation_server.core.scenarios import SCENARIOS
from translation_server.core.webhooks import ENDS, EventName

logger = logging.getLogger(__name__)


def _seed_text(seed: object) -> str:
    """Returns the text of a seed: a number is the same seed as its text. Fractions have several texts."""
    if isinstance(seed, bool) or not isinstance(seed, int | str) or seed == "":
        raise ValueError('must be a whole number or a string that is not empty, such as 42 or "spring"')
    return str(seed)


def _signing_secret(secret: str) -> str:
    """Refuses a secret with which Standard Webhooks cannot sign."""
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not key:
        raise ValueError("must be whsec_ and base64")
    return secret


DEFERRED = ConfigDict(defer_build=True)
"""Builds a model when it is first used: building all models would take a tenth of the start."""

DIGIT = "[A-Za-z0-9+/]"
BASE64 = f"(?:{DIGIT}{{4}})*(?:{DIGIT}{{4}}|{DIGIT}{{3}}=|{DIGIT}{{2}}==)"
"""A regular expression for the base64 of at least one byte."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks begins all secrets
Secret = Annotated[
    str,
    Field(max_length=200, json_schema_extra={"pattern": f"^{SECRET_PREFIX}{BASE64}$"}),
    AfterValidator(_signing_secret),
]


SecretList = Annotated[list[Secret], Field(min_length=1, max_length=5)]
Secrets = Annotated[
    SecretList,
    BeforeValidator(
        lambda secret: [secret] if isinstance(secret, str) else secret, json_schema_input_type=Secret | SecretList
    ),
]


class Receiver(BaseModel):
    """The URL of deliveries, and the secrets that sign them."""

    model_config = DEFERRED | ConfigDict(extra="forbid", strict=True)

    url: str = Field(
        max_length=2000,
        description="where events are posted",
        json_schema_extra={"pattern": "^[hH][tT][tT][pP][sS]?://[!-~]+$"},
    )
    secret: Secrets | None = Field(
        None,
        description="the key that signs the events (Standard Webhooks); several while a secret is replaced",
    )


class WebhookBody(Receiver):
    """Where the events of a job are delivered."""

    events: list[EventName] = Field(
        list(ENDS), min_length=1, description="the events that are posted; by default the ends of the job"
    )


Fault = Annotated[FaultRule, Discriminator("kind")]
Faults = Annotated[tuple[Fault, ...], Len(0, MOST_RULES)]

TYPES = get_type_hints(SandboxSettings, include_extras=True) | {
    "delay": Annotated[Delays, Discriminator("kind")],
    "seed": Annotated[sandbox.Seed, BeforeValidator(_seed_text, json_schema_input_type=int | sandbox.Seed)],
    "faults": Faults,
    "output": JsonValue,
    "webhook": WebhookBody,
}
"""The types of the settings in JSON: as in the core, but seeds may be numbers, and `kind` discriminates unions."""

STRICT = DEFERRED | ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

PATCH_FIELDS: Mapping[str, Any] = {
    setting.name: (TYPES[setting.name] | None, Field(None, **setting.metadata)) for setting in fields(SandboxSettings)
}

SandboxPatch = create_model(
    "SandboxPatch",
    __config__=STRICT,
    __doc__="Changes of a sandbox's settings. Absent ones stay as they are, null restores the server's own value.",
    **PATCH_FIELDS,
)


class ClockChange(BaseModel):
    """Changes of a sandbox's clock; absent ones stay as they are."""

    model_config = STRICT | ConfigDict(json_schema_extra={"minProperties": 1})

    speed: float | None = Field(
        None, ge=1e-6, le=1e6, description="seconds of virtual time that pass in a second of wall time"
    )
    frozen: bool | None = Field(None, description="whether virtual time stands still")
    advance: float = Field(0, ge=0, le=1e9, description="seconds by which to move the clock ahead")

    @model_validator(mode="after")
    def _check_not_empty(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must hold speed, frozen or advance")
        return self


OF_SCENARIOS = frozenset(name for scenario in SCENARIOS.values() for name in scenario.settings)
"""The settings that scenarios set."""


class _Stored(BaseModel):
    """The stored document of a sandbox; see `SandboxState`."""

    model_config = DEFERRED | ConfigDict(extra="forbid")

    reset_at: WallTime = EPOCH
    settings: SandboxPatch = Field(default_factory=SandboxPatch)  # type: ignore[valid-type]  # mypy knows no model that `create_model` makes
    clock: Clock = Clock()
    faults_since: VirtualTime | None = None


FAULT: TypeAdapter[FaultRule] = TypeAdapter(Fault, config=STRICT)
RECORD = TypeAdapter(RequestRecord)


def read_sandbox(text: str | None, defaults: SandboxSettings, started: VirtualTime) -> SandboxState:
    """Returns a user's sandbox from its stored ``text``, with the defaults for settings that the user has not set.

    The fault rules of the defaults count their seconds from ``started`` on, when the server started.
    """
    if text is None:
        return SandboxState(settings=with_settings(defaults, {}), faults_since=started)
    stored = _stored(text)
    return SandboxState(
        settings=with_settings(defaults, _own_settings(stored)),
        clock=stored.clock,
        faults_since=started if stored.faults_since is None else stored.faults_since,
        reset_at=stored.reset_at,
    )


def change_settings(text: str | None, changes: BaseModel, now: VirtualTime) -> str:
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


def restarts_faults(changes: BaseModel) -> bool:
    """Returns whether a change of settings restarts the counts of fault rules."""
    return bool(changes.model_fields_set & {"scenario", "faults"})


def change_clock(text: str | None, change: ClockChange, wall: WallTime) -> str:
    """Returns the text to store after the clock was set at this wall time."""
    stored = _stored(text)
    stored.clock = stored.clock.set(wall, speed=change.speed, frozen=change.frozen, advance=change.advance)
    return stored.model_dump_json(exclude_none=True)


def reset_document(wall: WallTime) -> str:
    """Returns the text to store after the sandbox was reset at this wall time."""
    return _Stored(reset_at=wall).model_dump_json(exclude_none=True)


def unset_clock() -> str:
    """Returns how the stored text of a sandbox shows a clock that was never set."""
    return f'"clock":{to_json(Clock()).decode()}'


def _own_settings(stored: _Stored) -> dict[str, Any]:
    return {name: value for name in TYPES if (value := getattr(stored.settings, name)) is not None}


def _stored(text: str | None) -> _Stored:
    """Reads a stored document, without the settings that an older version accepted and this one refuses."""
    if text is None:
        return _Stored()
    document = _renamed(from_json(text))
    try:
        return _Stored.model_validate_json(to_json(document))
    except ValidationError as error:
        refused = {details["loc"][1] for details in error.errors() if details["loc"][0] == "settings"}
        logger.warning("ignoring stored settings that this version refuses: %s", ", ".join(map(str, refused)))
        document["settings"] = {name: value for name, value in document["settings"].items() if name not in refused}
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
FORMER_FAULTS = {"bare": "no-details", "forgotten": "not-found"}
"""The names in the stored documents of version 0.1.0, and today's names for the same things."""


def _renamed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a stored document under today's names."""

    def renamed(names: Mapping[str, Any]) -> dict[str, Any]:
        return {FORMER_NAMES.get(name, name): value for name, value in names.items()}

    settings = renamed(document.get("settings", {}))
    for rule in settings.get("faults", ()):
        rule["route"] = [FORMER_ROUTES.get(route, route) for route in rule.get("route", ())]
        if rule.get("kind") in FORMER_FAULTS:
            rule["kind"] = FORMER_FAULTS[rule["kind"]]
    clock = [renamed(setting) for setting in document.get("clock", {}).get("settings", ())]
    return renamed(document) | {"settings": settings} | ({"clock": {"settings": clock}} if clock else {})


def settings_document(settings: SandboxSettings | Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings of a sandbox as they are shown: without secrets, and without defaults of fault rules."""
    if isinstance(settings, SandboxSettings):
        settings = {name: getattr(settings, name) for name in TYPES}
    faults = [
        {"kind": rule.kind} | FAULT.dump_python(rule, mode="json", exclude_defaults=True) for rule in settings["faults"]
    ]
    shown: dict[str, Any] = SandboxPatch.model_construct(**settings).model_dump(
        mode="json", exclude_unset=True, exclude={"webhook": {"secret"}}
    )
    return shown | {"faults": faults}
