"""The server inside another program: for test suites, demos and notebooks."""

import asyncio
import concurrent.futures
import functools
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from translation_server.api.connections import MAX_CONNECTIONS, Guard, Limits, connections_within_descriptors
from translation_server.api.origins import own_names
from translation_server.api.protocol import HttpProtocol
from translation_server.app import OWN_NAMES, assemble
from translation_server.config.dialect_files import read_dialects
from translation_server.config.users import one_user
from translation_server.core.sandbox import Hints, SandboxSettings
from translation_server.documents import SandboxPatch
from translation_server.serving import uvicorn_options
from translation_server.storage import open_store
from translation_server.validation import field_errors

TEST_HOST = "testserver"  # the host name that Starlette's ``TestClient`` sends
GRACE = 1  # how long running requests have to end when the server stops, in seconds


class TranslationServer:
    """A server in a thread of the program that starts it.

    Attributes:
        completion_time: Seconds that a job takes. A change holds for jobs accepted from then on.
        error_rate: The probability that a job ends with ``error``. A change holds for jobs accepted from then on.
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
        seed: int | str | None = None,
        database_url: str = "memory:",
        dialects: str | Path = "",
        hints: Hints = "honest",
        poll_cost: float = 0.25,
    ) -> None:
        """Makes a server; it does not run yet.

        Args:
            completion_time: Seconds that a job takes.
            error_rate: The probability that a job ends with ``error``.
            username: The user, given together with ``password``. Without the two, nobody needs credentials.
            password: The user's password.
            seed: A whole number or a string; the same seed gives the same fates. ``42`` and ``"42"`` are the same seed.
            database_url: Where jobs are stored; by default in memory.
            dialects: The APIs to serve besides the native one: names of shipped APIs, ``all`` for all of them, and TOML
                files, separated by commas.
            hints: What hints are made from: ``honest`` uses the delays that jobs take, ``exact`` the fate of the job
                itself, and ``none`` sends no hints.
            poll_cost: How many seconds of lateness one poll is worth to a client that follows the hints.

        Raises:
            ValueError: an argument is unusable.
        """
        if (username is None) != (password is None):
            raise ValueError("username and password must be given together, or neither")
        self._settings = SandboxSettings()
        self.completion_time = completion_time
        self.error_rate = error_rate
        self._set("seed", seed=seed)
        self._set("hints", hints=hints)
        self._set("poll_cost", poll_cost=poll_cost)
        self._passwords = {} if username is None or password is None else {username: password}
        self._users = one_user(username, password) if username is not None and password is not None else None
        self._database_url = database_url
        self._dialects = read_dialects(str(dialects), OWN_NAMES)
        self._running: _Running | None = None
        self.app = Application(self._assemble_for_host, self.stop)

    def _set(self, argument: str, **setting: object) -> None:
        """Sets a setting of all sandboxes; ValueError names the argument that is unusable."""
        try:
            valid = SandboxPatch.model_validate(setting, strict=False)
        except ValidationError as error:
            raise ValueError(f"{argument}: {field_errors(error, argument)[0]['message']}") from None
        self._settings = replace(self._settings, **{name: getattr(valid, name) for name in setting})

    @property
    def completion_time(self) -> float:
        """Seconds that a job takes."""
        return self._settings.delay.latest

    @completion_time.setter
    def completion_time(self, seconds: float) -> None:
        self._set("completion_time", delay={"kind": "fixed", "seconds": seconds})

    @property
    def error_rate(self) -> float:
        """The probability that a job ends with ``error``."""
        return self._settings.error_probability

    @error_rate.setter
    def error_rate(self, probability: float) -> None:
        self._set("error_rate", error_probability=probability)

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
        """Starts the server. When this returns, it accepts connections.

        Args:
            port: The port on the loopback interface; 0 takes a free one.

        Raises:
            RuntimeError: it runs already.
            OSError: the port is in use.
        """
        self._start(port)

    async def stop(self) -> None:
        """Stops the server and everything that it has started; without effect where it does not run."""
        if running := self._request_stop():
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
        options = uvicorn_options(functools.partial(HttpProtocol, guard=Guard(limits)), GRACE)
        server = _Server(uvicorn.Config(app, lifespan="on", **options), app.state.end_waits)
        self._running = _Running(server, listener)
        self._running.thread.start()

    def _assemble(self) -> FastAPI:
        store, hosts = open_store(self._database_url), own_names(TEST_HOST)
        return assemble(
            store, lambda: self._settings, self._users, self._dialects, passwords=self._passwords, hosts=hosts
        )

    def _assemble_for_host(self) -> ASGIApp:
        if self._running is not None:
            raise RuntimeError(f"the server runs already: send requests to {self.url}")
        return self._assemble()

    def _request_stop(self) -> "_Running | None":
        running, self._running = self._running, None
        if running is not None:
            running.server.should_exit = True
        return running

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if running := self._request_stop():
            running.thread.join()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class Application:
    """A server as an ASGI application: for ``uvicorn.run(server.app)``, or for ``TestClient(server.app)`` of Starlette.

    It starts with the host's lifespan, or else with the first request, and ends with the lifespan. Jobs in memory
    are its own: a server that `TranslationServer.start` runs has others.
    """

    def __init__(self, begin: Callable[[], ASGIApp], stop: Callable[[], Awaitable[None]]) -> None:
        self._begin = begin
        self._stop = stop
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request that the host passes on.

        Raises:
            RuntimeError: `TranslationServer.start` runs the server already.
        """
        app = self._app = self._app or self._begin()
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            self._app = None
        else:
            await app(_from_this_process(scope), receive, send)

    async def shutdown(self) -> None:
        """Stops the server if it was started, as ``stop`` does."""
        await self._stop()

    async def cleanup(self) -> None:
        """Does nothing. Programs written for an earlier system call it after ``shutdown``."""


def _from_this_process(scope: Scope) -> Scope:
    """Removes the server's address from a request if it is a mere name: hosts without a socket make one up."""
    try:
        ipaddress.ip_address((scope.get("server") or ("",))[0])
    except ValueError:
        return {**scope, "server": None}
    return scope


class _Server(uvicorn.Server):
    """A server that first calls ``end_waits`` when it stops: uvicorn would wait for long polls and streams."""

    def __init__(self, config: uvicorn.Config, end_waits: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_waits = end_waits

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_waits()
        await super().shutdown(sockets)


class _Running:
    """A uvicorn server in a thread; ``ended`` is done when the server has stopped and the thread is about to end."""

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
