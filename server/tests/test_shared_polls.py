"""Several kinds of jobs of an API at the same path, and ids that callers choose, over HTTP."""

import httpx
import pytest

from tests.examples import CREDENTIALS, TLS

FILE = """
auth = "X-Api-Key: {token}"

[error]
body.message = "{detail}"
when.409 = { code = 400, body = { type = "Conflict", message = "The name exists." } }

[job.image]
words = { pending = "PENDING", completed = "SUCCEEDED", error = "FAILED" }
send = { name = "{job_id}" }
body = { id = "{job_id}", status = "{status}", output = "{output}" }
output = ["image"]
submit = { request = ["POST /images", "PUT /images/{job_id}"] }
poll = { request = "GET /tasks/{job_id}" }
cancel = { request = "POST /tasks/{job_id}/cancel" }
result = { request = "POST /result", job_id = { body = "id" }, body.output = "{output}", when.error.code = 400 }

[job.video]
words = { pending = ["WAITING", "PENDING"], completed = "SUCCEEDED", error = "FAILED" }
send = { name = "{job_id}" }
body = { id = "{job_id}", status = "{status}", seconds = 5, url = "{base_url}/tasks/{job_id}" }
output = ["video"]
submit = { request = "POST /videos" }
poll = { request = "GET /tasks/{job_id}" }
cancel = { request = "POST /tasks/{job_id}/cancel" }
result = { request = "POST /result", job_id = { body = "id" }, body.output = "{output}", when.error.code = 400 }

[job.twin]
words = { pending = "PENDING", completed = "SUCCEEDED", error = "FAILED" }
send = {}
body = { id = "{job_id}", status = "{status}", output = "{output}" }
submit = { request = "POST /twins", job_id = { query = "jobId", text = "jobs/{job_id}" } }
poll = { request = "GET /tasks/{job_id}" }
"""


@pytest.fixture
def native(start, tmp_path):
    (tmp_path / "shared.toml").write_text(FILE)
    return start(dialects=str(tmp_path / "shared.toml"))


@pytest.fixture
def api(native):
    key = {"X-Api-Key": CREDENTIALS[1]}
    with httpx.Client(base_url=native.base_url.join("/shared"), headers=key, timeout=60, verify=TLS) as client:
        yield client


def submit(api, path, **fields):
    answer = api.post(path, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def test_the_id_shows_which_kind_of_job_is_polled(api, native):
    image, video, twin = submit(api, "/images"), submit(api, "/videos"), submit(api, "/twins")
    for _ in range(3):  # from the store, and from memory
        assert api.get(f"/tasks/{image}").json() == {"id": image, "status": "PENDING", "output": None}
        assert api.get(f"/tasks/{twin}").json() == {"id": twin, "status": "PENDING", "output": None}
        polled = api.get(f"/tasks/{video}").json()
        assert polled == {"id": video, "status": "WAITING", "seconds": 5, "url": f"{api.base_url}tasks/{video}"}
    native.finish(image)
    native.finish(video)
    assert api.post("/result", json={"id": image}).json() == {"output": ["image"]}
    assert api.post("/result", json={"id": video}).json() == {"output": ["video"]}
    assert api.get(f"/tasks/{image}").json()["output"] == ["image"]
    assert api.get("/tasks/unknown").status_code == 404
    assert api.post("/tasks/unknown/cancel").status_code == 404


def test_polls_of_several_kinds_are_recorded_and_hold_as_all_others(api, native):
    video = submit(api, "/videos", simulate={"delay": 0.3})
    answer = api.get(f"/tasks/{video}", headers={"Prefer": "wait=20"})
    assert answer.json()["status"] in {"PENDING", "SUCCEEDED"}
    assert {(record["action"], record["dialect"]) for record in native.requests()} == {
        ("submit", "shared"),
        ("poll", "shared"),
    }


def test_cancellations_find_the_kind_too(api):
    for path in ("/images", "/videos"):
        job_id = submit(api, path)
        assert api.post(f"/tasks/{job_id}/cancel").json()["status"] == "FAILED"


def test_a_chosen_id_is_unique_among_jobs_of_its_kind(api, native):
    assert submit(api, "/images", name="mine") == "mine"
    taken = api.post("/images", json={"name": "mine"})
    assert (taken.status_code, taken.json()) == (400, {"type": "Conflict", "message": "The name exists."})
    assert api.get("/tasks/mine").json()["status"] == "PENDING"
    assert submit(api, "/videos", name="mine") == "mine"
    for _ in range(2):
        both = api.get("/tasks/mine")
        assert (both.status_code, both.json()["message"]) == (400, "The name exists.")
    assert native.get("/jobs/mine").status_code == 409
    report = native.get("/sandbox/report").json()
    assert {card["job_id"] for card in report["jobs"]} == {"mine (shared/image)", "mine (shared/video)"}


def test_an_id_may_be_chosen_in_the_path_or_in_the_query(api, native):
    put = api.put("/images/first.1", json={"x": 1})
    assert (put.status_code, put.json()["id"]) == (200, "first.1")
    again = api.put("/images/first.1", json={"x": 1})
    assert (again.status_code, again.json()["type"]) == (400, "Conflict")
    assert api.get("/tasks/first.1").json()["status"] == "PENDING"
    assert submit(api, "/twins?jobId=jobs/second") == "second"
    assert native.get("/sandbox/jobs/second").json()["input"] == {"jobId": "jobs/second"}
    assert len(submit(api, "/twins")) == 36
    assert submit(api, f"/twins?jobId=jobs/{'x' * 200}") == "x" * 200


@pytest.mark.parametrize("wrong", ["second", "jobs/", "jobs/a b", "jobs/.a", f"jobs/{'x' * 201}"])
def test_a_chosen_id_of_another_form_is_refused(api, wrong):
    refused = api.post("/twins", params={"jobId": wrong}, json={})
    assert (refused.status_code, refused.json()["message"].partition(":")[0]) == (422, "jobId")


def test_jobs_of_other_apis_are_unknown(api, native):
    job_id = native.submit()
    assert api.get(f"/tasks/{job_id}").status_code == 404
