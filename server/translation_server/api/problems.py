"""Every error as problem details (RFC 9457), those of the framework included."""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from translation_server.api.context import context_of
from translation_server.core.dialects.dialect import Api, ErrorFormat, header_lines, is_text, plain_text
from translation_server.core.dialects.template import fill, to_json
from translation_server.service.jobs import JobNotFound
from translation_server.storage import AmbiguousId, IdTaken, KeyReused, StoreError, TooLarge
from translation_server.validation import FieldError, summary

logger = logging.getLogger(__name__)

NOTHING_SIMULATED = "this server simulates nothing (SANDBOX=off)"

RETRY_AFTER = 1  # after how many seconds to repeat a request that the server could not serve
MAX_ERRORS = 20  # how many invalid fields an answer lists


class Problem(Exception):  # noqa: N818 - the standard's own word
    """An error that is answered as problem details; ``members`` are additional fields of the body."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, **members: object
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members

    def response(self, scope: Scope | None = None) -> Response:
        """Returns the problem as the response to a request, in the form of its API if that has one of its own."""
        api = api_of(scope) if scope else None
        if scope and api and api.error:
            return self._in_form(api.error, scope)
        body = {"type": "about:blank", "title": self.status.phrase, "status": self.status.value, "detail": self.detail}
        return JSONResponse(body | self.members, self.status, self.headers, "application/problem+json")

    def _in_form(self, form: ErrorFormat, scope: Scope) -> Response:
        context = context_of(scope)
        own = form.when.get(self.status.value)
        answer, code = (own, own.code) if own else (form.answer, self.status.value)
        errors = self.members.get("errors")
        [first, *_] = errors if isinstance(errors, list) else [{"field": None, "message": self.detail}]
        path = scope["path"].removeprefix(scope["root_path"] + (context.api.mount if context.api else ""))
        values = {
            **fields_of_error(form, self.status, self.detail),
            "reason": first["message"],
            "field": first["field"],
            "error_id": self.members.get("error_id") or secrets.token_hex(8),
            "path": path,
            "now": context.record.at,
        }
        lines, body = header_lines(answer.headers, values.get), to_json(fill(answer.body, values.get))
        text = plain_text(body) if is_text(lines) else body
        response = Response(text, code, self.headers, "application/json")
        replaced = {name for name, _ in lines}
        response.raw_headers = [*(one for one in response.raw_headers if one[0] not in replaced), *lines]
        return response


def fields_of_error(form: ErrorFormat, status: HTTPStatus, detail: str) -> dict[str, object]:
    """Returns the fields of an error in the form of an API that do not depend on the request."""
    own = form.when.get(status.value)
    code = own.code if own else status.value
    return {
        "detail": detail,
        "title": HTTPStatus(code).phrase if code in set(HTTPStatus) else status.phrase,
        "status_code": code,
        "error_type": form.types.get(status.value, form.types.get(code, form.default_type)),
    }


class CredentialsRefused(Problem):
    """The credentials of a request are missing, malformed or wrong."""


def invalid(errors: Sequence[FieldError]) -> Problem:
    """Returns the problem of a request with invalid fields: what is wrong with each, and what is allowed."""
    listed = errors[:MAX_ERRORS]
    more = len(errors) - len(listed)
    detail = f"{summary(listed)}; and {more} more" if more else summary(listed)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=listed)


def invalid_url() -> Problem:
    """Returns the problem of a URL that this server has not signed, whatever is wrong with it."""
    return Problem(HTTPStatus.FORBIDDEN, "This URL is not valid: poll the job for another one.")


def expired_url(scope: Scope) -> Problem:
    """Returns the problem of a signed URL whose time is over. It is answered in the form of the job's API."""
    context = context_of(scope)
    context.api = context.api or context.job_api
    return Problem(HTTPStatus.FORBIDDEN, "This URL has expired: poll the job for a new one.")


def describe(scope: Scope) -> str:
    """Returns a request and its user for the log, quoted, since both come from outside."""
    user = scope["context"].user if "context" in scope else ""
    return f"{scope['method']} {scope['path']!r} for {user or '-'!r}"


def api_of(scope: Scope) -> Api | None:
    """Returns the API whose form errors of a request have."""
    return context_of(scope).api if "context" in scope else None


def response_to(error: Exception, scope: Scope) -> Response:
    """Returns the response to a request that ended in one of the `EXPECTED` errors."""
    return _problem(error, scope).response(scope)


def _problem(error: Exception, scope: Scope) -> Problem:
    """Returns one of the `EXPECTED` errors as a problem."""
    match error:
        case Problem():
            return error
        case JobNotFound():
            status, detail = HTTPStatus.NOT_FOUND, "You have no job of this id."
        case AmbiguousId(jobs=jobs):
            kinds = " and ".join(f"the {job.kind} of {job.api}" for job in jobs)
            status = HTTPStatus.CONFLICT
            detail = f"You have several jobs {error}: {kinds}. Use the routes of their APIs."
        case TooLarge():
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            detail = "These jobs are too large to be polled together: poll fewer at once."
        case KeyReused():
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            detail = "This Idempotency-Key was used for another request: use a new key for a new job."
        case IdTaken():
            status, detail = HTTPStatus.CONFLICT, f"You already have a job {error}: choose another id, or none."
        case _:
            logger.error("%s failed: %s", describe(scope), error)
            detail = "The server cannot reach its jobs at the moment: try again."
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER)})
    return Problem(status, detail)


EXPECTED = (
    Problem,
    JobNotFound,
    AmbiguousId,
    TooLarge,
    KeyReused,
    IdTaken,
    StoreError,
)  # the errors whose cause the caller is told


def _allowed_methods(app: FastAPI, request: Request, methods_of: Callable[[str], set[str]]) -> set[str]:
    """Returns the methods of all routes of the request's path; the framework knows only those of the first route.

    To the framework, but not to us, a parameter of several segments may be empty.
    """
    methods = set[str]()
    for route in app.routes:
        match, found = route.matches(request.scope)
        if isinstance(route, Route) and match is not Match.NONE and all(found["path_params"].values()):
            methods |= route.methods or set()
    methods |= methods_of(request.scope["path"].removeprefix(request.scope["root_path"]))
    return methods | {"HEAD"} if "GET" in methods else methods


def install(app: FastAPI, methods_of: Callable[[str], set[str]]) -> None:
    """Makes an application answer every error as a problem; ``methods_of`` returns the dialects' methods of a path."""

    async def expected(request: Request, error: Exception) -> Response:
        return response_to(error, request.scope)

    for kind in EXPECTED:
        app.add_exception_handler(kind, expected)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        status, path = HTTPStatus(error.status_code), request.scope["path"]
        allowed = ", ".join(sorted(_allowed_methods(app, request, methods_of)))
        match status:
            case HTTPStatus.METHOD_NOT_ALLOWED | HTTPStatus.NOT_FOUND if allowed:
                detail = f"{path} takes {allowed}, not {request.method}."
                problem = Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, {"Allow": allowed})
            case HTTPStatus.METHOD_NOT_ALLOWED | HTTPStatus.NOT_FOUND:
                problem = Problem(HTTPStatus.NOT_FOUND, f"There is no {path} here: /docs lists all routes.")
            case _:
                problem = Problem(status, error.detail, error.headers)
        return problem.response(request.scope)
