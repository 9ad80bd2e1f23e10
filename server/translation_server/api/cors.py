"""Cross-origin requests (CORS, in the Fetch standard): the answers that pages of other origins may read.

A browser keeps the answer to a request of a page of another origin from that page, unless the answer has headers that
allow it. It asks first, by a preflight without credentials, whether it may send any but the simplest requests.
"""

from collections.abc import Iterable, MutableMapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Scope, Send

from translation_server.api.origins import origin_of

ANY = "*"
METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
PREFLIGHT_TTL = 600  # for how long a browser may remember the answer to a preflight, in seconds

SAFELISTED = frozenset({b"cache-control", b"content-language", b"content-length", b"content-type", b"date", b"vary"})
"""The headers of an answer that need not be exposed: a page may read them anyway, or has no use for them."""


class Cors:
    """Lets pages of other origins read answers.

    Args:
        origins: the origins, with credentials; ``*`` stands for all others, without the browser's credentials.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        listed = set(origins)
        self._any = ANY in listed
        self._named = {origin_of(origin) for origin in listed - {ANY}}

    def preflight(self, scope: Scope) -> Response | None:
        """Returns the answer to a preflight from an allowed origin; None for any other request."""
        if scope["method"] != "OPTIONS":
            return None
        headers = dict(scope["headers"])
        allowed = self._allow(headers.get(b"origin"))
        if not allowed or b"access-control-request-method" not in headers:
            return None
        answer = Response(status_code=HTTPStatus.NO_CONTENT)
        answer.raw_headers = [
            *allowed,
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", headers.get(b"access-control-request-headers", b"")),
            (b"access-control-max-age", b"%d" % PREFLIGHT_TTL),
            (b"vary", b"Origin, Access-Control-Request-Headers"),
        ]
        return answer

    def around(self, scope: Scope, send: Send) -> Send:
        """Returns a function that adds the headers to the answer to a request, and sends it."""
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(message, origin)
            await send(message)

        return send_allowed

    def _add_headers(self, message: MutableMapping[str, Any], origin: bytes | None) -> None:
        """Adds the headers to the head of an answer. An answer may be cached for one origin only."""
        headers = [*message.get("headers", ())]
        if allowed := self._allow(origin):
            names = {name.lower() for name, _ in headers} - SAFELISTED
            headers += [*allowed, (b"access-control-expose-headers", b", ".join(sorted(names)))]
        message["headers"] = [*headers, (b"vary", b"Origin")]

    def _allow(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """Returns the headers that allow an origin to read; empty if it may not."""
        if origin is None:
            return []
        if origin_of(origin.decode("latin-1")) in self._named:
            return [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true")]
        return [(b"access-control-allow-origin", b"*")] if self._any else []
