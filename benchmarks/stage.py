"""Servers to be measured, and the load that is put on them; for Linux, with wrk.

The load comes from the last core, the servers have the others, so that neither takes time from the other. A machine
with one core has to share it.
"""

import asyncio
import base64
import contextlib
import http.client
import json
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
from typing import NamedTuple

import bcrypt

from translation_server.storage import open_store

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"

CORES = sorted(os.sched_getaffinity(0))
LOADING = CORES[-1:]
SERVING = CORES[:-1] or CORES

USERNAME, PASSWORD = "admin", "secretpassword"
AUTHORIZATION = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
CONNECTIONS = 32
START = 'POST /start {"source_language": "en", "target_language": "es", "video_length": 90}'
PATIENCE = 60.0  # seconds for a server to start
PEACE = 0.1  # of the machine, which others may take before a measurement says more of them than of what is measured


class Running(NamedTuple):
    """A server that has answered, and the seconds from its start to that."""

    port: int
    pid: int
    started: float

    def _processes(self) -> Iterator[int]:
        left = [self.pid]
        while left:
            pid = left.pop()
            yield pid
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    left += map(int, children.read_text().split())

    def memory(self) -> float:
        """MiB that its processes hold; what several share, such as a library, is counted once."""
        held = 0
        for pid in self._processes():
            with contextlib.suppress(OSError):
                found = re.search(r"^Pss: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
                held += int(found[1]) if found else 0
        return held / 1024

    def cpu(self) -> float:
        """Seconds of a core that its processes have used."""
        used = 0
        for pid in self._processes():
            with contextlib.suppress(OSError):
                used += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return used / os.sysconf("SC_CLK_TCK")

    def ask(self, method: str, path: str, body: str | None = None) -> "Answer":
        """One request, as the user."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"Authorization": AUTHORIZATION} | ({"Content-Type": "application/json"} if body else {})
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read().decode())


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: list[tuple[str, str]]
    body: str


class Load(NamedTuple):
    """The result of a load: how many requests, how many a second, and the microseconds that they took."""

    requests: int
    rate: float
    p50: float
    p99: float


def needed() -> None:
    """Sees to it that there is what every measurement needs.

    Raises:
        SystemExit: something is missing.
    """
    if missing := [name for name in ("wrk", "taskset") if not shutil.which(name)]:
        raise SystemExit(f"needed: {', '.join(missing)}; on Debian, apt-get install wrk util-linux")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the servers too: each inherits it


def pinned(cores: Sequence[int], command: Sequence[object]) -> list[str]:
    """The command, kept to these cores."""
    return ["taskset", "--cpu-list", ",".join(map(str, cores)), *map(str, command)]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Callable[[int], Sequence[object]],
    settings: Mapping[str, str] | None = None,
    *,
    cores: Sequence[int] = SERVING,
    path: str = "/readyz",
) -> Iterator[Running]:
    """A server, from its first answer on.

    Args:
        command: what starts it on a port.
        settings: what is added to its environment.
        cores: where it runs.
        path: what it is asked first; any answer but a failure of its own will do.

    Raises:
        RuntimeError: it ended, or did not answer in time.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            pinned(cores, command(port)), cwd=folder, env=os.environ | (settings or {}), stdout=log, stderr=log
        )
        try:
            server = Running(port, process.pid, 0)
            while not _answers(server, path):
                if process.poll() is not None or time.perf_counter() > began + PATIENCE:
                    log.seek(0)
                    raise RuntimeError(f"{command(port)} does not answer: {log.read()[-500:]}")
                time.sleep(0.002)
            yield server._replace(started=time.perf_counter() - began)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(server: Running, path: str) -> bool:
    try:
        return server.ask("GET", path).status < 500
    except (OSError, http.client.HTTPException):
        return False


