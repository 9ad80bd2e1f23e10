"""The two drivers, sync and async: they run flows, and do all of the client's I/O.

A driver carries out each effect of a flow, sends the flow its input, and hands each status to the caller.

The timeout of a `Send` covers the whole request. The async driver enforces it with a cancel scope, the sync one with
`transport.Transport`. A transport of the caller's applies it to each connect, read and write; the sync driver then also
checks the clock between reads, which is the best that can be done from outside.

The async driver limits the requests at once to the number of connections. A request waits for its turn before its
timeout begins: httpcore would count the waiting as part of the request, and its queue takes quadratic time.
"""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import anyio
import httpx
from anyio.lowlevel import RunVar

from translation_client.core.deadline import FlowTime
from translation_client.core.effects import (
    Chunk,
    Done,
    Effect,
    Failure,
    Flow,
    Input,
    Listen,
    Reply,
    Send,
    Sleep,
    WaitFailed,
    Warn,
)
from translation_client.core.status import Status
from translation_client.core.text import one_line, visible
from translation_client.drivers.transport import CONNECTIONS, EndTime

logger = logging.getLogger("translation_client")

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)
Trace: TypeAlias = Callable[[Effect | Input], object]

OK = 200
ENDED = "it ended"
NOTHING = Send("GET", "/")
FAILURES = (TimeoutError, UnicodeError, httpx.RequestError)  # UnicodeError: a host name that IDNA refuses

# The requests at once in each event loop, per http client: several clients may share one.
_turns: RunVar[WeakKeyDictionary[httpx.AsyncClient, anyio.Semaphore]] = RunVar("turns")


@dataclass(frozen=True, kw_only=True)
class BaseDriver(Generic[Http]):
    """The part of both drivers that translates between flows and httpx.

    Attributes:
        http: Carries the requests.
        base_url: The server's address; the paths of the flows are appended.
        auth: The credentials; None leaves them to `http`.
        trace: Called with each effect before it is carried out, and with each input.
        clock: Returns the monotonic time in seconds.
        largest_body: How many bytes of an answer are read; a page of a hundred jobs has about 40,000.
    """

    http: Http
    base_url: str
    auth: httpx.Auth | None = None
    trace: Trace | None = None
    clock: Callable[[], float] = time.monotonic
    largest_body: int = 1 << 20

    def time(self, timeout: float | None = None) -> FlowTime:
        """Returns the time of a flow that begins now, with a timeout in seconds."""
        now = self.clock()
        return FlowTime(now) if timeout is None else FlowTime(now, now + timeout)

    def _next(self, flow: Flow, result: Input | None) -> Effect | None:
        """Sends the flow an input; returns its next effect, or None at its end."""
        if result and self.trace:
            self.trace(result)
        try:
            effect = flow.send(result) if result else next(flow)
        except StopIteration:
            return None
        match effect:
            case Status():
                logger.info("job %s", effect)
            case Warn(text=text):
                logger.warning("%s", visible(text))
        if self.trace:
            self.trace(effect)
        return effect

    def request(self, send: Send) -> dict[str, Any]:
        """Returns the arguments for httpx."""
        return {
            "method": send.method,
            "url": self.base_url + send.path,
            "params": send.query,
            "headers": {"Accept": "application/json", "Accept-Encoding": "identity", **send.headers},
            "json": send.json,
            "timeout": send.timeout,
            "follow_redirects": False,
        } | ({"auth": self.auth} if self.auth else {})

    def unread(self, send: Send, sent: float, response: httpx.Response, size: int = 0) -> str:
        """Returns why not to read the body any further: it has an unrequested encoding, or is too large; "" to read on.

        Raises:
            TimeoutError: The time of the request is up.
        """
        if self.clock() - sent > send.timeout:
            raise TimeoutError
        if encoding := _encoding(response):
            return (
                f"the answer to {send.method} {send.path} is encoded ({one_line(encoding)}), which was not requested. "
                "Check the server's address, and that no proxy compresses answers."
            )
        if size > self.largest_body:
            return (
                f"the answer to {send.method} {send.path} is larger than {self.largest_body} bytes. "
                "Check that the server's address is that of a job API of this kind."
            )
        return ""

    def reply(self, send: Send, sent: float, response: httpx.Response, body: bytes, unread: str) -> Reply:
        """Returns the input for an answer; its body is empty if it was not read."""
        level = logging.DEBUG if send.method == "GET" else logging.INFO
        logger.log(level, "%s %s: %d", send.method, send.path, response.status_code)
        now = self.clock()
        return Reply(
            response.status_code, dict(response.headers), b"" if unread else body, now, now - sent, unread=unread
        )

    def failure(self, send: Send, error: Exception) -> Failure:
        """Returns the input for a missing or incomplete answer."""
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            why = f"{self.base_url} did not answer in full within {send.timeout:.3g} s"
        else:
            problem = "could not be reached" if isinstance(error, httpx.ConnectError | UnicodeError) else "broke off"
            why = f"{self.base_url} {problem} ({one_line(str(error)) or type(error).__name__})"
        return Failure(why, self.clock())


