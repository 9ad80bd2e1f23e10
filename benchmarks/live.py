"""Waits on a real server on the loopback interface: long polls, a crowd, deadlines, ten thousand jobs.

    python benchmarks/live.py            a table; exit status 1 if a target is missed
    python benchmarks/live.py --json     the same for programs
    python benchmarks/live.py --write    also writes the table into docs/waiting.md
    python benchmarks/live.py crowd      one of: long-poll, crowd, deadlines, many

Linux. The server runs in a process of its own; both sides share this machine's clock, which measures the lateness.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import random
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import harness
from tables import Measurement, table, write
from translation_client import AsyncClient, Client, JobTimeout, Status
from translation_client.core.effects import Effect, Failure, Input, Listen, Reply, Send

LOGIN: dict[str, Any] = {"username": harness.USERNAME, "password": harness.PASSWORD}
CROWD, MANY, DEADLINES = 1_000, 10_000, 1_000
LONG_POLL = 10.0  # seconds: W, so that a wait takes several long polls
BATCH = 50  # submissions at a time
CONCURRENCY = 12  # waits under a deadline at a time


@contextmanager
def server(min_delay: float, max_delay: float) -> Iterator[str]:
    """Runs a server whose jobs take from `min_delay` to `max_delay` seconds, and yields its address."""
    with harness.ours(
        cores=harness.CORES,
        MIN_DELAY=str(min_delay),
        MAX_DELAY=str(max_delay),
        ERROR_PROBABILITY="0",
        LOG_LEVEL="error",
    ) as running:
        yield f"http://127.0.0.1:{running.port}"


def seconds_since_end(final: Status, now: float) -> float:
    """Returns the seconds from a job's end to `now` on the wall clock, which server and client share here."""
    return now - datetime.fromisoformat(final.raw["completed_at"]).timestamp()


