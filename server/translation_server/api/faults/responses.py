"""Faults as they reach a client: answers that are refused, or that break off on the socket.

An answer that is to break is made as always, and then written to the connection by hand, past the HTTP implementation;
the connection ends with it. `docs/simulator.md` tells what each looks like to a client.
"""

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from http import HTTPStatus

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from translation_server.api.context import context_of
from translation_server.api.cycle import abandon_if_closing
from translation_server.api.problems import Problem
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
    Status,
    Truncate,
    WrongType,
)

PIECES = 10
"""How many pieces a second an answer drips in, at most."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: a connection that is closed is reset."""

BAD_CHUNK = b"not-a-size\r\n"

LONGEST_HINT = 1e9
"""Seconds that are told apart."""

Rest = Callable[[float], Awaitable[None]]
"""Waits for so many seconds; less, if the server goes down meanwhile."""


def instead(rule: FaultRule) -> Response | None:
    """The answer that comes in place of what was asked for, if the fault is of that kind."""
    match rule:
        case Status():
            headers = {name.lower(): value for name, value in rule.headers.items()}
            if rule.retry_after is not None:
                headers["retry-after"] = str(rule.retry_after)
            if rule.code in BODILESS:
                return Response(None, rule.code, headers)
            if rule.body is not None or rule.code not in set(HTTPStatus):
                return Response(rule.body, rule.code, headers, "text/plain")
            return Problem(HTTPStatus(rule.code), "A rule of the sandbox made this answer.", headers).response()
        case FalseAnswer(kind="forgotten"):
            return Problem(HTTPStatus.NOT_FOUND, "You have no job of this id.").response()
        case FalseAnswer(kind="unauthorized"):
            challenge = {"WWW-Authenticate": 'Basic realm="translation", charset="UTF-8"'}
            return Problem(HTTPStatus.UNAUTHORIZED, "The credentials are wrong or malformed.", challenge).response()
    return None


def hint_of(answer: Response) -> float | None:
    """The seconds after which an answer says to come back, if it does."""
    seconds = answer.headers.get("retry-after", "")
    return min(float(seconds), LONGEST_HINT) if seconds.isdecimal() else None


def apply_fault(answer: Response, firing: Firing, rest: Rest) -> Response | None:
    """What goes out instead of an answer that a fault strikes; None where there is nothing to strike."""
    rule = firing.rule
    if APPLICABILITY[rule.kind].body and answer.status_code in BODILESS:
        return None
    match rule:
        case WrongType(content_type=content_type):
            answer.headers["Content-Type"] = content_type
            return answer
        case HugeRetryAfter(seconds=seconds) if "retry-after" in answer.headers:
            answer.headers["Retry-After"] = str(seconds)
            del answer.headers["retry-after-ms"]
            return answer
        case Break() | Truncate() | Garbage() | Drip() | Hang():
            return Broken(answer, firing, rest)
    return None


def hides(rule: FaultRule) -> bool:
    """Whether a fault keeps what an answer tells of jobs from the client."""
    return isinstance(rule, Break | Truncate | Garbage | Hang)


class Broken(Response):
    """An answer that breaks off as the rule has it, and its connection with it."""

    def __init__(self, answer: Response, firing: Firing, rest: Rest) -> None:
        """Takes the answer that was made."""
        self._answer = answer
        self._firing = firing
        self._rest = rest
        super().__init__()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - past it
        """Writes what is left of the answer."""
        transport = context_of(scope).transport
        if transport is None:
            raise RuntimeError("the host of this application is no uvicorn: there are no connections to break")
        rest, rule = self._rest, self._firing.rule
        # A client that has half closed is answered, however slowly; one that waits for nothing counts as gone.
        gone: asyncio.Future[None] = asyncio.Future()
        if isinstance(rule, Hang):
            gone = asyncio.create_task(_disconnected(receive))
        body = await self._body()
        try:
            for piece, pause in self._script(body):
                if gone.done() or transport.is_closing():
                    context_of(scope).record.snapshots = ()
                    break
                if piece:
                    transport.write(piece)
                if pause:
                    resting = asyncio.ensure_future(rest(pause))
                    await asyncio.wait([gone, resting], return_when=asyncio.FIRST_COMPLETED)
                    resting.cancel()
            if isinstance(rule, Break) and rule.kind == "reset" and not transport.is_closing():
                connection: socket.socket = transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                transport.abort()
            else:
                transport.close()
            abandon_if_closing(receive)  # uvicorn waits for a response otherwise
        finally:
            gone.cancel()

    async def _body(self) -> bytes:
        """The body; of a stream, its first piece."""
        if not isinstance(self._answer, StreamingResponse):
            return bytes(self._answer.body)
        pieces = self._answer.body_iterator
        first = await anext(aiter(pieces), "")
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
        return first.encode() if isinstance(first, str) else bytes(first)

    def _script(self, body: bytes) -> Iterator[tuple[bytes, float]]:
        """What is written, and the seconds to wait after each piece."""
        match self._firing.rule:
            case Truncate(keep=keep):
                yield self._head(f"Content-Length: {len(body)}") + body[: int(len(body) * keep)], 0
            case Break(kind="malformed"):
                half = body[: len(body) // 2]
                chunk = f"{len(half):x}\r\n".encode() + half + b"\r\n" if half else b""
                yield self._head("Transfer-Encoding: chunked") + chunk + BAD_CHUNK, 0
            case Garbage(size=size):
                yield hashlib.shake_128(self._firing.entropy).digest(size), 0
            case Drip(rate=rate):
                yield self._head(f"Content-Length: {len(body)}"), 0
                size = max(1, int(rate / PIECES))
                for start in range(0, len(body), size):
                    yield body[start : start + size], size / rate
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
