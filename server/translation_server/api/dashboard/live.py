"""The stream behind the dashboard: the jobs, the settings and the request log of a sandbox, as they change.

A page has one stream. Each connection begins with everything that the page shows, so nothing has to be resumed. A page
that gets no stream, because a proxy holds it back, polls the same.
"""

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import cast

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from translation_server.api.context import context_of
from translation_server.api.events import HEADERS, RETRY
from translation_server.api.own_routes import OwnRoute
from translation_server.api.sandbox import request_documents, sandbox_document
from translation_server.api.schemas import Query
from translation_server.core.job import Job
from translation_server.service.jobs import Service
from translation_server.service.request_log import RequestLog
from translation_server.storage import StoreError

logger = logging.getLogger(__name__)

MAX_JOBS = 1000  # how many of the newest jobs a stream begins with
PAGE = 500  # how many records of the request log are sent at a time
INTERVAL = 0.5  # how long a stream waits for changes of jobs before it reads the request log again, in seconds
SILENCE = 15.0  # how long a stream may be silent, in seconds
ALIVE = "event: alive\ndata: {}\n\n"  # tells a page that its silent stream is not held back


class StateQuery(Query):
    """The parameters of a poll by a page."""

    after: int = Field(0, ge=0, lt=2**63, description="the number of the newest request that the page has")


class LiveApi:
    """The routes of the stream, of polls in its place, and of jobs that are older than what it begins with."""

    def __init__(self, service: Service, request_log: RequestLog) -> None:
        self._service = service
        self._request_log = request_log

    @OwnRoute("GET", "/dashboard/live")
    async def live(self, request: Request) -> Response:
        """Streams the newest jobs, the settings and the request log, and every change of them."""
        context = context_of(request)
        if context.is_head:
            return Response(headers=HEADERS, media_type="text/event-stream")
        return StreamingResponse(self._parts(context.user), headers=HEADERS, media_type="text/event-stream")

    @OwnRoute("GET", "/dashboard/state", query=StateQuery)
    async def state(self, request: Request) -> Response:
        """Returns what a stream begins with. Of the request log, it is the next page."""
        context = context_of(request)
        owner, after = context.user, cast("StateQuery", context.query).after
        sandbox = await self._service.sandboxes.of(owner)
        async with aclosing(self._service.change_stream.jobs(owner, MAX_JOBS, INTERVAL)) as changes:
            jobs: list[Job] = await anext(changes, [])
        records, more = await self._request_log.read(owner, after=after, limit=PAGE)
        return JSONResponse(
            {
                "reset_at": sandbox.reset_at,
                "sandbox": await sandbox_document(self._service, owner),
                "jobs": [job_document(job) for job in jobs],
                "requests": await asyncio.to_thread(request_documents, records),
                "more": more,
            }
        )

    @OwnRoute("GET", "/dashboard/jobs/{job_id:path}")
    async def job(self, request: Request, job_id: str) -> Response:
        """Returns a job, however old it is."""
        snapshot = await self._service.snapshot(context_of(request).user, job_id)
        return JSONResponse({"jobs": [job_document(snapshot.job)]})

    async def _parts(self, owner: str) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        number, sandbox, silent_until = await self._request_log.oldest(owner) - 1, "", 0.0
        yield f"retry: {RETRY}\n\n"
        changes = self._service.change_stream.jobs(owner, MAX_JOBS, INTERVAL)
        try:
            async for jobs in changes:
                text, before = "", sandbox
                sandbox = await self._sandbox(owner)
                if sandbox != before:
                    text = _event("sandbox", await sandbox_document(self._service, owner))
                if jobs:
                    text += _event("jobs", [job_document(job) for job in jobs])
                more = True
                while more:
                    records, more = await self._request_log.read(owner, after=number, limit=PAGE)
                    if records:
                        number = records[-1][0]
                        text += _event("requests", await asyncio.to_thread(request_documents, records))
                    if text or loop.time() >= silent_until:
                        yield text or ALIVE
                        text, silent_until = "", loop.time() + SILENCE
        except StoreError as error:  # the page connects again
            logger.warning("the dashboard's stream of %s ends: %s", owner, error)
        finally:
            await changes.aclose()

    async def _sandbox(self, owner: str) -> str:
        """Returns a text that changes when the sandbox does; the time on its clock is no change."""
        sandbox = await self._service.sandboxes.of(owner)
        return repr((sandbox, await self._service.faults.fired(owner)))


def job_document(job: Job) -> dict[str, object]:
    """Returns everything that decides what a job shows and when, as JSON. Times are on the sandbox's clock."""
    fate = job.fate
    return {
        "job_id": job.id,
        "api": job.api,
        "kind": job.kind,
        "ordinal": job.ordinal,
        "created_at": job.created_at,
        "delay": _finite(fate.delay),
        "due_at": _finite(job.due_at),
        "outcome": fate.outcome,
        "error_message": fate.message,
        "cancelled_at": job.cancelled_at,
        "paused_at": job.paused_at,
        "paused_for": job.paused_for,
        "pauses": job.pauses,
        "polls": job.polls,
        "after_polls": fate.after_polls,
        "is_deleted": job.deleted_at is not None,
    }


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None


def _event(name: str, data: dict[str, object] | Sequence[object]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
