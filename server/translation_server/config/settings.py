"""The environment and `.env` as one frozen object; the environment wins.

Each field is one setting: its name in capitals is the variable, ``description`` is what the documentation says of it,
and ``Must`` what a person is told whose value is unusable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from translation_server.core.delays import KINDS, Delays
from translation_server.core.scenarios import SCENARIOS, ScenarioName

ENV_FILE = ".env"

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""What Basic authentication can carry neither in a name nor in a password."""


FORMULA = re.compile(r"\s*(\w+)\s*\((.*)\)\s*")

DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
FOREVER = "forever"
LONGEST_PASSWORD = 1024
"""Bytes."""
LONGEST = 1e9
"""Seconds."""


class SettingsError(Exception):
    """A setting is unusable; the message is a line for each, with its name, its value and what it must be."""


@dataclass(frozen=True, slots=True)
class Must:
    """What a value of this type has to be, as the end of a sentence."""

    be: str


def _sendable(text: str | None) -> str | None:
    """Refuses what Basic authentication cannot carry: control characters, and bytes that were no UTF-8."""
    if text is not None and CONTROL.search(text.encode().decode()):
        raise ValueError
    return text


def _sendable_secret(secret: SecretStr | None) -> SecretStr | None:
    """Refuses what Basic authentication cannot carry, and what is longer than a password that is ever checked."""
    text = _sendable(None if secret is None else secret.get_secret_value())
    if text is not None and len(text.encode()) > LONGEST_PASSWORD:
        raise ValueError
    return secret


def _networks(text: str | None) -> str | None:
    """Refuses what is no list of networks, and networks that hold every address: anybody could choose theirs."""
    if text is not None and not all(ip_network(part.strip()).prefixlen for part in text.split(",")):
        raise ValueError
    return text


def _every(form: re.Pattern[str]) -> AfterValidator:
    """Refuses a list, separated by commas, of which a part is not of this form."""

    def check(text: str | None) -> str | None:
        if text is not None and not all(form.fullmatch(part.strip()) for part in text.split(",")):
            raise ValueError
        return text

    return AfterValidator(check)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _delays(given: object) -> object:
    """A distribution as it is written in a formula."""
    if given is None or isinstance(given, Delays):
        return given
    form = FORMULA.fullmatch(given.lower()) if isinstance(given, str) else None
    if form is None or form[1] not in KINDS:
        raise ValueError
    names = [field.name for field in fields(KINDS[form[1]]) if field.name != "kind"]
    numbers = [float(number) for number in form[2].split(",")]
    try:
        return TypeAdapter(KINDS[form[1]]).validate_python(dict(zip(names, numbers, strict=True)))
    except ValidationError:
        raise ValueError from None


def _duration(given: object) -> object:
    """A duration in seconds as it is written with its unit; None for one without an end."""
    text = given.strip().lower() if isinstance(given, str) else ""
    if text == FOREVER:
        return None
    found = DURATION.fullmatch(text)
    seconds = float(found[1]) * UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST:
        raise ValueError
    return seconds


