"""The composition root: the only place where the parts are put together."""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.supervisors import Multiprocess

from translation_server.api import documentation, problems
from translation_server.api.addresses import Proxies
from translation_server.api.auth.authenticator import Anyone, Authenticator
from translation_server.api.auth.credentials import scheme
from translation_server.api.connections import Guard, Limits, connections_within_descriptors, raise_descriptor_limit
from translation_server.api.faults.simulator import Simulator
from translation_server.api.middleware import RequestMiddleware
from translation_server.api.origins import Boundary, own_names
from translation_server.api.polls import PollEndpoint, send_answer
from translation_server.api.protocol import HttpProtocol
from translation_server.api.reload import on_hangup
from translation_server.api.routes import Api
from translation_server.api.sandbox import SandboxApi
from translation_server.api.shutdown import Drain
from translation_server.config import logs
from translation_server.config.dialect_files import read_dialects
from translation_server.config.fault_files import FaultsError, read_faults
from translation_server.config.settings import Settings, SettingsError, load_settings
from translation_server.config.users import UsersError, one_user, read_users
from translation_server.core.delays import Uniform
from translation_server.core.dialects.dialect import DIALECTS, Dialect, DialectError, routes
from translation_server.core.entropy import ENTROPY_BYTES
from translation_server.core.sandbox import SandboxSettings
from translation_server.service.jobs import Service
from translation_server.service.request_log import RequestLog
from translation_server.service.retention import purge_emptied_for_ever, purge_for_ever
from translation_server.storage import Store, StoreError, called, open_store

logger = logging.getLogger(__name__)

_Read = TypeVar("_Read")

GRACE = 10
"""Seconds that running requests have to end in when the server stops."""

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than the clients and proxies in front keep theirs, so that no request
meets a connection just being closed."""

REQUEST_LOG = 10_000
"""How many requests a request log keeps."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""

COLLECT_AFTER = 50_000
"""How many new objects start a garbage collection. Python's 700 cost a tenth of the time of a poll."""

USAGE = 2
"""The exit status for what a person has to mend."""

SETUP_ERRORS = (SettingsError, logs.LogError, UsersError, DialectError, FaultsError, StoreError)
"""What a person has to mend before the server can start; each message is one line."""


class Application(FastAPI):
    """The server as an ASGI application: the poll endpoint, and the framework for everything else.

    ``polls`` is the poll endpoint for `HttpProtocol` to use directly; behind proxies, which may change the caller's
    address, it is None.
    """

    def __init__(self, polls: PollEndpoint, proxies: Proxies | None, **options: Any) -> None:  # noqa: ANN401 - the framework's own
        super().__init__(**options)
        self.polls = None if proxies else polls
        self._polls = polls
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request, or the lifespan."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        if self._proxies:
            self._proxies.heed(scope)
        if answer := self._polls.answer_from_cache(scope):
            await send_answer(answer, send)
        elif self._polls.serves(scope):
            await self._polls(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings) -> FastAPI:
    """The server as an ASGI application.

    Raises:
        UsersError: the users' file is unusable.
        DialectError: the file of dialects is unusable.
        FaultsError: the file of faults is unusable.
        SettingsError: settings do not go together.
        StoreError: the database cannot be opened.
    """
    users = _users(settings)
    dialects = _dialects(settings)
    sandbox_defaults = _sandbox_defaults(settings)

    def replace_sandbox_defaults(found: SandboxSettings) -> None:
        nonlocal sandbox_defaults
        sandbox_defaults = found

    async def reload() -> None:
        if users is not None:
            await _read_again("users", lambda: _users(_with_password(settings)), app.state.replace_users)
        await _read_again("faults", lambda: _sandbox_defaults(settings), replace_sandbox_defaults)

    app = assemble(
        open_store(settings.database_url),
        lambda: sandbox_defaults,
        users,
        dialects,
        simulating=settings.sandbox == "on",
        request_log=settings.request_log,
        retention=settings.retention,
        hosts=_listed(settings.allowed_hosts) or own_names(settings.host),
        origins=_listed(settings.trusted_origins),
        proxies=Proxies(settings.forwarded_allow_ips) if settings.forwarded_allow_ips else None,
        reload=reload,
    )
    kept_in = called(settings.database_url)
    logger.info("jobs are kept in %s; users: %s", kept_in, "anyone" if users is None else len(users))
    return app


