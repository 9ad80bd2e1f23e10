"""The routes, built from the rows."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from math import ceil, inf
from typing import Annotated

from fastapi import FastAPI, Query, Request
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from translation_server.core.dialects import Dialect, places, read, routes
from translation_server.core.job import Look
from translation_server.service import Service
from translation_server.web import documentation
from translation_server.web.events import resumed_at, stream
from translation_server.web.preferences import matches, preferred_wait
from translation_server.web.problems import Problem, complaints, invalid
from translation_server.web.schemas import JobsQuery, SubmissionBody

Endpoint = Callable[..., Awaitable[Response]]

LONGEST_WAIT = 60
"""Seconds that a look may be held."""

MAX_BODY = 64 * 1024
"""Bytes that a request's body may hold."""

IDEMPOTENCY_KEY = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')
"""A structured-field string, as the draft has it, or the bare token that most clients send."""

JSON = re.compile(r"application/(json|[\w.+-]+\+json)\s*(;.*)?", re.IGNORECASE)


class Api:
    """The rows' routes, and those that every server has, over a service.

    Args:
        service: what the routes call.
        rows: the wire formats; the first is the native one, in which jobs are listed and cancelled.
        draining: whether the server is about to stop.

    Raises:
        DialectError: two rows clash.
    """

    def __init__(self, service: Service, rows: Sequence[Dialect], draining: Callable[[], bool]) -> None:
        self._service = service
        self._native = rows[0]
        self._routes = routes(rows)
        self._draining = draining

    def add_to(self, app: FastAPI) -> None:
        """Gives the app its routes and their documentation."""
        actions = {"submit": self._submit, "look": self._look, "current": self._current}
        for route in self._routes:
            app.add_api_route(route.path, actions[route.action](route.rows[0]), methods=[route.method])
        app.add_api_route("/jobs", self.jobs, methods=["GET"])
        app.add_api_route("/jobs/{job_id}", self.cancel, methods=["DELETE"])
        app.add_api_route("/jobs/{job_id}/events", self.events_of_job, methods=["GET"])
        app.add_api_route("/events", self.events, methods=["GET"])
        app.add_api_route("/livez", self.livez, methods=["GET"])
        app.add_api_route("/readyz", self.readyz, methods=["GET"])
        openapi = documentation.page(self._routes)
        app.openapi = lambda: openapi  # type: ignore[method-assign]  # the way that FastAPI documents

    def _submit(self, row: Dialect) -> Endpoint:
        async def submit(request: Request) -> Response:
            facts = await _submission(request, row)
            accepted = await self._service.submit(
                request.scope["user"],
                facts.submission(),
                key=_idempotency_key(request),
                job_id=facts.job_id,
            )
            headers = {"Location": row.location(accepted.look.job.id)}
            if accepted.replayed:
                headers["Idempotency-Replayed"] = "true"
            if preferred_wait(request.headers.getlist("prefer")) == 0:
                headers["Preference-Applied"] = "wait=0"
            body = row.render_accepted(accepted.look.job)
            return JSONResponse(body, row.accepted_code, headers | self._advice(accepted.look))

        return submit

    def _look(self, row: Dialect) -> Endpoint:
        async def look(request: Request, job_id: str) -> Response:
            return await self._answer(request, row, await self._service.look(request.scope["user"], job_id))

        return look

    def _current(self, row: Dialect) -> Endpoint:
        async def current(request: Request) -> Response:
            return await self._answer(request, row, await self._service.current(request.scope["user"]))

        return current

    async def cancel(self, request: Request, job_id: str) -> Response:
        """Cancels a pending job. One that has ended stays as it is."""
        look = await self._service.cancel(request.scope["user"], job_id)
        return JSONResponse(self._native.render(look), HTTPStatus.OK, self._advice(look))

    async def jobs(self, request: Request, query: Annotated[JobsQuery, Query()]) -> Response:
        """Lists the caller's jobs, newest first; or, with `job_id`, looks at up to 100 of them at once."""
        owner = request.scope["user"]
        if query.job_id:
            if query.model_fields_set != {"job_id"}:
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "job_id cannot be combined with other parameters.")
            looks, unknown = await self._service.look_many(owner, query.job_id)
            soonest = min(looks, key=lambda look: self._service.hint(look) or inf, default=None)
            advice = self._advice(soonest) if soonest else {}
            rendered = [self._native.render(look) for look in looks]
            return JSONResponse({"jobs": rendered, "unknown": unknown}, headers=advice)
        page = await self._service.page(owner, limit=query.limit, after=query.after, state=query.status)
        following = None if page.next is None else str(page.next)
        return JSONResponse({"jobs": [self._native.render(look) for look in page.looks], "next": following})

    async def events_of_job(self, request: Request, job_id: str) -> Response:
        """Streams how a job stands, and its end, which ends the stream."""
        return await self._stream(request, job_id)

    async def events(self, request: Request) -> Response:
        """Streams how the caller's jobs change, as it happens."""
        return await self._stream(request)

    async def _stream(self, request: Request, job_id: str | None = None) -> Response:
        after, now = resumed_at(request), self._service.now()
        changes = self._service.changes(request.scope["user"], now if after is None and not job_id else after, job_id)
        return await stream(request, self._native, changes, now)

    async def livez(self) -> Response:
        """Answers while the process is up."""
        return JSONResponse({"status": "live"})

    async def readyz(self) -> Response:
        """Answers while the server takes work: its store answers, and it is not about to stop."""
        if self._draining():
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server is about to stop.", {"Connection": "close"})
        await self._service.check()
        return JSONResponse({"status": "ready"})

    async def _answer(self, request: Request, row: Dialect, look: Look) -> Response:
        """How the job stands: as soon as the caller does not know it, or has waited as long as it prefers to."""
        wait = preferred_wait(request.headers.getlist("prefer"))
        known = request.headers.getlist("if-none-match")
        headers = {"Vary": "Prefer"}
        if wait is not None:
            wait = min(wait, LONGEST_WAIT)
            headers["Preference-Applied"] = f"wait={wait}"
        if wait and (not known or matches(known, row.tag(look))):
            async with leaving_with_the_client(request):
                look = await self._service.hold(look, wait, row.changes_at)
        headers |= {"ETag": row.tag(look)} | self._advice(look)
        if known and matches(known, row.tag(look)):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return JSONResponse(row.render(look), HTTPStatus.OK, headers)

    def _advice(self, look: Look) -> dict[str, str]:
        hint = self._service.hint(look)
        if hint is None:
            return {}
        return {"Retry-After": str(max(1, ceil(hint))), "retry-after-ms": str(ceil(1000 * hint))}


@asynccontextmanager
async def leaving_with_the_client(request: Request) -> AsyncIterator[None]:
    """Ends what runs within it when the client hangs up.

    Raises:
        ClientDisconnect: it did.
    """
    gone = False

    async def watch(task: "asyncio.Task[object] | None") -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        if task is not None:
            task.cancel()

    watching = asyncio.create_task(watch(asyncio.current_task()))
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        raise ClientDisconnect from None
    finally:
        watching.cancel()


async def _submission(request: Request, row: Dialect) -> SubmissionBody:
    """What the row's submission brings.

    Raises:
        Problem: 415, 400 or 422 for a body that is not what the row asks for.
    """
    body = await _body(request)
    if not body.strip():
        return SubmissionBody()
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
    facts, unknown = read(row.request, document)
    fields = places(row.request)
    try:
        found = SubmissionBody.model_validate(facts)
    except ValidationError as error:
        raise invalid(complaints(error.errors(include_url=False), fields)) from None
    if unknown:
        message = f"there is no such field; the fields are {', '.join(fields.values())}"
        raise invalid([{"field": field, "message": message} for field in unknown])
    return found


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
