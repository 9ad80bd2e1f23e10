"""The operations of dialects besides submissions and polls: cancel, delete, list, batch poll and fixed answers."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from translation_server.api.addresses import base_url
from translation_server.api.bodies import read_document
from translation_server.api.context import context_of
from translation_server.api.faults.simulator import falsify
from translation_server.api.file_response import send_file
from translation_server.api.preferences import hint_headers
from translation_server.api.problems import Problem, invalid
from translation_server.api.schemas import MAX_BATCH
from translation_server.api.submissions import json_response
from translation_server.api.views import view_of
from translation_server.core.dialects.dialect import Dialect, Route, header_lines
from translation_server.core.dialects.template import ValueOf, render, value_at
from translation_server.core.hints import hint
from translation_server.core.job import JobSnapshot, State
from translation_server.service.jobs import Service


class Operations:
    """Answers the operations of the APIs that files describe."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def cancel(self, request: Request, route: Route, job_id: str) -> Response:
        """Cancels a pending job; one that has ended stays as it is."""
        [dialect] = route.dialects
        snapshot = await self._service.cancel(context_of(request).user, job_id, **dialect.owned)
        [(shown_in, shown)] = falsify(request, dialect, snapshot)
        return await self._answer(request, shown_in, shown, route)

    async def delete(self, request: Request, route: Route, job_id: str) -> Response:
        """Hides a job from its API, and cancels it if it is pending."""
        [dialect] = route.dialects
        snapshot = await self._service.delete(context_of(request).user, job_id, **dialect.owned)
        context_of(request).record.snapshots = [snapshot]
        return await self._answer(request, dialect, snapshot, route)

    async def download(self, request: Request, route: Route, job_id: str) -> Response:
        """Returns a file of a completed job."""
        [dialect] = route.dialects
        snapshot = await self._service.snapshot(context_of(request).user, job_id, **dialect.owned)
        context_of(request).record.snapshots = [snapshot]
        name = self._service.files.library.name_of(route.operation.file or "")
        if snapshot.state is not State.COMPLETED or name is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"The job is {dialect.word(snapshot)}: it has no file.")
        return await send_file(request, self._service.files, name)

    async def list(self, request: Request, route: Route) -> Response:
        """Lists the caller's jobs of the kind, newest first."""
        [dialect], paging = route.dialects, route.operation.paging
        limit, after = _limit(request, paging.size, paging.default), await self._cursor(request, dialect, paging.cursor)
        page = await self._service.page(
            context_of(request).user, limit=limit, after=after, api=dialect.api.name, kind=dialect.kind
        )
        return self._listed(request, route, page.snapshots, has_more=page.next is not None)

    async def batch_poll(self, request: Request, route: Route) -> Response:
        """Polls several jobs at once; ids without a job are left out."""
        [dialect], name = route.dialects, route.operation.ids or ""
        ids = [one for text in request.query_params.getlist(name) for one in text.split(",") if one]
        if not 0 < len(ids) <= MAX_BATCH:
            raise invalid([{"field": name, "message": f"must have 1 to {MAX_BATCH} ids"}])
        snapshots, _ = await self._service.snapshots(context_of(request).user, ids, **dialect.owned)
        return self._listed(request, route, snapshots, has_more=False)

    async def fixed(self, request: Request, route: Route, parameters: Mapping[str, str]) -> Response:
        """Answers a request that concerns no job."""
        document = await read_document(request, route.operation.accepts)

        def value_of(name: str) -> object:
            source, _, path = name.partition(".")
            match source:
                case "base_url":
                    return base_url(request.scope) + route.api.mount
                case "input":
                    return value_at(document, path)
                case "query":
                    return request.query_params.get(path)
            return parameters.get(name)

        return _filled(route, value_of)

    async def _answer(self, request: Request, dialect: Dialect, snapshot: JobSnapshot, route: Route) -> Response:
        partial = dialect.partial_body(
            snapshot, view_of(request.scope, dialect, self._service.files), dialect.operation(route.action)
        )
        context = context_of(request)
        sandbox = await self._service.sandboxes.of(context.user)
        context.record.hint = hint(snapshot, sandbox.settings, sandbox.clock.current.rate)
        headers = [*partial.headers, *hint_headers(context.record.hint, partial.hints)]
        return json_response(partial.complete(snapshot), partial.code, headers)

    def _listed(self, request: Request, route: Route, snapshots: Sequence[JobSnapshot], *, has_more: bool) -> Response:
        [dialect] = route.dialects
        view = view_of(request.scope, dialect, self._service.files)
        jobs = [json.loads(shown_in.body(shown, view)) for shown_in, shown in falsify(request, dialect, *snapshots)]
        values: dict[str, Any] = {
            "jobs": jobs,
            "first_id": snapshots[0].job.id if snapshots else None,
            "last_id": snapshots[-1].job.id if snapshots else None,
            "next": snapshots[-1].job.id if has_more else None,
            "has_more": has_more,
            "base_url": base_url(request.scope) + dialect.api.mount,
        }
        return _filled(route, lambda name: values.get(name, request.query_params.get(name.partition(".")[2])))

    async def _cursor(self, request: Request, dialect: Dialect, name: str | None) -> int | None:
        """Returns the ordinal of the job whose id is the cursor."""
        job_id = request.query_params.get(name) if name else None
        if not job_id:
            return None
        return await self._service.ordinal(context_of(request).user, job_id, **dialect.owned)


def _filled(route: Route, value_of: ValueOf) -> Response:
    answer = route.operation.answers[State.PENDING]
    text = "" if answer.body == "" else render(answer.body, value_of).complete(value_of)
    return json_response(text, answer.code, header_lines(answer.headers, value_of))


def _limit(request: Request, name: str | None, default: int) -> int:
    text = request.query_params.get(name) if name else None
    if text is None:
        return default
    if not text.isdecimal() or not int(text[:9]) > 0:
        raise invalid([{"field": name or "", "message": "must be a whole number, at least 1"}])
    return min(int(text[:9]), MAX_BATCH)
