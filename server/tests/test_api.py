"""The native API, over HTTP against a real server."""

import json
import re
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from tests.api import is_problem
from tests.examples import cheap_hash
from tests.stores import add, full_disk, locked
from translation_server.storage import open_store
from translation_server.storage.memory import MemoryStore

UNSET = dict.fromkeys(
    ["completed_at", "error_message", "error_code", "output", "source_language", "target_language", "video_length"]
)
PENDING = {"status": "pending", "result": "pending"} | UNSET


@pytest.mark.parametrize("path", ["/start", "/jobs"])
def test_a_submission_is_answered_with_location_and_retry_after(api, path):
    answer = api.post(path)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/status/{job['job_id']}"
    assert answer.headers["Retry-After"] == "1000"
    assert str(uuid.UUID(job["job_id"])) == job["job_id"]
    assert datetime.fromisoformat(job["created_at"]).tzinfo is not None
    assert job == job | PENDING | {"progress": 0.0, "elapsed_time": 0.0}


@pytest.mark.parametrize("path", ["/status/{}", "/jobs/{}"])
def test_a_poll_of_a_pending_job_has_a_hint(api, path):
    sent = {"source_language": "en", "target_language": "pt-BR", "video_length": 12.5}
    job_id = api.submit(sent)
    answer = api.get(path.format(job_id))
    job = answer.json()
    assert answer.status_code == 200
    assert int(answer.headers["Retry-After"]) > 900
    assert job == job | PENDING | sent | {"job_id": job_id}
    assert 0 <= job["progress"] < 1
    assert job["elapsed_time"] >= 0


@pytest.mark.parametrize(("probability", "status"), [(0, "completed"), (1, "error")])
def test_a_poll_of_an_ended_job_has_its_outcome(start, probability, status):
    api = start(max_delay=0, error_probability=probability)
    answer = api.get(f"/status/{api.submit()}")
    job = answer.json()
    assert answer.status_code == 200
    assert "Retry-After" not in answer.headers
    assert (job["status"], job["result"], job["progress"]) == (status, status, 1.0)
    assert job["completed_at"] == job["created_at"]
    assert (job["error_message"] is not None) == (status == "error")


def test_a_job_goes_from_pending_to_its_end_by_itself(start):
    api = start(max_delay=0.3)
    seen = [api.job(api.submit())]
    path = f"/status/{seen[0]['job_id']}"
    while seen[-1]["status"] == "pending":
        seen.append(api.get(path).json())
    assert [job["status"] for job in (seen[0], seen[-1])] == ["pending", "completed"]
    assert seen[-1]["elapsed_time"] == 0.3
    progress = [job["progress"] for job in seen]
    assert progress == sorted(progress)


def test_the_same_seed_gives_the_same_fates(start, tmp_path):
    def fates(name, seed):
        settings = {"seed": seed, "min_delay": 0, "max_delay": 1e-6, "error_probability": 0.5}
        api = start(database_url=f"sqlite:///{tmp_path}/{name}.db", **settings)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: api.job(api.submit()), range(40)))
        jobs = api.get("/jobs", params={"limit": 100}).json()["jobs"]
        return [job["status"] for job in jobs]

    one, again, other = fates("one", "a"), fates("again", "a"), fates("other", "b")
    assert one == again != other
    assert len(one) == 40


def test_unknown_jobs_and_jobs_of_other_users_get_the_same_404(start, tmp_path):
    hashed = cheap_hash("pw")
    (tmp_path / "users").write_text(f"ann:{hashed}\nbob:{hashed}")
    api = start(auth=("ann", "pw"), users_file=tmp_path / "users")
    job_id = api.submit()
    for method, path in [("GET", "/status/{}"), ("GET", "/jobs/{}"), ("DELETE", "/jobs/{}")]:
        theirs = api.request(method, path.format(job_id), auth=("bob", "pw"))
        unknown = api.request(method, path.format(uuid.uuid4()), auth=("bob", "pw"))
        assert is_problem(theirs, 404)
        assert is_problem(unknown, 404)
        assert theirs.content == unknown.content
    assert api.get("/jobs", auth=("bob", "pw")).json() == {"jobs": [], "next": None}
    assert api.get(f"/jobs?job_id={job_id}", auth=("bob", "pw")).json() == {"jobs": [], "unknown": [job_id]}
    assert api.get(f"/status/{job_id}").json()["status"] == "pending"


