"""The request log of a sandbox and its report card."""

from urllib.parse import quote

import httpx
import pytest

from tests.examples import CREDENTIALS
from tests.processes import wait_until
from tests.stores import locked
from translation_server.api.request_record import RecordBuilder
from translation_server.core.sandbox import SandboxSettings
from translation_server.service.jobs import Service
from translation_server.service.request_log import RequestLog
from translation_server.storage import StoreError
from translation_server.storage.sqlite.store import SqliteStore


def test_records_have_requests_and_answers(start):
    api = start(max_delay=0)
    job_id = api.post("/start", headers={"Idempotency-Key": "k"}).json()["job_id"]
    api.get(f"/status/{job_id}", headers={"Prefer": "wait=5", "User-Agent": "mine"})
    assert api.get("/nothing").status_code == 404
    first, second, third = api.requests()
    assert (first["number"], first["action"], first["key"], first["status"]) == (1, "submit", "k", 202)
    assert first["jobs"][0]["job_id"] == job_id
    assert (second["action"], second["wait"], second["agent"]) == ("poll", 5, "mine")
    assert (second["jobs"][0]["state"], second["jobs"][0]["ended_at"] > 0) == ("completed", True)
    assert (third["action"], third["path"], third["status"]) == (None, "/nothing", 404)


def test_refused_submissions_have_their_key_and_digest(start):
    api = start(max_body=65_536)
    fault, body = {"Simulate-Fault": '{"kind": "status", "code": 503}'}, {"target_language": "es"}
    assert api.post("/start", json=body, headers=fault | {"Idempotency-Key": "one"}).status_code == 503
    for sent in (body, {"x": "y" * 70000}):
        assert api.post("/start", json=sent, headers=fault).status_code == 503
    first, second, third = api.requests()
    assert [record["key"] for record in (first, second, third)] == ["one", None, None]
    assert first["digest"] == second["digest"] is not None
    assert third["digest"] is None  # too large to be read


NAMED = """
idempotency = "none"

[job.task]
words = { pending = "busy", completed = "done", error = "failed" }
body = { name = "{job_id}", state = "{status}" }
submit = { request = "POST /tasks", job_id = { body = "name" } }
poll = { request = "GET /tasks/{job_id}" }
cancel = { request = "POST /tasks/{job_id}/cancel" }
"""


def test_repeats_that_were_refused_are_no_duplicates_though_faults_hid_the_refusals(start, tmp_path):
    (tmp_path / "mine.toml").write_text(NAMED)
    api = start(dialects=str(tmp_path / "mine.toml"))
    for _ in range(3):
        with pytest.raises(httpx.TransportError):
            api.post("/mine/tasks", json={"name": "one"}, headers={"Simulate-Fault": "reset"})
    assert api.post("/mine/tasks", json={"name": "one"}).status_code == 409
    records = api.requests()
    assert [(record["status"], record["hidden_status"]) for record in records] == [
        (0, 200),
        (0, 409),
        (0, 409),
        (409, None),
    ]
    assert {record["known_by"] for record in records} == {"id"}
    card = api.get("/sandbox/report").json()
    assert (card["overall"]["duplicate_submits"], card["overall"]["jobs"]) == (0, 0)
    assert card["findings"] == []


def test_unused_queries_and_bodies_of_other_apis_are_logged(start, tmp_path):
    (tmp_path / "mine.toml").write_text('auth = ["?key={token}", "basic"]\n' + NAMED)
    api = start(dialects=str(tmp_path / "mine.toml"))
    assert api.post("/mine/tasks", json={"name": "one"}).status_code == 200
    for _ in range(2):  # the second poll is answered from memory
        assert api.get(f"/mine/tasks/one?logs=1&%6bey={quote(CREDENTIALS[1])}&x=%C3%A4").status_code == 200
    assert api.get(f"/mine/tasks/one?{'x' * 1000}").status_code == 200
    assert api.get(f"/mine/tasks/one?{'x' * 1001}").status_code == 200
    cancel = "/mine/tasks/one/cancel"
    assert api.post(cancel, json={"reason": "ä"}, headers={"Simulate-Fault": "no-details"}).status_code == 200
    assert api.post(cancel, content=b"\xff{").status_code == 200
    assert api.post(cancel, content=b"x" * 300_000).status_code == 413
    records = api.requests()[1:]
    assert [record["query"] for record in records] == [
        *["logs=1&x=%C3%A4"] * 2,
        "x" * 1000,
        "x" * 1000 + "…",
        None,
        None,
        None,
    ]
    assert [record["body"] for record in records[4:]] == ['{"reason":"ä"}', "\ufffd{", None]


