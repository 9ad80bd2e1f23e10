"""The parts of the OpenAPI document: parameters, headers, schemas, responses and operations."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from translation_server.api.bodies import MEDIA_TYPES
from translation_server.api.problems import fields_of_error
from translation_server.api.schemas import JobAction
from translation_server.core.clock import VirtualTime
from translation_server.core.dialects.authentication import SIGV4, token_form
from translation_server.core.dialects.builtin import DIALECTS
from translation_server.core.dialects.dialect import ErrorFormat
from translation_server.core.dialects.fields import FIELDS
from translation_server.core.dialects.operations import IdPlace, MediaKind, Where
from translation_server.core.dialects.template import Node, Placeholder, fill
from translation_server.core.faults.rules import REQUEST_KINDS
from translation_server.core.job import Fate, Job, JobSnapshot, State, Submission
from translation_server.documents import ClockChange, Receiver, SandboxPatch

Part = dict[str, Any]  # a part of the document
REFERENCE = "#/components/schemas/{model}"
FIELD_SCHEMAS = {name: dict(field.schema) for name, field in FIELDS.items()}  # the schema of each field of a job

PROBLEM: Part = {
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
            "description": "what is wrong with each invalid field, and what is allowed",
            "items": {"type": "object", "properties": {"field": {"type": "string"}, "message": {"type": "string"}}},
        },
        "error_id": {"type": "string", "description": "of a 500: the id of its entry in the server's log"},
    },
    "example": {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "You have no job of this id."},
}

TEXT = {"type": "string"}
EXAMPLE_TIME = 1767323045.678  # seconds since the epoch


def _header(name: str, description: str, **members: object) -> Part:
    return {"name": name, "in": "header", "description": description, "schema": TEXT, **members}


# Parameters


def path_parameter(name: str) -> Part:
    """Returns a parameter of a path."""
    return {"name": name, "in": "path", "required": True, "schema": TEXT}


JOB_ID = path_parameter("job_id")
PREFER = _header(
    "Prefer", "`wait=N` holds the answer until the job changes, for at most N seconds and at most 60", example="wait=25"
)
IF_NONE_MATCH = _header(
    "If-None-Match", "the ETag of an earlier answer: the answer is 304 if the job has not changed since"
)
RANGE = _header("Range", "some of the file's bytes, one range", example="bytes=1000-")
IF_RANGE = _header("If-Range", "an ETag: if the file has another one by now, the answer is the whole file")
LAST_EVENT_ID = _header(
    "Last-Event-ID", "the id of the last event that was received: the stream begins with the changes after it"
)
SIMULATE_FAULT = _header(
    "Simulate-Fault",
    "a fault for this request: a kind, or a fault rule as in `PATCH /sandbox` as JSON",
    schema={
        "anyOf": [
            {**TEXT, "enum": [kind for kind in REQUEST_KINDS if kind != "status"]},
            {**TEXT, "contentMediaType": "application/json", "pattern": r"^\{.*\}$"},
        ]
    },
)


def idempotency_key(place: IdPlace | None) -> Sequence[Part]:
    """Returns the header with the idempotency key, if an API has one."""
    if place is None or place.source != "header":
        return []
    description = "requests with the same key and body get the same job, however often they are sent"
    return [_header(place.name, description, schema={**TEXT, "pattern": "^[!#-~]{1,255}$"})]


def route_conditions(where: Where) -> Sequence[Part]:
    """Returns the headers and parameters that tell an operation from others at the same path."""
    return [
        {"name": name, "in": place, "required": True, "schema": {"const": value}}
        for place, values in (("header", where.header), ("query", where.query))
        for name, value in values.items()
    ]


# Headers of answers

COUNT = {"type": "integer", "minimum": 1}
LOCATION = {"Location": {"description": "where to poll the job", "schema": TEXT}}
REPLAYED = {
    "Idempotency-Replayed": {"description": "`true` if an earlier request with this key made the job", "schema": TEXT}
}
HINTS = {
    "Retry-After": {"description": "when to poll next, in seconds; only while the job is pending", "schema": COUNT},
    "retry-after-ms": {"description": "the same in milliseconds", "schema": COUNT},
    "Wall-Elapsed-Time": {
        "description": "the elapsed_time of each job in wall time, in seconds; only if the sandbox's clock was set",
        "schema": TEXT,
    },
}

# Errors

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
"""The errors of every route."""

ERRORS = (
    *ALWAYS,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)


DETAILS: Mapping[HTTPStatus, str] = {
    HTTPStatus.BAD_REQUEST: "The body is not JSON: line 1, column 2.",
    HTTPStatus.UNAUTHORIZED: "Send the credentials of a user.",
    HTTPStatus.FORBIDDEN: "A browser sent this for a page of another site.",
    HTTPStatus.NOT_FOUND: "You have no job of this id.",
    HTTPStatus.REQUEST_TIMEOUT: "The request's body took too long to arrive.",
    HTTPStatus.CONFLICT: "You have several jobs of this id: use the routes of their APIs.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body may have 262144 bytes.",
    HTTPStatus.REQUEST_URI_TOO_LONG: "A request's head may have 65536 bytes.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is of a type that this route does not take, or compressed.",
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: "The file has 1024 bytes.",
    HTTPStatus.MISDIRECTED_REQUEST: "This server is not called api.example: set ALLOWED_HOSTS.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "video_length: must be a number from 0.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many wrong passwords: try again in a minute.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "A request's head may have 65536 bytes and 100 fields.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The server failed. Its log has more under the id 9f86d081884c7d65.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The server cannot reach its jobs at the moment: try again.",
}
"""An example of what an answer says of each error."""


@cache
def schema_of(model: type[BaseModel]) -> Part:
    """Returns the JSON schema of a model."""
    return model.model_json_schema(ref_template=REFERENCE)


@cache
def sandbox_schemas() -> Part:
    """Returns the JSON schemas of the bodies for sandboxes, and of their parts."""
    models = SandboxPatch, ClockChange, JobAction, Receiver
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    schemas: Part = found["$defs"]
    for schema in schemas.values():
        if "kind" in schema.get("properties", {}):  # it has a default in Python, but requests must send it
            schema["required"] = sorted({"kind", *schema.get("required", ())})
    return schemas


def operation(
    description: str, answer: Part, *, code: int = HTTPStatus.OK, parameters: Sequence[Part] = (), **members: object
) -> Part:
    """Returns an operation, with the errors of every route, of job ids and of bodies."""
    errors = [*ALWAYS]
    if JOB_ID in parameters:
        errors += [HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT]
    if "requestBody" in members:
        errors.append(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    responses = {str(int(code)): answer} | error_references(*errors)
    summary, *more = description.partition("\n")[0].split(". ")
    text = {"description": description} if more or "\n" in description.strip() else {}
    return {"summary": summary.rstrip("."), **text, "responses": responses, **members} | (
        {"parameters": parameters} if parameters else {}
    )


def error_references(*errors: HTTPStatus) -> Part:
    """Returns references to the responses of errors."""
    return {str(error.value): {"$ref": f"#/components/responses/{error.name}"} for error in errors}


def error_response(error: HTTPStatus) -> Part:
    """Returns the response of an error."""
    body = {"type": "about:blank", "title": error.phrase, "status": error.value, "detail": DETAILS[error]}
    content = {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model="Problem")}, "example": body}}
    return {"description": error.phrase, "content": content}


def own_errors(responses: Part, form: ErrorFormat) -> Part:
    """Returns the responses of an operation whose API has a form of its own for errors, and codes of its own.

    Errors from before the API is known, such as that of a head that is too large, are problem details there, too.
    """
    own = dict(responses)
    for code, response in responses.items():
        if "$ref" in response:
            error = HTTPStatus(int(code))
            answer = form.when.get(error.value, form.answer)
            headers = {name.lower(): value for name, value in answer.headers.items()}
            media_type = str(headers.get("content-type", "application/json"))
            own_code = answer.code if error.value in form.when else error.value
            content = {media_type: {"example": _own_error(form, error)}} | error_response(error)["content"]
            own[str(own_code)] = {"description": error.phrase, "content": content}
    return own


def _own_error(form: ErrorFormat, error: HTTPStatus) -> object:
    """Returns an example of an error in the form of an API."""
    detail = DETAILS[error]
    of_request = {"reason": detail, "field": None, "error_id": "9f86d081884c7d65", "path": "/", "now": EXAMPLE_TIME}
    return fill(
        form.when.get(error.value, form.answer).body, {**fields_of_error(form, error, detail), **of_request}.get
    )


def answer(description: str, schema: Part, example: object, headers: Part | None = None) -> Part:
    """Returns a response with a JSON body."""
    return {"description": description, "headers": headers or {}, "content": json_content(schema, example)}


def json_content(schema: Part, example: object) -> Part:
    """Returns the content of a JSON body."""
    return {"application/json": {"schema": schema, "example": example}}


def model_body(model: type[BaseModel], example: object) -> Part:
    """Returns a request body that is a model."""
    return {"required": True, "content": json_content({"$ref": REFERENCE.format(model=model.__name__)}, example)}


def query_parameters(properties: Mapping[str, Part]) -> list[Part]:
    """Returns the parameters of a query. Unlike in a body, none can be null."""
    return [{"name": name, "in": "query", "schema": _not_null(schema)} for name, schema in properties.items()]


def _not_null(schema: Part) -> Part:
    first, *_ = schema.get("anyOf", [{}])
    return {word: value for word, value in (schema | first).items() if word != "anyOf" and value is not None}


def template_schema(node: Node, fields: Mapping[str, Any] = FIELD_SCHEMAS) -> Part:
    """Returns the JSON schema of a body template. Constants have none: the example shows them."""
    match node:
        case Mapping():
            return {"type": "object", "properties": {name: template_schema(one, fields) for name, one in node.items()}}
        case list():
            return {"type": "array"}
        case Placeholder() if node.convert is (FIELDS[node.name].convert if node.name in FIELDS else None):
            schema: Part = fields.get(node.name, {})
            return schema
    return {}


def request_schema(node: Node, fields: Mapping[str, Any], *, closed: bool) -> Part:
    """Returns the JSON schema of a request's body template; if it is ``closed``, no other fields are allowed."""
    schema = template_schema(node, fields)
    if not isinstance(node, Mapping):
        return schema
    nested = {
        name: request_schema(one, fields, closed=closed) for name, one in node.items() if isinstance(one, Mapping)
    }
    return schema | {"properties": schema["properties"] | nested, "additionalProperties": not closed}


