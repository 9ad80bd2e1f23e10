"""Reading the parameters and the body of a request. Unused parameters and fields are refused."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar, get_origin
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from translation_server.api.context import context_of
from translation_server.api.multipart import MAX_FIELDS, MultipartForm, file_description, too_large
from translation_server.api.preferences import values_of
from translation_server.api.problems import Problem, invalid
from translation_server.api.request_record import shortened
from translation_server.api.schemas import Query
from translation_server.core.dialects.operations import MediaKind
from translation_server.validation import FieldError, field_errors

MULTIPART, URL_ENCODED = "multipart/form-data", "application/x-www-form-urlencoded"
MEDIA_TYPES: Mapping[MediaKind, str] = {
    "json": "application/json",
    "untyped": "*/*",
    "form": URL_ENCODED,
    "multipart": MULTIPART,
    "any": "*/*",
}
ONLY_JSON: Sequence[MediaKind] = ("json",)
JSON = re.compile(r"application/(json|[\w.+-]+\+json|x-amz-json-1\.\d)\s*(;.*)?", re.IGNORECASE)

EMPTY_BODIES = frozenset({b"", b"{}"})
"""The bodies that some clients send where no body is needed."""

INFINITE = (float("inf"), float("-inf"))

REPEATED = "comes more than once; send it once"

Endpoint = Callable[..., Awaitable[Response]]

Model = TypeVar("Model", bound=BaseModel)
QueryModel = TypeVar("QueryModel", bound=Query)


def refuse_unused(endpoint: Endpoint, query: type[Query] = Query, *, body: bool = False) -> Endpoint:
    """Returns an endpoint that refuses requests with parameters or bodies that it does not use.

    Args:
        endpoint: answers all other requests; it finds their parameters in the context.
        query: the model of the parameters.
        body: whether requests may have a body, which the endpoint validates.
    """

    @wraps(endpoint)
    async def wrapped(request: Request, **arguments: Any) -> Response:  # noqa: ANN401 - the endpoint's own
        context_of(request).query = read_query(request, query)
        announced = "content-length" in request.headers or "transfer-encoding" in request.headers
        if announced and not body and (await body_of(request)).strip() not in EMPTY_BODIES:
            raise invalid([{"field": "body", "message": "this route takes no body"}])
        return await endpoint(request, **arguments)

    return wrapped


def read_query(request: Request, model: type[QueryModel]) -> QueryModel:
    """Returns the parameters of a request's target.

    Raises:
        Problem: 422 for unknown, repeated or invalid parameters.
    """
    values_by_name: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in request.query_params.multi_items():
        values_by_name[name].append(value)
    lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    errors: list[FieldError] = [
        {"field": name, "message": REPEATED}
        for name in model.model_fields
        if name not in lists and len(values_by_name[name]) > 1
    ]
    query = {name: values if name in lists else values[0] for name, values in values_by_name.items() if values}
    try:
        validated = model.model_validate(query)
    except ValidationError as error:
        errors += field_errors(error, "query", {name: name for name in model.model_fields})
    if errors:
        raise invalid(errors)
    return validated


async def body_of(request: Request) -> bytes:
    """Returns the body of a request. It may be called more than once.

    Raises:
        Problem: 413 as soon as the body is known to be too large.
    """
    context = context_of(request)
    if context.body is None:
        context.body = await _receive(request)
    if isinstance(context.body, Problem):
        raise context.body
    return context.body


async def record_body(request: Request) -> None:
    """Records a body that the route uses only in part, or not at all.

    Raises:
        Problem: 413 if it is too large.
    """
    context = context_of(request)
    was_read_as_form = context.document is not None and context.body is None
    if ("content-length" in request.headers or "transfer-encoding" in request.headers) and not was_read_as_form:
        context.record.body = shortened(await body_of(request))


async def _stream(request: Request) -> AsyncIterator[bytes]:
    """Yields the chunks of a body; one chunk if it was read already, to check its signature (`Authenticator.user`)."""
    if context_of(request).body is not None:
        yield await body_of(request)
        return
    async for chunk in request.stream():
        yield chunk


async def _receive(request: Request) -> bytes | Problem:
    body, most = bytearray(), context_of(request).max_body
    declared = int(request.headers.get("content-length", 0))
    if declared <= most:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                break
        else:
            return bytes(body)
    return too_large(f"A body may have {most} bytes (MAX_BODY).")


def parse_object(request: Request, body: bytes, accepts: Collection[MediaKind] = ONLY_JSON) -> dict[str, Any]:
    """Returns the JSON object in a body; ``accepts`` has the kinds of bodies that the route accepts.

    Raises:
        Problem: 415, 400 or 422 for anything else.
    """
    content_type = ", ".join(values_of(request, "content-type")) or "none"
    encoding = ", ".join(values_of(request, "content-encoding")) or "identity"
    is_encoded = encoding != "identity"
    if not ("untyped" in accepts or JSON.fullmatch(content_type)) or is_encoded:
        types = [MEDIA_TYPES[kind] for kind in accepts if MEDIA_TYPES[kind] != "*/*"] or [MEDIA_TYPES["json"]]
        found = f"{content_type}, with Content-Encoding: {encoding}" if is_encoded else content_type
        detail = f"The body must be {' or '.join(types)}, without a Content-Encoding; this one is {found}."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, {"Accept": ", ".join(types)})
    try:
        document = from_json(body, allow_inf_nan=False)
        errors = _errors(body)
    except ValueError as error:  # a number may have too many digits, too
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise invalid([{"field": "body", "message": "must be an object"}])
    if errors:
        raise invalid(errors)
    return document


def _errors(body: bytes) -> list[FieldError]:
    """Returns the mistakes in a JSON body that a parser does not report: repeated names and numbers that are too large.

    The parser takes the last value of a repeated name, and reads a number that is too large as infinity.

    Raises:
        ValueError: a number has too many digits.
    """
    errors: list[FieldError] = []

    def check(pairs: list[tuple[str, object]]) -> None:
        repeated = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
        errors.extend({"field": name, "message": REPEATED} for name in repeated)
        errors.extend({"field": name, "message": "must be a finite number"} for name, one in pairs if _is_infinite(one))

    json.loads(body, object_pairs_hook=check)
    return errors


def _is_infinite(value: object) -> bool:
    return any(map(_is_infinite, value)) if isinstance(value, list) else value in INFINITE


async def read_document(request: Request, accepts: Collection[MediaKind]) -> dict[str, Any]:
    """Returns the fields of a request's body, which may be of any accepted kind. It may be called again.

    Raises:
        Problem: 400, 413, 415 or 422 for any other body.
    """
    context = context_of(request)
    if context.document is None:
        try:
            context.document = await _read_document(request, accepts)
        except Problem as problem:  # a form cannot be read twice
            context.document = problem
    if isinstance(context.document, Problem):
        raise context.document
    return context.document


async def _read_document(request: Request, accepts: Collection[MediaKind]) -> dict[str, Any]:
    content_type, media_type = ", ".join(values_of(request, "content-type")), _media_type(request)
    if "multipart" in accepts and media_type == MULTIPART:
        limits = context_of(request)
        form = MultipartForm(content_type, max_text=limits.max_body, max_size=limits.max_upload)
        return await form.read(_stream(request))
    if "any" in accepts and not JSON.fullmatch(content_type):
        return await _read_file(request, content_type)
    body = await body_of(request)
    if not body.strip():
        return {}
    if "form" in accepts and media_type == URL_ENCODED:
        return _read_form(body)
    return parse_object(request, body, accepts)


def is_form(request: Request) -> bool:
    """Whether a body is a form, whose values are all texts."""
    return _media_type(request) in {MULTIPART, URL_ENCODED}


def _media_type(request: Request) -> str:
    return ", ".join(values_of(request, "content-type")).partition(";")[0].strip().lower()


async def _read_file(request: Request, content_type: str) -> dict[str, Any]:
    """Returns a description of a body of any type, which is read and dropped."""
    size, digest, most = 0, hashlib.sha256(), context_of(request).max_upload
    async for chunk in _stream(request):
        size += len(chunk)
        if size > most:
            raise too_large(f"An upload may have {most} bytes (MAX_UPLOAD).")
        digest.update(chunk)
    return {"body": file_description(None, content_type, size, digest.hexdigest())} if size else {}


def _read_form(body: bytes) -> dict[str, Any]:
    """Returns the fields of an HTML form; a list where a name is repeated."""
    fields = defaultdict[str, list[str]](list)
    if body.count(b"&") >= MAX_FIELDS:
        raise too_large(f"A form may have {MAX_FIELDS} fields.")
    for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        fields[name].append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in fields.items()}


async def read_body(model: type[Model], request: Request) -> Model:
    """Returns the body of a request as a model.

    Raises:
        Problem: 413, 415, 400 or 422 if the body is not valid.
    """
    body = await body_of(request)
    parse_object(request, body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(field_errors(error, "body")) from None
