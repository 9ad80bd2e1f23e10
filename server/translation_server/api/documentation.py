"""The OpenAPI page, made of the rows: every route under the tags of the rows that have it, with an example."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from translation_server.api.report_render import MEDIA_TYPES
from translation_server.api.schemas import JobAction, JobsQuery, RequestsQuery, SubmissionBody
from translation_server.core.dialects.dialect import DIALECTS, FACTS, PLACE, Route, fill
from translation_server.core.faults.rules import KINDS
from translation_server.core.job import Fate, Job, JobSnapshot, State, Submission
from translation_server.core.report.report import report
from translation_server.core.sandbox import SandboxSettings
from translation_server.core.scenarios import SCENARIOS
from translation_server.documents import ClockChange, SandboxPatch, settings_document
from translation_server.version import __version__

TITLE = "Video translation"
DESCRIPTION = """
A stand-in for a slow, asynchronous job API: submit a job, then look at its status until it is no longer `pending`.
Every error is `application/problem+json`. A failed job is no error: it is a 200 whose `status` is `error`.
"""

Documentation = dict[str, Any]

JOB = Job(
    id="4f69cc76-5b9f-4b46-a514-bdd2c0e3314a",
    owner="admin",
    ordinal=1,
    created_at=1767323045.678,
    fate=Fate(5.0, State.COMPLETED),
    submission=Submission("en", "es", 90.0),
)
POLL = JobSnapshot(JOB, now=1767323047.778)
"""The job of all examples, and a look at it."""

NATIVE = DIALECTS[0]
SCHEMAS = {name: dict(fact.schema) for name, fact in FACTS.items()}
REFERENCE = "#/components/schemas/{model}"
QUERY = JobsQuery.model_json_schema(ref_template=REFERENCE)
ASKED = SubmissionBody.model_json_schema(ref_template=REFERENCE)
_, MODELS = models_json_schema(
    [(model, "validation") for model in (SandboxPatch, ClockChange, JobAction)],
    ref_template=REFERENCE,
)
for _model in MODELS["$defs"].values():
    if "kind" in _model["properties"]:  # which has a default in Python, and must be sent
        _model["required"] = sorted({"kind", *_model.get("required", ())})

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "the same key and body give the same job again, however often they are sent",
    "schema": {"type": "string", "pattern": "^[!#-~]{1,255}$"},
}
LOCATION = {"Location": {"description": "where to look at the job", "schema": {"type": "string"}}}
RETRY_AFTER = {
    "Retry-After": {
        "description": "seconds until the next look is worth its while; only while the job is pending",
        "schema": {"type": "integer", "minimum": 1},
    },
    "retry-after-ms": {
        "description": "the same in milliseconds, to the point",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Wall-Elapsed-Time": {
        "description": "each job's elapsed_time in wall time, in seconds; only where the sandbox's clock was set",
        "schema": {"type": "string"},
    },
}
PROBLEM: Documentation = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "field by field, what is wrong and what is allowed",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "error_id": {"type": "string", "description": "on a 500: the id to find the log line by"},
    },
    "example": {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "You have no job of this id."},
}

JOB_ID = {"name": "job_id", "in": "path", "required": True, "schema": {"type": "string"}}

PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "`wait=N`: hold the answer until the job changes, N seconds at most, 60 at the very most",
    "schema": {"type": "string"},
    "example": "wait=25",
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "an ETag: 304 while the job has not changed since",
    "schema": {"type": "string"},
}
LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "the id of the last event that was heard: what came after it comes first",
    "schema": {"type": "string"},
}
SIMULATE_FAULT = {
    "name": "Simulate-Fault",
    "in": "header",
    "description": "what goes wrong with this request: a kind by itself, or a rule of `PATCH /sandbox` as JSON",
    "schema": {
        "anyOf": [
            {"type": "string", "enum": [kind for kind in KINDS if kind != "status"]},
            {"type": "string", "contentMediaType": "application/json", "pattern": r"^\{.*\}$"},
        ]
    },
}

POLLING: Sequence[Documentation] = [PREFER, IF_NONE_MATCH]

EVENT = f"id: 1767323045678000\nevent: pending\ndata: {NATIVE.body(POLL)}\n\n"

ALWAYS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.MISDIRECTED_REQUEST,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
"""What can go wrong with any request, one that needs no credentials included."""

PROBLEMS = (
    *ALWAYS,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)

REPLAYED = {
    "Idempotency-Replayed": {"description": "`true` for a job that was there already", "schema": {"type": "string"}}
}


def page(routes: Sequence[Route], *, simulating: bool = True, secured: bool = True) -> Documentation:
    """The OpenAPI page of the rows' routes, of those that every server has, and of the sandbox's, if there are any.

    ``secured`` is whether callers need credentials.
    """
    paths: defaultdict[str, Documentation] = defaultdict(dict)
    for route in routes:
        paths[route.path][route.method.lower()] = _route(route, simulating=simulating)
    paths["/jobs"]["get"] = _list()
    paths["/jobs/{job_id}"]["delete"] = _operation(
        "Cancels a pending job; one that has ended stays as it is.",
        _answer("The job as it stands now.", _schema(NATIVE.job), json.loads(NATIVE.body(POLL)), RETRY_AFTER),
        HTTPStatus.NOT_FOUND,
        parameters=[JOB_ID],
        tags=[NATIVE.name],
    )
    events = {"text/event-stream": {"schema": {"type": "string"}, "example": EVENT}}
    for path, does in (
        ("/jobs/{job_id}/events", "Streams how a job stands, and its end, which ends the stream."),
        ("/events", "Streams how the caller's jobs change, as it happens."),
    ):
        paths[path]["get"] = _operation(
            does,
            {"description": "Server-sent events: the state's word, with the job as its data.", "content": events},
            *([HTTPStatus.NOT_FOUND] if "{" in path else []),
            parameters=[*([JOB_ID] if "{" in path else []), LAST_EVENT_ID],
            tags=[NATIVE.name],
        )
    for path, health in (("/livez", "The process is up."), ("/readyz", "The server takes work.")):
        answer = _answer(health, {"type": "object"}, {"status": {"/livez": "live", "/readyz": "ready"}[path]})
        paths[path]["get"] = _operation(health, answer, tags=["health"], security=[])
    if simulating:
        for told in (told for operations in paths.values() for told in operations.values()):
            if told["tags"] != ["health"]:
                told["parameters"] = [*told.get("parameters", ()), SIMULATE_FAULT]
        paths |= _sandbox()
    starting = {route.path for route in routes if route.action == "current"}
    for path, operations in paths.items():
        for method, told in operations.items():
            _guard(told, secured=secured, safe=method == "get" and path not in starting)
    dialects = {dialect.name: dialect for route in routes for dialect in route.dialects}
    schemes = {dialect.auth: _scheme(dialect.auth) for dialect in (NATIVE, *dialects.values())}
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": __version__, "description": DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": {
                "Problem": PROBLEM,
                **QUERY["$defs"],
                **(ASKED["$defs"] | MODELS["$defs"] if simulating else {}),
            },
            "responses": {problem.name: _problem(problem) for problem in PROBLEMS},
            **({"securitySchemes": schemes} if secured else {}),
        },
        "security": [{NATIVE.auth: []}] if secured else [],
        "tags": [{"name": name} for name in (*dialects, *(["sandbox"] if simulating else []), "health")],
    }


def _guard(told: Documentation, *, secured: bool, safe: bool) -> None:
    """Completes an operation by what is asked before it is served: credentials, and from where a request comes."""
    if not secured:
        told.pop("security", None)
    if not safe or not (secured or told["tags"] == ["health"]):
        told["responses"] |= _refused(HTTPStatus.FORBIDDEN)
    if secured and told.get("security") != []:
        told["responses"] |= _refused(HTTPStatus.UNAUTHORIZED)


def _route(route: Route, *, simulating: bool) -> Documentation:
    """What is told of a row's route, under the tag of every row that shares it."""
    dialect = route.dialects[0]
    common: Documentation = {"tags": [dialect.name for dialect in route.dialects], "security": [{dialect.auth: []}]}
    looked = _answer("The job as it stands.", _schema(dialect.job), json.loads(dialect.body(POLL)), RETRY_AFTER)
    match route.action:
        case "submit":
            accepted = dialect.job if dialect.accepted is None else dialect.accepted
            asked = ASKED["properties"]
            request = {field: value for field, value in dialect.request.items() if simulating or value != "{simulate}"}
            example = fill(request, lambda fact: FACTS[fact].of(POLL) if fact in FACTS else None)
            return _operation(
                "Accepts a job. It is on disk before the answer leaves.",
                _answer(
                    "The job is on disk.",
                    _schema(accepted),
                    json.loads(dialect.body_accepted(JOB)),
                    RETRY_AFTER | LOCATION | REPLAYED,
                ),
                HTTPStatus.CONFLICT,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                code=dialect.accepted_code,
                parameters=[IDEMPOTENCY_KEY, *_query({fact: asked[fact] for fact in dialect.query})],
                requestBody={"required": False, "content": _json(_asked(request, asked), example)},
                **common,
            )
        case "poll":
            said = "Tells how one of the caller's jobs stands. A failed job is no HTTP error."
            return _held(_operation(said, looked, HTTPStatus.NOT_FOUND, parameters=[JOB_ID, *POLLING], **common))
        case _:
            said = "Tells how the caller's latest job stands; where there is none, starts one."
            return _held(_operation(said, looked, parameters=POLLING, **common))


