"""Transports for httpx whose timeout covers the whole request.

httpx applies its timeout to each connect, read and write, so a server that sends a byte now and then can hold a request
for ever. httpcore, below it, passes a request's timeouts to each socket operation without looking at them. `Transport`
passes the request's end time instead, and its streams compute the seconds left just before they block. Nothing is
stored per thread or per connection.

Two things are outside of this timeout: the operating system's name lookup, and further addresses of a name, each of
which gets the full time.

A connection belongs to the process and the event loop that opened it: if two read from one socket, each gets the
other's answers. So each process and each event loop has connections of its own.
"""

import os
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary, WeakSet

from anyio.lowlevel import current_token

from translation_client.http_library import httpcore, httpx

CONNECTIONS = 1000  # a long poll occupies one
# Seconds until an idle connection is closed. Many servers, like uvicorn, close it after 5 s; a request must not be sent
# on a connection that the server is closing.
KEEP_ALIVE = 4.0


class AsyncTransport(httpx.AsyncBaseTransport):
    """Carries the requests of async clients, through the same proxy as `Transport`.

    Each connection has a pool of its own, because httpcore's pool goes through all its connections, and asks the system
    about each idle one, at every request and again at its end. A request goes to the connection that was used last. The
    arguments are those of `Transport`.
    """

    def __init__(self, base_url: httpx.URL, keep_alive: float = KEEP_ALIVE) -> None:
        self._proxy = _proxy(base_url)
        self._keep_alive = keep_alive
        self._context = httpx.create_ssl_context()
        self._states = WeakKeyDictionary[object, _LoopState]()  # by the event loop

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request."""
        loop = current_token().native_token
        state = self._states.get(loop)
        if state is None or state.process != os.getpid():
            state = await self._start(loop, state)
        connection = state.free.pop() if state.free else self._connection(state)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            state.free.append(connection)
            raise
        response.stream = _Body(response, connection, state.free)
        return response

    async def aclose(self) -> None:
        """Closes the connections of this event loop; those of another loop close when that loop ends."""
        state = self._states.get(current_token().native_token)
        if state and state.process == os.getpid():
            await state.closer.aclose()

    def _connection(self, state: "_LoopState") -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=1, keepalive_expiry=self._keep_alive)
        connection = httpx.AsyncHTTPTransport(verify=self._context, limits=limits, proxy=self._proxy)
        state.connections.append(connection)
        return connection

    async def _start(self, loop: object, inherited: "_LoopState | None") -> "_LoopState":
        for other in [*self._states]:  # drops loops that were closed without ending their generators
            if getattr(other, "is_closed", bool)():
                self._states.pop(other, None)
        connections = list[httpx.AsyncHTTPTransport]()
        state = self._states[loop] = _LoopState(self._closer(loop, connections), connections, inherited)
        await anext(state.closer)
        return state

    async def _closer(self, loop: object, connections: list[httpx.AsyncHTTPTransport]) -> AsyncGenerator[None, None]:
        """Closes the connections when the generator is closed. An event loop that ends closes its generators."""
        try:
            yield
        finally:
            self._states.pop(loop, None)
            for connection in connections:
                await connection.aclose()


@dataclass
class _LoopState:
    """The connections of one event loop in one process.

    ``inherited`` is the parent process's state for this loop. It is stored but not used, so it is not closed: parent
    and child share more than its sockets.
    """

    closer: AsyncGenerator[None, None]  # closes them
    connections: list[httpx.AsyncHTTPTransport]  # one in each
    inherited: "_LoopState | None" = field(repr=False)
    free: list[httpx.AsyncHTTPTransport] = field(default_factory=list)  # the one used last is at the end
    process: int = field(default_factory=os.getpid)


class _Body(httpx.AsyncByteStream):
    """A body that frees its connection when it is closed."""

    def __init__(
        self,
        response: httpx.Response,
        connection: httpx.AsyncHTTPTransport,
        free: list[httpx.AsyncHTTPTransport],
    ) -> None:
        self._stream, self._connection, self._free = response.stream, connection, free
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if isinstance(self._stream, httpx.AsyncByteStream):
            async for chunk in self._stream:
                yield chunk

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            try:
                if isinstance(self._stream, httpx.AsyncByteStream):
                    await self._stream.aclose()
            finally:
                self._free.append(self._connection)


class Transport(httpx.HTTPTransport):
    """Carries requests to one server, through the proxy in the environment, if there is one.

    It is httpx's own transport with another pool, so what replaces the transports of httpx in tests replaces it too.

    Args:
        base_url: the server's address.
        keep_alive: seconds until an idle connection is closed.
    """

    def __init__(self, base_url: httpx.URL, keep_alive: float = KEEP_ALIVE) -> None:
        self._proxy = _proxy(base_url)
        self._keep_alive = keep_alive
        self._context = httpx.create_ssl_context() if base_url.scheme == "https" else None
        self._start()
        _transports.add(self)

    def _start(self) -> None:
        self._backend = _Backend()
        self._pool = httpcore.ConnectionPool(
            ssl_context=self._context,
            proxy=httpcore.Proxy(_url(self._proxy.url), auth=self._proxy.raw_auth) if self._proxy else None,
            max_connections=CONNECTIONS,
            keepalive_expiry=self._keep_alive,
            network_backend=self._backend,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request; all its operations together take at most its timeout."""
        seconds: float = request.extensions["timeout"]["read"]
        end_time = request.extensions.get("end_time") or EndTime(time.monotonic() + seconds)
        timeout = dict.fromkeys(("connect", "read", "write"), end_time) | {"pool": seconds}
        given = request.extensions
        request.extensions = {**given, "timeout": timeout}
        try:
            return super().handle_request(request)
        finally:
            request.extensions = given

    def leave_to_parent(self) -> None:
        """Uses new connections in a forked process; the old ones stay open in its parent."""
        for stream in [*self._backend.streams]:
            stream.close()  # closes this process's copy of the socket; nothing is sent
        self._start()  # does not close the old pool: a thread of the parent may have locked it


