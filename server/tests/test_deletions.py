"""Jobs that are deleted: unknown to their API, and known to the native routes, the sandbox and the report card."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import httpx
import pytest

from tests.processes import wait_until
from tests.test_polls import answer
from tests.test_waits import events

OPERATIONS = """
send = {name = "{job_id}"}
when.completed.body.url = "{file_url:mp4}"
result.request = "GET /tasks/{job_id}/result"
cancel.request = "POST /tasks/{job_id}/cancel"
delete = {request = "DELETE /tasks/{job_id}", body = {deleted = "{job_id}"}}
download = {request = "GET /tasks/{job_id}/file", file = "mp4"}
list = {request = "GET /tasks", page = {size = "size", cursor = "after", default = 2}, body.ids = "{jobs}"}
batch_poll = {request = "GET /some-tasks", ids = "id", body.ids = "{jobs}"}
"""

REQUESTS = [
    ("GET", "/own/tasks/{}"),
    ("GET", "/own/tasks/{}/state"),
    ("GET", "/own/tasks/{}/result"),
    ("GET", "/own/tasks/{}/file"),
    ("POST", "/own/tasks/{}/cancel"),
    ("DELETE", "/own/tasks/{}"),
]


@pytest.fixture
def make(start, own_dialect):
    """Starts a server that speaks an API with a `delete`; another call starts another one on the same database."""
    path = own_dialect(end=OPERATIONS)
    return lambda **settings: start(dialects=path, **settings)


def submit(api, name=None, seconds=1000):
    """Submits a job to the API and returns its id."""
    accepted = api.post("/own/tasks", json={"name": name, "simulate": {"delay": seconds, "outcome": "completed"}})
    assert accepted.status_code == 202, accepted.text
    return accepted.json()["id"]


def delete(api, job_id):
    answered = api.delete(f"/own/tasks/{job_id}")
    assert (answered.status_code, answered.json()) == (200, {"deleted": job_id})


@pytest.mark.parametrize("seconds", [0, 1000])
def test_deleted_job_is_unknown_to_its_api(make, seconds):
    api = make()
    job_id, other = submit(api, seconds=seconds), submit(api)
    delete(api, job_id)
    for method, path in REQUESTS:
        unknown = api.request(method, path.format("unknown"))
        deleted = api.request(method, path.format(job_id))
        assert (deleted.status_code, unknown.status_code) == (404, 404), (method, path)
        assert deleted.json() == unknown.json()
    assert [job["id"] for job in api.get("/own/tasks").json()["ids"]] == [other]
    assert [job["id"] for job in api.get(f"/own/some-tasks?id={job_id},{other}").json()["ids"]] == [other]


@pytest.mark.parametrize("seconds", [0, 1000])
def test_deleted_job_is_known_to_the_native_routes(make, seconds):
    api = make()
    job_id = submit(api, seconds=seconds)
    delete(api, job_id)
    state = "cancelled" if seconds else "completed"
    assert api.job(job_id)["status"] == state
    assert [(job["job_id"], job["status"]) for job in api.get("/jobs").json()["jobs"]] == [(job_id, state)]
    assert api.get("/jobs", params={"job_id": job_id}).json()["jobs"][0]["status"] == state
    assert api.get(f"/sandbox/jobs/{job_id}").json()["input"]["simulate"]["delay"] == seconds
    assert [record["action"] for record in api.requests()][:2] == ["submit", "cancel"]
    assert api.get("/sandbox/report").status_code == 200


def test_deletion_is_no_abandonment_to_the_report_card(make):
    def card(end):
        api.reset()
        job_id = submit(api)
        api.get(f"/own/tasks/{job_id}")
        assert api.request(*end(job_id)).status_code == 200
        return [finding["rule"] for finding in api.get("/sandbox/report").json()["findings"]]

    api = make()
    assert card(lambda job_id: ("DELETE", f"/own/tasks/{job_id}")) == card(
        lambda job_id: ("POST", f"/own/tasks/{job_id}/cancel")
    )


def test_deletion_does_not_move_the_end_of_a_job(make):
    api = make()
    job_id = submit(api, seconds=0)
    api.get(f"/own/tasks/{job_id}")
    delete(api, job_id)
    api.job(job_id)
    ends = {job["ended_at"] for record in api.requests()[1:] for job in record["jobs"]}
    assert len(ends) == 1


def test_polls_from_the_cache_know_of_deletions(make):
    here, there = make(), make()
    job_id = submit(here)
    path = f"/own/tasks/{job_id}"
    assert [answer(api, path)[0] for api in (here, here, there, there)] == [200] * 4
    delete(here, job_id)
    assert answer(here, path)[0] == 404
    wait_until(lambda: answer(there, path)[0] == 404)
    assert [answer(here, f"/status/{job_id}")[0] for _ in range(2)] == [200, 200]


def test_deletion_ends_long_polls_in_the_same_and_in_another_process(make):
    here, there = make(), make()
    for deleter in (here, there):
        job_id = submit(here)
        waiting = {"headers": {"Prefer": "wait=30"}, "timeout": 40}
        with ThreadPoolExecutor() as pool:
            polls = [pool.submit(here.get, path + job_id, **waiting) for path in ("/own/tasks/", "/status/")]
            delete(deleter, job_id)
            own, native = [poll.result(25) for poll in polls]
        assert own.status_code == 404
        assert (native.status_code, native.json()["status"]) == (200, "cancelled")


def test_chosen_id_of_a_deleted_job_stays_taken(make):
    api = make()
    assert submit(api, "mine") == "mine"
    delete(api, "mine")
    assert api.post("/own/tasks", json={"name": "mine"}).status_code == 409


def test_file_of_a_deleted_job_is_refused_like_an_unknown_one(make):
    api = make()
    job_id = submit(api, seconds=0)
    url = api.get(f"/own/tasks/{job_id}").json()["url"]
    with httpx.Client(timeout=60) as anyone:
        assert anyone.get(url).status_code == 200
        delete(api, job_id)
        deleted = anyone.get(url)
        api.reset()
        unknown = anyone.get(url)
    assert (deleted.status_code, unknown.status_code) == (404, 404)
    assert deleted.json() == unknown.json()


def test_list_goes_on_behind_a_deleted_job(make):
    api = make()
    ids = [submit(api) for _ in range(5)][::-1]
    seen, after = [], {}
    while page := [job["id"] for job in api.get("/own/tasks", params=after).json()["ids"]]:
        for job_id in page:
            delete(api, job_id)
        seen, after = seen + page, {"after": page[-1]}
    assert seen == ids


def test_event_stream_shows_a_deletion_as_a_cancel_or_not_at_all(make):
    api = make()
    ended, pending, last = submit(api, seconds=0), submit(api), submit(api)
    with api.stream("GET", "/events", headers={"Last-Event-ID": "0"}) as stream:
        assert stream.status_code == 200
        shown = (json.loads(event["data"]) for event in events(stream.iter_lines()) if "data" in event)
        changes = [(job["job_id"], job["status"]) for job in islice(shown, 3)]
        delete(api, ended)
        delete(api, pending)
        assert api.delete(f"/jobs/{last}").status_code == 200
        changes += [(job["job_id"], job["status"]) for job in islice(shown, 2)]
    began = [(ended, "completed"), (pending, "pending"), (last, "pending")]
    assert changes == [*began, (pending, "cancelled"), (last, "cancelled")]
