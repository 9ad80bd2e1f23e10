"""Other servers that could answer polls, side by side with ours: requests per second, p99, memory and start-up.

    python benchmarks/peers.py                a table; on a busy machine it takes longer
    python benchmarks/peers.py --json         the same for programs
    python benchmarks/peers.py --write        also writes the table into docs/performance.md
    python benchmarks/peers.py ours Prism     only those whose names begin so

Each runs alone, first on one core, then on all cores but that of the load generator, and responds with the JSON of one
of our jobs. Of three runs, the last one counts: by then, a JVM has compiled its code. npm installs the pinned versions
below ~/.cache. Linux, wrk; five of them need Node, two need Java 17.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import harness
from tables import write

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "translation-benchmarks"
INSTALL_TIMEOUT = 600.0  # seconds
JOBS = 100  # polled in turn
RUNS, SECONDS, JVM_SECONDS = 3, 1, 7
TRIES = 3
HEAP = "-Xmx500m"  # as in MockServer's own benchmarks; by default, a JVM takes a quarter of the machine's memory
JSON = "application/json"


class MissingError(Exception):
    """This machine cannot run the program."""


class Task(NamedTuple):
    """The polls of our server's jobs, and its response to one of them."""

    polls: list[str]
    response: harness.Response


Target = tuple[harness.Server, list[str]]
"""A server and the polls that it answers."""

Serve = Callable[[Task, Sequence[int]], AbstractContextManager[Target]]
Command = Callable[[int], Sequence[object]]


class Package(NamedTuple):
    """An npm package, its file that the runtime runs, and the runtime."""

    name: str
    version: str
    file: str
    runtime: str = "node"

    def installed(self) -> Path:
        """Installs the package if necessary, and returns the path of its file.

        Raises:
            MissingError: it cannot be installed or run.
        """
        if lacking := [program for program in ("npm", self.runtime) if not shutil.which(program)]:
            raise MissingError(f"needs {' and '.join(lacking)}")
        folder = CACHE / f"{self.name.replace('/', '-')}-{self.version}"
        file = folder / "node_modules" / self.name / self.file.format(self.version)
        if not file.exists():
            print(f"installing {self.name} {self.version} ...", file=sys.stderr)
            folder.mkdir(parents=True, exist_ok=True)
            options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
            command = ["npm", "install", "--prefix", str(folder), *options, f"{self.name}@{self.version}"]
            finished = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False)
            if finished.returncode or not file.exists():
                print(finished.stderr, file=sys.stderr)
                raise MissingError("npm could not install it")
        return file


@contextmanager
def ours(_: Task, cores: Sequence[int]) -> Iterator[Target]:
    """Runs this project's server, with a worker on each core."""
    with harness.ours(len(cores), cores=cores) as server:
        yield server, harness.submit_jobs(server, JOBS)


@contextmanager
def bare(task: Task, cores: Sequence[int]) -> Iterator[Target]:
    """Runs the bare application, with a worker on each core."""
    with harness.reference("bare", task.response, workers=len(cores), cores=cores) as server:
        yield server, task.polls


@contextmanager
def ordinary(_: Task, cores: Sequence[int]) -> Iterator[Target]:
    """Runs the ordinary FastAPI application in one process, as only that process knows its jobs."""
    with harness.reference("ordinary", cores=cores) as server:
        yield server, harness.submit_jobs(server, JOBS)


def program(package: Package, prepare: Callable[[Path, Task], Command]) -> Serve:
    """Serves with a package; `prepare` writes its files into an empty folder and returns its arguments."""

    @contextmanager
    def serve(task: Task, cores: Sequence[int]) -> Iterator[Target]:
        with tempfile.TemporaryDirectory() as folder:
            arguments = prepare(Path(folder), task)
            start = [package.runtime, *([package.installed()] if package.runtime == "node" else [])]
            path = task.polls[0].removeprefix("GET ")
            with harness.running(lambda port: [*start, *arguments(port)], cores=cores, path=path) as server:
                if server.request("GET", path).status != 200:
                    raise RuntimeError(f"{package.name} does not answer a poll with 200")
                yield server, task.polls

    return serve


WIREMOCK = Package("wiremock", "3.13.2", "build/wiremock-standalone-{}.jar", "java")
MOCKSERVER = Package("mockserver-node", "8.0.0", "mockserver-netty-{}-jar-with-dependencies.jar", "java")
MOCKOON = Package("@mockoon/cli", "9.9.0", "bin/run.js")
PRISM = Package("@stoplight/prism-cli", "5.16.0", "dist/index.js")
JSON_SERVER = Package("json-server", "0.17.4", "lib/cli/bin.js")


