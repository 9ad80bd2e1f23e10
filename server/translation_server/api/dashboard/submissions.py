"""What can be submitted to the APIs of a server, and the route by which the page submits it.

The page has the browser's Basic credentials, but APIs take tokens and signatures. So it sends a submission to a route
of its own, with the API's own target, headers and body. The server passes it on in the name of the same user.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol, cast
from urllib.parse import unquote

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from translation_server.api.context import context_of
from translation_server.api.dialect_router import Match
from translation_server.api.documentation import submission_example
from translation_server.api.own_routes import OwnRoute
from translation_server.api.problems import Problem
from translation_server.api.schemas import Query
from translation_server.core.dialects.builtin import NATIVE_API
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.dialects.operations import Operation

OF_BROWSER = frozenset({b"authorization", b"cookie", b"origin", b"referer", b"sec-fetch-site"})
"""The headers that are about the page, and no part of what it submits."""

OF_ROUTE = frozenset({"app", "context", "endpoint", "fastapi_astack", "path_params", "route", "router"})
"""What the framework has noted about the page's own request."""


class Target(Query):
    """The parameters of a submission by the page."""

    target: str = Field(pattern="^/", max_length=8192, description="the path and the query of the submission")


class Dialects(Protocol):
    """The endpoint of all dialects."""

    def match(self, scope: Scope) -> Match | None:
        """Returns the routes that a request may be for."""

    async def serve(self, match: Match, scope: Scope, receive: Receive, send: Send, *, user: str) -> None:
        """Answers a request for one of these routes, as one of this user."""


class SubmissionsApi:
    """The routes by which the page submits jobs to the APIs of ``dialects``, which ``endpoint`` serves."""

    def __init__(self, dialects: Sequence[Dialect], endpoint: Dialects) -> None:
        self._endpoint = endpoint
        self._submissions = [one for dialect in dialects for one in _submissions(dialect)]

    @OwnRoute("GET", "/dashboard/submissions")
    async def submissions(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Lists what can be submitted, each with an example."""
        return JSONResponse({"submissions": self._submissions})

    @OwnRoute("POST", "/dashboard/submissions", query=Target, body={})
    async def submit(self, request: Request) -> Response:
        """Submits a job to an API in the caller's name, and returns the API's answer."""
        context = context_of(request)
        path, _, query = cast("Target", context.query).target.partition("?")
        scope = {name: value for name, value in request.scope.items() if name not in OF_ROUTE} | {
            "path": request.scope["root_path"] + unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name, value) for name, value in request.scope["headers"] if name not in OF_BROWSER],
        }
        match = self._endpoint.match(scope)
        routes = [one for one in match.routes if one.action == "submit" and one.api is not NATIVE_API] if match else []
        if match is None or not routes:
            raise Problem(HTTPStatus.NOT_FOUND, f"No API takes submissions at {path}.")
        return _PassedOn(partial(self._endpoint.serve, match._replace(routes=routes), scope, user=context.user))


class _PassedOn(Response):
    """The answer that another application gives."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        super().__init__()
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the answer has its own
        await self._answer(receive, send)


def _submissions(dialect: Dialect) -> Iterator[Mapping[str, object]]:
    """Yields the requests that submit jobs of a dialect; those that the project's client can send are marked."""
    sent_by_client = set[frozenset[str]]()
    submits = [one for one in dialect.operations if one.action == "submit"]
    for operation in submits:
        is_form = {"json", "untyped"}.isdisjoint(operation.accepts)
        for pattern in operation.requests:
            parameters = frozenset(pattern.parameters)
            yield {
                "api": dialect.api.name,
                "kind": dialect.kind,
                "mount": dialect.api.mount,
                "method": pattern.method,
                "path": dialect.api.mount + pattern.template,
                "parameters": pattern.parameters,
                "headers": dict(operation.where.header),
                "query": dict(operation.where.query),
                "form": is_form,
                "example": _example(dialect, operation, is_form=is_form),
                "auth": dialect.api.auth[0],
                "simulates": not dialect.refuses_unknown,
                "by_client": operation is submits[0] and parameters not in sent_by_client,
            }
            sent_by_client.add(parameters)


def _example(dialect: Dialect, operation: Operation, *, is_form: bool) -> Mapping[str, object]:
    """Returns an example of a body. In a form, a text that begins with @ stands for a file."""
    example = {**submission_example(dialect), **operation.where.body}
    return example | ({"file": "@file.txt"} if is_form and "file" in example else {})
