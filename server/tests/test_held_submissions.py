"""Submissions whose answers wait for the end of the job (`Prefer: wait`), over HTTP."""

import logging
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api import Api
from tests.examples import CREDENTIALS
from tests.processes import wait_until
from tests.raw_http import connect, head
from translation_server import TranslationServer

FILE = """
auth = "X-Api-Key: {token}"

[job.task]
words = { pending = ["waiting", "busy"], completed = "done", error = "failed", cancelled = "stopped" }
body = { id = "{job_id}", state = "{status}", output = "{output}" }
output = 7

[job.task.submit]
request = "POST /tasks"
code = 201
wait = 5

[job.task.poll]
request = "GET /tasks/{job_id}"

[job.task.cancel]
request = "DELETE /tasks/{job_id}"

[job.quick]
body = { id = "{job_id}", state = "{status}" }
submit = { request = "POST /quick" }
poll = { request = "GET /quick/{job_id}" }
"""

KEY = {"X-Api-Key": CREDENTIALS[1]}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "held.toml").write_text(FILE)
    return str(tmp_path / "held.toml")


@pytest.fixture
def native(start, path):
    """Starts a server, whose jobs stay pending."""
    return start(dialects=path)


def submit(native, prefer, path="/held/tasks", **more):
    return native.post(path, json=more, headers=KEY | {"Prefer": prefer})


def test_the_answer_is_that_of_the_end(start, path):
    native = start(dialects=path, max_delay=0.3)
    answer = submit(native, "wait=30")
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait=30")
    job = answer.json()
    assert job == {"id": job["id"], "state": "done", "output": 7}
    assert "retry-after" not in answer.headers
    failed = submit(native, "wait=30", simulate={"outcome": "error", "delay": 0.1})
    assert failed.json()["state"] == "failed"


def test_after_the_time_the_answer_is_that_of_a_pending_job(native):
    answer = submit(native, "wait=1")
    assert (answer.json()["state"], answer.headers["preference-applied"]) == ("waiting", "wait=1")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(("prefer", "applied"), [("wait", "wait=5"), ("WAIT ; x", "wait=5"), ("wait=999", "wait=60")])
def test_the_file_says_what_a_wait_without_a_number_is(start, path, prefer, applied):
    answer = submit(start(dialects=path, max_delay=0), prefer)
    assert (answer.json()["state"], answer.headers["preference-applied"]) == ("done", applied)


@pytest.mark.parametrize(("prefer", "kind"), [("", "tasks"), ("wait=0", "tasks"), ("wait=50", "quick")])
def test_all_other_submissions_are_answered_at_once(native, prefer, kind):
    answer = submit(native, prefer, f"/held/{kind}")
    assert answer.json()["state"] in {"waiting", "pending"}
    assert answer.headers.get("preference-applied") == ("wait=0" if prefer == "wait=0" else None)


@pytest.mark.parametrize("ends", ["finish", "cancel"])
def test_a_change_ends_the_wait(native, ends):
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(submit, native, "wait=50")
        wait_until(lambda: native.get("/jobs").json()["jobs"])
        [job] = native.get("/jobs").json()["jobs"]
        if ends == "finish":
            native.finish(job["job_id"])
        else:
            assert native.delete(f"/held/tasks/{job['job_id']}", headers=KEY).is_success
        assert waiting.result().json() == {
            "id": job["job_id"],
            "state": "done" if ends == "finish" else "stopped",
            "output": 7 if ends == "finish" else None,
        }


def test_a_repeated_submission_waits_for_the_same_job(start, path):
    native = start(dialects=path, max_delay=0.2)
    headers = KEY | {"Prefer": "wait=30", "Idempotency-Key": "k"}
    first, second = (native.post("/held/tasks", json={}, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert (second.json()["state"], second.headers["idempotency-replayed"]) == ("done", "true")


def test_a_job_that_only_polls_can_end_is_answered_at_once(native):
    assert submit(native, "wait=50", simulate={"after_polls": 2}).json()["state"] == "waiting"


def test_the_request_log_and_the_report_card_know_the_end(start, path):
    native = start(dialects=path, max_delay=0.3)
    job_id = submit(native, "wait=30").json()["id"]
    [record] = native.requests()
    assert (record["action"], record["wait"], record["status"], record["took"] > 0.2) == ("submit", 30, 201, True)
    assert [(job["job_id"], job["state"]) for job in record["jobs"]] == [(job_id, "completed")]
    report = native.get("/sandbox/report").json()
    card = report["overall"]
    assert (card["submits"], card["jobs"], card["polls"], card["long_polls"]) == (1, 1, 0, 0)
    assert card["lateness_median"] is not None
    assert {finding["rule"] for finding in report["findings"]} <= {"no-idempotency-key"}


def test_a_disconnect_ends_the_wait_and_the_job_goes_on(native, caplog):
    with caplog.at_level(logging.DEBUG), connect(native) as connection:
        headers = (b"Prefer: wait=60", f"X-Api-Key: {KEY['X-Api-Key']}".encode(), b"Content-Length: 0")
        connection.sendall(head("/held/tasks", *headers).replace(b"GET", b"POST", 1))
        wait_until(lambda: native.get("/jobs").json()["jobs"])
        connection.close()
        wait_until(lambda: "the client disconnected" in caplog.text)
    assert [job["status"] for job in native.get("/jobs").json()["jobs"]] == ["pending"]


def test_waiting_submissions_end_when_the_server_stops(path):
    with ThreadPoolExecutor() as pool:
        with TranslationServer(completion_time=1000, dialects=path) as server, Api(base_url=server.url) as native:
            waiting = pool.submit(httpx.post, f"{server.url}/held/tasks", headers={"Prefer": "wait=50"}, timeout=60)
            wait_until(lambda: native.get("/jobs").json()["jobs"])
        assert waiting.result().json()["state"] == "waiting"
