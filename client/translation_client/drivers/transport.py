"""A transport for httpx that takes a request's timeout as the time for the whole request.

httpx bounds each connect, read and write by itself, so that a server which sends a byte now and then holds a request
for ever. httpcore, below it, hands the timeouts of a request down to each operation on the socket without looking at
them. So this transport puts the moment at which the request has to end in their place, and its streams turn that moment
into the seconds left just before they block. Nothing is kept per thread or per connection.

Two things remain the system's: resolving a name takes its own time, and each further address of a name begins anew.

A connection belongs to the process, and to the event loop, that opened it: two that read from one socket would get each
other's answers. So each process and each loop has connections of its own, whatever it inherits or shares.
"""

import os
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary, WeakSet

import httpcore
import httpx
from anyio.lowlevel import current_token

CONNECTIONS = 1000  # a held look keeps one busy
POOL = 50  # connections
# Seconds that an idle connection is kept: less than the 5 s after which uvicorn closes its end, as many servers do, so
# that no request meets a connection just being closed.
KEPT = 4.0


class AsyncTransport(httpx.AsyncBaseTransport):
    """Carries the requests of async clients, through the same proxy as `Transport`.

    httpcore's pool goes through all its connections at every request, and through the idle ones for each idle one. So
    there are several small pools; a request goes to the first that is not full.
    """

    def __init__(self, base_url: httpx.URL) -> None:
        self._proxy = _proxy(base_url)
        self._context = httpx.create_ssl_context()
        self._places = WeakKeyDictionary[object, _Place]()  # by the event loop

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request."""
        loop = current_token().native_token
        place = self._places.get(loop)
        if place is None or place.process != os.getpid():
            place = await self._begin(loop, place)
        pool = next((pool for pool in place.pools if pool.busy < POOL), None)
        if pool is None:
            limits = httpx.Limits(max_connections=POOL, keepalive_expiry=KEPT)
            pool = _Pool(httpx.AsyncHTTPTransport(verify=self._context, limits=limits, proxy=self._proxy))
            place.pools.append(pool)
        pool.busy += 1
        try:
            response = await pool.transport.handle_async_request(request)
        except BaseException:
            pool.busy -= 1
            raise
        response.stream = _PooledBody(response, pool)
        return response

    async def aclose(self) -> None:
        """Close every connection of this event loop; those of another are closed when that one ends."""
        place = self._places.get(current_token().native_token)
        if place and place.process == os.getpid():
            await place.end.aclose()

    async def _begin(self, loop: object, inherited: "_Place | None") -> "_Place":
        for other in [*self._places]:  # nobody has ended these: what is open there closes with its last reference
            if getattr(other, "is_closed", bool)():
                self._places.pop(other, None)
        pools = list[_Pool]()
        place = self._places[loop] = _Place(self._closing(loop, pools), pools, inherited)
        await anext(place.end)
        return place

    async def _closing(self, loop: object, pools: "list[_Pool]") -> AsyncGenerator[None, None]:
        """Close the pools at the end: a loop that ends closes what generators it has begun."""
        try:
            yield
        finally:
            self._places.pop(loop, None)
            for pool in pools:
                await pool.transport.aclose()


@dataclass
class _Pool:
    transport: httpx.AsyncHTTPTransport
    busy: int = 0


@dataclass
class _Place:
    """The connections of one event loop in one process.

    Attributes:
        end: Closes them.
        pools: Have them.
        inherited: What this process's parent had there. It is kept, and left alone: the loops of both share more than
            the sockets.
        process: The process.
    """

    end: AsyncGenerator[None, None]
    pools: list[_Pool]
    inherited: "_Place | None" = field(repr=False)
    process: int = field(default_factory=os.getpid)


class _PooledBody(httpx.AsyncByteStream):
    """A body that gives its place in the pool back when it is closed."""

    def __init__(self, response: httpx.Response, pool: _Pool) -> None:
        self._stream, self._pool = response.stream, pool
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self._stream, httpx.AsyncByteStream):
            async for chunk in self._stream:
                yield chunk

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self._pool.busy -= 1
            if isinstance(self._stream, httpx.AsyncByteStream):
                await self._stream.aclose()


class Transport(httpx.BaseTransport):
    """Carries requests to one server, through the proxy that the environment names for it, if any."""

    def __init__(self, base_url: httpx.URL) -> None:
        self._proxy = _proxy(base_url)
        self._context = httpx.create_ssl_context() if base_url.scheme == "https" else None
        self._begin()
        _transports.add(self)

    def _begin(self) -> None:
        self._backend = _Backend()
        self._pool = httpcore.ConnectionPool(
            ssl_context=self._context,
            proxy=httpcore.Proxy(_url(self._proxy.url), auth=self._proxy.raw_auth) if self._proxy else None,
            max_connections=CONNECTIONS,
            keepalive_expiry=KEPT,
            network_backend=self._backend,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; every operation for it ends when its timeout, counted from now, is over."""
        seconds: float = request.extensions["timeout"]["read"]
        until = request.extensions.get("until") or Until(time.monotonic() + seconds)
        timeout = dict.fromkeys(("connect", "read", "write"), until) | {"pool": seconds}
        with _errors_of_httpx():
            response = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=_url(request.url),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions={**request.extensions, "timeout": timeout},
                )
            )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def leave_to_parent(self) -> None:
        """Begin anew in a process just forked; what was open there stays open for its parent alone."""
        for stream in [*self._backend.streams]:
            stream.close()  # this process's copy of the socket: nothing is sent
        self._begin()  # without closing the old pool: another thread of the parent may have locked it


