"""One client in several processes, event loops and threads: each gets the answers to its own requests."""

import asyncio
import gc
import os
import re
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import BOTH_SIDES
from translation_client import AsyncClient, Client
from translation_client.client import shared_http

FORKS = """
import asyncio, multiprocessing, os, sys
from translation_client import AsyncClient, Client

url, method = sys.argv[1:]
client = AsyncClient(url) if "async" in method else Client(url)

def poll(name):
    for _ in range(5):
        if isinstance(client, Client):
            assert client.status(name).id == name
        else:
            async def twice():
                assert (await client.status(name)).id == (await client.status(name)).id == name
            asyncio.run(twice())

def work(name):
    poll(name)
    if isinstance(client, Client):
        client.close()

poll("parent")
if "multiprocessing" in method:
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=work, args=(name,)) for name in ("a", "b", "c")]
    for child in children: child.start()
    for child in children: child.join()
    assert all(child.exitcode == 0 for child in children)
else:
    for name in ("a", "b", "c"):
        if not os.fork():
            try:
                work(name)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
    assert all(os.wait()[1] == 0 for _ in range(3))
work("parent")
"""

CLOSED_BY_THE_PARENT = """
import os, sys
from translation_client import Client

with Client(sys.argv[1]) as client:
    client.status("parent")
    if not os.fork():
        sys.stdin.read()
        os._exit(0)
sys.stdin.read()
os.wait()
"""

IN_THE_MIDDLE = """
import os, sys
from translation_client.drivers.transport import Transport
from translation_client.http_library import httpx

url = sys.argv[1]
with httpx.Client(transport=Transport(httpx.URL(url))) as http, http.stream("GET", url) as response:
    chunks = response.iter_raw()
    print(next(chunks).decode(), flush=True)
    if not (child := os.fork()):
        try:
            next(chunks)
        except httpx.TransportError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    print("forked", flush=True)
    print(next(chunks).decode(), flush=True)
"""

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


class Jobs:
    """A bare server that has every job, and records the jobs polled on each connection."""

    def __init__(self):
        self.connections = []
        self.closed = threading.Event()

    def __call__(self, connection, _):
        self.connections.append(polled := [])
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
            while b"\r\n\r\n" in received:
                head, received = received.split(b"\r\n\r\n", 1)
                name = re.match(rb"GET /status/(\S+)", head)[1]
                polled.append(name.decode())
                body = b'{"job_id": "%s", "status": "completed"}' % name
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        self.closed.set()


@pytest.fixture
def jobs():
    return Jobs()


@pytest.fixture
def program():
    def begin(source, *arguments):
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", source, *arguments],
            env=os.environ | BOTH_SIDES,
            stdin=-1,
            stdout=-1,
            stderr=-1,
            text=True,
        )

    return begin


@forking
@pytest.mark.parametrize("method", ["os.fork", "multiprocessing", "async os.fork", "async multiprocessing"])
def test_each_process_has_connections_of_its_own(listen, jobs, program, method):
    with listen(jobs) as url, program(FORKS, url, method) as process:
        _, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")
    assert all(len(set(names)) == 1 for names in jobs.connections)
    if "async" not in method:
        assert sorted(set(names).pop() for names in jobs.connections) == ["a", "b", "c", "parent"]


@forking
def test_connection_closed_by_the_parent_is_closed_despite_a_forked_child(listen, jobs, program):
    with listen(jobs) as url, program(CLOSED_BY_THE_PARENT, url) as process:
        assert jobs.closed.wait(60)
        assert process.poll() is None
        _, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")


@forking
def test_forked_child_does_not_read_from_its_parents_connection(listen, program):
    go_on = threading.Event()

    def halves(connection, _):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nfirst.")
        go_on.wait()
        connection.sendall(b"second")

    with listen(halves) as url, program(IN_THE_MIDDLE, url) as process:
        try:
            assert [process.stdout.readline(), process.stdout.readline()] == ["first.\n", "forked\n"]
        finally:
            go_on.set()
        output = process.communicate()
    assert (process.returncode, output) == (0, ("second\n", ""))


@pytest.mark.parametrize("shared", [False, True])
def test_each_event_loop_has_connections_of_its_own(listen, jobs, shared):
    async def poll(client, name):
        assert [(await client.status(name)).id for _ in range(3)] == [name] * 3

    with listen(jobs) as url:
        client = AsyncClient(url, http_client=shared_http(url) if shared else None)
        for name in ("one", "two"):
            asyncio.run(poll(client, name))
            assert jobs.closed.wait(60)
            jobs.closed.clear()
    assert jobs.connections == [["one"] * 3, ["two"] * 3]


def test_async_client_works_in_the_loops_of_several_threads(listen, jobs):
    async def poll(client, name):
        statuses = await asyncio.gather(*(client.status(name) for _ in range(20)))
        assert {status.id for status in statuses} == {name}

    with listen(jobs) as url, ThreadPoolExecutor(4) as threads:
        client = AsyncClient(url)
        list(threads.map(lambda number: asyncio.run(poll(client, f"j{number}")), range(8)))
    assert all(len(set(names)) == 1 for names in jobs.connections)
    assert sum(map(len, jobs.connections)) == 8 * 20


def test_closing_in_one_loop_keeps_the_connections_of_another(listen, jobs):
    async def poll(client):
        await client.status("one")
        await asyncio.to_thread(asyncio.run, close(client))
        with pytest.raises(RuntimeError, match="closed"):
            await client.status("one")

    async def close(client):
        await client.status("two")
        await client.aclose()

    with listen(jobs) as url:
        asyncio.run(poll(AsyncClient(url)))
    assert jobs.connections == [["one"], ["two"]]


def test_connections_of_a_closed_loop_close_when_the_next_loop_starts(listen, jobs):
    with listen(jobs) as url:
        client = AsyncClient(url)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(client.status("one"))
        loop.close()  # without what asyncio.run does before
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # of that loop's sockets
            asyncio.run(client.status("two"))
            gc.collect()
        assert jobs.closed.wait(60)
    assert jobs.connections == [["one"], ["two"]]


def test_threads_share_a_client(listen, jobs):
    with listen(jobs) as url, Client(url) as client, ThreadPoolExecutor(8) as threads:
        names = [f"j{number % 8}" for number in range(160)]
        assert [status.id for status in threads.map(client.status, names)] == names
    assert len(jobs.connections) <= 8
