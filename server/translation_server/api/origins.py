"""Which hosts the server answers for, and which pages may have a browser change something.

The threat is a page of another site, opened by somebody who can reach this server. By DNS rebinding, the page's own
name leads here: so a Host that is none of ours is refused (RFC 9110, section 7.4). A form crosses sites, and browsers
add the credentials that they remember: so an unsafe request from a browser must come from a page of ours. Clients that
are no browsers send neither Sec-Fetch-Site nor Origin and notice nothing of this.
"""

import re
import socket
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from ipaddress import ip_address

from starlette.types import Scope

from translation_server.api.problems import Problem

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""The methods that change nothing (RFC 9110, section 9.2.1)."""

LOCAL = ("localhost", "*.localhost", "localhost.localdomain", "ip6-localhost", "host.docker.internal")
"""Names that lead to the machine itself wherever they are asked for, and Docker's name for it."""

COMPOSE = ("server", "any-server")
"""What the containers of docker-compose.yml call the server."""

LONGEST_SHOWN = 255
"""Characters of a refused header that the answer repeats."""

AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]@/]*)(?::(\d{0,5}))?", re.IGNORECASE)
ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)", re.IGNORECASE)
DEFAULT_PORTS = {"http": "80", "https": "443"}

Headers = Sequence[tuple[bytes, bytes]]
Origin = tuple[str, str, str]

SENT_BY_BROWSERS = frozenset(
    {b"accept", b"accept-language", b"authorization", b"content-language", b"content-type", b"cookie", b"host"}
    | {b"origin", b"range", b"referer", b"user-agent"}
)
"""Headers that a page of another site can have a browser send without asking this server first."""


class Boundary:
    """Tells which requests may come in, before anybody is asked who they are.

    Args:
        hosts: the names that the server answers to, besides every IP address, which cannot be rebound; ``*.name`` is
            every name below one, ``*`` is every name.
        origins: the origins of pages that may send unsafe requests, besides the server's own.
        tokens: the headers in which API keys come; no page of another site can have a browser send them.
        starting: the paths whose GET starts a job where there is none: it counts as unsafe.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        origins: Iterable[str] = (),
        tokens: Iterable[bytes] = (),
        starting: Iterable[str] = (),
    ) -> None:
        names = frozenset(map(_name, hosts))
        self._any = "*" in names
        self._names = names
        self._below = tuple(name.removeprefix("*") for name in names if name.startswith("*."))
        self._origins = {_origin(origin) for origin in origins} - {None}
        self._tokens = frozenset(tokens) - SENT_BY_BROWSERS
        self._starting = frozenset(starting)
        self._accepted: bytes | None = None

    def knows(self, host: bytes | None) -> bool:
        """Whether a request with this Host may come in; one without (HTTP/1.0) may. What came last costs nothing."""
        if host is None or host == self._accepted:
            return True
        if not self._is_ours(host.decode("latin-1")):
            return False
        self._accepted = host
        return True

    def check(self, scope: Scope) -> None:
        """Returns if a request may come in.

        Raises:
            Problem: 421 for a Host that is none of ours; 403 for an unsafe request from a page that is none of ours.
        """
        headers: Headers = scope["headers"]
        for host in _values(headers, b"host"):
            if not self.knows(host.encode("latin-1")):
                detail = (
                    f"This server is not called {host[:LONGEST_SHOWN]!r}: use its IP address, or set ALLOWED_HOSTS."
                )
                raise Problem(HTTPStatus.MISDIRECTED_REQUEST, detail)
        unsafe = scope["method"] not in SAFE or scope["path"] in self._starting
        if unsafe and not self._comes_from_us(headers):
            detail = (
                "A browser sent this for a page of another site: send it from a page of this server, "
                "or name the origin of the page in TRUSTED_ORIGINS."
            )
            raise Problem(HTTPStatus.FORBIDDEN, detail)

    def _comes_from_us(self, headers: Headers) -> bool:
        """Whether no page of another site can have sent an unsafe request with these headers."""
        if any(name in self._tokens or (name == b"authorization" and _is_bearer(value)) for name, value in headers):
            return True
        origins, sites, hosts = (_values(headers, name) for name in (b"origin", b"sec-fetch-site", b"host"))
        origin = _origin(", ".join(origins))
        if origin in self._origins:
            return True
        if sites:
            return sites in (["same-origin"], ["none"])
        return not origins or (origin is not None and [origin[1:]] == [_place(host, origin[0]) for host in hosts])

    def _is_ours(self, host: str) -> bool:
        found = AUTHORITY.fullmatch(host)
        name = _name(found[1]) if found else ""
        return self._any or name in self._names or name.endswith(self._below) or _is_address(name)


def own_names(*more: str) -> set[str]:
    """The names by which the server is called where no setting says otherwise; ``more`` are names besides."""
    name = socket.gethostname()
    return {*LOCAL, *COMPOSE, name, name.partition(".")[0], *more} - {""}


def _is_bearer(authorization: bytes) -> bool:
    return authorization[:7].lower() == b"bearer "


def _is_address(name: str) -> bool:
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    return host.lower().removesuffix(".")


def _origin(text: str) -> Origin | None:
    """The scheme, the host and the port of an origin, alike for all that are the same; None for what is none."""
    found = ORIGIN.fullmatch(text)
    scheme = found[1].lower() if found else ""
    place = _place(found[2], scheme) if found else None
    return place and (scheme, *place)


def _place(authority: str, scheme: str) -> tuple[str, str] | None:
    """The host and the port, which may be the one that goes without saying."""
    found = AUTHORITY.fullmatch(authority)
    return (_name(found[1]), found[2] or DEFAULT_PORTS.get(scheme, "")) if found else None


def _values(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1") for known, value in headers if known == name]
