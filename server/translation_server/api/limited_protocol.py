"""uvicorn's HTTP/1.1 protocol with limits.

The limits hold before a client is authenticated: the size of a head, of the framing of a body and of unparsed input,
and the time for a head, for a body and for reading the response. A request that two recipients could understand in two
ways is refused (RFC 9112). `connections` counts and watches connections; `cycle` has the parts of one.

This module, `cycle` and `protocol` depend on internals of uvicorn and httptools, whose versions `server/pyproject.toml`
bounds.
"""

import asyncio
import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from translation_server.api.cycle import CollectingTransport, Cycle, last_response, parser_of_body
from translation_server.api.problems import RETRY_AFTER, Problem

if TYPE_CHECKING:
    from translation_server.api.connections import Guard

logger = logging.getLogger(__name__)

MAX_HEAD = 64 * 1024
"""How many bytes a request's head may have, and the framing of its body: chunk extensions and trailers."""

MAX_FIELDS = 100  # how many header fields a request may have, and how many trailer fields
FRAMING_PER_BYTE = 8  # how many bytes of framing each byte of a body may have. A chunk of one byte has five
MAX_UNREAD_BODY = 1024 * 1024  # how many bytes of a body are read and dropped once its request is answered

MAX_UNPARSED = 64 * 1024
"""How many bytes of further requests are kept while one is answered. Beyond that, the server stops reading."""

SLICE = 512
"""How many bytes the parser gets at a time: twenty requests at most. It stops as soon as a request has to wait."""

