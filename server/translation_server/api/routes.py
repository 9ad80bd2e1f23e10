"""The native routes besides submissions and polls, which `dialect_endpoint` serves: lists, events and cancellation."""

import time
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request
from starlette.responses import Response

from translation_server.api.context import context_of
from translation_server.api.events import resume_time, stream
from translation_server.api.faults.simulator import Simulator, apply_false_answer, count_polls, is_hidden
from translation_server.api.openapi import EXAMPLE, HINTS, JOB_SCHEMA, LAST_EVENT_ID, answer
from translation_server.api.own_routes import OwnRoute, add_own_routes
from translation_server.api.preferences import retry_after, wall_elapsed
from translation_server.api.problems import Problem
from translation_server.api.request_record import AddRecord
from translation_server.api.schemas import JobsQuery
from translation_server.api.views import record_hint, view_of
from translation_server.core.dialects.builtin import DIALECTS
from translation_server.core.dialects.dialect import View
from translation_server.core.dialects.template import to_json
from translation_server.core.job import JobSnapshot
from translation_server.service.jobs import Service

JOBS_SCHEMA = {
    "type": "object",
    "properties": {
        "jobs": {"type": "array", "items": JOB_SCHEMA},
        "next": {"type": ["string", "null"], "description": "the value of `after` for the next page"},
        "unknown": {"type": "array", "items": {"type": "string"}, "description": "of a batch poll: the unknown ids"},
    },
}
EVENTS = {
    "description": "Server-sent events, named after the status of the job, with the job as data.",
    "content": {
        "text/event-stream": {"example": f"id: 1767323045678000\nevent: pending\ndata: {to_json(EXAMPLE)}\n\n"}
    },
}


class Json(Response):
    """A response whose content is JSON text already."""

    media_type = "application/json"


class NativeRoutes:
    """The framework's routes over a service.

    Args:
        service: what the routes call.
        simulator: makes things go wrong.
        add_record: adds a record to a user's request log.
    """

    def __init__(
        self,
        service: Service,
        simulator: Simulator,
        *,
        add_record: AddRecord,
    ) -> None:
        self._service = service
        self._simulator = simulator
        self._native = DIALECTS[0]
        self._add_record = add_record

    def add_to(self, app: FastAPI) -> None:
        """Adds the routes and their documentation to an application."""
        native = (self._native.name,)
        add_own_routes(app, self, lambda action, endpoint: self._simulator.endpoint(action, native, endpoint))

    @OwnRoute("DELETE", "/jobs/{job_id:path}", answer("The job.", JOB_SCHEMA, EXAMPLE, HINTS), action="cancel")
    async def cancel(self, request: Request, job_id: str) -> Response:
        """Cancels a pending job. A job that has ended stays as it is."""
        snapshot = await self._service.cancel(context_of(request).user, job_id)
        [(dialect, shown)] = apply_false_answer(request, [self._native], snapshot)
        body = dialect.body(shown, self._view(request))
        return Json(body, HTTPStatus.OK, await self._hint_headers(request, snapshot))

    @OwnRoute(
        "GET",
        "/jobs",
        answer("The jobs.", JOBS_SCHEMA, {"jobs": [EXAMPLE], "next": None}, HINTS),
        action="list",
        query=JobsQuery,
    )
    async def jobs(self, request: Request) -> Response:
        """Lists the caller's jobs, newest first. With `job_id`, polls up to 100 jobs at once (a batch poll)."""
        owner, query = context_of(request).user, cast("JobsQuery", context_of(request).query)
        if query.job_id:
            if query.model_fields_set != {"job_id"}:
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "job_id cannot be combined with other parameters.")
            snapshots, unknown = await self._service.snapshots(owner, query.job_id)
            snapshots = await count_polls(request, self._service, self._native, snapshots)
            body = f'{{"jobs":{self._bodies(request, snapshots)},"unknown":{to_json(unknown)}}}'
            return Json(body, headers=await self._hint_headers(request, *snapshots))
        page = await self._service.page(owner, limit=query.limit, after=query.after, state=query.status)
        cursor = None if page.next is None else str(page.next)
        return Json(f'{{"jobs":{self._bodies(request, page.snapshots)},"next":{to_json(cursor)}}}')

    def _bodies(self, request: Request, snapshots: Sequence[JobSnapshot]) -> str:
        shown, view = apply_false_answer(request, [self._native], *snapshots), self._view(request)
        return f"[{','.join(dialect.body(snapshot, view) for dialect, snapshot in shown)}]"

    def _view(self, request: Request) -> View:
        return view_of(request.scope, self._native, self._service.files)

    @OwnRoute("GET", "/jobs/{job_id:path}/events", EVENTS, action="events", headers=[LAST_EVENT_ID])
    async def events_of_job(self, request: Request, job_id: str) -> Response:
        """Streams the job, and its end, which ends the stream."""
        return await self._stream(request, job_id)

    @OwnRoute("GET", "/events", EVENTS, action="events", headers=[LAST_EVENT_ID])
    async def events(self, request: Request) -> Response:
        """Streams the changes of the caller's jobs as they happen."""
        return await self._stream(request)

    async def _stream(self, request: Request, job_id: str | None = None) -> Response:
        owner, service = context_of(request).user, self._service
        after, now = resume_time(request), await service.virtual_time(owner)
        after = None if after is None else min(after, now)
        if job_id is None:
            changes = service.change_stream.all(owner, now if after is None else after)
        else:
            changes = service.change_stream.one(await service.snapshot(owner, job_id), after)
        return await stream(request, self._native, self._view(request), changes, now, self._record_events)

    def _record_events(self, request: Request, snapshots: Sequence[JobSnapshot]) -> None:
        """Records the events that a stream sends."""
        if snapshots and not is_hidden(request):
            context = context_of(request)
            record = replace(context.record, at=time.time(), action="event", snapshots=snapshots, status=HTTPStatus.OK)
            self._add_record(context.user, record)

    async def _hint_headers(self, request: Request, *snapshots: JobSnapshot) -> dict[str, str]:
        """Returns the headers that say when to poll the first of the jobs next, and how old the jobs are."""
        clock = await record_hint(request, self._service, self._native, *snapshots)
        headers = retry_after(context_of(request).record.hint) + wall_elapsed(
            clock, self._service.wall_time, *snapshots
        )
        return {name.decode(): value.decode() for name, value in headers}