def wiremock(folder: Path, task: Task) -> Command:
    """One stub for all jobs, and no request journal: a bounded one costs nine tenths of the speed."""
    (folder / "mappings").mkdir()
    response = {"status": 200, "headers": {"Content-Type": JSON}, "body": task.response.body}
    mapping = {"request": {"method": "GET", "urlPathPattern": "/status/[^/]+"}, "response": response}
    (folder / "mappings" / "status.json").write_text(json.dumps(mapping), encoding="utf-8")
    options = ["--disable-banner", "--disable-request-logging", "--no-request-journal"]
    arguments = [HEAP, "-jar", WIREMOCK.installed(), "--root-dir", folder, "--bind-address", "127.0.0.1"]
    return lambda port: [*arguments, *options, "--port", port]


def mockserver(folder: Path, task: Task) -> Command:
    """One expectation for all jobs, and no log, as its own page on performance advises."""
    response = {"statusCode": 200, "headers": {"Content-Type": [JSON]}, "body": task.response.body}
    expectation = {"httpRequest": {"method": "GET", "path": "/status/[^/]+"}, "httpResponse": response}
    file = folder / "expectations.json"
    file.write_text(json.dumps([expectation]), encoding="utf-8")
    settings = {"logLevel": "WARN", "disableLogging": "true", "initializationJsonPath": file}
    properties = [HEAP, *(f"-Dmockserver.{name}={value}" for name, value in settings.items())]
    return lambda port: [*properties, "-jar", MOCKSERVER.installed(), "-serverPort", port]


def mockoon(folder: Path, task: Task) -> Command:
    """One route with one response, without templates."""
    response = {
        "uuid": "8a1e51f3-6d0b-4bd1-9f0c-000000000003",
        "statusCode": 200,
        "headers": [{"key": "Content-Type", "value": JSON}],
        "body": task.response.body,
        "bodyType": "INLINE",
        "disableTemplating": True,
        "default": True,
        "rules": [],
    }
    route = {
        "uuid": "8a1e51f3-6d0b-4bd1-9f0c-000000000002",
        "type": "http",
        "method": "get",
        "endpoint": "status/:job_id",
        "responses": [response],
    }
    environment = {
        "uuid": "8a1e51f3-6d0b-4bd1-9f0c-000000000001",
        "lastMigration": 33,
        "name": "jobs",
        "hostname": "127.0.0.1",
        "routes": [route],
        "rootChildren": [{"type": "route", "uuid": route["uuid"]}],
    }
    file = folder / "environment.json"
    file.write_text(json.dumps(environment), encoding="utf-8")
    return lambda port: ["start", "--repair", "--disable-log-to-file", "--data", file, "--port", port]


def prism(folder: Path, task: Task) -> Command:
    """One OpenAPI document with an example."""
    content = {JSON: {"schema": {"type": "object"}, "example": json.loads(task.response.body)}}
    parameter = {"name": "job_id", "in": "path", "required": True, "schema": {"type": "string"}}
    operation = {"parameters": [parameter], "responses": {"200": {"description": "the job", "content": content}}}
    document = {
        "openapi": "3.0.3",
        "info": {"title": "jobs", "version": "1"},
        "paths": {"/status/{job_id}": {"get": operation}},
    }
    file = folder / "openapi.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return lambda port: ["mock", "--host", "127.0.0.1", "--verboseLevel", "error", "--port", port, file]


def json_server(folder: Path, task: Task) -> Command:
    """One collection with the jobs."""
    body = json.loads(task.response.body)
    jobs = [{"id": poll.rpartition("/")[2]} | body for poll in task.polls]
    file = folder / "jobs.json"
    file.write_text(json.dumps({"status": jobs}), encoding="utf-8")
    return lambda port: ["--host", "127.0.0.1", "--quiet", "--port", port, file]


class Peer(NamedTuple):
    """A server that can answer polls."""

    name: str
    serve: Serve
    jvm: bool = False


OURS = "ours"
PEERS = [
    Peer(OURS, ours),
    Peer("bare uvicorn", bare),
    Peer("the ordinary FastAPI way", ordinary),
    Peer(f"WireMock {WIREMOCK.version}", program(WIREMOCK, wiremock), jvm=True),
    Peer(f"MockServer {MOCKSERVER.version}", program(MOCKSERVER, mockserver), jvm=True),
    Peer(f"Mockoon {MOCKOON.version}", program(MOCKOON, mockoon)),
    Peer(f"Prism {PRISM.version}", program(PRISM, prism)),
    Peer(f"json-server {JSON_SERVER.version}", program(JSON_SERVER, json_server)),
]


class Result(NamedTuple):
    """The result of a peer: requests per second, p99 in milliseconds, MiB, seconds; or why it did not run.

    ``interference`` is the share of the machine that other programs took.
    """

    name: str
    cores: int
    jvm: bool
    rate: float = 0
    p99: float = 0
    memory: float = 0
    startup: float = 0
    interference: float = 0
    missing: str = ""


