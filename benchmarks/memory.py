"""A million requests, with the journal on: does the server's memory stay flat?

    python benchmarks/memory.py            a table; exit status 1 if it grows by more than a tenth
    python benchmarks/memory.py 100000     with fewer requests

The server runs in a process of its own, on Linux, whose /proc tells how much memory it holds. Memory counts as flat
from the first tenth on: by then the journal is full and every pool has its size.
"""

import asyncio
import base64
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOGIN = ("admin", "secretpassword")
REQUESTS, CONNECTIONS, STEPS = 1_000_000, 32, 10
GROWTH = 1.1


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """A server, and its port and process id."""
    settings = {
        "API_USERNAME": LOGIN[0],
        "API_PASSWORD": LOGIN[1],
        "MIN_DELAY": "1000",
        "MAX_DELAY": "1000",
        "PORT": "0",
    }
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "translation_server"],
            cwd=folder,
            env=os.environ | settings,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None  # noqa: S101 - it was asked for
        try:
            port = next(
                int(found[1]) for line in process.stderr if (found := re.search(r"listening on .*:(\d+)", line))
            )
            yield port, process.pid
        finally:
            process.terminate()
            process.communicate()


def memory(pid: int) -> float:
    """MiB that a process holds."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


async def ask(port: int, requests: int) -> None:
    """Submits a job and looks at it so often, over one connection."""
    login = base64.b64encode(":".join(LOGIN).encode()).decode()
    head = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {login}\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def answer(request: str) -> str:
        writer.write(request.encode())
        headers = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.findall(r"content-length: (\d+)", headers, re.IGNORECASE)
        return headers + (await reader.readexactly(int(length[0]))).decode()

    accepted = await answer(f"POST /start {head}Content-Length: 0\r\n\r\n")
    path = re.findall(r"location: (\S+)", accepted, re.IGNORECASE)[0]
    for _ in range(requests - 1):
        if " 200 " not in await answer(f"GET {path} {head}\r\n"):
            raise RuntimeError("a look was not answered")
    writer.close()


async def main(requests: int) -> int:
    """Prints the table, and says whether memory stayed flat."""
    sizes = []
    with server() as (port, pid):
        print("| requests | seconds | MiB |")
        print("|---|---|---|")
        began = time.monotonic()
        for step in range(1, STEPS + 1):
            each = requests // STEPS // CONNECTIONS
            await asyncio.gather(*(ask(port, each) for _ in range(CONNECTIONS)))
            sizes.append(memory(pid))
            print(f"| {step * each * CONNECTIONS:,} | {time.monotonic() - began:.0f} | {sizes[-1]:.1f} |", flush=True)
    growth = max(sizes) / sizes[0]
    print(f"\nThe most over the first: {growth:.3f}, at most {GROWTH} is flat.")
    return int(growth > GROWTH)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else REQUESTS)))
