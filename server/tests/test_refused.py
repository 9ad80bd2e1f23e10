"""Requests that are refused for their credentials: counted for the user whom they name, and not in the request log."""

import httpx
import pytest

from tests.api import Api
from tests.processes import wait_until


def denied(api):
    answer = api.get("/sandbox/report")
    assert answer.status_code == 200
    return answer.json()["overall"]["credentials_errors"]


def seen(api):
    """Returns the paths in the request log, and the rules of the report card's findings."""
    findings = api.get("/sandbox/report").json()["findings"]
    return [record["path"] for record in api.requests()], [finding["rule"] for finding in findings]


def elsewhere(api):
    """Returns a client at another address."""
    return Api(transport=httpx.HTTPTransport(local_address="127.0.0.2"), base_url=api.base_url, auth=api.auth)


def test_refused_requests_are_counted_for_their_user_and_not_logged(start):
    api = start(request_log=20)
    assert api.post("/start").status_code == 202
    statuses = [api.get("/jobs", auth=("admin", "wrong")).status_code for _ in range(40)]
    assert statuses == [401] * 10 + [429] * 30
    with elsewhere(api) as other:
        assert other.get("/jobs", auth=("nobody", "x")).status_code == 401
        assert [record["status"] for record in other.requests()] == [202]
        assert denied(other) == 10
        assert other.get("/jobs").status_code == 200
        assert [record["refused"] for record in other.requests()] == [0, 10]
        assert denied(other) == 10
        assert other.post("/sandbox/reset").status_code == 200
        assert denied(other) == 0


def test_requests_without_credentials_count_for_the_only_user(start):
    api = start()
    assert {httpx.get(f"{api.base_url}/jobs").status_code for _ in range(50)} == {401}
    assert api.requests() == []
    assert denied(api) == 50
    assert "credentials" in [finding["rule"] for finding in api.get("/sandbox/report").json()["findings"]]


OTHER_PATHS = ["/favicon.ico", "/", "/robots.txt", "/start/a", "/docs", "/sandbox"]


@pytest.mark.parametrize("path", OTHER_PATHS)
def test_refused_requests_for_other_paths_are_not_counted(start, path):
    api = start()
    assert httpx.get(f"{api.base_url}{path}").status_code == 401
    assert seen(api) == ([], [])


def test_with_auth_off_only_requests_for_job_routes_are_logged(open_api):
    statuses = [open_api.get(path).status_code for path in OTHER_PATHS]
    assert statuses == [404, 200, 404, 404, 200, 200]
    assert seen(open_api) == ([], [])
    assert [open_api.get(path).status_code for path in ("/jobs", "/status/x", "/start")] == [200, 404, 405]
    assert seen(open_api)[0] == ["/jobs", "/status/x", "/start"]


def test_a_reset_clears_the_count_of_other_processes(start):
    """Two servers over one database stand for two processes."""
    here, there = start(), start()
    assert httpx.get(f"{here.base_url}/jobs").status_code == 401
    assert denied(here) == 1
    assert there.post("/sandbox/reset").status_code == 200
    wait_until(lambda: denied(here) == 0)
    assert here.get("/jobs").status_code == 200
    assert [record["refused"] for record in here.requests()] == [0]


def test_other_processes_have_the_count_with_the_next_record(start):
    here, there = start(), start()
    assert httpx.get(f"{here.base_url}/jobs").status_code == 401
    assert (denied(here), denied(there)) == (1, 0)
    assert here.get("/jobs").status_code == 200
    assert denied(here) == 1
    assert denied(there) == 1
