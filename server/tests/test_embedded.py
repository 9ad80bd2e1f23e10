"""The server inside another program."""

import asyncio
import socket
import threading
from pathlib import Path

import httpx
import pytest
import uvicorn

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
    with pytest.raises(RuntimeError, match="start it first"):
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
        {"poll_cost": 0},
        {"poll_cost": float("nan")},
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


def in_process(server: TranslationServer, host: str = "testserver") -> httpx.AsyncClient:
    """A client of the application alone: nothing listens, and nobody runs its lifespan, as with Starlette's."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(server.app), base_url=f"http://{host}")


def test_a_host_can_run_its_application_without_a_socket():
    async def main() -> None:
        async with in_process(TranslationServer(completion_time=0, error_rate=0)) as api:
            accepted = await api.post("/jobs", params={"video_length": 5})
            assert accepted.status_code == 202
            told = await api.get(f"/status/{accepted.json()['job_id']}")
            assert (told.status_code, told.json()["result"]) == (200, "completed")

    asyncio.run(main())


def test_its_application_asks_for_credentials_and_its_own_name():
    async def main() -> None:
        server = TranslationServer(username="ann", password="pw")
        async with in_process(server) as api, in_process(server, "evil.example") as stranger:
            statuses = [(await api.get("/status", auth=auth)).status_code for auth in (None, ("ann", "pw"))]
            assert statuses == [401, 200]
            assert (await stranger.get("/status", auth=("ann", "pw"))).status_code == 421

    asyncio.run(main())


def test_a_host_with_a_socket_runs_its_application_and_another_after_it():
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


def test_its_application_stops_what_was_started_as_the_ancestors_did():
    async def main() -> None:
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

    asyncio.run(main())