@pytest.mark.anyio
async def test_an_id_of_several_jobs_is_a_409_that_names_them(start, tmp_path):
    api, store = start(), open_store(f"sqlite:///{tmp_path}/jobs.db")
    await add(store, "admin", job_id="mine", api="aws", kind="transcription")
    await store.close()
    assert api.post("/translate", json={"job_id": "mine"}).status_code == 202
    detail = "You have several jobs mine: the transcription of aws and the translation of native."
    for method, path, body in (
        ("GET", "/status/mine", None),
        ("GET", "/job/mine", None),
        ("GET", "/jobs?job_id=mine", None),
        ("GET", "/jobs/mine/events", None),
        ("DELETE", "/jobs/mine", None),
        ("POST", "/sandbox/jobs/mine", {"do": "finish"}),
    ):
        answer = api.request(method, path, json=body)
        assert is_problem(answer, 409), path
        assert answer.json()["detail"].startswith(detail)
    assert [job["status"] for job in api.get("/jobs").json()["jobs"]] == ["pending", "completed"]


def test_cancelling_ends_a_pending_job_once(api):
    path = f"/jobs/{api.submit()}"
    cancelled = api.delete(path)
    assert cancelled.status_code == 200
    assert "Retry-After" not in cancelled.headers
    assert (cancelled.json()["status"], cancelled.json()["result"]) == ("cancelled", "cancelled")
    assert cancelled.json()["progress"] < 1
    assert cancelled.json()["completed_at"] is not None
    assert api.delete(path).json() == api.get(path).json() == cancelled.json()


def test_cancelling_an_ended_job_changes_nothing(start):
    api = start(max_delay=0)
    path = f"/jobs/{api.submit()}"
    assert api.delete(path).json() == api.get(path).json()
    assert api.get(path).json()["status"] == "completed"


def test_jobs_are_listed_newest_first_page_by_page(api):
    ids = [api.submit() for _ in range(5)]
    listed = [[job["job_id"] for job in page["jobs"]] for page in api.pages("/jobs", limit=2)]
    newest = ids[::-1]
    assert listed == [newest[:2], newest[2:4], newest[4:]]


def test_a_page_has_twenty_jobs_by_default(api):
    for _ in range(21):
        api.submit()
    page = api.get("/jobs").json()
    assert len(page["jobs"]) == 20
    assert len(api.get("/jobs", params={"after": page["next"]}).json()["jobs"]) == 1


def test_jobs_are_listed_by_status(api):
    pending, cancelled = api.submit(), api.submit()
    api.cancel(cancelled)
    listed = {
        status: [job["job_id"] for job in api.get("/jobs", params={"status": status}).json()["jobs"]]
        for status in ("pending", "completed", "error", "cancelled")
    }
    assert listed == {"pending": [pending], "completed": [], "error": [], "cancelled": [cancelled]}


def test_a_batch_poll_keeps_the_order_and_lists_unknown_ids(api):
    ids = [api.submit() for _ in range(3)]
    asked = [ids[2], "unknown", ids[0], ids[2], ""]
    answer = api.get("/jobs", params={"job_id": asked})
    assert answer.status_code == 200
    assert [job["job_id"] for job in answer.json()["jobs"]] == [ids[2], ids[0]]
    assert answer.json()["unknown"] == ["unknown", ""]