_transports = WeakSet[Transport]()


def _forked() -> None:
    for transport in [*_transports]:
        transport.leave_to_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_forked)


@dataclass
class EndTime:
    """When a request has to end, on the monotonic clock; each read of an event stream changes it."""

    at: float


class _Backend(httpcore.SyncBackend):
    """Opens connections, and lists the open ones."""

    def __init__(self) -> None:
        self.streams = WeakSet[_Stream]()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: EndTime | None = None,  # type: ignore[override]  # an end time instead of seconds
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(host, port, _left(timeout), local_address, socket_options), self.streams)


class _Stream(httpcore.NetworkStream):
    """A stream whose timeouts are end times; adds itself to `streams`."""

    def __init__(self, stream: httpcore.NetworkStream, streams: WeakSet["_Stream"]) -> None:
        self._stream, self._streams = stream, streams
        streams.add(self)

    def read(self, max_bytes: int, timeout: EndTime | None = None) -> bytes:  # type: ignore[override]  # an end time instead of seconds
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: EndTime | None = None) -> None:  # type: ignore[override]  # an end time instead of seconds
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(  # type: ignore[override]  # an end time instead of seconds
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: EndTime | None = None
    ) -> httpcore.NetworkStream:
        try:
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)), self._streams)
        except BaseException:  # httpcore does not close the stream if no time is left for the handshake
            self.close()
            raise

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _left(end_time: EndTime | None) -> float:
    """Returns the seconds until the end time, which `handle_request` sets for every operation; None leaves none."""
    left = (end_time.at if end_time else 0.0) - time.monotonic()
    if left <= 0:
        raise httpcore.TimeoutException
    return left


def _proxies() -> dict[str, str]:
    """Returns the proxies of the environment by their schemes."""
    while True:
        try:
            return getproxies()
        except (KeyError, RuntimeError):  # another thread changes the environment while it is read
            continue


def _proxy(base_url: httpx.URL) -> httpx.Proxy | None:
    """Returns the proxy in the environment for the server. The error does not quote it: it may contain a password."""
    proxies = _proxies()
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
