"""The health checks."""

from collections.abc import Callable
from http import HTTPStatus

from fastapi import Request
from starlette.responses import JSONResponse, Response

from translation_server.api.openapi import answer
from translation_server.api.own_routes import OwnRoute
from translation_server.api.problems import Problem
from translation_server.service.jobs import Service


class HealthChecks:
    """The routes of the health checks; ``draining`` says whether the server is about to stop."""

    def __init__(self, service: Service, draining: Callable[[], bool]) -> None:
        self._service = service
        self._draining = draining

    @OwnRoute("GET", "/livez", answer("It is up.", {"type": "object"}, {"status": "live"}), is_public=True)
    async def live(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Answers while the process is up."""
        return JSONResponse({"status": "live"})

    @OwnRoute("GET", "/readyz", answer("It accepts jobs.", {"type": "object"}, {"status": "ready"}), is_public=True)
    async def ready(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Answers while the server would accept a job and is not about to stop."""
        if self._draining():
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server is about to stop.", {"Connection": "close"})
        await self._service.check()
        return JSONResponse({"status": "ready"})
