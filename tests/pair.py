"""Helpers of `test_integration.py` and `tests/test_scale.py`: the server and client pair, containers, logs and flags.

Both files are scripts too, so this module does not need pytest. It adds `client/` to the path of imports.
"""

import argparse
import importlib
import logging
import os
import re
import secrets
import shutil
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

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "client"))

COMPOSE_FILE = ROOT / "docker-compose.yml"
LOGS = ROOT / "logs" / os.environ.get("PYTEST_XDIST_WORKER", "")  # one folder for each process that runs tests
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
"""The settings in a server's `.env`, unless a test sets others."""

TIMEOUT = 60.0  # seconds: how long a test waits for any condition
JOBS, CONNECTIONS = 200, 16  # of a test that kills the server during submissions
SHOWN_LINES = 20  # of each log, printed after a test

logger = logging.getLogger("test")


class Pair(ABC):
    """A server with its own folder, `.env` and port, and the client's command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        limits = httpx.Limits(max_connections=CONNECTIONS)
        self.http = httpx.Client(auth=(USERNAME, PASSWORD), limits=limits, timeout=TIMEOUT, trust_env=False)

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, **settings: object) -> None:
        """Starts the server with these settings in its `.env`; restarts it if it runs with others."""
        text = "".join(f"{name}={value}\n" for name, value in {**SETTINGS, "PORT": self.port, **settings}.items())
        env_file = self.folder / ".env"
        if not env_file.exists() or env_file.read_text() != text:
            self.kill()
            logger.info("settings: %s", settings or "defaults")
            env_file.write_text(text)
        self.start()

    def is_ready(self) -> bool:
        """Whether the server is ready."""
        try:
            return self.http.get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False

    def command(self, *arguments: str, password: str = PASSWORD) -> "subprocess.CompletedProcess[str]":
        """Runs the client's command and waits for its end."""
        arguments = ("--username", USERNAME, "--password", password, *arguments)
        result = self.run_command(*arguments)
        logger.info("the command exited with %d", result.returncode)
        append(CLIENT_LOG, result.stdout + result.stderr)
        return result

    def start(self) -> None:
        """Starts the server, unless it runs, and waits until it is ready."""
        self.launch()
        wait_until(self.is_ready, f"the server is ready; see {SERVER_LOG}")

    @abstractmethod
    def launch(self) -> None:
        """Starts the server, unless it runs."""

    @abstractmethod
    def kill(self) -> None:
        """Kills the server, as `kill -9` does."""

    @abstractmethod
    def stop(self) -> int:
        """Stops the server gracefully and returns its exit status."""

    @abstractmethod
    def run_command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs the client's command and waits for its end."""

    @abstractmethod
    def save_logs(self) -> None:
        """Appends new output to the log files."""

    def close(self) -> None:
        """Releases all resources."""
        self.http.close()


class Containers(Pair):
    """The pair in containers: a Compose project of its own, in a copy of the files that it needs."""

    def __init__(self, folder: Path) -> None:
        self.engine = find_engine()
        pull_images(self.engine, *base_images())
        super().__init__(folder)
        self.project = f"translation-test-{secrets.token_hex(4)}"
        self.saved: dict[str, int] = {}
        text = COMPOSE_FILE.read_text().replace("${IMAGE_PREFIX:-}", f"{self.project}/")  # no other's images
        (folder / COMPOSE_FILE.name).write_text(text)
        for side in ("server", "client"):
            ignored = shutil.ignore_patterns("__pycache__", "tests", "data", ".env")
            shutil.copytree(ROOT / side, folder / side, ignore=ignored)
        self.build()

    def build(self) -> None:
        """Builds the images.

        Raises:
            SkipTest: This takes packages from an index that containers do not reach.
            RuntimeError: The same, with `REQUIRE_DOCKER=1`.
        """
        (self.folder / "build.env").write_text("API_USERNAME=none\nAPI_PASSWORD=none\n")
        built = self.compose("--env-file", "build.env", "build", check=False)
        if built.returncode:
            self.close()
            need_package_index()
            raise AssertionError(built.stderr)

    def compose(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Runs `docker compose` for this project."""
        logger.info("docker compose %s", " ".join(arguments))
        result = run("docker", "compose", "--project-name", self.project, *arguments, folder=self.folder)
        assert not check or result.returncode == 0, result.stderr
        return result

    def container(self, service: str) -> Any:
        """Returns the service's container, running or not."""
        (container,) = self.containers(f"com.docker.compose.service={service}")
        return container

    def containers(self, *labels: str) -> list[Any]:
        """Returns this project's containers, running or not."""
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


class StdoutHandler(logging.Handler):
    """Prints to the current `sys.stdout`, which pytest replaces for each test."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


@cache
def truncate_logs() -> None:
    """Empties the log files, once for all tests."""
    LOGS.mkdir(parents=True, exist_ok=True)
    for path in (SERVER_LOG, CLIENT_LOG, TEST_LOG):
        path.write_text("")


@contextmanager
def logging_to_files() -> Iterator[None]:
    """Writes the logs of the client library and of the tests to files, inside a with block."""
    truncate_logs()
    library = logging.getLogger("translation_client")
    with ExitStack() as stack:
        for log, handler in (
            (library, logging.FileHandler(CLIENT_LOG)),
            (logger, logging.FileHandler(TEST_LOG)),
            (logger, StdoutHandler()),
        ):
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
            log.addHandler(handler)
            log.setLevel(logging.DEBUG)
            stack.callback(handler.close)
            stack.callback(log.removeHandler, handler)
            stack.callback(log.setLevel, logging.NOTSET)
        yield


def print_logs(sizes: Mapping[Path, int]) -> None:
    """Prints the last lines that were added to each log since it had this size."""
    for path, size in sizes.items():
        with path.open("rb") as log:
            log.seek(size)
            lines = log.read().decode().splitlines()
        print(f"{path.relative_to(ROOT)}, {len(lines)} new lines", *lines[-SHOWN_LINES:], sep="\n    ", flush=True)


def append(path: Path, text: str) -> None:
    """Appends text to a log."""
    with path.open("a", encoding="utf-8") as log:
        log.write(text)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Waits until the condition is true; fails after `TIMEOUT`."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"not within {TIMEOUT} s: {what}"
        time.sleep(0.02)


def run(*command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Runs a program and waits for its end; the timeout leaves time to build images."""
    return subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20 * TIMEOUT,
        check=False,
    )


