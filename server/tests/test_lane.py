"""The fast lane: what is answered past the framework is answered as it would be by it."""

import base64
import json
import logging
import re
import socket
import time

import httpx
import pytest
from fastapi import FastAPI

from translation_server import TranslationServer
from translation_server.api.protocol import InOnePiece
from translation_server.core.dialects.dialect import DIALECTS, routes

LOOKS = [route.path for route in routes(DIALECTS) if route.action == "poll"]
ORDINARY = [("prefer", "handling=lenient"), ("prefer", "handling=strict")]
"""Headers that change nothing, but lead past the lane."""


AUTHORIZATION = f"Authorization: Basic {base64.b64encode(b'admin:secretpassword').decode()}"
PAST = "Prefer: handling=strict"
"""Such a header, too, as it is sent."""


def request(target: str, *headers: str, method: str = "GET", version: str = "1.1") -> str:
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: 127.0.0.1", AUTHORIZATION, *headers, "", ""])


def exchange(api, *requests: str, end: bool = True, half: bool = True) -> bytes:
    """What is answered to requests that are sent at once, until the server closes the connection.

    With ``end``, another request behind them has it do so; without, the client's word that it will send no more, but
    for ``half``.
    """
    requests = (*requests, request("/livez", "Connection: close")) if end else requests
    with socket.create_connection((api.base_url.host, api.base_url.port), timeout=60) as connection:
        connection.sendall("".join(requests).encode())
        if half and not end:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.fixture
def api(start):
    """A server whose time stands still."""
    api = start(max_delay=1000)
    api.post("/sandbox/clock", json={"frozen": True})
    return api


def submit(api, outcome: str | None) -> str:
    job_id: str = api.post("/start", json={"source_language": 'a%s "{}" ü', "video_length": 3}).json()["job_id"]
    if outcome == "cancelled":
        api.delete(f"/jobs/{job_id}")
    elif outcome:
        api.post(f"/sandbox/jobs/{job_id}", json={"do": "finish", "outcome": outcome, "message": "100 % wrong"})
    return job_id


def answer(api, path: str, *headers: tuple[str, str]) -> tuple[int, dict[str, str], bytes]:
    answered = api.get(path, headers=httpx.Headers([*api.headers.multi_items(), *headers]))
    headers = {k: v for k, v in answered.headers.items() if k != "date"}
    if "wall-elapsed-time" in headers:
        headers["wall-elapsed-time"] = "which passes"
    return answered.status_code, headers, answered.content


@pytest.mark.parametrize("outcome", [None, "completed", "error", "cancelled"])
@pytest.mark.parametrize("path", LOOKS)
def test_it_answers_as_the_framework_does(api, path, outcome):
    path = path.replace("{job_id}", submit(api, outcome))
    api.post("/sandbox/clock", json={"advance": 400})
    framework = answer(api, path, *ORDINARY)
    assert f'"{outcome or "pending"}"'.encode() in framework[2]
    assert framework == answer(api, path) == answer(api, path)
    tag = ("if-none-match", framework[1]["etag"])
    for condition in ([], [tag], [("if-none-match", '"another"')]):
        held = [("prefer", "wait=0"), *condition]
        assert answer(api, path, *held) == answer(api, path, *held, *ORDINARY)


@pytest.mark.parametrize("path", LOOKS)
def test_whoever_has_no_such_job_is_told_so_either_way(api, path):
    path = path.replace("{job_id}", "none")
    for held in ([], [("prefer", "wait=0")], [("prefer", "wait=30")]):
        told = answer(api, path, *held)
        assert (told, told[0]) == (answer(api, path, *held, *ORDINARY), 404)


def test_both_ways_are_written_down_alike(api):
    path = f"/status/{submit(api, None)}"
    for headers in (ORDINARY, [], [("prefer", "wait=0")], [*ORDINARY, ("prefer", "wait=0")]):
        answer(api, path, *headers)
    framework, lane, held, by_framework = api.get("/sandbox/requests").json()["requests"][-4:]
    for entry in (framework, lane, held, by_framework):
        assert entry.pop("took") >= 0
        for changing in ("number", "at"):
            del entry[changing]
    assert (lane, held) == (framework, by_framework)


def test_a_held_look_is_answered_when_its_job_ends(start):
    api = start(max_delay=1000)
    path = f"/status/{submit(api, None)}"
    answer(api, path)
    api.post("/sandbox/clock", json={"speed": 1e5})
    status, headers, body = answer(api, path, ("prefer", "wait=30"))
    assert (status, headers["preference-applied"], b'"status":"completed"' in body) == (200, "wait=30", True)


