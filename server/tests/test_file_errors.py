"""An expired URL of a file is answered with an error in the form of the job's API, if that API describes one."""

import pytest

ERROR = """
[error]
body = {why = "{detail}", code = "{status_code}", kind = "{error_type}"}
types = {403 = "gone", default = "other"}
"""
EXPIRED = "This URL has expired: poll the job for a new one."


@pytest.fixture
def served(start, own_dialect):
    """Returns a function that starts a server of an API whose jobs have files."""

    def served(end=ERROR, **settings):
        output = 'output = "{file_url:mp4}"\nwhen.completed.body.url = "{output}"\n'
        return start(dialects=own_dialect(end=output + end), max_delay=0, **settings)

    return served


def path_of_file(api):
    job_id = api.post("/own/tasks", json={}).json()["id"]
    return api.get(f"/own/tasks/{job_id}").json()["url"].removeprefix(str(api.base_url).rstrip("/"))


def refused(api, path, *headers):
    answer = api.get(path, headers=headers)
    return answer.status_code, answer.headers["content-type"], answer.json()


def test_an_expired_url_is_refused_in_the_form_of_the_jobs_api(served):
    api = served()
    path = path_of_file(api)
    api.set_clock(advance=3600)
    expected = (403, "application/json", {"why": EXPIRED, "code": 403, "kind": "gone"})
    assert refused(api, path) == expected


def test_so_is_one_that_expires_by_a_fault(served):
    api = served()
    expected = (403, "application/json", {"why": EXPIRED, "code": 403, "kind": "gone"})
    assert refused(api, path_of_file(api), ("Simulate-Fault", "expired")) == expected


def test_other_errors_are_problems(served):
    api = served()
    path = path_of_file(api)
    assert refused(api, path, ("Range", "bytes=999999999-"))[:2] == (416, "application/problem+json")
    api.reset()
    assert refused(api, path)[:2] == (404, "application/problem+json")


def test_other_urls_are_refused_as_problems(served):
    api = served(end="")
    path = path_of_file(api)
    api.set_clock(advance=3600)
    assert refused(api, path)[1] == "application/problem+json"
    assert refused(api, "/files/a.b/c")[1] == "application/problem+json"


def test_an_api_that_is_not_served_any_more_has_no_form(served, start):
    path = path_of_file(served())
    api = start()
    api.set_clock(advance=3600)
    assert refused(api, path)[:2] == (403, "application/problem+json")