def with_required(schema: Part, groups: Sequence[Sequence[str]]) -> Part:
    """Returns the JSON schema of a request that must have one field of each group, given by their dotted paths."""
    if not groups:
        return schema
    named: Part = {path.partition(".")[0]: {} for group in groups for path in group}
    alternatives = [[_required(path.split(".")) for path in group] for group in groups]
    all_of = [group[0] if len(group) == 1 else {"anyOf": group} for group in alternatives]
    return schema | {"properties": named | schema.get("properties", {}), "allOf": all_of}


def _required(names: Sequence[str]) -> Part:
    first, *rest = names
    return {"required": [first], "properties": {first: _required(rest) if rest else {"not": {"type": "null"}}}}


def with_example(sample: Any, path: str) -> Any:  # noqa: ANN401 - any JSON
    """Returns an example of a request that has a field at a dotted path."""
    name, _, rest = path.partition(".")
    sample = sample if isinstance(sample, Mapping) else {}
    return {**sample, name: with_example(sample.get(name), rest) if rest else sample.get(name, "text")}


def request_content(accepts: Sequence[MediaKind], schema: Part, example: object) -> Part:
    """Returns the content of a body that may be of several kinds."""
    return {MEDIA_TYPES[kind]: {"schema": {} if kind == "any" else schema, "example": example} for kind in accepts}


