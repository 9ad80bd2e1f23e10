"""How many polls an async client makes per second of processor time: ours, and bare httpx2 and httpx.

    python benchmarks/async_polls.py [--write] [--rounds N]

A server that answers every poll at once runs in a process of its own. Each round runs each client once at each number
of polls at once, one client after the other; the numbers are medians over the rounds. A client that polls as often as
it can is limited by its processor. So these are its polls per second on a machine with nothing else to do.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from statistics import median

import httpx
import httpx2

import harness
import tables
from translation_client import AsyncClient

AT_ONCE = (1, 8, 32, 100)
SECONDS = 0.3  # of processor time, for one client in one round
USER = ("admin", "secretpassword")
LIMIT = 1000  # connections, as our client has
TARGETS = {32: 0.6}  # polls of our client for each one of bare httpx2, by how many are made at once
BODY = b'{"job_id": "j1", "status": "pending", "result": "pending"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)

Poll = Callable[[], Awaitable[object]]


class Answers(asyncio.Protocol):
    """A connection that answers every request with the same job."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins to count."""
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answers each request that is complete."""
        *requests, self._received = (self._received + data).split(b"\r\n\r\n")
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.write(ANSWER * len(requests))


async def serve() -> None:
    """Serves, and prints the port."""
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0, backlog=LIMIT)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def rate(poll: Poll, at_once: int) -> float:
    """Returns the polls per second of processor time, after some that open the connections."""

    async def polls(seconds: float) -> float:
        begin, made = time.process_time(), 0

        async def task() -> None:
            nonlocal made
            while True:
                await poll()
                made += 1
                if time.process_time() - begin > seconds:
                    return

        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(task())
        return made / (time.process_time() - begin)

    await polls(0)
    return await polls(SECONDS)


async def bare_httpx2(url: str, at_once: int) -> float:
    """Polls with httpx2 alone."""
    limits = httpx2.Limits(max_connections=LIMIT, max_keepalive_connections=LIMIT)
    async with httpx2.AsyncClient(auth=USER, limits=limits, trust_env=False) as http:
        return await rate(lambda: http.get(f"{url}/status/j1"), at_once)


async def bare_httpx(url: str, at_once: int) -> float:
    """Polls with httpx alone."""
    limits = httpx.Limits(max_connections=LIMIT, max_keepalive_connections=LIMIT)
    async with httpx.AsyncClient(auth=USER, limits=limits, trust_env=False) as http:
        return await rate(lambda: http.get(f"{url}/status/j1"), at_once)


async def ours(url: str, at_once: int) -> float:
    """Polls with our client and its own connections."""
    async with AsyncClient(url, username=USER[0], password=USER[1]) as client:
        return await rate(lambda: client.status("j1"), at_once)


async def ours_on_httpx2(url: str, at_once: int) -> float:
    """Polls with our client and an `http_client` of httpx2, whose connections are in one pool."""
    limits = httpx2.Limits(max_connections=LIMIT, max_keepalive_connections=LIMIT)
    async with httpx2.AsyncClient(limits=limits, trust_env=False) as http:
        client = AsyncClient(url, username=USER[0], password=USER[1], http_client=http)
        return await rate(lambda: client.status("j1"), at_once)


async def ours_on_httpx(url: str, at_once: int) -> float:
    """Polls with our client and an `http_client` of httpx."""
    limits = httpx.Limits(max_connections=LIMIT, max_keepalive_connections=LIMIT)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as http:
        client = AsyncClient(url, username=USER[0], password=USER[1], http_client=http)
        return await rate(lambda: client.status("j1"), at_once)


CLIENTS = {
    "httpx2": bare_httpx2,
    "our client": ours,
    "our client with `http_client=httpx2.AsyncClient()`": ours_on_httpx2,
    "httpx": bare_httpx,
    "our client with `http_client=httpx.AsyncClient()`": ours_on_httpx,
}


def measure(url: str, rounds: int) -> str:
    """Returns the table and the target."""
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for at_once in AT_ONCE:
            for name, client in CLIENTS.items():
                rates[name, at_once].append(asyncio.run(client(url, at_once)))
    lines = [
        f"| polls per second of processor time | {' | '.join(f'{n} at once' for n in AT_ONCE)} |",
        "|---|" + "---|" * len(AT_ONCE),
        *(
            f"| {name} | {' | '.join(tables.number(median(rates[name, at_once])) for at_once in AT_ONCE)} |"
            for name in CLIENTS
        ),
    ]
    measured = [
        tables.Measurement(
            f"polls of our client for each of httpx2, {at_once} at once, median",
            median(
                own / bare for own, bare in zip(rates["our client", at_once], rates["httpx2", at_once], strict=True)
            ),
            at_least=TARGETS.get(at_once),
        )
        for at_once in AT_ONCE
    ]
    return "\n".join(lines) + "\n\n" + tables.table(measured)


def main() -> None:
    """Measures, prints the tables and writes them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the tables in docs/waiting.md")
    parser.add_argument("--rounds", type=int, default=5, help="how many rounds (5)")
    options = parser.parse_args()
    interference = harness.Interference()
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().strip() if server.stdout else ""
            text = measure(f"http://127.0.0.1:{port}", options.rounds)
        finally:
            server.terminate()
    text = f"{harness.machine(interference.share(), divided=False)}\n\n{text}"
    print(text)
    if options.write:
        tables.write("waiting.md", "polls", text)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        main()
