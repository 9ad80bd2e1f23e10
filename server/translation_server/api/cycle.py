"""The parts of a connection that `protocol` puts together: a transport, a request cycle and a parser of bodies.

Like `protocol`, this module depends on uvicorn's internals.

uvicorn writes the head and the body of an answer separately, and each write is a system call and a packet. The
transport here collects all that is written until the next turn of the event loop, and sends it in one write.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import httptools
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from starlette.types import Receive
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent

MAX_WRITES = 64  # how many writes are collected at most
FRAMING = frozenset({b"content-length", b"transfer-encoding"})  # the headers that say where a body ends
Headers = Sequence[tuple[bytes, bytes]]
Piece = bytes | bytearray | memoryview


class Head(NamedTuple):
    """The status and the headers that a response has each time, and the same headers as lines of HTTP."""

    status: int
    headers: Headers
    lines: bytes


class Answer(NamedTuple):
    """A complete HTTP response; ``headers`` come after those of its head."""

    head: Head
    headers: Headers
    body: bytes


class CollectingTransport:
    """A transport that collects writes, and lets its protocol decide when to read.

    ``on_resume`` is called when uvicorn has room for more of what was received, ``on_close`` when the transport closes,
    once everything written has been passed on.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        on_resume: Callable[[], None],
        on_close: Callable[[], None],
    ) -> None:
        self.transport = transport
        self.closed = False
        self._loop = loop
        self._on_resume = on_resume
        self._on_close = on_close
        self._writes: list[Piece] = []

    def write(self, piece: Piece) -> None:
        if not self._writes:
            self._loop.call_soon(self.flush)
        self._writes.append(piece)
        if len(self._writes) >= MAX_WRITES:  # so that uvicorn notices a client that reads nothing
            self.flush()

    def close(self) -> None:
        self.flush()
        self.closed = True
        self._on_close()
        self.transport.close()

    def flush(self) -> None:
        """Sends the collected writes."""
        if self._writes and not self.transport.is_closing():
            self.transport.write(b"".join(self._writes))
            self._writes.clear()

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def lost(self) -> None:
        """Drops the references to the protocol, so that no cycle is left for the garbage collector."""
        self._on_resume = self._on_close = _do_nothing

    def pause_reading(self) -> None:
        """Does nothing: the protocol keeps reading a little, to notice when a client disconnects."""

    def resume_reading(self) -> None:
        """Tells the protocol that there is room for more."""
        self._on_resume()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the transport's own
        return getattr(self.transport, name)


class Cycle(RequestResponseCycle):
    """A request and its response; supports half-closed connections and HTTP/1.0."""

    half_closed = False
    received = False
    until_close = False

    def half_close(self) -> None:
        """Notes that the client will send no more."""
        self.half_closed = True
        self.message_event.set()

    async def receive(self) -> "ASGIReceiveEvent":
        """See ASGI. After the body, a half-closed connection is a disconnect.

        So a client that half-closes ends its long poll or its stream, but gets the response to any other request.
        """
        while not (self.received and self.half_closed):
            message = await super().receive()
            if message["type"] != "http.request" or not self.received:
                self.received = not message.get("more_body", False)
                return message
        self.disconnected = True
        self.transport.close()
        return {"type": "http.disconnect"}

    async def send(self, message: "ASGISendEvent") -> None:
        """See ASGI. HTTP/1.0 has no chunks: a response without a length ends when the connection closes."""
        if self.scope["http_version"] == "1.0":
            if message["type"] == "http.response.start":
                self.until_close = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
                self.chunked_encoding = False if self.until_close else None
            elif self.until_close and message["type"] == "http.response.body":
                self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


def respond(cycle: RequestResponseCycle, answer: Answer) -> None:
    """Sends a whole response at once, without the messages of ASGI."""
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(response_bytes(answer, cycle.default_headers))
    cycle.on_response()
    cycle.on_response = _do_nothing  # as uvicorn does; otherwise protocol and cycle would refer to each other


def _do_nothing() -> None:
    """Does nothing."""


def head_of(status: int, headers: Headers) -> Head:
    """Returns a head with its lines."""
    return Head(status, headers, _lines(headers))


def response_bytes(answer: Answer, default_headers: Headers) -> bytes:
    """Returns a whole response as bytes."""
    (status, _, lines), headers, body = answer
    return b"".join((STATUS_LINE[status], _lines(default_headers), lines, _lines(headers), b"\r\n", body))


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def last_response(response: Response, default_headers: Headers) -> bytes:
    """Returns a response that is the last on its connection, as bytes."""
    headers = [*response.raw_headers, (b"connection", b"close")]
    return response_bytes(Answer(head_of(response.status_code, headers), (), bytes(response.body)), default_headers)


def transport_of(receive: "Receive") -> asyncio.Transport | None:
    """Returns the connection of a request, if uvicorn serves it."""
    transport: asyncio.Transport | None = getattr(getattr(receive, "__self__", None), "transport", None)
    return transport


async def written(receive: "Receive") -> None:
    """Sends the collected writes, and waits until the connection has room for more."""
    cycle: Any = getattr(receive, "__self__", None)
    if isinstance(transport_of(receive), CollectingTransport):
        cycle.transport.flush()
        await cycle.flow.drain()


def abandon_if_closing(receive: "Receive") -> None:
    """Ends a request whose connection is closing: its client counts as disconnected, and uvicorn expects no response.

    Where several requests were pipelined, uvicorn itself does this for the last one only.
    """
    transport = transport_of(receive)
    if transport is not None and transport.is_closing():
        cycle: Any = receive.__self__  # type: ignore[attr-defined]  # uvicorn's bound method
        cycle.disconnected = True
        cycle.message_event.set()


def parser_of_body(protocol: object, headers: Headers) -> httptools.HttpRequestParser:
    """Returns a parser for the body of a request that offers an upgrade; the offer is ignored (RFC 9110, section 7.8).

    httptools assumes that such a request has no body. So a new parser first reads a head that has only the framing
    headers, without callbacks to the protocol, and then the body.
    """
    callbacks = _Callbacks(protocol)
    parser = httptools.HttpRequestParser(callbacks)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    framing = [b"%b: %b\r\n" % header for header in headers if header[0] in FRAMING]
    parser.feed_data(b"".join([b"POST / HTTP/1.1\r\n", *framing, b"\r\n"]))
    callbacks.active = True
    return parser


class _Callbacks:
    """The callbacks of a protocol; until they are ``active``, only the end of a message is passed on."""

    def __init__(self, protocol: object) -> None:
        self.active = False
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a callback
        callback = getattr(self._protocol, name)
        return lambda *args: callback(*args) if self.active or name == "on_message_complete" else None
