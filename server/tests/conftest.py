"""A real server for the tests: uvicorn on a free port of the loopback interface, in a thread."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest
import uvicorn

from translation_server.app import create_app
from translation_server.settings import Settings
from translation_server.web.wire import InOnePiece

CREDENTIALS = ("admin", "secretpassword")

Start = Callable[..., httpx.Client]


@contextmanager
def serving(settings: Settings, http: Any = InOnePiece) -> Iterator[str]:
    """Runs the server with these settings, on one of uvicorn's implementations of HTTP; gives its URL."""
    app = create_app(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, lifespan="on", http=http, timeout_graceful_shutdown=10)
    )
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of tests that are coroutines."""
    return "asyncio"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with settings of the test's own, and gives a client with the user's credentials.

    Without further settings its jobs stay pending; with ``max_delay=0`` they end at once.
    """
    with ExitStack() as running:

        def start(auth: tuple[str, str] | None = CREDENTIALS, http: Any = InOnePiece, **settings: Any) -> httpx.Client:
            given = {
                "api_username": CREDENTIALS[0],
                "api_password": CREDENTIALS[1],
                "database_url": f"sqlite:///{tmp_path}/jobs.db",
                "max_delay": 1000,
                "error_probability": 0,
            } | settings
            given.setdefault("min_delay", given["max_delay"])
            url = running.enter_context(serving(Settings(_env_file=None, **given), http))
            return running.enter_context(httpx.Client(base_url=url, auth=auth, timeout=60))

        yield start


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Iterator[str]]]:
    """One server for all tests that need no settings of their own, and the names of its users, each for one test."""
    folder = tmp_path_factory.mktemp("shared")
    hashed = bcrypt.hashpw(CREDENTIALS[1].encode(), bcrypt.gensalt(4)).decode()
    users = [f"user-{number}" for number in range(1000)]
    (folder / "users").write_text("".join(f"{user}:{hashed}\n" for user in users))
    settings = {"min_delay": 1000, "max_delay": 1000, "database_url": f"sqlite:///{folder}/jobs.db"}
    with serving(Settings(_env_file=None, users_file=folder / "users", **settings)) as url:
        yield url, iter(users)


@pytest.fixture
def api(shared: tuple[str, Iterator[str]]) -> Iterator[httpx.Client]:
    """A client of a server whose jobs stay pending, as a user who has none yet."""
    url, users = shared
    with httpx.Client(base_url=url, auth=(next(users), CREDENTIALS[1]), timeout=60) as client:
        yield client
