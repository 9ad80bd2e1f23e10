"""The routes of the sandbox: its settings, its request log, and the report card."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import cast

from fastapi import Request
from starlette.responses import JSONResponse, Response

from translation_server.api.bodies import read_body
from translation_server.api.context import context_of
from translation_server.api.openapi import EXAMPLE, JOB, JOB_SCHEMA, Part, answer, model_body
from translation_server.api.own_routes import OwnRoute
from translation_server.api.preferences import accepted, values_of
from translation_server.api.report_grading import Grading
from translation_server.api.report_render import MEDIA_TYPES
from translation_server.api.schemas import JobAction, RequestsQuery
from translation_server.api.submitted_webhooks import check_url
from translation_server.api.views import view_of
from translation_server.core.dialects.dialect import Dialect, View
from translation_server.core.dialects.filters import timestamp
from translation_server.core.job import MAX_PAUSES, JobSnapshot
from translation_server.core.report.report import report
from translation_server.core.request_log import RequestRecord
from translation_server.core.sandbox import SandboxSettings
from translation_server.core.scenarios import SCENARIOS
from translation_server.documents import (
    RECORD,
    ClockChange,
    SandboxPatch,
    change_clock,
    change_settings,
    restarts_faults,
    settings_document,
)
from translation_server.service.jobs import Service
from translation_server.service.request_log import RequestLog

SANDBOX_JOB = "/sandbox/jobs/{job_id:path}"  # the ids of some APIs have slashes
SANDBOX = answer("The whole sandbox.", {"type": "object"}, settings_document(SandboxSettings()))
EXAMPLES = [{"scenario": name, "meaning": scenario.meaning} for name, scenario in SCENARIOS.items()]
TIME = {"type": "string", "format": "date-time"}
PAUSES: Part = {
    "type": "array",
    "description": f"the current pause, whose end is null, and the last {MAX_PAUSES} before it",
    "items": {"type": "object", "properties": {"from": TIME, "to": TIME | {"type": ["string", "null"]}}},
}
PAUSED_FOR = {"type": "number", "description": "how long all pauses before the current one lasted, in seconds"}
TEXT = {"type": "string"}
OF_JOB = {"api": TEXT, "kind": TEXT, "input": {"type": "object"}, "paused_for": PAUSED_FOR, "pauses": PAUSES}
JOB_AND_INPUT = answer(
    "The job.",
    {"type": "object", "properties": JOB_SCHEMA["properties"] | OF_JOB},
    EXAMPLE
    | {"api": JOB.api, "kind": JOB.kind, "input": {"source_language": "en", "target_language": "es"}}
    | {"paused_for": 0.0, "pauses": []},
)
CARD = answer("The report card.", {"type": "object"}, asdict(report((), {})))
CARD["content"] |= {media_type: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES[1:]}


class SandboxApi:
    """The routes of the caller's own sandbox; ``native`` is the dialect in which jobs are shown."""

    def __init__(self, service: Service, request_log: RequestLog, native: Dialect) -> None:
        self._service = service
        self._request_log = request_log
        self._native = native
        self._grading = Grading(request_log, service)

    @OwnRoute("GET", "/sandbox", SANDBOX)
    async def show(self, request: Request) -> Response:
        """Shows the caller's sandbox."""
        return await self._sandbox(context_of(request).user)

    @OwnRoute("PATCH", "/sandbox", SANDBOX, body=model_body(SandboxPatch, {"scenario": "flaky", "seed": 42}))
    async def change(self, request: Request) -> Response:
        """Changes settings. Null restores the server's value."""
        owner, changes = context_of(request).user, await read_body(SandboxPatch, request)
        if webhook := getattr(changes, "webhook", None):
            await check_url(self._service, owner, webhook.url)
        change = partial(change_settings, changes=changes, now=await self._service.virtual_time(owner))
        await self._service.sandboxes.change(owner, change, reset_counts=restarts_faults(changes))
        return await self._sandbox(owner)

    @OwnRoute("POST", "/sandbox/clock", SANDBOX, body=model_body(ClockChange, {"advance": 1800}))
    async def set_clock(self, request: Request) -> Response:
        """Sets the speed of the clock, stops it, or advances it."""
        owner, change = context_of(request).user, await read_body(ClockChange, request)
        await self._service.sandboxes.change(owner, lambda text: change_clock(text, change, self._service.wall_time()))
        return await self._sandbox(owner)

    @OwnRoute("GET", SANDBOX_JOB, JOB_AND_INPUT)
    async def job(self, request: Request, job_id: str) -> Response:
        """Shows a job, its API and kind, its pauses, and everything that its caller sent."""
        snapshot = await self._service.snapshot(context_of(request).user, job_id)
        job, shown = snapshot.job, json.loads(self._native.body(snapshot, self._view(request)))
        shown |= {"api": job.api, "kind": job.kind, "input": await self._service.read_input(job)}
        return JSONResponse(shown | _pauses(snapshot))

    @OwnRoute("POST", "/sandbox/reset", SANDBOX)
    async def reset(self, request: Request) -> Response:
        """Empties the sandbox: its jobs, request log, faults, clock and settings."""
        owner = context_of(request).user
        await self._service.sandboxes.clear(owner, self._service.wall_time())
        self._request_log.drop(owner)
        return await self._sandbox(owner)

    @OwnRoute("POST", SANDBOX_JOB, SANDBOX, body=model_body(JobAction, {"do": "finish", "outcome": "error"}))
    async def act(self, request: Request, job_id: str) -> Response:
        """Pauses, unpauses, finishes or cancels a pending job."""
        owner, action = context_of(request).user, await read_body(JobAction, request)
        snapshot = await self._service.amend(owner, job_id, action.change())
        return await self._sandbox(owner, job=json.loads(self._native.body(snapshot, self._view(request))))

    @OwnRoute("GET", "/sandbox/scenarios", answer("The scenarios.", {"type": "object"}, {"scenarios": EXAMPLES}))
    async def scenarios(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Lists the scenarios."""
        scenarios = [
            {"scenario": name, "meaning": scenario.meaning, "settings": settings_document(scenario.settings)}
            for name, scenario in SCENARIOS.items()
        ]
        return JSONResponse({"scenarios": scenarios})

    @OwnRoute(
        "GET",
        "/sandbox/requests",
        answer("A page of requests.", {"type": "object"}, {"requests": [], "next": None, "dropped": 0}),
        query=RequestsQuery,
    )
    async def requests(self, request: Request) -> Response:
        """Pages through the request log, the oldest request first."""
        context = context_of(request)
        owner, query = context.user, cast("RequestsQuery", context.query)
        page, more = await self._request_log.read(owner, after=query.after, limit=query.limit)
        dropped = self._request_log.dropped(owner, await self._request_log.oldest(owner))
        return await asyncio.to_thread(_page, page, page[-1][0] if more else None, dropped)

    @OwnRoute("GET", "/sandbox/report", CARD)
    async def report(self, request: Request) -> Response:
        """Grades the client that sent the requests of the request log."""
        media_type = accepted(values_of(request, "accept"), MEDIA_TYPES)
        return await self._grading.answer(context_of(request).user, media_type)

    def _view(self, request: Request) -> View:
        return view_of(request.scope, self._native, self._service.files)

    async def _sandbox(self, owner: str, **more: object) -> Response:
        """Returns the whole sandbox."""
        return JSONResponse({**await sandbox_document(self._service, owner), **more})


async def sandbox_document(service: Service, owner: str) -> dict[str, object]:
    """Returns the whole sandbox of a user as JSON."""
    sandbox, wall_time = await service.sandboxes.of(owner), service.wall_time()
    document = settings_document(sandbox.settings)
    for fault, fired in zip(document["faults"], await service.faults.fired(owner), strict=False):
        fault["fired"] = fired
    clock = sandbox.clock
    document["clock"] = {
        "now": timestamp(clock.virtual(wall_time)),
        "speed": clock.current.speed,
        "frozen": clock.current.frozen,
        "ahead": round(clock.virtual(wall_time) - wall_time, 3),
    }
    return {"user": owner, **document}


def request_documents(records: Sequence[tuple[int, RequestRecord]]) -> list[dict[str, object]]:
    """Returns records of the request log as JSON, with their numbers."""
    return [{"number": number, **RECORD.dump_python(record, mode="json")} for number, record in records]


def _pauses(snapshot: JobSnapshot) -> dict[str, object]:
    pauses = [
        {"from": timestamp(began), "to": None if ended is None else timestamp(ended)}
        for began, ended in snapshot.pauses
    ]
    return {"paused_for": round(snapshot.job.paused_for, 3), "pauses": pauses}


def _page(records: Sequence[tuple[int, RequestRecord]], next_page: int | None, dropped: int) -> Response:
    return JSONResponse({"requests": request_documents(records), "next": next_page, "dropped": dropped})
