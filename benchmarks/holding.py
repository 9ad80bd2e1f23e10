"""Held looks from a process of its own, thousands of them, each on its own connection; `server.py` runs it.

    python benchmarks/holding.py PORT SECONDS < paths

Every path that stdin gives is looked at with `Prefer: wait=SECONDS`, again and again until its job has ended. "asked"
is printed when every look is on its way, and at the end one line of JSON, an `Ends`.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import stage

AT_ONCE = 256  # connections being made
TIMEOUT = 300.0


class Ends(NamedTuple):
    """The wall clock at the last answer, the seconds from each job's end to its answer, and how many 503 there were."""

    last: float
    lateness: list[float]
    refused: int


class Holder(NamedTuple):
    """The process that looks, for those who measure."""

    process: "subprocess.Popen[str]"

    def ends(self) -> Ends:
        """Wait until every job has ended.

        Raises:
            RuntimeError: a look was not answered.
        """
        assert self.process.stdout is not None  # noqa: S101 - asked for
        told = self.process.stdout.read()
        if self.process.wait():
            raise RuntimeError("not every held look was answered")
        return Ends(**json.loads(told))


@contextmanager
def holding(server: stage.Running, paths: Sequence[str], seconds: int) -> Iterator[Holder]:
    """A process that looks at every path at once, from when it has asked for all."""
    command = stage.pinned(stage.LOADING, [sys.executable, __file__, server.port, seconds])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None  # noqa: S101 - asked for
        assert process.stdout is not None  # noqa: S101 - asked for
        try:
            process.stdin.write("\n".join(paths))
            process.stdin.close()
            process.stdout.readline()
            yield Holder(process)
        finally:
            process.kill()


class JobSnapshot(asyncio.Protocol):
    """One connection that looks at one job."""

    def __init__(self, request: bytes) -> None:
        self.ended: asyncio.Future[tuple[float, bytes]] = asyncio.get_running_loop().create_future()
        self.refused = 0
        self._request = request
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - it is one of TCP
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Look again while the job is pending, and a second later where there is a 503."""
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
        """Tell, where that was too early."""
        self._fail(f"the connection was lost: {exc}")

    def _fail(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(RuntimeError(why))


async def hold(port: int, seconds: int, paths: list[str]) -> Ends:
    """Look at each path until its job has ended."""
    loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)
    headers = f"Host: 127.0.0.1\r\nAuthorization: {stage.AUTHORIZATION}\r\nPrefer: wait={seconds}\r\n\r\n"

    async def snapshot(path: str) -> JobSnapshot:
        request = f"GET {path} HTTP/1.1\r\n{headers}".encode()
        async with gate:
            return (await loop.create_connection(lambda: JobSnapshot(request), "127.0.0.1", port))[1]

    snapshots = await asyncio.gather(*map(snapshot, paths))
    print("asked", flush=True)
    async with asyncio.timeout(TIMEOUT):
        ends = await asyncio.gather(*(snapshot.ended for snapshot in snapshots))
    refused = sum(snapshot.refused for snapshot in snapshots)
    return Ends(max(at for at, _ in ends), [at - _completed(body) for at, body in ends], refused)


def _completed(body: bytes) -> float:
    return datetime.fromisoformat(json.loads(body)["completed_at"]).timestamp()


if __name__ == "__main__":
    stage.needed()
    print(json.dumps(asyncio.run(hold(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.read().split()))._asdict()))
