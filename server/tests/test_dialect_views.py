"""What APIs that files describe show of a job besides its poll: further requests, items of lists, and missing files."""

import httpx
import pytest

from tests.examples import CREDENTIALS, TLS

FILE = """
auth = "X-Api-Key: {token}"

[job.task]
words = { pending = "busy", completed = "done", error = "failed" }
output = { words = ["one", "two"] }
body = { id = "{job_id}", state = "{status}", output = "{output}" }

[job.task.submit]
request = "POST /tasks"

[job.task.poll]
request = "GET /tasks/{job_id}"

[job.task.list]
request = "GET /tasks"
item = { id = "{job_id}", state = "{status}", self = "{base_url}/tasks/{job_id}", note = "{input.note}" }
body = { tasks = "{jobs}", number = "{listed}" }

[job.task.view.words]
request = "GET /tasks/{job_id}/words"
body.fault = "not yet"
when.pending.code = 425
when.completed.body = { fault = "{omit}", words = "{output}", id = "{job_id}" }

[job.task.view.lines]
request = "POST /lines"
job_id.body = "task"
body = { id = "{job_id}", lines = "{logs}" }

[job.task.download]
request = "GET /tasks/{job_id}/file"
file = "txt"
when.pending = { code = 425, body.fault = "{status}: not yet" }
when.error = { code = 410, body.fault = "{error_message}" }
"""


@pytest.fixture
def native(start, tmp_path):
    """Starts a server, whose jobs stay pending; yields a client of the native API."""
    (tmp_path / "tasks.toml").write_text(FILE)
    return start(dialects=str(tmp_path / "tasks.toml"))


@pytest.fixture
def api(native):
    """Yields a client of the file's API."""
    headers = {"X-Api-Key": CREDENTIALS[1]}
    with httpx.Client(base_url=native.base_url.join("/tasks"), headers=headers, timeout=60, verify=TLS) as client:
        yield client


def test_a_view_shows_the_job_in_its_own_form_in_each_state(api, native):
    job_id = api.post("/tasks").json()["id"]
    answer = api.get(f"/tasks/{job_id}/words")
    assert (answer.status_code, answer.json()) == (425, {"fault": "not yet"})
    native.finish(job_id)
    answer = api.get(f"/tasks/{job_id}/words")
    assert (answer.status_code, answer.json()) == (200, {"words": {"words": ["one", "two"]}, "id": job_id})


def test_a_kind_may_have_several_views_with_the_id_at_any_place(api):
    job_id = api.post("/tasks").json()["id"]
    assert api.post("/lines", json={"task": job_id}).json() == {"id": job_id, "lines": []}
    assert api.post("/lines", json={"task": "unknown"}).status_code == 404
    assert api.get("/tasks/unknown/words").status_code == 404


def test_faults_of_results_affect_views(api, native):
    job_id = api.post("/tasks").json()["id"]
    native.set_faults({"kind": "status", "code": 503, "route": ["result"]})
    assert api.get(f"/tasks/{job_id}/words").status_code == 503
    assert api.get(f"/tasks/{job_id}").status_code == 200


def test_the_items_of_a_list_may_have_a_template_of_their_own(api):
    job_id = api.post("/tasks", json={"note": "mine"}).json()["id"]
    url = f"{api.base_url}tasks/{job_id}"
    item = {"id": job_id, "state": "busy", "self": url, "note": "mine"}
    assert api.get("/tasks").json() == {"tasks": [item], "number": 1}


def test_a_file_says_what_a_download_of_a_job_without_a_file_is(api, native):
    pending, failed, done = (api.post("/tasks").json()["id"] for _ in range(3))
    native.finish(failed, outcome="error")
    native.finish(done)
    why = native.job(failed)["error_message"]
    answers = [api.get(f"/tasks/{job_id}/file") for job_id in (pending, failed, done)]
    assert [answer.status_code for answer in answers] == [425, 410, 200]
    assert [answer.json() for answer in answers[:2]] == [{"fault": "busy: not yet"}, {"fault": why}]
    assert answers[2].headers["content-type"].startswith("text/plain")
