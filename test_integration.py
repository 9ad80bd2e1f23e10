"""The integration test: a real server, the real client, and what can come between them.

    python3 test_integration.py                 with server/requirements.txt and client/requirements.txt installed
    python3 test_integration.py --containers    also in containers; fails where Docker does not answer
    pytest test_integration.py [--containers]   the same

The same scenarios run against a server process and against `docker compose`; and some against its profile `scale`,
of whose servers one is killed. Containers need Docker and the `docker` package: where they are, these tests run; where
they are not, they are skipped, or fail if `--containers` or `REQUIRE_DOCKER=1` asks for them. What server, client and
test log is printed and kept under `logs/`. Everything that is started is removed.
"""

import argparse
import asyncio
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import httpx

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "client"))

from translation_client import (  # noqa: E402 - found by the line above
    AsyncClient,
    AuthenticationError,
    Client,
    JobFailed,
    State,
    TransportError,
)
from translation_client.core.model import Failure  # noqa: E402 - likewise

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

SERVERS = 3
"""How many servers there are in the profile `scale`."""

LONG = {"delay": {"kind": "fixed", "seconds": 3600.0}, "error_probability": 0.5}
"""What a sandbox is set to, so that jobs end when its clock is moved."""

MOST_AT_ONCE = 100
"""How many jobs the server tells of at once."""

BRISK: dict[str, Any] = {
    "username": USERNAME,
    "password": PASSWORD,
    "initial_delay": 0.1,
    "max_delay": 0.2,
    "timeout": PATIENCE,
}
"""What the library is given: it finds out soon."""

RANDOM = random.SystemRandom()

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

    def get(self, path: str, **query: str | list[str]) -> Any:
        """What the server answers."""
        response = self.http.get(f"{self.url}{path}", params=query)
        response.raise_for_status()
        return response.json()

    def is_ready(self) -> bool:
        """Whether the server says that it takes work."""
        try:
            return self.http.get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False

    def client(self, **options: Any) -> Client:
        """The library, set to find out soon."""
        return Client(self.url, **(BRISK | options))

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


class Processes(Pair):
    """The pair as two programs."""

    process: "subprocess.Popen[bytes] | None" = None

    def launch(self) -> None:
        if self.process is None:
            with SERVER_LOG.open("ab") as log:
                program = [sys.executable, "-m", "translation_server"]
                environment = {**surroundings(), "PYTHONPATH": str(ROOT / "server")}
                self.process = subprocess.Popen(program, cwd=self.folder, env=environment, stderr=log)

    def is_ready(self) -> bool:
        assert self.process, "not started"
        assert self.process.poll() is None, f"the server exited with {self.process.returncode}; {SERVER_LOG} says why"
        return super().is_ready()

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def stop(self) -> int:
        assert self.process, "not started"
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self.process = None
        return status

    def run_command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "client.py", "--url", self.url, "--log-file", str(CLIENT_LOG), *arguments]
        return run(*command, folder=ROOT / "client")

    def save_logs(self) -> None:
        """The two programs write the logs themselves."""

    def close(self) -> None:
        self.kill()
        super().close()


class Containers(Pair):
    """The pair in containers: `docker compose` in a copy of what it needs, as a project of its own."""

    flags: ClassVar[tuple[str, ...]] = ()
    """What `docker compose` is told before its command."""

    def __init__(self, folder: Path) -> None:
        self.engine = find_engine()
        super().__init__(folder)
        self.project = f"translation-test-{secrets.token_hex(4)}"
        self.saved: dict[str, int] = {}
        shutil.copy(ROOT / "docker-compose.yml", folder)
        for side in ("server", "client"):
            ignored = shutil.ignore_patterns("__pycache__", "tests", "data", ".env")
            shutil.copytree(ROOT / side, folder / side, ignore=ignored)

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


