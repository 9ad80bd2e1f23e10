"""The server's settings: the environment and `.env` as one frozen object. The environment wins.

Each field is one setting. Its name in capitals is the variable, its description is what the documentation says of it,
and its type says what the error message demands of an unusable value.
"""

from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Interval
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from translation_server.config.setting_types import (
    NUMBER,
    SECONDS,
    WHOLE,
    AnyCase,
    AnyOrigins,
    Connections,
    Delay,
    File,
    HostNames,
    MetricsToken,
    Must,
    Name,
    Origins,
    Password,
    Proxies,
    Rate,
    Retention,
    RetryDelays,
    Switch,
    Timeout,
    TimeToLive,
    WebhookHosts,
    requirement,
)
from translation_server.core.delays import Seconds
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
SEED = Must(f"text of {MAX_SEED_LENGTH} characters at most", rf"[\s\S]{{1,{MAX_SEED_LENGTH}}}")

SECRETS = frozenset({"api_password", "metrics_token"})  # no message shows their values


class SettingsError(Exception):
    """Settings are unusable. The message has a line for each, with its name, its value and what it must be."""


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

    api_username: Name = Field(None, description="the user's name; required unless `USERS_FILE` or `AUTH=off` is set")
    api_password: Password = Field(
        None,
        description="the user's password; required unless `API_PASSWORD_FILE`, `USERS_FILE` or `AUTH=off` is set",
    )
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
    seed: Annotated[Seed | None, SEED] = _sandbox_default("seed")
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
        description="how long after each failed attempt of a webhook's delivery the next attempt follows",
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
        """The name and the password of `API_USERNAME` and `API_PASSWORD`; empty where they are not set."""
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
    return f"{name.upper()}{value}: must be {requirement(Settings.model_fields[name])}"
