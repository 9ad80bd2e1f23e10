"""What else could answer, side by side: requests per second, p99, memory and start-up of each, on equal cores.

    python benchmarks/peers.py                a table: some three minutes on a quiet machine, more on a busy one
    python benchmarks/peers.py --json         the same for programs
    python benchmarks/peers.py --write        also puts the table into docs/performance.md
    python benchmarks/peers.py ours Prism     only those whose names begin so

Each runs alone, first on one core, then on all that the load leaves, and answers with the JSON of one of our jobs.
Each is asked in three runs, of which the last one counts: by then a JVM has compiled what it runs. What npm has is
installed below ~/.cache, in the versions that stand here. Linux, wrk; Node for five of them, and Java 17 for two.
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

import stage

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "translation-benchmarks"
INSTALLING = 600.0  # seconds
JOBS = 100  # looked at in turn
RUNS, SECONDS, JVM_SECONDS = 3, 1, 7
TRIES = 3
HEAP = "-Xmx500m"  # as MockServer measures itself; left alone, a JVM takes what there is
JSON = "application/json"


class Missing(Exception):  # noqa: N818 - says what happened
    """This machine cannot run it."""


class Task(NamedTuple):
    """What is to be answered: looks at these jobs, with the answer that our server gave to one of them."""

    ids: list[str]
    answer: stage.Answer

    @property
    def snapshots(self) -> list[str]:
        """The requests."""
        return [f"GET /status/{job_id}" for job_id in self.ids]


Stage = tuple[stage.Running, list[str]]
Serve = Callable[[Task, Sequence[int]], AbstractContextManager[Stage]]
Command = Callable[[int], Sequence[object]]


class Package(NamedTuple):
    """What npm installs, which of its files is run, and by what."""

    name: str
    version: str
    file: str
    runtime: str = "node"

    def installed(self) -> Path:
        """Where the file is, installed if it was not yet.

        Raises:
            Missing: it cannot be installed, or not be run.
        """
        if lacking := [program for program in ("npm", self.runtime) if not shutil.which(program)]:
            raise Missing(f"needs {' and '.join(lacking)}")
        folder = CACHE / f"{self.name.replace('/', '-')}-{self.version}"
        file = folder / "node_modules" / self.name / self.file.format(self.version)
        if not file.exists():
            print(f"installing {self.name} {self.version} ...", file=sys.stderr)
            folder.mkdir(parents=True, exist_ok=True)
            options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
            command = ["npm", "install", "--prefix", str(folder), *options, f"{self.name}@{self.version}"]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALLING, check=False)
            if ran.returncode or not file.exists():
                print(ran.stderr, file=sys.stderr)
                raise Missing("npm could not install it")
        return file


@contextmanager
def ours(_: Task, cores: Sequence[int]) -> Iterator[Stage]:
    """The server of this project, with a worker on each core."""
    with stage.ours(len(cores), cores=cores) as server:
        yield server, stage.submitted(server, JOBS)


@contextmanager
def bare(task: Task, cores: Sequence[int]) -> Iterator[Stage]:
    """Uvicorn with nothing behind it."""
    with stage.bare(task.answer, workers=len(cores), cores=cores) as server:
        yield server, task.snapshots


@contextmanager
def ordinary(_: Task, cores: Sequence[int]) -> Iterator[Stage]:
    """The ordinary FastAPI way, whose jobs are known to one process alone."""
    with stage.uvicorn("ordinary", cores=cores) as server:
        yield server, stage.submitted(server, JOBS)


def program(package: Package, prepare: Callable[[Path, Task], Command]) -> Serve:
    """One of npm's, with the arguments that come of preparing it in a folder of its own."""

    @contextmanager
    def serve(task: Task, cores: Sequence[int]) -> Iterator[Stage]:
        with tempfile.TemporaryDirectory() as folder:
            arguments = prepare(Path(folder), task)
            start = [package.runtime, *([package.installed()] if package.runtime == "node" else [])]
            path = task.snapshots[0].removeprefix("GET ")
            with stage.running(lambda port: [*start, *arguments(port)], cores=cores, path=path) as server:
                if server.ask("GET", path).status != 200:
                    raise RuntimeError(f"{package.name} does not know what to answer")
                yield server, task.snapshots

    return serve


