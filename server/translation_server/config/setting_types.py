"""The types of the settings: what each value must be, for messages and for editors, and how it is read."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from annotated_types import Interval
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode

from translation_server.config.history_files import HistoryFile
from translation_server.config.users import MAX_PASSWORD
from translation_server.core.delays import KINDS, Delays

CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # characters that Basic authentication allows in no name and no password
DISTRIBUTION = re.compile(r"\s*(\w+)\s*\((.*)\)\s*")
EMPIRICAL = re.compile(r"\s*empirical\s*\(\s*([^,]*[^,\s])\s*(?:,\s*(.*\S)\s*)?\)\s*", re.IGNORECASE)

DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
FOREVER = "forever"
MAX_DURATION = 1e9

MAX_RETRIES = 20
TOKEN = re.compile(r"[!-~]{16,256}")
USERNAME = re.compile(r"[^:]+")
HOST_OR_NETWORK = re.compile(r"[\w.:-]+(/\d{1,3})?", re.ASCII)
HOST_NAME = re.compile(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*\.?", re.ASCII)
ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?", re.ASCII)
ANY_ORIGIN = re.compile(rf"\*|{ORIGIN.pattern}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Must:
    """The requirement on values of a type. Limits and choices are added from the type.

    Attributes:
        be: What a value must be, as the end of a sentence.
        pattern: For editors, a regular expression in the syntax of JavaScript too. It matches every text that the
            server accepts, and some others.
    """

    be: str
    pattern: str = ""


def _any_case(words: Iterable[str]) -> str:
    """Returns a pattern for some words, in capitals too."""
    return "|".join(
        "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in word) for word in words
    )


def _several(pattern: str) -> str:
    """Returns a pattern for a comma-separated list."""
    return rf"\s*(?:{pattern})\s*(?:,\s*(?:{pattern})\s*)*"


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

NAME = Must("a name without colon or control characters", USERNAME.pattern)
Name = Annotated[str | None, Field(pattern=f"^{USERNAME.pattern}$"), AfterValidator(_check_text), NAME]
PASSWORD = Must(f"UTF-8 text without control characters, of {MAX_PASSWORD} bytes at most")
Password = Annotated[SecretStr | None, AfterValidator(_check_password), PASSWORD]
File = Annotated[Path | None, Must("a path")]
DELAY = Must(
    "fixed(s), uniform(min, max), lognormal(median, sigma) or exponential(mean), in seconds, or empirical(file)",
    rf"\s*(?:{_any_case(KINDS)})\s*\(.*\)\s*",
)
Delay = Annotated[Delays | HistoryFile | None, NoDecode, BeforeValidator(_read_distribution), DELAY]
WHOLE = Must("a whole number", r"\s*[+-]?[\d_]+(\.0*)?\s*")
NUMBER = Must("a number", r"\s*[+-]?[\d_]*\.?[\d_]+\.?([eE][+-]?[\d_]+)?\s*")
SECONDS = Must("a number of seconds", NUMBER.pattern)
Connections = Interval(ge=1, le=1_000_000)
Timeout = Annotated[float, Interval(ge=1, le=3600), SECONDS]
Rate = Annotated[float, Interval(ge=1, le=1e9), Must("a number of bytes a second", NUMBER.pattern)]
Switch = Annotated[Literal["on", "off"], AnyCase]
ANY_DURATION = DURATION.pattern.replace("smhd", "smhdSMHD")
RETENTION = Must(f"a time like 7d, 12h, 30m or 90s, or {FOREVER}", rf"\s*(?:{ANY_DURATION}|{_any_case([FOREVER])})\s*")
Retention = Annotated[float | None, BeforeValidator(_read_duration), RETENTION]
PROXIES = Must("addresses and networks, separated by commas, not *", r"[^*]+")
TimeToLive = Annotated[
    float, BeforeValidator(_read_finite_duration), Must("a time like 1h, 30m or 90s", rf"\s*{ANY_DURATION}\s*")
]
Proxies = Annotated[str | None, AfterValidator(_check_networks), PROXIES]
HOST_NAMES = Must(
    "* or names without a port, such as api.example or *.api.example, separated by commas", _several(HOST_NAME.pattern)
)
HostNames = Annotated[str | None, _list_of(HOST_NAME), HOST_NAMES]
ORIGINS = Must(
    "origins such as https://app.example or http://localhost:3000, separated by commas", _several(ORIGIN.pattern)
)
Origins = Annotated[str | None, _list_of(ORIGIN), ORIGINS]
ANY_ORIGINS = Must(f"* or {ORIGINS.be}", _several(ANY_ORIGIN.pattern))
AnyOrigins = Annotated[str | None, _list_of(ANY_ORIGIN), ANY_ORIGINS]
WEBHOOK_HOSTS = Must("host names, addresses and networks, separated by commas", _several(HOST_OR_NETWORK.pattern))
WebhookHosts = Annotated[str | None, _list_of(HOST_OR_NETWORK), WEBHOOK_HOSTS]
RETRY_TIMES = Must("up to 20 times like 5s or 30m, separated by commas", _several(ANY_DURATION))
RetryDelays = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_read_durations), RETRY_TIMES]

MetricsToken = Annotated[
    SecretStr | None,
    AfterValidator(_check_token),
    Must("16 to 256 visible ASCII characters without spaces", TOKEN.pattern),
]


def requirement(setting: FieldInfo) -> str:
    """Returns what a setting must be, from its type: `Must` with its limits, or its choices."""
    match _limits(setting):
        case [Must(be)]:
            return be
        case [Interval(ge=least, le=most), Must(be)]:
            return f"{be} from {_plain(least)} to {_plain(most)}"
    *choices, last = _choices(setting)
    return f"{', '.join(choices)} or {last}"


def schema_of(setting: FieldInfo) -> dict[str, Any]:
    """Returns the JSON Schema of a setting. It accepts every value that the server accepts, and some that it refuses.

    A pattern cannot say the limits of a number. They count where the value is a number, as in a YAML file of Compose.
    """
    match _limits(setting):
        case [Interval(ge=least, le=most), Must(_, pattern)]:
            kind = "number" if float in (setting.annotation, *get_args(setting.annotation)) else "integer"
            return {"type": [kind, "string"], "minimum": least, "maximum": most, "pattern": _empty_or(pattern)}
        case [Must(_, pattern)] if pattern:
            kinds = ["string", "number"] if re.fullmatch(pattern, "7") else ["string"]
            return {"type": kinds, "pattern": _empty_or(pattern)}
    if choices := _choices(setting):
        return {"anyOf": [{"enum": choices}, {"type": "string", "pattern": _empty_or(_any_case(choices))}]}
    return {"type": ["string", "number"]}


def _limits(setting: FieldInfo) -> list[Must | Interval]:
    return [part for part in setting.metadata if isinstance(part, (Must, Interval))]


def _choices(setting: FieldInfo) -> list[str]:
    words = [word for part in get_args(setting.annotation) for word in get_args(part) or [part]]
    return [word for word in words if isinstance(word, str)]


def _empty_or(pattern: str) -> str:
    """Returns a pattern for a whole text; an empty one counts as not set."""
    return f"^(?:{pattern})?$"


def _plain(number: Any) -> str:  # noqa: ANN401 - limits may be of any type that can be compared
    return f"{number:f}".rstrip("0").rstrip(".")
