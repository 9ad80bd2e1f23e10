"""What a request prefers (RFC 7240), what it has already (RFC 9110, section 13.1.2), and when another is advised."""

import re
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

LONGEST_WAIT = 60
"""Seconds that a look may be held."""

PREFERENCE = re.compile(r"""(?:[^",]|"(?:[^"\\]|\\.)*")+""")
WAIT = re.compile(r"""\s*wait\s*=\s*(?:(\d{1,99})|"(\d{1,99})")\s*(?:;.*)?""", re.IGNORECASE)


def preferred_wait(prefer: Sequence[str]) -> int | None:
    """The seconds of the first preference `wait` in the Prefer headers; None without one. All others are ignored."""
    for preference in PREFERENCE.findall(",".join(prefer)):
        if found := WAIT.fullmatch(preference):
            return int(found[1] or found[2])
    return None


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
