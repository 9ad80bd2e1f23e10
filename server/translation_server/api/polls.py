"""Polls of one job, in every dialect.

For most polls, all data is in memory: the credentials and the job are cached, and no fault rule applies.
`PollEndpoint.answer_from_cache` answers these without starting a task. All other polls go through authentication, fault
rules, the store and, for a long poll, a wait. Both paths render with the same function, so they give the same answer.

A client that waits sends the same bytes again and again. `repeatable` has the polls that were read from such bytes, so
`HttpProtocol` parses them only once. What the answer depends on besides these bytes is looked at each time.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope, Send

from translation_server.api.auth.authenticator import Authenticator
from translation_server.api.auth.open_authenticator import OpenAuthenticator
from translation_server.api.context import context_of
from translation_server.api.counting import count_request
from translation_server.api.cycle import Answer, Head, Headers, head_of
from translation_server.api.dialect_router import DialectRouter
from translation_server.api.disconnect import cancelled_on_disconnect
from translation_server.api.faults.simulator import apply_false_answer, count_polls
from translation_server.api.origins import OriginPolicy
from translation_server.api.preferences import (
    UNCONDITIONAL,
    Conditions,
    hint_headers,
    is_bounded,
    preferred_wait,
    values_of,
    wall_elapsed,
)
from translation_server.api.request_record import AddRecord, PollRecord, begin_record, log_request
from translation_server.api.views import record_hint, view_of
from translation_server.core.clock import Clock, WallTime
from translation_server.core.dialects.builtin import NATIVE_API
from translation_server.core.dialects.dialect import Dialect, PartialBody, View
from translation_server.core.dialects.routes import Route
from translation_server.core.job import JobSnapshot
from translation_server.core.lru import LRU
from translation_server.core.metrics import Metrics
from translation_server.service.files import Files
from translation_server.service.job_cache import RenderedJob
from translation_server.service.jobs import JobNotFound, Service, is_hidden

logger = logging.getLogger(__name__)

NOT_MODIFIED = 304

POLL_HEADERS = frozenset({b"prefer", b"if-none-match"})
"""The headers that change the answer to a poll."""

UNCACHED = frozenset({b"content-length", b"transfer-encoding", b"simulate-fault"})
"""Requests with one of these headers are never answered from the cache."""


MIN_REPEATABLE = 2_000
"""How many polls are kept with the bytes of their requests, however few users there are; each takes about 4 KiB."""

POLLS_PER_USER = 3  # how many are kept for each user, on average


class Shared(NamedTuple):
    """What all answers to a poll share while the job's rendering stays the same, and what their records do."""

    rendering: RenderedJob
    head: Head
    facts: str


@dataclass(slots=True)
class Poll:
    """A request for a job that may be answered from the cache.

    The last three attributes are set when the poll is first answered, and used when the same bytes come again.
    """

    scope: Scope
    headers: Mapping[bytes, bytes]
    routes: Sequence[Route]
    job_id: str
    conditions: Conditions
    cached_user: Callable[[], str | None] | None = None
    absolute: View | None = None
    shared: Shared | None = None

    @property
    def address(self) -> str | None:
        """The address of the caller, if the connection has one."""
        client: tuple[str, int] | None = self.scope["client"]
        return client and client[0]

    def view(self, dialect: Dialect, files: Files) -> View:
        """Returns the view for an answer with absolute URLs. It is the same for all dialects of one path."""
        if self.absolute is None:
            self.absolute = view_of(self.scope, dialect, files)
        return self.absolute


