"""The routes, built from the rows."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import Response

from translation_server.api import documentation
from translation_server.api.bodies import Endpoint, body_of, taking
from translation_server.api.disconnect import leaving_with_the_client
from translation_server.api.events import resumed_at, stream
from translation_server.api.faults.simulator import NOTHING_SIMULATED, Simulator, is_hidden, told
from translation_server.api.poll_response import render
from translation_server.api.preferences import advice, ages, values_of, wanted
from translation_server.api.problems import Problem, invalid
from translation_server.api.request_record import Record, record_of
from translation_server.api.schemas import JobsQuery, submission_query
from translation_server.api.submissions import recognize, submission
from translation_server.core.clock import Clock
from translation_server.core.dialects.dialect import Dialect, Route, as_json
from translation_server.core.job import JobSnapshot
from translation_server.service.jobs import Service

if TYPE_CHECKING:
    from translation_server.core.faults.rules import Action


OPENAPI = "/openapi.json"


class Json(Response):
    """An answer that is JSON already."""

    media_type = "application/json"


class Api:
    """The rows' routes, and those that every server has, over a service.

    Args:
        service: what the routes call.
        routes: those of the wire formats; the first is of the native one, in which jobs are listed and cancelled.
        record: takes note of what streams tell.
        draining: whether the server is about to stop.
        secured: whether callers need credentials.
    """

    def __init__(
        self,
        service: Service,
        routes: Sequence[Route],
        record: Record,
        draining: Callable[[], bool],
        *,
        secured: bool,
    ) -> None:
        self._service = service
        self._record = record
        self._native = routes[0].dialects[0]
        self._routes = routes
        self._draining = draining
        self._secured = secured

    def add_to(self, app: FastAPI) -> None:
        """Gives the app its routes and their documentation."""
        actions: dict[str, Callable[[Dialect], Endpoint]] = {
            "submit": self._submit,
            "poll": self._look,
            "current": self._current,
        }
        simulator, native = Simulator(self._service), (self._native,)
        for route in self._routes:
            action: Action = "submit" if route.action == "submit" else "poll"
            dialect = route.dialects[0]
            submits = route.action == "submit"
            endpoint = taking(
                actions[route.action](dialect), submission_query(dialect.query if submits else ()), body=submits
            )
            app.add_api_route(route.path, simulator.endpoint(action, route.dialects, endpoint), methods=[route.method])
        for method, path, action, endpoint in (
            ("GET", "/jobs", "list", taking(self.jobs, JobsQuery)),
            ("DELETE", "/jobs/{job_id}", "cancel", taking(self.cancel)),
            ("GET", "/jobs/{job_id}/events", "events", taking(self.events_of_job)),
            ("GET", "/events", "events", taking(self.events)),
        ):
            app.add_api_route(path, simulator.endpoint(action, native, endpoint), methods=[method])
        simulating = self._service.sandboxes.changeable
        openapi = json.dumps(documentation.page(self._routes, simulating=simulating, secured=self._secured))

        async def described(request: Request) -> Response:  # noqa: ARG001 - every endpoint is given it
            return Json(openapi)

        async def docs(request: Request) -> Response:
            return get_swagger_ui_html(openapi_url=f"{request.scope['root_path']}{OPENAPI}", title=documentation.TITLE)

        for path, endpoint in (("/livez", self.livez), ("/readyz", self.readyz), (OPENAPI, described), ("/docs", docs)):
            app.add_api_route(path, taking(endpoint), methods=["GET"])

    def _submit(self, dialect: Dialect) -> Endpoint:
        async def submit(request: Request) -> Response:
            record = record_of(request.scope)
            sent = await body_of(request)
            found = submission(request, dialect, sent)
            facts = found.body
            if facts.simulate and not self._service.sandboxes.changeable:
                raise invalid([{"field": "simulate", "message": NOTHING_SIMULATED}])
            recognize(request, sent)
            accepted = await self._service.submit(
                request.scope["user"],
                facts.submission(),
                idempotency=found.idempotency(record.key),
                job_id=facts.job_id,
                fate_override=facts.simulate.fate_override() if facts.simulate else None,
            )
            record.snapshots, record.replayed = [accepted.snapshot], accepted.replayed
            headers = {"Location": dialect.location(accepted.snapshot.job.id)}
            if accepted.replayed:
                headers["Idempotency-Replayed"] = "true"
            if record.wait == 0:
                headers["Preference-Applied"] = "wait=0"
            body = dialect.body_accepted(accepted.snapshot.job)
            return Json(body, dialect.accepted_code, headers | await self._retry_after(request, accepted.snapshot))

        return submit

    def _look(self, dialect: Dialect) -> Endpoint:
        async def snapshot(request: Request, job_id: str) -> Response:
            return await self._answer(request, dialect, await self._service.snapshot(request.scope["user"], job_id))

        return snapshot

    def _current(self, dialect: Dialect) -> Endpoint:
        async def current(request: Request) -> Response:
            return await self._answer(request, dialect, await self._service.current(request.scope["user"]))

        return current

    async def cancel(self, request: Request, job_id: str) -> Response:
        """Cancels a pending job. One that has ended stays as it is."""
        snapshot = await self._service.cancel(request.scope["user"], job_id)
        [(dialect, said)] = told(request, self._native, snapshot)
        return Json(dialect.body(said), HTTPStatus.OK, await self._retry_after(request, snapshot))

    async def jobs(self, request: Request) -> Response:
        """Lists the caller's jobs, newest first; or, with `job_id`, looks at up to 100 of them at once."""
        owner: str = request.scope["user"]
        query: JobsQuery = request.scope["query"]
        if query.job_id:
            if query.model_fields_set != {"job_id"}:
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "job_id cannot be combined with other parameters.")
            snapshots, unknown = await self._service.snapshots(owner, query.job_id)
            body = f'{{"jobs":{self._bodies(request, snapshots)},"unknown":{as_json(unknown)}}}'
            return Json(body, headers=await self._retry_after(request, *snapshots))
        page = await self._service.page(owner, limit=query.limit, after=query.after, state=query.status)
        following = None if page.next is None else str(page.next)
        return Json(f'{{"jobs":{self._bodies(request, page.snapshots)},"next":{as_json(following)}}}')

    def _bodies(self, request: Request, snapshots: Sequence[JobSnapshot]) -> str:
        return f"[{','.join(dialect.body(snapshot) for dialect, snapshot in told(request, self._native, *snapshots))}]"

    async def events_of_job(self, request: Request, job_id: str) -> Response:
        """Streams how a job stands, and its end, which ends the stream."""
        return await self._stream(request, job_id)

    async def events(self, request: Request) -> Response:
        """Streams how the caller's jobs change, as it happens."""
        return await self._stream(request)

    async def _stream(self, request: Request, job_id: str | None = None) -> Response:
        owner = request.scope["user"]
        after, now = resumed_at(request), await self._service.now(owner)
        after = None if after is None else min(after, now)
        following = self._service.following
        if job_id is None:
            changes = following.all(owner, now if after is None else after)
        else:
            changes = following.one(await self._service.snapshot(owner, job_id), after)
        return await stream(request, self._native, changes, now, self._note)

    def _note(self, request: Request, snapshots: Sequence[JobSnapshot]) -> None:
        """Writes down what a stream tells."""
        if snapshots and not is_hidden(request):
            noted = replace(
                record_of(request.scope), at=time.time(), action="event", snapshots=snapshots, status=HTTPStatus.OK
            )
            self._record(request.scope["user"], noted)

    async def livez(self, request: Request) -> Response:  # noqa: ARG002 - every endpoint is given it
        """Answers while the process is up."""
        return Json('{"status":"live"}')

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002 - as above
        """Answers while the server takes work: a job would be accepted now, and it is not about to stop."""
        if self._draining():
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server is about to stop.", {"Connection": "close"})
        await self._service.check()
        return Json('{"status":"ready"}')

    async def _answer(self, request: Request, dialect: Dialect, snapshot: JobSnapshot) -> Response:
        """How the job stands: as soon as the caller does not know it, or has waited as long as it prefers to."""
        record = record_of(request.scope)
        asked = wanted(record.wait, values_of(request, "if-none-match"))
        if seconds := asked.held_for(dialect.form(snapshot).tag):
            async with leaving_with_the_client(request.receive):
                snapshot = await self._service.hold(snapshot, seconds, dialect.changes_at)
        [(dialect, said)] = told(request, dialect, snapshot)
        record.hint = await self._service.hint(snapshot)
        more = advice(record.hint) + ages(await self._clock(request), self._service.real, said)
        status, headers, body = render(dialect.form(said), said, more, asked)
        answer = Response(body, status)
        answer.raw_headers = headers
        return answer

    async def _retry_after(self, request: Request, *snapshots: JobSnapshot) -> dict[str, str]:
        """When to look next: as soon as it is worth its while for one of the looks; and how old the jobs are."""
        hints = [hint for snapshot in snapshots if (hint := await self._service.hint(snapshot)) is not None]
        record_of(request.scope).hint = soonest = min(hints, default=None)
        told = advice(soonest) + ages(await self._clock(request), self._service.real, *snapshots)
        return {name.decode(): value.decode() for name, value in told}

    async def _clock(self, request: Request) -> Clock:
        return (await self._service.sandboxes.of(request.scope["user"])).clock
