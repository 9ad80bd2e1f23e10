"""How fast the server is, in ratios to something that is measured beside it.

    python benchmarks/server.py            a table; exit status 1 if a target is missed
    python benchmarks/server.py --full     10 million jobs in the file, 100,000 webhooks; long polls end within a minute
    python benchmarks/server.py --json     the same for programs
    python benchmarks/server.py --write    also writes the table into docs/performance.md
    python benchmarks/server.py poll       one of: poll, submit, long-polls, workers, size, users, purge, webhooks

Linux, wrk. The databases are created below TMPDIR; its disk decides how fast a job is accepted.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from itertools import repeat
from statistics import median
from typing import NamedTuple

import harness
import webhook_load
from long_polls import long_polls
from tables import Measurement, table, write

ROUNDS, SECONDS = 4, 1
PROCESSOR_SECONDS = 3  # processor time is counted in ticks of 10 ms
JOBS, MORE_THAN_CACHED = 100, 20_000  # jobs that are polled in turn
UNREPEATED = 2_500  # so many jobs that each of their polls is parsed anew; all of the jobs are cached
LONG_POLLS, MAX_WAIT = 10_000, 60
CLIENT_WAIT = 25  # seconds that our client asks a long poll to wait
SPREAD, FULL_SPREAD = 20.0, 60.0
SIZE, FULL_SIZE = 1_000_000, 10_000_000
OLD_JOBS = 200_000
WEBHOOKS, FULL_WEBHOOKS = 20_000, 100_000
USERS, JOBS_PER_USER = (500, 1_200, 10_000), 3
ONE_DAY = 86_400.0


class Scale(NamedTuple):
    """The seconds within which long polls end, the jobs in a large file, and the deliveries of webhooks."""

    spread: float
    size: int
    webhooks: int


def measure_poll(_: Scale) -> Iterator[Measurement]:
    """A poll against a bare application on the same uvicorn, with metrics, and against the ordinary FastAPI way."""
    with (
        harness.ours() as ours,
        harness.ours(METRICS="on") as counting,
        harness.reference("ordinary") as ordinary,
    ):
        polls, ordinary_polls = harness.submit_jobs(ours, JOBS), harness.submit_jobs(ordinary, JOBS)
        unrepeated = harness.submit_jobs(ours, UNREPEATED)
        with harness.reference("bare", ours.request(*polls[0].split())) as bare:
            runs = {
                "ours": (ours, polls),
                "counting": (counting, harness.submit_jobs(counting, JOBS)),
                "unrepeated": (ours, unrepeated),
                "bare": (bare, polls),
                "ordinary": (ordinary, ordinary_polls),
            }
            loads = harness.alternate(
                {name: partial(harness.load_and_settle, *run, PROCESSOR_SECONDS) for name, run in runs.items()}, ROUNDS
            )
    used = {name: [load.processor_time for load in results] for name, results in loads.items()}
    yield Measurement("polls per second", median(load.rate for load in loads["ours"]))
    yield Measurement("a poll: processor time, µs", median(used["ours"]))
    yield Measurement("a request to the bare application: processor time, µs", median(used["bare"]))
    yield Measurement("a poll, the ordinary FastAPI way: processor time, µs", median(used["ordinary"]))
    bare_ratio = harness.median_ratio(used["ours"], used["bare"])
    yield Measurement("processor time of a poll ÷ of a request to the bare application", bare_ratio, at_most=1.4)
    unrepeated_ratio = harness.median_ratio(used["unrepeated"], used["bare"])
    yield Measurement(f"the same, polls of {UNREPEATED:,} jobs in turn", unrepeated_ratio)
    counting_ratio = harness.median_ratio(used["counting"], used["ours"])
    yield Measurement("processor time of a poll with METRICS=on ÷ without", counting_ratio, at_most=1.1)
    ordinary_ratio = harness.median_ratio(used["ordinary"], used["ours"])
    yield Measurement("processor time of a poll, the ordinary FastAPI way ÷ ours", ordinary_ratio, at_least=10)


def measure_submit(_: Scale) -> Iterator[Measurement]:
    """Submissions against the same with the jobs in memory, and against a bare application that commits a row."""
    with (
        harness.ours() as ours,
        harness.ours(database="memory:") as memory,
        harness.reference("committing") as committing,
    ):
        submit = partial(harness.load, requests=[harness.SUBMISSION], seconds=SECONDS)
        loads = harness.alternate(
            {
                "ours": partial(submit, ours),
                "memory": partial(submit, memory),
                "lone": partial(submit, ours, connections=1),
                "lone, memory": partial(submit, memory, connections=1),
                "lone, bare application": partial(submit, committing, connections=1),
            },
            ROUNDS,
        )
    rates = {name: [load.rate for load in results] for name, results in loads.items()}
    yield Measurement("submissions per second over 32 connections", median(rates["ours"]))
    yield Measurement("the same without a store", median(rates["memory"]))
    ratio = harness.median_ratio(rates["ours"], rates["memory"])
    yield Measurement("submissions ÷ those without a store", ratio, at_least=0.5)
    names = {
        "lone": "a lone submission",
        "lone, memory": "a lone submission without a store",
        "lone, bare application": "a bare application that commits a row in a thread",
    }
    for key, name in names.items():
        yield Measurement(f"{name}: median, ms", median(load.p50 for load in loads[key]) / 1000)
        yield Measurement(f"{name}: processor time, ms", median(load.processor_time for load in loads[key]) / 1000)
    latencies = ([load.p50 for load in loads[key]] for key in ("lone", "lone, bare application"))
    yield Measurement(
        "a lone submission ÷ that of the bare application that commits", harness.median_ratio(*latencies), at_most=1.25
    )


def measure_long_polls(scale: Scale) -> Iterator[Measurement]:
    """Ten thousand long polls of one process."""
    name = f"{LONG_POLLS:,} long polls"
    with tempfile.TemporaryDirectory() as folder:
        paths = harness.create_jobs(folder, [ONE_DAY] * LONG_POLLS)
        with harness.ours(database=f"sqlite:///{folder}/jobs.db") as server:
            server.request("GET", paths[0])
            memory, used, began = server.memory(), server.processor_time(), time.monotonic()
            with long_polls(server, paths, MAX_WAIT) as poller:
                harness.wait_until_idle(server)
                connecting = time.monotonic() - began
                memory = server.memory() - memory
                used_before, idle_since = server.processor_time(), time.monotonic()
                time.sleep(3)
                idle = (server.processor_time() - used_before) / (time.monotonic() - idle_since)
                released_at = time.time()
                server.request("POST", "/sandbox/clock", json.dumps({"advance": ONE_DAY}))
                at_once = poller.ends()
            used = (server.processor_time() - used) / LONG_POLLS
            ended = server.request("GET", paths[0])
    with harness.reference("long_polls", ended) as bare:
        bare_used = bare.processor_time()
        with long_polls(bare, paths, MAX_WAIT) as poller:
            harness.wait_until_idle(bare)
            bare.request("POST", "/")
            poller.ends()
        bare_used = (bare.processor_time() - bare_used) / LONG_POLLS
    yield Measurement(f"{name}: KiB each", memory * 1024 / LONG_POLLS, at_most=30)
    yield Measurement(f"{name}: share of a core while all wait", idle, at_most=0.02)
    yield Measurement(f"{name}: processor time from connecting to the end, µs each", 1e6 * used)
    yield Measurement(f"{name} of the bare application: processor time, µs each", 1e6 * bare_used)
    yield Measurement(f"processor time of {name} ÷ of the bare application's", used / bare_used)
    yield Measurement(f"{name} that end at once: seconds until all are answered", at_once.last - released_at, at_most=2)
    with tempfile.TemporaryDirectory() as folder:
        first = connecting + 12  # by then, all are connected; then they end while clients renew them
        delays = [first + scale.spread * number / LONG_POLLS for number in range(LONG_POLLS)]
        paths = harness.create_jobs(folder, delays)
        with (
            harness.ours(database=f"sqlite:///{folder}/jobs.db") as server,
            long_polls(server, paths, CLIENT_WAIT) as poller,
        ):
            spread = poller.ends()
    yield Measurement(f"both runs of {name}: responses with 503", at_once.refused + spread.refused, at_most=0)
    lateness = sorted(1000 * seconds for seconds in spread.lateness)
    name = f"{name} that end within {scale.spread:g} s: lateness"
    yield Measurement(f"{name}, median, ms", median(lateness))
    yield Measurement(f"{name}, p99, ms", lateness[len(lateness) * 99 // 100], at_most=50)


def measure_workers(_: Scale) -> Iterator[Measurement]:
    """One worker per core, against one worker on one core: on each core in turn, as other programs may use some."""
    workers = len(harness.SERVER_CORES)
    if workers == 1:
        yield Measurement("polls with N workers ÷ N times one worker's", None, at_least=0.8)
        return
    with ExitStack() as servers:
        several = servers.enter_context(harness.ours(workers))
        single = {core: servers.enter_context(harness.ours(cores=[core])) for core in harness.SERVER_CORES}

        def rate(server: harness.Server) -> Callable[[], float]:
            polls = harness.submit_jobs(server, JOBS)
            return lambda: harness.load(server, polls, SECONDS, workers * harness.CONNECTIONS).rate

        runs = {"several": rate(several)} | {f"core {core}": rate(server) for core, server in single.items()}
        rates = harness.alternate(runs, ROUNDS)
    together = [sum(rates) for rates in zip(*(rates[f"core {core}"] for core in single), strict=True)]
    yield Measurement("one worker on one core: polls per second", median(together) / workers)
    yield Measurement(f"{workers} workers on {workers} cores: polls per second", median(rates["several"]))
    ratio = harness.median_ratio(rates["several"], together)
    yield Measurement(f"polls with {workers} workers ÷ {workers} times one worker's", ratio, at_least=0.8)


def measure_size(scale: Scale) -> Iterator[Measurement]:
    """A file with very many jobs against a file with few; more jobs than the server caches are polled in each."""
    with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as large:
        paths = {
            "few": harness.create_jobs(small, repeat(5.0, MORE_THAN_CACHED), age=ONE_DAY),
            "many": harness.create_jobs(
                large, repeat(5.0, scale.size), age=ONE_DAY, sample=MORE_THAN_CACHED / scale.size
            ),
        }
        server_of = {
            name: partial(harness.ours, database=f"sqlite:///{folder}/jobs.db")
            for name, folder in (("few", small), ("many", large))
        }

        def startup(open_server: Callable[[], AbstractContextManager[harness.Server]]) -> float:
            with open_server() as server:
                return server.startup

        to_start = server_of | {"ordinary": partial(harness.reference, "ordinary")}
        startups = harness.alternate({name: partial(startup, to_start[name]) for name in to_start}, ROUNDS)
        with ExitStack() as servers:
            runs = dict[str, Callable[[], harness.Load]]()
            for name, server in server_of.items():
                load = partial(harness.load, servers.enter_context(server()), seconds=SECONDS)
                runs[f"polls, {name}"] = partial(load, [f"GET {path}" for path in paths[name]])
                runs[f"submissions, {name}"] = partial(load, [harness.SUBMISSION])
            loads = harness.alternate(runs, ROUNDS)
    yield Measurement("start-up to the first response, seconds", median(startups["few"]))
    yield Measurement("start-up: the ordinary FastAPI way, seconds", median(startups["ordinary"]))
    ratio = harness.median_ratio(startups["few"], startups["ordinary"])
    yield Measurement("start-up ÷ that of the ordinary FastAPI way", ratio, at_most=2)
    name = f"{scale.size:,} jobs in the file"
    yield Measurement(f"{name}: start-up, seconds", median(startups["many"]))
    ratio = harness.median_ratio(startups["many"], startups["few"])
    yield Measurement(f"{name}: start-up ÷ that with few", ratio, at_most=1.1)
    for kind in ("polls", "submissions"):
        many, few = ([load.rate for load in loads[f"{kind}, {size}"]] for size in ("many", "few"))
        yield Measurement(f"{name}: {kind} ÷ those with few", harness.median_ratio(many, few), at_least=0.9)


def measure_users(_: Scale) -> Iterator[Measurement]:
    """Polls of many active users against those of a few hundred."""
    with ExitStack() as servers:
        runs = dict[int, Callable[[], harness.Load]]()
        for users in reversed(USERS):  # the largest first, so that no verified password expires meanwhile
            folder = servers.enter_context(tempfile.TemporaryDirectory())
            polls = harness.create_users(folder, users, JOBS_PER_USER)
            server = servers.enter_context(
                harness.ours(database=f"sqlite:///{folder}/jobs.db", USERS_FILE=f"{folder}/users")
            )
            harness.load(server, polls, len(polls) / 600)  # until every password is verified
            runs[users] = partial(harness.load_and_settle, server, polls, SECONDS)
        loads = harness.alternate(runs, ROUNDS)
    rates = {users: [load.rate for load in results] for users, results in loads.items()}
    for users in USERS[1:]:
        ratio = harness.median_ratio(rates[users], rates[USERS[0]])
        yield Measurement(f"polls of {users:,} users ÷ those of {USERS[0]}", ratio, at_least=0.7)


def measure_purge(_: Scale) -> Iterator[Measurement]:
    """Requests while the server purges very many old jobs, against the same file without a purge."""
    with tempfile.TemporaryDirectory() as purged, tempfile.TemporaryDirectory() as whole, ExitStack() as servers:
        runs = dict[str, Callable[[], harness.Load]]()
        for name, folder, retention in (("purge", purged, "10s"), ("no purge", whole, "forever")):
            harness.create_jobs(folder, repeat(5.0, OLD_JOBS), age=ONE_DAY)
            server = servers.enter_context(harness.ours(database=f"sqlite:///{folder}/jobs.db", RETENTION=retention))
            polls = harness.submit_jobs(server, JOBS)
            runs[f"polls, {name}"] = partial(harness.load, server, polls, SECONDS)
            runs[f"submissions, {name}"] = partial(harness.load, server, [harness.SUBMISSION], SECONDS)
        with closing(sqlite3.connect(f"{purged}/jobs.db")) as database:
            old = "SELECT count(*) FROM jobs WHERE owner = ? AND ordinal <= ?", (harness.USERNAME, OLD_JOBS)
            [(before,)], began = database.execute(*old).fetchall(), time.monotonic()
            loads = harness.alternate(runs, ROUNDS)
            [(after,)], seconds = database.execute(*old).fetchall(), time.monotonic() - began
    yield Measurement("old jobs purged per second", (before - after) / seconds)
    for kind in ("polls", "submissions"):  # the quietest rounds: a pause of the machine distorts a round
        with_purge, without = (min(load.p99 for load in loads[f"{kind}, {name}"]) for name in ("purge", "no purge"))
        yield Measurement(f"{kind} meanwhile: p99 ÷ that without a purge", with_purge / without, at_most=1.5)
    if not after:
        raise RuntimeError("the purge ended before the measurement")


def measure_webhooks(scale: Scale) -> Iterator[Measurement]:
    """Deliveries of webhooks from one process, beside polls and alone."""
    yield from webhook_load.measure(scale.webhooks)


SECTIONS = {
    "poll": measure_poll,
    "submit": measure_submit,
    "long-polls": measure_long_polls,
    "workers": measure_workers,
    "size": measure_size,
    "users": measure_users,
    "purge": measure_purge,
    "webhooks": measure_webhooks,
}


def main() -> int:
    """Measures, prints the table, and writes it into the page if asked to."""
    parser = argparse.ArgumentParser(description="Measure the server against its targets.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"one of {', '.join(SECTIONS)} (default all)")
    parser.add_argument("--full", action="store_true", help="at full scale, which takes some gigabytes of disk")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="also write the table into docs/performance.md")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"unknown section: {', '.join(sorted(unknown))}")
    if options.write and options.sections:
        parser.error("--write writes all sections; name none")
    harness.require_tools()
    scale = Scale(FULL_SPREAD, FULL_SIZE, FULL_WEBHOOKS) if options.full else Scale(SPREAD, SIZE, WEBHOOKS)
    measurements, most = list[Measurement](), 0.0
    for name in options.sections or SECTIONS:
        interference = harness.Interference()
        measurements += SECTIONS[name](scale)
        most = max(most, interference.share())
    machine = harness.machine(most)
    if options.json:
        shown = [one._asdict() | {"passed": one.passed} for one in measurements]
        print(json.dumps({"machine": machine, "interference": most, "measurements": shown}, indent=1))
    else:
        print(machine, table(measurements), sep="\n\n")
    if options.write:
        harness.require_quiet(most)
        write("performance.md", "server", f"{machine}\n\n{table(measurements)}")
    return any(one.passed is False for one in measurements)


if __name__ == "__main__":
    sys.exit(main())
