"""The async driver.

A cancel scope enforces the timeout of a request. The driver limits the requests at once to the number of connections. A
request waits for its turn before its timeout begins: httpcore would count the waiting as part of the request, and its
queue takes quadratic time.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing, nullcontext
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any, BinaryIO
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import RunVar

from translation_client.core.effects import (
    AwaitDelivery,
    Chunk,
    Delivery,
    Done,
    Failure,
    Flow,
    Input,
    Listen,
    Piece,
    Reply,
    Send,
    Sleep,
    WaitFailed,
)
from translation_client.core.status import Status
from translation_client.drivers.base import (
    ENDED,
    NOTHING,
    AsyncReceiver,
    BaseDriver,
    is_stream,
    opened,
    pieces_of,
)
from translation_client.drivers.target_file import TargetFile
from translation_client.drivers.transport import CONNECTIONS
from translation_client.http_library import AsyncHttp, Response

# The requests at once in each event loop, per http client: several clients may share one.
_turns: RunVar[WeakKeyDictionary[AsyncHttp, anyio.Semaphore]] = RunVar("turns")


@dataclass(frozen=True, kw_only=True)
class AsyncDriver(BaseDriver[AsyncHttp]):
    """Runs flows as part of the caller's task."""

    sleep: Callable[[float], Awaitable[object]] = anyio.sleep
    connections: int = CONNECTIONS  # how many requests `http` carries at once

    async def run(self, flow: Flow, receiver: AsyncReceiver | None = None) -> AsyncGenerator[Any, None]:
        """Yields each Status, WaitFailed and Piece of the flow, whose webhooks a receiver may get."""
        result: Input | None = None
        with closing(self.traced(flow)) as traced:
            async with aclosing(_AsyncStream(self)) as stream:
                while effect := self._next(traced, result):
                    match effect:
                        case Send():
                            result = await self._exchange(effect)
                            continue
                        case Listen():
                            result = await stream.listen(effect)
                            continue
                        case AwaitDelivery() if receiver:
                            ids = await receiver.wait_async(effect.ids, effect.seconds)
                            result = Delivery(ids, self.clock()) if ids else Done(self.clock())
                            continue
                        case Sleep():
                            await self.sleep(effect.seconds)
                        case Status() | WaitFailed() | Piece():
                            yield effect
                    result = Done(self.clock())

    async def call(self, callback: Callable[..., object] | None, *arguments: object) -> None:
        """Calls a callback, if there is one, and awaits its result if it is awaitable."""
        result = callback(*arguments) if callback else None
        if isawaitable(result):
            await result

    async def write(self, target: TargetFile, piece: Piece) -> None:
        """Writes a piece of a file, in a thread because the disk may be slow."""
        await anyio.to_thread.run_sync(target.write, piece)

    async def pieces(self, file: BinaryIO) -> AsyncGenerator[bytes, None]:
        """Yields the pieces of a file."""
        for piece in pieces_of(file):
            yield piece

    async def _exchange(self, send: Send) -> Reply | Failure:
        try:
            with anyio.fail_after(send.left):
                async with self._turn():
                    sent = self.clock()
                    with anyio.fail_after(send.timeout):
                        async with self.response(send) as response:
                            return await self.read(send, sent, response)
        except self.failures as error:
            return self.failure(send, error)

    @asynccontextmanager
    async def response(self, send: Send, **more: object) -> AsyncGenerator[Response]:
        """Sends a request, and yields the response with an unread body; `more` are arguments for httpx."""
        extensions = {"trace": _handshake()}
        if not self.is_foreign(send):
            with opened(send.files) as files:
                async with self.http.stream(**self.request(send, files) | more, extensions=extensions) as response:
                    yield response
            return
        request = self.foreign_request(send, extensions)
        async with self.open(request.url) if self.open else nullcontext(self.http) as http:
            response = await http.send(request, stream=True, auth=None, follow_redirects=False)
            async with aclosing(response):
                yield response

    def _turn(self) -> anyio.Semaphore:
        try:
            turns = _turns.get()
        except LookupError:
            _turns.set(turns := WeakKeyDictionary())
        return turns.setdefault(self.http, anyio.Semaphore(self.connections))

    async def read(self, send: Send, sent: float, response: Response) -> Reply:
        """Reads an answer, unless its body is not to be read."""
        body, unread = bytearray(), self.unread(send, sent, response)
        if not unread:
            async for chunk in response.aiter_bytes():
                body += chunk
                if unread := self.unread(send, sent, response, len(body)):
                    break
        return self.reply(send, sent, response, bytes(body), unread)


class _AsyncStream:
    """The event stream of one flow, for the async driver."""

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver, self._open = driver, AsyncExitStack()
        self._send = NOTHING
        self._chunks: AsyncIterator[bytes] | None = None

    async def listen(self, listen: Listen) -> Reply | Chunk | Failure:
        driver, sent = self._driver, self._driver.clock()
        try:
            with anyio.fail_after(listen.timeout):
                if listen.send is None:
                    end = b"" if listen.file else None
                    data = await anext(self._chunks, end) if self._chunks else None
                    if data is None:
                        raise driver.library.ReadError(ENDED)
                    return Chunk(data, driver.clock())
                await self.aclose()
                self._send = replace(listen.send, timeout=listen.timeout)
                response = await self._open.enter_async_context(driver.response(self._send, timeout=None))
                if is_stream(response, file=listen.file):
                    self._chunks = response.aiter_bytes()
                    opened = driver.reply(self._send, sent, response, b"", "")
                    return opened if listen.file else Chunk(b"", driver.clock())
                result: Reply | Failure = await driver.read(self._send, sent, response)
        except driver.failures as error:
            result = driver.failure(self._send, error)
        await self.aclose()
        return result

    async def aclose(self) -> None:
        self._chunks = None
        with anyio.CancelScope(shield=True):
            await self._open.aclose()


def _handshake() -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
    """Returns a trace hook that closes the connection of a cancelled TLS handshake; httpcore leaves it open."""
    stream: Any = None

    async def trace(name: str, info: Mapping[str, Any]) -> None:
        nonlocal stream
        if name.endswith("connect_tcp.complete"):
            stream = info["return_value"]
        elif name.endswith("start_tls.failed"):
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    return trace