@pytest.mark.parametrize(
    ("query", "fields", "message"),
    [
        ("status=done", ["status"], "'pending', 'completed', 'error' or 'cancelled'"),
        ("limit=0", ["limit"], "greater than or equal to 1"),
        ("limit=101", ["limit"], "less than or equal to 100"),
        ("limit=x", ["limit"], "valid integer"),
        ("after=0", ["after"], "greater than or equal to 1"),
        ("after=99999999999999999999", ["after"], "less than"),
        ("after=x&limit=-1", ["limit", "after"], "valid integer"),
        ("stauts=pending", ["stauts"], "the fields are status, job_id, limit, after"),
        ("&".join(f"job_id={n}" for n in range(101)), ["job_id"], "at most 100"),
    ],
)
def test_unusable_list_parameters_are_refused(api, query, fields, message):
    answer = api.get(f"/jobs?{query}")
    assert is_problem(answer, 422)
    assert [error["field"] for error in answer.json()["errors"]] == fields
    assert message in answer.json()["detail"]


def test_job_id_cannot_be_combined_with_page_parameters(api):
    assert is_problem(api.get("/jobs?job_id=x&limit=5"), 422)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs", "GET, HEAD, POST"),
        ("GET", "/start", "POST"),
        ("POST", "/status/x", "GET, HEAD"),
        ("POST", "/jobs/x", "DELETE, GET, HEAD"),
        ("DELETE", "/livez", "GET, HEAD"),
        ("OPTIONS", "/start", "POST"),
    ],
)
def test_an_unsupported_method_is_a_405_with_allow(api, method, path, allowed):
    answer = api.request(method, path)
    assert is_problem(answer, 405)
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/jobs/", "/status/", "/status/a/b", "/nothing", "/%00"])
def test_an_unknown_path_is_a_404(api, path):
    assert is_problem(api.get(path), 404)


@pytest.mark.parametrize("path", ["/status/%00", "/status/%F0%28", "/status/..%2f", "/jobs/" + "x" * 5000])
def test_an_odd_job_id_is_a_404(api, path):
    assert is_problem(api.get(path), 404)


def test_head_is_get_without_a_body(api):
    path = f"/status/{api.submit()}"
    head = api.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) > 100
    assert "Retry-After" in head.headers
    assert api.head("/status/unknown").status_code == 404
    assert api.head("/livez").status_code == 200


def test_a_full_disk_is_a_503_until_there_is_room(start, tmp_path):
    api = start()
    job_id = api.submit()
    with full_disk(tmp_path / "jobs.db"):
        refused = api.post("/start", headers={"Idempotency-Key": "one"})
        polled = api.get(f"/status/{job_id}")
    assert is_problem(refused, 503)
    assert refused.headers["Retry-After"] == "1"
    assert str(tmp_path) not in refused.text
    assert polled.status_code == 200
    assert api.post("/start", headers={"Idempotency-Key": "one"}).status_code == 202
    assert len(api.get("/jobs").json()["jobs"]) == 2


def test_a_store_that_takes_no_job_is_not_ready(start, tmp_path):
    api = start()
    assert (api.post("/start").status_code, api.get("/readyz").status_code) == (202, 200)
    with full_disk(tmp_path / "jobs.db"):
        assert [is_problem(api.get("/readyz"), 503), is_problem(api.post("/start"), 503)] == [True, True]
    assert api.get("/readyz").status_code == 200
    with locked(tmp_path / "jobs.db"):
        assert is_problem(api.get("/readyz"), 503)
    assert [api.get("/readyz").status_code for _ in range(3)] == [200, 200, 200]
    assert len(api.get("/jobs").json()["jobs"]) == 1


def test_a_store_that_cannot_be_read_is_not_ready(start, tmp_path, caplog):
    api = start()
    with (tmp_path / "jobs.db").open("r+b") as file, (tmp_path / "jobs.db-wal").open("r+b") as log:
        file.write(b"no database" * 1000)
        log.truncate(0)
    assert all(is_problem(api.get(path), 503) for path in ("/readyz", "/status/x", "/jobs"))
    assert api.get("/livez").status_code == 200
    assert is_problem(api.get("/status/a%0Ab", headers={"Prefer": "wait=1"}), 503)
    for asked in ("'/status/x' for 'admin'", r"'/status/a\nb' for 'admin'", "'/jobs' for 'admin'", "'/readyz' for '-'"):
        assert f"GET {asked} failed: " in caplog.text


