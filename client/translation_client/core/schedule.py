"""When to look next.

A schedule is a generator: `next()` starts it and yields the delay before the first look, then each Status sent in is
answered with the delay before the look that follows. All delays are seconds.
"""

from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeAlias

from translation_client.core.model import Status

Schedule: TypeAlias = Generator[float, Status, None]

A_DAY = 86_400.0


def exponential(initial: float, factor: float, maximum: float) -> Schedule:
    """Look at once, then after `initial`, each delay `factor` times the one before, up to `maximum`.

    There is no jitter: the looks of many jobs are spread by the moments at which these were started.
    """
    yield 0.0
    delay = initial
    while True:
        yield delay
        delay = min(delay * factor, maximum)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The delay that a server asks for with `Retry-After` (RFC 9110, section 10.2.3), or None.

    A date is held against the server's own `Date`, so that no clock of this side matters; without that header it means
    nothing. What is neither seconds nor a date is ignored. More than a day is cut to a day.
    """
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.removeprefix("-").isdigit():
        return min(max(0.0, float(asked)), A_DAY)
    then, now = _http_date(asked), _http_date(headers.get("date", ""))
    return min(max(0.0, (then - now).total_seconds()), A_DAY) if then and now else None


def _http_date(text: str) -> datetime | None:
    """Read any of the three forms of RFC 9110, section 5.6.7; the one without a zone is in UTC as well."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
