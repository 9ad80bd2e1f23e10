"""Thousands of long polls from one process, each on a connection of its own; `server.py` runs it.

    python benchmarks/long_polls.py PORT SECONDS < paths

It polls every path on stdin with `Prefer: wait=SECONDS` until the job has ended. It prints "sent" when every poll is
sent, and at the end one line of JSON with the fields of `Ends`.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, NamedTuple, cast

import harness

CONNECTING = 256  # connections that are opened at a time
TIMEOUT = 300.0


class Ends(NamedTuple):
    """The wall time of the last response, each job's lateness in seconds, and the number of 503 responses."""

    last: float
    lateness: list[float]
    refused: int


class Poller(NamedTuple):
    """The process that polls."""

    process: "subprocess.Popen[str]"
    output: IO[str]

    def ends(self) -> Ends:
        """Waits until every job has ended.

        Raises:
            RuntimeError: a poll was not answered.
        """
        result = self.output.read()
        if self.process.wait():
            raise RuntimeError("a long poll was not answered")
        return Ends(**json.loads(result))


@contextmanager
def long_polls(server: harness.Server, paths: Sequence[str], seconds: int) -> Iterator[Poller]:
    """Runs a process that polls every path, from when it has sent all polls."""
    command = harness.pin(harness.LOAD_CORES, [sys.executable, __file__, server.port, seconds])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        to_process, from_process = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)  # both are pipes
        try:
            to_process.write("\n".join(paths))
            to_process.close()
            from_process.readline()
            yield Poller(process, from_process)
        finally:
            process.kill()


class LongPoll(asyncio.Protocol):
    """A connection that polls one job.

    Attributes:
        ended: The wall time and the body of the response that says that the job has ended.
        refused: The number of 503 responses.
    """

    def __init__(self, request: bytes) -> None:
        self.ended: asyncio.Future[tuple[float, bytes]] = asyncio.get_running_loop().create_future()
        self.refused = 0
        self._request = request
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first poll."""
        self._transport = cast("asyncio.WriteTransport", transport)  # TCP has this kind
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Polls again while the job is pending, and one second after a 503."""
        now = time.time()
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        if not length or len(body) < int(length) or self._transport is None:
            return
        self._received = b""
        if head.startswith(b"HTTP/1.1 503"):
            self.refused += 1
            asyncio.get_running_loop().call_later(1, self._transport.write, self._request)
        elif not head.startswith(b"HTTP/1.1 200"):
            self._fail(head.decode())
        elif b'"completed_at":null' in body:
            self._transport.write(self._request)
        elif not self.ended.done():
            self.ended.set_result((now, body))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails if the job has not ended."""
        self._fail(f"the connection was lost: {exc}")

    def _fail(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(RuntimeError(reason))


async def main(port: int, seconds: int, paths: list[str]) -> Ends:
    """Polls each path until its job has ended."""
    loop, connecting = asyncio.get_running_loop(), asyncio.Semaphore(CONNECTING)
    headers = f"Host: 127.0.0.1\r\nAuthorization: {harness.AUTHORIZATION}\r\nPrefer: wait={seconds}\r\n\r\n"

    async def connect(path: str) -> LongPoll:
        request = f"GET {path} HTTP/1.1\r\n{headers}".encode()
        async with connecting:
            return (await loop.create_connection(lambda: LongPoll(request), "127.0.0.1", port))[1]

    polls = await asyncio.gather(*map(connect, paths))
    print("sent", flush=True)
    async with asyncio.timeout(TIMEOUT):
        ends = await asyncio.gather(*(poll.ended for poll in polls))
    lateness = [at - datetime.fromisoformat(json.loads(body)["completed_at"]).timestamp() for at, body in ends]
    return Ends(max(at for at, _ in ends), lateness, sum(poll.refused for poll in polls))


if __name__ == "__main__":
    harness.require_tools()
    print(json.dumps(asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.read().split()))._asdict()))