def test_dripping_answers_are_recorded_as_answers(start):
    api = start()
    drip = {"Simulate-Fault": '{"kind": "drip", "rate": 5000}'}
    assert [api.post("/start", headers=drip).status_code for _ in range(3)] == [202] * 3
    wait_until(lambda: len(api.requests()) == 3)  # a record follows the end of its answer
    assert [(record["status"], record["faults"]) for record in api.requests()] == [(202, ["drip"])] * 3
    card = api.get("/sandbox/report").json()
    assert card["overall"]["retries"] == 0
    assert "retried-without-key" not in [finding["rule"] for finding in card["findings"]]


def test_the_log_is_paged_and_drops_the_oldest_records(start):
    api = start(request_log=5)
    for number in range(8):
        api.get(f"/jobs?limit={number + 1}")
    page = api.get("/sandbox/requests?limit=2").json()
    assert ([record["number"] for record in page["requests"]], page["next"], page["dropped"]) == ([4, 5], 5, 3)
    rest = api.get(f"/sandbox/requests?after={page['next']}").json()
    assert ([record["number"] for record in rest["requests"]], rest["next"]) == ([6, 7, 8], None)
    assert api.get("/sandbox/report").json()["overall"]["dropped"] == 3
    assert api.post("/sandbox/reset").status_code == 200
    assert api.get("/sandbox/requests").json()["dropped"] == 0


def test_records_are_written_once_the_store_is_available_again(start, tmp_path):
    api = start(store=SqliteStore(tmp_path / "jobs.db", lock_timeout=0.1))
    with locked(tmp_path / "jobs.db"):
        for number in range(5):
            assert api.get(f"/jobs?limit={number + 1}").status_code == 200
        assert [api.get(f"/sandbox/{path}").status_code for path in ("requests", "report")] == [503, 503]
    log = api.get("/sandbox/requests").json()
    assert (len(log["requests"]), log["dropped"]) == (5, 0)
    assert log["requests"] == sorted(log["requests"], key=lambda record: record["at"])


async def test_oldest_records_are_dropped_while_the_store_is_not_available(tmp_path):
    store = SqliteStore(tmp_path / "jobs.db", lock_timeout=0.1)
    service = Service(store, SandboxSettings, clock=lambda: 5000.0, entropy=lambda: bytes(64))
    request_log = RequestLog(store, service.sandboxes, 100, batch_size=2, max_waiting=3)
    with locked(tmp_path / "jobs.db"):
        for number in range(5):
            request_log.add("ann", RecordBuilder(1000.0, "GET", f"/{number}", None, tagged=False))
        with pytest.raises(StoreError, match="keeps it locked"):
            await request_log.flush()
    read, more = await request_log.read("ann", after=0, limit=9)
    assert ([record.path for _, record in read], more) == (["/2", "/3", "/4"], False)
    assert request_log.dropped("ann", await request_log.oldest("ann")) == 2
    request_log.drop("ann")
    assert request_log.dropped("ann", await request_log.oldest("ann")) == 0
    await request_log.close()
    await store.close()


def test_the_request_log_can_be_turned_off(start):
    api = start(request_log=0)
    api.get("/jobs")
    assert api.get("/sandbox/requests").json() == {"requests": [], "next": None, "dropped": 0}


@pytest.mark.parametrize(
    ("path", "fields"), [("/jobs", "status, job_id, limit, after"), ("/sandbox/requests", "limit, after")]
)
def test_errors_list_the_known_parameters(start, path, fields):
    answer = start().get(f"{path}?foo=1")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["message"] == f"there is no such field; the fields are {fields}"


def test_events_of_a_stream_are_recorded_as_they_are_sent(start):
    api = start(max_delay=0.1)
    with api.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        job_id = api.submit()
        next(line for line in lines if line.startswith("event: completed"))
        records = api.requests()
    last = [record for record in records if record["action"] == "event"][-1]
    assert [job["state"] for job in last["jobs"]] == ["completed"]
    assert records[-1]["jobs"][0]["job_id"] == job_id


def test_report_cards_are_json_text_or_junit(start):
    api = start(max_delay=0)
    api.job(api.submit())
    card = api.get("/sandbox/report")
    assert (card.headers["Content-Type"], card.json()["overall"]["submits"]) == ("application/json", 1)
    text = api.get("/sandbox/report", headers={"Accept": "text/plain"})
    assert text.headers["Content-Type"].startswith("text/plain")
    junit = api.get("/sandbox/report", headers={"Accept": "application/xml"})
    assert junit.text.lstrip().startswith("<")
