"""The server's settings: the environment and `.env` as one frozen object. The environment wins.

Each field is one setting. Its name in capitals is the variable, its description is what the documentation says of it,
and its type says what the error message demands of an unusable value.
"""

import re
from dataclasses import dataclass, fields
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from annotated_types import Interval
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from translation_server.config.history_files import HistoryFile
from translation_server.config.users import MAX_PASSWORD
from translation_server.core.delays import KINDS, Delays, Seconds
from translation_server.core.sandbox import (
    MAX_SEED_LENGTH,
    Hints,
    PollCost,
    Probability,
    SandboxSettings,
    SecondsPerSecond,
    Seed,
)
from translation_server.core.scenarios import ScenarioName

ENV_FILE = ".env"

CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # characters that Basic authentication allows in no name and no password
DISTRIBUTION = re.compile(r"\s*(\w+)\s*\((.*)\)\s*")
EMPIRICAL = re.compile(r"\s*empirical\s*\(\s*([^,]*[^,\s])\s*(?:,\s*(.*\S)\s*)?\)\s*", re.IGNORECASE)

DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
FOREVER = "forever"
MAX_DURATION = 1e9

SECRETS = frozenset({"api_password", "metrics_token"})  # no message shows their values
MAX_RETRIES = 20
TOKEN = re.compile(r"[!-~]{16,256}")
HOST_OR_NETWORK = re.compile(r"[\w.:-]+(/\d{1,3})?", re.ASCII)
HOST_NAME = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*\.?", re.ASCII)
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)


class SettingsError(Exception):
    """Settings are unusable. The message has a line for each, with its name, its value and what it must be."""


@dataclass(frozen=True, slots=True)
class Must:
    """The requirement on values of a type, as the end of a sentence. Limits and choices are added from the type."""

    be: str


def _check_text(text: str | None) -> str | None:
    """Refuses characters that Basic authentication cannot send: control characters, and bytes that are not UTF-8."""
    if text is not None and CONTROL.search(text.encode().decode()):
        raise ValueError
    return text


def _check_password(secret: SecretStr | None) -> SecretStr | None:
    text = _check_text(None if secret is None else secret.get_secret_value())
    if text is not None and len(text.encode()) > MAX_PASSWORD:
        raise ValueError
    return secret