def assemble(
    store: Store,
    sandbox_defaults: Callable[[], SandboxSettings],
    users: Mapping[str, str] | None,
    dialects: Sequence[Dialect] = (),
    *,
    simulating: bool = True,
    request_log: int = REQUEST_LOG,
    retention: float | None = None,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    proxies: Proxies | None = None,
    reload: Callable[[], Awaitable[None]] | None = None,
) -> FastAPI:
    """The application made of its parts.

    Args:
        store: where jobs are kept; closed when the application ends.
        sandbox_defaults: how jobs go that are accepted from now on.
        users: the hash of each user's password by name; None lets in everybody on the loopback interface.
        dialects: wire formats to serve besides the built-in ones, each under its name.
        simulating: whether users may set their sandboxes.
        request_log: how many requests each user's request log keeps.
        retention: seconds for which jobs are kept after their end; without it, for ever.
        hosts: the names that the server answers to, besides IP addresses; without them, those of this machine.
        origins: the origins of pages that may send unsafe requests, besides the server's own.
        proxies: who is believed about where requests come from.
        reload: called on SIGHUP; without it, that signal is the host's.
    """
    service = Service(
        store,
        sandbox_defaults,
        clock=time.time,
        entropy=lambda: secrets.token_bytes(ENTROPY_BYTES),
        changeable=simulating,
    )
    service.make_room_for(len(users or ()))
    requests = RequestLog(store, service.sandboxes, request_log if simulating else 0)
    schemes = {dialect.name: scheme(dialect.auth) for dialect in dialects}
    authenticator = Anyone() if users is None else Authenticator(users, schemes, clock=time.monotonic)
    tokens = [scheme.header for scheme in schemes.values()]
    found = routes([*DIALECTS, *dialects])
    starting = [route.path for route in found if route.action == "current"]
    boundary = Boundary(hosts or own_names(), origins, tokens, starting)
    drain = Drain(service.release)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        purging = [asyncio.create_task(purge_emptied_for_ever(store))]
        if retention:
            purging.append(asyncio.create_task(purge_for_ever(store, service.sandboxes, retention, time.time)))
        with drain.on_signals():
            async with on_hangup(reload) if reload else contextlib.nullcontext():
                yield
        for task in purging:
            task.cancel()
        authenticator.close()
        await requests.close()
        await store.close()

    simulator = Simulator(service)
    middleware = RequestMiddleware(boundary, authenticator, requests.add, requests.refuse)
    polls = PollEndpoint(
        found,
        service=service,
        simulator=simulator,
        boundary=boundary,
        authenticator=authenticator,
        middleware=middleware,
        add_record=requests.add,
    )
    app = Application(
        polls,
        proxies,
        title=documentation.TITLE,
        openapi_url=None,  # its own routes would drop what they do not take
        redirect_slashes=False,
        lifespan=lifespan,
    )

    if simulating:
        SandboxApi(service, requests, DIALECTS[0]).add_to(app)
    secured = users is not None
    Api(service, simulator, found, add_record=requests.add, draining=lambda: drain.draining, secured=secured).add_to(
        app
    )
    app.state.release = service.release

    def replace_users(found: Mapping[str, str]) -> None:
        if isinstance(authenticator, Authenticator):
            authenticator.replace(found)
            service.make_room_for(len(found))

    app.state.replace_users = replace_users
    app.add_middleware(middleware.around)
    middleware.know_routes([*polls.paths, *(route.path for route in app.routes if isinstance(route, Route))])
    problems.install(app, polls.serves)
    return app


def app_from_environment() -> FastAPI:
    """The server as the environment and `.env` set it up, for a host that runs it.

    Raises:
        SystemExit: with status 2, after a line that says which setting to mend.
    """
    with _refusals():
        app = create_app(_load())
    _collect_seldom()
    return app