def test_what_another_process_does_is_seen(start):
    one, other = start(max_delay=1000), start(max_delay=1000)
    job_id = submit(one, None)
    path = f"/status/{job_id}"

    def sees(api, *statuses: object) -> None:
        until = time.monotonic() + 60
        while not {(seen := api.get(path)).status_code, seen.json()["status"]} & {*statuses}:
            assert time.monotonic() < until, seen.text

    for api in (one, other):
        sees(api, "pending")
    other.delete(f"/jobs/{job_id}")
    sees(one, "cancelled")
    other.patch("/sandbox", json={"faults": [{"kind": "status", "code": 418}]})
    sees(one, 418)
    other.patch("/sandbox", json={"faults": []})
    sees(one, "cancelled")
    other.post("/sandbox/reset")
    sees(one, 404)


def test_however_many_come_at_once_on_a_connection_all_are_answered_in_order(start):
    api = start(max_delay=1000)
    jobs = [submit(api, None) for _ in range(2)]
    assert [api.get(f"/status/{job}").status_code for job in jobs] == [200, 200]
    asked = [request(f"/status/{jobs[number % 2]}") for number in range(1000)]
    asked[0] = request(f"/status/{jobs[0]}", PAST)  # which takes the ordinary way, so that the others wait
    received = exchange(api, *asked).decode()
    assert re.findall(r'"job_id":"(.*?)"', received) == [jobs[number % 2] for number in range(1000)]


