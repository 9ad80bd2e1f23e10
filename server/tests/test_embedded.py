"""The server inside another program."""

import asyncio
import socket
import threading
from math import inf, nan
from pathlib import Path

import httpx
import pytest
import uvicorn

from tests.ports import free_port
from translation_server import TranslationServer


def test_server_serves_only_while_it_runs():
    with TranslationServer(completion_time=0, error_rate=0) as server:
        url = server.url
        assert httpx.get(f"{url}/status").json()["status"] == "completed"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    with pytest.raises(RuntimeError, match="start it first"):
        assert server.url


def test_new_fates_hold_for_later_jobs():
    with TranslationServer(completion_time=1000) as server, httpx.Client(base_url=server.url) as api:
        early = api.post("/start").json()["job_id"]
        server.completion_time, server.error_rate = 0, 1
        late = api.post("/start").json()["job_id"]
        assert [api.get(f"/status/{job_id}").json()["status"] for job_id in (early, late)] == ["pending", "error"]


async def test_server_starts_and_stops_twice_on_the_same_port():
    server = TranslationServer(completion_time=0, error_rate=0)
    port = free_port()
    for _ in range(2):
        await server.start(port=port)
        assert server.port == port
        with pytest.raises(RuntimeError, match="runs already"):
            await server.start()
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as api:
            assert (await api.get("/status")).json()["status"] == "completed"
        await server.stop()
        await server.stop()


def test_start_on_a_port_in_use_leaves_nothing_behind():
    server = TranslationServer()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        asyncio.run(server.start(port=taken.getsockname()[1]))
    with pytest.raises(RuntimeError, match="start it first"):
        assert server.port


def test_jobs_are_stored_in_the_given_database(tmp_path):
    url = f"sqlite:///{tmp_path}/jobs.db"
    with TranslationServer(database_url=url) as server:
        job_id = httpx.post(f"{server.url}/start").json()["job_id"]
    with TranslationServer(database_url=url) as server:
        assert httpx.get(f"{server.url}/status/{job_id}").status_code == 200


@pytest.mark.parametrize("hints", ["honest", "exact", "none"])
def test_hints_are_sent_unless_turned_off(hints):
    with TranslationServer(completion_time=1000, hints=hints) as server:
        assert ("retry-after" in httpx.post(f"{server.url}/start").headers) == (hints != "none")


def test_credentials_are_needed_where_a_user_is_given():
    with TranslationServer(username="ann", password="pw") as server:
        answers = [httpx.get(f"{server.url}/status", auth=auth) for auth in (None, ("ann", "no"), ("ann", "pw"))]
    assert [answer.status_code for answer in answers] == [401, 401, 200]


UNUSABLE = {
    "completion_time": [-1, nan, inf],
    "error_rate": [1.1, -0.1, nan],
    "hints": ["honestly"],
    "poll_cost": [0, nan],
    "seed": ["x" * 1001, True, 0.5],
    "username": ["ann"],
    "password": ["pw"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in UNUSABLE for value in UNUSABLE[name]])
def test_unusable_argument_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        TranslationServer(**{name: value})


async def test_dozens_of_servers_leave_nothing_behind():
    def count():
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())

    async def live():
        async with TranslationServer() as server, httpx.AsyncClient(base_url=server.url, timeout=60) as api:
            assert (await api.get("/status")).status_code == 200

    await live()
    before = count()
    for _ in range(3):
        await asyncio.gather(*(live() for _ in range(10)))
    assert count() == before


def in_process(server, host="testserver"):
    """Returns a client of the application, without a socket and without its lifespan."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(server.app), base_url=f"http://{host}")


async def test_application_runs_without_a_socket():
    async with in_process(TranslationServer(completion_time=0, error_rate=0)) as api:
        accepted = await api.post("/jobs", params={"video_length": 5})
        assert accepted.status_code == 202
        poll = await api.get(f"/status/{accepted.json()['job_id']}")
        assert (poll.status_code, poll.json()["result"]) == (200, "completed")


async def test_application_checks_credentials_and_host_name():
    server = TranslationServer(username="ann", password="pw")
    async with in_process(server) as api, in_process(server, "evil.example") as foreign:
        statuses = [(await api.get("/status", auth=auth)).status_code for auth in (None, ("ann", "pw"))]
        assert statuses == [401, 200]
        assert (await foreign.get("/status", auth=("ann", "pw"))).status_code == 421


def test_application_runs_in_one_host_after_another():
    server = TranslationServer(completion_time=0, error_rate=0)
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            host = uvicorn.Server(uvicorn.Config(server.app, log_config=None, lifespan="on", ws="none"))
            thread = threading.Thread(target=host.run, args=([listener],))
            thread.start()
            try:
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                assert httpx.get(f"{url}/jobs", timeout=60).json()["jobs"] == []
                assert httpx.post(f"{url}/start").status_code == 202
            finally:
                host.should_exit = True
                thread.join()


async def test_application_stops_a_server_that_was_started():
    server = TranslationServer(completion_time=0, error_rate=0)
    await server.start()
    url = server.url
    with pytest.raises(RuntimeError, match=f"runs already: send requests to {url}"):
        await in_process(server).get("/status")
    await server.app.shutdown()
    await server.app.cleanup()
    async with httpx.AsyncClient() as api:
        with pytest.raises(httpx.ConnectError):
            await api.get(url)
