"""What requests bring along."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json
from starlette.requests import Request

from translation_server.core import delays, faults
from translation_server.web.problems import Problem, invalid

MAX_BODY = 64 * 1024
"""Bytes that a request's body may hold."""

JSON = re.compile(r"application/(json|[\w.+-]+\+json)\s*(;.*)?", re.IGNORECASE)

TAGS = frozenset({*faults.KINDS, *delays.KINDS})
"""What tells one rule, or one distribution, from another."""

Model = TypeVar("Model", bound=BaseModel)


async def body_of(request: Request) -> bytes:
    """The request's body, however often it is asked for; refused as soon as it is known to be too large.

    Raises:
        Problem: 413 for one that is.
    """
    if "body" not in request.scope:
        request.scope["body"] = await _received(request)
    body: bytes | None = request.scope["body"]
    if body is None:
        detail = f"A body may hold {MAX_BODY} bytes."
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, {"Connection": "close"})
    return body


async def _received(request: Request) -> bytes | None:
    """The body as it is received; None for one that is too large."""
    body = bytearray()
    declared = int(request.headers.get("content-length", 0))
    if declared <= MAX_BODY:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                break
        else:
            return bytes(body)
    return None


def parsed(request: Request, body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        Problem: 415, 400 or 422 for what is none.
    """
    content_type = request.headers.get("content-type", "none")
    encoding = request.headers.get("content-encoding", "identity")
    if not JSON.fullmatch(content_type) or encoding != "identity":
        detail = f"The body must be plain application/json; this one is {content_type}, encoding {encoding}."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, {"Accept": "application/json"})
    try:
        document = from_json(body)
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise invalid([{"field": "body", "message": "must be an object"}])
    return document


async def read_body(model: type[Model], request: Request) -> Model:
    """The request's body as a model.

    Raises:
        Problem: for a body that is none.
    """
    body = await body_of(request)
    parsed(request, body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise refused(error, "body") from None


def refused(error: ValidationError, what: str) -> Problem:
    """What is wrong with a document, as an answer; ``what`` it is called as a whole."""
    return invalid(complaints(error, what))


def complaints(error: ValidationError, what: str) -> list[Mapping[str, str]]:
    """What is wrong with a document, field by field."""
    found = error.errors(include_url=False)
    return [{"field": _path(each["loc"]) or what, "message": _said(each)} for each in found]


def _path(loc: tuple[int | str, ...]) -> str:
    """The place of an error, but for the kinds that pydantic puts between."""
    named = [part for part in loc if part not in TAGS]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in named).lstrip(".")


def _said(error: ErrorDetails) -> str:
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return "there is no such field"
        case "union_tag_not_found":
            return "kind is missing"
        case "union_tag_invalid":
            kinds = error["ctx"]["expected_tags"].replace("'", "")
            return f"kind must be one of {kinds}"
    text = error["msg"].removeprefix("Value error, ")
    return text[0].lower() + text[1:]