SLICES = 32  # how many slices are parsed before other connections have their turn
STOP_GRACE = 1  # how long a body may pause once the server is stopping, in seconds


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits.

    The targets in the application's attribute ``public_targets`` are served even when there are too many connections.
    """

    def __init__(self, *given: Any, guard: "Guard", **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*given, **options)
        self.surplus = False
        self._guard = guard
        self._running: RequestResponseCycle | None = None
        self._unparsed = bytearray()
        self._paused = self._ended = self._going_on = False
        self._refusal: Problem | None = None
        self._complete: Any = None  # the scope of the last request whose head is complete
        self._head = 0  # bytes of the head that is being received
        self._since = guard.now
        self._in_body = self._upgrading = False
        self._body = self._taken = 0  # bytes of the last body, without and with its framing
        self._slow = 0  # seconds for which the body has been received
        self._take_by = 0.0

    # Called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it
        super().connection_made(
            cast("asyncio.Transport", CollectingTransport(transport, self.loop, self._go_on, self._watch))
        )
        if problem := self._guard.admit(self, self.client[0] if self.client else None, self.loop):
            self._refuse(problem)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.lost(self)
        self._unparsed.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)
        cast("CollectingTransport", self.transport).lost()

    def data_received(self, data: bytes) -> None:
        cycle = self.cycle
        if len(data) > SLICE or self._unparsed or (cycle and not cycle.response_complete and self._is_full()):
            self._unparsed += data
            self._parse_on()
        elif (parsed := self._parse(data)) < len(data):
            self._unparsed += data[parsed:]
            self._parse_on()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's never keeps a connection open
        """See asyncio.Protocol. Returns whether the connection stays open until its requests are answered."""
        self._ended = True
        if isinstance(self._running, Cycle):
            self._running.half_close()
        open_still = bool(self._unparsed) or self._has_to_answer()
        if not open_still:  # the event loop closes the transport next
            cast("CollectingTransport", self.transport).flush()
        return open_still

    def shutdown(self) -> None:
        """See uvicorn. A client that stops within a body is not waited for."""
        super().shutdown()
        self._slow = max(self._slow, int(self._body_timeout()) - STOP_GRACE)

    # Called by the guard

    def check(self) -> None:
        """Closes the connection if its client is too slow."""
        if self.flow.write_paused or cast("CollectingTransport", self.transport).closed:
            self._check_answer()
        elif self._in_body:
            if not self._unparsed and not self.flow.read_paused and not self.cycle.waiting_for_100_continue:
                self._slow += 1
                if self._slow > self._body_timeout():
                    self._refuse(_too_slow("body"))
        else:
            self._guard.watched.pop(self, None)
        if self in self._guard.waiting and not self._in_body:
            begun, limit = self.scope is not self._complete, self._guard.limits.head_timeout
            if self._guard.now - self._since > (limit if begun or self.cycle is None else self.timeout_keep_alive):
                if begun:
                    self._refuse(_too_slow("head"))
                else:
                    self.transport.close()

    def abandon(self) -> None:
        """Closes the connection at once."""
        self.transport.abort()

    def _check_answer(self) -> None:
        """Closes the connection of a client that does not read its response."""
        limits = self._guard.limits
        if not self._take_by:
            left = self.transport.get_write_buffer_size()
            self._take_by = self._guard.now + limits.answer_grace + left / limits.min_rate
        elif self._guard.now > self._take_by:
            self.transport.abort()

    def _watch(self) -> None:
        self._guard.watch(self)

    def pause_writing(self) -> None:
        self._watch()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._take_by = 0.0
        super().resume_writing()

    def _body_timeout(self) -> float:
        return self._guard.limits.body_grace + self._body / self._guard.limits.min_rate

    # Parsing

    def _go_on(self) -> None:
        """Parses the rest in the next turn of the event loop."""
        if self._unparsed and not self._going_on:
            self._going_on = True
            self.loop.call_soon(self._parse_on)

    def _parse_on(self) -> None:
        """Parses the received bytes, until a request has to wait."""
        self._going_on = False
        if self.transport.is_closing():
            self._unparsed.clear()
            return
        for _ in range(SLICES):
            if self._is_full() or not self._unparsed:
                break
            del self._unparsed[: self._parse(self._unparsed[:SLICE])]
        if self._unparsed:
            if not self._is_full():
                self._go_on()
        elif self._ended and not self._has_to_answer():
            self.transport.close()
        self._read(len(self._unparsed) <= MAX_UNPARSED and self._refusal is None)

    def _is_full(self) -> bool:
        """Whether parsed requests have to be answered first."""
        cycle = self.cycle
        backlog = cycle is not None and not cycle.response_complete and len(cycle.body) > HIGH_WATER_LIMIT
        return bool(self.pipeline) or backlog

    def _read(self, reading: bool) -> None:
        if reading == self._paused and not self.transport.is_closing():
            self._paused = not reading
            transport = cast("CollectingTransport", self.transport).transport
            (transport.resume_reading if reading else transport.pause_reading)()

    def _become_idle(self) -> None:
        """Notes that the connection waits for its next request."""
        self._since = self._guard.now
        self._guard.waiting[self] = None

    def _parse(self, piece: bytes | bytearray) -> int:
        """Parses a piece and returns how many bytes of it: all, unless another parser has to continue."""
        if self._refusal or self._was_last():
            return len(piece)  # requests behind the last one are ignored
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrading = False
            self.parser = parser_of_body(self, self._complete["headers"])
            return int(upgrade.args[0])
        except httptools.HttpParserError as error:
            self._refuse(self._refusal or Problem(HTTPStatus.BAD_REQUEST, f"This is not HTTP/1.1: {error}."))
            return len(piece)
        if self.scope is not self._complete:
            if not self._head and self.cycle is not None:
                self._since = self._guard.now
            self._head += len(piece)
            if problem := self._too_much():
                self._refuse(problem)
        elif self._in_body:
            self._taken += len(piece)
            self._watch()
            self._check_body()
        return len(piece)

    def _was_last(self) -> bool:
        """Whether the last parsed request is the last on this connection."""
        return self.cycle is not None and not self.cycle.keep_alive and not self._in_body

    def _too_much(self) -> Problem | None:
        if len(self.url) > MAX_HEAD // 2 and self._head > MAX_HEAD:
            return Problem(HTTPStatus.REQUEST_URI_TOO_LONG, f"A request's head may have {MAX_HEAD} bytes.")
        if self._head > MAX_HEAD or len(self.headers) > MAX_FIELDS:
            detail = f"A request's head may have {MAX_HEAD} bytes and {MAX_FIELDS} fields."
            return Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
        return None

    def _check_body(self) -> None:
        """Ends a body that has too much framing, or that no one reads any more."""
        if self._taken > MAX_HEAD + (1 + FRAMING_PER_BYTE) * self._body or len(self.headers) > MAX_FIELDS:
            detail = f"The framing of a body may have {MAX_HEAD} bytes, and its trailers {MAX_FIELDS} fields."
            self._refuse(Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail))
        elif self._body > MAX_UNREAD_BODY and self.cycle.response_complete:
            self.transport.close()

    # Called by the parser

    def on_headers_complete(self) -> None:
        """See httptools. A target in absolute form names the host (RFC 9112, section 3.2.2)."""
        self._complete, self._upgrading = self.scope, self.parser.should_upgrade()
        names, version = [name for name, _ in self.headers], self.parser.get_http_version()
        if version != "1.1" or names.count(b"host") != 1 or b"transfer-encoding" in names or len(names) > MAX_FIELDS:
            self._check_head(names, version)
        if self.surplus and self.url not in getattr(self.app, "public_targets", ()):
            detail = "The server has too many connections: try again in a moment."
            self._raise(Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER)}))
        if (scheme := self.url.find(b"://")) > 0 and self.url[:1] != b"/":
            authority = re.split(rb"[/?#]", self.url[scheme + 3 :], maxsplit=1)[0]
            self.headers[:] = [(b"host", authority), *(header for header in self.headers if header[0] != b"host")]
        self._head = self._body = self._taken = self._slow = 0
        self._guard.waiting.pop(self, None)
        super().on_headers_complete()
        self._in_body = True
        self.headers = []  # for trailers, which are dropped (RFC 9110, section 6.5.1)
        if self.surplus:
            self.cycle.keep_alive = False

    def _check_head(self, names: list[bytes], version: str) -> None:
        """Refuses a head that is too large, or whose host or end of body is ambiguous."""
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if problem := self._too_much():
            self._raise(problem)
        if version not in {"1.0", "1.1"}:
            detail = "This server speaks HTTP/1.1 and HTTP/1.0."
            self._raise(Problem(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, detail))
        if names.count(b"host") not in ({1} if version == "1.1" else {0, 1}):
            self._raise(Problem(HTTPStatus.BAD_REQUEST, "A request must have one Host header."))
        if codings and (codings != [b"chunked"] or version == "1.0"):
            detail = "The only Transfer-Encoding is chunked, and only in HTTP/1.1."
            self._raise(Problem(HTTPStatus.BAD_REQUEST, detail))
        if version == "1.0":
            self.expect_100_continue = False  # RFC 9110, section 10.1.1

    def _raise(self, problem: Problem) -> None:
        """Refuses a request from within a callback. The parser stops, and loses the exception."""
        self._refusal = problem
        raise problem

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See httptools, which ends a request that offers an upgrade after its head. Here such a request goes on.

        After a trailer that closes the connection, httptools parses nothing more, so the connection is closed.
        """
        if self._upgrading:
            return
        self._in_body, self.cycle.keep_alive = False, self.cycle.keep_alive and self.parser.should_keep_alive()
        super().on_message_complete()
        if self.cycle.response_complete and not self.cycle.keep_alive:
            self.transport.close()

    def _should_upgrade(self) -> bool:
        return False

    # Requests and responses

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - any application
        self._running = cycle
        cycle.__class__ = Cycle  # uvicorn has no option for the class
        cast("Cycle", cycle).half_closed = self._ended
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """See uvicorn. Begins the next request. The guard closes idle connections, so no timer is started."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._go_on()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
        elif self._ended and not self._unparsed:
            self.transport.close()
        else:
            self._become_idle()

    def _is_busy(self) -> bool:
        """Whether a request waits for its answer."""
        return self._running is not None and not self._running.response_complete and not self._running.disconnected

    def _drop_unfinished(self) -> None:
        """Drops a request whose body will never be complete."""
        if self._in_body:
            self._in_body = False
            if self.pipeline:
                self.pipeline.popleft()
            elif not self.cycle.response_complete:
                self.cycle.disconnected = True
                self.cycle.message_event.set()

    def _has_to_answer(self) -> bool:
        """Whether a half-closed client still gets a response to a complete request."""
        self._drop_unfinished()
        if not self._is_busy():
            return False
        last = self.pipeline[0][0] if self.pipeline else cast("RequestResponseCycle", self._running)
        last.keep_alive = False
        return True

    def _refuse(self, problem: Problem) -> None:
        """Closes the connection with a problem, after the responses to earlier requests."""
        self._refusal = problem
        self._unparsed.clear()
        started = self._in_body and self.cycle.response_started
        self._drop_unfinished()
        if started:
            self.transport.close()
        elif self._is_busy():
            self._read(False)
        else:
            self._send_refusal(problem)

    def _send_refusal(self, problem: Problem) -> None:
        logger.debug("%s was refused: %s", self.client, problem.detail)
        self.transport.write(last_response(problem.response(), self.server_state.default_headers))
        self.transport.close()


def _too_slow(part: str) -> Problem:
    return Problem(HTTPStatus.REQUEST_TIMEOUT, f"The request's {part} took too long to arrive.")
