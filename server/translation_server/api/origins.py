"""The hosts that the server answers for, and the origins of pages whose requests may change something.

The threat is a page of another site, opened by someone who can reach this server. With DNS rebinding, the page's own
host name leads here, so a Host that is not the server's is refused (RFC 9110, section 7.4). Forms may cross sites, and
browsers add the credentials that they remember, so an unsafe request of a browser must come from a page of this server.
Clients other than browsers send neither Sec-Fetch-Site nor Origin, and are not affected.
"""

import re
import socket
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from ipaddress import ip_address

from starlette.types import Scope

from translation_server.api.problems import Problem
from translation_server.core.dialects.operations import RequestPattern

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # the methods that change nothing (RFC 9110, section 9.2.1)

LOCAL = ("localhost", "*.localhost", "localhost.localdomain", "ip6-localhost", "host.docker.internal")
"""The host names of the machine itself, and Docker's name for it."""

COMPOSE = ("server", "any-server")  # the host names of the server in the containers of docker-compose.yml
MAX_SHOWN = 255  # how many characters of a refused Host the answer repeats
AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]@/]*)(?::(\d{0,5}))?", re.IGNORECASE)
ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)", re.IGNORECASE)
DEFAULT_PORTS = {"http": "80", "https": "443"}

Headers = Sequence[tuple[bytes, bytes]]
Origin = tuple[str, str, str]

SENT_BY_BROWSERS = frozenset(
    {b"accept", b"accept-language", b"authorization", b"content-language", b"content-type", b"cookie", b"host"}
    | {b"origin", b"range", b"referer", b"user-agent"}
)
"""The headers that a browser sends for a page of another site without a CORS preflight, or by itself."""


class OriginPolicy:
    """Refuses requests for other hosts, and unsafe requests from pages of other origins.

    Args:
        hosts: the server's host names, besides every IP address, which cannot be rebound; ``*.name`` stands for every
            name below one, ``*`` for every name.
        origins: the origins of pages that may send unsafe requests, besides the server's own.
        tokens: the headers that have API keys, which no page of another site can make a browser send.
        changing: the requests that change something, whatever their method.
        read_only: whether the server's own pages may send no unsafe requests either.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        origins: Iterable[str] = (),
        tokens: Iterable[bytes] = (),
        changing: Iterable[RequestPattern] = (),
        *,
        read_only: bool = False,
    ) -> None:
        names = frozenset(map(_normalized, hosts))
        self._any = "*" in names
        self._names = names
        self._suffixes = tuple(name.removeprefix("*") for name in names if name.startswith("*."))
        self._origins = {origin_of(origin) for origin in origins} - {None}
        self._tokens = frozenset(tokens) - SENT_BY_BROWSERS
        self._changing = re.compile("|".join(pattern.expression for pattern in changing if pattern.method in SAFE))
        self._read_only = read_only
        self._last_accepted: bytes | None = None

    def accepts_host(self, host: bytes | None) -> bool:
        """Whether the server answers for this Host, or for a request without one (HTTP/1.0)."""
        if host is None or host == self._last_accepted:
            return True
        if not self._is_own(host.decode("latin-1")):
            return False
        self._last_accepted = host
        return True

    def check(self, scope: Scope) -> None:
        """Checks the host and the origin of a request.

        Raises:
            Problem: 421 for another host; 403 for an unsafe request from a page of another origin, or from the
                server's own if they are read-only.
        """
        headers: Headers = scope["headers"]
        for host in _values(headers, b"host"):
            if not self.accepts_host(host.encode("latin-1")):
                detail = f"This server is not called {host[:MAX_SHOWN]!r}: use its IP address, or set ALLOWED_HOSTS."
                raise Problem(HTTPStatus.MISDIRECTED_REQUEST, detail)
        path = scope["path"].removeprefix(scope["root_path"])
        if scope["method"] in SAFE and not self._changing.fullmatch(path):
            return
        if self._read_only and _is_of_own_page(headers):
            detail = "The pages of this server are read-only (READ_ONLY_DASHBOARD=on): send this by another client."
            raise Problem(HTTPStatus.FORBIDDEN, detail)
        if not self._is_trusted(headers):
            detail = (
                "A browser sent this for a page of another site: send it from a page of this server, "
                "or add the page's origin to TRUSTED_ORIGINS."
            )
            raise Problem(HTTPStatus.FORBIDDEN, detail)

    def _is_trusted(self, headers: Headers) -> bool:
        """Whether no page of an untrusted origin can have sent an unsafe request with these headers."""
        if any(name in self._tokens or (name == b"authorization" and _is_bearer(value)) for name, value in headers):
            return True
        origins, sites = _values(headers, b"origin"), _values(headers, b"sec-fetch-site")
        if origin_of(", ".join(origins)) in self._origins:
            return True
        return _is_of_own_page(headers) or (sites == ["none"] if sites else not origins)

    def _is_own(self, host: str) -> bool:
        match = AUTHORITY.fullmatch(host)
        name = _normalized(match[1]) if match else ""
        return self._any or name in self._names or name.endswith(self._suffixes) or _is_address(name)


def _is_of_own_page(headers: Headers) -> bool:
    """Whether a browser has sent a request for a page of this server; older browsers send no Sec-Fetch-Site."""
    if sites := _values(headers, b"sec-fetch-site"):
        return sites == ["same-origin"]
    origin = origin_of(", ".join(_values(headers, b"origin")))
    return origin is not None and [origin[1:]] == [
        _host_and_port(host, origin[0]) for host in _values(headers, b"host")
    ]


def own_names(*more: str) -> set[str]:
    """Returns the server's host names if no setting lists them; ``more`` are added."""
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


def _normalized(host: str) -> str:
    return host.lower().removesuffix(".")


def origin_of(text: str) -> Origin | None:
    """Returns the scheme, the host and the port of an origin in normalized form; None if it is malformed."""
    match = ORIGIN.fullmatch(text)
    scheme = match[1].lower() if match else ""
    host_and_port = _host_and_port(match[2], scheme) if match else None
    return host_and_port and (scheme, *host_and_port)


def _host_and_port(authority: str, scheme: str) -> tuple[str, str] | None:
    """Returns the host and the port, which may be the scheme's default; None if the authority is malformed."""
    match = AUTHORITY.fullmatch(authority)
    return (_normalized(match[1]), match[2] or DEFAULT_PORTS.get(scheme, "")) if match else None


def _values(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1") for header, value in headers if header == name]
