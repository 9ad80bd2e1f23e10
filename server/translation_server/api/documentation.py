"""The OpenAPI document. Each route is tagged with the dialects that share it, and has an example."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from translation_server.api.openapi import (
    ERRORS,
    HINTS,
    LOCATION,
    NATIVE,
    POLLING,
    PREFER,
    PROBLEM,
    REPLAYED,
    SIMULATE_FAULT,
    SNAPSHOT,
    Part,
    answer,
    error_references,
    error_response,
    idempotency_key,
    operation,
    own_errors,
    path_parameter,
    query_parameters,
    request_content,
    request_schema,
    route_conditions,
    sandbox_schemas,
    schema_of,
    security_scheme,
    template_schema,
    with_example,
    with_required,
)
from translation_server.api.own_routes import OwnRoute
from translation_server.api.schemas import JobsQuery, Simulate, SubmissionBody
from translation_server.core.dialects.authentication import BASIC, SIGV4
from translation_server.core.dialects.builtin import DIALECTS, NATIVE_API
from translation_server.core.dialects.dialect import Dialect
from translation_server.core.dialects.fields import FIELDS
from translation_server.core.dialects.operations import CHANGING, WITH_ID, Action, RequestPattern
from translation_server.core.dialects.routes import Route
from translation_server.core.dialects.template import Node, fill, paths
from translation_server.version import __version__

TITLE = "Video translation"
DESCRIPTION = """
A stand-in for a slow, asynchronous job API: submit a job, then poll it until its status is no longer `pending`.
Every error is `application/problem+json`. A failed job is not an HTTP error: its `status` is `error` in a 200.
"""

NATIVE_FIELDS = {"source_language", "target_language", "video_length"}


def document(
    routes: Sequence[Route], own_routes: Sequence[OwnRoute], *, simulating: bool = True, secured: bool = True
) -> Part:
    """Returns the OpenAPI document.

    Args:
        routes: the routes of the dialects.
        own_routes: the routes that every server has, whatever its dialects are.
        simulating: whether there are sandboxes.
        secured: whether callers need credentials.
    """
    paths: defaultdict[str, Part] = defaultdict(dict)
    for route in routes:
        described = _dialect_route(route, simulating=simulating)
        paths[route.pattern.template].setdefault(route.pattern.method.lower(), described)
    for own in own_routes:
        if own.answer:
            pattern = RequestPattern(own.method, own.path)
            paths[pattern.template][own.method.lower()] = _own_route(own, own.answer, simulating=simulating)
    changing = {
        route.pattern.template for route in routes if route.action in CHANGING and route.pattern.method == "GET"
    }
    for path, operations in paths.items():
        for method, described in operations.items():
            described["operationId"] = _operation_id(method, path)
            _add_refusals(described, secured=secured, safe=method == "get" and path not in changing)
    for route in routes:
        described = paths[route.pattern.template][route.pattern.method.lower()]
        if [*route.api.auth] == [SIGV4] and described["responses"].pop("401", None):
            described["responses"] |= error_references(HTTPStatus.FORBIDDEN)
        if route.api.error:
            described["responses"] = own_errors(described["responses"], route.api.error)
    tags = [_tag(own) for own in own_routes if own.answer]
    dialects = [name for route in routes for name in route.names]
    native = [dialect.name for dialect in DIALECTS if dialect.name in dialects]
    schemes = {
        auth: security_scheme(auth)
        for auth in dict.fromkeys([BASIC, *(auth for route in routes for auth in route.api.auth)])
    }
    submission_schemas = dict(schema_of(SubmissionBody)["$defs"])
    if not simulating:
        del submission_schemas[Simulate.__name__]
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": ".", "description": "this server"}],  # relative to the document, which may have a prefix
        "paths": paths,
        "components": {
            "schemas": {
                "Problem": PROBLEM,
                **schema_of(JobsQuery)["$defs"],
                **submission_schemas,
                **(sandbox_schemas() if simulating else {}),
            },
            "responses": {error.name: error_response(error) for error in ERRORS},
            **({"securitySchemes": schemes} if secured else {}),
        },
        "security": [{BASIC: []}] if secured else [],
        "tags": [{"name": name} for name in dict.fromkeys([*native, *dialects, *tags])],
    }


def _operation_id(method: str, path: str) -> str:
    """Returns a name for an operation that programs can use for a function, such as ``get_jobs_by_job_id_events``."""
    return "_".join([method, *re.findall(r"\w+|/$", path.replace("{", "by/"))]).replace("/", "slash")


def _own_route(route: OwnRoute, answer: Part, *, simulating: bool) -> Part:
    """Returns the operation of a route that every server has."""
    query = schema_of(route.query)["properties"]
    path = [path_parameter(name) for name in RequestPattern(route.method, route.path).parameters]
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
    """Returns the operation of a dialect's route, tagged with all dialects that share it."""
    faults = [SIMULATE_FAULT] if simulating else []
    parameters = [*map(path_parameter, route.pattern.parameters), *faults]
    common: Part = {"tags": list(route.names), "security": [{auth: []} for auth in route.api.auth]}
    parameters += route_conditions(route.operation.where)
    if batch := route.operation.ids:
        parameters.append(
            {"name": batch, "in": "query", "required": True, "schema": {"type": "string", "minLength": 1}}
        )
    described = route.operation.answers[SNAPSHOT.state]
    example = _example(route)
    schema = template_schema(described.body)
    if route.action == "submit":
        [dialect, *_] = route.dialects
        fields = schema_of(SubmissionBody)["properties"]
        sent = _sent(dialect, simulating=simulating)
        sample = submission_example(dialect, simulating=simulating)
        body = with_required(request_schema(sent, fields, closed=dialect.refuses_unknown), dialect.required)
        content = request_content(route.operation.accepts, body, sample)
        submit = operation(
            DESCRIPTIONS["submit"],
            answer(
                "The job is on disk.", schema, example, HINTS | (LOCATION if route.api is NATIVE_API else {}) | REPLAYED
            ),
            code=described.code,
            parameters=[
                *idempotency_key(route.api.idempotency),
                *query_parameters({name: fields[name] for name in dialect.query}),
                *([PREFER] if route.operation.wait else []),
                *parameters,
            ],
            requestBody={"required": bool(dialect.required), "content": content},
            **common,
        )
        submit["responses"] |= error_references(HTTPStatus.CONFLICT)
        if described.body == "":
            del submit["responses"][str(described.code)]["content"]
        return submit
    polling = POLLING if route.action in {"poll", "current"} else []
    described_answer = answer(ANSWERS.get(route.action, "The job."), schema, example, HINTS)
    if described.body == "":
        del described_answer["content"]
    operation_ = operation(
        DESCRIPTIONS[route.action], described_answer, code=described.code, parameters=[*parameters, *polling], **common
    )
    if route.action in WITH_ID:  # the id may be elsewhere than in the path, and may be that of jobs of several kinds
        operation_["responses"] |= error_references(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
    if polling:
        operation_["responses"]["304"] = {"description": "The job has not changed.", "headers": HINTS}
    return operation_


def submission_example(dialect: Dialect, *, simulating: bool = True) -> Any:  # noqa: ANN401 - any JSON
    """Returns an example of the body of a submission. Other APIs take the native fields, but have none of them."""
    sent = _sent(dialect, simulating=simulating)
    if dialect.api is not NATIVE_API and {name for name, path in paths(sent).items() if name == path} >= NATIVE_FIELDS:
        sent = {}
    example = fill(sent, lambda name: FIELDS[name].value(SNAPSHOT) if name in FIELDS else None)
    for path, *_ in dialect.required:
        example = with_example(example, path)
    return example


def _sent(dialect: Dialect, *, simulating: bool) -> Node:
    """Returns the template of a submission's body, without what only a simulator has where nothing is simulated."""
    if simulating or not isinstance(dialect.send, Mapping):
        return dialect.send
    return {name: node for name, node in dialect.send.items() if paths(node).keys() != {"simulate"}}


DESCRIPTIONS: Mapping[Action, str] = {
    "submit": "Accepts a job. It is on disk before the answer is sent.",
    "poll": "Polls one of the caller's jobs. A failed job is not an HTTP error.",
    "current": "Polls the caller's latest job, and starts one if there is none.",
    "result": "Returns the result of a job.",
    "view": "Shows a job in another form.",
    "cancel": "Cancels a pending job. A job that has ended stays as it is.",
    "delete": "Hides a job from its API, and cancels it if it is pending.",
    "list": "Lists the caller's jobs, newest first.",
    "batch_poll": "Polls several jobs at once.",
    "download": "Returns a file of a job.",
    "fixed": "Returns the same answer to every caller.",
}
ANSWERS: Mapping[Action, str] = {
    "list": "The jobs.",
    "batch_poll": "The jobs.",
    "download": "The file.",
    "fixed": "The answer.",
}


def _example(route: Route) -> object:
    """Returns an example of an answer."""
    if not route.dialects or route.action in {"list", "batch_poll"}:
        body = route.operation.answer.body
        return None if body == "" else fill(body, {"jobs": [], "has_more": False}.get)
    body = route.dialects[0].partial_body(SNAPSHOT, operation=route.operation)
    text = body.complete(SNAPSHOT)
    return text if body.is_text else json.loads(text or "null")
