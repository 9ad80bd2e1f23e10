"""The poll endpoint: answers polls of one job, in every dialect, before the framework's router.

A poll has no body and no query parameters. For most polls, all data is in memory: the credentials and the job are
cached, and no fault rule applies. `PollEndpoint.answer_from_cache` answers these without starting a task. All other
polls go through authentication, fault rules, the store and, for a long poll, a wait. Both paths render the answer with
the same function, so they give the same answer.
"""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from translation_server.api.auth.authenticator import Authenticator, OpenAuthenticator
from translation_server.api.bodies import Endpoint, strict
from translation_server.api.context import context_of
from translation_server.api.disconnect import cancelled_on_disconnect
from translation_server.api.faults.simulator import Simulator, count_polls, falsify
from translation_server.api.middleware import RequestMiddleware
from translation_server.api.origins import OriginPolicy
from translation_server.api.preferences import (
    UNCONDITIONAL,
    Conditions,
    is_bounded,
    preferred_wait,
    retry_after,
    values_of,
    wall_elapsed,
)
from translation_server.api.request_record import AddRecord, RecordBuilder, begin_record, log_request
from translation_server.core.clock import Clock
from translation_server.core.dialects.dialect import Dialect, PartialBody, Route
from translation_server.core.hints import hint
from translation_server.core.job import JobSnapshot
from translation_server.service.jobs import Service

logger = logging.getLogger(__name__)

OK, NOT_MODIFIED = 200, 304

POLL_HEADERS = frozenset({b"prefer", b"if-none-match"})
"""The headers that change the answer to a poll."""

UNCACHED = frozenset({b"content-length", b"transfer-encoding", b"simulate-fault"})
"""Requests with one of these headers are never answered from the cache."""


