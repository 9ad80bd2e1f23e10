"""Waits on a real server on the loopback interface: long-polls, a crowd, deadlines, ten thousand jobs.

    python benchmarks/live.py            a table; exit status 1 if a target is missed
    python benchmarks/live.py --json     the same for programs
    python benchmarks/live.py --write    also puts the table into docs/waiting.md
    python benchmarks/live.py crowd      one of: long-poll, crowd, deadlines, many

The server runs in a process of its own. Lateness is told by its clock, which is this machine's too.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from translation_client import AsyncClient, Client, JobTimeout, Status
from translation_client.core.effects import Effect, Failure, Input, Listen, Reply, Send

PAGE = Path(__file__).parent.parent / "docs" / "waiting.md"
BEGIN, END = "<!-- live:begin -->", "<!-- live:end -->"

LOGIN: dict[str, Any] = {"username": "admin", "password": "secretpassword"}
CROWD, MANY, DEADLINES = 1_000, 10_000, 1_000
LONG_POLL = 10.0  # seconds: W, so that a wait takes several long polls
BATCH = 50  # starts at a time
AT_ONCE = 12  # waits under a deadline


class Line(NamedTuple):
    """One measurement; it passes where it is at most the target."""

    of: str
    what: str
    measured: float
    target: float | None

    @property
    def passed(self) -> bool:
        """Whether the target is met."""
        return self.target is None or self.measured <= self.target

    def __str__(self) -> str:
        target = "" if self.target is None else f"{self.target:g}"
        return f"| {self.of} | {self.what} | {self.measured:.4g} | {target} | {'' if self.passed else 'missed'} |"


@contextmanager
def server(least: float, most: float) -> Iterator[str]:
    """A server whose jobs take from `least` to `most` seconds, and its address."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        settings = {
            "API_USERNAME": LOGIN["username"],
            "API_PASSWORD": LOGIN["password"],
            "MIN_DELAY": str(least),
            "MAX_DELAY": str(most),
            "ERROR_PROBABILITY": "0",
            "PORT": str(port),
            "LOG_LEVEL": "error",
        }
        process = subprocess.Popen([sys.executable, "-m", "translation_server"], cwd=folder, env=os.environ | settings)
        try:
            until = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < until:
                with socket.socket() as attempt:
                    if not attempt.connect_ex(("127.0.0.1", port)):
                        break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


@asynccontextmanager
async def started(url: str, count: int, trace: Callable[[Effect | Input], object]) -> AsyncIterator[Any]:
    """A client, and the ids of so many new jobs."""
    async with AsyncClient(url, **LOGIN, long_poll=LONG_POLL, trace=trace) as client:
        await client.start()
        ids = list[str]()
        for first in range(0, count, BATCH):
            jobs = await asyncio.gather(*(client.start() for _ in range(min(BATCH, count - first))))
            ids += [job.id for job in jobs]
        yield client, ids


def late_by(final: Status, now: float) -> float:
    """Seconds from a job's end to now, both by the wall clock that server and client share here."""
    return now - datetime.fromisoformat(final.raw["completed_at"]).timestamp()


