"""The server inside another program: for test suites, demos and notebooks."""

import asyncio
import concurrent.futures
import functools
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self, get_args

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from translation_server.api.connections import MAX_CONNECTIONS, Guard, Limits, connections_within_descriptors
from translation_server.api.origins import own_names
from translation_server.api.protocol import HttpProtocol
from translation_server.app import assemble
from translation_server.config.dialect_files import read_dialects
from translation_server.config.users import one_user
from translation_server.core.delays import Fixed
from translation_server.core.sandbox import Hints, SandboxSettings
from translation_server.serving import KEEP_ALIVE
from translation_server.storage import open_store

LONGEST = 1e9
"""Seconds."""

MAX_POLL_COST = 1e6
"""Seconds of lateness for one poll."""

IN_TESTS = "testserver"
"""What Starlette's ``TestClient`` calls the server."""

GRACE = 1
"""Seconds that running requests have to end in when the server stops."""


class TranslationServer:
    """A server that runs beside the program that starts it, in a thread of its own.

    Attributes:
        completion_time: Seconds that a job takes. Set anew, it holds for jobs accepted from then on.
        error_rate: The probability that a job ends with ``error``. Set anew, it holds for jobs accepted from then on.
        app: The server as an ASGI application, for a host of the caller's own.

    Example:
        >>> with TranslationServer(completion_time=0.1, error_rate=0) as server:
        ...     print(server.url)
    """

    def __init__(
        self,
        completion_time: float = 10.0,
        error_rate: float = 0.1,
        *,
        username: str | None = None,
        password: str | None = None,
        seed: str | None = None,
        database_url: str = "memory:",
        dialects: Path | None = None,
        hints: Hints = "honest",
        poll_cost: float = 0.25,
    ) -> None:
        """Makes a server; it does not run yet.

        Args:
            completion_time: Seconds that a job takes.
            error_rate: The probability that a job ends with ``error``.
            username: The user, given together with ``password``. Without the two, nobody needs credentials.
            password: The user's password.
            seed: The same seed, the same fates.
            database_url: Where jobs are kept; in memory unless told.
            dialects: A TOML file of further wire formats.
            hints: What hints are made from: ``honest`` uses the delays that jobs take, ``exact`` the fate of the job
                itself, and ``none`` sends no hints.
            poll_cost: How many seconds of lateness one poll is worth to a client that follows the hints.

        Raises:
            ValueError: an argument is unusable.
        """
        if (username is None) != (password is None):
            raise ValueError("username and password must be given together, or neither")
        if hints not in get_args(Hints):
            raise ValueError(f"hints must be honest, exact or none, not {hints!r}")
        if not 0 < poll_cost <= MAX_POLL_COST:
            raise ValueError(f"poll_cost must be a number of seconds over 0, not {poll_cost!r}")
        self.completion_time = completion_time
        self.error_rate = error_rate
        self._users = None if username is None or password is None else one_user(username, password)
        self._seed = seed
        self._hints = hints
        self._poll_cost = poll_cost
        self._database_url = database_url
        self._dialects = read_dialects(dialects) if dialects else ()
        self._running: _Running | None = None
        self.app = Application(self._for_a_host, self.stop)

    @property
    def completion_time(self) -> float:
        """Seconds that a job takes."""
        return self._completion_time

    @completion_time.setter
    def completion_time(self, seconds: float) -> None:
        if not 0 <= seconds <= LONGEST:
            raise ValueError(f"completion_time must be a number of seconds from 0, not {seconds!r}")
        self._completion_time = seconds

    @property
    def error_rate(self) -> float:
        """The probability that a job ends with ``error``."""
        return self._error_rate

    @error_rate.setter
    def error_rate(self, probability: float) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"error_rate must be a number from 0 to 1, not {probability!r}")
        self._error_rate = probability

    @property
    def port(self) -> int:
        """The port that the server listens on; RuntimeError while it does not run."""
        if self._running is None:
            raise RuntimeError("the server does not run: start it first")
        return self._running.port

    @property
    def url(self) -> str:
        """The server's address; RuntimeError while it does not run."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Starts the server; from now on it takes requests.

        Args:
            port: The port on the loopback interface; 0 takes a free one.

        Raises:
            RuntimeError: it runs already.
            OSError: the port is in use.
        """
        self._start(port)

    async def stop(self) -> None:
        """Ends the server and everything it has started; once it has ended, nothing happens."""
        if running := self._begin_to_stop():
            await asyncio.wrap_future(running.ended)
            running.thread.join()

    def _start(self, port: int = 0) -> None:
        if self._running is not None:
            raise RuntimeError(f"the server runs already, on {self.url}")
        listener = socket.create_server(("127.0.0.1", port))
        try:
            app = self._assemble()
        except BaseException:
            listener.close()
            raise
        limits = Limits(connections=connections_within_descriptors(MAX_CONNECTIONS))
        config = uvicorn.Config(
            app,
            http=functools.partial(HttpProtocol, guard=Guard(limits)),  # type: ignore[arg-type]  # as good as a class
            proxy_headers=False,
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
        )
        server = _Server(config)
        self._running = _Running(server, listener)
        self._running.thread.start()

    def _assemble(self) -> ASGIApp:
        store = open_store(self._database_url)
        return assemble(store, self._sandbox_defaults, self._users, self._dialects, hosts=own_names(IN_TESTS))

    def _for_a_host(self) -> ASGIApp:
        if self._running is not None:
            raise RuntimeError(f"the server runs already: send requests to {self.url}")
        return self._assemble()

    def _begin_to_stop(self) -> "_Running | None":
        running, self._running = self._running, None
        if running is not None:
            running.server.should_exit = True
        return running

    def _sandbox_defaults(self) -> SandboxSettings:
        took = self.completion_time
        return SandboxSettings(
            delay=Fixed(took),
            error_probability=self.error_rate,
            seed=self._seed,
            hints=self._hints,
            poll_cost=self._poll_cost,
        )

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if running := self._begin_to_stop():
            running.thread.join()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class Application:
    """A server as an ASGI application: for ``uvicorn.run(server.app)``, or for ``TestClient(server.app)`` of Starlette.

    It begins with the first request, or with the host's lifespan, and ends with that. It has jobs of its own, unless
    ``database_url`` names where they are kept.
    """

    def __init__(self, begin: Callable[[], ASGIApp], stop: Callable[[], Awaitable[None]]) -> None:
        self._begin = begin
        self._stop = stop
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request of the host's.

        Raises:
            RuntimeError: the server runs by itself, since it was started.
        """
        app = self._app = self._app or self._begin()
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            self._app = None
        else:
            await app(_from_this_process(scope), receive, send)

    async def shutdown(self) -> None:
        """Stops the server if it was started, as does ``stop``."""
        await self._stop()

    async def cleanup(self) -> None:
        """Does nothing more: an ancestor's callers ask for it after ``shutdown``."""


def _from_this_process(scope: Scope) -> Scope:
    """A request as one that came in on the loopback interface, where the host listens nowhere and says some name."""
    try:
        ipaddress.ip_address((scope.get("server") or ("",))[0])
    except ValueError:
        return {**scope, "server": None}
    return scope


class _Server(uvicorn.Server):
    """A server that lets held requests go before it waits for them."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.release()  # type: ignore[union-attr]  # it is ours
        await super().shutdown(sockets)


class _Running:
    """A uvicorn server in a thread; ``ended`` is done when nothing but the thread's own end is left."""

    def __init__(self, server: uvicorn.Server, listener: socket.socket) -> None:
        self.server = server
        self.port: int = listener.getsockname()[1]
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.thread = threading.Thread(target=self._run, args=(listener,), name="translation-server", daemon=True)

    def _run(self, listener: socket.socket) -> None:
        try:
            self.server.run([listener])
        finally:
            self.ended.set_result(None)
