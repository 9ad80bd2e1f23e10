"""A real server for the tests: uvicorn on a free port of the loopback interface, in a thread."""

import asyncio
import socket
import ssl
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

CREDENTIALS = ("admin", "secretpassword")
HASHED = bcrypt.hashpw(CREDENTIALS[1].encode(), bcrypt.gensalt(4)).decode()
"""Of the password, and cheap: the hashes that the server makes itself take longer than most tests."""

TLS = ssl.create_default_context()
"""What httpx makes for each client, though nothing here is encrypted."""

Start = Callable[..., httpx.Client]


class Server(uvicorn.Server):
    """One that ends at once; uvicorn's own looks every tenth of a second whether to, and then rests for another."""

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:  # noqa: ASYNC110 - another thread says so
            await asyncio.sleep(0.005)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for listener in [*self.servers, *(sockets or [])]:
            listener.close()
        await self.lifespan.shutdown()


@contextmanager
def serving(settings: Settings, http: str = "auto") -> Iterator[str]:
    """Runs the server with these settings, on one of uvicorn's implementations of HTTP; gives its URL."""
    app = create_app(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(uvicorn.Config(app, log_config=None, lifespan="on", http=http))
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


@pytest.fixture(scope="session")
def users_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the user of the credentials."""
    path = tmp_path_factory.mktemp("users") / "users"
    path.write_text(f"{CREDENTIALS[0]}:{HASHED}\n")
    return path


@pytest.fixture
def start(tmp_path: Path, users_file: Path) -> Iterator[Start]:
    """Starts a server with settings of the test's own, and gives a client with the user's credentials.

    Without further settings its jobs stay pending; with ``max_delay=0`` they end at once.
    """
    with ExitStack() as running:

        def start(auth: tuple[str, str] | None = CREDENTIALS, http: str = "auto", **settings: Any) -> httpx.Client:
            given = {
                "users_file": users_file,
                "database_url": f"sqlite:///{tmp_path}/jobs.db",
                "max_delay": 1000,
                "error_probability": 0,
            } | settings
            given.setdefault("min_delay", given["max_delay"])
            url = running.enter_context(serving(Settings(_env_file=None, **given), http))
            return running.enter_context(httpx.Client(base_url=url, auth=auth, timeout=60, verify=TLS))

        yield start


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Iterator[str]]]:
    """One server for all tests that need no settings of their own, and the names of its users, each for one test."""
    folder = tmp_path_factory.mktemp("shared")
    users = [f"user-{number}" for number in range(1000)]
    (folder / "users").write_text("".join(f"{user}:{HASHED}\n" for user in users))
    settings = {"min_delay": 1000, "max_delay": 1000, "database_url": f"sqlite:///{folder}/jobs.db"}
    with serving(Settings(_env_file=None, users_file=folder / "users", **settings)) as url:
        yield url, iter(users)


@pytest.fixture
def api(shared: tuple[str, Iterator[str]]) -> Iterator[httpx.Client]:
    """A client of a server whose jobs stay pending, as a user who has none yet."""
    url, users = shared
    with httpx.Client(base_url=url, auth=(next(users), CREDENTIALS[1]), timeout=60, verify=TLS) as client:
        yield client