def _sandbox() -> dict[str, Documentation]:
    """The routes of the caller's sandbox."""
    sandbox = _answer("The whole sandbox.", {"type": "object"}, settings_document(SandboxSettings()))

    def told(said: str, answer: Documentation, *failures: HTTPStatus, **members: Any) -> Documentation:  # noqa: ANN401 - the operation's own
        return _operation(said, answer, *failures, tags=["sandbox"], **members)

    def asked(model: type[BaseModel], example: object) -> Documentation:
        return {"required": True, "content": _json({"$ref": REFERENCE.format(model=model.__name__)}, example)}

    pages = RequestsQuery.model_json_schema()["properties"]
    page = _answer("Some entries.", {"type": "object"}, {"requests": [], "next": None, "dropped": 0})
    card = _answer("The report card.", {"type": "object"}, asdict(report((), {})))
    card["content"] |= {media: {"schema": {"type": "string"}} for media in MEDIA_TYPES[1:]}
    scenarios = {"scenarios": [{"scenario": name, "meaning": told.meaning} for name, told in SCENARIOS.items()]}
    return {
        "/sandbox": {
            "get": told("Shows the caller's sandbox.", sandbox),
            "patch": told(
                "Changes settings; null stands for the server's own value.",
                sandbox,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                requestBody=asked(SandboxPatch, {"scenario": "flaky", "seed": 42}),
            ),
        },
        "/sandbox/clock": {
            "post": told(
                "Sets the clock's speed, stops it, or moves it ahead.",
                sandbox,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                requestBody=asked(ClockChange, {"advance": 1800}),
            )
        },
        "/sandbox/reset": {"post": told("Empties the sandbox: jobs, request log, faults, clock, settings.", sandbox)},
        "/sandbox/jobs/{job_id}": {
            "post": told(
                "Pauses, unpauses or finishes a pending job.",
                sandbox,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                HTTPStatus.NOT_FOUND,
                parameters=[JOB_ID],
                requestBody=asked(JobAction, {"do": "finish", "outcome": "error"}),
            )
        },
        "/sandbox/scenarios": {
            "get": told("Lists the scenarios.", _answer("The scenarios.", {"type": "object"}, scenarios))
        },
        "/sandbox/requests": {
            "get": told(
                "Pages through the request log, the oldest request first.",
                page,
                parameters=_query(pages),
            )
        },
        "/sandbox/report": {"get": told("Grades the client that sent the requests of the request log.", card)},
    }


