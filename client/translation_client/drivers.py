"""The two pumps: all of the client's sockets, sleeps and clocks.

A pump runs a flow: it does what each command says, sends the flow what came of it, and hands each Status to the caller.

The timeout of a `Send` is the time for the whole request. The async pump keeps it with a cancel scope, the sync one
with `transport.Transport`. With a transport that a caller of the sync client brought along it bounds each connect, read
and write, and the pump looks at the clock between reads: that is the best that can be done from outside.

The async pump sends no more requests at once than there are connections. The others wait for their turn before the time
of the request begins: httpcore would count the waiting as the request's, and its queue is quadratic in its length.
"""

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import anyio
import httpx

from translation_client.core.errors import ProtocolError
from translation_client.core.flows import Time
from translation_client.core.model import (
    Command,
    Event,
    Failure,
    Flow,
    Notice,
    Reply,
    Send,
    Sleep,
    Status,
    Woke,
    one_line,
)
from translation_client.transport import CONNECTIONS

logger = logging.getLogger("translation_client")

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)
Trace: TypeAlias = Callable[[Command | Event], object]

# Whose turn it is; by the http client, which several clients may share.
_turns: WeakKeyDictionary[httpx.AsyncClient, anyio.Semaphore] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class BasePump(Generic[Http]):
    """What both pumps are given, and how both translate between the flows and httpx.

    Attributes:
        http: Carries the requests.
        base_url: What the paths of the flows are appended to.
        auth: The credentials; None leaves them to `http`.
        trace: Is told of each command before it is done, and of each event.
        clock: Returns the monotonic time in seconds.
        largest_body: How many bytes of an answer are read; a page of a hundred jobs takes some forty thousand.
    """

    http: Http
    base_url: str
    auth: httpx.Auth | None = None
    trace: Trace | None = None
    clock: Callable[[], float] = time.monotonic
    largest_body: int = 1 << 20

    def time(self, timeout: float | None = None) -> Time:
        """The time of a flow that begins now and has so many seconds."""
        now = self.clock()
        return Time(now) if timeout is None else Time(now, now + timeout)

    def _next(self, flow: Flow, event: Event | None) -> Command | None:
        """Send the flow what happened; return what it wants next, or None at its end."""
        if event and self.trace:
            self.trace(event)
        try:
            command = flow.send(event) if event else next(flow)
        except StopIteration:
            return None
        match command:
            case Status():
                logger.info("job %s", command)
            case Notice(text=text):
                logger.warning("%s", text)
        if self.trace:
            self.trace(command)
        return command

    def _request(self, send: Send) -> dict[str, Any]:
        return {
            "method": send.method,
            "url": self.base_url + send.path,
            "params": send.query,
            "headers": {"Accept": "application/json", "Accept-Encoding": "identity", **send.headers},
            "json": send.json,
            "timeout": send.timeout,
            "follow_redirects": False,
        } | ({"auth": self.auth} if self.auth else {})

    def _check(self, send: Send, sent: float, size: int) -> None:
        """Refuse to read on after the time, or more than anyone needs."""
        if size > self.largest_body:
            raise ProtocolError(
                f"the answer to {send.method} {send.path} is larger than {self.largest_body} bytes. "
                "Check that the server's address is that of a job API of this kind."
            )
        if self.clock() - sent > send.timeout:
            raise TimeoutError

    def _reply(self, send: Send, sent: float, response: httpx.Response, body: bytes) -> Reply:
        level = logging.DEBUG if send.method == "GET" else logging.INFO
        logger.log(level, "%s %s: %d", send.method, send.path, response.status_code)
        now = self.clock()
        return Reply(response.status_code, dict(response.headers), body, now, now - sent)

    def _failure(self, send: Send, error: Exception) -> Failure:
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            why = f"{self.base_url} did not answer in full within {send.timeout:.3g} s"
        else:
            fault = "could not be reached" if isinstance(error, httpx.ConnectError | UnicodeError) else "broke off"
            why = f"{self.base_url} {fault} ({one_line(str(error)) or type(error).__name__})"
        return Failure(why, self.clock())


@dataclass(frozen=True, kw_only=True)
class Pump(BasePump[httpx.Client]):
    """Runs flows in the caller's thread."""

    sleep: Callable[[float], object] = time.sleep

    def run(self, flow: Flow) -> Generator[Status, None, None]:
        """Yield each Status that the flow yields."""
        event: Event | None = None
        with closing(flow):
            while command := self._next(flow, event):
                if isinstance(command, Send):
                    event = self._exchange(command)
                    continue
                if isinstance(command, Sleep):
                    self.sleep(command.seconds)
                elif isinstance(command, Status):
                    yield command
                event = Woke(self.clock())

    def _exchange(self, send: Send) -> Reply | Failure:
        sent, body = self.clock(), bytearray()
        try:
            with self.http.stream(**self._request(send)) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    self._check(send, sent, len(body))
        except (TimeoutError, UnicodeError, httpx.RequestError) as error:  # the second: a name that IDNA refuses
            return self._failure(send, error)
        return self._reply(send, sent, response, bytes(body))


@dataclass(frozen=True, kw_only=True)
class AsyncPump(BasePump[httpx.AsyncClient]):
    """Runs flows as part of the caller's task."""

    sleep: Callable[[float], Awaitable[object]] = anyio.sleep

    async def run(self, flow: Flow) -> AsyncGenerator[Status, None]:
        """Yield each Status that the flow yields."""
        event: Event | None = None
        with closing(flow):
            while command := self._next(flow, event):
                if isinstance(command, Send):
                    event = await self._exchange(command)
                    continue
                if isinstance(command, Sleep):
                    await self.sleep(command.seconds)
                elif isinstance(command, Status):
                    yield command
                event = Woke(self.clock())

    async def _exchange(self, send: Send) -> Reply | Failure:
        body = bytearray()
        try:
            with anyio.fail_after(send.left):
                async with _turns.setdefault(self.http, anyio.Semaphore(CONNECTIONS)):
                    sent = self.clock()
                    with anyio.fail_after(send.timeout):
                        async with self.http.stream(
                            **self._request(send), extensions={"trace": _handshake()}
                        ) as response:
                            async for chunk in response.aiter_bytes():
                                body += chunk
                                self._check(send, sent, len(body))
        except (TimeoutError, UnicodeError, httpx.RequestError) as error:  # the second: a name that IDNA refuses
            return self._failure(send, error)
        return self._reply(send, sent, response, bytes(body))


def _handshake() -> Callable[[str, Mapping[str, Any]], Awaitable[None]]:
    """Close the stream of a TLS handshake that was cancelled, which httpcore forgets; it reports both to this."""
    stream: Any = None

    async def trace(name: str, info: Mapping[str, Any]) -> None:
        nonlocal stream
        if name.endswith("connect_tcp.complete"):
            stream = info["return_value"]
        elif name.endswith("start_tls.failed"):
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    return trace