async def long_poll() -> list[Measurement]:
    """A thousand jobs, each waited for with long polls."""
    with server(15, 45) as url:  # no job ends while a thousand connections are opened
        async with AsyncClient(url, **LOGIN, long_poll=LONG_POLL) as client:
            await client.start()

            async def run() -> tuple[Status, float]:
                final = await client.run()
                return final, seconds_since_end(final, time.time())

            ends = await asyncio.gather(*(run() for _ in range(CROWD)))
    late = sorted(seconds for _, seconds in ends)
    over = max(final.cost.polls - math.ceil((final.elapsed or 0) / LONG_POLL) for final, _ in ends if final.cost)
    polls = sum(final.cost.polls for final, _ in ends if final.cost) / len(ends)
    name = f"long-poll, {CROWD:,} jobs"
    return [
        Measurement(f"{name}: requests per job", polls),
        Measurement(f"{name}: the most requests of a job beyond ⌈T/W⌉", over, at_most=1),
        Measurement(f"{name}: lateness, median, ms", 1000 * late[len(late) // 2]),
        Measurement(f"{name}: lateness, p99, ms", 1000 * late[len(late) * 99 // 100], at_most=20),
    ]


async def crowd() -> list[Measurement]:
    """A thousand waits that begin at once, without long polls."""
    polls = list[float]()

    def trace(item: Effect | Input) -> None:
        if isinstance(item, Send) and item.method == "GET":
            polls.append(time.monotonic())

    with server(10, 60) as url:
        async with AsyncClient(url, **LOGIN, long_poll=0, trace=trace) as client:
            await client.start()
            began = time.monotonic()
            waits = [asyncio.ensure_future(client.run()) for _ in range(CROWD)]
            spread = time.monotonic() - began
            ends = await asyncio.gather(*waits)
    seconds = Counter(int(at - min(polls)) for at in polls)
    mean = len(polls) / (max(polls) - min(polls))
    late = [final.cost.lateness for final in ends if final.cost and final.cost.lateness is not None]
    name = f"crowd of {CROWD:,}, hints alone"
    return [
        Measurement(f"{name}: begun within, ms", 1000 * spread, at_most=50),
        Measurement(f"{name}: requests per job", len(polls) / CROWD),
        Measurement(f"{name}: requests per second", mean),
        Measurement(f"{name}: busiest second ÷ mean second", max(seconds.values()) / mean, at_most=2.5),
        Measurement(f"{name}: lateness, mean, s", sum(late) / len(late)),
    ]


class Wait(NamedTuple):
    """A wait under a deadline.

    Attributes:
        job: The seconds that the job takes.
        timeout: The seconds to wait.
        hang: Where responses hang: "before" the headers, in "headers" or "body", "always" or "never".
        nth: Which response hangs.
    """

    job: float
    timeout: float
    hang: str
    nth: int


class Ended(NamedTuple):
    """The end of a wait.

    Attributes:
        over: Seconds from the deadline to the return.
        timed_out: Whether the wait ended with a timeout.
        job_ended: Whether the job had ended by the deadline.
        last_hung: Whether the last poll hung.
    """

    over: float
    timed_out: bool
    job_ended: bool
    last_hung: bool


async def _hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Counter[str]) -> None:
    """Answers polls. The id of a job says when it ends and which responses hang where, as `Wait` has it."""
    try:
        while request := await reader.readuntil(b"\r\n\r\n"):
            name = request.split(b" ", 2)[1].decode().rpartition("/")[2]
            hang, nth, end, _ = name.split("_")
            seen[name] += 1
            status = "completed" if time.monotonic() >= float(end) else "pending"
            body = json.dumps({"job_id": name, "status": status}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            if hang == "always" or (hang != "never" and seen[name] == int(nth)):
                part = {"headers": head[:30], "body": head + body[:10]}.get(hang, b"")
                writer.write(part)
                await writer.drain()
                await reader.read()  # until the client disconnects
                return
            writer.write(head + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def _serve_hanging(listener: socket.socket) -> None:
    async def serve() -> None:
        seen = Counter[str]()
        async with await asyncio.start_server(lambda r, w: _hanging(r, w, seen), sock=listener) as running:
            await running.serve_forever()

    asyncio.run(serve())


def _waits(seed: int, count: int) -> list[Wait]:
    draw = random.Random(seed)
    hangs = ["never", "never", "always", "before", "headers", "body"]
    return [
        Wait(draw.uniform(0.1, 2), draw.uniform(0.1, 2), draw.choice(hangs), draw.randint(1, 3)) for _ in range(count)
    ]


def _job_id(wait: Wait, number: int) -> str:
    return f"{wait.hang}_{wait.nth}_{time.monotonic() + wait.job}_{number}"


class _LastInput:
    """A trace that remembers the outcome of the last request."""

    value: Input | None = None

    def __call__(self, item: Effect | Input) -> None:
        if isinstance(item, Reply | Failure):
            self.value = item


def _ended(wait: Wait, job_id: str, deadline: float, last: _LastInput, *, timed_out: bool) -> Ended:
    over = time.monotonic() - deadline
    job_ended = wait.hang != "always" and float(job_id.split("_")[2]) < deadline - 0.05
    return Ended(over, timed_out, job_ended, isinstance(last.value, Failure))


def _wait_sync(url: str, waits: Sequence[tuple[int, Wait]]) -> list[Ended]:
    ends, last = list[Ended](), _LastInput()
    with Client(url, trace=last) as client:
        for _ in range(2):  # the client measures the round-trip time without the connect
            client.status("never_0_0_sync")
        for number, wait in waits:
            job_id, timed_out = _job_id(wait, number), False
            deadline = time.monotonic() + wait.timeout
            try:
                client.wait(job_id, timeout=wait.timeout)
            except JobTimeout:
                timed_out = True
            ends.append(_ended(wait, job_id, deadline, last, timed_out=timed_out))
    return ends


async def _wait_async(url: str, waits: Sequence[tuple[int, Wait]]) -> list[Ended]:
    ends, last = list[Ended](), _LastInput()
    async with AsyncClient(url, trace=last) as client:
        for _ in range(2):
            await client.status("never_0_0_async")
        for number, wait in waits:
            job_id, timed_out = _job_id(wait, number), False
            deadline = time.monotonic() + wait.timeout
            try:
                await client.wait(job_id, timeout=wait.timeout)
            except JobTimeout:
                timed_out = True
            ends.append(_ended(wait, job_id, deadline, last, timed_out=timed_out))
    return ends


async def deadlines() -> list[Measurement]:
    """Random deadlines of random jobs, on a server that hangs."""
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = context.Process(target=_serve_hanging, args=(listener,), daemon=True)
        process.start()
        try:
            waits = list(enumerate(_waits(1, DEADLINES)))
            shares = [waits[number :: 2 * CONCURRENCY] for number in range(2 * CONCURRENCY)]
            with ThreadPoolExecutor(CONCURRENCY) as threads:
                results = list(threads.map(_wait_sync, [url] * CONCURRENCY, shares[::2]))
            results += await asyncio.gather(*(_wait_async(url, share) for share in shares[1::2]))
        finally:
            process.terminate()
            process.join()
    ends = [end for result in results for end in result]
    over = sorted(1000 * end.over for end in ends if end.timed_out)
    missed = [end.last_hung for end in ends if end.timed_out and end.job_ended]
    name = f"{DEADLINES:,} deadlines"
    return [
        Measurement(f"{name}: latest return after the deadline, ms", 1000 * max(end.over for end in ends), at_most=50),
        Measurement(f"{name}: returns more than 50 ms after it", sum(end.over > 0.05 for end in ends), at_most=0),
        Measurement(f"{name}: timeouts", len(over)),
        Measurement(f"{name}: return after the deadline at a timeout, median, ms", over[len(over) // 2]),
        Measurement(f"{name}: timeouts of ended jobs whose last poll hung", sum(missed)),
        Measurement(f"{name}: false timeouts", len(missed) - sum(missed), at_most=0),
    ]


def _wait_for_many(url: str) -> list[Measurement]:
    """Waits for all of many jobs, in a process of its own because its memory is measured."""
    polls = 0

    def trace(item: Effect | Input) -> None:
        nonlocal polls
        match item:
            case Send(method="GET") | Listen(send=Send()):
                polls += 1

    async def wait() -> tuple[dict[str, Any], float]:
        async with AsyncClient(url, **LOGIN, long_poll=LONG_POLL, trace=trace) as client:
            await client.start()
            ids = list[str]()
            for first in range(0, MANY, BATCH):
                jobs = await asyncio.gather(*(client.start() for _ in range(min(BATCH, MANY - first))))
                ids += [job.id for job in jobs]
            return await client.wait_all(ids), time.time()

    ends, now = asyncio.run(wait())
    finals = [final for final in ends.values() if isinstance(final, Status)]
    last = min(seconds_since_end(final, now) for final in finals)
    name = f"wait_all of {MANY:,}"
    return [
        Measurement(f"{name}: jobs without a final status", MANY - len(finals), at_most=0),
        Measurement(f"{name}: from the last end to the return, s", last, at_most=2),
        Measurement(f"{name}: polls per job", polls / MANY, at_most=0.2),
        Measurement(f"{name}: memory, MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, at_most=300),
    ]


async def many() -> list[Measurement]:
    """Ten thousand jobs, waited for from one process."""
    with server(20, 60) as url, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return await asyncio.get_running_loop().run_in_executor(process, _wait_for_many, url)


SECTIONS = {"long-poll": long_poll, "crowd": crowd, "deadlines": deadlines, "many": many}


def main() -> int:
    """Measures, prints the table, and writes it into the page if asked to."""
    parser = argparse.ArgumentParser(description="Measure waits on a real server.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"one of {', '.join(SECTIONS)} (default all)")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="also write the table into docs/waiting.md")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"unknown section: {', '.join(sorted(unknown))}")
    if options.write and options.sections:
        parser.error("--write writes all sections; name none")
    harness.require_tools()
    interference = harness.Interference()
    measurements = [one for name in options.sections or SECTIONS for one in asyncio.run(SECTIONS[name]())]
    machine = harness.machine(interference.share(), divided=False)
    if options.json:
        print(json.dumps([one._asdict() | {"passed": one.passed} for one in measurements], indent=1))
    else:
        print(machine, table(measurements), sep="\n\n")
    if options.write:
        write("waiting.md", "live", f"{machine}\n\n{table(measurements)}")
    return any(one.passed is False for one in measurements)


if __name__ == "__main__":
    sys.exit(main())
