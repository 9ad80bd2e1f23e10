"""What a connection of `wire` is made of, and as close to uvicorn's internals: a transport, exchanges, a parser.

Answers leave in one piece: what is written to a connection in one go is sent to the network in one go. uvicorn writes
an answer's head and its body apart, and each write is a system call, a packet, and a reader that is woken up. Here they
are gathered until the event loop turns.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import httptools
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from translation_server.api.poll_response import Answer

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent

PIECES = 64
"""How many pieces are gathered at most."""

FRAMING = frozenset({b"content-length", b"transfer-encoding"})
"""The headers that say where a body ends."""

Fields = Iterable[tuple[bytes, bytes]]
Piece = bytes | bytearray | memoryview


class Gathering:
    """A transport that gathers what is written to it, and leaves it to its protocol when to read.

    Args:
        transport: the connection's own.
        loop: the event loop that turns.
        go_on: called when uvicorn has room for more of what has been read.
        on_close: called when it closes, as soon as what was written has gone out.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        go_on: Callable[[], None],
        on_close: Callable[[], None],
    ) -> None:
        self.transport = transport
        self.closed = False
        self._loop = loop
        self._go_on = go_on
        self._on_close = on_close
        self._pieces: list[Piece] = []

    def write(self, piece: Piece) -> None:
        """See asyncio.WriteTransport."""
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(piece)
        if len(self._pieces) >= PIECES:  # so that uvicorn learns of a client that takes nothing
            self.flush()

    def close(self) -> None:
        """See asyncio.BaseTransport."""
        self.flush()
        self.closed = True
        self._on_close()
        self.transport.close()

    def flush(self) -> None:
        """Sends what was gathered."""
        if self._pieces and not self.transport.is_closing():
            self.transport.write(b"".join(self._pieces))
            self._pieces.clear()

    def pause_reading(self) -> None:
        """Leaves it to the protocol, which reads on a little unparsed, lest it miss that a client left."""

    def resume_reading(self) -> None:
        """See above: there is room for more."""
        self._go_on()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the transport's own
        return getattr(self.transport, name)


class Exchange(RequestResponseCycle):
    """A request and its answer; knows of clients that send no more, and of HTTP/1.0."""

    half_closed = False
    received = False
    until_close = False

    def half_close(self) -> None:
        """Takes note that the client will send no more."""
        self.half_closed = True
        self.message_event.set()

    async def receive(self) -> "ASGIReceiveEvent":
        """See ASGI; whoever listens on after the body learns that the client has left, though it may have half closed.

        So a long poll and a stream end with the client's last word, and whatever else is asked for is answered.
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
        """See ASGI; HTTP/1.0 knows no chunks: an answer without a length goes on until the connection is closed."""
        if self.scope["http_version"] == "1.0":
            if message["type"] == "http.response.start":
                self.until_close = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
                self.chunked_encoding = False if self.until_close else None
            elif self.until_close and message["type"] == "http.response.body":
                self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


def give(cycle: RequestResponseCycle, answer: Answer) -> None:
    """Does with an answer what the cycle would with its messages, one after the other."""
    status, headers, body = answer
    lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
    cycle.on_response()


def rendered(answer: Response, default_headers: Fields) -> bytes:
    """An answer that is the last on its connection."""
    fields = [*default_headers, *answer.raw_headers, (b"connection", b"close")]
    lines = [b"%b: %b\r\n" % field for field in fields]
    return b"".join([STATUS_LINE[answer.status_code], *lines, b"\r\n", bytes(answer.body)])


def parser_of_body(protocol: object, headers: Fields) -> httptools.HttpRequestParser:
    """A parser that goes on behind a request's head, as if no upgrade had been offered (RFC 9110, section 7.8).

    To httptools, a request that offers an upgrade has no body. So its framing is fed to a new parser as a head of its
    own, of which the protocol is told nothing.
    """
    callbacks = _Callbacks(protocol)
    parser = httptools.HttpRequestParser(callbacks)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    framing = [b"%b: %b\r\n" % field for field in headers if field[0] in FRAMING]
    parser.feed_data(b"".join([b"POST / HTTP/1.1\r\n", *framing, b"\r\n"]))
    callbacks.told = True
    return parser


class _Callbacks:
    """A protocol's callbacks; before it is to be ``told``, no more than that a message is complete."""

    def __init__(self, protocol: object) -> None:
        self.told = False
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a callback
        callback = getattr(self._protocol, name)
        return lambda *given: callback(*given) if self.told or name == "on_message_complete" else None
