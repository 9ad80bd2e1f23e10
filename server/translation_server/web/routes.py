"""The routes, built from the rows."""

import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.responses import Response

from translation_server.core.dialects import Dialect, Route, as_json, places, read
from translation_server.core.faults import Action, Asked, Firing, Latency, Rule
from translation_server.core.job import Look
from translation_server.core.lies import lie
from translation_server.documents import FAULT
from translation_server.service import Service
from translation_server.web import documentation, faults
from translation_server.web.bodies import body_of, parsed, refused
from translation_server.web.draft import Record, draft_of
from translation_server.web.events import resumed_at, stream
from translation_server.web.leaving import leaving_with_the_client
from translation_server.web.looks import render
from translation_server.web.preferences import advice, preferred_wait, wanted
from translation_server.web.problems import EXPECTED, Problem, answer_to, complaints, invalid
from translation_server.web.schemas import JobsQuery, SubmissionBody

Endpoint = Callable[..., Awaitable[Response]]

IDEMPOTENCY_KEY = re.compile(r'"([\x20\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')
"""A structured-field string, as the draft has it, or the bare token that most clients send."""


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
    """

    def __init__(self, service: Service, routes: Sequence[Route], record: Record, draining: Callable[[], bool]) -> None:
        self._service = service
        self._record = record
        self._native = routes[0].rows[0]
        self._routes = routes
        self._draining = draining

    def add_to(self, app: FastAPI) -> None:
        """Gives the app its routes and their documentation."""
        actions: dict[str, Callable[[Dialect], Endpoint]] = {
            "submit": self._submit,
            "look": self._look,
            "current": self._current,
        }
        native = (self._native,)
        for route in self._routes:
            action: Action = "submit" if route.action == "submit" else "look"
            endpoint = self._simulated(action, route.rows, actions[route.action](route.rows[0]))
            app.add_api_route(route.path, endpoint, methods=[route.method])
        for method, path, action, endpoint in (
            ("GET", "/jobs", "list", self.jobs),
            ("DELETE", "/jobs/{job_id}", "cancel", self.cancel),
            ("GET", "/jobs/{job_id}/events", "events", self.events_of_job),
            ("GET", "/events", "events", self.events),
        ):
            app.add_api_route(path, self._simulated(action, native, endpoint), methods=[method])
        app.add_api_route("/livez", self.livez, methods=["GET"])
        app.add_api_route("/readyz", self.readyz, methods=["GET"])
        openapi = documentation.page(self._routes, simulating=self._service.worlds.changeable)
        app.openapi = lambda: openapi  # type: ignore[method-assign]  # the way that FastAPI documents

    def _simulated(self, action: Action, rows: Sequence[Dialect], endpoint: Endpoint) -> Endpoint:
        """The endpoint in the sandbox of its caller, where things go wrong."""

        @wraps(endpoint)
        async def simulated(request: Request, **arguments: Any) -> Response:  # noqa: ANN401 - the endpoint's own
            draft = draft_of(request.scope)
            asked: Action = "bulk" if action == "list" and "job_id" in request.query_params else action
            draft.action = asked
            draft.dialect = rows[0].name
            draft.wait = preferred_wait(request.headers.getlist("prefer"))
            fault = None
            for firing in await self._firings(request, asked, rows, arguments.get("job_id")):
                if isinstance(firing.rule, Latency):
                    draft.faults += (firing.rule.kind,)
                    await self._rest(request, firing.rule.seconds(firing.entropy))
                else:
                    fault = firing
            if fault is None:
                return await endpoint(request, **arguments)
            return await self._struck(request, fault, lambda: endpoint(request, **arguments))

        return simulated

    async def _struck(self, request: Request, fault: Firing, answer: Callable[[], Awaitable[Response]]) -> Response:
        """What comes of a request that a fault strikes."""
        draft, rule = draft_of(request.scope), fault.rule
        if refusal := faults.instead(rule):
            draft.faults += (rule.kind,)
            draft.hint = faults.hint_of(refusal)
            if draft.action == "submit":
                with suppress(Problem):  # what is wrong with it is not what it is told
                    _recognize(request, await body_of(request))
            return refusal
        request.scope["lie"] = rule
        try:
            try:
                answered = await answer()
            except EXPECTED as error:
                answered = answer_to(error)
            if struck := faults.strike(answered, fault, self._service.rest):
                draft.faults += (rule.kind,)
        finally:
            if rule.kind not in draft.faults:  # as when a held look ends with nothing to lie about
                await self._service.faults.not_fired(request.scope["user"], fault)
        if struck and faults.hides(rule):
            draft.looks = ()
        return struck or answered

    async def _rest(self, request: Request, seconds: float) -> None:
        """Lets time pass, unless the client leaves meanwhile."""
        if draft_of(request.scope).action == "submit":
            with suppress(Problem):  # what is wrong with the body is told later; now it must not be missed
                await body_of(request)
        async with leaving_with_the_client(request.receive):
            await self._service.rest(seconds)

    async def _firings(
        self, request: Request, action: Action, rows: Sequence[Dialect], job_id: str | None
    ) -> Sequence[Firing]:
        """What goes wrong with a request: what its headers ask for, else what its caller's sandbox has."""
        if not self._service.worlds.changeable:
            return ()
        own = [_asked_for(text) for text in request.headers.getlist("simulate-fault") if text]
        dialects = frozenset(row.name for row in rows)
        method = "HEAD" if request.scope["head"] else request.method
        asked = Asked(action, dialects, method, held=bool(draft_of(request.scope).wait))
        return await self._service.faults.strike(request.scope["user"], asked, job_id, own=own)

    def _tell(self, request: Request, row: Dialect, *looks: Look) -> list[tuple[Dialect, Look]]:
        """What is told instead of looks, and in which format: the truth, unless a fault has it that it is a lie."""
        draft = draft_of(request.scope)
        rule: Rule | None = request.scope.get("lie")
        if rule is None:
            draft.looks = looks
            return [(row, look) for look in looks]
        told = [lie(rule, row, look) for look in looks]
        draft.looks = [look for look, said in zip(looks, told, strict=True) if said == (row, look)]
        if len(draft.looks) < len(looks):
            draft.faults += (rule.kind,)
        return told

    def _submit(self, row: Dialect) -> Endpoint:
        async def submit(request: Request) -> Response:
            draft = draft_of(request.scope)
            sent = await body_of(request)
            facts = _submission(request, row, sent)
            if facts.simulate and not self._service.worlds.changeable:
                raise invalid([{"field": "simulate", "message": "this server simulates nothing (SANDBOX=off)"}])
            _recognize(request, sent)
            accepted = await self._service.submit(
                request.scope["user"],
                facts.submission(),
                key=draft.key,
                job_id=facts.job_id,
                wish=facts.simulate.wish() if facts.simulate else None,
            )
            draft.looks, draft.replayed = [accepted.look], accepted.replayed
            headers = {"Location": row.location(accepted.look.job.id)}
            if accepted.replayed:
                headers["Idempotency-Replayed"] = "true"
            if draft.wait == 0:
                headers["Preference-Applied"] = "wait=0"
            body = row.body_accepted(accepted.look.job)
            return Json(body, row.accepted_code, headers | await self._advice(request, accepted.look))

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
        [(row, said)] = self._tell(request, self._native, look)
        return Json(row.body(said), HTTPStatus.OK, await self._advice(request, look))

    async def jobs(self, request: Request, query: Annotated[JobsQuery, Query()]) -> Response:
        """Lists the caller's jobs, newest first; or, with `job_id`, looks at up to 100 of them at once."""
        owner = request.scope["user"]
        if query.job_id:
            if query.model_fields_set != {"job_id"}:
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "job_id cannot be combined with other parameters.")
            looks, unknown = await self._service.look_many(owner, query.job_id)
            body = f'{{"jobs":{self._bodies(request, looks)},"unknown":{as_json(unknown)}}}'
            return Json(body, headers=await self._advice(request, *looks))
        page = await self._service.page(owner, limit=query.limit, after=query.after, state=query.status)
        following = None if page.next is None else str(page.next)
        return Json(f'{{"jobs":{self._bodies(request, page.looks)},"next":{as_json(following)}}}')

    def _bodies(self, request: Request, looks: Sequence[Look]) -> str:
        return f"[{','.join(row.body(look) for row, look in self._tell(request, self._native, *looks))}]"

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
        changes = self._service.changes(owner, now if after is None and not job_id else after, job_id)
        return await stream(request, self._native, changes, now, self._note)

    def _note(self, request: Request, looks: Sequence[Look]) -> None:
        """Writes down what a stream tells."""
        rule = request.scope.get("lie")
        if looks and not (rule and faults.hides(rule)):
            told = replace(draft_of(request.scope), at=time.time(), action="event", looks=looks, status=HTTPStatus.OK)
            self._record(request.scope["user"], told)

    async def livez(self) -> Response:
        """Answers while the process is up."""
        return Json('{"status":"live"}')

    async def readyz(self) -> Response:
        """Answers while the server takes work: its store answers, and it is not about to stop."""
        if self._draining():
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server is about to stop.", {"Connection": "close"})
        await self._service.check()
        return Json('{"status":"ready"}')

    async def _answer(self, request: Request, row: Dialect, look: Look) -> Response:
        """How the job stands: as soon as the caller does not know it, or has waited as long as it prefers to."""
        draft = draft_of(request.scope)
        asked = wanted(draft.wait, request.headers.getlist("if-none-match"))
        if seconds := asked.held_for(row.form(look).tag):
            async with leaving_with_the_client(request.receive):
                look = await self._service.hold(look, seconds, row.changes_at)
        [(row, said)] = self._tell(request, row, look)
        draft.hint = await self._service.hint(look)
        status, headers, body = render(row.form(said), said, draft.hint, asked)
        answer = Response(body, status)
        answer.raw_headers = list(headers)
        return answer

    async def _advice(self, request: Request, *looks: Look) -> dict[str, str]:
        """When to look next: as soon as it is worth its while for one of the looks."""
        hints = [hint for look in looks if (hint := await self._service.hint(look)) is not None]
        draft_of(request.scope).hint = soonest = min(hints, default=None)
        return advice(soonest)


def _submission(request: Request, row: Dialect, body: bytes) -> SubmissionBody:
    """What the row's submission brings.

    Raises:
        Problem: 415, 400 or 422 for a body that is not what the row asks for.
    """
    if not body.strip():
        return SubmissionBody()
    document = parsed(request, body)
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


def _asked_for(text: str) -> Rule:
    """The fault that a request's own header asks for: a kind, or a rule as JSON.

    Raises:
        Problem: 422 for what is neither.
    """
    try:
        return FAULT.validate_json(text if text.startswith("{") else to_json({"kind": text}))
    except ValidationError as error:
        raise refused(error, "Simulate-Fault") from None


def _recognize(request: Request, sent: bytes) -> None:
    """Notes what tells a submission from others, and a retry of it as one."""
    draft = draft_of(request.scope)
    draft.key = _idempotency_key(request)
    draft.digest = hashlib.blake2b(sent, digest_size=8).hexdigest()


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
