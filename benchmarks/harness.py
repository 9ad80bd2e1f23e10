"""Starts servers, puts load on them and reads their processor time and memory, on Linux with wrk.

The load generator has the last core and the servers have the others. On a machine with one core, they share it.
"""

import asyncio
import base64
import contextlib
import http.client
import json
import math
import os
import platform
import random
import re
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import bcrypt

from translation_server.storage import open_store

HERE = Path(__file__).parent
CORES = sorted(os.sched_getaffinity(0))
LOAD_CORES = CORES[-1:]
SERVER_CORES = CORES[:-1] or CORES

USERNAME, PASSWORD = "admin", "secretpassword"
AUTHORIZATION = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
CONNECTIONS = 32
SUBMISSION = 'POST /start {"source_language": "en", "target_language": "es", "video_length": 90}'
TIMEOUT = 60.0  # seconds for a server to start
MAX_INTERFERENCE = 0.1  # above this share of the machine for other programs, results are not written into a page

K = TypeVar("K")
T = TypeVar("T")


class Response(NamedTuple):
    """A server's response."""

    status: int
    headers: list[tuple[str, str]]
    body: str


class Server(NamedTuple):
    """A running server, and the seconds from its start to its first response."""

    port: int
    pid: int
    startup: float

    def memory(self) -> float:
        """Returns the memory of all its processes in MiB; shared pages, such as libraries, count once."""
        kilobytes = 0
        for pid in self._processes():
            with contextlib.suppress(OSError):
                found = re.search(r"^Pss: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
                kilobytes += int(found[1]) if found else 0
        return kilobytes / 1024

    def processor_time(self) -> float:
        """Returns the user and system time of all its processes in seconds."""
        ticks = 0
        for pid in self._processes():
            with contextlib.suppress(OSError):
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def _processes(self) -> Iterator[int]:
        left = [self.pid]
        while left:
            pid = left.pop()
            yield pid
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    left += map(int, children.read_text().split())

    def request(self, method: str, path: str, body: str | None = None) -> Response:
        """Sends one request as the user."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        headers = {"Authorization": AUTHORIZATION} | ({"Content-Type": "application/json"} if body else {})
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Response(response.status, response.getheaders(), response.read().decode())

    def responds(self, path: str) -> bool:
        """Returns whether a request gets a response other than a 5xx."""
        try:
            return self.request("GET", path).status < 500
        except (OSError, http.client.HTTPException):
            return False


class Load(NamedTuple):
    """The result of a load: requests, requests per second, and microseconds.

    ``p50`` and ``p99`` are latencies; ``processor_time`` is the server's per request. Unlike the rate, it does not
    depend on how fast the load generator is.
    """

    requests: int
    rate: float
    p50: float
    p99: float
    processor_time: float


def require_tools() -> None:
    """Checks that the load generator is installed, and raises the limit of open files.

    Raises:
        SystemExit: a tool is missing.
    """
    if missing := [name for name in ("wrk", "taskset") if not shutil.which(name)]:
        raise SystemExit(f"missing: {', '.join(missing)}; on Debian, apt-get install wrk util-linux")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the servers inherit it


def pin(cores: Sequence[int], command: Sequence[object]) -> list[str]:
    """Returns the command that runs a command on these cores alone."""
    return ["taskset", "--cpu-list", ",".join(map(str, cores)), *map(str, command)]


def _environment() -> dict[str, str]:
    """Returns the environment without PYTHONDONTWRITEBYTECODE: the modules of an installed server are compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@contextmanager
def running(
    command: Callable[[int], Sequence[object]],
    settings: Mapping[str, str] | None = None,
    *,
    cores: Sequence[int] = SERVER_CORES,
    path: str = "/readyz",
) -> Iterator[Server]:
    """Runs a server in an empty folder, from its first response on.

    Args:
        command: Returns the command that starts it on a port.
        settings: What to add to its environment.
        cores: Where it runs.
        path: The path of the first request.

    Raises:
        RuntimeError: the server ended, or did not respond in time.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            pin(cores, command(port)), cwd=folder, env={**_environment(), **(settings or {})}, stdout=log, stderr=log
        )
        try:
            server = Server(port, process.pid, 0)
            while not server.responds(path):
                if process.poll() is not None or time.perf_counter() > began + TIMEOUT:
                    log.seek(0)
                    raise RuntimeError(f"{command(port)} does not respond: {log.read()[-500:]}")
                time.sleep(0.002)
            yield server._replace(startup=time.perf_counter() - began)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def ours(
    workers: int = 1, database: str = "sqlite:///jobs.db", *, cores: Sequence[int] = SERVER_CORES, **settings: str
) -> Iterator[Server]:
    """Runs this project's server with the settings of `.env.example`, except that jobs take an hour."""
    environment = {
        "API_USERNAME": USERNAME,
        "API_PASSWORD": PASSWORD,
        "MIN_DELAY": "3600",
        "MAX_DELAY": "3600",
        "WORKERS": str(workers),
        "DATABASE_URL": database,
    }
    command = [sys.executable, "-m", "translation_server", "--port"]
    with running(lambda port: [*command, port], environment | settings, cores=cores, path="/jobs?limit=1") as server:
        yield server


@contextmanager
def reference(
    application: str, response: Response | None = None, *, workers: int = 1, cores: Sequence[int] = SERVER_CORES
) -> Iterator[Server]:
    """Runs an application of `references.py` with uvicorn and the options of our server.

    Args:
        application: Its name.
        response: The response that it sends, for those that always send the same.
        workers: How many processes.
        cores: Where it runs.
    """
    command = [sys.executable, "-m", "uvicorn", "--app-dir", HERE, f"references:{application}"]
    options = ["--no-access-log", "--log-level", "warning", "--workers", workers, "--port"]
    with tempfile.TemporaryDirectory() as folder:
        settings = {}
        if response:
            file = Path(folder) / "response.json"
            headers = [(name, value) for name, value in response.headers if name not in {"date", "server"}]  # uvicorn's
            file.write_text(json.dumps({"headers": headers, "body": response.body}), encoding="utf-8")
            settings["RESPONSE"] = str(file)
        with running(lambda port: [*command, *options, port], settings, cores=cores, path="/status/none") as server:
            yield server


def submit_jobs(server: Server, count: int) -> list[str]:
    """Submits jobs and returns a poll for each."""
    responses = (server.request("POST", "/start") for _ in range(count))
    return [f"GET /status/{json.loads(response.body)['job_id']}" for response in responses]


def create_users(folder: str, users: int, jobs: int) -> list[str]:
    """Creates a database with jobs of many users, and the users' file with the cheapest hash.

    Returns:
        A poll for each job, with the credentials of its user; consecutive polls are of different users.
    """
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    names = [f"u{number}" for number in range(users)]
    Path(folder, "users").write_text("".join(f"{name}:{hashed}\n" for name in names), encoding="utf-8")
    now = time.time()
    created = [(name, ordinal, str(uuid.uuid4()), now, 86_400.0) for ordinal in range(1, jobs + 1) for name in names]
    _insert(folder, created)
    basic = {name: base64.b64encode(f"{name}:{PASSWORD}".encode()).decode() for name in names}
    return [f"as\tBasic {basic[name]}\tGET /status/{job_id}" for name, _, job_id, *_ in created]


def create_jobs(folder: str, delays: Iterable[float], *, age: float = 0, sample: float = 1) -> list[str]:
    """Creates a database with the user's jobs without the server, which would take hours.

    Args:
        folder: Where `jobs.db` is created.
        delays: The seconds that each job takes.
        age: The jobs were accepted at random times in this many seconds before now.
        sample: The share of the jobs whose paths are returned.

    Returns:
        The paths of a random sample of the jobs, in random order.
    """
    draw, now, paths = random.Random("jobs"), time.time(), list[str]()

    def created() -> Iterator[tuple[str, int, str, float, float]]:
        for ordinal, delay in enumerate(delays, 1):
            job_id, accepted_at = str(uuid.UUID(int=draw.getrandbits(128), version=4)), now - age * draw.random()
            if draw.random() < sample:
                paths.append(f"/status/{job_id}")
            yield USERNAME, ordinal, job_id, accepted_at, delay

    _insert(folder, created())
    draw.shuffle(paths)
    return paths


def _insert(folder: str, jobs: Iterable[tuple[str, int, str, float, float]]) -> None:
    """Creates `jobs.db` with these jobs: owner, ordinal, id, time of acceptance and delay of each."""
    file = Path(folder) / "jobs.db"
    asyncio.run(open_store(f"sqlite:///{file}").close())  # creates the tables
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -1000000")
        database.executemany(
            "INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome, changed_at)"
            " VALUES (?1, ?2, ?3, ?4, ?5, 'completed', ?4)",
            jobs,
        )
        database.execute("INSERT INTO owners (name, jobs) SELECT owner, max(ordinal) FROM jobs GROUP BY owner")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def load(server: Server, requests: Sequence[str], seconds: float, connections: int = CONNECTIONS) -> Load:
    """Puts load on a server.

    Args:
        server: Which one.
        requests: The requests, sent in turn and from the beginning again; `load.lua` explains their form.
        seconds: The duration; wrk takes whole seconds, so it is rounded up.
        connections: How many requests are under way at a time.

    Raises:
        RuntimeError: a request failed.
    """
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("\n".join(requests) + "\n")
        file.flush()
        options = ["--threads", 1, "--connections", connections, "--duration", f"{math.ceil(seconds)}s"]
        script = ["--timeout", "10s", "--script", HERE / "load.lua", f"http://127.0.0.1:{server.port}"]
        wrk = ["wrk", *options, *script, "--", AUTHORIZATION, file.name]
        before = server.processor_time()
        finished = subprocess.run(pin(LOAD_CORES, wrk), capture_output=True, text=True, check=True)
        used = server.processor_time() - before
    result = json.loads(finished.stdout.splitlines()[-1])
    count = result["requests"]
    if result["failed"]:
        raise RuntimeError(f"{result['failed']} of {count} requests failed: {requests[0]}")
    return Load(count, count / result["duration"] * 1e6, result["p50"], result["p99"], used / count * 1e6)


def load_and_settle(server: Server, requests: Sequence[str], seconds: float) -> Load:
    """Puts load on a server and waits until it is idle, so that its late work does not fall into the next run."""
    result = load(server, requests, seconds)
    wait_until_idle(server)
    return result


def wait_until_idle(server: Server) -> None:
    """Waits until a server has finished its work, such as writing the request log."""
    give_up_at, used = time.monotonic() + 20, server.processor_time()
    while time.monotonic() < give_up_at:
        time.sleep(0.5)
        if (now := server.processor_time()) - used < 0.03:
            return
        used = now


def alternate(runs: Mapping[K, Callable[[], T]], rounds: int) -> dict[K, list[T]]:
    """Runs each once to warm up, then all in turn, `rounds` times: other load on the machine slows all of them."""
    for run in runs.values():
        run()
    results = [{name: run() for name, run in runs.items()} for _ in range(rounds)]
    return {name: [result[name] for result in results] for name in runs}


def median_ratio(numerators: Iterable[float], denominators: Iterable[float]) -> float:
    """Returns the median of the rounds' ratios."""
    return median(one / other for one, other in zip(numerators, denominators, strict=True))


class Interference:
    """Measures which share of the machine other programs take, from when it is created."""

    def __init__(self) -> None:
        self._began, self._before = time.monotonic(), self._used_by_others()

    def share(self) -> float:
        """Returns the average share so far, from 0 to 1."""
        used = self._used_by_others() - self._before
        return max(0.0, used / (time.monotonic() - self._began) / (os.cpu_count() or 1))

    @staticmethod
    def _used_by_others() -> float:
        """Returns the processor time in seconds of all programs except this one and those that it has run."""
        user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return (user + nice + system) / os.sysconf("SC_CLK_TCK") - sum(one.ru_utime + one.ru_stime for one in own)


def machine(interference: float, *, divided: bool = True) -> str:
    """Returns a sentence about the machine and the share that other programs took.

    ``divided`` says whether the servers and the load had cores of their own.
    """
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    model = found[1] if found else platform.machine()
    shared = "" if len(CORES) > 1 else ", shared with the load"
    servers = f", {len(SERVER_CORES)} for the servers{shared}" if divided else ""
    return (
        f"{model}, {len(CORES)} cores{servers}; "
        f"Python {platform.python_version()}. Other programs took {interference:.0%} of the machine meanwhile."
    )


def require_quiet(interference: float) -> None:
    """Checks that other programs took little of the machine, before results go into a page.

    Raises:
        SystemExit: they took more than `MAX_INTERFERENCE`.
    """
    if interference > MAX_INTERFERENCE:
        raise SystemExit(
            f"not written: other programs took {interference:.0%} of the machine, more than {MAX_INTERFERENCE:.0%}"
        )
