"""The deadline on real sockets, with servers that hang at any point.

`benchmarks/live.py deadlines` measures by how many milliseconds a wait outlasts its deadline.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from translation_client import AsyncClient, Client, JobTimeout
from translation_client.core.effects import Reply, Send
from translation_client.core.schedule import Exponential

BODY = b'{"job_id": "%s", "status": "%s", "elapsed_time": 1}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nPreference-Applied: wait=9\r\n\r\n"
SLOW, NEVER = 20.0, 600.0  # seconds: more than any machine needs, and longer than any test lasts


def answers(word, job_id=b"j1"):
    body = BODY % (job_id, word)
    return HEAD % len(body) + body


def test_hanging_server_does_not_delay_the_end_of_a_wait(listen):
    rng = Random(7)  # noqa: S311 - the same at each run

    def handle(connection, over):
        while request := connection.recv(65_536):
            whole = answers(b"pending")
            if b"/status/j0 " in request:
                connection.sendall(answers(b"completed", b"j0"))
            elif rng.random() < 0.4:  # hangs somewhere in its answer
                connection.sendall(whole[: rng.randrange(len(whole))])
                over.wait()
                return
            else:
                connection.sendall(whole)

    def lateness(timeout):
        with Client(url, schedule=Exponential(0.05, 1, 0.05), request_timeout=NEVER) as client:
            client.status("j0")
            began = time.monotonic()
            with pytest.raises(JobTimeout):
                client.wait("j1", timeout=timeout)
            return time.monotonic() - began - timeout

    with listen(handle) as url, ThreadPoolExecutor(8) as pool:
        assert max(pool.map(lateness, [rng.uniform(0.1, 0.4) for _ in range(40)])) < SLOW


POLLING = {"timeout": 8, "schedule": Exponential(0.05, 1, 0.05), "request_timeout": NEVER}
LONG_POLLING = {"timeout": 8, "request_timeout": NEVER}  # time for long polls


async def wait(url, options):
    async with AsyncClient(url, **options) as client:
        return (await client.wait("j1")).state


def wait_sync(url, options):
    with Client(url, **options) as client:
        return client.wait("j1").state


CASES = [(0, POLLING), (10, POLLING), (60, POLLING), (-1, POLLING), (60, LONG_POLLING)]
CLIENTS = (wait_sync, lambda *given: asyncio.run(wait(*given)))


def test_job_that_ended_in_time_is_seen_despite_a_hanging_poll(listen):
    """The poll hangs after some bytes of its answer; all cases run at the same time."""

    def ends(part, options, client):
        requests = []

        def handle(connection, over):
            while connection.recv(65_536):
                requests.append(None)
                if len(requests) == 1:
                    over.wait(1)  # a far server: the last poll may take longer then, also on a busy machine
                    connection.sendall(answers(b"pending"))
                elif len(requests) == 2:
                    connection.sendall(answers(b"completed")[:part])
                    over.wait()
                    return
                else:
                    connection.sendall(answers(b"completed"))

        with listen(handle) as url:
            return client(url, options), len(requests)

    with ThreadPoolExecutor(len(CASES) * len(CLIENTS)) as pool:
        waiting = [pool.submit(ends, *case, client) for case in CASES for client in CLIENTS]
    for state, requests in (end.result() for end in waiting):
        assert state == "completed"
        assert requests >= 3  # a busy machine may need one more


def test_client_reuses_the_round_trip_of_earlier_requests(listen):
    requests, trace = [], []

    def handle(connection, over):
        connection.recv(65_536)
        requests.append(None)
        if len(requests) == 1:
            connection.sendall(answers(b"pending"))
            connection.recv(65_536)
        over.wait()

    with listen(handle) as url, Client(url, trace=trace.append) as client:
        client.status("j1")
        took = next(item.took for item in trace if isinstance(item, Reply))
        with pytest.raises(JobTimeout, match="had not been seen"):
            client.wait("j1", timeout=0.2)
    assert [item for item in trace if isinstance(item, Send)][-1].timeout <= max(0.2, 0.02 + 1.5 * took)
