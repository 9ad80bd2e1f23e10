"""Faults as a client sees them, on the socket and in answers."""

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.examples import CREDENTIALS, rule
from tests.processes import wait_until
from tests.raw_http import connect, head
from translation_server import TranslationServer
from translation_server.api.faults.responses import BAD_CHUNK
from translation_server.api.protocol import HttpProtocol
from translation_server.core.faults.rules import KINDS, Break, Drip, Garbage, Hang, Truncate
from translation_server.documents import FAULT

HTTP = ["h11", HttpProtocol]
NO_AUTH = httpx.Auth()
BREAKING = ["reset", "empty", "truncate", "malformed", "garbage", "drip", "hang"]


def receive(api, path, fault="", method="GET"):
    """Sends a request and returns all that is received until the connection ends."""
    with connect(api) as connection:
        fields = f"Simulate-Fault: {fault}".encode(), b"Content-Length: 0"
        connection.sendall(head(path, *fields, method=method, host=api.base_url.netloc))
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def parts(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


@pytest.mark.parametrize("http", HTTP)
class TestOnTheSocket:
    """What a raw socket receives. The server ends each connection."""

    def test_reset(self, start, http):
        api = start(http=http)
        with pytest.raises(ConnectionResetError):
            receive(api, "/start", "reset", method="POST")
        assert len(api.get("/jobs").json()["jobs"]) == 1

    def test_empty_reply(self, start, http):
        api = start(http=http)
        assert receive(api, "/start", "empty", method="POST") == b""
        assert len(api.get("/jobs").json()["jobs"]) == 1

    def test_truncated_body(self, start, http):
        api = start(http=http, max_delay=0)
        path = f"/status/{api.submit()}"
        whole = api.get(path).content
        first, headers, body = parts(receive(api, path, '{"kind": "truncate", "keep": 0.25}'))
        assert first == "HTTP/1.1 200 OK"
        assert (headers["content-length"], headers["content-type"]) == (str(len(whole)), "application/json")
        assert body == whole[: len(whole) // 4]

    def test_malformed_chunk(self, start, http):
        api = start(http=http, max_delay=0)
        path = f"/status/{api.submit()}"
        half = api.get(path).content
        half = half[: len(half) // 2]
        first, headers, body = parts(receive(api, path, "malformed"))
        assert (first, headers["transfer-encoding"]) == ("HTTP/1.1 200 OK", "chunked")
        assert "content-length" not in headers
        assert body == f"{len(half):x}\r\n".encode() + half + b"\r\n" + BAD_CHUNK

    def test_garbage(self, start, http):
        api = start(http=http, seed="s")
        path = f"/status/{api.submit()}"
        received = receive(api, path, '{"kind": "garbage", "size": 100}')
        assert len(received) == 100
        assert not received.startswith(b"HTTP/")

    def test_slow_drip(self, start, http):
        api = start(http=http, max_delay=0)
        path = f"/status/{api.submit()}"
        whole = api.get(path).content
        began = time.monotonic()
        first, headers, body = parts(receive(api, path, '{"kind": "drip", "rate": 1000}'))
        assert (first, body) == ("HTTP/1.1 200 OK", whole)
        assert headers["content-length"] == str(len(whole))
        assert time.monotonic() - began >= 0.9 * len(whole) / 1000

    def test_drip_ends_with_its_last_byte(self, start, http):
        api = start(http=http)
        assert api.get("/jobs", headers={"Simulate-Fault": '{"kind": "drip", "rate": 1000}'}).status_code == 200
        assert api.get("/sandbox/requests").json()["requests"][-1]["faults"] == ["drip"]

    def test_hang(self, start, http):
        api = start(http=http)
        began = time.monotonic()
        assert receive(api, "/start", '{"kind": "hang", "seconds": 0.5}', method="POST") == b""
        assert time.monotonic() - began >= 0.5
        assert len(api.get("/jobs").json()["jobs"]) == 1

    @pytest.mark.parametrize("kind", BREAKING)
    def test_httpx_gets_an_error_or_the_whole_answer(self, start, http, kind):
        api = start(http=http, max_delay=0)
        path = f"/status/{api.submit()}"
        fault = {"Simulate-Fault": json.dumps(rule(kind))}
        if kind == "drip":
            assert api.get(path, headers=fault).json()["status"] == "completed"
        else:
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                api.get(path, headers=fault)
        assert api.get(path).json()["status"] == "completed"

    @pytest.mark.parametrize("kind", BREAKING)
    @pytest.mark.parametrize("path", ["/events", "/jobs/{}/events"])
    def test_a_stream_can_be_broken(self, start, http, kind, path):
        api = start(http=http)
        api.set_faults(rule(kind, route=["events"]))
        path = path.format(api.submit())
        if kind == "reset":
            with pytest.raises(ConnectionResetError):
                receive(api, path)
        else:
            received = receive(api, path)
            assert (b"text/event-stream" in received) is (kind in {"truncate", "malformed", "drip"})

    def test_a_client_disconnect_ends_a_hang(self, start, http, caplog):
        caplog.set_level(logging.DEBUG, "translation_server")
        api = start(http=http)
        with pytest.raises(httpx.ReadTimeout):
            api.get("/jobs", headers={"Simulate-Fault": "hang"}, timeout=0.2)
        wait_until(lambda: "GET /jobs 0 for admin" in caplog.text)


def test_a_shutdown_ends_a_hang():
    with ThreadPoolExecutor() as pool:
        with TranslationServer() as server:
            api = httpx.Client(base_url=server.url)
            hanging = pool.submit(receive, api, "/jobs", "hang")
            time.sleep(0.2)  # until it hangs; a request that comes later would never hang
        assert hanging.result(60) == b""


class TestFaultyAnswers:
    @pytest.mark.parametrize("code", [200, 404, 429, 499, 500, 503])
    def test_a_status_fault_answers_without_serving_the_request(self, start, code):
        api = start()
        api.set_faults(rule("status", code=code, retry_after=7, headers={"X-Mine": "yes"}, route=["submit"]))
        answer = api.post("/start")
        assert (answer.status_code, answer.headers["Retry-After"], answer.headers["X-Mine"]) == (code, "7", "yes")
        assert api.get("/jobs").json()["jobs"] == []

    def test_a_status_fault_may_have_a_body(self, start):
        answer = start().get("/jobs", headers={"Simulate-Fault": '{"kind": "status", "code": 502, "body": "<html>"}'})
        assert (answer.status_code, answer.text) == (502, "<html>")

    @pytest.mark.parametrize("http", HTTP)
    @pytest.mark.parametrize("code", [204, 205, 304])
    def test_statuses_without_a_body_have_none(self, start, http, code, caplog):
        api = start(http=http)
        api.set_faults(rule("status", code=code))
        answer = api.get("/jobs")
        assert (answer.status_code, answer.content) == (code, b"")
        assert api.get("/jobs").status_code == code
        assert caplog.text == ""

    @pytest.mark.parametrize("body", [None, "slow down"])
    def test_headers_of_a_rule_replace_those_of_the_server(self, start, body):
        api = start()
        headers = {"content-type": "text/html", "retry-after": "30", "X-Mine": "yes"}
        api.set_faults({"kind": "status", "code": 429, "headers": headers} | ({"body": body} if body else {}))
        answer = api.get("/jobs")
        assert answer.status_code == 429
        headers_sent = [(name, value) for name, value in answer.headers.multi_items() if name in {*headers, "x-mine"}]
        assert sorted(headers_sent) == [("content-type", "text/html"), ("retry-after", "30"), ("x-mine", "yes")]
        [record] = api.requests()
        assert (record["hint"], record["faults"]) == (30, ["status"])

    def test_retry_after_is_sent_once(self, start):
        api = start()
        api.set_faults(rule("status", headers={"Retry-After": "30"}, retry_after=7))
        answer = api.get("/jobs")
        assert (answer.status_code, answer.headers.get_list("Retry-After")) == (503, ["7"])

    def test_latency_comes_before_other_faults(self, start):
        api = start()
        api.set_faults(rule("latency"), rule("latency"), rule("status"))
        began = time.monotonic()
        assert api.get("/jobs").status_code == 503
        assert time.monotonic() - began >= 0.6

    def test_false_answers_about_an_ended_job(self, start):
        api = start(max_delay=0.001)
        job_id = api.submit()
        time.sleep(0.01)

        def poll(kind, **details):
            return api.get(f"/status/{job_id}", headers={"Simulate-Fault": json.dumps(rule(kind, **details))})

        assert poll("unknown-status", word="archiving").json()["status"] == "archiving"
        back = poll("back-to-pending").json()
        assert (back["status"], back["completed_at"]) == ("pending", None)
        assert back["progress"] == pytest.approx(0.5, abs=0.001)
        assert poll("no-details").json() == {"job_id": job_id, "status": "completed", "result": "completed"}
        not_found, unknown, unauthorized = poll("not-found"), api.get("/status/unknown"), poll("unauthorized")
        assert [answer.status_code for answer in (not_found, unknown, unauthorized)] == [404, 404, 401]
        assert not_found.json() == unknown.json()
        assert "WWW-Authenticate" in unauthorized.headers
        assert poll("wrong-type").headers["Content-Type"] == "text/html"
        assert api.get(f"/status/{job_id}").json()["status"] == "completed"

    def test_false_refusals_are_those_of_the_api(self, start, own_dialect):
        auth = 'auth = "X-Api-Key: {token}"'
        native = start(dialects=own_dialect(f'{auth}\nerror.body = {{message = "{{detail}}"}}'))
        key = {"X-Api-Key": CREDENTIALS[1]}
        job_id = native.post("/own/tasks", headers=key).json()["id"]

        def poll(job_id=job_id, **headers):
            answer = native.get(f"/own/tasks/{job_id}", headers={**key, **headers}, auth=NO_AUTH)
            return answer.status_code, answer.headers.get("WWW-Authenticate"), answer.json()

        assert poll(**{"Simulate-Fault": "unauthorized"}) == poll(**{"X-Api-Key": "wrong"})
        assert poll(**{"Simulate-Fault": "not-found"}) == poll(job_id="unknown")

    def test_false_answers_about_many_jobs(self, start):
        api = start(max_delay=0.001)
        ids = [api.submit() for _ in range(3)]
        time.sleep(0.01)
        answer = api.get("/jobs", params={"job_id": ids}, headers={"Simulate-Fault": "back-to-pending"})
        assert [job["status"] for job in answer.json()["jobs"]] == ["pending"] * 3

    def test_a_pending_job_without_a_false_answer_is_shown_truthfully(self, start):
        api = start()
        path = f"/status/{api.submit()}"
        for kind in ("back-to-pending", "no-details"):
            assert api.get(path, headers={"Simulate-Fault": kind}).json()["completed_at"] is None
        patient = api.get(path, headers={"Simulate-Fault": "huge-retry-after"})
        assert (patient.headers["Retry-After"], "retry-after-ms" in patient.headers) == ("86400", False)

    def test_a_false_answer_is_followed_by_the_truth(self, start):
        api = start(max_delay=0.001)
        path = f"/status/{api.submit()}"
        time.sleep(0.01)
        false_answer = api.get(path, headers={"Simulate-Fault": "back-to-pending"})
        truth = api.get(path, headers={"If-None-Match": false_answer.headers["ETag"]})
        assert (truth.status_code, truth.json()["status"]) == (200, "completed")
        brief = api.get(path, headers={"Simulate-Fault": "no-details"})
        whole = api.get(path, headers={"If-None-Match": brief.headers["ETag"]})
        assert (whole.status_code, whole.json()["progress"]) == (200, 1)

    @pytest.mark.parametrize(
        "header", ["", "nonsense", "{", '{"kind": "status"}', '{"kind": "reset", "x": 1}', "status"]
    )
    def test_an_unusable_simulate_fault_header_is_refused(self, start, header):
        answer = start().post("/start", headers={"Simulate-Fault": header})
        assert answer.status_code == (202 if header == "" else 422)

    @pytest.mark.parametrize("path", ["/livez", "/readyz", "/sandbox", "/sandbox/scenarios", "/sandbox/report"])
    def test_health_checks_and_the_sandbox_never_have_faults(self, start, path):
        api = start()
        api.set_faults(rule("reset"))
        assert api.get(path, headers={"Simulate-Fault": "reset"}).status_code == 200

    def test_every_kind_of_fault_has_a_test(self):
        breaking = Break | Truncate | Garbage | Drip | Hang
        kinds = {kind for kind in KINDS if isinstance(FAULT.validate_json(json.dumps(rule(kind))), breaking)}
        assert kinds == set(BREAKING)