WIREMOCK = Package("wiremock", "3.13.2", "build/wiremock-standalone-{}.jar", "java")
MOCKSERVER = Package("mockserver-node", "8.0.0", "mockserver-netty-{}-jar-with-dependencies.jar", "java")
MOCKOON = Package("@mockoon/cli", "9.9.0", "bin/run.js")
PRISM = Package("@stoplight/prism-cli", "5.16.0", "dist/index.js")
JSON_SERVER = Package("json-server", "0.17.4", "lib/cli/bin.js")


def wiremock(folder: Path, task: Task) -> Command:
    """A stub for every job, and no journal: one that is bounded costs it nine tenths of its speed."""
    (folder / "mappings").mkdir()
    response = {"status": 200, "headers": {"Content-Type": JSON}, "body": task.answer.body}
    mapping = {"request": {"method": "GET", "urlPathPattern": "/status/[^/]+"}, "response": response}
    (folder / "mappings" / "status.json").write_text(json.dumps(mapping), encoding="utf-8")
    options = ["--disable-banner", "--disable-request-logging", "--no-request-journal"]
    where = [HEAP, "-jar", WIREMOCK.installed(), "--root-dir", folder, "--bind-address", "127.0.0.1"]
    return lambda port: [*where, *options, "--port", port]


def mockserver(folder: Path, task: Task) -> Command:
    """An expectation for every job, and no log: as its own page on performance has it."""
    response = {"statusCode": 200, "headers": {"Content-Type": [JSON]}, "body": task.answer.body}
    expectation = {"httpRequest": {"method": "GET", "path": "/status/[^/]+"}, "httpResponse": response}
    file = folder / "expectations.json"
    file.write_text(json.dumps([expectation]), encoding="utf-8")
    settings = {"logLevel": "WARN", "disableLogging": "true", "initializationJsonPath": file}
    properties = [HEAP, *(f"-Dmockserver.{name}={value}" for name, value in settings.items())]
    return lambda port: [*properties, "-jar", MOCKSERVER.installed(), "-serverPort", port]