class Answer(NamedTuple):
    """A complete HTTP response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class PollEndpoint:
    """An ASGI application that answers polls.

    Args:
        routes: All routes of all dialects. The endpoint serves the ones that poll a job.
        service: Finds the jobs.
        simulator: Applies the fault rules.
        origin_policy: Checks the Host header.
        authenticator: Checks the credentials.
        middleware: Wraps every request.
        add_record: Adds a record to the caller's request log.
    """

    def __init__(  # noqa: PLR0913 - these are keyword arguments
        self,
        routes: Sequence[Route],
        *,
        service: Service,
        simulator: Simulator,
        origin_policy: OriginPolicy,
        authenticator: Authenticator | OpenAuthenticator,
        middleware: RequestMiddleware,
        add_record: AddRecord,
    ) -> None:
        self._service = service
        self._origin_policy = origin_policy
        self._authenticator = authenticator
        self._middleware = middleware
        self._add_record = add_record
        polls = [route for route in routes if route.method == "GET"]
        by_id = [route for route in polls if route.action == "poll"]
        self.paths = [route.path for route in polls]
        self._latest = {route.path: self._poll_route(route, simulator) for route in polls if route.action == "current"}
        self._by_id = [self._poll_route(route, simulator) for route in by_id]
        # One group per route: the index of the group that matches is the number of the route, from 1.
        self._pattern = re.compile("|".join(map(_pattern, by_id)))

    def serves(self, scope: Scope) -> bool:
        """Whether a request is a poll."""
        return scope["method"] in {"GET", "HEAD"} and self._match(_path_of(scope)) is not None

    def answer_from_cache(self, scope: Scope) -> Answer | None:
        """Answers a poll from memory; returns None if it needs anything else."""
        try:
            return self._answer_from_cache(scope)
        except Exception:
            logger.exception("poll %r could not be answered from the cache", scope["path"])
            return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a poll."""
        await self._middleware.serve(self._dispatch, scope, receive, send)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        if found := self._match(_path_of(scope)):
            (_, endpoint), arguments = found
            response = await endpoint(Request(scope, receive), **arguments)
            await response(scope, receive, send)

    def _poll_route(self, route: Route, simulator: Simulator) -> "_PollRoute":
        dialect = route.dialects[0]

        async def poll(request: Request, job_id: str | None = None) -> Response:
            return await self._answer(request, dialect, job_id)

        return _PollRoute(dialect, simulator.endpoint("poll", route.dialects, strict(poll)))

    def _match(self, path: str) -> "tuple[_PollRoute, dict[str, str]] | None":
        """Returns the route of a path and its arguments; a route to the caller's latest job has none."""
        if latest := self._latest.get(path):
            return latest, {}
        found = self._pattern.fullmatch(path)
        if found is None or not found.lastindex:
            return None
        return self._by_id[found.lastindex - 1], {"job_id": found[found.lastindex]}

    async def _answer(self, request: Request, dialect: Dialect, job_id: str | None) -> Response:
        """Answers a poll; holds a long poll until the job changes or the wait is over."""
        context, service = context_of(request), self._service
        conditions = Conditions(context.record.wait, values_of(request, "if-none-match"))
        if job_id is None:
            snapshot = await service.current(context.user)
        else:
            snapshot = await service.snapshot(context.user, job_id)
        [snapshot] = await count_polls(request, service, dialect, [snapshot])
        if seconds := conditions.seconds_to_hold(dialect.partial_body(snapshot).tag):
            async with cancelled_on_disconnect(request.receive):
                snapshot = await service.hold(snapshot, seconds, dialect.changes_at)
        [(dialect, shown)] = falsify(request, dialect, snapshot)
        sandbox = await service.sandboxes.of(context.user)
        context.record.hint = hint(snapshot, sandbox.settings, sandbox.clock.current.rate)
        answer = self._render(dialect.partial_body(shown), shown, sandbox.clock, context.record, conditions)
        response = Response(answer.body, answer.status)
        response.raw_headers = answer.headers
        return response

    def _answer_from_cache(self, scope: Scope) -> Answer | None:
        began, headers = time.perf_counter(), dict(scope["headers"])
        found = self._pattern.fullmatch(path := scope["path"])
        if found is None or scope["method"] != "GET" or scope["query_string"] or scope["root_path"]:
            return None
        has_repeated = len(headers) < len(scope["headers"])
        if (
            has_repeated
            or not UNCACHED.isdisjoint(headers)
            or not self._origin_policy.accepts_host(headers.get(b"host"))
        ):
            return None
        user = self._authenticator.cached_user(scope, headers)
        conditions = UNCONDITIONAL if POLL_HEADERS.isdisjoint(headers) else _read_conditions(headers)
        if user is None or conditions is None or path in self._latest or not found.lastindex:
            return None
        dialect = self._by_id[found.lastindex - 1].dialect
        if not (cached := self._service.render_cached(user, found[found.lastindex], dialect)):
            return None
        rendering, snapshot = cached
        if conditions.seconds_to_hold(rendering.body.tag):
            return None
        record = begin_record(scope, headers, time.time())
        record.action, record.dialect, record.wait = "poll", dialect.name, conditions.wait
        record.snapshots, record.hint = rendering.snapshots, rendering.hint(snapshot.now)
        answer = self._render(rendering.body, snapshot, rendering.sandbox.clock, record, conditions)
        record.status = answer.status
        record.took = time.perf_counter() - began
        log_request(scope, user, answer.status, record.took)
        # This comes last: a poll that fails before this line is answered and recorded by `_answer`.
        self._add_record(user, record)
        return answer

    def _render(
        self, partial: PartialBody, snapshot: JobSnapshot, clock: Clock, record: RecordBuilder, conditions: Conditions
    ) -> Answer:
        headers = [(b"vary", b"Prefer"), (b"etag", partial.tag.encode())]
        headers += retry_after(record.hint)
        headers += wall_elapsed(clock, self._service.wall_time, snapshot)
        if conditions.wait is not None:
            headers.append((b"preference-applied", b"wait=%d" % conditions.wait))
        if conditions.knows(partial.tag):
            return Answer(NOT_MODIFIED, headers, b"")
        body = partial.complete(snapshot).encode()
        headers += (b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")
        return Answer(OK, headers, body)


class _PollRoute(NamedTuple):
    dialect: Dialect
    endpoint: Endpoint


async def send_answer(answer: Answer, send: Send) -> None:
    """Sends an answer as ASGI messages."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


def _read_conditions(headers: Mapping[bytes, bytes]) -> Conditions | None:
    """Reads the Prefer and If-None-Match headers of a poll; returns None if one is too long."""
    prefer, tags = headers.get(b"prefer"), headers.get(b"if-none-match")
    if not is_bounded([prefer or b""]) or not is_bounded([tags or b""]):
        return None
    wait = None if prefer is None else preferred_wait([prefer.decode("latin-1")])
    return Conditions(wait, [] if tags is None else [tags.decode("latin-1")])


def _pattern(route: Route) -> str:
    """Returns a regular expression for the paths of a route; its only group matches the job's id."""
    return re.escape(route.path).replace(re.escape("{job_id}"), "([^/]+)")


def _path_of(scope: Scope) -> str:
    """Returns the path without the prefix at which another application has mounted this one."""
    path: str = scope["path"]
    return path.removeprefix(scope["root_path"])
