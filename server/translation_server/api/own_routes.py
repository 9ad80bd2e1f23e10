"""The routes that every server has besides those of its dialects. Each is described once, at its endpoint.

Whether a request needs credentials, whether it is recorded, the OpenAPI document and the names that dialects may have
follow from these descriptions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fastapi import FastAPI, Request
from starlette.responses import Response

from translation_server.api.bodies import Endpoint, refuse_unused
from translation_server.api.openapi import Part
from translation_server.api.schemas import Query
from translation_server.core.faults.rules import Action

KEY = "own_route"  # the attribute of an endpoint that holds its route

EndpointType = TypeVar("EndpointType", bound=Endpoint)


@dataclass(frozen=True, slots=True)
class OwnRoute:
    """A route that every server has, and the decorator of its endpoint, which is a method."""

    method: str
    path: str
    answer: Part | None = None  # in the OpenAPI document; None leaves the route out of it
    action: Action | None = None  # the action of its requests; only routes with an action have faults and are recorded
    is_signed: bool = False  # needs a signed URL and no credentials
    is_public: bool = False  # needs no credentials, and is served even if there are too many connections
    query: type[Query] = Query  # the model of the parameters
    headers: Sequence[Part] = ()  # of requests, in the OpenAPI document
    body: Part | None = None  # of requests, in the OpenAPI document; None if they may not have one
    responses: Mapping[str, Part] = field(default_factory=dict)  # besides the answer and the usual errors
    description: str = ""  # the docstring of the endpoint

    def __call__(self, endpoint: EndpointType) -> EndpointType:
        """Marks the endpoint of this route."""
        endpoint.__dict__[KEY] = replace(self, description=endpoint.__doc__ or "")
        return endpoint

    @property
    def name(self) -> str:
        """The first segment of the path, which no dialect can have as its name."""
        return self.path.split("/")[1]


def own_routes(*resources: type) -> list[OwnRoute]:
    """Returns the routes of resources, which are classes with endpoints."""
    return [route for resource in resources for _, route in _marked(resource)]


def add_own_routes(
    app: FastAPI, resource: object, wrap: Callable[[Action, Endpoint], Endpoint] = lambda _, endpoint: endpoint
) -> None:
    """Adds the routes of a resource to an application; ``wrap`` is applied to the endpoints of those with an action."""
    for name, route in _marked(type(resource)):
        endpoint = refuse_unused(getattr(resource, name), route.query, body=route.body is not None)
        served = wrap(route.action, endpoint) if route.action else endpoint
        app.add_api_route(route.path, _with_path_parameters(served), methods=[route.method])


def _with_path_parameters(endpoint: Endpoint) -> Endpoint:
    """Returns an endpoint that takes only the request: FastAPI needs 50 ms to make models of the path's parameters."""

    async def wrapped(request: Request) -> Response:
        return await endpoint(request, **request.path_params)

    return wrapped


def _marked(resource: type) -> Iterator[tuple[str, OwnRoute]]:
    """Yields the routes of a resource with the names of their endpoints."""
    for name, member in vars(resource).items():
        if route := getattr(member, "__dict__", {}).get(KEY):
            yield name, route