def _held(snapshot: Documentation) -> Documentation:
    """A look that tells nothing new to those who know."""
    snapshot["responses"]["304"] = {"description": "As before.", "headers": RETRY_AFTER}
    return snapshot


def _list() -> Documentation:
    listed = {"type": "array", "items": _schema(NATIVE.job)}
    unknown = {"type": "array", "items": {"type": "string"}, "description": "in a bulk look: the ids of no job"}
    following = {"type": ["string", "null"], "description": "what to give as `after` for the next page"}
    body = {"type": "object", "properties": {"jobs": listed, "next": following, "unknown": unknown}}
    return _operation(
        "Lists the caller's jobs, newest first; or, with `job_id`, looks at up to 100 of them at once.",
        _answer("The jobs as they stand.", body, {"jobs": [json.loads(NATIVE.body(POLL))], "next": None}, RETRY_AFTER),
        parameters=_query(QUERY["properties"]),
        tags=[NATIVE.name],
    )


def _operation(
    said: str,
    answer: Documentation,
    *failures: HTTPStatus,
    code: int = HTTPStatus.OK,
    **members: object,
) -> Documentation:
    answers = {str(int(code)): answer} | _refused(*ALWAYS, *failures)
    return {"description": said, "responses": answers, **members}


def _refused(*failures: HTTPStatus) -> Documentation:
    return {str(failure.value): {"$ref": f"#/components/responses/{failure.name}"} for failure in failures}


def _problem(failure: HTTPStatus) -> Documentation:
    content = {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model="Problem")}}}
    return {"description": failure.phrase, "content": content}


def _query(properties: Mapping[str, Documentation]) -> list[Documentation]:
    """The parameters of a query, in which nothing can be null."""
    return [{"name": name, "in": "query", "schema": _not_null(schema)} for name, schema in properties.items()]


def _not_null(schema: Documentation) -> Documentation:
    first, *_ = schema.get("anyOf", [{}])
    return {word: value for word, value in (schema | first).items() if word != "anyOf" and value is not None}


def _answer(said: str, schema: Documentation, example: object, headers: Documentation | None = None) -> Documentation:
    return {"description": said, "headers": headers or {}, "content": _json(schema, example)}


def _json(schema: Documentation, example: object) -> Documentation:
    return {"application/json": {"schema": schema, "example": example}}


def _schema(template: object, facts: Mapping[str, Any] = SCHEMAS) -> Documentation:
    """The JSON schema of a template; of what is no fact there, the example tells enough."""
    if isinstance(template, Mapping):
        properties = {field: _schema(value, facts) for field, value in template.items()}
        return {"type": "object", "properties": properties}
    place = PLACE.fullmatch(template) if isinstance(template, str) else None
    return facts[place[1]] if place else {}


def _asked(template: Mapping[str, object], facts: Mapping[str, Any]) -> Documentation:
    """The JSON schema of a body that is sent, which holds nothing else."""
    schema = _schema(template, facts)
    nested = {field: _asked(value, facts) for field, value in template.items() if isinstance(value, Mapping)}
    return schema | {"properties": schema["properties"] | nested, "additionalProperties": False}


def _scheme(auth: str) -> Documentation:
    if auth in {"basic", "bearer"}:
        return {"type": "http", "scheme": auth}
    return {"type": "apiKey", "in": "header", "name": auth}
