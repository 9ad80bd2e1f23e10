"""The steps of every request: checks of host and origin, authentication, the request log, errors as problem details."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from translation_server.api.auth.authenticator import Authenticator, ReadBody
from translation_server.api.auth.open_authenticator import OpenAuthenticator
from translation_server.api.bodies import body_of
from translation_server.api.context import RequestContext, context_of
from translation_server.api.counting import count_request
from translation_server.api.cycle import abandon_if_closing, transport_of
from translation_server.api.mounts import Mounts
from translation_server.api.origins import OriginPolicy
from translation_server.api.own_routes import OwnRoute
from translation_server.api.problems import (
    EXPECTED,
    RETRY_AFTER,
    CredentialsRefused,
    Problem,
    describe,
    invalid_url,
    response_to,
)
from translation_server.api.request_record import MAX_TEXT, AddRecord, RecordBuilder, begin_record, log_request
from translation_server.config.logs import of_request
from translation_server.core.dialects.dialect import Api
from translation_server.core.dialects.operations import RequestPattern
from translation_server.core.metrics import Metrics
from translation_server.service.files import FILES, Files

logger = logging.getLogger(__name__)


class RequestMiddleware:
    """Serves requests by an ASGI application behind it, which finds their context by `context_of`.

    A HEAD request reaches the application as a GET. The HTTP server drops the body of its answer.

    Args:
        own_routes: the routes that every server has.
        origin_policy: refuses other hosts, and pages of other origins.
        authenticator: finds the user of a request by its credentials.
        add_record: adds a record to a user's request log.
        count_refused: counts a request that named a user and was refused for its credentials, by its wall time.
        files: finds the user of a signed URL.
        apis: the APIs by their mounts.
        max_body: how many bytes a body may have.
        max_upload: how many bytes a form with files, or an upload, may have.
        metrics: counts the requests.
    """

    def __init__(  # noqa: PLR0913 - these are keyword arguments
        self,
        own_routes: Sequence[OwnRoute],
        origin_policy: OriginPolicy,
        authenticator: Authenticator | OpenAuthenticator,
        add_record: AddRecord,
        count_refused: Callable[[str, float], None],
        *,
        files: Files,
        apis: Mapping[str, Api],
        max_body: int,
        max_upload: int,
        metrics: Metrics,
    ) -> None:
        self._public = frozenset(route.path for route in own_routes if route.is_public)
        self._unrecorded = {route.name for route in own_routes} - {route.name for route in own_routes if route.action}
        self._max_body, self._max_upload = max_body, max_upload
        self._origin_policy = origin_policy
        self._authenticator = authenticator
        self._add_record = add_record
        self._count_refused = count_refused
        self._files = files
        self._apis = Mounts(apis)
        self._by_name = {api.name: api for api in apis.values()}
        self._metrics = metrics
        self._routes = ""

    def know_routes(self, patterns: Iterable[RequestPattern]) -> None:
        """Sets the patterns of all routes: requests for other paths are not recorded."""
        self._routes = "|".join({pattern.expression for pattern in patterns})  # compiled when it is first used

    def around(self, app: ASGIApp) -> ASGIApp:
        """Returns an application that serves its HTTP requests by ``app``."""

        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self.serve(app, scope, receive, send)
            else:
                await app(scope, receive, send)

        return wrapped

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, user: str | None = None) -> None:
        """Serves one request; ``user`` is its user if the credentials were checked before."""
        with of_request(scope):
            await self._serve(app, scope, receive, send, user)

    async def _serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, user: str | None) -> None:
        began, refused = time.perf_counter(), False
        is_head = scope["method"] == "HEAD"
        path = scope["path"].removeprefix(scope["root_path"])
        api = self._apis.get(path)
        record = begin_record(scope, dict(scope["headers"]), time.time(), api)
        context = RequestContext(record, is_head, transport_of(receive), self._max_body, self._max_upload, api=api)
        inner = dict(scope) | {"context": context, "method": "GET" if is_head else scope["method"]}

        async def send_recorded(message: Message) -> None:
            abandon_if_closing(receive)
            if message["type"] == "http.response.start":
                record.status = message["status"]
                record.took = time.perf_counter() - began
            await send(message)

        try:
            self._origin_policy.check(scope)
            if user is None:
                user = await self._user_of(scope, context, lambda: body_of(Request(inner, receive)))
            context.user = user or ""
            await app(inner, receive, send_recorded)
        except EXPECTED as error:
            refused = isinstance(error, CredentialsRefused)
            await response_to(error, inner)(scope, receive, send_recorded)
        except ClientDisconnect:
            logger.debug("%s %s: the client disconnected before it was answered", scope["method"], scope["path"])
        except asyncio.CancelledError:
            await _cut_off(inner, receive, send_recorded)
        except Exception:
            error_id = secrets.token_hex(8)
            logger.exception("%s failed: error %s", describe(inner), error_id)
            if record.status:
                raise
            detail = f"The server failed. Its log has more under the id {error_id}."
            failure = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, error_id=error_id)
            await failure.response(inner)(scope, receive, send_recorded)
        finally:
            took = time.perf_counter() - began
            record.took = record.took or took
            self._record(scope, user, record, refused=refused)
            template = _template(inner)
            scope["served"] = template, record
            count_request(self._metrics, template, scope["method"], record.status, record.took)
            log_request(scope, user or "", record.status, took)

    async def _user_of(self, scope: Scope, context: RequestContext, read_body: ReadBody) -> str | None:
        """Returns the user whom a signed URL or credentials name; None where neither is needed.

        A signed URL is for reading: other methods are refused by the router, whatever the signature.
        """
        path = scope["path"].removeprefix(scope["root_path"])
        if path.startswith(FILES):
            return self._user_of_url(path, context) if scope["method"] in {"GET", "HEAD"} else None
        return None if path in self._public else await self._authenticator.user(scope, read_body)

    def _user_of_url(self, path: str, context: RequestContext) -> str:
        """Returns the user of a signed URL. Its signature is a secret, so the record has the job's id instead.

        Raises:
            Problem: 403 for any other URL.
        """
        context.grant = grant = self._files.grant(path)
        if grant is None:
            raise invalid_url()
        context.job_api = self._by_name.get(grant.job.api or "")
        context.record.path = f"{FILES}{grant.job.job_id}/{grant.name}"[:MAX_TEXT]
        return grant.owner

    def _record(self, scope: Scope, user: str | None, record: RecordBuilder, *, refused: bool) -> None:
        """Adds a record to the caller's request log, or counts a request that was refused for its credentials.

        Where credentials are needed, all requests of a user are recorded, whatever their path is. A request without
        valid credentials counts for the user whom it names, but only on the path of a route: a browser's /favicon.ico
        does not count.
        """
        if refused:
            self._metrics.refused.add()
        if record.path[1:].partition("/")[0] in self._unrecorded:
            return
        if user is not None:
            if isinstance(self._authenticator, Authenticator) or self._is_route(scope["path"]):
                self._add_record(user, record)
        elif refused and self._is_route(scope["path"]) and (name := self._authenticator.claimed_user(scope)):
            self._count_refused(name, record.at)

    def _is_route(self, path: str) -> bool:
        return re.fullmatch(self._routes, path) is not None


def _template(scope: Scope) -> str:
    """Returns the template of the path of a request's route; empty if it has none."""
    own, route = scope.get("route"), context_of(scope).route
    return route.pattern.template if route else getattr(own, "path", "").replace(":path}", "}")


async def _cut_off(scope: Scope, receive: Receive, send: Send) -> None:
    """Ends a request that was still running when the time for a graceful shutdown was over."""
    context = context_of(scope)
    logger.warning("%s was cut off: the server stopped before it was answered", describe(scope))
    if not context.record.status:
        headers = {"Retry-After": str(RETRY_AFTER), "Connection": "close"}
        stopped = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server stopped: send the request again.", headers)
        await stopped.response(scope)(scope, receive, send)
    elif context.transport is not None:
        context.transport.close()
        abandon_if_closing(receive)
