"""The poll endpoint: polls get the same answer from the cache and from the store."""

import json
import logging
import re
from dataclasses import replace

import httpx
import pytest

from tests.api import Api
from tests.processes import wait_until
from tests.raw_http import LAST, LOGIN, connect, exchange, head, statuses
from translation_server import TranslationServer
from translation_server.api.protocol import HttpProtocol
from translation_server.app import assemble
from translation_server.core.dialects.builtin import DIALECTS
from translation_server.core.dialects.operations import RequestPattern
from translation_server.core.dialects.routes import routes
from translation_server.core.sandbox import SandboxSettings
from translation_server.storage.memory import MemoryStore

PATHS = [route.pattern.template for route in routes(DIALECTS) if route.action == "poll"]
UNCACHED = [("simulate-fault", "")]  # a header without effect; a poll with it is not answered from the cache


def client_of(app):
    """Returns a client of an application in this process, without a network."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def recorded(client, path):
    """Returns the status codes in the request log for a path."""
    log = (await client.get("/sandbox/requests")).json()
    return [record["status"] for record in log["requests"] if record["path"] == path]


@pytest.fixture
def api(start):
    """Starts a server whose clock is frozen."""
    api = start(max_delay=1000)
    api.set_clock(frozen=True)
    return api


def submit(api, outcome=None):
    """Submits a job with fields that need escaping; with an outcome, ends the job."""
    job_id = api.submit({"source_language": 'a%s "{}" ü', "video_length": 3})
    if outcome == "cancelled":
        assert api.delete(f"/jobs/{job_id}").status_code == 200
    elif outcome:
        api.finish(job_id, outcome, message="100 % wrong")
    return job_id


def answer(api, path, *headers):
    response = api.get(path, headers=httpx.Headers([*api.headers.multi_items(), *headers]))
    headers = {k: v for k, v in response.headers.items() if k != "date"}
    if "wall-elapsed-time" in headers:
        headers["wall-elapsed-time"] = "varies"
    return response.status_code, headers, response.content


@pytest.mark.parametrize("outcome", [None, "completed", "error", "cancelled"])
@pytest.mark.parametrize("path", PATHS)
def test_answers_from_the_cache_and_from_the_store_are_the_same(api, path, outcome):
    path = path.replace("{job_id}", submit(api, outcome))
    api.set_clock(advance=400)
    from_store = answer(api, path, *UNCACHED)
    assert f'"{outcome or "pending"}"'.encode() in from_store[2]
    assert from_store == answer(api, path) == answer(api, path)
    tag = ("if-none-match", from_store[1]["etag"])
    for condition in ([], [tag], [("if-none-match", '"another"')]):
        headers = [("prefer", "wait=0"), *condition]
        assert answer(api, path, *headers) == answer(api, path, *headers, *UNCACHED)


@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_job_is_a_404_with_and_without_a_wait(api, path):
    path = path.replace("{job_id}", "none")
    for headers in ([], [("prefer", "wait=0")], [("prefer", "wait=30")]):
        status, _, _ = from_cache = answer(api, path, *headers)
        assert (from_cache, status) == (answer(api, path, *headers, *UNCACHED), 404)


def test_polls_from_the_cache_and_from_the_store_are_recorded_alike(api):
    path = f"/status/{submit(api)}"
    for headers in (UNCACHED, [], [("prefer", "wait=0")], [*UNCACHED, ("prefer", "wait=0")]):
        answer(api, path, *headers)
    records = api.requests()[-4:]
    for record in records:
        assert record.pop("took") >= 0
        for varying in ("number", "at"):
            del record[varying]
    assert (records[1], records[2]) == (records[0], records[3])


def test_a_long_poll_is_answered_when_its_job_ends(start):
    api = start(max_delay=1000)
    path = f"/status/{submit(api)}"
    answer(api, path)
    api.set_clock(speed=1e5)
    status, headers, body = answer(api, path, ("prefer", "wait=30"))
    assert (status, headers["preference-applied"], b'"status":"completed"' in body) == (200, "wait=30", True)


def test_polls_show_changes_by_another_process(start):
    one, other = start(max_delay=1000), start(max_delay=1000)
    job_id = submit(one)
    path = f"/status/{job_id}"

    def wait_for(api, status):
        wait_until(lambda: status in {(seen := api.get(path)).status_code, seen.json()["status"]}, status)

    for api in (one, other):
        wait_for(api, "pending")
    other.cancel(job_id)
    wait_for(one, "cancelled")
    other.change_sandbox(faults=[{"kind": "status", "code": 418}])
    wait_for(one, 418)
    other.change_sandbox(faults=[])
    wait_for(one, "cancelled")
    other.reset()
    wait_for(one, 404)


def test_pipelined_polls_are_answered_in_order(start):
    api = start(max_delay=1000)
    jobs = [submit(api) for _ in range(2)]
    assert [api.get(f"/status/{job}").status_code for job in jobs] == [200, 200]
    polls = [head(f"/status/{jobs[number % 2]}") for number in range(1000)]
    polls[0] = head(f"/status/{jobs[0]}", b"Simulate-Fault: ")  # slower than the others
    received = exchange(api, b"".join([*polls, LAST])).decode()
    assert re.findall(r'"job_id":"(.*?)"', received) == [jobs[number % 2] for number in range(1000)]


POLL = head("{path}")
ODD_REQUESTS = [
    POLL,
    POLL * 3,
    head("{path}", method="HEAD"),
    head("http://other.example:99{path}"),
    head("{path}?job_id=other#there"),
    head("/%73tatus/{job_id}"),
    head("/status%2F{job_id}"),
    head("{path}%0A"),
    head("{path}%zz%"),
    head("{path}/"),
    head("/{path}"),
    head("/status/" + "x" * 30_000),
    head("/status/" + "x" * 70_000),
    head("{path}", b"X-Twice: 1", b"X-Twice: 2"),
    head("{path}", LOGIN),
    head("{path}", b"Prefer: wait=0", b"Prefer: wait=1"),
    head("{path}", b'Prefer: respond-async, wait = "0"', b"If-None-Match: *"),
    head("{path}", b"If-None-Match: "),
    head("{path}", b"Simulate-Fault: "),
    head("{path}", b"User-Agent: " + b"x" * 70_000),
    head("{path}", b"Expect: 100-continue"),
    head("{path}", b"Content-Length: 3", b"Expect: 100-continue") + b"abc",
    head("{path}", b"Content-Length: 60000") + b"x" * 60_000,
    head("{path}", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
    head("{path}", b"Transfer-Encoding: chunked") + b"no chunk\r\n",
    head("{path}", b"Connection: close") + POLL,
    head("{path}", version="1.0") + POLL,
    head("{path}", b"Connection: keep-alive", version="1.0") + POLL,
    head("{path}", b"Simulate-Fault: ") + POLL + head("/livez") + POLL,
    POLL + head("/status/unknown") + POLL,
]


def test_odd_requests_get_the_same_bytes_whether_faults_are_set_or_not(api):
    job_id = submit(api)

    def answers(sent):
        api.get(f"/status/{job_id}")  # caches the job
        sent = sent.replace(b"{path}", b"/status/{job_id}").replace(b"{job_id}", job_id.encode())
        return re.sub(rb"(date|wall-elapsed-time): .*", rb"\1", exchange(api, sent + LAST))

    without_faults = {sent: answers(sent) for sent in ODD_REQUESTS}
    api.change_sandbox(faults=[{"kind": "status", "code": 418, "route": ["cancel"]}])
    assert without_faults == {sent: answers(sent) for sent in ODD_REQUESTS}
    _, *records = api.get("/sandbox/requests?limit=1000").json()["requests"]
    shown = [str({name: record[name] for name in record if name not in {"number", "at", "took"}}) for record in records]
    assert sorted(shown[: len(shown) // 2]) == sorted(shown[len(shown) // 2 :])


def test_a_client_that_half_closes_at_once_is_answered(start):
    api = start()
    assert all(b"200 OK" in exchange(api, head("/livez"), half_close=True) for _ in range(20))


def test_requests_after_the_last_one_of_a_connection_are_ignored(start):
    api = start()
    job_id = submit(api)
    api.get(f"/status/{job_id}")
    # Uvicorn ignores keep-alive with HTTP/1.0 and closes the connection.
    last = head(f"/status/{job_id}", b"Connection: keep-alive", version="1.0")
    assert exchange(api, last + head(f"/jobs/{job_id}") + LAST).count(b"HTTP/1.1 ") == 1
    paths = [record["path"] for record in api.requests()]
    assert paths == ["/start", *[f"/status/{job_id}"] * 2]


class NoKeepAlive(HttpProtocol):
    """Closes a connection as soon as it is idle."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.timeout_keep_alive = 0


