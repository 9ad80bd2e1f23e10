"""What goes wrong: which request it strikes, and what of it is seen on the socket."""

import base64
import json
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from translation_server import TranslationServer
from translation_server.core.entropy import seeded_entropy
from translation_server.core.faults import KINDS, Asked, Break, Latency, Status, decide
from translation_server.documents import FAULT
from translation_server.web.faults import BAD_CHUNK, breaks

HTTP = ["h11", "httptools"]
EXAMPLES = {
    "status": {"code": 503},
    "latency": {"delay": {"kind": "fixed", "seconds": 0.3}},
    "garbage": {"size": 100},
    "drip": {"rate": 500},
    "hang": {"seconds": 0.5},
}


def rule(kind: str, **details) -> dict:
    return {"kind": kind} | EXAMPLES.get(kind, {}) | details


def set_faults(api, *faults) -> None:
    assert api.patch("/sandbox", json={"faults": faults}).status_code == 200


def wait_until(condition) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def submit(api) -> str:
    return api.post("/start").json()["job_id"]


def exchange(api, path: str, *headers: str, method: str = "GET", seconds: float = 60) -> bytes:
    """All that comes on the socket after one request, up to the connection's end; then ConnectionResetError or b""."""
    login = base64.b64encode(b"admin:secretpassword").decode()
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: x",
        f"Authorization: Basic {login}",
        *headers,
        "Content-Length: 0",
        "",
        "",
    ]
    received = b""
    with socket.create_connection(("127.0.0.1", api.base_url.port), timeout=seconds) as connection:
        connection.sendall("\r\n".join(head).encode())
        while chunk := connection.recv(65536):
            received += chunk
    return received


