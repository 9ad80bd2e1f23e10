"""The endpoint of all dialects, before the framework's router.

It finds the route of a request, applies the fault rules of its caller, and lets the operation answer. Polls that can be
answered from memory take a shorter way, see `polls`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from translation_server.api.bodies import Endpoint, read_document, record_body, refuse_unused
from translation_server.api.context import context_of
from translation_server.api.dialect_router import DialectRouter, Match
from translation_server.api.faults.simulator import Simulator
from translation_server.api.middleware import RequestMiddleware
from translation_server.api.operations import Operations
from translation_server.api.polls import PollEndpoint
from translation_server.api.problems import Problem
from translation_server.api.request_identity import id_value
from translation_server.api.schemas import Query, submission_query
from translation_server.api.submissions import SubmitEndpoint
from translation_server.core.dialects.builtin import NATIVE_API
from translation_server.core.dialects.operations import WITH_ID, Action, MediaKind
from translation_server.core.dialects.routes import Route
from translation_server.core.dialects.template import value_at
from translation_server.core.faults.rules import Action as FaultAction
from translation_server.service.jobs import JobNotFound, Service

FAULT_ACTIONS: Mapping[Action, FaultAction] = {
    "submit": "submit",
    "poll": "poll",
    "current": "poll",
    "result": "result",
    "view": "result",
    "cancel": "cancel",
    "delete": "cancel",
    "list": "list",
    "batch_poll": "batch_poll",
    "download": "download",
    "fixed": "result",
}
"""The names of dialects' actions in fault rules."""

WITH_PARAMETERS = frozenset[Action]({"submit", "list", "batch_poll", "fixed"})

STORED = frozenset[Action]({"submit", "list"})
"""The actions whose requests are stored completely, or refused if a part of them is not used."""

UPLOADS = frozenset[MediaKind]({"multipart", "any"})


class DialectEndpoint:
    """Serves the requests of all dialects.

    Args:
        routes: the routes of all dialects.
        router: finds them.
        service: the use cases.
        simulator: applies fault rules.
        polls: answers polls.
        middleware: wraps every request.
        random: ``random(n)`` returns n random bytes, for the ids of jobs.

    Attributes:
        polls: Answers polls.
    """

    def __init__(  # noqa: PLR0913 - these are keyword arguments
        self,
        routes: Sequence[Route],
        router: DialectRouter,
        *,
        service: Service,
        simulator: Simulator,
        polls: PollEndpoint,
        middleware: RequestMiddleware,
        random: Callable[[int], bytes],
    ) -> None:
        self._router = router
        self._middleware = middleware
        self.polls, self._service = polls, service
        self._submissions = SubmitEndpoint(service, random)
        self._operations = Operations(service)
        self._endpoints = {id(route): self._endpoint(route, simulator) for route in routes}
        self._routes = routes  # keeps them alive: the keys of the endpoints are their ids

    def match(self, scope: Scope) -> Match | None:
        """Returns the routes that a request may be for; None if no dialect has one."""
        method: str = "GET" if scope["method"] == "HEAD" else scope["method"]
        path: str = scope["path"]
        return self._router.match(method, path.removeprefix(scope["root_path"]))

    async def serve(self, match: Match, scope: Scope, receive: Receive, send: Send, *, user: str | None = None) -> None:
        """Answers a request for one of these routes; ``user`` is its user if the credentials were checked before."""
        await self._middleware.serve(partial(self._dispatch, match), scope, receive, send, user=user)

    async def _dispatch(self, match: Match, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        route = await self._selected(request, match)
        context_of(scope).route = route
        if route.api is not NATIVE_API and route.action not in STORED and UPLOADS.isdisjoint(route.operation.accepts):
            await record_body(request)
        arguments: dict[str, object] = {}
        if route.action in WITH_ID:
            arguments["job_id"] = await _job_id(request, route, match.parameters(route))
        elif route.action in WITH_PARAMETERS:
            arguments["parameters"] = match.parameters(route)
        response = await self._endpoints[id(route)](request, **arguments)
        await response(scope, receive, send)

    async def _selected(self, request: Request, match: Match) -> Route:
        """Returns the route of a request. If several kinds of jobs share the request, the job's id decides.

        Raises:
            Problem: 404 if no route fits.
            AmbiguousId: jobs of several kinds have the id.
        """
        meant = await _meant(request, match.routes)
        if not meant:
            raise Problem(HTTPStatus.NOT_FOUND, "This API has no such operation at this path.")
        first, *others = meant
        if not others:
            return first
        try:
            job_id = await _job_id(request, first, match.parameters(first))
            job = await self._service.find_in_api(context_of(request).user, job_id, first.api.name)
        except JobNotFound:  # then every route gives the same answer
            return first
        return next((route for route in others if route.dialects[0].kind == job.kind), first)

    def _endpoint(self, route: Route, simulator: Simulator) -> Endpoint:
        """Returns the function that answers the requests of a route."""
        answers: Mapping[Action, Callable[..., Awaitable[Response]]] = {
            "submit": self._submissions.answer,
            "poll": self.polls.answer,
            "current": self.polls.answer,
            "result": self.polls.answer,
            "view": self.polls.answer,
            "cancel": self._operations.cancel,
            "delete": self._operations.delete,
            "list": self._operations.list,
            "batch_poll": self._operations.batch_poll,
            "download": self._operations.download,
            "fixed": self._operations.fixed,
        }
        answer = answers[route.action]

        async def endpoint(request: Request, **arguments: object) -> Response:
            return await answer(request, route, **arguments)

        checked: Endpoint = endpoint
        if route.api is NATIVE_API:
            submits = route.action == "submit"
            query = submission_query(route.dialects[0].query) if submits else Query
            checked = refuse_unused(endpoint, query, body=submits)
        return simulator.endpoint(FAULT_ACTIONS[route.action], route.names, checked)


async def _meant(request: Request, routes: Sequence[Route]) -> list[Route]:
    """Returns the routes that fit a request, of those that share its method and path: the narrowest ones."""
    found = []
    accepted = {kind for route in routes for kind in route.operation.accepts}
    for route in routes:
        where = route.operation.where
        if not (
            all(request.headers.get(name) == value for name, value in where.header.items())
            and all(request.query_params.get(name) == value for name, value in where.query.items())
        ):
            continue
        if where.body:
            document = await read_document(request, accepted)
            if any(value_at(document, path) != value for path, value in where.body.items()):
                continue
        found.append(route)
    return [one for one in found if not any(other.operation.where.narrows(one.operation.where) for other in found)]


async def _job_id(request: Request, route: Route, parameters: Mapping[str, str]) -> str:
    """Returns the job's id in a request.

    Raises:
        JobNotFound: there is none of the right form.
    """
    job_id = route.operation.job_id.read(await id_value(request, route, parameters), parameters)
    if not job_id:
        raise JobNotFound
    return job_id