def test_a_connection_is_not_idle_when_a_request_follows_a_poll(start):
    api = start(http=NoKeepAlive)
    api.headers["Connection"] = "close"
    path = f"/status/{submit(api)}"
    api.get(path)
    assert statuses(exchange(api, head(path) + head("/start", method="POST"))) == [200, 202]


async def test_poll_that_fails_is_logged_and_recorded_once(caplog):
    words = dict(DIALECTS[0].words)
    poll = replace(DIALECTS[0].poll, requests=[RequestPattern("GET", "/own/{job_id}")])
    dialect = replace(DIALECTS[0], name="own", words=words, operations=[poll])
    async with client_of(assemble(MemoryStore(), SandboxSettings, None, [dialect])) as client:
        path = f"/own/{(await client.post('/start')).json()['job_id']}"
        words.clear()  # without words, no answer can be rendered
        answers = [await client.get(path) for _ in range(20)]  # many, so that some may be answered from the cache
        assert {answer.status_code for answer in answers} == {500}
        assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
        assert all(answer.json()["error_id"] in caplog.text for answer in answers)
        assert "KeyError" in caplog.text
        words.update(DIALECTS[0].words)
        assert (await client.get(path)).json()["status"] == "pending"
        assert await recorded(client, path) == [500] * 20 + [200]


