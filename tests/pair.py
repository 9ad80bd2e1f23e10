"""What `test_integration.py` and `tests/test_scale.py` share: the pair, its containers, logs and flags.

Each of the two is a script as well, so nothing here needs pytest. Importing it finds `translation_client` in `client/`.
"""

import argparse
import importlib
import logging
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "client"))

COMPOSE_FILE = ROOT / "docker-compose.yml"
LOGS = ROOT / "logs"
SERVER_LOG, CLIENT_LOG, TEST_LOG = (LOGS / f"{name}.log" for name in ("server", "client", "test"))

USERNAME = "admin"
PASSWORD = "like $this #1"
SETTINGS = {
    "API_USERNAME": USERNAME,
    "API_PASSWORD": f"'{PASSWORD}'",
    "HOST": "127.0.0.1",
    "MIN_DELAY": 0.1,
    "MAX_DELAY": 0.3,
    "ERROR_PROBABILITY": 0,
}
"""What a server's `.env` holds unless a scenario says otherwise."""

PATIENCE = 60.0
"""Seconds within which everything happens that a test waits for."""

JOBS, CONNECTIONS = 200, 16
"""How many jobs are submitted, and over how many connections, to a server that is killed meanwhile."""

SHOWN = 20
"""How many lines of each log are printed after each test."""

logger = logging.getLogger("test")


class Pair(ABC):
    """A server with a folder, a `.env` and a port of its own, and the command against it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        limits = httpx.Limits(max_connections=CONNECTIONS)
        self.http = httpx.Client(auth=(USERNAME, PASSWORD), limits=limits, timeout=PATIENCE, trust_env=False)

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, **settings: object) -> None:
        """Sees to it that the server runs, with these settings in its `.env`."""
        text = "".join(f"{name}={value}\n" for name, value in {**SETTINGS, "PORT": self.port, **settings}.items())
        env_file = self.folder / ".env"
        if not env_file.exists() or env_file.read_text() != text:
            self.kill()
            logger.info("settings: %s", settings or "as usual")
            env_file.write_text(text)
        self.start()

    def is_ready(self) -> bool:
        """Whether the server says that it takes work."""
        try:
            return self.http.get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False

    def command(self, *arguments: str, password: str = PASSWORD) -> "subprocess.CompletedProcess[str]":
        """Runs the command to its end."""
        arguments = ("--username", USERNAME, "--password", password, *arguments)
        result = self.run_command(*arguments)
        logger.info("the command exited with %d", result.returncode)
        append(CLIENT_LOG, result.stdout + result.stderr)
        return result

    def start(self) -> None:
        """Starts the server with the settings that it has, if it does not run; returns when it is ready."""
        self.launch()
        wait_until(self.is_ready, f"the server is ready; {SERVER_LOG} may say why")

    @abstractmethod
    def launch(self) -> None:
        """Starts the server with the settings that it has, if it does not run."""

    @abstractmethod
    def kill(self) -> None:
        """Ends the server as `kill -9` does."""

    @abstractmethod
    def stop(self) -> int:
        """Asks the server to end and returns its exit status."""

    @abstractmethod
    def run_command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs the command to its end."""

    @abstractmethod
    def save_logs(self) -> None:
        """Adds to the logs what is not there yet."""

    def close(self) -> None:
        """Removes everything."""
        self.http.close()