def _check_token(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None and not TOKEN.fullmatch(secret.get_secret_value()):
        raise ValueError
    return secret


def _check_networks(text: str | None) -> str | None:
    """Refuses networks of all addresses, because then every client could choose its own address."""
    if text is not None and not all(ip_network(part.strip()).prefixlen for part in text.split(",")):
        raise ValueError
    return text


def _list_of(pattern: re.Pattern[str]) -> AfterValidator:
    """Refuses a comma-separated list with a part that does not match the pattern."""

    def check(text: str | None) -> str | None:
        if text is not None and not all(pattern.fullmatch(part.strip()) for part in text.split(",")):
            raise ValueError
        return text

    return AfterValidator(check)


def _read_distribution(value: object) -> object:
    """Reads a distribution such as ``uniform(3, 7)``, or ``empirical(file)``, of which the file is read later."""
    if value is None or isinstance(value, Delays | HistoryFile):
        return value
    if isinstance(value, str) and (empirical := EMPIRICAL.fullmatch(value)):
        return HistoryFile(Path(empirical[1]), empirical[2])
    match = DISTRIBUTION.fullmatch(value.lower()) if isinstance(value, str) else None
    if match is None or match[1] not in KINDS or match[1] == "empirical":
        raise ValueError
    names = [field.name for field in fields(KINDS[match[1]]) if field.name != "kind"]
    numbers = [float(number) for number in match[2].split(",")]
    try:
        return TypeAdapter(KINDS[match[1]]).validate_python(dict(zip(names, numbers, strict=True)))
    except ValidationError:
        raise ValueError from None


def _read_duration(value: object) -> object:
    """Reads a duration with its unit, in seconds. ``forever`` is None."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if text == FOREVER:
        return None
    match = DURATION.fullmatch(text)
    seconds = float(match[1]) * UNITS[match[2]] if match else 0
    if not 0 < seconds <= MAX_DURATION:
        raise ValueError
    return seconds


def _read_finite_duration(value: object) -> object:
    """Reads a duration with its unit, in seconds."""
    seconds = _read_duration(value)
    if seconds is None:
        raise ValueError
    return seconds


def _read_durations(value: object) -> object:
    """Reads durations with their units, separated by commas, in seconds."""
    if not isinstance(value, str):
        return value
    parts = value.split(",")
    if len(parts) > MAX_RETRIES:
        raise ValueError
    return tuple(map(_read_finite_duration, parts))


AnyCase = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)

NAME = Must("a name without colon or control characters")
Name = Annotated[str | None, Field(pattern=r"^[^:]+$"), AfterValidator(_check_text), NAME]
PASSWORD = Must(f"UTF-8 text without control characters, of {MAX_PASSWORD} bytes at most")
Password = Annotated[SecretStr | None, AfterValidator(_check_password), PASSWORD]
File = Annotated[Path | None, Must("a path")]
DELAY = Must(
    "fixed(s), uniform(min, max), lognormal(median, sigma) or exponential(mean), in seconds, or empirical(file)"
)
Delay = Annotated[Delays | HistoryFile | None, BeforeValidator(_read_distribution), DELAY]
SECONDS = Must("a number of seconds")
NUMBER = Must("a number")
WHOLE = Must("a whole number")
Connections = Interval(ge=1, le=1_000_000)
Timeout = Annotated[float, Interval(ge=1, le=3600), SECONDS]
Rate = Annotated[float, Interval(ge=1, le=1e9), Must("a number of bytes a second")]
Switch = Annotated[Literal["on", "off"], AnyCase]
RETENTION = Must(f"a time like 7d, 12h, 30m or 90s, or {FOREVER}")
Retention = Annotated[float | None, BeforeValidator(_read_duration), RETENTION]
PROXIES = Must("addresses and networks, separated by commas, not *")
TimeToLive = Annotated[float, BeforeValidator(_read_finite_duration), Must("a time like 1h, 30m or 90s")]
Proxies = Annotated[str | None, AfterValidator(_check_networks), PROXIES]
HOST_NAMES = Must("* or names without a port, such as api.example or *.api.example, separated by commas")
HostNames = Annotated[str | None, _list_of(HOST_NAME), HOST_NAMES]
ORIGINS = Must("origins such as https://app.example or http://localhost:3000, separated by commas")
Origins = Annotated[str | None, _list_of(ORIGIN), ORIGINS]
ANY_ORIGINS = Must(f"* or {ORIGINS.be}")
AnyOrigins = Annotated[str | None, _list_of(re.compile(rf"\*|{ORIGIN.pattern}", ORIGIN.flags)), ANY_ORIGINS]
WEBHOOK_HOSTS = Must("host names, addresses and networks, separated by commas")
WebhookHosts = Annotated[str | None, _list_of(HOST_OR_NETWORK), WEBHOOK_HOSTS]
RETRY_TIMES = Must("up to 20 times like 5s or 30m, separated by commas")
RetryDelays = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_read_durations), RETRY_TIMES]

MetricsToken = Annotated[
    SecretStr | None,
    AfterValidator(_check_token),
    Must("16 to 256 visible ASCII characters without spaces"),
]

OF_SANDBOX = {setting.name: setting for setting in fields(SandboxSettings)}


def _sandbox_default(name: str) -> Any:  # noqa: ANN401 - as pydantic's `Field` has it
    """Returns the default and the description of a sandbox's setting."""
    return Field(OF_SANDBOX[name].default, description=OF_SANDBOX[name].metadata["description"])


class Settings(BaseSettings):
    """The settings of a server."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )

    api_username: Name = Field(None, description="the user's name; required")
    api_password: Password = Field(None, description="the user's password; required")
    api_password_file: File = Field(None, description="a file to read the password from instead (Docker secrets)")
    users_file: File = Field(None, description="an htpasswd file of users (bcrypt, argon2), instead of the three above")
    auth: Switch = Field("on", description="`off` needs no credentials, on the loopback interface only")
    min_delay: Annotated[Seconds, SECONDS] = Field(3, description="seconds before a job ends, at least")
    max_delay: Annotated[Seconds, SECONDS] = Field(7, description="seconds before a job ends, at most")
    delay: Delay = Field(
        None,
        description="instead of the two above: `fixed(5)`, `uniform(3, 7)`, `lognormal(600, 0.5)`, `exponential(30)`, "
        "or `empirical(waits.jsonl)`: the durations in a history file of the client",
    )
    per_video_second: Annotated[SecondsPerSecond, SECONDS] = _sandbox_default("per_video_second")
    error_probability: Annotated[Probability, NUMBER] = _sandbox_default("error_probability")
    seed: Annotated[Seed | None, Must(f"text of {MAX_SEED_LENGTH} characters at most")] = _sandbox_default("seed")
    hints: Annotated[Hints, AnyCase] = _sandbox_default("hints")
    poll_cost: Annotated[PollCost, SECONDS] = _sandbox_default("poll_cost")
    sandbox: Switch = Field(
        "on", description="`off` turns off scenarios and fault rules, and refuses changes of any sandbox"
    )
    scenario: Annotated[ScenarioName | None, AnyCase] = _sandbox_default("scenario")
    faults: File = Field(None, description="a TOML file of fault rules")
    request_log: Annotated[int, Interval(ge=0, le=1_000_000), WHOLE] = Field(
        10_000, description="how many requests each user's request log holds"
    )
    database_url: str = Field("sqlite:///data/jobs.db", repr=False, description="where jobs are stored")
    retention: Retention = Field(  # type: ignore[assignment]  # the default is read like any other value
        default="7d", description="how long jobs are stored after their end: `7d`, `12h`, `30m`, `90s`, or `forever`"
    )
    output_files: File = Field(
        default=None, description="a folder of files that jobs have as output, instead of the server's own"
    )
    file_ttl: TimeToLive = Field(  # type: ignore[assignment]  # the default is read like any other value
        default="1h", description="how long the URL of an output file is valid: `1h`, `90s` and so on"
    )
    dialects: str = Field(
        "all",
        description="the APIs to serve besides the native one: names of shipped APIs, `all` for all of them, and TOML "
        "files, separated by commas",
    )
    host: str = Field("127.0.0.1", description="the address to listen on")
    port: Annotated[int, Interval(ge=0, le=65_535), WHOLE] = Field(
        8000, description="the port to listen on; 0 takes a free one"
    )
    workers: Annotated[int, Interval(ge=1, le=256), WHOLE] = Field(1, description="the number of server processes")
    forwarded_allow_ips: Proxies = Field(
        None, description="addresses and networks of trusted proxies, whose `X-Forwarded-For` is believed"
    )
    max_connections: Annotated[int, Connections, WHOLE] = Field(
        16_384,
        description="the most connections of one process; the limit on open files (`ulimit -n`) may lower it. At the "
        "limit, the process first closes connections that are idle or have sent an incomplete request head",
    )
    max_connections_per_address: Annotated[int | None, Connections, WHOLE] = Field(
        None,
        description="the most connections from one address, except loopback and trusted proxies. "
        "If not set: three quarters of `MAX_CONNECTIONS`",
    )
    head_timeout: Timeout = Field(10, description="seconds within which a request's head must arrive")
    max_upload: Annotated[int, Interval(ge=1024, le=2**40), WHOLE] = Field(
        104_857_600,
        description="the most bytes of a form with files, or of an upload; the files are not stored",
    )
    max_body: Annotated[int, Interval(ge=1024, le=2**24), WHOLE] = Field(
        262_144, description="the most bytes of a request's body"
    )
    min_rate: Rate = Field(
        1024,
        description="the lowest rate, in bytes per second, at which a client may send a request body (checked after "
        "10 seconds) and read a response (after 60 seconds)",
    )
    allowed_hosts: HostNames = Field(
        None,
        description="the host names that the server answers to, besides every IP address: `api.example`, "
        "`*.api.example`, or `*` for all. If not set: the names of this machine, its container and Compose's services",
    )
    trusted_origins: Origins = Field(
        None,
        description="the origins of other sites whose pages may change something through a browser, "
        "such as `https://app.example`",
    )
    cors_origins: AnyOrigins = Field(
        None,
        description="the origins of other sites whose pages may call this server: read its answers, send credentials, "
        "and change something, as with `TRUSTED_ORIGINS`; `*` lets pages of all others read, without the browser's "
        "credentials",
    )
    read_only_dashboard: Switch = Field(
        "off", description="`on` removes the controls of the dashboard, and refuses changes by pages of this server"
    )
    webhook_allow: WebhookHosts = Field(
        None,
        description="where webhooks may be delivered besides this machine: host names, addresses and networks, such "
        "as `receiver,10.0.0.0/8`, or `local-networks` for those that this machine is part of",
    )
    webhook_retries: RetryDelays = Field(
        default="5s,5m,30m,2h,5h,10h",  # type: ignore[arg-type]  # the default is read like any other value
        description="how long after each failed delivery of a webhook the next one follows",
    )
    metrics: Switch = Field("off", description="`on` serves metrics for Prometheus at `/metrics`")
    metrics_token: MetricsToken = Field(
        None, description="a bearer token that may read the metrics, besides the users' credentials"
    )
    metrics_folder: File = Field(
        None,
        description="a folder in which the processes of one server share their metrics; with `WORKERS`, one is made",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], AnyCase] = Field(
        "info", description="how much is logged: debug, info, warning or error"
    )
    log_file: File = Field(None, description="a file to which the log is written, besides stderr")
    log_format: Annotated[Literal["text", "json"], AnyCase] = Field(
        "text", description="text for people, json for machines"
    )

    @property
    def credentials(self) -> tuple[str, str]:
        """The one user's name and password; empty where a file of users is set."""
        return self.api_username or "", self.api_password.get_secret_value() if self.api_password else ""

    @model_validator(mode="before")
    @classmethod
    def _read_password(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Reads the password from its file, if one is set."""
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
    def _check_combinations(self) -> Self:
        low, high = self.min_delay, self.max_delay
        if low > high:
            raise ValueError(f"MIN_DELAY={low:g}: must not be more than MAX_DELAY, which is {high:g}")
        if self.auth == "off" and not _is_loopback(self.host):
            raise ValueError(f"AUTH=off: must be on while HOST={self.host}: without credentials, use 127.0.0.1 or ::1")
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


def load_settings(**overrides: object) -> Settings:
    """Reads the environment and the `.env` of the working directory; ``overrides`` win over both.

    Raises:
        SettingsError: with a line for each setting that is unusable.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        raise SettingsError("\n".join(_line(details) for details in error.errors(include_url=False))) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{ENV_FILE} must be UTF-8 text: {error}") from None


def _line(error: ErrorDetails) -> str:
    if not error["loc"]:
        return str(error["ctx"]["error"])
    name = str(error["loc"][0])
    value = "" if name in SECRETS else f"={error['input']}"
    return f"{name.upper()}{value}: must be {_requirement(name)}"


def _requirement(name: str) -> str:
    """Returns what a setting must be, from its type: `Must` with its limits, or its choices."""
    setting = Settings.model_fields[name]
    match [part for part in setting.metadata if isinstance(part, (Must, Interval))]:
        case [Must(be)]:
            return be
        case [Interval(ge=least, le=most), Must(be)]:
            return f"{be} from {_plain(least)} to {_plain(most)}"
    words = [word for part in get_args(setting.annotation) for word in get_args(part) or [part]]
    *choices, last = [word for word in words if isinstance(word, str)]
    return f"{', '.join(choices)} or {last}"


def _plain(number: Any) -> str:  # noqa: ANN401 - limits may be of any type that can be compared
    return f"{number:f}".rstrip("0").rstrip(".")
