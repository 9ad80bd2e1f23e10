"""The sync driver.

`transport.Transport` enforces the timeout of a request. A caller's own transport applies it to each connect, read and
write instead. The driver then also checks the clock between reads; it cannot do more from outside.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

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
from translation_client.drivers.base import ENDED, NOTHING, BaseDriver, Receiver, is_stream, opened
from translation_client.drivers.target_file import TargetFile
from translation_client.drivers.transport import EndTime
from translation_client.http_library import Response, SyncHttp


@dataclass(frozen=True, kw_only=True)
class Driver(BaseDriver[SyncHttp]):
    """Runs flows in the caller's thread."""

    sleep: Callable[[float], object] = time.sleep

    def run(self, flow: Flow, receiver: Receiver | None = None) -> Generator[Any, None, None]:
        """Yields each Status, WaitFailed and Piece of the flow, whose webhooks a receiver may get."""
        result: Input | None = None
        with closing(self.traced(flow)) as traced, closing(_Stream(self)) as stream:
            while effect := self._next(traced, result):
                match effect:
                    case Send():
                        result = self.exchange(effect)
                        continue
                    case Listen():
                        result = stream.listen(effect)
                        continue
                    case AwaitDelivery() if receiver:
                        ids = receiver.wait(effect.ids, effect.seconds)
                        result = Delivery(ids, self.clock()) if ids else Done(self.clock())
                        continue
                    case Sleep():
                        self.sleep(effect.seconds)
                    case Status() | WaitFailed() | Piece():
                        yield effect
                result = Done(self.clock())

    def call(self, callback: Callable[..., object] | None, *arguments: object) -> None:
        """Calls a callback, if there is one."""
        if callback:
            callback(*arguments)

    def write(self, target: TargetFile, piece: Piece) -> None:
        """Writes a piece of a file."""
        target.write(piece)

    def exchange(self, send: Send) -> Reply | Failure:
        """Makes one request."""
        sent = self.clock()
        try:
            with self.response(send, {}) as response:
                return self.read(send, sent, response)
        except self.failures as error:
            return self.failure(send, error)

    @contextmanager
    def response(self, send: Send, extensions: Mapping[str, Any]) -> Iterator[Response]:
        """Sends a request, and yields the response with an unread body."""
        if not self.is_foreign(send):
            with (
                opened(send.files) as files,
                self.http.stream(**self.request(send, files), extensions=extensions) as response,
            ):
                yield response
            return
        request = self.foreign_request(send, extensions)
        with (
            self.open(request.url) if self.open else nullcontext(self.http) as http,
            closing(http.send(request, stream=True, auth=None, follow_redirects=False)) as response,
        ):
            yield response

    def read(self, send: Send, sent: float, response: Response) -> Reply:
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

    With a caller's own `http_client`, all reads have the timeout of the first one.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver, self._open = driver, ExitStack()
        self._send, self._end_time = NOTHING, EndTime(0.0)
        self._timeout: dict[str, Any] = {}
        self._chunks: Iterator[bytes] = iter(())

    def listen(self, listen: Listen) -> Reply | Chunk | Failure:
        driver, sent = self._driver, self._driver.clock()
        self._end_time.at = time.monotonic() + listen.timeout
        try:
            if listen.send is None:
                self._timeout["read"] = listen.timeout
                data = next(self._chunks, b"" if listen.file else None)
                if data is None:
                    raise driver.library.ReadError(ENDED)
                return Chunk(data, driver.clock())
            self.close()
            self._send = replace(listen.send, timeout=listen.timeout)
            response = self._open.enter_context(driver.response(self._send, {"end_time": self._end_time}))
            if is_stream(response, file=listen.file):
                self._chunks, self._timeout = response.iter_bytes(), response.request.extensions["timeout"]
                return driver.reply(self._send, sent, response, b"", "") if listen.file else Chunk(b"", driver.clock())
            result: Reply | Failure = driver.read(self._send, sent, response)
        except driver.failures as error:
            result = driver.failure(self._send, error)
        self.close()
        return result

    def close(self) -> None:
        self._chunks = iter(())
        self._open.close()
