"""The native API's routes, built from its row."""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from translation_server.core.dialects import NATIVE
from translation_server.core.job import Look, Submission
from translation_server.service import Service
from translation_server.web.documentation import CANCEL, HEALTH, JOBS, LOOK, SUBMIT, Documentation
from translation_server.web.problems import Problem, invalid
from translation_server.web.schemas import JobsQuery, SubmissionBody

MAX_BODY = 64 * 1024
"""Bytes that a request's body may hold."""

IDEMPOTENCY_KEY = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')
"""A structured-field string, as the draft has it, or the bare token that most clients send."""

JSON = re.compile(r"application/(json|[\w.+-]+\+json)\s*(;.*)?", re.IGNORECASE)


class Api:
    """The native API over a service.

    Args:
        service: what the routes call.
        draining: whether the server is about to stop.
    """

    def __init__(self, service: Service, draining: Callable[[], bool]) -> None:
        self._service = service
        self._draining = draining

    def add_to(self, app: FastAPI) -> None:
        """Gives the app the routes of the jobs, and the health checks."""
        rows: list[tuple[str, str, Callable[..., Any], Documentation]] = [
            *(("POST", path, self.submit, SUBMIT) for path in NATIVE.submit),
            *(("GET", path, self.look, LOOK) for path in NATIVE.look),
            ("GET", "/jobs", self.jobs, JOBS),
            ("DELETE", "/jobs/{job_id}", self.cancel, CANCEL),
            ("GET", "/livez", self.livez, HEALTH),
            ("GET", "/readyz", self.readyz, HEALTH),
        ]
        for method, path, endpoint, documentation in rows:
            app.add_api_route(path, endpoint, methods=[method], **documentation)

    async def submit(self, request: Request) -> Response:
        """Accepts a job. It is on disk before the answer leaves."""
        submission = await _submission(request)
        accepted = await self._service.submit(request.scope["user"], submission, _idempotency_key(request))
        headers = {"Location": NATIVE.look[0].format(job_id=accepted.look.job.id)}
        if accepted.replayed:
            headers["Idempotency-Replayed"] = "true"
        return self._answer(accepted.look, HTTPStatus.ACCEPTED, headers)

    async def look(self, request: Request, job_id: str) -> Response:
        """Tells how one of the caller's jobs stands. A failed job is a 200 with `error`."""
        return self._answer(await self._service.look(request.scope["user"], job_id))

    async def cancel(self, request: Request, job_id: str) -> Response:
        """Cancels a pending job. One that has ended stays as it is."""
        return self._answer(await self._service.cancel(request.scope["user"], job_id))

    async def jobs(self, request: Request, query: Annotated[JobsQuery, Query()]) -> Response:
        """Lists the caller's jobs, newest first; or, with `job_id`, looks at up to 100 of them at once."""
        owner = request.scope["user"]
        if query.job_id:
            if query.model_fields_set != {"job_id"}:
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "job_id cannot be combined with other parameters.")
            looks, unknown = await self._service.look_many(owner, query.job_id)
            return JSONResponse({"jobs": [NATIVE.render(look) for look in looks], "unknown": unknown})
        page = await self._service.page(owner, limit=query.limit, after=query.after, state=query.status)
        following = None if page.next is None else str(page.next)
        return JSONResponse({"jobs": [NATIVE.render(look) for look in page.looks], "next": following})

    async def livez(self) -> Response:
        """Answers while the process is up."""
        return JSONResponse({"status": "live"})

    async def readyz(self) -> Response:
        """Answers while the server takes work: its store answers, and it is not about to stop."""
        if self._draining():
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server is about to stop.", {"Connection": "close"})
        await self._service.check()
        return JSONResponse({"status": "ready"})

    def _answer(
        self,
        look: Look,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Response:
        hint = self._service.hint(look)
        advice = {} if hint is None else {"Retry-After": str(hint)}
        return JSONResponse(NATIVE.render(look), status, {**headers, **advice})


async def _submission(request: Request) -> Submission:
    body = await _body(request)
    if not body.strip():
        return Submission()
    content_type = request.headers.get("content-type", "none")
    encoding = request.headers.get("content-encoding", "identity")
    if not JSON.fullmatch(content_type) or encoding != "identity":
        detail = f"The body must be plain application/json; this one is {content_type}, encoding {encoding}."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, {"Accept": "application/json"})
    try:
        return SubmissionBody.model_validate_json(body).submission()
    except ValidationError as error:
        errors = error.errors(include_url=False)
        if errors[0]["type"] == "json_invalid":
            raise Problem(HTTPStatus.BAD_REQUEST, f"The body is not JSON: {errors[0]['msg']}.") from None
        raise invalid(errors, list(SubmissionBody.model_fields)) from None


async def _body(request: Request) -> bytes:
    """The request's body, refused as soon as it is known to be too large."""
    body = bytearray()
    declared = int(request.headers.get("content-length", 0))
    if declared <= MAX_BODY:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                break
        else:
            return bytes(body)
    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body may hold {MAX_BODY} bytes.", {"Connection": "close"})


def _idempotency_key(request: Request) -> str | None:
    headers = request.headers.getlist("idempotency-key")
    if not headers:
        return None
    match = IDEMPOTENCY_KEY.fullmatch(headers[0])
    if match is None or len(headers) > 1:
        detail = (
            'Idempotency-Key must be one key of 1 to 255 visible ASCII characters but ", in double quotes or without.'
        )
        raise Problem(HTTPStatus.BAD_REQUEST, detail)
    return match[1] or match[2]
