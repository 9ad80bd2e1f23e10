"""Receivers of webhooks, which end waits: `client.run(webhook=receiver)`.

    with Listener() as receiver:
        final = client.run(webhook=receiver)

`Listener` listens on a local port. If your own web service receives webhooks, make an `Inbox` with its public address,
and `put` each verified event into it.

A delivery is only a hint: the wait polls the job at once, and believes the poll. So a delivery that is forged, stale,
repeated or lost does no harm, whether or not an API signs what it posts.
"""

import asyncio
import hmac
import logging
import secrets
import socket
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv6Address, ip_address
from typing import Self

from translation_client.core.errors import UnverifiedWebhook
from translation_client.core.text import one_line
from translation_client.core.webhooks import SECRET_PREFIX, WebhookEvent, key_of
from translation_client.dialect_files import DialectLike, find_dialect
from translation_client.webhooks import TOLERANCE, verify

logger = logging.getLogger("translation_client")

MOST_STORED = 10_000  # deliveries that no wait has taken, and ids of events
MOST_CONNECTIONS = 32  # at once
LARGEST_BODY = 1 << 20  # bytes
LONGEST_REQUEST = 15.0  # seconds: as long as servers wait for an answer
LONGEST_ANSWER = 1.0  # seconds: how long a close waits for answers
SECRET_SIZE = 32  # bytes


@dataclass(frozen=True, eq=False)
class Waiting:
    """A wait, and what wakes it up."""

    ids: Collection[str]
    wake: Callable[[], object]


class Inbox:
    """Passes verified events on to the waits for their jobs. Threads, tasks and event loops may share it.

    Args:
        url: The address that servers post to.
        secret: The secret that submissions ask the server to sign with; None for none.
    """

    def __init__(self, url: str, secret: str | None = None) -> None:
        self.url, self.secret = url, secret
        self._lock = threading.Lock()
        self._delivered: dict[str, None] = {}
        self._waiting: list[Waiting] = []

    def put(self, event: WebhookEvent | str) -> None:
        """Passes on an event, or the id of a job that has ended. Events about jobs that go on are ignored."""
        job_id = event if isinstance(event, str) else event.status and event.status.state.ended and event.status.id
        if not job_id:
            return
        with self._lock:
            _add(self._delivered, job_id)
            waiting = [one for one in self._waiting if job_id in one.ids]
        for one in waiting:
            one.wake()

    def wait(self, ids: Collection[str], seconds: float) -> Collection[str]:
        """Waits until events about some of these jobs have come, and returns their ids; none after `seconds`."""
        awake = threading.Event()
        with self._woken(ids, awake.set):
            if not (found := self._take(ids)):
                awake.wait(seconds)
                found = self._take(ids)
        return found

    async def wait_async(self, ids: Collection[str], seconds: float) -> Collection[str]:
        """Waits likewise, without blocking the event loop."""
        loop, awake = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(awake.set)

        with self._woken(ids, wake):
            if not (found := self._take(ids)):
                with suppress(TimeoutError):
                    await asyncio.wait_for(awake.wait(), seconds)
                found = self._take(ids)
        return found

    @contextmanager
    def _woken(self, ids: Collection[str], wake: Callable[[], object]) -> Iterator[None]:
        waiting = Waiting(ids, wake)
        with self._lock:
            self._waiting.append(waiting)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.remove(waiting)

    def _take(self, ids: Collection[str]) -> Collection[str]:
        with self._lock:
            few, many = (ids, self._delivered) if len(ids) < len(self._delivered) else (self._delivered, ids)
            found = [job_id for job_id in few if job_id in many]
            for job_id in found:
                del self._delivered[job_id]
        return found


