"""Real parts for the tests: servers, which are uvicorn on a free port in a thread or in processes, and databases."""

import asyncio
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
import uvicorn
from passlib.context import CryptContext

from tests.api import Api
from tests.examples import CREDENTIALS, OWN_DIALECT, TLS, cheap_hash
from tests.ports import free_port
from tests.processes import ENVIRONMENT
from tests.processes import Server as ServerProcess
from tests.quick_server import QuickServer
from tests.tasks_api import KEY, TASKS
from translation_server import TranslationServer
from translation_server.api.auth.authenticator import Authenticator
from translation_server.api.auth.credentials import scheme
from translation_server.api.mounts import Mounts
from translation_server.api.problems import Problem
from translation_server.api.protocol import HttpProtocol
from translation_server.app import create_app
from translation_server.config.settings import Settings
from translation_server.config.users import one_user
from translation_server.serving import http_with_limits
from translation_server.storage import open_store

HASHED = cheap_hash(CREDENTIALS[1])

Start = Callable[..., Api]


@contextmanager
def serving(settings, http=HttpProtocol, store=None):
    """Runs the server with these settings and one of uvicorn's HTTP implementations; yields its URL.

    ``store`` replaces the database of the settings.
    """
    app = create_app(settings, store)
    if isinstance(http, type) and issubclass(http, HttpProtocol):
        http = http_with_limits(settings, http)
    listener = socket.create_server((settings.host, 0))
    config = uvicorn.Config(
        app, log_config=None, lifespan="on", http=http, proxy_headers=False, timeout_graceful_shutdown=10
    )
    server = QuickServer(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://{settings.host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def users_file(tmp_path_factory):
    """Makes a file with one user."""
    path = tmp_path_factory.mktemp("users") / "users"
    path.write_text(f"{CREDENTIALS[0]}:{HASHED}\n")
    return path


@pytest.fixture
def start(tmp_path, users_file):
    """Starts a server with the test's settings and returns a client with the user's credentials.

    Without further settings it speaks the native API alone, and its jobs stay pending; with ``max_delay=0`` they end
    at once.
    """
    with ExitStack() as running:

        def start(auth=CREDENTIALS, http=HttpProtocol, store=None, **settings):
            given = {
                "users_file": users_file,
                "database_url": f"sqlite:///{tmp_path}/jobs.db",
                "max_delay": 1000,
                "error_probability": 0,
                "dialects": "",
            } | settings
            given.setdefault("min_delay", given["max_delay"])
            url = running.enter_context(serving(Settings(_env_file=None, **given), http, store))
            return running.enter_context(Api(base_url=url, auth=auth, timeout=60, verify=TLS))

        yield start


@pytest.fixture
def own_dialect(tmp_path):
    """Writes the file of an API of the name ``own``, with further lines at its top and at its end."""

    def write(top="", end=""):
        path = tmp_path / "own.toml"
        path.write_text(f"{top}\n{OWN_DIALECT}\n{end}")
        return str(path)

    return write


@pytest.fixture
def write_tasks(tmp_path):
    """Writes the file of the API of `tasks_api`, or another text, and returns its path."""

    def write(text=TASKS):
        (tmp_path / "tasks.toml").write_text(text)
        return str(tmp_path / "tasks.toml")

    return write


@pytest.fixture
def native(start, write_tasks):
    """Starts a server of `tasks_api`, whose jobs stay pending; yields a client of the native API."""
    return start(dialects=write_tasks())


@pytest.fixture
def tasks(native):
    """Yields a client of `tasks_api`."""
    with httpx.Client(base_url=native.base_url.join("/tasks"), headers=KEY, timeout=60, verify=TLS) as client:
        yield client


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Runs one server for all tests without settings of their own; each test gets a user of its own."""
    folder = tmp_path_factory.mktemp("shared")
    users = [f"user-{number}" for number in range(1000)]
    (folder / "users").write_text("".join(f"{user}:{HASHED}\n" for user in users))
    settings = {
        "min_delay": 1000,
        "max_delay": 1000,
        "error_probability": 0,
        "database_url": f"sqlite:///{folder}/jobs.db",
        "dialects": "",
    }
    with serving(Settings(_env_file=None, users_file=folder / "users", **settings)) as url:
        yield url, iter(users)


@pytest.fixture
def api(shared):
    """Yields a client of the shared server, whose jobs stay pending, as a user without jobs."""
    url, users = shared
    with Api(base_url=url, auth=(next(users), CREDENTIALS[1]), timeout=60, verify=TLS) as client:
        yield client


@pytest.fixture
def open_api():
    """Yields a client of an embedded server, which needs no credentials."""
    with TranslationServer() as server, Api(base_url=server.url, timeout=60) as client:
        yield client


PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
"""The folders of PostgreSQL's programs in Debian, by version."""

IMAGE = "postgres:17"


class Caller:
    """Sends requests to an authenticator, whose clock the test sets."""

    def __init__(self, users=None):
        self.now = 0.0
        schemes = Mounts({"/own": [scheme("X-Api-Key: {token}")], "/token": [scheme("Authorization: Bearer {token}")]})
        self.authenticator = Authenticator(users or one_user("ann", "right"), schemes, clock=lambda: self.now)

    def user(self, credentials, address="192.0.2.1", path="/jobs", header=b"authorization"):
        headers = [] if credentials is None else [(header, credentials)]
        return self.authenticator.user({"path": path, "client": (address, 1), "headers": headers})

    async def status(self, *request, **more):
        try:
            await self.user(*request, **more)
        except Problem as problem:
            return problem.status
        return 200


@pytest.fixture
def make_caller():
    """Makes callers of an authenticator with some users, by default with one."""
    with ExitStack() as closing:

        def make(users=None):
            caller = Caller(users)
            closing.callback(caller.authenticator.close)
            return caller

        yield make


@pytest.fixture
def caller(make_caller):
    """Makes a caller of an authenticator with one user."""
    return make_caller()


@pytest.fixture
def hashes(monkeypatch):
    """Counts the verifications by passlib for each hash."""
    counted = Counter()
    verify = CryptContext.verify

    def counting(self, secret, hash, *args, **kwargs):  # noqa: A002 - passlib's name
        counted[hash] += 1
        return verify(self, secret, hash, *args, **kwargs)

    monkeypatch.setattr(CryptContext, "verify", counting)  # the library's: its calls are what takes time
    return counted


class Postgres:
    """A real PostgreSQL on the loopback interface, which can be stopped and started.

    Args:
        start: the command that starts it.
        stop: the command that stops it, without regard to who is connected.
        options: how to run the commands.
    """

    def __init__(self, port, start, stop, **options):
        self.url = f"postgresql://{CREDENTIALS[0]}:{CREDENTIALS[1]}@127.0.0.1:{port}/postgres"
        self._start, self._stop, self._options = start, stop, options
        self._schemas = itertools.count()

    def start(self):
        subprocess.run(self._start, check=True, capture_output=True, **self._options)
        self.execute("SELECT 1", patience=60)

    def stop(self):
        subprocess.run(self._stop, check=True, capture_output=True, **self._options)

    def new(self):
        """Returns the URL of a new, empty schema."""
        name = f"test_{next(self._schemas)}"
        self.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}?search_path={name}"

    def execute(self, *statements, url=None, patience=0):
        """Executes statements and returns the rows of each."""

        async def execute():
            give_up_at = time.monotonic() + patience
            while True:
                try:
                    connection = await asyncpg.connect(url or self.url)
                    break
                except (OSError, asyncpg.PostgresError):
                    if time.monotonic() > give_up_at:
                        raise
                    await asyncio.sleep(0.05)
            try:
                return [[tuple(row) for row in await connection.fetch(statement)] for statement in statements]
            finally:
                await connection.close()

        with ThreadPoolExecutor() as thread:  # the test's own loop may be running
            return thread.submit(asyncio.run, execute()).result()