_transports = WeakSet[Transport]()


def _forked() -> None:
    for transport in [*_transports]:
        transport.leave_to_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forked)


@dataclass
class Until:
    """A moment on the monotonic clock; who reads on in a stream moves it."""

    at: float


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _errors_of_httpx():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class _Backend(httpcore.SyncBackend):
    """Opens connections, and knows them while they are in use."""

    def __init__(self) -> None:
        self.streams = WeakSet[_Stream]()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Until | None = None,  # type: ignore[override]  # a moment
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(host, port, _left(timeout), local_address, socket_options), self.streams)


class _Stream(httpcore.NetworkStream):
    """A stream whose timeouts are moments; it is one of `streams`."""

    def __init__(self, stream: httpcore.NetworkStream, streams: WeakSet["_Stream"]) -> None:
        self._stream, self._streams = stream, streams
        streams.add(self)

    def read(self, max_bytes: int, timeout: Until | None = None) -> bytes:  # type: ignore[override]  # a moment
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: Until | None = None) -> None:  # type: ignore[override]  # a moment
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(  # type: ignore[override]  # a moment
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Until | None = None
    ) -> httpcore.NetworkStream:
        try:
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)), self._streams)
        except BaseException:  # httpcore forgets the stream, which is still open if no time is left for a handshake
            self.close()
            raise

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _left(until: Until | None) -> float:
    """The seconds until the moment, which `handle_request` sets for every operation; none means no time."""
    left = (until.at if until else 0.0) - time.monotonic()
    if left <= 0:
        raise httpcore.TimeoutException
    return left


def _proxy(base_url: httpx.URL) -> httpx.Proxy | None:
    """The proxy that the environment names for the server; the error does not quote it, for it may hold a password."""
    proxies = getproxies()
    address = proxies.get(base_url.scheme) or proxies.get("all")
    if not address or proxy_bypass(base_url.netloc.decode()):
        return None
    try:
        proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
    except (httpx.InvalidURL, ValueError):
        proxy = None
    if not proxy or (proxy.url.scheme.startswith("socks") and not find_spec("socksio")):
        raise ValueError(
            f"unusable settings of a proxy in the environment: {base_url.scheme.upper()}_PROXY or ALL_PROXY must be "
            "an address such as http://127.0.0.1:3128; socks5:// needs the package socksio"
        )
    return proxy


def _url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException as error:
        raise httpx.TimeoutException(str(error)) from error
    except httpcore.ConnectError as error:
        raise httpx.ConnectError(str(error)) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise httpx.TransportError(str(error)) from error