def security_scheme(auth: str) -> Part:
    """Returns the security scheme of an API's authentication."""
    form = token_form(auth)
    if auth == SIGV4:
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": "AWS Signature Version 4"}
    if form is None or (form.header == "Authorization" and form.word == "Bearer"):
        return {"type": "http", "scheme": "bearer" if form else "basic"}
    if form.parameter:
        return {"type": "apiKey", "in": "query", "name": form.parameter}
    return {"type": "apiKey", "in": "header", "name": form.header, "description": auth}


POLLING: Sequence[Part] = [PREFER, IF_NONE_MATCH]  # the parameters of every poll

# The job in all examples, its snapshot, and the answer to a poll of it

NATIVE = DIALECTS[0]
JOB = Job(
    id="4f69cc76-5b9f-4b46-a514-bdd2c0e3314a",
    owner="admin",
    ordinal=1,
    created_at=VirtualTime(EXAMPLE_TIME),
    fate=Fate(5.0, State.COMPLETED),
    submission=Submission("en", "es", 90.0),
)
SNAPSHOT = JobSnapshot(JOB, now=VirtualTime(1767323047.778))
EXAMPLE = json.loads(NATIVE.body(SNAPSHOT))
JOB_SCHEMA = template_schema(NATIVE.poll.answer.body)