@pytest.fixture
def unused():
    """Returns a port without a listener."""
    return free_port()


@contextmanager
def postgres_of_debian():
    """Runs PostgreSQL from Debian's packages, as an unprivileged user: it refuses to run as root."""
    user = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, **user)
        password = Path(folder, "password")
        password.write_text(CREDENTIALS[1])
        port, data = free_port(), f"{folder}/data"
        login = ["--username", CREDENTIALS[0], "--pwfile", str(password), "--auth", "scram-sha-256"]
        made = [PROGRAMS[-1] / "initdb", "--pgdata", data, *login, "--encoding=UTF8", "--no-locale", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **user)
        control = [str(PROGRAMS[-1] / "pg_ctl"), "--pgdata", data, "--wait"]
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        start = [*control, "start", "--log", f"{folder}/log", "--options", options]
        postgres = Postgres(port, start, [*control, "stop", "--mode=fast"], cwd=folder, **user)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()


@contextmanager
def postgres_in_container():
    """Runs PostgreSQL from its image."""
    port = free_port()
    login = [f"--env=POSTGRES_USER={CREDENTIALS[0]}", f"--env=POSTGRES_PASSWORD={CREDENTIALS[1]}"]
    create = ["docker", "create", *login, "--env=POSTGRES_DB=postgres", f"--publish=127.0.0.1:{port}:5432", IMAGE]
    name = subprocess.run(create, check=True, capture_output=True, text=True).stdout.strip()
    try:
        postgres = Postgres(port, ["docker", "start", name], ["docker", "kill", name])
        postgres.start()
        yield postgres
    finally:
        remove = ["docker", "rm", "--force", "--volumes", name]
        subprocess.run(remove, check=True, capture_output=True)


@pytest.fixture(scope="session")
def postgres():
    """Runs one PostgreSQL for all tests. Each test uses an empty schema."""
    image = ["docker", "image", "inspect", IMAGE]
    if PROGRAMS:
        running = postgres_of_debian()
    elif shutil.which("docker") and subprocess.run(image, check=False, capture_output=True).returncode == 0:
        running = postgres_in_container()
    elif os.environ.get("REQUIRE_DOCKER") == "1":
        pytest.fail(f"a PostgreSQL is needed: install Debian's postgresql, or have the image {IMAGE}")
    else:
        pytest.skip(f"there is no PostgreSQL here: neither Debian's postgresql nor the image {IMAGE}")
    with running as postgres:
        yield postgres


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url(request, tmp_path):
    """Returns the URL of an empty database of each kind."""
    match request.param:
        case "memory":
            return "memory:"
        case "sqlite":
            return f"sqlite:///{tmp_path}/jobs.db"
        case _:
            return str(request.getfixturevalue("postgres").new())


@pytest.fixture
async def store(url):
    """Opens an empty store of each kind."""
    store = open_store(url)
    yield store
    await store.close()


@pytest.fixture
def run(tmp_path):
    """Starts server processes in an empty folder."""
    with ExitStack() as running:
        numbers = itertools.count()

        def run(command, *, group=False, umask=-1, **settings):
            log = tmp_path / f"{next(numbers)}.log"
            stderr = running.enter_context(log.open("w"))
            environment = os.environ | ENVIRONMENT | settings
            process = subprocess.Popen(
                command, cwd=tmp_path, env=environment, stderr=stderr, text=True, start_new_session=group, umask=umask
            )
            running.enter_context(process)
            running.callback(process.kill)
            server = ServerProcess(process, log)
            running.enter_context(server.client)
            return server

        yield run
