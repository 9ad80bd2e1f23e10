"""The part of both drivers that does no I/O: it translates between flows and the HTTP library.

A driver carries out each effect of a flow, sends the flow its input, and hands each status to the caller. The timeout
of a `Send` covers the whole request.
"""

import logging
import os
import time
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cached_property
from ipaddress import ip_address
from mimetypes import guess_type
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Generic, Protocol, TypeAlias, TypeVar

from translation_client.core.deadline import FlowTime
from translation_client.core.effects import Effect, Failure, Flow, Input, Reply, Send, Upload, Warn
from translation_client.core.status import Status
from translation_client.core.text import one_line, visible
from translation_client.http_library import AsyncHttp, Response, SyncHttp, auth_for, httpx, library_of

logger = logging.getLogger("translation_client")

Http = TypeVar("Http", SyncHttp, AsyncHttp)


def tracing() -> Callable[[Flow], Flow]:
    """Returns a function that adds spans to a flow, if the environment variables of OpenTelemetry ask for traces."""
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not endpoint or is_off or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return lambda flow: flow
    try:
        from translation_client.drivers.tracing import Tracing
    except ImportError as error:
        logger.warning("OTEL_EXPORTER_OTLP_ENDPOINT needs the extra translation-client[otel]: %s", error)
        return lambda flow: flow
    return Tracing().traced


Trace: TypeAlias = Callable[[Effect | Input], object]

OK, PARTIAL = 200, 206
ENDED = "it ended"
PIECE = 65_536  # bytes
NOTHING = Send("GET", "/")


class Receiver(Protocol):
    """Receives the webhooks about jobs. It may also have a `secret`, which the server signs deliveries with."""

    @property
    def url(self) -> str:
        """The address that the server posts to."""

    def wait(self, ids: Collection[str], seconds: float) -> Collection[str]:
        """Waits until webhooks about some of these jobs are delivered, and returns their ids; none after `seconds`.

        Each delivery is returned once, also one that came before the call. Deliveries about other jobs must be kept
        until a call asks for these. Other ids, and answers that come too early and without ids, cause no poll: the next
        call comes a second later. An exception ends the wait.
        """


class AsyncReceiver(Protocol):
    """Receives the webhooks about jobs, for async code."""

    @property
    def url(self) -> str:
        """The address that the server posts to."""

    async def wait_async(self, ids: Collection[str], seconds: float) -> Collection[str]:
        """Waits as `Receiver.wait` does."""


