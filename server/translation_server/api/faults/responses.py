"""Applies fault rules to responses: other status codes, changed headers, and responses that break on the socket.

The server makes a response that should break as usual. Then it writes the bytes directly to the connection, past the
HTTP implementation, and closes the connection. `docs/simulator.md` describes what a client sees.
"""

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple, assert_never

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from translation_server.api.auth.credentials import scheme, wrong_credentials
from translation_server.api.context import context_of
from translation_server.api.cycle import abandon_if_closing, written
from translation_server.api.file_response import PIECE, FileResponse
from translation_server.api.preferences import hint_headers
from translation_server.api.problems import Problem, api_of, expired_url, response_to
from translation_server.core.dialects.builtin import NATIVE_API
from translation_server.core.dialects.dialect import Api
from translation_server.core.faults.rules import (
    APPLICABILITY,
    BODILESS,
    Break,
    Drip,
    FalseAnswer,
    FaultRule,
    Firing,
    Garbage,
    Hang,
    HugeRetryAfter,
    Latency,
    Status,
    Truncate,
    UnknownStatus,
    WebhookMatcher,
    WrongType,
)
from translation_server.service.jobs import JobNotFound

PIECES = 10  # how many pieces of a dripping response are sent per second at most
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with zero seconds: closing the connection resets it
BAD_CHUNK = b"not-a-size\r\n"
MAX_HINT = 1e9  # the largest hint that is recorded, in seconds

Rest = Callable[[float], Awaitable[None]]  # waits for this many seconds, or until the server stops


def instead(rule: FaultRule, scope: Scope) -> Response | None:
    """Returns the response that replaces serving a request, if the rule has one, in the form of its API's errors."""
    match rule:
        case Status():
            headers = {name.lower(): value for name, value in rule.headers.items()}
            if rule.retry_after is not None:
                headers["retry-after"] = str(rule.retry_after)
            if rule.code in BODILESS:
                return Response(None, rule.code, headers)
            if rule.body is not None or rule.code not in set(HTTPStatus):
                return Response(rule.body, rule.code, headers, "text/plain")
            problem = Problem(HTTPStatus(rule.code), "A fault rule of the sandbox made this answer.", headers)
            return problem.response(scope)
        case FalseAnswer(kind=kind) if refusal := _refusal(kind, scope):
            return response_to(refusal, scope)
    return None


def _refusal(kind: str, scope: Scope) -> Exception | None:
    """Returns the error that a false answer of this kind reports; None if it reports none."""
    match kind:
        case "not-found":
            return JobNotFound()
        case "unauthorized":
            return wrong_credentials(scheme((api_of(scope) or NATIVE_API).auth[0]))
        case "expired":
            return expired_url(scope)
    return None


def hint_of(answer: Response) -> float | None:
    """Returns the seconds in the Retry-After of a response, if there are any."""
    seconds = answer.headers.get("retry-after", "")
    return min(float(seconds), MAX_HINT) if seconds.isdecimal() else None


def apply_fault(answer: Response, firing: Firing, rest: Rest, api: Api) -> Response | None:
    """Returns the response of an API with the fault applied; None if the rule is not applicable to it."""
    rule = firing.rule
    if APPLICABILITY[rule.kind].body and answer.status_code in BODILESS:
        return None
    match rule:
        case WrongType(content_type=content_type):
            answer.headers["Content-Type"] = content_type
            return answer
        case HugeRetryAfter(seconds=seconds):
            hints = {
                name.decode("latin-1"): value.decode("latin-1") for name, value in hint_headers(seconds, api.hints)
            }
            if api.hints is None:
                del hints["retry-after-ms"], answer.headers["retry-after-ms"]
            if not hints or not hints.keys() <= {*answer.headers}:
                return None
            answer.headers.update(hints)
            return answer
        case Break() | Truncate() | Garbage() | Drip() | Hang():
            return Broken(answer, firing, rest)
        case Status() | Latency() | FalseAnswer() | UnknownStatus() | WebhookMatcher():
            return None
        case _:
            assert_never(rule)


def hides(rule: FaultRule) -> bool:
    """Whether a fault hides the jobs of an answer from the client."""
    return isinstance(rule, Break | Truncate | Garbage | Hang)


class _Body(NamedTuple):
    """A body of ``size`` bytes, which is read piece by piece."""

    size: int
    read: Callable[[int, int], Awaitable[bytes]]

    async def pieces(self, stop: int, size: int = PIECE) -> AsyncIterator[bytes]:
        """Yields the body up to ``stop`` in pieces of ``size`` bytes."""
        for start in range(0, stop, size):
            yield await self.read(start, min(start + size, stop))


