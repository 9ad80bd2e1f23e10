"""Filters, which convert values in a template: ``{name | filter}``."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from types import MappingProxyType
from typing import Any

Filter = Callable[[Any], object]


def timestamp(seconds: float) -> str:
    """Returns seconds since the epoch as RFC 3339 text in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: object) -> object:
    """Returns a text as a number; other values stay as they are."""
    try:
        return int(value) if isinstance(value, str) else value
    except ValueError:
        return float(str(value))


OR_NULL = "or_null"
"""The filter that makes a text null, instead of leaving it out, if the value is unknown."""

OR_OMIT = "or_omit"
"""The filter that leaves a field out, instead of making it null, if the value of its only placeholder is unknown."""

FILTERS: Mapping[str, Filter] = MappingProxyType(
    {
        "rfc3339": timestamp,
        "without_zone": lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:26],
        "unix": int,
        "unix_seconds": float,
        "unix_ms": lambda seconds: int(1000 * seconds),
        "percent": lambda fraction: int(100 * fraction),
        "ms": lambda seconds: ceil(1000 * seconds),
        "seconds": lambda seconds: max(1, ceil(seconds)),
        "text": _text,
        "lines": "\n".join,
        "messages": lambda lines: [{"message": line} for line in lines],
        "number": _number,
        OR_NULL: lambda value: value,
        OR_OMIT: lambda value: value,
    }
)
"""All filters by name. Times are seconds since the epoch, a progress is a fraction, durations are seconds,
logs are lists of lines."""

TIMES = ("created_at", "completed_at", "event_at", "now")

FILTERED: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        **dict.fromkeys(("rfc3339", "without_zone", "unix", "unix_seconds", "unix_ms"), TIMES),
        "percent": ("progress",),
        **dict.fromkeys(("ms", "seconds"), ("retry_after", "elapsed_time", "video_length")),
        **dict.fromkeys(("lines", "messages"), ("logs",)),
    }
)
"""The fields that each filter takes, besides a caller's own fields. Filters that are not listed take any field."""