@dataclass(frozen=True, kw_only=True)
class BaseDriver(Generic[Http]):
    """The part of both drivers that translates between flows and httpx."""

    http: Http  # carries the requests
    open: Callable[[httpx.URL], Http] | None = None  # the HTTP client for another server; None: `http`
    base_url: str  # the server's address; the paths of the flows are appended
    auth: httpx.Auth | None = None  # the credentials; None leaves them to `http`
    trace: Trace | None = None  # called with each effect before it is carried out, and with each input
    clock: Callable[[], float] = time.monotonic  # the monotonic time in seconds
    traced: Callable[[Flow], Flow] = field(default_factory=tracing)  # makes spans of flows, if there are to be any
    largest_body: int = 1 << 20  # how many bytes of an answer are read; a page of a hundred jobs has about 40,000

    @cached_property
    def library(self) -> Any:  # noqa: ANN401 - a module
        """The library of `http`."""
        return library_of(self.http)

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What a request may raise. IDNA refuses some names with a UnicodeError."""
        library = self.library
        return TimeoutError, UnicodeError, library.RequestError, library.InvalidURL, httpx.InvalidURL

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

    def request(self, send: Send, files: Mapping[str, BinaryIO] = MappingProxyType({})) -> dict[str, Any]:
        """Returns the arguments for httpx, with these open files."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **send.headers}
        body = _form(send, files)
        if send.files and send.form is None:
            [(name, upload)] = send.files.items()
            media_type = guess_type(upload.name)[0] or "application/octet-stream"
            headers |= {"Content-Type": media_type, "Content-Length": str(upload.size)}
            body = {"content": self.pieces(files[name])}
        return {
            "method": send.method,
            "url": send.path if send.is_address else self.base_url + send.path,
            "params": send.query or None,  # httpx would remove the query of an address for empty ones
            "headers": headers,
            "json": send.json,
            **body,
            "timeout": send.timeout,
            "follow_redirects": False,
        } | ({"auth": auth_for(self.library, self.auth)} if self.auth else {})

    def pieces(self, file: BinaryIO) -> Iterable[bytes] | AsyncIterable[bytes]:
        """Returns the pieces of a file, in the form that `http` takes."""
        return pieces_of(file)

    def is_foreign(self, send: Send) -> bool:
        """Returns whether a request goes to another server, which gets no credentials."""
        return send.is_address and _origin(httpx.URL(send.path)) != _origin(httpx.URL(self.base_url))

    def foreign_request(self, send: Send, extensions: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a class of the library
        """Returns a request to another server, without the headers and the cookies of `http`."""
        arguments = self.request(send)
        timeout = self.library.Timeout(send.timeout).as_dict()
        headers = {"User-Agent": f"python-{self.library.__name__}/{self.library.__version__}", **arguments["headers"]}
        more = {**extensions, "timeout": timeout}
        return self.library.Request(send.method, send.path, headers=headers, json=send.json, extensions=more)

    def unread(self, send: Send, sent: float, response: Response, size: int = 0) -> str:
        """Returns why not to read the body any further: it has an unrequested encoding, or is too large; "" to read on.

        Raises:
            TimeoutError: The time of the request is up.
        """
        if self.clock() - sent > send.timeout:
            raise TimeoutError
        answer = f"the answer to {send}"
        if encoding := _encoding(response):
            problem = f"is encoded ({one_line(encoding)}), which was not requested"
            return f"{answer} {problem}. Check the server's address, and that no proxy compresses answers."
        if size > self.largest_body:
            problem = f"is larger than {self.largest_body} bytes"
            return f"{answer} {problem}. Check that the server's address is that of a job API of this kind."
        return ""

    def reply(self, send: Send, sent: float, response: Response, body: bytes, unread: str) -> Reply:
        """Returns the input for an answer; its body is empty if it was not read."""
        level = logging.DEBUG if send.only_reads else logging.INFO
        logger.log(level, "%s: %d", send, response.status_code)
        now = self.clock()
        headers = {"date": formatdate(usegmt=True)} | dict(response.headers)  # RFC 9110, section 6.6.1
        if location := headers.get("location"):
            headers["location"] = _address(response, location, self.library.InvalidURL)
        return Reply(response.status_code, headers, b"" if unread else body, now, now - sent, unread=unread)

    def failure(self, send: Send, error: Exception) -> Failure:
        """Returns the input for a missing or incomplete answer."""
        server = str(send).partition(" ")[2] if send.is_address else self.base_url
        unsent = isinstance(error, (self.library.ConnectError, UnicodeError))
        if isinstance(error, (TimeoutError, self.library.TimeoutException)):
            why = f"{server} did not answer in full within {send.timeout:.3g} s"
        else:
            problem = "could not be reached" if unsent else "broke off"
            why = f"{server} {problem} ({one_line(str(error)) or type(error).__name__})"
        if isinstance(error, self.library.ConnectError) and _is_refused(error):
            why = f"{server} refused the connection"
            return Failure(why, self.clock(), absent=_is_loopback(httpx.URL(server).host), unsent=True)
        return Failure(why, self.clock(), unsent=unsent)


@contextmanager
def opened(files: Mapping[str, Upload] | None) -> Iterator[Mapping[str, BinaryIO]]:
    """Yields the files of a request, open; those that the caller has opened stay open."""
    with ExitStack() as stack:
        sources = {name: file.source for name, file in (files or {}).items()}
        yield {
            name: stack.enter_context(Path(source).open("rb")) if isinstance(source, str) else source
            for name, source in sources.items()
        }


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """Yields the pieces of a file, from its beginning."""
    file.seek(0)
    while piece := file.read(PIECE):
        yield piece


def _form(send: Send, files: Mapping[str, BinaryIO]) -> dict[str, Any]:
    """Returns the arguments for a form. httpx reads the files in pieces, each from its beginning."""
    if send.form is None:
        return {}
    if send.files is None:
        names = dict.fromkeys(name for name, _ in send.form)
        return {"data": {name: [text for other, text in send.form if other == name] for name in names}}
    fields = [(name, (None, text)) for name, text in send.form]
    return {"files": [*fields, *((name, (send.files[name].name, file)) for name, file in files.items())]}


def _is_loopback(host: str) -> bool:
    """Returns whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_refused(error: BaseException) -> bool:
    """Returns whether every address of the host refused the connection."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_refused, error.exceptions))
    cause = error.__cause__ or error.__context__
    return isinstance(error, ConnectionRefusedError) or (cause is not None and _is_refused(cause))


def is_stream(response: Response, *, file: bool = False) -> bool:
    """Returns whether the answer is an event stream, or a file if that is expected."""
    if file:
        return response.status_code in {OK, PARTIAL} and not _encoding(response)
    media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return response.status_code == OK and media == "text/event-stream" and not _encoding(response)


def _address(response: Response, location: str, unusable: type[Exception]) -> str:
    """Returns the address to which an answer redirects; "" if it is unusable."""
    try:
        return str(response.url.join(location))
    except (unusable, ValueError):
        return ""


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _encoding(response: Response) -> str:
    """Returns the encoding of the body; "" for none. Requests ask for none."""
    encoding: str = response.headers.get("content-encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding
