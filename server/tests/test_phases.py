"""Pending jobs whose answers differ by the API's word, and the whole input in answers, over HTTP."""

import httpx
import pytest

from tests.examples import CREDENTIALS, TLS

FILE = """
auth = "X-Api-Key: {token}"

[job.task]
words = { pending = ["queued", "running"], completed = "done", error = "failed" }
body = { id = "{job_id}", state = "{status}", sent = "{input}" }
when.queued = { headers = { x-place = "{queue_position}" }, body = { place = "{queue_position}" } }
when.pending.body = { eta = 5, place = "{omit}" }
when.running = { code = 202, body = { done = "{progress | percent}", eta = "{omit}", self = "{base_url}/{job_id}" } }

[job.task.submit]
request = "POST /tasks"

[job.task.poll]
request = "GET /tasks/{job_id}"

[job.task.result]
request = "GET /tasks/{job_id}/result"
body = { output = "{output}" }
when.running.body.output = "soon"

[job.task.list]
request = "GET /tasks"
body.tasks = "{jobs}"

[fixed.echo]
request = "POST /echo"
body = { said = "{input}" }
"""


@pytest.fixture
def native(start, tmp_path):
    (tmp_path / "phased.toml").write_text(FILE)
    return start(dialects=str(tmp_path / "phased.toml"))


@pytest.fixture
def api(native):
    key = {"X-Api-Key": CREDENTIALS[1]}
    with httpx.Client(base_url=native.base_url.join("/phased"), headers=key, timeout=60, verify=TLS) as client:
        yield client


def test_the_body_of_a_pending_job_follows_its_word(api, native):
    job = api.post("/tasks", json={"a": {"b": [1]}}).json()
    sent = {"a": {"b": [1]}}
    assert job == {"id": job["id"], "state": "queued", "sent": sent, "eta": 5, "place": 10}
    path = f"/tasks/{job['id']}"
    for _ in range(2):  # the second is answered from memory
        polled = api.get(path)
        assert (polled.status_code, polled.headers["x-place"]) == (200, str(polled.json()["place"]))
    assert api.get(f"{path}/result").json() == {"output": None}
    assert native.post("/sandbox/clock", json={"advance": 600}).is_success
    for _ in range(2):
        polled = api.get(path)
        assert (polled.status_code, "x-place" in polled.headers) == (202, False)
        running = polled.json()
        assert 60 <= running.pop("done") < 100
        assert running == {"id": job["id"], "state": "running", "sent": sent, "self": f"{api.base_url}{job['id']}"}
    assert api.get(f"{path}/result").json() == {"output": "soon"}
    assert [task["state"] for task in api.get("/tasks").json()["tasks"]] == ["running"]
    native.finish(job["id"])
    assert api.get(path).json() == {"id": job["id"], "state": "done", "sent": sent}


def test_the_whole_input_is_repeated_without_the_simulators_field(api):
    job = api.post("/tasks", json={"x": 1, "simulate": {"delay": 0}}).json()
    assert job["sent"] == {"x": 1}
    assert api.post("/tasks").json()["sent"] == {}
    assert api.post("/echo", json={"x": [1]}).json() == {"said": {"x": [1]}}
