"""The OpenAPI document. Each route is tagged with the dialects that share it, and has an example."""

import json
from collections import defaultdict
from collections.abc import Sequence
from http import HTTPStatus

from translation_server.api.openapi import (
    ERRORS,
    HINTS,
    IDEMPOTENCY_KEY,
    JOB,
    JOB_ID,
    JOBS_QUERY,
    LOCATION,
    NATIVE,
    POLLING,
    PROBLEM,
    REFERENCE,
    REPLAYED,
    SANDBOX_MODELS,
    SIMULATE_FAULT,
    SNAPSHOT,
    SUBMISSION,
    Part,
    answer,
    error_references,
    error_response,
    json_content,
    operation,
    path_parameter,
    query_parameters,
    request_schema,
    security_scheme,
    template_schema,
)
from translation_server.api.own_routes import OwnRoute
from translation_server.core.dialects.dialect import Route
from translation_server.core.dialects.fields import FIELDS
from translation_server.core.dialects.template import PLACEHOLDER, fill
from translation_server.version import __version__

TITLE = "Video translation"
DESCRIPTION = """
A stand-in for a slow, asynchronous job API: submit a job, then poll it until its status is no longer `pending`.
Every error is `application/problem+json`. A failed job is not an HTTP error: its `status` is `error` in a 200.
"""


def document(
    routes: Sequence[Route], own_routes: Sequence[OwnRoute], *, simulating: bool = True, secured: bool = True
) -> Part:
    """Returns the OpenAPI document.

    Args:
        routes: the routes of the dialects.
        own_routes: the routes that this server has besides.
        simulating: whether there are sandboxes.
        secured: whether callers need credentials.
    """
    paths: defaultdict[str, Part] = defaultdict(dict)
    for route in routes:
        paths[route.path][route.method.lower()] = _dialect_route(route, simulating=simulating)
    for own in own_routes:
        if own.answer:
            paths[own.path][own.method.lower()] = _own_route(own, own.answer, simulating=simulating)
    starting = {route.path for route in routes if route.action == "current"}
    for path, operations in paths.items():
        for method, described in operations.items():
            _add_refusals(described, secured=secured, safe=method == "get" and path not in starting)
    tags = [_tag(own) for own in own_routes if own.answer]
    dialects = {dialect.name: dialect for route in routes for dialect in route.dialects}
    schemes = {dialect.auth: security_scheme(dialect.auth) for dialect in (NATIVE, *dialects.values())}
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": ".", "description": "this server"}],  # relative to the document, which may have a prefix
        "paths": paths,
        "components": {
            "schemas": {
                "Problem": PROBLEM,
                **JOBS_QUERY["$defs"],
                **(SUBMISSION["$defs"] | SANDBOX_MODELS["$defs"] if simulating else {}),
            },
            "responses": {error.name: error_response(error) for error in ERRORS},
            **({"securitySchemes": schemes} if secured else {}),
        },
        "security": [{NATIVE.auth: []}] if secured else [],
        "tags": [{"name": name} for name in dict.fromkeys([*dialects, *tags])],
    }


def _own_route(route: OwnRoute, answer: Part, *, simulating: bool) -> Part:
    """Returns the operation of a route that every server has."""
    query = route.query.model_json_schema(ref_template=REFERENCE)["properties"]
    path = [path_parameter(name) for name in PLACEHOLDER.findall(route.path)]
    parameters = [*path, *query_parameters(query), *route.headers]
    if simulating and route.action:
        parameters.append(SIMULATE_FAULT)
    members: Part = {"tags": [_tag(route)]}
    if route.is_public or route.is_signed:
        members["security"] = []
    if route.body:
        members["requestBody"] = route.body
    described = operation(route.description, answer, parameters=parameters, **members)
    described["responses"] |= route.responses
    return described


def _tag(route: OwnRoute) -> str:
    if route.is_public:
        return "health"
    return NATIVE.name if route.action else route.name


def _add_refusals(described: Part, *, secured: bool, safe: bool) -> None:
    """Adds the errors of requests without credentials, and of those from other hosts and origins."""
    if not secured:
        described.pop("security", None)
    if not safe or not (secured or described["tags"] == ["health"]):
        described["responses"] |= error_references(HTTPStatus.FORBIDDEN)
    if secured and described.get("security") != []:
        described["responses"] |= error_references(HTTPStatus.UNAUTHORIZED)


def _dialect_route(route: Route, *, simulating: bool) -> Part:
    """Returns the operation of a route, tagged with all dialects that share it."""
    dialect, faults = route.dialects[0], [SIMULATE_FAULT] if simulating else []
    common: Part = {"tags": [dialect.name for dialect in route.dialects], "security": [{dialect.auth: []}]}
    if route.action == "submit":
        accepted = dialect.job if dialect.accepted is None else dialect.accepted
        fields = SUBMISSION["properties"]
        request = {name: value for name, value in dialect.request.items() if simulating or value != "{simulate}"}
        example = fill(request, lambda name: FIELDS[name].value(SNAPSHOT) if name in FIELDS else None)
        headers = HINTS | LOCATION | REPLAYED
        body = json.loads(dialect.accepted_body(JOB))
        submit = operation(
            "Accepts a job. It is on disk before the answer is sent.",
            answer("The job is on disk.", template_schema(accepted), body, headers),
            code=dialect.accepted_code,
            parameters=[IDEMPOTENCY_KEY, *query_parameters({name: fields[name] for name in dialect.query}), *faults],
            requestBody={"required": False, "content": json_content(request_schema(request, fields), example)},
            **common,
        )
        submit["responses"] |= error_references(HTTPStatus.CONFLICT)
        return submit
    snapshot = answer("The job.", template_schema(dialect.job), json.loads(dialect.body(SNAPSHOT)), HINTS)
    if route.action == "poll":
        description = "Polls one of the caller's jobs. A failed job is not an HTTP error."
        poll = operation(description, snapshot, parameters=[JOB_ID, *POLLING, *faults], **common)
    else:
        description = "Polls the caller's latest job, and starts one if there is none."
        poll = operation(description, snapshot, parameters=[*POLLING, *faults], **common)
    poll["responses"]["304"] = {"description": "The job has not changed.", "headers": HINTS}
    return poll
