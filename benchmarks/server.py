"""How fast the server is, as ratios to something that is measured beside it at the same time.

    python benchmarks/server.py            a table; exit status 1 if a target is missed: three minutes or so
    python benchmarks/server.py --full     a file of 10 million jobs, held looks that end within a minute
    python benchmarks/server.py --json     the same for programs
    python benchmarks/server.py --write    also puts the table into docs/performance.md
    python benchmarks/server.py status     one of: status, submit, held, workers, size, users, purge

Linux, wrk. The databases are made below TMPDIR, whose disk decides how fast a job can be accepted.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import repeat
from statistics import median
from typing import NamedTuple

import stage
from holding import holding

ROUNDS, SECONDS = 4, 1
COST_SECONDS = 3  # long enough for the clock ticks in which processor time is counted
JOBS, MANY = 100, 20_000  # looked at in turn; the many are more than anybody remembers
HELD, WAIT = 10_000, 60
SPREAD, FULL_SPREAD = 20.0, 60.0
RENEWED = 25  # seconds for which our client asks a look to be held
SIZE, FULL_SIZE = 1_000_000, 10_000_000
OLD = 200_000
USERS, EACH = (500, 1_200, 10_000), 3
DAY = 86_400.0


class Line(NamedTuple):
    """One measurement, and what it should be at least or at most."""

    what: str
    measured: float | None
    least: float | None = None
    most: float | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the target is met; None where there is none, or where it could not be measured."""
        if self.measured is None or (self.least is None and self.most is None):
            return None
        return (self.least is None or self.measured >= self.least) and (self.most is None or self.measured <= self.most)

    @property
    def target(self) -> str:
        """The target as text."""
        bound = "" if self.least is None else f"≥ {self.least:g}"
        return bound if self.most is None else f"≤ {self.most:g}"

    def __str__(self) -> str:
        told = {True: "yes", False: "**missed**", None: ""}[self.passed]
        if self.measured is None:
            measured = "not measured here"
        else:
            measured = f"{self.measured:,.0f}" if self.measured >= 1000 else f"{self.measured:.3g}"
        return f"| {self.what} | {measured} | {self.target} | {told} |"


class Scale(NamedTuple):
    """How much is measured."""

    spread: float
    size: int


def status(_: Scale) -> Iterator[Line]:
    """A poll against the same uvicorn with a bare application, and against the ordinary FastAPI way."""
    with stage.ours() as ours, stage.uvicorn("ordinary") as ordinary:
        polls = stage.submitted(ours, JOBS)
        ordinary_polls = stage.submitted(ordinary, JOBS)
        with stage.bare(ours.ask(*polls[0].split())) as bare:
            rate = stage.load(ours, polls, SECONDS).rate
            costs = stage.in_turn(
                {
                    "ours": lambda: stage.cost(ours, polls, COST_SECONDS),
                    "bare": lambda: stage.cost(bare, polls, COST_SECONDS),
                    "ordinary": lambda: stage.cost(ordinary, ordinary_polls, COST_SECONDS),
                },
                ROUNDS,
            )
    yield Line("polls a second", rate)
    yield Line("a poll: processor time, µs", median(costs["ours"]))
    yield Line("a request to a bare application: processor time, µs", median(costs["bare"]))
    yield Line("a poll, the ordinary FastAPI way: processor time, µs", median(costs["ordinary"]))
    yield Line("a poll ÷ a request to a bare application", stage.ratio(costs["ours"], costs["bare"]), most=1.4)
    yield Line("a poll, the ordinary FastAPI way ÷ ours", stage.ratio(costs["ordinary"], costs["ours"]), least=10)


def submit(_: Scale) -> Iterator[Line]:
    """Submissions against the same route with the jobs in memory, and against a bare application that commits."""
    with stage.ours() as ours, stage.ours(database="memory:") as memory, stage.uvicorn("committing") as committing:
        measured = stage.in_turn(
            {
                "ours": lambda: stage.load(ours, [stage.START], SECONDS).rate,
                "memory": lambda: stage.load(memory, [stage.START], SECONDS).rate,
                "one": lambda: stage.load(ours, [stage.START], SECONDS, connections=1).p50,
                "one, by hand": lambda: stage.load(committing, [stage.START], SECONDS, connections=1).p50,
            },
            ROUNDS,
        )
    yield Line("submissions a second over 32 connections", median(measured["ours"]))
    yield Line("the same without a store", median(measured["memory"]))
    yield Line("submissions ÷ those without a store", stage.ratio(measured["ours"], measured["memory"]), least=0.5)
    yield Line("a lone submission: ms, median", median(measured["one"]) / 1000)
    yield Line("a bare application that commits a row in a thread: ms, median", median(measured["one, by hand"]) / 1000)
    by_hand = stage.ratio(measured["one"], measured["one, by hand"])
    yield Line("a lone submission ÷ that by hand", by_hand, most=1.25)


