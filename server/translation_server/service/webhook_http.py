"""Posts deliveries of webhooks over HTTP/1.1, on connections that are kept for a moment.

Theory of operation: a connection carries one request at a time, for one user, to one address of a host. It is used
again for up to `KEEP` seconds after it was opened, if the answer was complete and nothing followed it. So a receiver
that serves one connection after another lets none of them wait for long. If a kept connection ends before the first
byte of an answer, the receiver has most likely closed it meanwhile: the request is made once more on a new one.
"""

import asyncio
import re
import ssl
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple, cast
from urllib.parse import SplitResult, quote

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

PORTS = {"http": 80, "https": 443}
MAX_ANSWER = 65_536  # how many bytes of an answer are read
KEEP = 1.0  # how long a connection is used for further requests, in seconds
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t -~\x80-\U0010ffff]*")
TARGET = "!$%&'()*+,/:;=?@[]"  # what a path and a query may have besides letters and digits
INTERIM = frozenset({100, *range(102, 200)})  # the status codes of answers that another one follows


class Answer(NamedTuple):
    """A receiver's answer; ``retry_after`` is its Retry-After header, or empty."""

    status: int
    body: bytes
    retry_after: str


class Place(NamedTuple):
    """Where a connection leads, and for which user."""

    user: str
    scheme: str
    host: str
    address: str
    port: int


class Http:
    """Posts to addresses that are already resolved, without redirects and proxies."""

    def __init__(self) -> None:
        self._idle: defaultdict[Place, list[_Connection]] = defaultdict(list)

    async def post(  # noqa: PLR0913, PLR0917 - the parts of a request
        self,
        user: str,
        url: SplitResult,
        addresses: Sequence[str],
        headers: Mapping[str, str],
        body: bytes,
        cut_at: int | None = None,
        began: Callable[[], None] = lambda: None,
    ) -> Answer:
        """Posts a body to the first of the addresses of a URL's host that can be reached.

        Args:
            user: For whom; no connection is shared by users.
            url: The parts of the URL.
            addresses: Those of its host that are allowed.
            headers: The headers, besides those that every request has.
            body: What is posted.
            cut_at: After how many bytes of the body the connection ends; None if it is sent whole.
            began: Called when there is a connection, before the request is sent.

        Raises:
            OSError: there was no answer.
        """
        port = url.port or PORTS[url.scheme]
        places = [Place(user, url.scheme, url.hostname or "", address, port) for address in addresses]
        head = _head(url, {**headers, "host": url.netloc, "content-length": str(len(body))})
        if cut_at is not None:
            connection = await self._open(places)
            began()
            connection.cut_off(head + body[:cut_at])
            raise ConnectionAbortedError("the body was cut off")
        for place in places:
            if place in self._idle:
                began()
                with suppress(_EndedMeanwhileError):
                    return await self._idle[place][-1].post(head + body)
        connection = await self._open(places)
        began()
        return await connection.post(head + body)

    def close(self) -> None:
        """Closes the connections that wait for a request."""
        for connection in [connection for idle in self._idle.values() for connection in idle]:
            connection.expire()

    def keep(self, connection: "_Connection") -> None:
        """Keeps a connection for further requests."""
        self._idle[connection.place].append(connection)

    def drop(self, connection: "_Connection") -> None:
        """Keeps a connection no longer."""
        idle = self._idle[connection.place]
        if connection in idle:
            idle.remove(connection)
        if not idle:
            del self._idle[connection.place]

    async def _open(self, places: Sequence[Place]) -> "_Connection":
        """Opens a connection to the first place that can be reached."""
        failure: OSError | None = None
        for place in places:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda place=place: _Connection(self, place),
                    place.address,
                    place.port,
                    ssl=self._tls if place.scheme == "https" else None,
                    server_hostname=place.host if place.scheme == "https" else None,
                )
            except OSError as error:
                failure = failure or error
            else:
                return connection
        raise failure or OSError("the host has no address")

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _head(url: SplitResult, headers: Mapping[str, str]) -> bytes:
    """Returns the head of a request."""
    target = quote(f"{url.path or '/'}?{url.query}" if url.query else url.path or "/", safe=TARGET)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if not all(map(HEADER.fullmatch, lines)):
        raise OSError("a header of the delivery has characters that cannot be sent")
    return "\r\n".join((f"POST {target} HTTP/1.1", *lines, "", "")).encode()


