"""Answers leave in one piece: what is written to a connection in one go is sent to the network in one go.

uvicorn writes an answer's head and its body apart, and each write is a system call, a packet, and a reader that is
woken up. Here they are gathered until the event loop turns.
"""

import asyncio
import re
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from translation_server.web.looks import Answer

if TYPE_CHECKING:
    from starlette.types import Scope

    from translation_server.web.lane import Lane

Piece = bytes | bytearray | memoryview


class _Gathering:
    """A transport that gathers what is written to it."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[Piece] = []

    def write(self, piece: Piece) -> None:
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(piece)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        if self._pieces and not self._transport.is_closing():
            self._transport.write(b"".join(self._pieces))
            self._pieces.clear()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the transport's own
        return getattr(self._transport, name)


class InOnePiece(HttpToolsProtocol):
    """uvicorn's HTTP, with a transport that gathers, and without a task for what the fast lane answers.

    That an application has one shows by its ``lane``. The method that starts a task is uvicorn's own: should it go, the
    lane is still taken, by a task.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as it has it
        """See asyncio.Protocol."""
        super().connection_made(cast("asyncio.Transport", _Gathering(transport, self.loop)))

    def eof_received(self) -> None:
        """See asyncio.Protocol; the transport closes next, and with it goes what it has not been given."""
        cast("_Gathering", self.transport).flush()

    def on_headers_complete(self) -> None:
        """Lets a target in absolute form name the host, as RFC 9112, section 3.2.2, has it; uvicorn drops its host."""
        if (scheme := self.url.find(b"://")) > 0 and self.url[:1] != b"/":
            authority = re.split(rb"[/?#]", self.url[scheme + 3 :], maxsplit=1)[0]
            self.headers[:] = [(b"host", authority), *(header for header in self.headers if header[0] != b"host")]
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - any application
        lane: Lane | None = getattr(app, "lane", None)
        waits = self.flow.write_paused or self.pipeline  # one that began another at once might go too deep
        last = not cycle.keep_alive  # what is sent behind the last request is dropped, which takes a task to wait for
        answer = None if lane is None or waits or last else lane.answer(cast("Scope", cycle.scope))
        if self.pipeline:  # uvicorn reads on with every answer: of one that never reads, without end
            self.flow.pause_reading()
        if answer is None:
            self._unset_keepalive_if_required()  # set if the lane has answered what came just before this
            super()._start_asgi_task(cycle, app)
        else:
            _give(cycle, answer)


def _give(cycle: RequestResponseCycle, answer: Answer) -> None:
    """Does with an answer what the cycle would with its messages, one after the other."""
    status, headers, body = answer
    lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
    cycle.on_response()
