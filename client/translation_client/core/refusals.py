"""Refusals: the exception for each, with the text and the code from the API's own form of errors.

A body is read by the dialect's `error`. A body of another form is read as a problem document (RFC 9457), because
proxies and frameworks may answer instead of the API.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

from translation_client.core.dialects import NAMED, Dialect, Number
from translation_client.core.effects import Reply
from translation_client.core.errors import (
    AuthenticationError,
    InvalidRequest,
    NotFound,
    ProtocolError,
    TranslationError,
)
from translation_client.core.templates import Node, fits, paths, read
from translation_client.core.text import one_line

SUCCESS, REFUSED = 2, 4  # classes of status codes
INVALID = frozenset({400, 405, 406, 409, 410, 413, 414, 415, 422, 431})  # the request is wrong, and stays so
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_ERRORS = 20  # of a problem document, in a message


class Problem(NamedTuple):
    """The content of a refusal's body."""

    text: str  # in one line; may be empty
    code: str | None  # the API's own code
    errors: tuple[Mapping[str, Any], ...]  # the fields that are wrong


def refusal(dialect: Dialect, reply: Reply) -> TranslationError:
    """Returns the exception for an answer that is not a success."""
    status, (text, code, errors) = reply.code, problem_of(dialect, reply)
    problem = f"{status} {text or 'without a reason'}"
    match status:
        case 401:
            credentials = "user name and the password" if dialect.auth in NAMED else "token"
            if dialect.auth not in NAMED and reply.headers.get("www-authenticate", "").lower().startswith("basic"):
                credentials = f"server's address: it is that of the API, which is below {dialect.mount} on our server"
            return AuthenticationError(f"{problem}. Check the {credentials}.", status, code)
        case 403:
            signed = "Check the user name, the password and the clock"
            remedy = signed if dialect.auth == "sigv4" else "Log in as a user who may do this"
            return AuthenticationError(f"{problem}. {remedy}.", status, code)
        case 404:
            return NotFound(f"{problem}. Check the job's id and owner, and the server's address.", code)
        case _ if status in INVALID:
            is_clear = True
        case _:
            is_clear = bool(text) and status // 100 == REFUSED
    if is_clear:
        next_step = "Correct the request: unchanged, it will be refused again."
        return InvalidRequest(f"{problem}. {next_step}", status, errors, code)
    if status in REDIRECTS:
        target = one_line(reply.headers.get("location", "nowhere"))
        return ProtocolError(f"the server redirects ({status}) to {target}. Use that as the server's address.")
    return unexpected("an event stream" if status // 100 == SUCCESS else "a success", reply)


def understood(dialect: Dialect, reply: Reply) -> Reply:
    """Returns an answer with the status code for its error, if the API sends this error with another status code.

    So a temporary failure is retried, and an unknown job raises `NotFound`.
    """
    errors = [one for one in dialect.shared_codes if one.shown == reply.code and not {one.code, one.shown} <= INVALID]
    document = json_of(reply.body) if errors else None
    return next((replace(reply, code=one.code) for one in errors if fits(one.body, document)), reply)


def problem_of(dialect: Dialect, reply: Reply) -> Problem:
    """Returns the content of a refusal's body."""
    document = json_of(reply.body)
    if not isinstance(document, dict):
        return Problem("", None, ())
    *particular, general = dialect.error or ({},)
    values: dict[str, Any] = {}
    for template in (*(one for one in particular if fits(one, document)), general):
        values = {name: value for name, value in read(template, document).items() if value is not None} | values
    if not values.keys() & {"detail", "reason", "title"}:
        values = document
    title, field, code = values.get("title"), values.get("field"), values.get("error_type")
    detail, reason = values.get("detail"), values.get("reason")
    named = f"{field}: {reason}" if isinstance(field, str) and isinstance(reason, str) else reason
    errors = _errors(values.get("errors")) or _errors(detail) or _items([*particular, general], document)
    messages = (
        f"{error['field']}: {error.get('message')}" if error.get("field") else error.get("message")
        for error in errors[:MOST_ERRORS]
        if detail is None or error.get("message") != detail
    )
    if reason is not None and str(reason) not in str(detail):
        detail = f"{detail.rstrip('.')}. {named}" if isinstance(detail, str) else named
    parts = (title, detail, *(message for message in messages if str(message) not in str(detail)))
    texts = [one_line(part).rstrip(".") for part in parts if isinstance(part, str)]
    if not errors and isinstance(field, str):
        errors = ({"field": field, "message": reason or detail},)
    return Problem(". ".join(texts), str(code) if isinstance(code, str | int) else None, errors)


def _items(templates: Sequence[Node], document: object) -> tuple[Mapping[str, Any], ...]:
    """Returns the errors in a list whose template is a list of one error; nothing for a list of one, which is read."""
    for template in templates:
        match template, document:
            case [Mapping() as item], list(listed) if {"detail", "reason"} & paths(item).keys() and len(listed) > 1:
                found = [read(item, one) for one in listed if isinstance(one, Mapping)]
                return tuple(
                    {"field": one.get("field"), "message": one.get("reason", one.get("detail"))} for one in found
                )
            case Mapping(), Mapping():
                inner = [_items([value], document.get(key)) for key, value in template.items()]
                if errors := next(filter(None, inner), ()):
                    return errors
    return ()


def _errors(listed: object) -> tuple[Mapping[str, Any], ...]:
    """Returns the errors in a list, each with a `field` and a `message`; also those in pydantic's form."""
    errors = [error for error in listed if isinstance(error, dict)] if isinstance(listed, list) else []
    return tuple(
        {**error, "field": ".".join(map(str, error["loc"][1:])), "message": error["msg"]}
        if isinstance(error.get("loc"), list) and "msg" in error
        else error
        for error in errors
    )


def unexpected(expected: str, reply: Reply) -> ProtocolError:
    """Returns the exception for an unexpected answer."""
    excerpt = one_line(reply.body[:1000].decode(errors="replace"))
    found = f"expected {expected}, but the answer was {reply.code} with {excerpt!r}"
    return ProtocolError(f"{found}. Check that the server's address is that of a job API of this kind.")


def json_of(body: bytes | str) -> object:
    """Returns the document; None for invalid JSON, including NaN and Infinity."""
    try:
        document: object = json.loads(body, parse_float=Number, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