Name = Annotated[
    str | None,
    Field(pattern=r"^[^:]+$"),
    AfterValidator(_sendable),
    Must("be a name without colon or control characters"),
]
Password = Annotated[
    SecretStr | None,
    AfterValidator(_sendable_secret),
    Must(f"be UTF-8 text without control characters, of {LONGEST_PASSWORD} bytes at most"),
]
File = Annotated[Path | None, Must("be a path")]
Text = Annotated[str | None, Must("be text")]
Seconds = Annotated[
    float, Field(ge=0, le=1e9, allow_inf_nan=False), Must("be a number of seconds from 0 to 1000000000")
]
Probability = Annotated[float, Field(ge=0, le=1), Must("be a number from 0 to 1")]
PollCost = Annotated[
    float, Field(ge=1e-6, le=1e6, allow_inf_nan=False), Must("be a number of seconds from 0.000001 to 1000000")
]
Port = Annotated[int, Field(ge=0, le=65_535), Must("be a whole number from 0 to 65535")]
Switch = Annotated[Literal["on", "off"], BeforeValidator(_lower), Must("be on or off")]
Count = Annotated[int, Field(ge=1, le=256), Must("be a whole number from 1 to 256")]
Hints = Annotated[Literal["honest", "exact", "none"], BeforeValidator(_lower), Must("be honest, exact or none")]
Delay = Annotated[
    Delays | None,
    BeforeValidator(_delays),
    Must("be fixed(s), uniform(min, max), lognormal(median, sigma) or exponential(mean), in seconds"),
]
ScenarioSetting = Annotated[ScenarioName | None, BeforeValidator(_lower), Must(f"be one of {', '.join(SCENARIOS)}")]
CachedJob = Annotated[int, Field(ge=0, le=1_000_000), Must("be a whole number from 0 to 1000000")]
Connections = Annotated[int, Field(ge=1, le=1_000_000), Must("be a whole number from 1 to 1000000")]
Timeout = Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False), Must("be a number of seconds from 1 to 3600")]
Rate = Annotated[
    float, Field(ge=1, le=1e9, allow_inf_nan=False), Must("be a number of bytes a second from 1 to 1000000000")
]
Retention = Annotated[
    float | None,
    BeforeValidator(_duration),
    Must(f"be a time like 7d, 12h, 30m or 90s, or {FOREVER}"),
]
Proxies = Annotated[
    str | None,
    AfterValidator(_networks),
    Must("be addresses and networks, separated by commas, not *"),
]
HostNames = Annotated[
    str | None,
    _every(re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*\.?", re.ASCII)),
    Must("be * or names without a port, such as api.example or *.api.example, separated by commas"),
]
Origins = Annotated[
    str | None,
    _every(re.compile(r"[a-z][a-z0-9+.-]*://([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)),
    Must("be origins such as https://app.example or http://localhost:3000, separated by commas"),
]
Level = Annotated[
    Literal["debug", "info", "warning", "error"],
    BeforeValidator(_lower),
    Must("be debug, info, warning or error"),
]
Format = Annotated[Literal["text", "json"], BeforeValidator(_lower), Must("be text or json")]


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    api_username: Name = Field(default=None, description="the user's name; required")
    api_password: Password = Field(default=None, description="the user's password; required")
    api_password_file: File = Field(
        default=None, description="a file to read the password from instead (Docker secrets)"
    )
    users_file: File = Field(
        default=None, description="an htpasswd file of users (bcrypt, argon2), instead of the three above"
    )
    auth: Switch = Field(default="on", description="`off` lets everybody in, on the loopback interface only")
    min_delay: Seconds = Field(default=3, description="seconds before a job ends, at least")
    max_delay: Seconds = Field(default=7, description="seconds before a job ends, at most")
    delay: Delay = Field(
        default=None,
        description="instead of the two above: `fixed(5)`, `uniform(3, 7)`, `lognormal(600, 0.5)` or `exponential(30)`",
    )
    per_video_second: Seconds = Field(
        default=0, description="seconds that a job takes longer for each second of its video"
    )
    error_probability: Probability = Field(default=0.3, description="the probability that a job ends with `error`")
    seed: Text = Field(default=None, description="the same seed, the same fates")
    hints: Hints = Field(
        default="honest",
        description="what hints are made from: `honest` the delays, `exact` the job's own fate, `none` nothing",
    )
    poll_cost: PollCost = Field(default=0.25, description="how many seconds of lateness one poll is worth")
    sandbox: Switch = Field(default="on", description="`off` serves only: nobody can set anything, nothing goes wrong")
    scenario: ScenarioSetting = Field(
        default=None,
        description="a named set of faults and settings: "
        "`perfect`, `flaky`, `overloaded`, `outage`, `slow-network`, `liar` or `stuck`",
    )
    faults: File = Field(default=None, description="a TOML file of what goes wrong")
    request_log: CachedJob = Field(default=10_000, description="how many requests each user's request log keeps")
    database_url: str = Field(default="sqlite:///data/jobs.db", repr=False, description="where jobs are kept")
    retention: Retention = Field(  # type: ignore[assignment]  # the default is read like any other value
        default="7d", description="how long jobs are kept after their end: `7d`, `12h`, `30m`, `90s`, or `forever`"
    )
    dialects: File = Field(default=None, description="a TOML file of wire formats to serve besides our own")
    host: str = Field(default="127.0.0.1", description="the address to listen on")
    port: Port = Field(default=8000, description="the port to listen on; 0 takes a free one")
    workers: Count = Field(default=1, description="how many processes serve")
    forwarded_allow_ips: Proxies = Field(
        default=None,
        description="addresses and networks of proxies in front: whom their `X-Forwarded-For` names is who counts",
    )
    max_connections: Connections = Field(
        default=16_384,
        description="how many connections one process keeps, as far as its descriptors (`ulimit -n`) reach; "
        "beyond that, idle ones and those with an incomplete head are closed first",
    )
    max_connections_per_address: Connections | None = Field(
        default=None,
        description="how many of them may come from one address, loopback and proxies that are believed excepted; "
        "unless set, three quarters of all",
    )
    head_timeout: Timeout = Field(default=10, description="seconds within which a request's head has to come")
    min_rate: Rate = Field(
        default=1024,
        description="bytes a second that a body has to come at, and an answer to be taken at, after some grace "
        "(10 seconds, 60 seconds)",
    )
    allowed_hosts: HostNames = Field(
        default=None,
        description="the names that the server answers to, besides every IP address: `api.example`, `*.api.example`, "
        "or `*` for all; unless set, the names of this machine, of its container and of the services in Compose",
    )
    trusted_origins: Origins = Field(
        default=None,
        description="the origins of pages elsewhere that may change something through a browser, "
        "such as `https://app.example`",
    )
    log_level: Level = Field(default="info", description="how much is logged: debug, info, warning or error")
    log_file: File = Field(default=None, description="a file that the log goes to as well as to stderr")
    log_format: Format = Field(default="text", description="text for people, json for machines")

    @property
    def credentials(self) -> tuple[str, str]:
        """The one user's name and password; empty where there is a users' file instead."""
        return self.api_username or "", self.api_password.get_secret_value() if self.api_password else ""

    @model_validator(mode="before")
    @classmethod
    def _read_password(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Takes the password from its file, if one is named."""
        path = values.get("api_password_file")
        if path is None or values.get("users_file") is not None:
            return values
        if values.get("api_password") is not None:
            raise ValueError("API_PASSWORD and API_PASSWORD_FILE are both set: set one of them")
        try:
            password = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"API_PASSWORD_FILE={path}: must be a readable file of UTF-8 text: {error}") from None
        return values | {"api_password": password}

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        """What no field can tell alone."""
        if self.min_delay > self.max_delay:
            most = f"MAX_DELAY, which is {self.max_delay:g}"
            raise ValueError(f"MIN_DELAY={self.min_delay:g}: must not be more than {most}")
        if self.auth == "off" and not _is_loopback(self.host):
            raise ValueError(f"AUTH=off: must be on while HOST={self.host}: only 127.0.0.1 and ::1 may do without")
        if self.database_url == "memory:" and self.workers > 1:
            raise ValueError(f"WORKERS={self.workers}: must be 1 with DATABASE_URL=memory:, which is one process's")
        if self.users_file is None and self.auth == "on":
            for name, value in (("API_USERNAME", self.api_username), ("API_PASSWORD", self.api_password)):
                if not value:
                    raise ValueError(f"{name} is missing: set it in {ENV_FILE} or in the environment")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_settings(**given: object) -> Settings:
    """Reads the environment and the `.env` of the working directory; ``given`` settings win over both.

    Raises:
        SettingsError: with a line for each setting that is unusable.
    """
    try:
        return Settings(**given)  # type: ignore[arg-type]  # they are checked there
    except ValidationError as error:
        raise SettingsError("\n".join(_line(found) for found in error.errors(include_url=False))) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{ENV_FILE} must be UTF-8 text: {error}") from None


def _line(error: Mapping[str, Any]) -> str:
    if not error["loc"]:
        return str(error["ctx"]["error"])
    name = str(error["loc"][0])
    must = next(found for found in Settings.model_fields[name].metadata if isinstance(found, Must))
    shown = "" if name == "api_password" else f"={error['input']}"
    return f"{name.upper()}{shown}: must {must.be}"