async def test_poll_that_cannot_be_answered_from_the_cache_is_answered_without_it(caplog):
    app, answered = assemble(MemoryStore(), SandboxSettings, None), False

    async def watched(scope, receive, send):
        nonlocal answered
        answered = False

        async def send_watched(message):
            nonlocal answered
            answered = True
            await send(message)

        await app(scope, receive, send_watched)

    def log(_):
        """Fails before a request is answered: only those from the cache are logged so early."""
        return answered or bool(1 / 0)

    caplog.set_level(logging.DEBUG, "translation_server")
    requests = logging.getLogger("translation_server.api.request_record")
    async with client_of(watched) as client:
        path = f"/status/{(await client.post('/start')).json()['job_id']}"
        assert (await client.get(path)).status_code == 200
        requests.addFilter(log)
        try:
            assert [(await client.get(path)).status_code for _ in range(20)] == [200] * 20
        finally:
            requests.removeFilter(log)
        assert "ZeroDivisionError" in caplog.text
        assert await recorded(client, path) == [200] * 21


def test_polls_without_valid_credentials_or_of_other_paths_are_refused(start):
    api = start()
    path = f"/status/{submit(api)}"
    assert [api.get(path).status_code for _ in range(3)] == [200, 200, 200]
    assert api.get(path, auth=("admin", "wrong")).status_code == 401
    assert api.get(path, auth=None, headers={"Authorization": ""}).status_code == 401
    assert api.get(path + "/").status_code == 404
    assert api.get("/status/unknown").status_code == 404
    assert api.head(path).content == b""


def test_dialects_from_a_file_are_polled_from_the_cache(start, own_dialect):
    api = start(dialects=own_dialect(), max_delay=1000)
    accepted = api.post("/own/tasks")
    assert accepted.status_code == 202
    job_id = accepted.json()["id"]
    for path in (f"/own/tasks/{job_id}", f"/own/tasks/{job_id}/state", f"/own/tasks/{job_id}?view=full"):
        shown = [answer(api, path, *headers) for headers in (UNCACHED, [], [])]
        assert [code for code, _, _ in shown] == [200] * 3
        assert [json.loads(body) for _, _, body in shown] == [{"id": job_id, "state": "busy"}] * 3
    assert len(api.get("/sandbox/requests").json()["requests"]) == 10


def test_apis_see_only_jobs_of_their_own(start, own_dialect):
    api = start(dialects=own_dialect(), max_delay=1000)
    native, own = api.submit(), api.post("/own/tasks").json()["id"]
    assert [api.get(f"/own/tasks/{job_id}").status_code for job_id in (native, own)] == [404, 200]
    assert [api.get(f"/status/{job_id}").status_code for job_id in (native, own)] == [200, 200]


def test_polls_are_cached_without_credentials_too():
    with TranslationServer(completion_time=1000) as server, Api(base_url=server.url, timeout=60) as api:
        path = f"/status/{submit(api)}"
        assert [answer(api, path)[0] for _ in range(3)] == [200] * 3
        assert api.get(path, auth=("bob", "")).status_code == 404


def test_server_stops_reading_from_a_client_that_never_reads(start):
    api = start(max_delay=1000)
    requests = head(f"/status/{submit(api)}") * 150_000  # more than the socket buffers hold
    with connect(api) as connection:
        connection.settimeout(2)
        with pytest.raises(TimeoutError):
            connection.sendall(requests)
    assert api.get("/jobs").status_code == 200