@contextmanager
def ours(
    workers: int = 1, database: str = "sqlite:///jobs.db", *, cores: Sequence[int] = SERVING, **settings: str
) -> Iterator[Running]:
    """The server of this project with the settings of `.env.example`, but for jobs that take an hour."""
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
def uvicorn(
    application: str, settings: Mapping[str, str] | None = None, *, workers: int = 1, cores: Sequence[int] = SERVING
) -> Iterator[Running]:
    """One of the references, under uvicorn as our server runs it."""
    command = [sys.executable, "-m", "uvicorn", "--app-dir", HERE, f"references:{application}"]
    options = ["--no-access-log", "--log-level", "warning", "--workers", workers, "--port"]
    with running(lambda port: [*command, *options, port], settings, cores=cores, path="/status/none") as server:
        yield server


@contextmanager
def bare(answer: Answer, *, workers: int = 1, cores: Sequence[int] = SERVING) -> Iterator[Running]:
    """The bare application, which answers everything with this answer."""
    headers = [(name, value) for name, value in answer.headers if name not in {"date", "server"}]  # uvicorn's own
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answer.json"
        file.write_text(json.dumps({"headers": headers, "body": answer.body}), encoding="utf-8")
        with uvicorn("bare", {"BARE": str(file)}, workers=workers, cores=cores) as server:
            yield server


def submitted(server: Running, count: int) -> list[str]:
    """The requests that look at so many new jobs."""
    answers = (server.ask("POST", "/start") for _ in range(count))
    return [f"GET /status/{json.loads(answer.body)['job_id']}" for answer in answers]


def users(folder: str, count: int, jobs: int) -> list[str]:
    """Makes a database with so many jobs of each of so many users, and their file, with the cheapest of hashes.

    Returns:
        The requests that look at these jobs in turn, each as its user.
    """
    file, now = Path(folder) / "jobs.db", time.time()
    asyncio.run(open_store(f"sqlite:///{file}").close())
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    Path(folder, "users").write_text("".join(f"u{user}:{hashed}\n" for user in range(count)), encoding="utf-8")
    made = [(f"u{user}", ordinal, str(uuid.uuid4())) for ordinal in range(1, jobs + 1) for user in range(count)]
    with contextlib.closing(sqlite3.connect(file)) as database:
        row = "INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome, changed_at)"
        rows = ((*one, now, 86_400.0, now) for one in made)
        database.executemany(f"{row} VALUES (?, ?, ?, ?, ?, 'completed', ?)", rows)
        database.executemany("INSERT INTO owners (name, jobs) VALUES (?, ?)", ((f"u{n}", jobs) for n in range(count)))
        database.commit()
    basic = {user: base64.b64encode(f"{user}:{PASSWORD}".encode()).decode() for user, _, _ in made}
    return [f"as\tBasic {basic[user]}\tGET /status/{job_id}" for user, _, job_id in made]


def fill(folder: str, delays: Iterable[float], *, age: float = 0, told: float = 1) -> list[str]:
    """Makes a database with a job of the user for each of these delays, past the server: that would take hours.

    Args:
        folder: where `jobs.db` is made.
        delays: seconds that each job takes.
        age: seconds before now from which on the jobs were accepted.
        told: which part of the paths is returned, drawn at random.
    """
    file = Path(folder) / "jobs.db"
    asyncio.run(open_store(f"sqlite:///{file}").close())  # makes its tables
    now, draw, paths = time.time(), random.Random("jobs"), list[str]()

    def rows() -> Iterator[tuple[object, ...]]:
        for ordinal, delay in enumerate(delays, 1):
            job_id, at = str(uuid.UUID(int=draw.getrandbits(128), version=4)), now - age * draw.random()
            if draw.random() < told:
                paths.append(f"/status/{job_id}")
            yield USERNAME, ordinal, job_id, at, delay, at

    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -1000000")
        row = "INSERT INTO jobs (owner, ordinal, id, created_at, delay, outcome, changed_at)"
        made = database.executemany(f"{row} VALUES (?, ?, ?, ?, ?, 'completed', ?)", rows()).rowcount
        database.execute("INSERT INTO owners (name, jobs) VALUES (?, ?)", (USERNAME, made))
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    draw.shuffle(paths)
    return paths