class Containers(Pair):
    """The pair in containers: `docker compose` in a copy of what it needs, as a project of its own."""

    flags: ClassVar[tuple[str, ...]] = ()
    """What `docker compose` is told before its command."""

    def __init__(self, folder: Path) -> None:
        self.engine = find_engine()
        find_images(self.engine, *self.images())
        super().__init__(folder)
        self.project = f"translation-test-{secrets.token_hex(4)}"
        self.saved: dict[str, int] = {}
        shutil.copy(COMPOSE_FILE, folder)
        for side in ("server", "client"):
            ignored = shutil.ignore_patterns("__pycache__", "tests", "data", ".env")
            shutil.copytree(ROOT / side, folder / side, ignore=ignored)

    def images(self) -> set[str]:
        """The images that are not made here."""
        built = (ROOT / side / "Dockerfile" for side in ("server", "client"))
        return {name for path in built for name in re.findall(r"^FROM (\S+)", path.read_text(), re.MULTILINE)}

    def compose(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Runs `docker compose` for this project."""
        arguments = (*self.flags, *arguments)
        logger.info("docker compose %s", " ".join(arguments))
        result = run("docker", "compose", "--project-name", self.project, *arguments, folder=self.folder)
        assert not check or result.returncode == 0, result.stderr
        return result

    def container(self, service: str) -> Any:
        """The service's container, whether it runs or not."""
        (container,) = self.containers(f"com.docker.compose.service={service}")
        return container

    def containers(self, *labels: str) -> list[Any]:
        """This project's containers, whether they run or not."""
        labels = (f"com.docker.compose.project={self.project}", "com.docker.compose.oneoff=False", *labels)
        found: list[Any] = self.engine.containers.list(all=True, filters={"label": list(labels)})
        return found

    def launch(self) -> None:
        self.compose("up", "--detach", "server")

    def kill(self) -> None:
        self.save_logs()
        self.compose("kill", "server", check=False)

    def stop(self) -> int:
        self.compose("stop", "server")
        return exit_status(self.container("server"))

    def run_command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self.compose("run", "--rm", "--no-deps", "client", *arguments, check=False)

    def save_logs(self) -> None:
        for container in self.containers():
            log = container.logs()
            service = container.labels["com.docker.compose.service"]
            append(CLIENT_LOG if service == "client" else SERVER_LOG, log[self.saved.get(container.id, 0) :].decode())
            self.saved[container.id] = len(log)

    def close(self) -> None:
        self.compose("down", "--volumes", "--rmi", "local", "--remove-orphans", "--timeout", "1")
        self.engine.close()
        super().close()


class Printing(logging.Handler):
    """Prints to where stdout is now, which pytest changes from test to test."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


@cache
def begin_logs() -> None:
    """Begins the logs anew, once for all tests."""
    LOGS.mkdir(exist_ok=True)
    for path in (SERVER_LOG, CLIENT_LOG, TEST_LOG):
        path.write_text("")


@contextmanager
def logging_to_files() -> Iterator[None]:
    """Logs what the library and the test say, for as long as this lasts."""
    begin_logs()
    library = logging.getLogger("translation_client")
    with ExitStack() as stack:
        for log, handler in (
            (library, logging.FileHandler(CLIENT_LOG)),
            (logger, logging.FileHandler(TEST_LOG)),
            (logger, Printing()),
        ):
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
            log.addHandler(handler)
            log.setLevel(logging.DEBUG)
            stack.callback(handler.close)
            stack.callback(log.removeHandler, handler)
            stack.callback(log.setLevel, logging.NOTSET)
        yield


def print_logs(sizes: Mapping[Path, int]) -> None:
    """Prints the end of what has come to the logs since they had these sizes."""
    for path, size in sizes.items():
        with path.open("rb") as log:
            log.seek(size)
            lines = log.read().decode().splitlines()
        print(f"{path.relative_to(ROOT)}, {len(lines)} new lines", *lines[-SHOWN:], sep="\n    ", flush=True)


def append(path: Path, text: str) -> None:
    """Adds text to a log."""
    with path.open("a", encoding="utf-8") as log:
        log.write(text)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Returns when the condition is true, and fails when it does not become so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


def run(*command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Runs a program to its end; images may have to be built meanwhile."""
    return subprocess.run(
        command,
        cwd=folder,
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20 * PATIENCE,
        check=False,
    )


def surroundings() -> dict[str, str]:
    """The environment without what would win over a `.env`."""
    settings = re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    return {
        name: value for name, value in os.environ.items() if name not in settings and not name.startswith("COMPOSE_")
    }


def free_port() -> int:
    """A free port, not from those that the system gives to outgoing connections: nobody takes it during a restart."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port was found")


def exit_status(container: Any) -> int:
    """With which status a container's program ended."""
    state = container.attrs["State"]
    assert state["Status"] == "exited", state
    status: int = state["ExitCode"]
    return status


def find_engine() -> Any:
    """The `docker` package's client of an engine that answers and has Compose.

    Raises:
        SkipTest: There is none.
        RuntimeError: There is none, and it was asked for.
    """
    try:
        docker = importlib.import_module("docker")
        subprocess.run(["docker", "compose", "version"], capture_output=True, check=True)
        return docker.from_env()
    except ImportError:
        missing = "the docker package: pip install docker"
    except (OSError, subprocess.CalledProcessError):
        missing = "Docker with Compose: install both"
    except docker.errors.DockerException as error:
        missing = f"Docker, which does not answer: start it ({error})"
    raise lacking(missing)


def find_images(engine: Any, *names: str) -> None:
    """Returns once an engine has images, of which it pulls the missing.

    Raises:
        SkipTest: One of them cannot be had.
        RuntimeError: One of them cannot be had, and it was asked for.
    """
    errors = importlib.import_module("docker").errors
    for name in names:
        try:
            engine.images.get(name)
        except errors.ImageNotFound:
            try:
                engine.images.pull(name)
            except (errors.DockerException, OSError) as error:
                raise lacking(f"the image {name}, which is not here and cannot be pulled: {error}") from None


def lacking(what: str) -> Exception:
    """What to raise where something that the container tests need is not there."""
    kind = RuntimeError if os.environ.get("REQUIRE_DOCKER") == "1" else unittest.SkipTest
    return kind(f"the container tests need {what}")


class PairTests(unittest.TestCase):
    """Tests of one kind of pair, which all of them share."""

    kind: ClassVar[type[Pair]]
    pair: ClassVar[Any]

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(logging_to_files())
        cls.pair = cls.kind(Path(cls.enterClassContext(tempfile.TemporaryDirectory())))
        cls.addClassCleanup(cls.pair.close)

    def setUp(self) -> None:
        logger.info("--- %s", self.id())
        self.addCleanup(print_logs, {path: path.stat().st_size for path in (SERVER_LOG, CLIENT_LOG)})
        self.addCleanup(self.pair.save_logs)


def main() -> None:
    """Runs the tests of the script, with `--containers` besides the flags of unittest."""
    parser = argparse.ArgumentParser(description="Run the tests of this file.", epilog="More flags: those of unittest.")
    parser.add_argument("--containers", action="store_true", help="fail instead of skip where Docker does not answer")
    options, rest = parser.parse_known_args()
    if options.containers:
        os.environ["REQUIRE_DOCKER"] = "1"
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2, catchbreak=True)