def make_task() -> Task:
    """Submits jobs to our server and polls one of them."""
    with harness.ours() as server:
        polls = harness.submit_jobs(server, JOBS)
        return Task(polls, server.request(*polls[0].split()))


def measure(peer: Peer, task: Task, cores: Sequence[int]) -> Result:
    """Measures a peer, again while other programs take too much of the machine; the quietest time counts."""
    results = list[Result]()
    while len(results) < TRIES and all(result.interference > harness.MAX_INTERFERENCE for result in results):
        interference = harness.Interference()
        result = measure_once(peer, task, cores)
        results.append(result._replace(interference=0 if result.missing else interference.share()))
    return min(results, key=lambda result: result.interference)


def measure_once(peer: Peer, task: Task, cores: Sequence[int]) -> Result:
    """Measures a peer on these cores."""
    try:
        with peer.serve(task, cores) as (server, polls):
            for _ in range(RUNS):
                seconds = JVM_SECONDS if peer.jvm else SECONDS
                load = harness.load(server, polls, seconds, harness.CONNECTIONS * len(cores))
            memory = server.memory()
    except MissingError as missing:
        return Result(peer.name, len(cores), peer.jvm, missing=str(missing))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return Result(peer.name, len(cores), peer.jvm, missing="installed, but it did not answer as expected")
    return Result(peer.name, len(cores), peer.jvm, load.rate, load.p99 / 1000, memory, server.startup)


def results_table(results: Sequence[Result]) -> str:
    """Returns the results as a table in Markdown, the fastest on one core first, and a summary."""
    counts = sorted({result.cores for result in results})
    of = {(result.name, result.cores): result for result in results}
    heads = [f"{'one core' if count == 1 else f'{count} cores'}: {head}" for count in counts for head in HEADS]
    names = sorted(dict.fromkeys(result.name for result in results), key=lambda name: -of[name, counts[0]].rate)
    lines = [f"| server | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name in names:
        measured = [of[name, count] for count in counts]
        shown = f"**{name}**" if name == OURS else name
        if missing := next((result.missing for result in measured if result.missing), ""):
            lines.append(f"| {shown} | missing: {missing} |{' |' * (len(heads) - 1)}")
        else:
            lines.append(f"| {shown} | {' | '.join(map(cells, measured))} |")
    return "\n".join([*lines, "", *(summary(results, count) for count in counts)]).rstrip()


HEADS = ("requests/s", "p99, ms", "MiB", "start-up, s")


def cells(result: Result) -> str:
    """Returns the cells below the heads."""
    return f"{result.rate:,.0f} | {result.p99:.3g} | {result.memory:.0f} | {result.startup:.2f}"


def summary(results: Sequence[Result], count: int) -> str:
    """Returns a line with the peers that are faster than ours on this many cores, and our memory against the JVMs'."""
    found = [result for result in results if result.cores == count and not result.missing]
    us = next((result for result in found if result.name == OURS), None)
    if us is None:
        return ""
    faster = [f"{result.name} ({result.rate / us.rate:.1f} ×)" for result in found if result.rate > us.rate]
    jvms = [f"{us.memory / result.memory:.2f} of {result.name}'s" for result in found if result.jvm]
    cores = "one core" if count == 1 else f"{count} cores"
    line = f"On {cores}, faster than ours: {', '.join(faster) or 'none'}."
    return f"{line} Our memory is {' and '.join(jvms)}; the target is a fifth.\n" if jvms else f"{line}\n"


def main() -> int:
    """Measures, prints the table, and writes it into the page if asked to."""
    parser = argparse.ArgumentParser(description="Measure other servers that could answer polls, beside ours.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only those whose names begin so (default all)")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="also write the table into docs/performance.md")
    options = parser.parse_args()
    chosen = [peer for peer in PEERS if not options.names or peer.name.startswith(tuple(options.names))]
    if not chosen:
        parser.error(f"no such server; choose from {', '.join(peer.name for peer in PEERS)}")
    if options.write and options.names:
        parser.error("--write writes all servers; name none")
    harness.require_tools()
    task = make_task()
    core_sets = [harness.SERVER_CORES[:1]] + ([harness.SERVER_CORES] if len(harness.SERVER_CORES) > 1 else [])
    results = [measure(peer, task, cores) for peer in chosen for cores in core_sets]
    interference = max(result.interference for result in results)
    machine = harness.machine(interference)
    if options.json:
        print(json.dumps({"machine": machine, "results": [result._asdict() for result in results]}, indent=1))
    else:
        print(machine, results_table(results), sep="\n\n")
    if options.write:
        harness.require_quiet(interference)
        write("performance.md", "peers", f"{machine}\n\n{results_table(results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
