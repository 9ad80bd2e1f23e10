"""The server as an ASGI application: the endpoint of the dialects, and the framework for everything else."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from translation_server.api.addresses import Proxies
from translation_server.api.cors import Cors
from translation_server.api.dialect_endpoint import DialectEndpoint
from translation_server.api.own_routes import OwnRoute
from translation_server.api.polls import send_answer

if TYPE_CHECKING:
    from translation_server.api.tracing import Tracing

NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False}
"""The framework's own telemetry is off: it would see only a part of the requests, and show signatures and queries."""


class Application(FastAPI):
    """Serves requests of dialects by their endpoint, and all others by the framework.

    Args:
        dialects: the endpoint of the dialects.
        proxies: the proxies that are trusted to say where requests come from; None for none.
        cors: lets pages of other origins read answers; None for no such pages.
        public: the routes that are served even when there are too many connections.
        options: those of the framework.

    Attributes:
        polls: Answers cached polls for `HttpProtocol`; None behind proxies, which may change the caller's address, and
            where answers get headers for pages of other origins.
        public_targets: The targets of the ``public`` routes.
    """

    def __init__(
        self,
        dialects: DialectEndpoint,
        proxies: Proxies | None,
        cors: Cors | None,
        public: Iterable[OwnRoute],
        **options: Any,  # noqa: ANN401 - the framework's own
    ) -> None:
        super().__init__(telemetry=NO_TELEMETRY, **options)
        self.polls = None if proxies or cors else dialects.polls
        self.public_targets = frozenset(route.path.encode() for route in public)
        self._dialects = dialects
        self._proxies = proxies
        self._cors = cors
        self._tracing: Tracing | None = None

    def trace_by(self, tracing: "Tracing") -> None:
        """Traces all requests. Polls then get a task each, as other requests do."""
        self.polls, self._tracing = None, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request, or the lifespan."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        if self._proxies:
            self._proxies.apply_forwarded(scope)
        if self._cors:
            if preflight := self._cors.preflight(scope):
                await preflight(scope, receive, send)
                return
            send = self._cors.around(scope, send)
        if self._tracing:
            await self._tracing.serve(self.serve_uncached, scope, receive, send)
        elif (poll := self._dialects.polls.read(scope)) and (answer := self._dialects.polls.answer_from_cache(poll)):
            await send_answer(answer, send)
        else:
            await self.serve_uncached(scope, receive, send)

    async def serve_uncached(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request that is not answered from the cache."""
        if match := self._dialects.match(scope):
            await self._dialects.serve(match, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
