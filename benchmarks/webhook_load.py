"""Deliveries of webhooks beside polls, and the memory that many deliveries take; `server.py` runs it."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import harness
from tables import Measurement

RATE = 180.0  # deliveries per second while polls are measured; the target is 10,000 a minute, and jobs end at random
DELAY, SPREAD = 100.0, 60.0  # on the sandbox's clock, the jobs end within SPREAD seconds after DELAY seconds
ROUNDS, SECONDS = 4, 3
JOBS = 100  # jobs that are polled in turn
FASTEST = 1_000_000.0
PATIENCE = 900.0
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Receiver(asyncio.Protocol):
    """Accepts each delivery at once, and counts it."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins a request."""
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answers as soon as a request is complete, and keeps the connection."""
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if found and length and len(body) >= int(length[1]) and isinstance(self.transport, asyncio.Transport):
            Receiver.count += 1
            self.received = b""
            self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


@contextmanager
def receiving() -> Iterator[str]:
    """Runs a receiver in a thread; yields its URL."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Receiver, "127.0.0.1", 0, backlog=1000))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def measure(count: int) -> Iterator[Measurement]:
    """Polls while webhooks are delivered, against polls of the same server while its clock stands still."""
    Receiver.count = 0
    with receiving() as url, harness.ours() as server:

        def post(path: str, **fields: object) -> None:
            server.request("PATCH" if path == "/sandbox" else "POST", path, json.dumps(fields))

        polls = harness.submit_jobs(server, JOBS)
        delay = {"kind": "uniform", "min": DELAY, "max": DELAY + SPREAD}
        post("/sandbox", webhook={"url": url, "secret": "whsec_c2VjcmV0"}, delay=delay)
        post("/sandbox/clock", frozen=True)
        jobs = 0
        while jobs < count:
            jobs += harness.load(server, [harness.SUBMISSION], 1).requests
        post("/sandbox/clock", advance=DELAY)
        loads: dict[bool, list[harness.Load]] = {True: [], False: []}
        delivered, seconds = 0, 0.0
        for _ in range(ROUNDS):
            post("/sandbox/clock", frozen=True)
            harness.wait_until_idle(server)
            loads[False].append(harness.load(server, polls, SECONDS))
            post("/sandbox/clock", frozen=False, speed=RATE * SPREAD / jobs)
            before, began = Receiver.count, time.monotonic()
            loads[True].append(harness.load(server, polls, SECONDS))
            delivered, seconds = delivered + Receiver.count - before, seconds + time.monotonic() - began
        _wait_for(jobs // 10)
        post("/sandbox/clock", speed=FASTEST)
        began, before = time.monotonic(), Receiver.count
        _wait_for(jobs // 2)
        memory = server.memory()
        _wait_for(jobs)
        took, growth = time.monotonic() - began, server.memory() / memory
    yield Measurement("webhooks beside polls: deliveries a minute", 60 * delivered / seconds, at_least=10_000)
    with_deliveries, without = (min(load.p99 for load in loads[key]) for key in (True, False))  # the quietest rounds
    yield Measurement("polls meanwhile: p99 ÷ that without deliveries", with_deliveries / without, at_most=1.5)
    yield Measurement("webhooks without polls: deliveries a minute", 60 * (jobs - before) / took)
    yield Measurement(f"memory after {jobs:,} deliveries ÷ after half of them", growth, at_most=1.1)


def _wait_for(count: int) -> None:
    until = time.monotonic() + PATIENCE
    while Receiver.count < count:
        if time.monotonic() > until:
            raise RuntimeError(f"only {Receiver.count} of {count} webhooks were delivered")
        time.sleep(0.05)