def held(scale: Scale) -> Iterator[Line]:
    """Ten thousand looks, held in one process."""
    with tempfile.TemporaryDirectory() as folder:
        paths = stage.fill(folder, [DAY] * HELD)
        with stage.ours(database=f"sqlite:///{folder}/jobs.db") as server:
            server.ask("GET", paths[0])
            before, began = server.memory(), time.monotonic()
            with holding(server, paths, WAIT) as holder:
                stage.settle(server)
                took = time.monotonic() - began
                memory, cpu, since = server.memory(), server.cpu(), time.monotonic()
                time.sleep(3)  # the time in which nothing is to happen
                idle = (server.cpu() - cpu) / (time.monotonic() - since)
                jumped = time.time()
                server.ask("POST", "/sandbox/clock", json.dumps({"advance": DAY}))
                at_once = holder.ends()
    yield Line(f"{HELD:,} held looks: KiB for each", (memory - before) * 1024 / HELD, most=30)
    yield Line(f"{HELD:,} held looks: of a core, while all wait", idle, most=0.02)
    yield Line(f"{HELD:,} held looks that end at once: seconds until all are answered", at_once.last - jumped, most=2)
    with tempfile.TemporaryDirectory() as folder:
        first = took + 12  # all are held by then, and then they end while they are being renewed
        paths = stage.fill(folder, [first + scale.spread * number / HELD for number in range(HELD)])
        with (
            stage.ours(database=f"sqlite:///{folder}/jobs.db") as server,
            holding(server, paths, RENEWED) as holder,
        ):
            spread = holder.ends()
    late = sorted(spread.lateness)
    yield Line(f"2 × {HELD:,} held looks: answered 503 instead", at_once.refused + spread.refused, most=0)
    yield Line(f"{HELD:,} held looks that end within {scale.spread:g} s: lateness, median, ms", 1000 * median(late))
    yield Line(
        f"{HELD:,} held looks that end within {scale.spread:g} s: lateness, p99, ms",
        1000 * late[len(late) * 99 // 100],
        most=50,
    )


def workers(_: Scale) -> Iterator[Line]:
    """As many processes as there are cores, against one on one core: on each in turn, lest another program decide."""
    most = len(stage.SERVING)
    if most == 1:
        yield Line("status with N workers ÷ N times one worker's", None, least=0.8)
        return
    with ExitStack() as servers:
        several = servers.enter_context(stage.ours(most))
        single = {core: servers.enter_context(stage.ours(cores=[core])) for core in stage.SERVING}

        def loading(server: stage.Running) -> Callable[[], float]:
            snapshots = stage.submitted(server, JOBS)
            return lambda: stage.load(server, snapshots, SECONDS, most * stage.CONNECTIONS).rate

        runs = {"several": loading(several)} | {f"core {core}": loading(server) for core, server in single.items()}
        rates = stage.in_turn(runs, ROUNDS)
    together = [sum(rates) for rates in zip(*(rates[f"core {core}"] for core in single), strict=True)]
    yield Line("status, one worker on one core: requests per second", median(together) / most)
    yield Line(f"status, {most} workers on {most} cores: requests per second", median(rates["several"]))
    yield Line(
        f"status, {most} workers ÷ {most} times one worker's", stage.ratio(rates["several"], together), least=0.8
    )


def size(scale: Scale) -> Iterator[Line]:
    """A file of very many jobs against one of few: as many of either are looked at, more than anybody remembers."""
    with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as large:
        few = stage.fill(small, repeat(5.0, MANY), age=DAY)
        paths = stage.fill(large, repeat(5.0, scale.size), age=DAY, told=MANY / scale.size)

        def start(folder: str) -> float:
            with stage.ours(database=f"sqlite:///{folder}/jobs.db") as server:
                return server.started

        starts = stage.in_turn({"small": lambda: start(small), "large": lambda: start(large)}, ROUNDS)
        with ExitStack() as servers:
            on_small, on_large = (
                servers.enter_context(stage.ours(database=f"sqlite:///{folder}/jobs.db")) for folder in (small, large)
            )
            few_looks, snapshots = ([f"GET {path}" for path in there] for there in (few, paths))
            rates = stage.in_turn(
                {
                    "small": lambda: stage.load(on_small, few_looks, SECONDS).rate,
                    "large": lambda: stage.load(on_large, snapshots, SECONDS).rate,
                    "submit small": lambda: stage.load(on_small, [stage.START], SECONDS).rate,
                    "submit large": lambda: stage.load(on_large, [stage.START], SECONDS).rate,
                },
                ROUNDS,
            )
    of = f"{scale.size:,} jobs in the file"
    yield Line("start-up to the first answer, seconds", median(starts["small"]), most=0.7)
    yield Line(f"{of}: start-up, seconds", median(starts["large"]), most=0.7)
    yield Line(f"{of}: start-up ÷ that with few", stage.ratio(starts["large"], starts["small"]), most=1.1)
    yield Line(f"{of}: looks ÷ those with few", stage.ratio(rates["large"], rates["small"]), least=0.9)
    yield Line(f"{of}: submits ÷ those with few", stage.ratio(rates["submit large"], rates["submit small"]), least=0.9)


def users(_: Scale) -> Iterator[Line]:
    """Many active users, who look at a few jobs each, against a few hundred."""
    with ExitStack() as running:
        runs: dict[str, Callable[[], float]] = {}
        for count in reversed(USERS):  # so that nobody's password is to be checked anew meanwhile
            folder = running.enter_context(tempfile.TemporaryDirectory())
            snapshots = stage.users(folder, count, EACH)
            database, file = f"sqlite:///{folder}/jobs.db", f"{folder}/users"
            server = running.enter_context(stage.ours(database=database, USERS_FILE=file))
            stage.load(server, snapshots, len(snapshots) / 600)  # until everybody's password has been checked
            runs[f"{count:,}"] = partial(_rate, server, snapshots)
        rates = stage.in_turn(runs, ROUNDS)
    few, *more = (f"{count:,}" for count in USERS)
    for many in more:
        yield Line(f"looks of {many} users ÷ those of {few}", stage.ratio(rates[many], rates[few]), least=0.7)


def _rate(server: stage.Running, snapshots: Sequence[str]) -> float:
    rate = stage.load(server, snapshots, SECONDS).rate
    stage.settle(server)  # lest it write its journals while another is loaded
    return rate


def purge(_: Scale) -> Iterator[Line]:
    """Requests while very many old jobs are forgotten, against the same file where nothing is."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second, ExitStack() as servers:
        for folder in (first, second):
            stage.fill(folder, repeat(5.0, OLD), age=DAY)
        purging, keeping = (
            servers.enter_context(stage.ours(database=f"sqlite:///{folder}/jobs.db", RETENTION=retention))
            for folder, retention in ((first, "10s"), (second, "forever"))
        )
        snapshots, kept_looks = stage.submitted(purging, JOBS), stage.submitted(keeping, JOBS)
        with closing(sqlite3.connect(f"{first}/jobs.db")) as database:
            old = "SELECT count(*) FROM jobs WHERE owner = ? AND ordinal <= ?", (stage.USERNAME, OLD)
            [(before,)], began = database.execute(*old).fetchall(), time.monotonic()
            p99s = stage.in_turn(
                {
                    "polls": lambda: stage.load(purging, snapshots, SECONDS).p99,
                    "looks, kept": lambda: stage.load(keeping, kept_looks, SECONDS).p99,
                    "submits": lambda: stage.load(purging, [stage.START], SECONDS).p99,
                    "submits, kept": lambda: stage.load(keeping, [stage.START], SECONDS).p99,
                },
                ROUNDS,
            )
            [(after,)], took = database.execute(*old).fetchall(), time.monotonic() - began
    yield Line("old jobs forgotten: per second", (before - after) / took)
    for what in ("polls", "submits"):  # a pause of the machine spoils a round; something is forgotten in each
        yield Line(f"{what} meanwhile: p99 ÷ that without", min(p99s[what]) / min(p99s[f"{what}, kept"]), most=1.5)
    if not after:
        raise RuntimeError("nothing was left to forget while that was measured")


PARTS = {
    "status": status,
    "submit": submit,
    "held": held,
    "workers": workers,
    "size": size,
    "users": users,
    "purge": purge,
}


def table(lines: Sequence[Line]) -> str:
    """The measurements as a table in Markdown."""
    return "\n".join(["| what | measured | target | met |", "|---|---|---|---|", *map(str, lines)])


def main() -> int:
    """Measure, print, and put the table into the page."""
    parser = argparse.ArgumentParser(description="Measure the server against its targets.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)} (default all)")
    parser.add_argument("--full", action="store_true", help="at full scale: ten minutes, and some gigabytes of disk")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="also put the table into docs/performance.md")
    options = parser.parse_args()
    if strangers := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(strangers))}")
    if options.write and options.parts:
        parser.error("--write puts all into the page, not some of it")
    stage.needed()
    scale = Scale(FULL_SPREAD, FULL_SIZE) if options.full else Scale(SPREAD, SIZE)
    lines, others = list[Line](), 0.0
    for name in options.parts or PARTS:
        watching = stage.Watching()
        lines += PARTS[name](scale)
        others = max(others, watching.others())
    machine = stage.machine(others)
    if options.json:
        shown = [line._asdict() | {"passed": line.passed} for line in lines]
        print(json.dumps({"machine": machine, "others": others, "lines": shown}, indent=1))
    else:
        print(machine, table(lines), sep="\n\n")
    if options.write:
        stage.undisturbed(others)
        stage.write("server", f"{machine}\n\n{table(lines)}")
    return any(line.passed is False for line in lines)


if __name__ == "__main__":
    sys.exit(main())