def mockoon(folder: Path, task: Task) -> Command:
    """A route with one response, no templates in it."""
    response = {
        "uuid": "8a1e51f3-6d0b-4bd1-9f0c-000000000003",
        "statusCode": 200,
        "headers": [{"key": "Content-Type", "value": JSON}],
        "body": task.answer.body,
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
    """An OpenAPI document with an example."""
    content = {JSON: {"schema": {"type": "object"}, "example": json.loads(task.answer.body)}}
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
    """A collection of the jobs."""
    jobs = [{"id": job_id} | json.loads(task.answer.body) for job_id in task.ids]
    file = folder / "jobs.json"
    file.write_text(json.dumps({"status": jobs}), encoding="utf-8")
    return lambda port: ["--host", "127.0.0.1", "--quiet", "--port", port, file]


class Peer(NamedTuple):
    """Something that can answer."""

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
    """How a peer did on so many cores: requests per second, milliseconds, MiB, seconds; or why it did not run.

    ``others`` is the part of the machine that other programs took.
    """

    name: str
    cores: int
    jvm: bool
    rate: float = 0
    p99: float = 0
    memory: float = 0
    started: float = 0
    others: float = 0
    missing: str = ""


def task() -> Task:
    """Jobs of our server, and what it says of one."""
    with stage.ours() as server:
        snapshots = stage.submitted(server, JOBS)
        return Task([snapshot.rpartition("/")[2] for snapshot in snapshots], server.ask(*snapshots[0].split()))


def measure(peer: Peer, about: Task, cores: Sequence[int]) -> Result:
    """Let a peer answer on these cores, again where others took too much of the machine; the quietest time counts."""
    results = list[Result]()
    while len(results) < TRIES and all(one.others > stage.PEACE for one in results):
        watching = stage.Watching()
        result = once(peer, about, cores)
        results.append(result._replace(others=0 if result.missing else watching.others()))
    return min(results, key=lambda one: one.others)


def once(peer: Peer, about: Task, cores: Sequence[int]) -> Result:
    """Let a peer answer on these cores."""
    try:
        with peer.serve(about, cores) as (server, snapshots):
            for _ in range(RUNS):
                seconds = JVM_SECONDS if peer.jvm else SECONDS
                load = stage.load(server, snapshots, seconds, stage.CONNECTIONS * len(cores))
            memory = server.memory()
    except Missing as missing:
        return Result(peer.name, len(cores), peer.jvm, missing=str(missing))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return Result(peer.name, len(cores), peer.jvm, missing="installed, but did not answer as it should")
    return Result(peer.name, len(cores), peer.jvm, load.rate, load.p99 / 1000, memory, server.started)


def table(results: Sequence[Result]) -> str:
    """The results as a table in Markdown, the fastest on one core first, and who is ahead of us."""
    counts = sorted({result.cores for result in results})
    of = {(result.name, result.cores): result for result in results}
    heads = [f"{'one core' if count == 1 else f'{count} cores'}: {what}" for count in counts for what in HEADS]
    names = sorted(dict.fromkeys(result.name for result in results), key=lambda name: -of[name, counts[0]].rate)
    lines = [f"| who | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name in names:
        measured = [of[name, count] for count in counts]
        shown = f"**{name}**" if name == OURS else name
        if missing := next((result.missing for result in measured if result.missing), ""):
            lines.append(f"| {shown} | missing: {missing} |{' |' * (len(heads) - 1)}")
            continue
        lines.append(f"| {shown} | {' | '.join(map(cells, measured))} |")
    return "\n".join([*lines, "", *(verdict(results, count) for count in counts)])


HEADS = ("requests/s", "p99, ms", "MiB", "start-up, s")


def cells(result: Result) -> str:
    """What stands under the heads."""
    return f"{result.rate:,.0f} | {result.p99:.3g} | {result.memory:.0f} | {result.started:.2f}"


def verdict(results: Sequence[Result], count: int) -> str:
    """Who is ahead of us on so many cores, in a line."""
    there = [result for result in results if result.cores == count and not result.missing]
    us = next((result for result in there if result.name == OURS), None)
    if us is None:
        return ""
    ahead = [f"{one.name} ({one.rate / us.rate:.1f} ×)" for one in there if one.rate > us.rate]
    jvms = [f"{us.memory / one.memory:.2f} of {one.name}'s" for one in there if one.jvm]
    where = "one core" if count == 1 else f"{count} cores"
    told = f"On {where}, ahead of ours in requests per second: {', '.join(ahead) or 'nobody'}."
    return f"{told} Our memory is {' and '.join(jvms)}; the aim is a fifth.\n" if jvms else f"{told}\n"


def main() -> int:
    """Measure, print, and put the table into the page."""
    parser = argparse.ArgumentParser(description="Measure what else could answer, beside the server.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only those whose names begin so (default all)")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="also put the table into docs/performance.md")
    options = parser.parse_args()
    chosen = [peer for peer in PEERS if not options.names or peer.name.startswith(tuple(options.names))]
    if not chosen:
        parser.error(f"there are: {', '.join(peer.name for peer in PEERS)}")
    if options.write and options.names:
        parser.error("--write puts all into the page, not some of them")
    stage.needed()
    about = task()
    places = [stage.SERVING[:1]] + ([stage.SERVING] if len(stage.SERVING) > 1 else [])
    results = [measure(peer, about, cores) for peer in chosen for cores in places]
    others = max(one.others for one in results)
    machine = stage.machine(others)
    if options.json:
        print(json.dumps({"machine": machine, "results": [one._asdict() for one in results]}, indent=1))
    else:
        print(machine, table(results), sep="\n\n")
    if options.write:
        stage.undisturbed(others)
        stage.write("peers", f"{machine}\n\n{table(results).rstrip()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