def clean_environment() -> dict[str, str]:
    """Returns the environment without variables that would override the `.env`."""
    settings = re.findall(r"^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    return {
        name: value for name, value in os.environ.items() if name not in settings and not name.startswith("COMPOSE_")
    }


def exit_status(container: Any) -> int:
    """Returns the exit status of a container."""
    state = container.attrs["State"]
    assert state["Status"] == "exited", state
    status: int = state["ExitCode"]
    return status


def find_engine() -> Any:
    """Returns a client of the Docker engine from the `docker` package.

    Raises:
        SkipTest: Docker or Compose is missing.
        RuntimeError: The same, with `REQUIRE_DOCKER=1`.
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
    raise missing_error(missing)


def pull_images(engine: Any, *names: str) -> None:
    """Pulls the images that the engine does not have.

    Raises:
        SkipTest: An image cannot be pulled.
        RuntimeError: The same, with `REQUIRE_DOCKER=1`.
    """
    errors = importlib.import_module("docker").errors
    for name in names:
        try:
            engine.images.get(name)
        except errors.ImageNotFound:
            try:
                engine.images.pull(name)
            except (errors.DockerException, OSError) as error:
                raise missing_error(f"the image {name}, which is not here and cannot be pulled: {error}") from None


def need_package_index(network: str = "bridge") -> None:
    """Checks that a container on this network of Docker can install packages.

    Raises:
        SkipTest: It cannot.
        RuntimeError: The same, with `REQUIRE_DOCKER=1`.
    """
    download = ("pip", "download", "--quiet", "--retries=0", "--no-deps", "--dest=/tmp", "hatchling")
    result = run("docker", "run", "--rm", f"--network={network}", "python:3.13-slim", *download, folder=ROOT)
    if result.returncode:
        raise missing_error(f"a network for containers, in which pip reaches a package index: {result.stderr.strip()}")


def base_images() -> set[str]:
    """Returns the images that are pulled and not built, without those of the profile `observe`."""
    files = (ROOT / "server" / "Dockerfile", ROOT / "client" / "Dockerfile", COMPOSE_FILE)
    return {
        name
        for path in files
        for name in re.findall(r"^(?:FROM| +image:) (?!prom/|grafana/|\")(\S+)", path.read_text(), re.MULTILINE)
    }


def missing_error(what: str) -> Exception:
    """Returns the exception for a missing requirement of the container tests."""
    kind = RuntimeError if os.environ.get("REQUIRE_DOCKER") == "1" else unittest.SkipTest
    return kind(f"the container tests need {what}")


class PairTests(unittest.TestCase):
    """The base class of tests that share one pair."""

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
    """Runs the tests of the calling script; takes `--containers` and the flags of unittest."""
    parser = argparse.ArgumentParser(description="Run the tests of this file.", epilog="More flags: those of unittest.")
    parser.add_argument("--containers", action="store_true", help="fail instead of skip where Docker does not answer")
    options, rest = parser.parse_known_args()
    if options.containers:
        os.environ["REQUIRE_DOCKER"] = "1"
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2, catchbreak=True)