class Scaled(Containers):
    """Several servers in containers, with PostgreSQL behind them and nginx in front."""

    flags = ("--profile", "scale")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.copytree(ROOT / "nginx", folder / "nginx")

    def up(self, *services: str) -> None:
        """Sees to it that all containers run, or those of these services and what they need."""
        self.compose("up", "--detach", "--scale", f"server={SERVERS}", *services)

    def launch(self) -> None:
        self.up("nginx")

    def servers(self) -> list[Any]:
        """The servers' containers that run."""
        found = self.containers("com.docker.compose.service=server")
        return [container for container in found if container.status == "running"]

    def server_urls(self) -> list[str]:
        """Where each of them is found, past nginx."""
        ports = [container.ports[f"{self.port}/tcp"][0]["HostPort"] for container in self.servers()]
        return [f"http://127.0.0.1:{port}" for port in ports]

    def kill_one(self) -> None:
        """Ends a server as `kill -9` does."""
        container = RANDOM.choice(self.servers())
        logger.info("%s is killed", container.name)
        container.kill()


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
    for port in RANDOM.sample(range(20_000, 30_000), 100):
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
    failure = RuntimeError if os.environ.get("REQUIRE_DOCKER") == "1" else unittest.SkipTest
    raise failure(f"the container tests need {missing}")


class PairTests(unittest.TestCase):
    """Tests of a pair, which all of them share."""

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

    def look(self, job_ids: list[str]) -> dict[str, Any]:
        """The jobs of these ids; each of them has to be there."""
        found: dict[str, Any] = {}
        for start in range(0, len(job_ids), MOST_AT_ONCE):
            answer = self.pair.get("/jobs", job_id=job_ids[start : start + MOST_AT_ONCE])
            self.assertEqual(answer["unknown"], [])
            found |= {job["job_id"]: job for job in answer["jobs"]}
        return found


class Scenarios(PairTests):
    """What holds for both kinds of pair."""

    def test_library_and_command_see_a_job_completed(self) -> None:
        self.pair.serve()
        updates: list[object] = []
        with self.pair.client() as client:
            job = client.start(source_language="en", target_language="es", video_length=12.5)
            final = client.wait(job.id, on_update=updates.append)
        self.assertIs(job.state, State.PENDING)
        self.assertIs(final.state, State.COMPLETED)
        self.assertEqual(final.raw["target_language"], "es")
        self.assertEqual(updates[-1], final)
        result = self.pair.command()
        self.assertEqual(result.returncode, 0)
        self.assertIn("completed", result.stdout)

    def test_library_and_command_see_a_job_fail(self) -> None:
        self.pair.serve(ERROR_PROBABILITY=1)
        with self.pair.client() as client:
            final = client.run()
        self.assertIs(final.state, State.ERROR)
        self.assertTrue(final.error)
        with self.assertRaises(JobFailed):
            final.raise_for_error()
        result = self.pair.command()
        self.assertEqual(result.returncode, 1)
        self.assertIn("error", result.stdout)

    def test_async_library_sees_jobs_completed(self) -> None:
        self.pair.serve()

        async def run_three() -> list[State]:
            async with AsyncClient(self.pair.url, **BRISK) as client:
                return [final.state for final in await asyncio.gather(*(client.run() for _ in range(3)))]

        self.assertEqual(asyncio.run(run_three()), [State.COMPLETED] * 3)

    def test_wrong_password_is_refused(self) -> None:
        self.pair.serve()
        with self.pair.client(password="wrong") as client, self.assertRaises(AuthenticationError):
            client.start()
        self.assertEqual(self.pair.command(password="wrong").returncode, 3)

    def test_server_that_is_asked_to_end_exits_with_0_and_is_missed(self) -> None:
        self.pair.serve()
        self.assertEqual(self.pair.stop(), 0)
        with self.pair.client(max_retries=2) as client, self.assertRaises(TransportError):
            client.start()
        self.assertEqual(self.pair.command("--initial-interval=0.1", "--max-interval=0.1").returncode, 5)

    def test_wait_goes_on_when_the_server_is_killed_and_comes_back(self) -> None:
        self.pair.serve(MIN_DELAY=3600, MAX_DELAY=3600, HINTS="none")
        seen = Event()
        trace: list[object] = []
        with self.pair.client(max_retries=1000, trace=trace.append) as client, ThreadPoolExecutor() as pool:
            jobs = [client.start() for _ in range(5)]
            waiting = pool.submit(client.wait, jobs[0].id, on_update=lambda _: seen.set())
            wait_until(seen.is_set, "the client has looked")
            self.pair.kill()
            wait_until(lambda: any(isinstance(event, Failure) for event in trace), "the client misses the server")
            self.pair.start()
            self.pair.http.post(f"{self.pair.url}/sandbox/clock", json={"advance": 3600}).raise_for_status()
            final = waiting.result(PATIENCE)
            others = [client.wait(job.id) for job in jobs[1:]]
        self.assertEqual({status.state for status in (final, *others)}, {State.COMPLETED})
        self.assertEqual({status.elapsed for status in (final, *others)}, {3600})

    def test_no_accepted_job_is_lost_and_none_changes_its_fate_when_the_server_is_killed(self) -> None:
        self.pair.serve(MIN_DELAY=0, MAX_DELAY=1, ERROR_PROBABILITY=0.5)
        accepted: list[str] = []
        killed = Event()

        def submit() -> bool:
            """Submits a job; returns whether there was a server to accept it."""
            try:
                response = self.pair.http.post(f"{self.pair.url}/start")
            except httpx.TransportError:
                return False
            self.assertEqual(response.status_code, httpx.codes.ACCEPTED)
            accepted.append(response.json()["job_id"])
            return True

        def keep_submitting() -> None:
            while len(accepted) < JOBS or not killed.is_set():
                wait_until(submit, "a job is accepted")

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            submitters = [pool.submit(keep_submitting) for _ in range(CONNECTIONS)]
            try:
                wait_until(lambda: self.pair.get("/jobs", status="completed")["jobs"], "the first job has ended")
                time.sleep(RANDOM.uniform(0.3, 0.8))
                before = self.look(accepted[:])
                self.pair.kill()
            finally:
                killed.set()
            promised = len(accepted)
            self.pair.start()
            for submitter in submitters:
                submitter.result(PATIENCE)
        logger.info("%d jobs accepted, %d of them before the server was killed", len(accepted), promised)

        wait_until(lambda: not self.pair.get("/jobs", status="pending")["jobs"], "all jobs have ended")
        after = self.look(accepted)
        self.pair.kill()
        self.pair.start()
        self.assertEqual(self.look(accepted), after)
        for job_id, job in before.items():
            if job["status"] != "pending":
                self.assertEqual(job, after[job_id])
            elif job["progress"] > 0.1:  # enough to tell when the job was going to end
                self.assertAlmostEqual(job["elapsed_time"] / job["progress"], after[job_id]["elapsed_time"], delta=0.02)