async def long_poll() -> list[Line]:
    """A thousand jobs, each waited for with long polls."""
    with server(15, 45) as url:  # nothing ends while a thousand connections are being made
        async with AsyncClient(url, **LOGIN, long_poll=LONG_POLL) as client:
            await client.start()

            async def run() -> tuple[Status, float]:
                final = await client.run()
                return final, late_by(final, time.time())

            ends = await asyncio.gather(*(run() for _ in range(CROWD)))
    late = sorted(seconds for _, seconds in ends)
    over = max(final.cost.polls - math.ceil((final.elapsed or 0) / LONG_POLL) for final, _ in ends if final.cost)
    polls = sum(final.cost.polls for final, _ in ends if final.cost) / len(ends)
    of = f"long-poll, {CROWD} jobs"
    return [
        Line(of, "requests per job", polls, None),
        Line(of, "requests of a job beyond ⌈T/W⌉, at most", over, 1),
        Line(of, "lateness, median, ms", 1000 * late[len(late) // 2], None),
        Line(of, "lateness, p99, ms", 1000 * late[len(late) * 99 // 100], 20),
    ]


async def crowd() -> list[Line]:
    """A thousand waiters at once without long-poll."""
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
    of = f"crowd of {CROWD}, hints alone"
    return [
        Line(of, "started within, ms", 1000 * spread, 50),
        Line(of, "requests per job", len(polls) / CROWD, None),
        Line(of, "requests per second", mean, None),
        Line(of, "busiest second over the mean second", max(seconds.values()) / mean, 2.5),
        Line(of, "lateness, mean, s", sum(late) / len(late), None),
    ]


class Wait(NamedTuple):
    """One wait under a deadline: seconds that the job takes and that are waited, and which answers hang where."""

    job: float
    timeout: float
    hang: str
    nth: int


class Ended(NamedTuple):
    """How a wait went."""

    over: float
    timed_out: bool
    ended_before: bool
    last_hung: bool


async def _hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Counter[str]) -> None:
    """Answer polls; the name of a job says when it ends and which answers hang: before, within headers or body."""
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
                await reader.read()  # until the client has had enough
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


def _name(wait: Wait, number: int) -> str:
    return f"{wait.hang}_{wait.nth}_{time.monotonic() + wait.job}_{number}"


def _ended(wait: Wait, name: str, deadline: float, last: Input | None, *, timed_out: bool) -> Ended:
    over = time.monotonic() - deadline
    ended_before = wait.hang != "always" and float(name.split("_")[2]) < deadline - 0.05
    return Ended(over, timed_out, ended_before, isinstance(last, Failure))


class _Last:
    """Remembers what came of the last request of a wait."""

    event: Input | None = None

    def __call__(self, item: Effect | Input) -> None:
        if isinstance(item, Reply | Failure):
            self.event = item


def _wait_sync(url: str, waits: Sequence[tuple[int, Wait]]) -> list[Ended]:
    kept, last = list[Ended](), _Last()
    with Client(url, trace=last) as client:
        for _ in range(2):  # so that it knows how long a round trip takes, connecting not counted
            client.status("never_0_0_sync")
        for number, wait in waits:
            name, timed_out = _name(wait, number), False
            deadline = time.monotonic() + wait.timeout
            try:
                client.wait(name, timeout=wait.timeout)
            except JobTimeout:
                timed_out = True
            kept.append(_ended(wait, name, deadline, last.event, timed_out=timed_out))
    return kept


async def _wait_async(url: str, waits: Sequence[tuple[int, Wait]]) -> list[Ended]:
    kept, last = list[Ended](), _Last()
    async with AsyncClient(url, trace=last) as client:
        for _ in range(2):
            await client.status("never_0_0_async")
        for number, wait in waits:
            name, timed_out = _name(wait, number), False
            deadline = time.monotonic() + wait.timeout
            try:
                await client.wait(name, timeout=wait.timeout)
            except JobTimeout:
                timed_out = True
            kept.append(_ended(wait, name, deadline, last.event, timed_out=timed_out))
    return kept


async def deadlines() -> list[Line]:
    """Random deadlines of random jobs, and servers that hang."""
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = context.Process(target=_serve_hanging, args=(listener,), daemon=True)
        process.start()
        try:
            waits = list(enumerate(_waits(1, DEADLINES)))
            sync, others = waits[::2], waits[1::2]
            with ThreadPoolExecutor(AT_ONCE) as threads:
                shares = list(threads.map(_wait_sync, [url] * AT_ONCE, [sync[n::AT_ONCE] for n in range(AT_ONCE)]))
            shares += await asyncio.gather(*(_wait_async(url, others[n::AT_ONCE]) for n in range(AT_ONCE)))
            kept = [one for share in shares for one in share]
        finally:
            process.terminate()
            process.join()
    over = sorted(one.over for one in kept if one.timed_out)
    silent = sum(one.timed_out and one.ended_before and one.last_hung for one in kept)
    false = sum(one.timed_out and one.ended_before and not one.last_hung for one in kept)
    of = f"{DEADLINES} deadlines"
    return [
        Line(of, "returns after the deadline, at most, ms", 1000 * max(one.over for one in kept), 50),
        Line(of, "returns more than 50 ms after it", sum(one.over > 0.05 for one in kept), 0),
        Line(of, "timeouts", len(over), None),
        Line(of, "timeouts after the deadline, median, ms", 1000 * over[len(over) // 2], None),
        Line(of, "ended jobs whose last poll hung, so that nobody could know", silent, None),
        Line(of, "false timeouts", false, 0),
    ]


def _wait_for_many(url: str) -> list[Line]:
    """Wait for all of many jobs, in a process of its own; its memory is measured too."""
    polls = Counter[str]()

    def trace(item: Effect | Input) -> None:
        match item:
            case Send(method="GET") | Listen(send=Send()):
                polls["polls"] += 1

    async def wait() -> tuple[dict[str, Any], float]:
        async with started(url, MANY, trace) as (client, ids):
            ends = await client.wait_all(ids)
            return ends, time.time()

    ends, now = asyncio.run(wait())
    finals = [final for final in ends.values() if isinstance(final, Status)]
    of = f"wait_all of {MANY}"
    return [
        Line(of, "jobs without a final status", MANY - len(finals), 0),
        Line(of, "from the last end to the return, s", min(late_by(final, now) for final in finals), 2),
        Line(of, "polls per job", polls["polls"] / MANY, 0.2),
        Line(of, "memory, MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 300),
    ]


async def many() -> list[Line]:
    """Ten thousand jobs, waited for from one process."""
    with server(20, 60) as url, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return await asyncio.get_running_loop().run_in_executor(process, _wait_for_many, url)


PARTS = {"long-poll": long_poll, "crowd": crowd, "deadlines": deadlines, "many": many}


def table(lines: Sequence[Line]) -> str:
    """The measurements as a table in Markdown."""
    return "\n".join(["| of | what | measured | at most | |", "|---|---|---|---|---|", *map(str, lines)])


def main() -> int:
    """Measure, print, and put the table into the page."""
    parser = argparse.ArgumentParser(description="Measure waits on a real server.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)} (default all)")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--write", action="store_true", help="also put the table into docs/waiting.md")
    options = parser.parse_args()
    if strangers := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(strangers))}")
    lines = [line for name in options.parts or PARTS for line in asyncio.run(PARTS[name]())]
    if options.json:
        print(json.dumps([line._asdict() | {"passed": line.passed} for line in lines], indent=1))
    else:
        print(table(lines))
    if options.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{table(lines)}\n\n{END}{after}", encoding="utf-8")
    return not all(line.passed for line in lines)


if __name__ == "__main__":
    sys.exit(main())
