"""Bodies and query parameters of requests: nothing that a client sends is ignored."""

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
"""How many bytes a body may have."""

JSON = re.compile(r"application/(json|[\w.+-]+\+json)\s*(;.*)?", re.IGNORECASE)

NOTHING = frozenset({b"", b"{}"})
"""The bodies that some clients send instead of none."""

TWICE = "comes more than once; send it once"

Endpoint = Callable[..., Awaitable[Response]]

Model = TypeVar("Model", bound=BaseModel)
AnyQuery = TypeVar("AnyQuery", bound=Query)


def taking(endpoint: Endpoint, query: type[Query] = Query, *, body: bool = False) -> Endpoint:
    """Returns an endpoint that refuses requests with unknown parameters or an unexpected body.

    Args:
        endpoint: answers the others; it finds the parameters in the context of the request.
        query: the model of the parameters.
        body: whether a body is expected. The endpoint validates it.
    """

    @wraps(endpoint)
    async def taken(request: Request, **arguments: Any) -> Response:  # noqa: ANN401 - the endpoint's own
        context_of(request).query = query_of(request, query)
        announced = "content-length" in request.headers or "transfer-encoding" in request.headers
        if announced and not body and (await body_of(request)).strip() not in NOTHING:
            raise invalid([{"field": "body", "message": "this route takes no body"}])
        return await endpoint(request, **arguments)

    return taken


def query_of(request: Request, model: type[AnyQuery]) -> AnyQuery:
    """Returns the query parameters of a request.

    Raises:
        Problem: 422 for a parameter that is unknown, comes twice, or has an invalid value.
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
    """Returns the body of a request, also when it was read before.

    Raises:
        Problem: 413 as soon as the body is known to be too large.
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
    detail = f"A body may have {MAX_BODY} bytes."
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, {"Connection": "close"})


def parsed(request: Request, body: bytes) -> dict[str, Any]:
    """Returns the JSON object in a body.

    Raises:
        Problem: 415, 400 or 422 if there is none.
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
    """Returns the names that come twice in an object of a body. A JSON parser would keep only the last value."""
    twice: list[str] = []

    def count(pairs: list[tuple[str, object]]) -> None:
        twice.extend(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)

    json.loads(body, object_pairs_hook=count)
    return twice


async def read_body(model: type[Model], request: Request) -> Model:
    """Returns the body of a request as a model.

    Raises:
        Problem: 413, 415, 400 or 422 for an unusable body.
    """
    body = await body_of(request)
    parsed(request, body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(field_errors(error, "body")) from None