class BrokenStore(MemoryStore):
    """A store with a bug."""

    async def add(self, *_):
        raise ZeroDivisionError


def test_an_internal_error_shows_an_id_and_nothing_else(start, caplog):
    api = start(store=BrokenStore())
    answer = api.post("/start")
    assert is_problem(answer, 500)
    assert set(answer.json()) == {"type", "title", "status", "detail", "error_id"}
    assert "ZeroDivisionError" not in answer.text
    assert answer.json()["error_id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "POST '/start' for 'admin' failed" in caplog.text
    assert api.get("/jobs").status_code == 200


def test_the_documentation_is_complete(api):
    page = api.get("/openapi.json").json()
    assert page["components"]["securitySchemes"] == {"basic": {"type": "http", "scheme": "basic"}}
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in page["paths"].items()
        for method, operation in methods.items()
    }
    assert {name: operation["tags"] for name, operation in operations.items()} == {
        "POST /start": ["start"],
        "POST /jobs": ["jobs"],
        "POST /translate": ["translate"],
        "GET /status/{job_id}": ["start", "jobs"],
        "GET /jobs/{job_id}": ["jobs"],
        "GET /job/{job_id}": ["translate"],
        "GET /status": ["status", "result"],
        "GET /jobs": ["start"],
        "DELETE /jobs/{job_id}": ["start"],
        "GET /jobs/{job_id}/events": ["start"],
        "GET /events": ["start"],
        "GET /sandbox": ["sandbox"],
        "PATCH /sandbox": ["sandbox"],
        "POST /sandbox/clock": ["sandbox"],
        "POST /sandbox/reset": ["sandbox"],
        "GET /sandbox/jobs/{job_id}": ["sandbox"],
        "POST /sandbox/jobs/{job_id}": ["sandbox"],
        "GET /sandbox/scenarios": ["sandbox"],
        "GET /sandbox/requests": ["sandbox"],
        "GET /sandbox/webhooks": ["sandbox"],
        "POST /sandbox/webhooks/ping": ["sandbox"],
        "POST /sandbox/webhooks/{delivery_id}/redeliver": ["sandbox"],
        "GET /sandbox/report": ["sandbox"],
        "GET /files/{token}/{name}": ["start"],
        "GET /livez": ["health"],
        "GET /readyz": ["health"],
    }
    for name, operation in operations.items():
        assert operation["summary"]
        is_open = operation["tags"] == ["health"] or name == "GET /files/{token}/{name}"
        assert is_open == (operation.get("security") == [])
        assert is_open or {"401", "429", "503"} <= set(operation["responses"])
        good = [answer for code, answer in operation["responses"].items() if code < "300"]
        examples = [body for answer in good for body in answer["content"].values() if "example" in body]
        assert examples or name == "GET /files/{token}/{name}"
        for body in examples:
            assert set(body["example"]) <= set(body.get("schema", {}).get("properties", body["example"]))
    references = re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(page))
    assert set(references) == set(page["components"]["schemas"])
    assert "swagger" in api.get("/docs").text.lower()


def test_the_documented_job_is_the_job_on_the_wire(api):
    accepted = api.get("/openapi.json").json()["paths"]["/start"]["post"]["responses"]["202"]
    documented = accepted["content"]["application/json"]
    assert set(documented["schema"]["properties"]) == set(documented["example"]) == set(api.job(api.submit()))


def test_a_client_disconnect_does_not_harm_the_server(api):
    address = (api.base_url.host, api.base_url.port)
    for sent in (b"", b"GET /jobs HT", b"POST /start HTTP/1.1\r\nContent-Length: 10\r\n\r\n{", b"\x16\x03\x01\r\n\r\n"):
        with socket.create_connection(address) as connection:
            connection.sendall(sent)
    assert api.get("/jobs").status_code == 200