class Broken(Response):
    """A response that breaks as its rule says, and closes the connection."""

    def __init__(self, answer: Response, firing: Firing, rest: Rest) -> None:
        """Takes the complete response."""
        self._answer = answer
        self._firing = firing
        self._rest = rest
        super().__init__()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - it writes to the connection itself
        """Writes the broken response."""
        transport = context_of(scope).transport
        if transport is None:
            raise RuntimeError(
                "this fault needs uvicorn as the host of the application: no other gives access to its connections"
            )
        record = context_of(scope).record
        # A half-closed client gets its response, however slowly. During a hang, a half-close counts as a disconnect.
        gone: asyncio.Future[None] = asyncio.Future()
        if isinstance(self._firing.rule, Hang):
            gone = asyncio.create_task(_disconnected(receive))
        try:
            if not await self._write(transport, receive, gone):
                record.snapshots = ()
            elif self._is_whole():
                record.status = self._answer.status_code
            self._close(transport)
            abandon_if_closing(receive)  # uvicorn waits for a response otherwise
        finally:
            gone.cancel()
            if isinstance(self._answer, FileResponse):
                self._answer.close()

    async def _write(self, transport: asyncio.Transport, receive: Receive, gone: asyncio.Future[None]) -> bool:
        """Writes the response piece by piece; returns False if the client disconnects before the last one."""
        async for piece, pause in self._script(await self._body()):
            if gone.done() or transport.is_closing():
                return False
            if piece:
                transport.write(piece)
                await written(receive)
            if pause:
                resting = asyncio.ensure_future(self._rest(pause))
                await asyncio.wait([gone, resting], return_when=asyncio.FIRST_COMPLETED)
                resting.cancel()
        return True

    def _is_whole(self) -> bool:
        """Whether the rule delays the response and leaves nothing out."""
        return isinstance(self._firing.rule, Drip) and not isinstance(self._answer, StreamingResponse)

    def _close(self, transport: asyncio.Transport) -> None:
        rule = self._firing.rule
        if isinstance(rule, Break) and rule.kind == "reset" and not transport.is_closing():
            connection: socket.socket = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.abort()
        else:
            transport.close()

    async def _body(self) -> "_Body":
        """Returns the body, or the first piece of a stream."""
        if isinstance(self._answer, FileResponse):
            return _Body(len(self._answer.part), self._answer.read)
        if isinstance(self._answer, StreamingResponse):
            pieces = self._answer.body_iterator
            first = await anext(aiter(pieces), "")
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
            content = first.encode() if isinstance(first, str) else bytes(first)
        else:
            content = bytes(self._answer.body)

        async def read(start: int, stop: int) -> bytes:
            return content[start:stop]

        return _Body(len(content), read)

    async def _script(self, body: "_Body") -> AsyncIterator[tuple[bytes, float]]:
        """Yields the pieces to write, and the seconds to wait after each."""
        match self._firing.rule:
            case Truncate(keep=keep):
                yield self._head(f"Content-Length: {body.size}"), 0
                async for piece in body.pieces(int(body.size * keep)):
                    yield piece, 0
            case Break(kind="malformed"):
                yield self._head("Transfer-Encoding: chunked"), 0
                if half := body.size // 2:
                    yield f"{half:x}\r\n".encode(), 0
                    async for piece in body.pieces(half):
                        yield piece, 0
                    yield b"\r\n", 0
                yield BAD_CHUNK, 0
            case Garbage(size=size):
                yield hashlib.shake_128(self._firing.entropy).digest(size), 0
            case Drip(rate=rate):
                yield self._head(f"Content-Length: {body.size}"), 0
                size = max(1, int(rate / PIECES))
                async for piece in body.pieces(body.size, size):
                    yield b"", len(piece) / rate
                    yield piece, 0
            case Hang(seconds=seconds):
                yield b"", seconds

    def _head(self, framing: str) -> bytes:
        status = self._answer.status_code
        phrase = HTTPStatus(status).phrase
        headers = [
            f"{name}: {value}"
            for name, value in self._answer.headers.items()
            if name not in {"content-length", "transfer-encoding"}
        ]
        lines = [f"HTTP/1.1 {status} {phrase}", *headers, framing, "Connection: close", "", ""]
        return "\r\n".join(lines).encode("latin-1")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
