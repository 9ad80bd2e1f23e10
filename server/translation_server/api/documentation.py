"""The OpenAPI document. Each route is tagged with the dialects that share it, and has an example."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from http import HTTPStatus

from translation_server.api.openapi import (
    ERRORS,
    HINTS,
    IDEMPOTENCY_KEY,
    JOB_ID,
    JOBS_QUERY,
    LAST_EVENT_ID,
    LOCATION,
    POLLING,
    PROBLEM,
    REPLAYED,
    REQUESTS_QUERY,
    SANDBOX_MODELS,
    SIMULATE_FAULT,
    SUBMISSION,
    Part,
    answer,
    error_references,
    error_response,
    json_content,
    model_body,
    operation,
    query_parameters,
    request_schema,
    security_scheme,
    template_schema,
)
from translation_server.api.report_render import MEDIA_TYPES
from translation_server.api.schemas import JobAction
from translation_server.core.clock import VirtualTime
from translation_server.core.dialects.builtin import DIALECTS
from translation_server.core.dialects.dialect import Route
from translation_server.core.dialects.fields import FIELDS
from translation_server.core.dialects.template import fill
from translation_server.core.job import Fate, Job, JobSnapshot, State, Submission
from translation_server.core.report.report import report
from translation_server.core.sandbox import SandboxSettings
from translation_server.core.scenarios import SCENARIOS
from translation_server.documents import ClockChange, SandboxPatch, settings_document
from translation_server.version import __version__

TITLE = "Video translation"
DESCRIPTION = """
A stand-in for a slow, asynchronous job API: submit a job, then poll it until its status is no longer `pending`.
Every error is `application/problem+json`. A failed job is not an HTTP error: its `status` is `error` in a 200.
"""

JOB = Job(
    id="4f69cc76-5b9f-4b46-a514-bdd2c0e3314a",
    owner="admin",
    ordinal=1,
    created_at=VirtualTime(1767323045.678),
    fate=Fate(5.0, State.COMPLETED),
    submission=Submission("en", "es", 90.0),
)
SNAPSHOT = JobSnapshot(JOB, now=VirtualTime(1767323047.778))  # the job of all examples, and how it stands in them
NATIVE = DIALECTS[0]

EVENT = f"id: 1767323045678000\nevent: pending\ndata: {NATIVE.body(SNAPSHOT)}\n\n"


def document(routes: Sequence[Route], *, simulating: bool = True, secured: bool = True) -> Part:
    """Returns the OpenAPI document.

    Args:
        routes: the routes of the dialects; every server has the other ones.
        simulating: whether there are sandboxes.
        secured: whether callers need credentials.
    """
    paths: defaultdict[str, Part] = defaultdict(dict)
    for route in routes:
        paths[route.path][route.method.lower()] = _dialect_route(route, simulating=simulating)
    for path, operations in (_native_routes() | _health_checks()).items():
        paths[path] |= operations
    if simulating:
        for described in (described for operations in paths.values() for described in operations.values()):
            if described["tags"] != ["health"]:
                described["parameters"] = [*described.get("parameters", ()), SIMULATE_FAULT]
        paths |= _sandbox_routes()
    starting = {route.path for route in routes if route.action == "current"}
    for path, operations in paths.items():
        for method, described in operations.items():
            _add_refusals(described, secured=secured, safe=method == "get" and path not in starting)
    dialects = {dialect.name: dialect for route in routes for dialect in route.dialects}
    schemes = {dialect.auth: security_scheme(dialect.auth) for dialect in (NATIVE, *dialects.values())}
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": __version__, "description": DESCRIPTION},
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
        "tags": [{"name": name} for name in (*dialects, *(["sandbox"] if simulating else []), "health")],
    }


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
    dialect = route.dialects[0]
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
            parameters=[IDEMPOTENCY_KEY, *query_parameters({name: fields[name] for name in dialect.query})],
            requestBody={"required": False, "content": json_content(request_schema(request, fields), example)},
            **common,
        )
        submit["responses"] |= error_references(HTTPStatus.CONFLICT)
        return submit
    snapshot = answer("The job.", template_schema(dialect.job), json.loads(dialect.body(SNAPSHOT)), HINTS)
    if route.action == "poll":
        description = "Polls one of the caller's jobs. A failed job is not an HTTP error."
        poll = operation(description, snapshot, parameters=[JOB_ID, *POLLING], **common)
    else:
        description = "Polls the caller's latest job, and starts one if there is none."
        poll = operation(description, snapshot, parameters=POLLING, **common)
    poll["responses"]["304"] = {"description": "The job has not changed.", "headers": HINTS}
    return poll


def _native_routes() -> dict[str, Part]:
    """Returns the operations that only the native dialect has: lists, cancelling, and streams of events."""
    native = partial(operation, tags=[NATIVE.name])
    job, schema = json.loads(NATIVE.body(SNAPSHOT)), template_schema(NATIVE.job)
    properties = {
        "jobs": {"type": "array", "items": schema},
        "next": {"type": ["string", "null"], "description": "the value of `after` for the next page"},
        "unknown": {"type": "array", "items": {"type": "string"}, "description": "of a batch poll: the unknown ids"},
    }
    jobs = {"type": "object", "properties": properties}
    events = {
        "description": "Server-sent events, named after the status of the job, with the job as data.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EVENT}},
    }
    return {
        "/jobs": {
            "get": native(
                "Lists the caller's jobs, newest first. With `job_id`, polls up to 100 jobs at once (a batch poll).",
                answer("The jobs.", jobs, {"jobs": [job], "next": None}, HINTS),
                parameters=query_parameters(JOBS_QUERY["properties"]),
            )
        },
        "/jobs/{job_id}": {
            "delete": native(
                "Cancels a pending job. A job that has ended stays as it is.",
                answer("The job.", schema, job, HINTS),
                parameters=[JOB_ID],
            )
        },
        "/jobs/{job_id}/events": {
            "get": native(
                "Streams the job, and its end, which ends the stream.", events, parameters=[JOB_ID, LAST_EVENT_ID]
            )
        },
        "/events": {
            "get": native(
                "Streams the changes of the caller's jobs as they happen.", events, parameters=[LAST_EVENT_ID]
            )
        },
    }


def _health_checks() -> dict[str, Part]:
    checks = (("/livez", "The process is up.", "live"), ("/readyz", "The server accepts jobs.", "ready"))
    return {
        path: {
            "get": operation(
                description, answer(description, {"type": "object"}, {"status": status}), tags=["health"], security=[]
            )
        }
        for path, description, status in checks
    }


def _sandbox_routes() -> dict[str, Part]:
    """Returns the operations on the caller's sandbox."""
    route = partial(operation, tags=["sandbox"])
    sandbox = answer("The whole sandbox.", {"type": "object"}, settings_document(SandboxSettings()))
    requests = answer("A page of requests.", {"type": "object"}, {"requests": [], "next": None, "dropped": 0})
    card = answer("The report card.", {"type": "object"}, asdict(report((), {})))
    card["content"] |= {media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES[1:]}
    scenarios = [{"scenario": name, "meaning": scenario.meaning} for name, scenario in SCENARIOS.items()]
    return {
        "/sandbox": {
            "get": route("Shows the caller's sandbox.", sandbox),
            "patch": route(
                "Changes settings. Null restores the server's value.",
                sandbox,
                requestBody=model_body(SandboxPatch, {"scenario": "flaky", "seed": 42}),
            ),
        },
        "/sandbox/clock": {
            "post": route(
                "Sets the speed of the clock, stops it, or advances it.",
                sandbox,
                requestBody=model_body(ClockChange, {"advance": 1800}),
            )
        },
        "/sandbox/reset": {
            "post": route("Empties the sandbox: jobs, request log, faults, clock and settings.", sandbox)
        },
        "/sandbox/jobs/{job_id}": {
            "post": route(
                "Pauses, unpauses or finishes a pending job.",
                sandbox,
                parameters=[JOB_ID],
                requestBody=model_body(JobAction, {"do": "finish", "outcome": "error"}),
            )
        },
        "/sandbox/scenarios": {
            "get": route("Lists the scenarios.", answer("The scenarios.", {"type": "object"}, {"scenarios": scenarios}))
        },
        "/sandbox/requests": {
            "get": route(
                "Pages through the request log, the oldest request first.",
                requests,
                parameters=query_parameters(REQUESTS_QUERY["properties"]),
            )
        },
        "/sandbox/report": {"get": route("Grades the client that sent the requests of the request log.", card)},
    }
