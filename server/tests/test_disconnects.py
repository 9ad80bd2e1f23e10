"""Client disconnects, broken connections and resets end what waits for them."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.examples import rule
from tests.processes import wait_until
from tests.raw_http import connect, head, rest
from translation_server.api.protocol import HttpProtocol

HTTP = ["h11", "httptools", HttpProtocol]
BREAKING = ["reset", "empty", "truncate", "malformed", "garbage", "drip", "hang"]


def sent(api, *paths, headers=()):
    """Opens a connection and sends polls on it at once."""
    connection = connect(api)
    connection.sendall(b"".join(head(path, *headers) for path in paths))
    return connection


def request_log(api):
    return [(record["action"], record["path"], record["faults"]) for record in api.requests()]


def wait_for(api, *record):
    """Waits for a record in the request log: the server has then finished its request."""
    wait_until(lambda: record in request_log(api), record)


@pytest.mark.parametrize("http", HTTP)
class TestPipelinedRequests:
    @pytest.mark.parametrize("kind", BREAKING)
    def test_a_broken_answer_ends_the_requests_behind_it(self, start, http, kind, caplog):
        api = start(http=http)
        fault = f"Simulate-Fault: {json.dumps(rule(kind))}".encode()
        with sent(api, "/jobs", "/jobs", headers=[fault]) as connection:
            rest(connection)
        wait_for(api, "list", "/jobs", [kind])
        assert "Exception in ASGI application" not in caplog.text

    def test_a_stream_ends_when_its_client_disconnects(self, start, http, caplog):
        api = start(http=http)
        with sent(api, "/events", "/jobs") as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
        wait_until(lambda: api.submit() and ("events", "/events", []) in request_log(api))
        assert "Exception in ASGI application" not in caplog.text

    def test_a_long_poll_of_a_disconnected_client_is_not_answered(self, start, http, caplog):
        api = start(http=http)
        job_id = api.submit()
        path = f"/status/{job_id}"
        sent(api, path, "/jobs", headers=[b"Prefer: wait=60"]).close()
        time.sleep(0.2)  # the server holds it by then; if not, the answer is the same
        api.finish(job_id)
        wait_for(api, "poll", path, [])
        assert "Exception in ASGI application" not in caplog.text


class TestLatency:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_latency_ends_when_its_client_disconnects(self, start, method):
        api = start()
        fault = {"Simulate-Fault": '{"kind": "latency", "delay": {"kind": "fixed", "seconds": 1e9}}'}
        with pytest.raises(httpx.ReadTimeout):
            api.request(method, "/jobs", json={"source_language": "en"}, headers=fault, timeout=0.2)
        wait_for(api, "list" if method == "GET" else "submit", "/jobs", ["latency"])
        assert api.get("/jobs").json()["jobs"] == []

    def test_a_delayed_submission_keeps_its_body(self, start):
        api = start(max_body=65_536)
        fault = {"Simulate-Fault": '{"kind": "latency", "delay": {"kind": "fixed", "seconds": 0.1}}'}
        accepted = api.post("/start", json={"source_language": "en"}, headers=fault)
        assert (accepted.status_code, accepted.json()["source_language"]) == (202, "en")
        headers = fault | {"Content-Type": "application/json"}
        assert api.post("/start", content=iter([b" " * 1000] * 100), headers=headers).status_code == 413


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
            there.reset()
            assert long_poll.result().status_code == 404

    @pytest.mark.parametrize("path", ["/events", "/jobs/{}/events"])
    def test_a_stream_ends_at_a_reset(self, start, elsewhere, path):
        here = start()
        there = start() if elsewhere else here
        path = path.format(here.submit())
        with here.stream("GET", path, timeout=60) as stream:
            lines = stream.iter_lines()
            next(line for line in lines if line.startswith("retry"))
            there.reset()
            assert not [line for line in lines if line.startswith("event")]