@dataclass(frozen=True, kw_only=True)
class Driver(BaseDriver[httpx.Client]):
    """Runs flows in the caller's thread."""

    sleep: Callable[[float], object] = time.sleep

    def run(self, flow: Flow) -> Generator[Any, None, None]:
        """Yields each Status and each WaitFailed of the flow."""
        result: Input | None = None
        with closing(flow), closing(_Stream(self)) as stream:
            while effect := self._next(flow, result):
                match effect:
                    case Send():
                        result = self.exchange(effect)
                        continue
                    case Listen():
                        result = stream.listen(effect)
                        continue
                    case Sleep():
                        self.sleep(effect.seconds)
                    case Status() | WaitFailed():
                        yield effect
                result = Done(self.clock())

    def call(self, callback: Callable[[Status], object] | None, status: Status) -> None:
        """Calls a callback, if there is one."""
        if callback:
            callback(status)

    def exchange(self, send: Send) -> Reply | Failure:
        """Makes one request."""
        sent = self.clock()
        try:
            with self.http.stream(**self.request(send)) as response:
                return self.read(send, sent, response)
        except FAILURES as error:
            return self.failure(send, error)

    def read(self, send: Send, sent: float, response: httpx.Response) -> Reply:
        """Reads an answer, unless its body is not to be read."""
        body, unread = bytearray(), self.unread(send, sent, response)
        if not unread:
            for chunk in response.iter_bytes():  # in chunks as they arrive: there is nothing to decode
                body += chunk
                if unread := self.unread(send, sent, response, len(body)):
                    break
        return self.reply(send, sent, response, bytes(body), unread)


class _Stream:
    """The event stream of one flow, for the sync driver.

    With an `http_client` of the caller's, the timeout of all reads is that of the first one.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver, self._open = driver, ExitStack()
        self._send, self._end_time = NOTHING, EndTime(0.0)
        self._timeout: dict[str, Any] = {}
        self._chunks: Iterator[bytes] = iter(())

    def listen(self, listen: Listen) -> Reply | Chunk | Failure:
        """Opens the stream, or read from it."""
        driver, sent = self._driver, self._driver.clock()
        self._end_time.at = time.monotonic() + listen.timeout
        try:
            if listen.send is None:
                self._timeout["read"] = listen.timeout
                if (data := next(self._chunks, None)) is None:
                    raise httpx.ReadError(ENDED)
                return Chunk(data, driver.clock())
            self.close()
            self._send = replace(listen.send, timeout=listen.timeout)
            request = driver.request(self._send)
            response = self._open.enter_context(driver.http.stream(**request, extensions={"end_time": self._end_time}))
            if _is_stream(response):
                self._chunks, self._timeout = response.iter_bytes(), response.request.extensions["timeout"]
                return Chunk(b"", driver.clock())
            result: Reply | Failure = driver.read(self._send, sent, response)
        except FAILURES as error:
            result = driver.failure(self._send, error)
        self.close()
        return result

    def close(self) -> None:
        """Closes the stream, if it is open."""
        self._chunks = iter(())
        self._open.close()


@dataclass(frozen=True, kw_only=True)
class AsyncDriver(BaseDriver[httpx.AsyncClient]):
    """Runs flows as part of the caller's task."""

    sleep: Callable[[float], Awaitable[object]] = anyio.sleep

    async def run(self, flow: Flow) -> AsyncGenerator[Any, None]:
        """Yields each Status and each WaitFailed of the flow."""
        result: Input | None = None
        with closing(flow):
            async with aclosing(_AsyncStream(self)) as stream:
                while effect := self._next(flow, result):
                    match effect:
                        case Send():
                            result = await self._exchange(effect)
                            continue
                        case Listen():
                            result = await stream.listen(effect)
                            continue
                        case Sleep():
                            await self.sleep(effect.seconds)
                        case Status() | WaitFailed():
                            yield effect
                    result = Done(self.clock())

    async def call(self, callback: Callable[[Status], object] | None, status: Status) -> None:
        """Calls a callback, if there is one, and awaits its result if it is awaitable."""
        result = callback(status) if callback else None
        if isawaitable(result):
            await result

    async def _exchange(self, send: Send) -> Reply | Failure:
        try:
            with anyio.fail_after(send.left):
                async with self._turn():
                    sent = self.clock()
                    with anyio.fail_after(send.timeout):
                        async with self.http.stream(
                            **self.request(send), extensions={"trace": _handshake()}
                        ) as response:
                            return await self.read(send, sent, response)
        except FAILURES as error:
            return self.failure(send, error)

    def _turn(self) -> anyio.Semaphore:
        try:
            turns = _turns.get()
        except LookupError:
            _turns.set(turns := WeakKeyDictionary())
        return turns.setdefault(self.http, anyio.Semaphore(CONNECTIONS))

    async def read(self, send: Send, sent: float, response: httpx.Response) -> Reply:
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
        """Opens the stream, or read from it."""
        driver, sent = self._driver, self._driver.clock()
        try:
            with anyio.fail_after(listen.timeout):
                if listen.send is None:
                    data = await anext(self._chunks, None) if self._chunks else None
                    if data is None:
                        raise httpx.ReadError(ENDED)
                    return Chunk(data, driver.clock())
                await self.aclose()
                self._send = replace(listen.send, timeout=listen.timeout)
                request = driver.request(self._send) | {"timeout": None}
                response = await self._open.enter_async_context(
                    driver.http.stream(**request, extensions={"trace": _handshake()})
                )
                if _is_stream(response):
                    self._chunks = response.aiter_bytes()
                    return Chunk(b"", driver.clock())
                result: Reply | Failure = await driver.read(self._send, sent, response)
        except FAILURES as error:
            result = driver.failure(self._send, error)
        await self.aclose()
        return result

    async def aclose(self) -> None:
        """Closes the stream, if it is open."""
        self._chunks = None
        with anyio.CancelScope(shield=True):
            await self._open.aclose()


def _is_stream(response: httpx.Response) -> bool:
    media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return response.status_code == OK and media == "text/event-stream" and not _encoding(response)


def _encoding(response: httpx.Response) -> str:
    """Returns the encoding of the body; "" for none. Requests ask for none."""
    encoding: str = response.headers.get("content-encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


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
