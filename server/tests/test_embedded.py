"""The server inside another program."""

import asyncio
import socket
import threading
from pathlib import Path

import httpx
import pytest

from translation_server import TranslationServer


def test_it_serves_while_it_runs_and_not_after():
    with TranslationServer(completion_time=0, error_rate=0) as server:
        url = server.url
        assert httpx.get(f"{url}/status").json()["status"] == "completed"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    with pytest.raises(RuntimeError, match="start it first"):
        assert server.url


def test_the_fate_of_later_jobs_can_be_changed_while_it_runs():
    with TranslationServer(completion_time=1000) as server, httpx.Client(base_url=server.url) as api:
        early = api.post("/start").json()["job_id"]
        server.completion_time, server.error_rate = 0, 1
        late = api.post("/start").json()["job_id"]
        assert [api.get(f"/status/{job_id}").json()["status"] for job_id in (early, late)] == ["pending", "error"]


def test_it_starts_and_stops_as_the_ancestor_did_and_again():
    async def main() -> None:
        server = TranslationServer(completion_time=0, error_rate=0)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        for _ in range(2):
            await server.start(port=port)
            assert server.port == port
            with pytest.raises(RuntimeError, match="runs already"):
                await server.start()
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as api:
                assert (await api.get("/status")).json()["status"] == "completed"
            await server.stop()
            await server.stop()

    asyncio.run(main())


def test_a_port_in_use_leaves_nothing_behind():
    server = TranslationServer()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        asyncio.run(server.start(port=taken.getsockname()[1]))
    with pytest.raises(RuntimeError):
        assert server.port


def test_it_keeps_its_jobs_where_it_is_told(tmp_path):
    url = f"sqlite:///{tmp_path}/jobs.db"
    with TranslationServer(database_url=url) as server:
        job_id = httpx.post(f"{server.url}/start").json()["job_id"]
    with TranslationServer(database_url=url) as server:
        assert httpx.get(f"{server.url}/status/{job_id}").status_code == 200


@pytest.mark.parametrize("hints", ["honest", "exact", "none"])
def test_it_gives_hints_unless_told_not_to(hints):
    with TranslationServer(completion_time=1000, hints=hints) as server:
        assert ("retry-after" in httpx.post(f"{server.url}/start").headers) == (hints != "none")


def test_it_asks_for_credentials_when_given_some():
    with TranslationServer(username="ann", password="pw") as server:
        statuses = [
            httpx.get(f"{server.url}/status", auth=auth).status_code for auth in (None, ("ann", "no"), ("ann", "pw"))
        ]
    assert statuses == [401, 401, 200]


@pytest.mark.parametrize(
    "arguments",
    [
        {"completion_time": -1},
        {"completion_time": float("nan")},
        {"completion_time": float("inf")},
        {"error_rate": 1.1},
        {"error_rate": -0.1},
        {"error_rate": float("nan")},
        {"hints": "honestly"},
        {"lateness_worth": 0},
        {"lateness_worth": float("nan")},
        {"username": "ann"},
        {"password": "pw"},
    ],
)
def test_what_makes_no_sense_is_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        TranslationServer(**arguments)


def test_dozens_leave_nothing_behind():
    def count() -> tuple[int, int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())

    async def live() -> None:
        async with TranslationServer() as server, httpx.AsyncClient(base_url=server.url, timeout=60) as api:
            assert (await api.get("/status")).status_code == 200

    async def main() -> None:
        await live()
        before = count()
        for _ in range(3):
            await asyncio.gather(*(live() for _ in range(10)))
        assert count() == before

    asyncio.run(main())