def parts(answer: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


@pytest.mark.parametrize("http", HTTP)
class TestOnTheSocket:
    """What a raw socket receives; the connection ends by itself in each of them."""

    def test_a_reset(self, start, http):
        api = start(http=http)
        with pytest.raises(ConnectionResetError):
            exchange(api, "/start", "Simulate-Fault: reset", method="POST")
        assert len(api.get("/jobs").json()["jobs"]) == 1

    def test_an_empty_reply(self, start, http):
        api = start(http=http)
        assert exchange(api, "/start", "Simulate-Fault: empty", method="POST") == b""
        assert len(api.get("/jobs").json()["jobs"]) == 1

    def test_a_truncated_body(self, start, http):
        api = start(http=http, max_delay=0)
        path = f"/status/{submit(api)}"
        whole = api.get(path).content
        first, headers, body = parts(exchange(api, path, 'Simulate-Fault: {"kind": "truncate", "keep": 0.25}'))
        assert first == "HTTP/1.1 200 OK"
        assert (headers["content-length"], headers["content-type"]) == (str(len(whole)), "application/json")
        assert body == whole[: len(whole) // 4]

    def test_a_malformed_chunk(self, start, http):
        api = start(http=http, max_delay=0)
        path = f"/status/{submit(api)}"
        half = api.get(path).content
        half = half[: len(half) // 2]
        first, headers, body = parts(exchange(api, path, "Simulate-Fault: malformed"))
        assert (first, headers["transfer-encoding"], "content-length" in headers) == (
            "HTTP/1.1 200 OK",
            "chunked",
            False,
        )
        assert body == f"{len(half):x}\r\n".encode() + half + b"\r\n" + BAD_CHUNK

    def test_garbage(self, start, http):
        api = start(http=http, seed="s")
        path = f"/status/{submit(api)}"
        received = exchange(api, path, 'Simulate-Fault: {"kind": "garbage", "size": 100}')
        assert len(received) == 100
        assert not received.startswith(b"HTTP/")

    def test_a_slow_drip(self, start, http):
        api = start(http=http, max_delay=0)
        path = f"/status/{submit(api)}"
        whole = api.get(path).content
        began = time.monotonic()
        first, headers, body = parts(exchange(api, path, 'Simulate-Fault: {"kind": "drip", "rate": 1000}'))
        assert (first, body) == ("HTTP/1.1 200 OK", whole)
        assert headers["content-length"] == str(len(whole))
        assert time.monotonic() - began >= 0.9 * len(whole) / 1000

    def test_a_hang(self, start, http):
        api = start(http=http)
        began = time.monotonic()
        assert exchange(api, "/start", 'Simulate-Fault: {"kind": "hang", "seconds": 0.5}', method="POST") == b""
        assert time.monotonic() - began >= 0.5
        assert len(api.get("/jobs").json()["jobs"]) == 1

    @pytest.mark.parametrize("kind", ["reset", "empty", "truncate", "malformed", "garbage", "drip", "hang"])
    def test_httpx_sees_an_error_or_the_whole(self, start, http, kind):
        api = start(http=http, max_delay=0)
        path = f"/status/{submit(api)}"
        fault = {"Simulate-Fault": json.dumps(rule(kind))}
        if kind == "drip":
            assert api.get(path, headers=fault).json()["status"] == "completed"
        else:
            with pytest.raises(httpx.TransportError):
                api.get(path, headers=fault)
        assert api.get(path).json()["status"] == "completed"

    @pytest.mark.parametrize("kind", ["truncate", "malformed", "garbage", "drip", "reset", "empty", "hang"])
    @pytest.mark.parametrize("path", ["/events", "/jobs/{}/events"])
    def test_a_stream_breaks_too(self, start, http, kind, path):
        api = start(http=http)
        set_faults(api, rule(kind, route=["events"]))
        path = path.format(submit(api))
        if kind == "reset":
            with pytest.raises(ConnectionResetError):
                exchange(api, path)
        else:
            received = exchange(api, path)
            assert (b"text/event-stream" in received) is (kind in {"truncate", "malformed", "drip"})

    def test_a_client_that_leaves_ends_a_hang(self, start, http, caplog):
        caplog.set_level(logging.DEBUG, "translation_server")
        api = start(http=http)
        with pytest.raises(httpx.ReadTimeout):
            api.get("/jobs", headers={"Simulate-Fault": "hang"}, timeout=0.2)
        wait_until(lambda: "GET /jobs 0 for admin" in caplog.text)


def test_a_server_that_stops_ends_a_hang():
    with ThreadPoolExecutor() as pool:
        with TranslationServer() as server:
            api = httpx.Client(base_url=server.url)
            hanging = pool.submit(exchange, api, "/jobs", "Simulate-Fault: hang")
            time.sleep(0.2)  # so that it hangs; where it does not yet, it never will
        assert hanging.result(60) == b""


class TestAnswers:
    @pytest.mark.parametrize("code", [200, 404, 429, 499, 500, 503])
    def test_a_status_comes_as_told_and_nothing_is_done(self, start, code):
        api = start()
        set_faults(api, rule("status", code=code, retry_after=7, headers={"X-Mine": "yes"}, route=["submit"]))
        answer = api.post("/start")
        assert (answer.status_code, answer.headers["Retry-After"], answer.headers["X-Mine"]) == (code, "7", "yes")
        assert api.get("/jobs").json()["jobs"] == []

    def test_a_status_may_have_a_body(self, start):
        answer = start().get("/jobs", headers={"Simulate-Fault": '{"kind": "status", "code": 502, "body": "<html>"}'})
        assert (answer.status_code, answer.text) == (502, "<html>")

    def test_latency_comes_before_what_else_goes_wrong(self, start):
        api = start()
        set_faults(api, rule("latency"), rule("latency"), rule("status"))
        began = time.monotonic()
        assert api.get("/jobs").status_code == 503
        assert time.monotonic() - began >= 0.6

    def test_lies_about_an_ended_job(self, start):
        api = start(max_delay=0.001)
        job_id = submit(api)
        time.sleep(0.01)

        def look(kind, **details):
            return api.get(f"/status/{job_id}", headers={"Simulate-Fault": json.dumps(rule(kind, **details))})

        assert look("unknown-status", word="archiving").json()["status"] == "archiving"
        back = look("back-to-pending").json()
        assert (back["status"], back["progress"], back["completed_at"]) == (
            "pending",
            pytest.approx(0.5, abs=0.001),
            None,
        )
        assert look("bare").json() == {"job_id": job_id, "status": "completed", "result": "completed"}
        assert look("forgotten").status_code == 404
        assert look("forgotten").json() == api.get("/status/unknown").json()
        assert "WWW-Authenticate" in look("unauthorized").headers
        assert look("wrong-type").headers["Content-Type"] == "text/html"
        assert api.get(f"/status/{job_id}").json()["status"] == "completed"

    def test_lies_about_many(self, start):
        api = start(max_delay=0.001)
        ids = [submit(api) for _ in range(3)]
        time.sleep(0.01)
        answer = api.get("/jobs", params={"job_id": ids}, headers={"Simulate-Fault": "back-to-pending"})
        assert [job["status"] for job in answer.json()["jobs"]] == ["pending"] * 3

    def test_a_pending_job_is_told_as_it_is_where_there_is_no_lie_for_it(self, start):
        api = start()
        path = f"/status/{submit(api)}"
        for kind in ("back-to-pending", "bare"):
            assert api.get(path, headers={"Simulate-Fault": kind}).json()["completed_at"] is None
        patient = api.get(path, headers={"Simulate-Fault": "huge-retry-after"})
        assert (patient.headers["Retry-After"], "retry-after-ms" in patient.headers) == ("86400", False)

    def test_who_has_been_lied_to_is_told_the_truth_later(self, start):
        api = start(max_delay=0.001)
        path = f"/status/{submit(api)}"
        time.sleep(0.01)
        lie = api.get(path, headers={"Simulate-Fault": "back-to-pending"})
        truth = api.get(path, headers={"If-None-Match": lie.headers["ETag"]})
        assert (truth.status_code, truth.json()["status"]) == (200, "completed")

    @pytest.mark.parametrize(
        "asked", ["", "nonsense", "{", '{"kind": "status"}', '{"kind": "reset", "x": 1}', "status"]
    )
    def test_a_header_that_makes_no_sense_is_refused(self, start, asked):
        answer = start().post("/start", headers={"Simulate-Fault": asked})
        assert answer.status_code == (202 if asked == "" else 422)

    @pytest.mark.parametrize("path", ["/livez", "/readyz", "/sandbox", "/sandbox/days", "/sandbox/report"])
    def test_health_and_sandbox_are_never_struck(self, start, path):
        api = start()
        set_faults(api, rule("reset"))
        assert api.get(path, headers={"Simulate-Fault": "reset"}).status_code == 200

    def test_every_kind_is_tested_here(self):
        assert {kind for kind in KINDS if breaks(FAULT.validate_json(json.dumps(rule(kind))))} == {
            "reset", "empty", "truncate", "malformed", "garbage", "drip", "hang",
        }  # fmt: skip


class TestRules:
    def test_they_strike_the_requests_they_name(self, start):
        api = start()
        job_id = submit(api)
        set_faults(api, rule("status", code=500, route=["look"], nth=[2, 3], method="GET", dialect="start"))
        assert [api.get(f"/status/{job_id}").status_code for _ in range(4)] == [200, 500, 500, 200]
        assert {api.get("/jobs").status_code for _ in range(4)} == {200}
        other = submit(api)
        assert [api.get(f"/status/{other}").status_code for _ in range(2)] == [200, 500]
        assert api.get("/sandbox").json()["faults"][0]["fired"] == 3

    def test_they_fire_so_often_and_count_anew_when_they_are_set_anew(self, start):
        api = start()
        for _ in range(2):
            set_faults(api, rule("status", times=2))
            assert [api.get("/jobs").status_code for _ in range(4)] == [503, 503, 200, 200]

    def test_they_fire_in_their_time_on_the_sandboxs_clock(self, start):
        api = start()
        api.post("/sandbox/clock", json={"frozen": True})
        set_faults(api, rule("status", after=10, until=20))
        statuses = []
        for _ in range(4):
            statuses.append(api.get("/jobs").status_code)
            api.post("/sandbox/clock", json={"advance": 7})
        assert statuses == [200, 200, 503, 200]

    def test_a_rule_that_has_nothing_to_strike_has_not_fired(self, start):
        api = start(max_delay=0.001)
        set_faults(api, rule("back-to-pending", times=1), rule("reset", route=["look"]))
        assert api.get("/jobs").status_code == 200
        assert api.get("/status/unknown").status_code == 404
        assert api.get("/sandbox").json()["faults"][0]["fired"] == 0
        job_id = submit(api)
        time.sleep(0.01)
        assert api.get(f"/status/{job_id}").json()["status"] == "pending"
        assert [fault["fired"] for fault in api.get("/sandbox").json()["faults"]] == [1, 0]

    def test_a_head_is_struck_as_a_head(self, start):
        api = start()
        set_faults(api, rule("status", method="HEAD"))
        assert [api.head("/jobs").status_code, api.get("/jobs").status_code] == [503, 200]

    def test_so_often_holds_over_processes_at_once(self, start):
        apis = [start(), start()]
        set_faults(apis[0], rule("status", times=10))
        wait_until(lambda: apis[1].get("/sandbox").json()["faults"])
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda number: apis[number % 2].get("/jobs").status_code, range(100)))
        assert statuses.count(503) == 10

    def test_the_same_seed_gives_the_same_fates_and_faults_in_whatever_order(self, start, tmp_path):
        """Over 64 connections and two servers, with a third from the middle on."""
        traces = []
        for turn in range(2):
            database = f"sqlite:///{tmp_path}/{turn}.db"
            settings = {"seed": "s", "database_url": database, "error_probability": 0.5, "min_delay": 1, "max_delay": 9}
            apis = [start(**settings), start(**settings)]
            set_faults(
                apis[0], rule("status", probability=0.3, route=["look"]), rule("reset", probability=0.2, route=["look"])
            )
            wait_until(lambda apis=apis: apis[1].get("/sandbox").json()["faults"])

            def drive(number, apis=apis):
                job_id = submit(apis[number % len(apis)])
                seen = []
                for look in range(3):
                    try:
                        answer = apis[(number + look) % len(apis)].get(f"/status/{job_id}")
                        seen.append(answer.status_code)
                    except httpx.ReadError:
                        seen.append("reset")
                return job_id, seen

            with ThreadPoolExecutor(64) as pool:
                told = list(pool.map(drive, range(30)))
                apis.append(start(**settings))
                told += list(pool.map(drive, range(30, 60)))
            order = {}
            after = {}
            while True:
                page = apis[0].get("/jobs", params={"limit": 100} | after).json()
                for job in page["jobs"]:
                    order[job["job_id"]] = len(order)
                if page["next"] is None:
                    break
                after = {"after": page["next"]}
            ends = {}
            apis[0].post("/sandbox/clock", json={"advance": 10})
            for job_id in order:
                [job] = apis[0].get("/jobs", params={"job_id": [job_id]}).json()["jobs"]
                ends[job_id] = (job["status"], job["elapsed_time"])
            told = dict(told)
            traces.append([(told[job_id], ends[job_id]) for job_id in sorted(order, key=order.__getitem__)])
        assert traces[0] == traces[1]
        assert len(traces[0]) == 60


asked = st.builds(
    Asked,
    st.sampled_from(["submit", "look", "bulk", "list", "cancel", "events"]),
    st.frozensets(st.sampled_from(["start", "jobs"])),
    st.sampled_from(["GET", "POST"]),
    st.integers(1, 5),
    st.floats(0, 100),
)
plans = st.lists(
    st.one_of(
        st.builds(Latency, probability=st.floats(0, 1)),
        st.builds(
            Break, kind=st.sampled_from(["reset", "empty"]), times=st.integers(1, 3), nth=st.tuples(st.integers(1, 5))
        ),
        st.builds(Status, code=st.just(500), after=st.floats(0, 50), until=st.floats(0, 100), route=st.just(("look",))),
    ),
    max_size=8,
)


@given(plans, asked, st.lists(st.integers(0, 4), min_size=8, max_size=8))
def test_at_most_one_fires_besides_latencies_and_all_that_fire_fit(rules, request, fired):
    firings = decide(rules, request, fired[: len(rules)], lambda number: seeded_entropy("s", "ann", number))
    assert [firing.rule.kind == "latency" for firing in firings[:-1]] == [True] * (len(firings) - 1 if firings else 0)
    assert all(firing.rule.fits(request, fired[firing.number]) for firing in firings)
    assert firings == decide(rules, request, fired[: len(rules)], lambda number: seeded_entropy("s", "ann", number))
