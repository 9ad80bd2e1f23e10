"""Cancellations and deletions that an API refuses because of the state of the job: the file says in which states."""

import pytest

REFUSING = """
when.error.body.why = "{error_message}"
cancel = {request = "POST /tasks/{job_id}/cancel", code = 202, when = {completed = REFUSAL, cancelled = REFUSAL}}
delete = {request = "DELETE /tasks/{job_id}", code = 204, body = "", when.pending = REFUSAL}
"""
REFUSAL = '{code = 409, headers.Content-Type = "application/problem+json", body = {is = "{status}", title = "No"}}'


@pytest.fixture
def api(start, own_dialect):
    return start(dialects=own_dialect(end=REFUSING.replace("REFUSAL", REFUSAL)))


def submit(api, seconds=1000):
    accepted = api.post("/own/tasks", json={"simulate": {"delay": seconds, "outcome": "completed"}})
    return accepted.json()["id"]


def state(api, job_id):
    return api.get(f"/status/{job_id}").json()["status"]


def test_a_refused_deletion_leaves_the_job_as_it_is(api):
    job_id = submit(api)
    refused = api.delete(f"/own/tasks/{job_id}")
    assert (refused.status_code, refused.json()["title"]) == (409, "No")
    assert refused.headers.get_list("content-type") == ["application/problem+json"]
    assert (api.get(f"/own/tasks/{job_id}").status_code, state(api, job_id)) == (200, "pending")


def test_jobs_whose_deletion_is_not_refused_are_deleted(api):
    job_id = submit(api, seconds=0)
    assert (api.delete(f"/own/tasks/{job_id}").status_code, state(api, job_id)) == (204, "completed")
    assert api.delete(f"/own/tasks/{job_id}").status_code == 404


def test_a_cancelled_job_is_answered_as_such_and_refuses_another_cancellation(api):
    job_id = submit(api)
    accepted, refused = (api.post(f"/own/tasks/{job_id}/cancel") for _ in range(2))
    word = api.get(f"/own/tasks/{job_id}").json()["state"]
    assert (accepted.status_code, accepted.json()["state"], state(api, job_id)) == (202, word, "cancelled")
    assert (refused.status_code, refused.json()["is"], refused.json()["title"]) == (409, word, "No")


def test_a_completed_job_refuses_a_cancellation(api):
    job_id = submit(api, seconds=0)
    assert (api.post(f"/own/tasks/{job_id}/cancel").status_code, state(api, job_id)) == (409, "completed")