@dataclass(frozen=True)
class Received:
    """A delivery as it came to a `Listener`.

    Attributes:
        path: The path that it was posted to.
        headers: Its headers.
        body: Its body.
        event: The event, if the delivery is genuine.
        error: Why it is not; empty if it is.
        is_new: Whether this is the first delivery of the event.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    event: WebhookEvent | None
    error: str
    is_new: bool


class Listener(Inbox):
    """Listens for webhooks on a local port, and verifies them. Close it, or use it as a context manager.

    It answers with 204, and to what is not genuine with 400.

    Args:
        host: The address to listen on. Only this machine reaches the default.
        port: The port; 0 for a free one.
        url: The address at which the server reaches it, if that is another one: `{port}` stands for the port.
        secret: What the server signs with; by default a fresh secret, which the submission takes along. For another
            API, by default the secret of this project's server; give that of your account. If the API signs nothing,
            the address is hard to guess instead.
        dialect: The wire format of the jobs: a name, a file, or a `Dialect`.
        tolerance: How many seconds a delivery may be old.
        accepts_all: Whether it answers with 204 to all deliveries; those that are not genuine still reach no wait.
        on_delivery: Called with each delivery, genuine or not, before it is answered. Calls do not overlap.

    Raises:
        OSError: The port is in use, or not allowed.
        ValueError: An argument is unusable.
    """

    def __init__(  # noqa: PLR0913 - options are keyword arguments
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        url: str | None = None,
        secret: str | None = None,
        dialect: DialectLike = "start",
        tolerance: float = TOLERANCE,
        accepts_all: bool = False,
        on_delivery: Callable[[Received], object] | None = None,
    ) -> None:
        self._dialect, self._tolerance, self._on_delivery = find_dialect(dialect), tolerance, on_delivery
        form = self._dialect.webhook
        if form is None:
            secret = secret or SECRET_PREFIX + b64encode(secrets.token_bytes(SECRET_SIZE)).decode()
            key_of(secret)
        elif form.signature is None and secret:
            raise ValueError(f"secret does not fit the dialect {self._dialect.name}: its API signs no webhooks")
        elif form.signature:
            secret = secret or form.signature.secret
        self._accepts_all = accepts_all
        is_secret = form is not None and form.signature is None and url is None and not accepts_all
        self._path = f"/{secrets.token_urlsafe(SECRET_SIZE)}" if is_secret else ""
        self._seen: dict[str, None] = {}
        self._turn = threading.Lock()
        self._server = _Server(host, port, self._receive)
        self.port: int = self._server.server_port
        own = f"http://{_in_url(host)}:{self.port}{self._path or '/'}"
        super().__init__(own if url is None else url.replace("{port}", str(self.port)), secret)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening, at once. Deliveries that have come are still answered, within a second."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.wait_for_answers()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _verified(self, path: str, headers: Mapping[str, str], body: bytes) -> WebhookEvent:
        if self._path and not hmac.compare_digest(path.encode(), self._path.encode()):
            raise UnverifiedWebhook("the path is not that of the listener's url")
        return verify(headers, body, self.secret, tolerance=self._tolerance, dialect=self._dialect, url=self.url)

    def _receive(self, path: str, headers: Mapping[str, str], body: bytes) -> str:
        """Takes a delivery; returns why it is refused, or nothing."""
        event, error = None, ""
        try:
            event = self._verified(path, headers, body)
        except UnverifiedWebhook as problem:
            error = str(problem)
            logger.debug("a delivery of a webhook was refused: %s", one_line(error))
        with self._turn:
            is_new = event is None or event.id not in self._seen
            if self._on_delivery:
                self._on_delivery(Received(path, headers, body, event, error, is_new))
            if event and is_new:
                _add(self._seen, event.id)
                self.put(event)
        return "" if self._accepts_all else error


class _Server(ThreadingHTTPServer):
    """An HTTP server with a bound on its connections, and on the time of each."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, receive: Callable[[str, Mapping[str, str], bytes], str]) -> None:
        with suppress(ValueError):
            if isinstance(ip_address(host), IPv6Address):
                self.address_family = socket.AF_INET6
        self.receive = receive
        self._free = threading.Semaphore(MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._is_closing = False
        self._connections: set[socket.socket] = set()
        self._answering: set[int] = set()  # the threads that answer a delivery
        self._answered = threading.Condition()
        super().__init__((host, port), _Handler)

    def shutdown(self) -> None:
        """Accepts no more connections, and reads no more from those that are open."""
        with self._lock:
            self._is_closing = True
            for connection in self._connections:
                _cut_off(connection, socket.SHUT_RD)
        self._free.release()  # for a connection that waits
        super().shutdown()

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Handles a connection in a thread of its own; waits while the largest number of connections is open."""
        self._free.acquire()
        if self._is_closing:
            self._free.release()
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Handles a connection, and cuts it off if it takes too long."""
        end = threading.Timer(LONGEST_REQUEST, _cut_off, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    @contextmanager
    def reading(self, connection: socket.socket) -> Iterator[None]:
        """Stops reading from a connection if the server closes meanwhile; the answer can still be written."""
        with self._lock:
            self._connections.add(connection)
            if self._is_closing:
                _cut_off(connection, socket.SHUT_RD)
        try:
            yield
        finally:
            with self._lock:
                self._connections.remove(connection)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Lets `wait_for_answers` wait for the block."""
        thread = threading.get_ident()
        with self._answered:
            self._answering.add(thread)
        try:
            yield
        finally:
            with self._answered:
                self._answering.discard(thread)
                self._answered.notify_all()

    def wait_for_answers(self) -> None:
        """Waits until the deliveries that have come are answered, for `LONGEST_ANSWER` at most."""
        own = threading.get_ident()  # a delivery may close its listener
        with self._answered:
            self._answered.wait_for(lambda: not self._answering - {own}, LONGEST_ANSWER)

    def handle_error(self, *_: object) -> None:
        """Logs a connection that broke off."""
        logger.debug("a connection of a webhook broke off: %s", sys.exception())


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    wbufsize = -1  # the head and the body of an answer are sent together

    def handle(self) -> None:
        with self.server.reading(self.connection):
            super().handle()

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()) or len(length) > len(str(LARGEST_BODY)):
            self._answer(413 if length.isdigit() else 411, "the request must have a Content-Length")
        elif int(length) > LARGEST_BODY:
            self._answer(413, f"the body must not have more than {LARGEST_BODY} bytes")
        elif len(body := self.rfile.read(int(length))) == int(length):
            with self.server.answering():
                error = self.server.receive(self.path, dict(self.headers.items()), body)
                self._answer(400 if error else 204, error)

    def log_message(self, *_: object) -> None:
        """Logs nothing to stderr."""

    def _answer(self, code: int, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        if body:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _cut_off(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with suppress(OSError):
        connection.shutdown(how)


def _add(stored: dict[str, None], key: str) -> None:
    """Adds a key at the end, and drops the oldest of too many."""
    stored.pop(key, None)
    stored[key] = None
    if len(stored) > MOST_STORED:
        del stored[next(iter(stored))]


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
