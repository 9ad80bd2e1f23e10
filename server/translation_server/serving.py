"""Runs the server: settings, a listening socket, worker processes, and uvicorn."""

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from translation_server.api.connections import Guard, Limits, connections_within_descriptors, raise_descriptor_limit
from translation_server.api.protocol import HttpProtocol
from translation_server.app import SETUP_ERRORS, check, create_app
from translation_server.config import logs
from translation_server.config.settings import Settings, SettingsError, load_settings
from translation_server.storage import open_store

logger = logging.getLogger(__name__)
GRACE = 10  # how long running requests have to end when the server stops, in seconds

KEEP_ALIVE = 75
"""How long an idle connection is kept, in seconds: longer than clients and proxies keep theirs, so that they close
first and no request meets a closed connection."""

BACKLOG = 2048  # how many connections may wait to be accepted

COLLECT_AFTER = 50_000, 50, 50
"""How many new objects start a garbage collection, and how many collections of a generation start one of the next.
Requests leave no cycles, so collections find next to nothing, and with ten thousand long polls one of the older
generations takes half a second. Python's default of 700, 10 and 10 cost a tenth of the time of a poll."""

WORKER_TIMEOUT = 30
"""How long a worker may show no sign of life before another one replaces it, in seconds. It shows none while it
starts, which took more than uvicorn's 5 seconds on a machine under load, so no worker ever started there."""

USAGE = 2  # the exit status when a setting or a file is unusable


def app_from_environment() -> FastAPI:
    """Returns the server with the settings of the environment and `.env`, for a host that runs it.

    Raises:
        SystemExit: with status 2, after one line that says which setting to correct.
    """
    with _exit_on_setup_errors():
        app = create_app(_load())
    _collect_garbage_seldom()
    return app


def serve() -> None:
    """Runs the server as the settings say until a signal ends it.

    Raises:
        SystemExit: with status 2, after one line that says what to correct.
    """
    with _exit_on_setup_errors():
        settings = _load()
        raise_descriptor_limit()
        listener = _listen(settings.host, settings.port)
        options = {"log_level": "warning", **uvicorn_options(http_with_limits(settings), GRACE)}
        if settings.workers == 1:
            app = create_app(settings)
        else:
            check(settings)
            asyncio.run(open_store(settings.database_url).close())
        _collect_garbage_seldom()
    host, port = listener.getsockname()[:2]
    logger.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    with contextlib.suppress(KeyboardInterrupt):
        if settings.workers == 1:
            uvicorn.Server(uvicorn.Config(app, **options)).run([listener])
        else:
            factory = f"{__name__}:{app_from_environment.__name__}"
            options["timeout_worker_healthcheck"] = WORKER_TIMEOUT
            config = uvicorn.Config(factory, factory=True, workers=settings.workers, **options)
            with _shared_metrics(settings):
                _Workers(config, [listener]).run()
    logger.info("stopped")


class _Workers(Multiprocess):
    """Worker processes that reload their files on SIGHUP; uvicorn would replace the processes.

    The signal stays blocked in this process, so that its worker processes start with it blocked, until they can handle
    it.
    """

    def handle_signals(self) -> None:
        """Handles the signals that have come, a blocked SIGHUP too."""
        super().handle_signals()
        if hasattr(signal, "SIGHUP") and signal.SIGHUP in signal.sigpending():
            signal.sigwait([signal.SIGHUP])
            self.handle_hup()

    def handle_hup(self) -> None:
        """Passes the signal on."""
        for process in self.processes:
            if process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)


def http_from_environment() -> Callable[..., asyncio.Protocol]:
    """Returns uvicorn's option `http` with the limits of the environment and `.env`, for a host that runs the app.

    Raises:
        SystemExit: with status 2, after one line that says which setting to correct.
    """
    with _exit_on_setup_errors():
        return http_with_limits(load_settings())


def http_with_limits(settings: Settings, kind: type[HttpProtocol] = HttpProtocol) -> Callable[..., asyncio.Protocol]:
    """Returns uvicorn's option `http` with the limits of the settings, and of the process's file descriptors."""
    connections = connections_within_descriptors(settings.max_connections)
    if connections < settings.max_connections:
        logger.warning("MAX_CONNECTIONS=%d: only %d fit (ulimit -n)", settings.max_connections, connections)
    share, trusted = settings.max_connections_per_address, settings.forwarded_allow_ips or ""
    limits = Limits(settings.head_timeout, settings.min_rate, connections, share, trusted)
    return functools.partial(kind, guard=Guard(limits))


def uvicorn_options(http: Callable[..., asyncio.Protocol], grace: int) -> dict[str, Any]:
    """Returns uvicorn's options; running requests have ``grace`` seconds to end when the server stops."""
    return {
        "http": http,
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,  # the application reads them itself, whichever host runs it
        "timeout_keep_alive": KEEP_ALIVE,
        "timeout_graceful_shutdown": grace,
    }


def _load() -> Settings:
    settings = load_settings()
    logs.configure(level=settings.log_level, log_format=settings.log_format, file=settings.log_file)
    return settings


@contextlib.contextmanager
def _shared_metrics(settings: Settings) -> Iterator[None]:
    """Makes a folder in which the worker processes share their metrics, unless the settings name one."""
    if settings.metrics == "off" or settings.metrics_folder:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="translation-server-") as folder:
        os.environ["METRICS_FOLDER"] = folder
        yield


def _collect_garbage_seldom() -> None:
    """Makes garbage collections less frequent, and excludes all objects that exist now.

    A collection before that would free 727 of 90,000 objects, and take a tenth of the start.
    """
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    gc.enable()


def _listen(host: str, port: int) -> socket.socket:
    """Returns a listening socket. It is opened first, so that a port in use is reported in one line."""
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
def _exit_on_setup_errors() -> Iterator[None]:
    try:
        yield
    except SETUP_ERRORS as error:
        print(f"translation-server: {error}", file=sys.stderr)  # noqa: T201 - to the person who starts it
        raise SystemExit(USAGE) from None
