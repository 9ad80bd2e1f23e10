"""What a request prefers (RFC 7240), has already (RFC 9110, section 13.1.2), and accepts (section 12.5.1).

Headers come from strangers: whatever reads one takes linear time, and `values_of` bounds what there is to read.
"""

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from math import ceil
from typing import NamedTuple
from urllib.request import parse_http_list

from starlette.requests import Request

from translation_server.api.problems import Problem
from translation_server.core.clock import Clock
from translation_server.core.job import JobSnapshot

LONGEST_WAIT = 60
"""Seconds that a look may be held."""

LONGEST_HEADER = 8192
"""Characters that all values of a header may hold together that the server reads."""

WAIT = re.compile(r"""wait\s*=\s*(?:(\d{1,99})|"(\d{1,99})")\s*(?:;.*)?""", re.ASCII | re.IGNORECASE)

WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)

UTF_8 = frozenset({"charset=utf-8", 'charset="utf-8"'})
"""The parameters of a media range that all our answers fulfil."""


def values_of(request: Request, name: str) -> list[str]:
    """The values of a header; empty without one.

    Raises:
        Problem: 431 for one that is too long.
    """
    values = request.headers.getlist(name)
    if fits(values):
        return values
    detail = f"The header {name} may hold {LONGEST_HEADER} characters."
    raise Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)


def fits(values: Sequence[str | bytes]) -> bool:
    """Whether the values of a header are short enough to be read."""
    return sum(map(len, values)) <= LONGEST_HEADER


def preferred_wait(prefer: Sequence[str]) -> int | None:
    """The seconds of the first preference `wait` in the Prefer headers; None without one. All others are ignored."""
    for preference in parse_http_list(",".join(prefer)):
        if found := WAIT.fullmatch(preference):
            return int(found[1] or found[2])
    return None


def accepted(accept: Sequence[str], offers: Sequence[str]) -> str:
    """The media type among the offers that the Accept headers want most; the first one where they do not say.

    The first one, too, where they want none of them: then the headers are disregarded, as RFC 9110 allows.
    """
    ranges = [found for text in parse_http_list(",".join(accept)) if (found := _media_range(text))]
    weights = {offer: _weight(ranges, offer) for offer in offers}
    return max(offers, key=lambda offer: weights[offer])  # the first of those that tie


def _media_range(text: str) -> tuple[str, float] | None:
    """A media range and its weight; None for what is none, or is narrower than anything that is offered."""
    media, *parameters = (part.strip().lower() for part in text.split(";"))
    weights = [parameter.removeprefix("q=") for parameter in parameters if parameter.startswith("q=")]
    others = {parameter for parameter in parameters if not parameter.startswith("q=")}
    if len(weights) > 1 or not all(map(WEIGHT.fullmatch, weights)) or not others <= UTF_8:
        return None
    return media, float(weights[0] if weights else 1)


def _weight(ranges: Sequence[tuple[str, float]], offer: str) -> float:
    """How much a media type is wanted: what the narrowest range that it is in says."""
    weights = dict(ranges)
    kinds = (offer, f"{offer.partition('/')[0]}/*", "*/*")
    return next((weights[kind] for kind in kinds if kind in weights), 0.0)


def matches(if_none_match: Sequence[str], tag: str) -> bool:
    """Whether one of the tags in the If-None-Match headers is this one; that a tag is weak makes no difference."""
    tags = {found.strip().removeprefix("W/") for found in ",".join(if_none_match).split(",")}
    return bool(tags & {"*", tag.removeprefix("W/")})


class Wanted(NamedTuple):
    """What a look asks for: to be held for ``wait`` seconds, and not to be told what has one of the ``known`` tags."""

    wait: int | None = None
    known: Sequence[str] = ()

    def knows(self, tag: str) -> bool:
        """Whether what has this tag need not be told."""
        return bool(self.known) and matches(self.known, tag)

    def held_for(self, tag: str) -> int:
        """The seconds for which to wait for something else to tell than what has this tag."""
        return (self.wait or 0) if not self.known or self.knows(tag) else 0


def wanted(wait: int | None, if_none_match: Sequence[str]) -> Wanted:
    """What a look asks for that prefers to wait for so many seconds, and brings these If-None-Match headers."""
    return Wanted(wait and min(wait, LONGEST_WAIT), if_none_match)


def advice(hint: float | None) -> list[tuple[bytes, bytes]]:
    """The headers that tell in how many seconds to look next, if there is a hint."""
    if hint is None:
        return []
    return [(b"retry-after", b"%d" % max(1, ceil(hint))), (b"retry-after-ms", b"%d" % ceil(1000 * hint))]


def ages(clock: Clock, now: Callable[[], float], *snapshots: JobSnapshot) -> list[tuple[bytes, bytes]]:
    """The header that tells the ``elapsed_time`` of jobs in wall time, where their sandbox's clock shows another.

    ``now`` returns the real time of the looks.
    """
    if clock.shows_wall_time or not snapshots:
        return []
    real = now()
    told = ", ".join(f"{snapshot.wall_elapsed(clock, real):.3f}" for snapshot in snapshots)
    return [(b"wall-elapsed-time", told.encode())]