def load(server: Running, requests: Sequence[str], seconds: float, connections: int = CONNECTIONS) -> Load:
    """Puts a load on a server.

    Args:
        server: which one.
        requests: what is asked, one after another and from the beginning again.
        seconds: for so long.
        connections: by so many at once.

    Raises:
        RuntimeError: a request failed.
    """
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("\n".join(requests) + "\n")
        file.flush()
        lasting = ["--threads", 1, "--connections", connections, "--duration", f"{seconds:.0f}s", "--timeout", "10s"]
        url = f"http://127.0.0.1:{server.port}"
        wrk = ["wrk", *lasting, "--script", HERE / "load.lua", url, "--", AUTHORIZATION, file.name]
        ran = subprocess.run(pinned(LOADING, wrk), capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout.splitlines()[-1])
    if told["failed"]:
        raise RuntimeError(f"{told['failed']} of {told['requests']} requests failed: {requests[0]}")
    return Load(told["requests"], told["requests"] / told["duration"] * 1e6, told["p50"], told["p99"])


def cost(server: Running, requests: Sequence[str], seconds: float) -> float:
    """Returns the processor time that a request costs a server under load, in microseconds.

    Unlike the rate, it does not depend on how fast the load generator is.
    """
    before = server.cpu()
    requested = load(server, requests, seconds).requests
    used = server.cpu() - before
    settle(server)
    return used / requested * 1e6


def settle(server: Running) -> None:
    """Waits until a server has finished what it was asked, for example writing its request log."""
    until, used = time.monotonic() + 20, server.cpu()
    while time.monotonic() < until:
        time.sleep(0.5)
        if (now := server.cpu()) - used < 0.03:
            return
        used = now


def in_turn(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What the runs measured, one after another, again and again: what slows the machine slows them all."""
    for run in runs.values():
        run()  # warm
    measured = [{name: run() for name, run in runs.items()} for _ in range(rounds)]
    return {name: [one[name] for one in measured] for name in runs}


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median over the rounds."""
    return median(one / other for one, other in zip(of, to, strict=True))


def undisturbed(others: float) -> None:
    """Sees to it that nothing is put into a page that says more of other programs than of what is measured.

    Raises:
        SystemExit: they took too much of the machine.
    """
    if others > PEACE:
        raise SystemExit(f"not written: other programs took {others:.0%} of the machine, more than {PEACE:.0%}")


def write(name: str, text: str, page: Path = PAGE) -> None:
    """Puts a table into a page, docs/performance.md if not another, between the marks that have its name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


class Watching:
    """Tells which part of the machine others have taken since."""

    def __init__(self) -> None:
        self._began, self._foreign_writes = time.monotonic(), self._busy()

    def __str__(self) -> str:
        return machine(self.others())

    def others(self) -> float:
        """The part, from 0 to 1, on the average."""
        spent = self._busy() - self._foreign_writes
        return max(0.0, spent / (time.monotonic() - self._began) / (os.cpu_count() or 1))

    @staticmethod
    def _busy() -> float:
        """Seconds that the cores have worked for others than this program and those that it has run."""
        user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        used = sum(one.ru_utime + one.ru_stime for one in own)
        return (user + nice + system) / os.sysconf("SC_CLK_TCK") - used


def machine(others: float) -> str:
    """What was measured on, and which part of it others had."""
    named = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    model = named[1] if named else platform.machine()
    shared = "" if len(CORES) > 1 else ", which the load shares"
    return (
        f"{model}, {len(CORES)} cores, {len(SERVING)} for the servers{shared}; Python {platform.python_version()}. "
        f"Other programs took {others:.0%} of the machine meanwhile."
    )