def serve() -> None:
    """Runs the server where, and with as many processes, as the settings say, until a signal ends it.

    Raises:
        SystemExit: with status 2, after a line that says what to mend.
    """
    with _refusals():
        settings = _load()
        raise_descriptor_limit()
        listener = _listen(settings.host, settings.port)
        options: dict[str, Any] = {
            "log_config": None,
            "log_level": "warning",
            "access_log": False,
            "proxy_headers": False,  # the application heeds them itself, however it is run
            "http": http_within(settings),
            "ws": "none",
            "timeout_keep_alive": KEEP_ALIVE,
            "timeout_graceful_shutdown": GRACE,
        }
        if settings.workers == 1:
            app = create_app(settings)
            _collect_seldom()
        else:
            _users(settings)
            _dialects(settings)
            _sandbox_defaults(settings)
            asyncio.run(open_store(settings.database_url).close())
    host, port = listener.getsockname()[:2]
    logger.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    with contextlib.suppress(KeyboardInterrupt):
        if settings.workers == 1:
            uvicorn.Server(uvicorn.Config(app, **options)).run([listener])
        else:
            factory = f"{__name__}:{app_from_environment.__name__}"
            config = uvicorn.Config(factory, factory=True, workers=settings.workers, **options)
            _Processes(config, [listener]).run()
    logger.info("stopped")


class _Processes(Multiprocess):
    """Worker processes, which read their files again on SIGHUP; uvicorn would end them and start others."""

    def handle_hup(self) -> None:
        """Passes the signal on."""
        for process in self.processes:
            if process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)


def http_from_environment() -> Callable[..., asyncio.Protocol]:
    """What reads requests, within the limits that are set, for a host that runs the app; raises as that does."""
    with _refusals():
        return http_within(load_settings())


def http_within(settings: Settings, kind: type[HttpProtocol] = HttpProtocol) -> Callable[..., asyncio.Protocol]:
    """What reads requests, within the settings' limits, and as far as the descriptors of the process reach."""
    most = connections_within_descriptors(settings.max_connections)
    if most < settings.max_connections:
        logger.warning("MAX_CONNECTIONS=%d: only %d fit (ulimit -n)", settings.max_connections, most)
    share, trusted = settings.max_connections_per_address, settings.forwarded_allow_ips or ""
    limits = Limits(settings.head_timeout, settings.min_rate, most, share, trusted)
    return functools.partial(kind, guard=Guard(limits))


def _load() -> Settings:
    settings = load_settings()
    logs.configure(level=settings.log_level, form=settings.log_format, file=settings.log_file)
    return settings


def _collect_seldom() -> None:
    """Has the garbage collector look less often, and not at what stays: requests leave hardly any cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def _users(settings: Settings) -> Mapping[str, str] | None:
    if settings.auth == "off":
        return None
    return read_users(settings.users_file) if settings.users_file else one_user(*settings.credentials)


def _with_password(settings: Settings) -> Settings:
    """The settings with the password that its file, if there is one, holds now."""
    if settings.api_password_file is None or settings.users_file is not None:
        return settings
    return load_settings(api_username=settings.api_username, api_password_file=settings.api_password_file)


async def _read_again(what: str, read: Callable[[], _Read | None], use: Callable[[_Read], None]) -> None:
    """Uses what is read anew; what was read before stays if that is not possible."""
    try:
        found = await asyncio.to_thread(read)
    except SETUP_ERRORS as error:
        logger.error("reload: the %s stay as they were: %s", what, "; ".join(str(error).splitlines()))  # noqa: TRY400 - one line
    else:
        if found is not None:
            use(found)
            logger.info("reload: the %s were read again", what)


def _sandbox_defaults(settings: Settings) -> SandboxSettings:
    """The sandbox of those who have set nothing."""
    faults = read_faults(settings.faults) if settings.faults else ()
    if settings.sandbox == "off" and (settings.scenario or faults):
        raise SettingsError("SANDBOX=off: must be on while SCENARIO or FAULTS is set")
    return SandboxSettings(
        delay=settings.delay or Uniform(settings.min_delay, settings.max_delay),
        per_video_second=settings.per_video_second,
        error_probability=settings.error_probability,
        seed=settings.seed,
        hints=settings.hints,
        poll_cost=settings.poll_cost,
        scenario=settings.scenario,
        faults=faults,
    )


def _dialects(settings: Settings) -> Sequence[Dialect]:
    return read_dialects(settings.dialects) if settings.dialects else ()


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; taken before anything else starts, so that a port in use is told in one line."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        raise SettingsError(f"HOST={host} PORT={port}: cannot listen there: {error.strerror}") from None
    except UnicodeError:
        raise SettingsError(f"HOST={host}: must be an address or the name of a host") from None
    listener.set_inheritable(True)
    return listener


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except SETUP_ERRORS as error:
        print(f"translation-server: {error}", file=sys.stderr)  # noqa: T201 - to the person who starts it
        raise SystemExit(USAGE) from None
