"""Submissions that an API splits into several jobs, and polls of all of these at once."""

import httpx
import pytest

from tests.examples import CREDENTIALS, TLS

FILE = """
auth = "X-Api-Key: {token}"

[job.dub]
words = { pending = ["queued", "busy"], completed = "done", error = "failed" }
send = { to = { languages = ["{target_language}"] } }
required = ["to.languages"]
body = { id = "{job_id}", state = "{status}", language = "{input.to.languages.0}", note = "{input.note}" }

[job.dub.submit]
request = "POST /dubs"
split = "to.languages"
body = { ids = ["{job_id}"], of = { jobs = [{ id = "{job_id}", to = "{target_language}" }] }, note = "{input.note}" }

[job.dub.poll]
request = "GET /dubs/{job_id}"

[job.dub.batch_poll]
request = "GET /dubs"
ids = "id"
item = { id = "{job_id}", is = "{status}" }
missing = { id = "{job_id}", is = "unknown" }
body = { dubs = "{jobs}", number = "{listed}" }

[job.dub.batch_poll.when]
queued.item.is = "waiting"
error.item.why = "{error_message}"
"""


@pytest.fixture
def native(start, tmp_path):
    """Starts a server, whose jobs stay pending; returns a client of the native API."""
    (tmp_path / "dubs.toml").write_text(FILE)
    return start(dialects=str(tmp_path / "dubs.toml"))


@pytest.fixture
def api(native):
    """Yields a client of the file's API."""
    headers = {"X-Api-Key": CREDENTIALS[1]}
    with httpx.Client(base_url=native.base_url.join("/dubs"), headers=headers, timeout=60, verify=TLS) as client:
        yield client


def statuses(answer):
    return [dub["is"] for dub in answer.json()["dubs"]]


def submit(api, *languages, key=None, **more):
    headers = {"Idempotency-Key": key} if key else {}
    return api.post("/dubs", json={"to": {"languages": languages}} | more, headers=headers)


def test_each_item_of_the_list_is_a_job_of_its_own(api, native):
    answer = submit(api, "es", "fr", note="mine")
    ids = answer.json()["ids"]
    assert answer.json() == {
        "ids": ids,
        "of": {"jobs": [{"id": ids[0], "to": "es"}, {"id": ids[1], "to": "fr"}]},
        "note": "mine",
    }
    assert [api.get(f"/dubs/{one}").json()["language"] for one in ids] == ["es", "fr"]
    assert [native.job(one)["target_language"] for one in ids] == ["es", "fr"]
    assert native.get(f"/sandbox/jobs/{ids[1]}").json()["input"] == {"to": {"languages": ["fr"]}, "note": "mine"}


def test_the_request_log_has_all_jobs_of_a_submission(api, native):
    ids = submit(api, "es", "fr").json()["ids"]
    [record] = native.requests()
    assert (record["action"], [job["job_id"] for job in record["jobs"]]) == ("submit", ids)


def test_repeated_submission_finds_all_of_its_jobs(api, native):
    first = submit(api, "es", "fr", "de", key="a")
    again = submit(api, "es", "fr", "de", key="a")
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert "idempotency-replayed" not in first.headers
    assert submit(api, "es", "fr", key="a").status_code == 422
    assert len(native.get("/jobs").json()["jobs"]) == 3


def test_submissions_without_a_key_are_new_jobs(api):
    assert not set(submit(api, "es", "fr").json()["ids"]) & set(submit(api, "es", "fr").json()["ids"])


@pytest.mark.parametrize(
    ("languages", "problem"),
    [([], "is required"), ("es", "must be a list"), (["es"] * 101, "must be a list of 1 to 100 items"), ([5], "")],
)
def test_another_list_is_refused_and_makes_no_job(api, native, languages, problem):
    answer = api.post("/dubs", json={"to": {"languages": languages}})
    assert answer.status_code == 422
    assert problem in answer.text
    assert native.get("/jobs").json()["jobs"] == []


def test_a_batch_poll_shows_states_in_its_own_words_and_ids_without_a_job(api, native):
    queued, failed, done = submit(api, "es", "fr", "de").json()["ids"]
    native.finish(failed, outcome="error")
    native.finish(done)
    assert api.get("/dubs", params={"id": f"{done},other,{queued},{failed}"}).json() == {
        "dubs": [
            {"id": done, "is": "done"},
            {"id": queued, "is": "waiting"},
            {"id": failed, "is": "failed", "why": native.job(failed)["error_message"]},
            {"id": "other", "is": "unknown"},
        ],
        "number": 4,
    }


def test_a_batch_poll_counts_for_jobs_that_end_after_polls(api, native):
    native.change_sandbox(after_polls=2)
    ids = ",".join(submit(api, "es", "fr").json()["ids"])
    assert [statuses(api.get("/dubs", params={"id": ids})) for _ in range(2)] == [["busy"] * 2, ["done"] * 2]
