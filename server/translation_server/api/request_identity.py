"""The identity of a submission: its idempotency key, and the digest of its body."""

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.requests import Request

from translation_server.api.bodies import read_document
from translation_server.api.context import context_of
from translation_server.api.preferences import values_of
from translation_server.api.problems import Problem, invalid
from translation_server.core.dialects.dialect import Api
from translation_server.core.dialects.routes import Route
from translation_server.core.dialects.template import value_at
from translation_server.core.fingerprint import fingerprint

IDEMPOTENCY_KEY = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')
"""A structured-field string, as the draft says, or the bare token that most clients send."""


BODY_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def route_of(request: Request) -> Route:
    """Returns the dialect's route of a request.

    Raises:
        RuntimeError: the framework serves the request.
    """
    route = context_of(request).route
    if route is None:
        raise RuntimeError("only requests of dialects have a route")
    return route


async def id_value(request: Request, route: Route, parameters: Mapping[str, str]) -> object:
    """Returns the value at the place of the job's id in a request; None if there is none."""
    place = route.operation.job_id
    match place.source:
        case "query":
            return request.query_params.get(place.name)
        case "header":
            return next(iter(values_of(request, place.name)), None)
        case "body":
            return value_at(await read_document(request, route.operation.accepts), place.name)
    return parameters.get(place.name)


async def record_submission(request: Request, parameters: Mapping[str, str]) -> None:
    """Records the idempotency key and the digest of a submission, by which the report card recognizes retries.

    ``parameters`` are those of its path.

    Raises:
        Problem: the body or the key cannot be read.
    """
    route, record = route_of(request), context_of(request).record
    document = await read_document(request, route.operation.accepts)
    record.key = _idempotency_key(request, route.api, document)
    if route.api.idempotency is None:
        record.known_by = "nothing" if await id_value(request, route, parameters) is None else "id"
    digest = hashlib.blake2b(request.scope["query_string"] + b"?" + fingerprint(document), digest_size=8)
    record.digest = digest.hexdigest()


def _idempotency_key(request: Request, api: Api, document: Mapping[str, Any]) -> str | None:
    place = api.idempotency
    if place is None:
        return None
    if place.source == "body":
        key = value_at(document, place.name)
        if key is None or (isinstance(key, str) and BODY_KEY.fullmatch(key)):
            return key
        raise invalid([{"field": place.name, "message": "must be a key of 1 to 255 visible ASCII characters"}])
    headers = values_of(request, place.name.lower())
    if not headers:
        return None
    match = IDEMPOTENCY_KEY.fullmatch(headers[0])
    if match is None or len(headers) > 1:
        detail = (
            f'{place.name} must be one key of 1 to 255 visible ASCII characters except ", in double quotes or without.'
        )
        raise Problem(HTTPStatus.BAD_REQUEST, detail)
    return match[1] or match[2]