class _EndedMeanwhileError(OSError):
    """A kept connection has ended before the first byte of an answer."""


class _Connection(asyncio.Protocol):
    """One connection to a receiver. The parser calls the methods whose names begin with ``on``."""

    def __init__(self, http: Http, place: Place) -> None:
        self.place = place
        self._http = http
        self._waiting: asyncio.Future[Answer] | None = None
        self._requests = 0
        self._expired = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Limits how long the connection is used."""
        self._transport = cast("asyncio.Transport", transport)
        self._expiry = asyncio.get_running_loop().call_later(KEEP, self.expire)

    async def post(self, request: bytes) -> Answer:
        """Sends a request and returns the answer; then the connection is kept, or closed."""
        self._http.drop(self)
        self._waiting = asyncio.get_running_loop().create_future()
        self._parser = HttpResponseParser(self)
        self._requests += 1
        self._size = 0
        self._headers: dict[bytes, bytes] = {}
        self._status = 0  # until the head is complete
        self._body: list[bytes] = []
        self._is_complete = self._is_reusable = False
        self._transport.write(request)
        try:
            answer = await self._waiting
        except BaseException:
            self._transport.abort()
            raise
        finally:
            self._waiting = None
        if self._is_reusable and not self._expired and not self._transport.is_closing():
            self._http.keep(self)
        else:
            self._transport.close()
        return answer

    def cut_off(self, beginning: bytes) -> None:
        """Sends the beginning of a request, and ends the connection."""
        self._transport.write(beginning)
        self._transport.close()

    def expire(self) -> None:
        """Closes the connection, once it has no request."""
        self._expired = True
        if self._waiting is None:
            self._http.drop(self)
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Reads a part of an answer. Data that no request has asked for end the connection."""
        if self._waiting is None or self._waiting.done():
            self._is_reusable = False
            self.expire()
            return
        self._size += len(data)
        failure = None
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._is_complete, self._is_reusable = True, False
        except HttpParserError as error:
            self._is_reusable, failure = False, f"the answer is not HTTP: {error}"
        if self._is_complete or (self._status and self._size > MAX_ANSWER):
            self._answer()
        elif failure or self._size > MAX_ANSWER:
            self._waiting.set_exception(OSError(failure or f"the answer begins with more than {MAX_ANSWER} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends an answer that has no other end."""
        self._expiry.cancel()
        self._is_reusable = False
        self._http.drop(self)
        if self._waiting is None or self._waiting.done():
            return
        if self._status and not {b"content-length", b"transfer-encoding"} & self._headers.keys():
            self._answer()
        elif self._requests > 1 and not self._size:
            self._waiting.set_exception(_EndedMeanwhileError("the connection ended before an answer began"))
        else:
            self._waiting.set_exception(OSError(str(exc or "the connection ended before the answer did")))

    def on_message_begin(self) -> None:
        """Notices what follows a complete answer."""
        if self._is_complete:
            self._is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps a header of the answer."""
        if not self._is_complete:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Begins the body, unless another answer follows."""
        if not self._is_complete and (status := self._parser.get_status_code()) not in INTERIM:
            self._status = status

    def on_body(self, body: bytes) -> None:
        """Keeps a part of the body."""
        if not self._is_complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Ends the answer, unless another one follows."""
        if self._status and not self._is_complete:
            self._is_complete, self._is_reusable = True, self._parser.should_keep_alive()
        elif not self._status:
            self._headers.clear()

    def _answer(self) -> None:
        if self._waiting:
            retry_after = self._headers.get(b"retry-after", b"").decode("latin-1")
            self._waiting.set_result(Answer(self._status, b"".join(self._body)[: MAX_ANSWER + 1], retry_after))
