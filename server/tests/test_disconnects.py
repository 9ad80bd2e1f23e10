"""Client disconnects, broken connections and resets end what waits for them."""

import base64
import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from translation_server.api.protocol import HttpProtocol

HTTP = ["h11", "httptools", HttpProtocol]
LOGIN = base64.b64encode(b"admin:secretpassword").decode()
BREAKING = {
    "reset": "reset",
    "empty": "empty",
    "truncate": "truncate",
    "malformed": "malformed",
    "garbage": "garbage",
    "drip": '{"kind": "drip", "rate": 5000}',
    "hang": '{"kind": "hang", "seconds": 0.1}',
}


def sent(api, *paths: str, headers: str = "") -> socket.socket:
    """Opens a connection and sends polls on it at once."""
    head = "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {}\r\n{}\r\n"
    connection = socket.create_connection(("127.0.0.1", api.base_url.port), timeout=60)
    connection.sendall("".join(head.format(path, LOGIN, headers) for path in paths).encode())
    return connection


def request_log(api) -> list[tuple[str, str, list[str]]]:
    records = api.get("/sandbox/requests").json()["requests"]
    return [(record["action"], record["path"], record["faults"]) for record in records]


def wait_for(api, record: tuple[str, str, list[str]]) -> None:
    """Waits for a record in the request log: the server has then finished its request."""
    until = time.monotonic() + 60
    while record not in request_log(api):
        assert time.monotonic() < until, request_log(api)
        time.sleep(0.01)


@pytest.mark.parametrize("http", HTTP)
class TestPipelinedRequests:
    @pytest.mark.parametrize("kind", BREAKING)
    def test_a_broken_answer_ends_the_requests_behind_it(self, start, http, kind, caplog):
        api = start(http=http)
        fault = f"Simulate-Fault: {BREAKING[kind]}\r\n"
        with sent(api, "/jobs", "/jobs", headers=fault) as connection, contextlib.suppress(ConnectionResetError):
            while connection.recv(65536):
                pass
        wait_for(api, ("list", "/jobs", [kind]))
        assert "Exception in ASGI application" not in caplog.text

    def test_a_stream_ends_when_its_client_disconnects(self, start, http, caplog):
        api = start(http=http)
        with sent(api, "/events", "/jobs") as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
        until = time.monotonic() + 60
        while ("events", "/events", []) not in request_log(api):
            assert time.monotonic() < until
            api.post("/start")
        assert "Exception in ASGI application" not in caplog.text

    def test_a_long_poll_of_a_disconnected_client_is_not_answered(self, start, http, caplog):
        api = start(http=http)
        job_id = api.post("/start").json()["job_id"]
        path = f"/status/{job_id}"
        sent(api, path, "/jobs", headers="Prefer: wait=60\r\n").close()
        time.sleep(0.2)  # the server holds it by then; if not, the answer is the same
        api.post(f"/sandbox/jobs/{job_id}", json={"do": "finish"})
        wait_for(api, ("poll", path, []))
        assert "Exception in ASGI application" not in caplog.text


class TestLatency:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_latency_ends_when_its_client_disconnects(self, start, method):
        api = start()
        fault = {"Simulate-Fault": '{"kind": "latency", "delay": {"kind": "fixed", "seconds": 1e9}}'}
        with pytest.raises(httpx.ReadTimeout):
            api.request(method, "/jobs", json={"source_language": "en"}, headers=fault, timeout=0.2)
        wait_for(api, ("list" if method == "GET" else "submit", "/jobs", ["latency"]))
        assert api.get("/jobs").json()["jobs"] == []

    def test_a_delayed_submission_keeps_its_body(self, start):
        api = start()
        fault = {"Simulate-Fault": '{"kind": "latency", "delay": {"kind": "fixed", "seconds": 0.1}}'}
        accepted = api.post("/start", json={"source_language": "en"}, headers=fault)
        assert (accepted.status_code, accepted.json()["source_language"]) == (202, "en")

        def pieces():
            yield from [b" " * 1000] * 100

        headers = fault | {"Content-Type": "application/json"}
        assert api.post("/start", content=pieces(), headers=headers).status_code == 413


@pytest.mark.parametrize("elsewhere", [False, True])
class TestReset:
    """A reset in the same process, and in another process on the same database."""

    def test_a_long_poll_is_a_404_after_a_reset(self, start, elsewhere):
        here = start()
        there = start() if elsewhere else here
        path = here.post("/start").headers["Location"]
        with ThreadPoolExecutor() as pool:
            long_poll = pool.submit(here.get, path, headers={"Prefer": "wait=60"}, timeout=90)
            time.sleep(0.2)  # the server holds it by then; if not, the answer is the same
            there.post("/sandbox/reset")
            assert long_poll.result().status_code == 404

    @pytest.mark.parametrize("path", ["/events", "/jobs/{}/events"])
    def test_a_stream_ends_at_a_reset(self, start, elsewhere, path):
        here = start()
        there = start() if elsewhere else here
        path = path.format(here.post("/start").json()["job_id"])
        with here.stream("GET", path, timeout=60) as stream:
            lines = stream.iter_lines()
            next(line for line in lines if line.startswith("retry"))
            there.post("/sandbox/reset")
            assert not [line for line in lines if line.startswith("event")]
