"""What every request passes on its way in and out: credentials, HEAD, the log, and the last resort for errors."""

import logging
import secrets
import time
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from translation_server.web.auth import Anyone, Authenticator
from translation_server.web.problems import Problem

logger = logging.getLogger(__name__)

OPEN = frozenset({"/livez", "/readyz"})
"""The paths that need no credentials."""


class Gate:
    """ASGI middleware; behind it, ``scope["user"]`` is the caller's name, and HEAD is GET with ``scope["head"]`` true.

    The server drops the body of an answer to HEAD by itself, since it still knows the request as what it was.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator | Anyone) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        inner = dict(scope) | {"head": scope["method"] == "HEAD"}
        if inner["head"]:
            inner["method"] = "GET"
        try:
            if scope["path"] not in OPEN:
                inner["user"] = await self._authenticator.user(scope)
            await self._app(inner, receive, watched_send)
        except Problem as problem:
            await problem.response()(scope, receive, watched_send)
        except ClientDisconnect:
            logger.debug("%s %s: the client left before its request was complete", scope["method"], scope["path"])
        except Exception:
            error_id = secrets.token_hex(8)
            logger.exception("error %s in %s %s", error_id, scope["method"], scope["path"])
            if status:
                raise
            detail = f"The server failed. Its log tells more under the id {error_id}."
            failure = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, error_id=error_id)
            await failure.response()(scope, receive, watched_send)
        finally:
            logger.debug(
                "%s %s %s for %s in %.1f ms",
                scope["method"],
                scope["path"],
                status,
                inner.get("user", "-"),
                1000 * (time.perf_counter() - began),
            )