POLL = request("{path}")
STRANGE = [
    POLL,
    POLL * 3,
    request("{path}", method="HEAD"),
    request("http://other.example:99{path}"),
    request("{path}?job_id=other#there"),
    request("/%73tatus/{job_id}"),
    request("/status%2F{job_id}"),
    request("{path}%0A"),
    request("{path}%zz%"),
    request("{path}/"),
    request("/{path}"),
    request("/status/" + "x" * 30_000),
    request("/status/" + "x" * 70_000),
    request("{path}", "X-Twice: 1", "X-Twice: 2"),
    request("{path}", AUTHORIZATION),
    request("{path}", "Prefer: wait=0", "Prefer: wait=1"),
    request("{path}", 'Prefer: respond-async, wait = "0"', "If-None-Match: *"),
    request("{path}", "If-None-Match: "),
    request("{path}", "Simulate-Fault: "),
    request("{path}", "User-Agent: " + "x" * 70_000),
    request("{path}", "Expect: 100-continue"),
    request("{path}", "Content-Length: 3", "Expect: 100-continue") + "abc",
    request("{path}", "Content-Length: 60000") + "x" * 60_000,
    request("{path}", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n",
    request("{path}", "Transfer-Encoding: chunked") + "no chunk\r\n",
    request("{path}", "Connection: close") + POLL,
    request("{path}", version="1.0") + POLL,
    request("{path}", "Connection: keep-alive", version="1.0") + POLL,
    request("{path}", PAST) + POLL + request("/livez") + POLL,
    POLL + request("/status/unknown") + POLL,
]


def test_whatever_is_sent_both_ways_answer_with_the_same_bytes(api):
    job_id = submit(api, None)

    def answers(sent: str) -> bytes:
        api.get(f"/status/{job_id}")  # by which it is at hand
        sent = sent.replace("{path}", f"/status/{job_id}").replace("{job_id}", job_id)
        return re.sub(rb"(date|wall-elapsed-time): .*", rb"\1", exchange(api, sent))

    by_lane = {sent: answers(sent) for sent in STRANGE}
    api.patch("/sandbox", json={"faults": [{"kind": "status", "code": 418, "route": ["cancel"]}]})
    assert by_lane == {sent: answers(sent) for sent in STRANGE}
    _, *entries = api.get("/sandbox/requests?limit=1000").json()["requests"]
    told = [str({name: entry[name] for name in entry if name not in {"number", "at", "took"}}) for entry in entries]
    assert sorted(told[: len(told) // 2]) == sorted(told[len(told) // 2 :])


def test_a_client_that_says_at_once_that_it_will_send_no_more_is_answered(start):
    api = start()
    assert all(b"200 OK" in exchange(api, request("/livez"), end=False) for _ in range(20))


def test_nothing_is_done_that_is_asked_for_behind_the_last_request(start):
    api = start()
    job_id = submit(api, None)
    api.get(f"/status/{job_id}")
    last = request(f"/status/{job_id}", "Connection: keep-alive", version="1.0")  # uvicorn keeps no connection for it
    assert exchange(api, last, request(f"/jobs/{job_id}")).count(b"HTTP/1.1 ") == 1
    paths = [entry["path"] for entry in api.get("/sandbox/requests").json()["requests"]]
    assert paths == ["/start", *[f"/status/{job_id}"] * 2]


class Impatient(InOnePiece):
    """Closes a connection as soon as it is idle."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.timeout_keep_alive = 0


def test_a_connection_is_not_idle_where_a_request_came_right_behind_a_look(start):
    api = start(http=Impatient)
    api.headers["Connection"] = "close"
    path = f"/status/{submit(api, None)}"
    api.get(path)
    answered = exchange(api, request(path), request("/start", method="POST"), end=False, half=False)
    assert re.findall(rb"HTTP/1.1 (\d+)", answered) == [b"200", b"202"]


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        ("core.dialects.dialect.Form.body", 500),  # which both ways need
        ("api.auth.authenticator.Authenticator.known", 200),  # which the lane alone does
        ("api.polls.log", 200),
    ],
)
def test_a_look_that_fails_goes_the_ordinary_way_where_its_failure_is_told(start, monkeypatch, caplog, broken, status):
    api = start()
    path = f"/status/{submit(api, None)}"
    monkeypatch.setattr(logging.getLogger("translation_server"), "propagate", True)
    api.get(path)
    with monkeypatch.context() as sabotaged:
        sabotaged.setattr(f"translation_server.{broken}", lambda *_: 1 / 0)
        answers = [api.get(path) for _ in range(20)]  # many, lest none of them takes the lane
    assert {answered.status_code for answered in answers} == {status}
    assert "ZeroDivisionError" in caplog.text
    if status == 500:
        assert {answered.headers["content-type"] for answered in answers} == {"application/problem+json"}
        assert all(answered.json()["error_id"] in caplog.text for answered in answers)
    entries = [entry for entry in api.get("/sandbox/requests").json()["requests"] if entry["path"] == path]
    assert [entry["status"] for entry in entries] == [200] + [status] * 20
    assert api.get(path).status_code == 200


def test_strangers_are_none_of_its_business(start):
    api = start()
    path = f"/status/{submit(api, None)}"
    assert [api.get(path).status_code for _ in range(3)] == [200, 200, 200]
    assert api.get(path, auth=("admin", "wrong")).status_code == 401
    assert api.get(path, auth=None, headers={"Authorization": ""}).status_code == 401
    assert api.get(path + "/").status_code == 404
    assert api.get("/status/unknown").status_code == 404
    assert api.head(path).content == b""


def test_a_look_at_hand_needs_no_framework(monkeypatch, start):
    served = []
    serve = FastAPI.__call__

    async def counted(app: FastAPI, scope, receive, send) -> None:
        served.append(scope.get("path"))
        await serve(app, scope, receive, send)

    monkeypatch.setattr(FastAPI, "__call__", counted)
    api = start(max_delay=1000)
    path = f"/status/{submit(api, None)}"
    assert api.get(path, auth=("admin", "wrong")).status_code == 401
    answers = [api.get(path).json() for _ in range(20)]
    assert {answered["status"] for answered in answers} == {"pending"}
    assert 1 <= served.count(path) < 20


OWN = """
[docs-own]
poll = "/jobs/{job_id}/state"
job = {id = "{job_id}", state = "{status}"}
words = {pending = "busy", completed = "done", error = "failed"}

[own]
poll = ["/latest", "/{job_id}"]
job = {id = "{job_id}", state = "{status}"}
words = {pending = "busy", completed = "done", error = "failed"}
"""


def test_formats_of_ones_own_take_it_too(start, tmp_path):
    (tmp_path / "own.toml").write_text(OWN)
    api = start(dialects=tmp_path / "own.toml", max_delay=1000)
    api.post("/translate", json={"job_id": "latest"})
    newest = submit(api, None)
    for path, seen in (
        (f"/docs-own/jobs/{newest}/state", {"id": newest, "state": "busy"}),
        ("/own/latest", {"id": newest, "state": "busy"}),
        ("/own/unknown", None),
        (f"/own/{newest}", {"id": newest, "state": "busy"}),
        ("/status/latest", None),
    ):
        told = [answer(api, path, *headers) for headers in (ORDINARY, [], [])]
        assert seen in (None, json.loads(told[0][2]))
        assert [code for code, _, _ in told] == [told[0][0]] * 3
    assert [entry["path"] for entry in api.get("/sandbox/requests").json()["requests"]].count(
        f"/docs-own/jobs/{newest}/state"
    ) == 3


def test_whoever_needs_no_credentials_takes_it_too():
    with TranslationServer(completion_time=1000) as server, httpx.Client(base_url=server.url, timeout=60) as api:
        path = f"/status/{submit(api, None)}"
        assert [answer(api, path)[0] for _ in range(3)] == [200] * 3
        assert api.get(path, auth=("bob", "")).status_code == 404


def test_whoever_asks_and_never_reads_is_not_read_from_without_end(start):
    api = start(max_delay=1000)
    asked = request(f"/status/{submit(api, None)}").encode() * 150_000  # more than any socket buffers
    where = api.base_url.host, api.base_url.port
    with socket.create_connection(where, timeout=2) as connection, pytest.raises(TimeoutError):
        connection.sendall(asked)
    assert api.get("/jobs").status_code == 200
