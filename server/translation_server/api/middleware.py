"""What every request passes on its way in and out: hosts and origins, credentials, HEAD, logs, the last resort."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from translation_server.api.auth.authenticator import Anyone, Authenticator
from translation_server.api.origins import Boundary
from translation_server.api.poll_response import send_all
from translation_server.api.polls import Lane
from translation_server.api.problems import EXPECTED, RETRY_AFTER, Problem, answer_to, named
from translation_server.api.request_record import Record, RecordBuilder, begin, log

logger = logging.getLogger(__name__)

OPEN = frozenset({"/livez", "/readyz"})
"""The paths that need no credentials."""

UNRECORDED = frozenset({"livez", "readyz", "sandbox", "docs", "openapi.json"})
"""The first parts of the paths that tell nothing of how a client waits."""


class Gate:
    """ASGI middleware; behind it, ``scope["user"]`` is the caller's name, and HEAD is GET with ``scope["head"]`` true.

    The server drops the body of an answer to HEAD by itself, since it still knows the request as what it was.
    ``scope["record"]`` becomes the request's entry in the journal, and ``scope["transport"]`` is its connection, if the
    host of the application lets one have it.

    Args:
        app: what is behind the gate.
        boundary: knows which requests may come in.
        authenticator: knows who sends a request.
        lane: answers looks that are to be held.
        paths: fits the paths that lead somewhere.
        record: takes note of a user's request.
        refuse: counts a request that named a user and was refused for its credentials, by its real time.
    """

    def __init__(  # noqa: PLR0913 - what a middleware needs comes as keywords
        self,
        app: ASGIApp,
        *,
        boundary: Boundary,
        authenticator: Authenticator | Anyone,
        lane: Lane,
        paths: re.Pattern[str],
        record: Record,
        refuse: Callable[[str, float], None],
    ) -> None:
        self._app = app
        self._boundary = boundary
        self._lane = lane
        self._authenticator = authenticator
        self._paths = paths
        self._record = record
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        record = begin(scope, dict(scope["headers"]), time.time())

        async def watched_send(message: Message) -> None:
            let_go(receive)
            if message["type"] == "http.response.start":
                record.status = message["status"]
                record.took = time.perf_counter() - began
            await send(message)

        inner = dict(scope) | {
            "head": (is_head := scope["method"] == "HEAD"),
            "method": "GET" if is_head else scope["method"],
            "draft": record,
            "transport": getattr(getattr(receive, "__self__", None), "transport", None),
        }
        try:
            self._boundary.check(scope)
            if scope["path"] not in OPEN:
                inner["user"] = await self._authenticator.user(scope)
            await self._serve(inner, receive, watched_send)
        except EXPECTED as error:
            await answer_to(error, inner)(scope, receive, watched_send)
        except ClientDisconnect:
            logger.debug("%s %s: the client left before its request was complete", scope["method"], scope["path"])
        except asyncio.CancelledError:
            await _cut_off(inner, receive, watched_send)
        except Exception:
            error_id = secrets.token_hex(8)
            logger.exception("%s failed: error %s", named(inner), error_id)
            if record.status:
                raise
            detail = f"The server failed. Its log tells more under the id {error_id}."
            failure = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, error_id=error_id)
            await failure.response()(scope, receive, watched_send)
        finally:
            took = time.perf_counter() - began
            record.took = record.took or took
            self._note(inner, record)
            log(scope, inner.get("user"), record.status, took)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._lane.held(scope, receive)
        if answer is None:
            await self._app(scope, receive, send)
        else:
            await send_all(answer, send)

    def _note(self, scope: Scope, record: RecordBuilder) -> None:
        """Has a request written down in the journal of whom it comes from; counts it where that was not proven.

        What leads nowhere, such as a browser's /favicon.ico, is counted for nobody, and where nobody needs credentials
        it is nobody's.
        """
        if record.path[1:].partition("/")[0] in UNRECORDED:
            return
        owner, leads_somewhere = scope.get("user"), self._paths.fullmatch(scope["path"]) is not None
        if owner is not None:
            if leads_somewhere or isinstance(self._authenticator, Authenticator):
                self._record(owner, record)
        elif (
            leads_somewhere
            and record.status == HTTPStatus.UNAUTHORIZED
            and (named := self._authenticator.claimed(scope))
        ):
            self._refuse(named, record.at)


def leading_somewhere(templates: Iterable[str]) -> re.Pattern[str]:
    """Fits the paths of routes."""
    return re.compile("|".join(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)) for template in templates))


async def _cut_off(scope: Scope, receive: Receive, send: Send) -> None:
    """Ends a request for which the server has waited as long as it may when it stops."""
    logger.warning("%s was cut off: the server stopped before it was answered", named(scope))
    if not scope["draft"].status:
        headers = {"Retry-After": str(RETRY_AFTER), "Connection": "close"}
        stopped = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The server stopped: send the request again.", headers)
        await stopped.response()(scope, receive, send)
    elif scope["transport"] is not None:
        scope["transport"].close()
        let_go(receive)


def let_go(receive: Receive) -> None:
    """Ends the wait for a request whose connection is closed, and has uvicorn expect no answer to it.

    Of several requests that came at once on a connection, uvicorn by itself lets go of the last only.
    """
    cycle: Any = getattr(receive, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is not None and transport.is_closing():
        cycle.disconnected = True
        cycle.message_event.set()