class ProcessTests(Scenarios):
    """The scenarios with a server process."""

    kind = Processes
    pair: ClassVar[Processes]


class ContainerTests(Scenarios):
    """The scenarios with `docker compose`, and what the compose file and the images promise."""

    kind = Containers
    pair: ClassVar[Containers]

    def test_up_runs_the_client_once_the_server_is_healthy(self) -> None:
        self.pair.serve()
        self.pair.kill()
        result = self.pair.compose("up", "--abort-on-container-exit", "--exit-code-from", "client", check=False)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(exit_status(self.pair.container("client")), 0)
        self.assertEqual(exit_status(self.pair.container("server")), 0)
        self.assertIn("completed", self.pair.container("client").logs().decode())

    def test_run_starts_the_server_and_takes_flags(self) -> None:
        self.pair.serve()
        self.pair.kill()
        flags = ("--username", USERNAME, "--password", PASSWORD, "--jobs", "2")
        result = self.pair.compose("run", "--rm", "client", *flags)
        self.assertIn("2 jobs: 2 completed", result.stdout)

    def test_jobs_survive_restart_and_kill(self) -> None:
        self.pair.serve()
        with self.pair.client() as client:
            for job in [client.start() for _ in range(5)]:
                client.wait(job.id)
        before = self.pair.get("/jobs")
        self.pair.compose("restart", "server")
        self.pair.start()
        self.assertEqual(self.pair.get("/jobs"), before)
        self.pair.kill()
        self.pair.start()
        self.assertEqual(self.pair.get("/jobs"), before)

    def test_health_check_follows_the_port_which_only_this_machine_reaches(self) -> None:
        self.pair.port = free_port()
        self.pair.serve()
        wait_until(lambda: self.pair.container("server").health == "healthy", "the server is healthy")
        self.assertEqual(
            self.pair.container("server").ports,
            {f"{self.pair.port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": f"{self.pair.port}"}]},
        )

    def test_containers_may_do_nothing_but_their_work(self) -> None:
        self.pair.serve()
        self.pair.compose("create")
        for container in (self.pair.container("server"), self.pair.container("client")):
            host = container.attrs["HostConfig"]
            self.assertEqual(container.attrs["Config"]["User"], "10001:10001")
            self.assertTrue(host["ReadonlyRootfs"])
            self.assertEqual(host["CapDrop"], ["ALL"])
            self.assertEqual(host["SecurityOpt"], ["no-new-privileges:true"])
        server = self.pair.container("server")
        process = dict(
            line.split(":\t", 1) for line in server.exec_run("cat /proc/1/status").output.decode().splitlines()
        )
        self.assertEqual(set(process["Uid"].split()), {"10001"})
        self.assertEqual(int(process["CapEff"], 16), 0)
        self.assertEqual(process["NoNewPrivs"], "1")
        self.assertIn(b"Read-only file system", server.exec_run("touch /app/new").output)

    def test_missing_env_file_is_told(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(ROOT / "docker-compose.yml", folder)
            result = run("docker", "compose", "--project-name", self.pair.project, "up", folder=Path(folder))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("copy .env.example to .env", result.stderr)


class ScaleTests(PairTests):
    """Several servers over one database: it does not matter which of them is asked, or that one of them is killed."""

    kind = Scaled
    pair: ClassVar[Scaled]

    def setUp(self) -> None:
        super().setUp()
        self.pair.serve(SCALE_PORTS=0, POSTGRES_PASSWORD="'p@ss w/rd'")

    def client(self) -> Client:
        """The library as it is by itself, but that it does not give up."""
        return Client(self.pair.url, username=USERNAME, password=PASSWORD, timeout=PATIENCE, max_retries=1000)

    def submit(self, count: int, key: str | None = None) -> set[str]:
        """Submits so often, over several connections; returns the ids of the jobs."""
        with self.client() as client, ThreadPoolExecutor(CONNECTIONS) as pool:
            return set(pool.map(lambda _: client.start(idempotency_key=key).id, range(count)))

    def begin_anew(self, **settings: object) -> None:
        """Empties the sandbox and sets it up."""
        wanted = LONG | settings
        self.ask_one("POST", "/sandbox/reset")
        self.ask_one("PATCH", "/sandbox", wanted)
        self.wait_until_all_tell(lambda told: told.items() >= wanted.items() and told["clock"]["ahead"] == 0)

    def end_all(self) -> None:
        """Moves the sandbox's clock, so that all jobs end."""
        self.ask_one("POST", "/sandbox/clock", {"advance": 3600})
        self.wait_until_all_tell(lambda told: told["clock"]["ahead"] >= 3600)

    def ask_one(self, method: str, path: str, body: object = None) -> None:
        """Asks one of the servers, past nginx."""
        url, *_ = self.pair.server_urls()
        self.pair.http.request(method, f"{url}{path}", json=body).raise_for_status()

    def wait_until_all_tell(self, what: Callable[[dict[str, Any]], bool]) -> None:
        """Returns when this is so in the sandbox that each server tells of: all know within a second what one does."""
        urls = self.pair.server_urls()
        wait_until(lambda: all(what(self.pair.http.get(f"{url}/sandbox").json()) for url in urls), "all servers know")

    def fates(self) -> dict[str, tuple[State, float | None]]:
        """How all jobs have ended, and after how long, in the order in which they were accepted."""
        with self.pair.client() as client:
            found = list(client.list())
        self.assertEqual(len({job.id for job in found}), len(found))
        return {job.id: (job.state, job.elapsed) for job in reversed(found)}

    def test_up_runs_the_client_against_any_of_the_servers_and_all_end_when_asked_to(self) -> None:
        self.ask_one("POST", "/sandbox/reset")
        self.pair.up()
        wait_until(lambda: self.pair.container("client").status == "exited", "the client has come to its end")
        self.assertEqual(exit_status(self.pair.container("client")), 0)
        self.assertEqual(len(self.pair.servers()), SERVERS)
        self.assertEqual(
            self.pair.container("nginx").attrs["HostConfig"]["PortBindings"],
            {f"{self.pair.port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": f"{self.pair.port}"}]},
        )
        self.assertEqual(self.pair.container("postgres").attrs["HostConfig"]["PortBindings"], {})
        self.pair.compose("stop")
        ended = {container.name: exit_status(container) for container in self.pair.containers()}
        self.assertEqual(set(ended.values()), {0}, ended)

    def test_no_job_is_lost_or_doubled_and_every_wait_ends_when_one_of_the_servers_is_killed(self) -> None:
        self.begin_anew()
        killed = Event()
        started: list[str] = []

        def keep_submitting() -> None:
            with self.client() as client:
                after = 0
                while after < JOBS // CONNECTIONS:  # each of them, once there is a server less
                    after += killed.is_set()
                    started.append(client.start().id)

        async def wait_for(job_ids: list[str], seen: set[str]) -> list[Any]:
            """Waits for these all at once, and for each by itself."""
            patient: dict[str, Any] = {"timeout": PATIENCE, "max_retries": 1000}
            async with AsyncClient(self.pair.url, username=USERNAME, password=PASSWORD, **patient) as client:
                single = (client.wait(job_id, on_update=lambda status: seen.add(status.id)) for job_id in job_ids)
                together, finals = await asyncio.gather(client.wait_all(job_ids), asyncio.gather(*single))
                return [*together.values(), *finals]

        with ThreadPoolExecutor(CONNECTIONS + 1) as pool:
            submitters = [pool.submit(keep_submitting) for _ in range(CONNECTIONS)]
            try:
                wait_until(lambda: len(started) >= JOBS // 2, "jobs are accepted")
                awaited, seen = started[: JOBS // 4], set[str]()
                waiting = pool.submit(asyncio.run, wait_for(awaited, seen))
                wait_until(lambda: len(seen) == len(awaited), "each of them is waited for")
                self.pair.kill_one()
            finally:
                killed.set()
            for submitter in submitters:
                submitter.result(PATIENCE)
            self.end_all()
            finals = waiting.result(PATIENCE)
        self.assertEqual(len(self.pair.servers()), SERVERS - 1)
        fates = self.fates()
        self.assertEqual(sorted(fates), sorted(started))
        self.assertEqual({fate for fate, _ in fates.values()}, {State.COMPLETED, State.ERROR})
        self.assertEqual([(final.state, final.elapsed) for final in finals], [fates[one] for one in awaited * 2])

    def test_one_key_makes_one_job_whichever_servers_are_asked(self) -> None:
        self.begin_anew()
        answered = self.submit(JOBS, key="once")
        self.assertEqual(len(answered), 1)
        self.assertEqual(set(self.fates()), answered)

    def test_the_same_seed_gives_the_same_fates_whichever_servers_are_asked(self) -> None:
        def fates() -> list[tuple[State, float | None]]:
            self.begin_anew(seed="again", delay={"kind": "uniform", "min": 10, "max": 3000})
            self.submit(JOBS)
            self.end_all()
            return list(self.fates().values())

        first = fates()
        self.assertEqual(len(set(first)), JOBS)
        self.assertEqual(fates(), first)

    def test_servers_that_come_back_are_found(self) -> None:
        before = {container.id for container in self.pair.servers()}
        self.pair.kill_one()
        left = {container.id for container in self.pair.servers()}
        self.pair.start()
        for container in self.pair.servers():
            if container.id in left:
                container.kill()
        self.assertEqual({container.id for container in self.pair.servers()}, before - left)
        wait_until(self.pair.is_ready, "nginx finds the server that has come back")


del PairTests, Scenarios  # their tests run in the subclasses alone


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run the integration test.", epilog="More flags: those of unittest.")
    parser.add_argument("--containers", action="store_true", help="fail instead of skip where Docker does not answer")
    options, rest = parser.parse_known_args()
    if options.containers:
        os.environ["REQUIRE_DOCKER"] = "1"
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2, catchbreak=True)
