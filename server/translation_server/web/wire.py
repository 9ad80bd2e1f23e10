"""Answers leave in one piece: what is written to a connection in one go is sent to the network in one go.

uvicorn writes an answer's head and its body apart, and each write is a system call, a packet, and a reader that is
woken up. Here they are gathered until the event loop turns.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Piece = bytes | bytearray | memoryview


class _Gathering:
    """A transport that gathers what is written to it."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[Piece] = []

    def write(self, piece: Piece) -> None:
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(piece)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pieces:
            self._transport.write(b"".join(self._pieces))
            self._pieces.clear()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the transport's own
        return getattr(self._transport, name)


class InOnePiece(HttpToolsProtocol):
    """uvicorn's HTTP, with a transport that gathers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as it has it
        """See asyncio.Protocol."""
        super().connection_made(cast("asyncio.Transport", _Gathering(transport, self.loop)))
