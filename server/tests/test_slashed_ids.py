"""Native routes with the ids of APIs whose ids have slashes, such as Google's."""

import pytest

from tests.examples import CREDENTIALS

BODY = {"inputUri": "gs://bucket/a.mp4", "features": ["LABEL_DETECTION"]}
API_KEY = {"X-Goog-Api-Key": ":".join(CREDENTIALS)}


@pytest.fixture
def api(start):
    return start(dialects="google-videointelligence")


@pytest.fixture
def job_id(api):
    job_id = api.post("/google-videointelligence/v1/videos:annotate", json=BODY, headers=API_KEY).json()["name"]
    assert job_id.count("/") == 5
    return job_id


def as_it_is(job_id):
    return job_id


def encoded(job_id):
    return job_id.replace("/", "%2F")


@pytest.fixture(params=[as_it_is, encoded])
def shown(request, job_id):
    return request.param(job_id)


@pytest.mark.parametrize("path", ["/status", "/jobs", "/job"])
def test_the_job_is_polled(api, job_id, shown, path):
    for _ in range(2):  # the second poll is answered from memory
        assert api.get(f"{path}/{shown}").json()["job_id"] == job_id
    unknown = api.get(f"{path}/{shown}x")
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "You have no job of this id.")


def test_the_job_is_cancelled(api, job_id, shown):
    assert api.delete(f"/jobs/{shown}").json()["status"] == "cancelled"
    assert api.get(f"/google-videointelligence/v1/{job_id}", headers=API_KEY).json()["done"]


def test_the_events_of_the_job_are_streamed(api, job_id, shown):
    api.finish(job_id)
    events = api.get(f"/jobs/{shown}/events")
    assert events.headers["content-type"].startswith("text/event-stream")
    assert f'"job_id":"{job_id}"' in events.text


def test_the_job_is_in_the_sandbox(api, job_id, shown):
    assert api.get(f"/sandbox/jobs/{shown}").json()["input"] == BODY
    api.finish(job_id)
    assert api.get(f"/sandbox/jobs/{job_id}").json()["status"] == "completed"
    assert api.get(f"/dashboard/jobs/{shown}").json()["jobs"][0]["job_id"] == job_id


def test_other_methods_are_refused_with_those_that_are_allowed(api, shown):
    for path, allowed in ((f"/status/{shown}", "GET, HEAD"), (f"/jobs/{shown}", "DELETE, GET, HEAD")):
        refused = api.put(path)
        assert (refused.status_code, refused.headers["allow"]) == (405, allowed)
