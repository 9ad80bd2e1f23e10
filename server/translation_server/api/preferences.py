"""Request headers: Prefer (RFC 7240), If-None-Match (RFC 9110, section 13.1.2) and Accept (section 12.5.1).

Anyone can send headers, so every parser here takes linear time, and `values_of` limits how much it has to read.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import NamedTuple
from urllib.request import parse_http_list

from starlette.requests import Request

from translation_server.api.problems import Problem
from translation_server.core.clock import Clock, WallTime
from translation_server.core.dialects.dialect import header_lines
from translation_server.core.dialects.template import Node
from translation_server.core.job import JobSnapshot

MAX_WAIT = 60  # how long the server may hold a poll, in seconds
MAX_HEADER = 8192  # how many characters all values of one header may have together
WAIT = re.compile(r"""wait(?:\s*=\s*(?:(\d{1,99})|"(\d{1,99})"))?\s*(?:;.*)?""", re.ASCII | re.IGNORECASE)

WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)

UTF_8 = frozenset({"charset=utf-8", 'charset="utf-8"'})
"""The parameters of a media range that every answer of this server meets."""


def values_of(request: Request, name: str) -> list[str]:
    """Returns the values of a header, or an empty list.

    Raises:
        Problem: 431 if they are too long.
    """
    values = request.headers.getlist(name)
    if is_bounded(values):
        return values
    detail = f"The header {name} may have {MAX_HEADER} characters."
    raise Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)


def is_bounded(values: Sequence[str | bytes]) -> bool:
    """Whether the values of a header are short enough to be read."""
    return sum(map(len, values)) <= MAX_HEADER


def preferred_wait(prefer: Sequence[str], default: int | None = None) -> int | None:
    """Returns the seconds of the first `wait` preference, at most `MAX_WAIT`; None without one.

    A preference without a number means ``default`` seconds; if that is None, it is ignored.
    """
    for preference in parse_http_list(",".join(prefer)):
        found = WAIT.fullmatch(preference)
        if found and (text := found[1] or found[2] or default) is not None:
            return min(int(text), MAX_WAIT)
    return None


def accepted(accept: Sequence[str], offers: Sequence[str]) -> str:
    """Returns the offered media type that the Accept headers prefer, and the first offer where several tie.

    Where they accept none of the offers, the headers are ignored, as RFC 9110 allows, and the first offer is returned.
    """
    ranges = [found for text in parse_http_list(",".join(accept)) if (found := _media_range(text))]
    weights = {offer: _weight(ranges, offer) for offer in offers}
    return max(offers, key=lambda offer: weights[offer])  # the first of those that tie


def _media_range(text: str) -> tuple[str, float] | None:
    """Returns a media range and its weight; None if it is malformed or has parameters that no offer meets."""
    media, *parameters = (part.strip().lower() for part in text.split(";"))
    weights = [parameter.removeprefix("q=") for parameter in parameters if parameter.startswith("q=")]
    others = {parameter for parameter in parameters if not parameter.startswith("q=")}
    if len(weights) > 1 or not all(map(WEIGHT.fullmatch, weights)) or not others <= UTF_8:
        return None
    return media, float(weights[0] if weights else 1)


def _weight(ranges: Sequence[tuple[str, float]], offer: str) -> float:
    """Returns the weight of the most specific range that includes a media type."""
    weights = dict(ranges)
    kinds = (offer, f"{offer.partition('/')[0]}/*", "*/*")
    return next((weights[kind] for kind in kinds if kind in weights), 0.0)


def matches(if_none_match: Sequence[str], tag: str) -> bool:
    """Whether the If-None-Match headers hold this entity tag, by weak comparison."""
    tags = {found.strip().removeprefix("W/") for found in ",".join(if_none_match).split(",")}
    return bool(tags & {"*", tag.removeprefix("W/")})


class Conditions(NamedTuple):
    """The conditions of a poll, from its Prefer and If-None-Match headers."""

    wait: int | None = None  # how long the server may hold the poll until the answer changes, in seconds
    tags: Sequence[str] = ()  # the entity tags of the answers that the client already has

    def knows(self, tag: str) -> bool:
        """Whether the client already has the answer with this entity tag."""
        return bool(self.tags) and matches(self.tags, tag)

    def seconds_to_hold(self, tag: str) -> int:
        """Returns how long to hold a poll while its answer has this entity tag, in seconds; 0 answers at once."""
        return (self.wait or 0) if not self.tags or self.knows(tag) else 0


UNCONDITIONAL = Conditions()


def retry_after(hint: float | None) -> list[tuple[bytes, bytes]]:
    """Returns the headers that say when to poll next; ``hint`` is in seconds."""
    if hint is None:
        return []
    return [(b"retry-after", b"%d" % max(1, ceil(hint))), (b"retry-after-ms", b"%d" % ceil(1000 * hint))]


def hint_headers(hint: float | None, templates: Mapping[str, Node] | None) -> list[tuple[bytes, bytes]]:
    """Returns the headers that say when to poll next, by an API's own templates, if it has any."""
    if templates is None or hint is None:
        return retry_after(hint)
    return header_lines(templates, {"retry_after": hint}.get)


def wall_elapsed(clock: Clock, now: Callable[[], WallTime], *snapshots: JobSnapshot) -> list[tuple[bytes, bytes]]:
    """Returns the header with the jobs' elapsed seconds in wall time, if the sandbox's clock shows another time."""
    if clock.shows_wall_time or not snapshots:
        return []
    wall_time = now()
    elapsed = ", ".join(f"{snapshot.wall_elapsed(clock, wall_time):.3f}" for snapshot in snapshots)
    return [(b"wall-elapsed-time", elapsed.encode())]