class PollEndpoint:
    """Answers polls, and requests for results, which show a job in another form.

    Args:
        router: Finds the routes.
        service: Finds the jobs.
        origin_policy: Checks the Host header.
        authenticator: Checks the credentials.
        add_record: Adds a record to the caller's request log.
        metrics: Counts the polls that are answered from memory; None counts nothing.

    Attributes:
        repeatable: Polls that were answered from the cache, by the bytes of their requests.
    """

    def __init__(  # noqa: PLR0913 - these are keyword arguments
        self,
        router: DialectRouter,
        *,
        service: Service,
        origin_policy: OriginPolicy,
        authenticator: Authenticator | OpenAuthenticator,
        add_record: AddRecord,
        metrics: Metrics | None = None,
    ) -> None:
        self.repeatable = LRU[bytes, Poll](MIN_REPEATABLE)
        self._router = router
        self._by_prefix = {prefix: [route] for prefix, route in router.polls_by_prefix().items()}
        self._service = service
        self._origin_policy = origin_policy
        self._authenticator = authenticator
        self._add_record = add_record
        self._metrics = metrics

    def set_users(self, users: int) -> None:
        """Makes the caches large enough for the polls of this many users."""
        self._service.set_users(users)
        self.repeatable.capacity = max(MIN_REPEATABLE, POLLS_PER_USER * users)

    def read(self, scope: Scope) -> Poll | None:
        """Returns a request as a poll that may be answered from the cache; None if it is anything else."""
        headers = dict(scope["headers"])
        if (found := self._cacheable(scope, headers)) is None:
            return None
        conditions = UNCONDITIONAL if POLL_HEADERS.isdisjoint(headers) else _read_conditions(headers)
        return None if conditions is None else Poll(scope, headers, *found, conditions)

    def answer_from_cache(self, poll: Poll) -> Answer | None:
        """Answers a poll from memory; returns None if it needs anything else."""
        try:
            return self._answer_from_cache(poll)
        except Exception:
            logger.exception("poll %r could not be answered from the cache", poll.scope["path"])
            return None

    async def answer(self, request: Request, route: Route, job_id: str | None = None) -> Response:
        """Answers a poll; holds a long poll until the job changes or the wait is over."""
        context, service = context_of(request), self._service
        dialect, view = route.dialects[0], view_of(request.scope, route.dialects[0], self._service.files)
        conditions = Conditions(context.record.wait, values_of(request, "if-none-match"))
        if job_id is None:
            snapshot = await service.current(context.user)
        else:
            snapshot = await service.snapshot(context.user, job_id, **dialect.owned)
        [snapshot] = await count_polls(request, service, dialect, [snapshot])
        tag = dialect.tag(snapshot, view, route.operation) if conditions.wait else ""
        if seconds := conditions.seconds_to_hold(tag):
            async with cancelled_on_disconnect(request.receive):
                snapshot = await service.hold(snapshot, seconds, dialect.changes_at)
        if is_hidden(snapshot.job, **dialect.owned):  # it was deleted meanwhile
            raise JobNotFound
        [(shown_in, shown)] = apply_false_answer(request, [dialect], snapshot)
        clock = await record_hint(request, service, dialect, snapshot)
        operation = route.operation if shown_in is dialect else shown_in.operation(route.action)
        body = shown_in.partial_body(shown, view, operation)
        status, headers = _head(body, conditions)
        own_headers, content = self._render(body, status, shown, clock, context.record.hint)
        response = Response(content, status)
        response.raw_headers = [*headers, *own_headers]
        return response

    def _answer_from_cache(self, poll: Poll) -> Answer | None:
        began, at = time.perf_counter(), WallTime(time.time())
        routes, job_id = poll.routes, poll.job_id
        if poll.cached_user is None:
            poll.cached_user = self._authenticator.cached_user(poll.scope, poll.headers)
        if (user := poll.cached_user()) is None:
            return None
        dialect = routes[0].dialects[0] if len(routes) == 1 else self._dialect_of(user, job_id, routes)
        if dialect is None:
            return None
        view = partial(poll.view, dialect, self._service.files)
        if not (cached := self._service.render_cached(user, job_id, dialect, view)):
            return None
        rendering, snapshot = cached
        if poll.conditions.seconds_to_hold(rendering.body.tag):
            return None
        shared = poll.shared
        if shared is None or shared.rendering is not rendering:
            shared = poll.shared = _share(poll, rendering, dialect)
        clock, hint = rendering.sandbox.clock, rendering.hint(snapshot.now)
        status = shared.head.status
        answer = Answer(shared.head, *self._render(rendering.body, status, snapshot, clock, hint))
        took = time.perf_counter() - began
        record = PollRecord(at, took, hint, rendering.snapshots, shared.facts)
        log_request(poll.scope, user, status, took)
        if self._metrics:
            count_request(self._metrics, routes[0].pattern.template, "GET", status, took)
        # This comes last: a poll that fails before this line is answered and recorded by `answer`.
        self._add_record(user, record)
        return answer

    def _dialect_of(self, user: str, job_id: str, routes: Sequence[Route]) -> Dialect | None:
        """Returns the dialect of a cached job, where an API polls jobs of several kinds by the same path."""
        job = self._service.cached_job(user, job_id)
        dialects = (route.dialects[0] for route in routes)
        return next((one for one in dialects if job and (job.api, job.kind) == (one.api.name, one.kind)), None)

    def _cacheable(self, scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[Sequence[Route], str] | None:
        """Returns the routes and the id of a poll that may be answered from the cache; None for any other request."""
        if scope["method"] != "GET" or scope["root_path"] or len(headers) < len(scope["headers"]):
            return None
        path: str = scope["path"]
        prefix, _, job_id = path.rpartition("/")
        routes: Sequence[Route] = self._by_prefix.get(prefix, ())
        if not routes:
            match = self._router.match("GET", path)
            if match is None or not match.are_polls:
                return None
            routes = match.routes
            job_id = match.parameters(routes[0]).get("job_id", "")
        if not job_id or (scope["query_string"] and routes[0].api is NATIVE_API):
            return None
        if not UNCACHED.isdisjoint(headers) or not self._origin_policy.accepts_host(headers.get(b"host")):
            return None
        return routes, job_id

    def _render(
        self, body: PartialBody, status: int, snapshot: JobSnapshot, clock: Clock, hint: float | None
    ) -> tuple[Headers, bytes]:
        """Returns the headers that change from answer to answer, and the body."""
        headers = hint_headers(hint, body.hints)
        headers += wall_elapsed(clock, self._service.wall_time, snapshot)
        if status == NOT_MODIFIED:
            return headers, b""
        content = body.complete(snapshot).encode()
        headers.append((b"content-length", b"%d" % len(content)))
        return headers, content


def _head(body: PartialBody, conditions: Conditions) -> tuple[int, Headers]:
    """Returns the status of an answer, which is 304 if the client already has the body, and all other headers."""
    headers = [(b"vary", b"Prefer"), (b"etag", body.tag.encode()), *body.headers]
    if conditions.wait is not None:
        headers.append((b"preference-applied", b"wait=%d" % conditions.wait))
    if conditions.knows(body.tag):
        return NOT_MODIFIED, headers
    if body.media_type:
        headers.append((b"content-type", body.media_type))
    return body.code, headers


def _share(poll: Poll, rendering: RenderedJob, dialect: Dialect) -> Shared:
    head = head_of(*_head(rendering.body, poll.conditions))
    record = begin_record(poll.scope, poll.headers, 0.0, poll.routes[0].api)
    record.action, record.dialect, record.wait = "poll", dialect.name, poll.conditions.wait
    record.status, record.snapshots = head.status, rendering.snapshots
    return Shared(rendering, head, to_json(record.facts(rendering.sandbox.clock)).decode()[1:-1])


async def send_answer(answer: Answer, send: Send) -> None:
    """Sends an answer as ASGI messages."""
    headers = [*answer.head.headers, *answer.headers]
    await send({"type": "http.response.start", "status": answer.head.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _read_conditions(headers: Mapping[bytes, bytes]) -> Conditions | None:
    """Reads the Prefer and If-None-Match headers of a poll; returns None if one is too long."""
    prefer, tags = headers.get(b"prefer"), headers.get(b"if-none-match")
    if not is_bounded([prefer or b""]) or not is_bounded([tags or b""]):
        return None
    wait = None if prefer is None else preferred_wait([prefer.decode("latin-1")])
    return Conditions(wait, [] if tags is None else [tags.decode("latin-1")])
