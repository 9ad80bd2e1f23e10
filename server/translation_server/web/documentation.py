"""What OpenAPI tells about each route; the routes themselves answer with finished responses."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from translation_server.web.schemas import (
    EXAMPLES,
    HealthBody,
    JobBody,
    JobsBody,
    ProblemBody,
    SubmissionBody,
)

DESCRIPTION = """
A stand-in for a slow, asynchronous job API: submit a job, then look at its status until it is no longer `pending`.
Every error is `application/problem+json`. A failed job is no error: it is a 200 whose `status` is `error`.
"""

Documentation = dict[str, Any]

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "the same key and body give the same job again, however often they are sent",
    "schema": {"type": "string", "pattern": "^[!#-~]{1,255}$"},
}
LOCATION = {"description": "where to look at the job", "schema": {"type": "string"}}
RETRY_AFTER = {
    "description": "seconds until the next look is worth its while; only while the job is pending",
    "schema": {"type": "integer", "minimum": 1},
}


def _reference(model: type[BaseModel]) -> Documentation:
    return {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}


def _answers(status: HTTPStatus, answer: Documentation, *problems: HTTPStatus) -> dict[int, Documentation]:
    """What a route answers when all is well, and the problems it may answer with."""
    failures = (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, *problems)
    content = {"application/problem+json": _reference(ProblemBody)}
    return {status.value: answer} | {
        failure.value: {"description": failure.phrase, "content": content} for failure in sorted(failures)
    }


SUBMIT: Documentation = {
    "tags": ["jobs"],
    "status_code": HTTPStatus.ACCEPTED,
    "responses": _answers(
        HTTPStatus.ACCEPTED,
        {
            "description": "Accepted: the job is on disk.",
            "model": JobBody,
            "headers": {"Location": LOCATION, "Retry-After": RETRY_AFTER},
        },
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    "openapi_extra": {
        "parameters": [IDEMPOTENCY_KEY],
        "requestBody": {"required": False, "content": {"application/json": _reference(SubmissionBody)}},
    },
}
LOOK: Documentation = {
    "tags": ["jobs"],
    "responses": _answers(
        HTTPStatus.OK,
        {"description": "The job as it stands.", "model": JobBody, "headers": {"Retry-After": RETRY_AFTER}},
        HTTPStatus.NOT_FOUND,
    ),
}
CANCEL: Documentation = {
    "tags": ["jobs"],
    "responses": _answers(
        HTTPStatus.OK,
        {"description": "The job as it stands now.", "model": JobBody},
        HTTPStatus.NOT_FOUND,
    ),
}
JOBS: Documentation = {
    "tags": ["jobs"],
    "responses": _answers(
        HTTPStatus.OK,
        {"description": "The jobs as they stand.", "model": JobsBody},
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
}
HEALTH: Documentation = {
    "tags": ["health"],
    "responses": {HTTPStatus.OK.value: {"description": "Yes.", "model": HealthBody}},
    "openapi_extra": {"security": []},
}


def document(app: FastAPI) -> None:
    """Completes the app's OpenAPI page by what holds for all routes: the credentials, and the shared schemas."""
    generated = app.openapi

    def openapi() -> Documentation:
        page = generated()
        components = page["components"]
        components["securitySchemes"] = {"basic": {"type": "http", "scheme": "basic"}}
        for model, example in EXAMPLES.items():
            components["schemas"].setdefault(model.__name__, model.model_json_schema())["example"] = example
        page["security"] = [{"basic": []}]
        return page

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents
