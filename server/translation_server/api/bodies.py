"""What requests bring along."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from translation_server.api.context import context_of
from translation_server.api.preferences import values_of
from translation_server.api.problems import Problem, invalid
from translation_server.api.schemas import Query
from translation_server.validation import FieldError, field_errors

MAX_BODY = 64 * 1024
"""Bytes that a request's body may hold."""

JSON = re.compile(r"application/(json|[\w.+-]+\+json)\s*(;.*)?", re.IGNORECASE)

NOTHING = frozenset({b"", b"{}"})
"""The bodies that some clients send where there is none."""

TWICE = "comes more than once; send it once"

Endpoint = Callable[..., Awaitable[Response]]

Model = TypeVar("Model", bound=BaseModel)
Asked = TypeVar("Asked", bound=Query)


def taking(endpoint: Endpoint, query: type[Query] = Query, *, body: bool = False) -> Endpoint:
    """The endpoint, for requests that bring nothing but what it takes, lest anything be dropped silently.

    Args:
        endpoint: answers them; the request's context holds the parameters.
        query: what they may ask for in the query of their target.
        body: whether they may have a body; what is wrong with it is for the endpoint to say.
    """

    @wraps(endpoint)
    async def taken(request: Request, **arguments: Any) -> Response:  # noqa: ANN401 - the endpoint's own
        context_of(request).query = query_of(request, query)
        announced = "content-length" in request.headers or "transfer-encoding" in request.headers
        if announced and not body and (await body_of(request)).strip() not in NOTHING:
            raise invalid([{"field": "body", "message": "this route takes none"}])
        return await endpoint(request, **arguments)

    return taken


def query_of(request: Request, model: type[Asked]) -> Asked:
    """What a request asks for in the query of its target.

    Raises:
        Problem: 422 for a parameter that there is not, that comes twice, or that makes no sense.
    """
    sent: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in request.query_params.multi_items():
        sent[name].append(value)
    lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    wrong: list[FieldError] = [
        {"field": name, "message": TWICE} for name in model.model_fields if name not in lists and len(sent[name]) > 1
    ]
    values = {name: values if name in lists else values[0] for name, values in sent.items() if values}
    try:
        found = model.model_validate(values)
    except ValidationError as error:
        wrong += field_errors(error, "query", {name: name for name in model.model_fields})
    if wrong:
        raise invalid(wrong)
    return found


async def body_of(request: Request) -> bytes:
    """The request's body, however often it is asked for; refused as soon as it is known to be too large.

    Raises:
        Problem: 413 for one that is.
    """
    context = context_of(request)
    if context.body is None:
        context.body = await _received(request)
    if isinstance(context.body, Problem):
        raise context.body
    return context.body


async def _received(request: Request) -> bytes | Problem:
    """Receives the body."""
    body = bytearray()
    declared = int(request.headers.get("content-length", 0))
    if declared <= MAX_BODY:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                break
        else:
            return bytes(body)
    detail = f"A body may hold {MAX_BODY} bytes."
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, {"Connection": "close"})


def parsed(request: Request, body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        Problem: 415, 400 or 422 for what is none.
    """
    content_type = ", ".join(values_of(request, "content-type")) or "none"
    encoding = ", ".join(values_of(request, "content-encoding")) or "identity"
    if not JSON.fullmatch(content_type) or encoding != "identity":
        detail = f"The body must be plain application/json; this one is {content_type}, encoding {encoding}."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, {"Accept": "application/json"})
    try:
        document = from_json(body)
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise invalid([{"field": "body", "message": "must be an object"}])
    if twice := _twice(body):
        raise invalid([{"field": name, "message": TWICE} for name in twice])
    return document


def _twice(body: bytes) -> list[str]:
    """The names that come twice in one of the objects of a body; a parser of JSON would keep the last of them alone."""
    twice: list[str] = []

    def count(pairs: list[tuple[str, object]]) -> None:
        twice.extend(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)

    json.loads(body, object_pairs_hook=count)
    return twice


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
        raise invalid(field_errors(error, "body")) from None
