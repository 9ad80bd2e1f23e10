"""What was refused for its credentials: counted for whom it names, and in nobody's request log."""

import time

import httpx
import pytest

from translation_server import TranslationServer


def denied(api: httpx.Client) -> int:
    answer = api.get("/sandbox/report")
    assert answer.status_code == 200
    return answer.json()["overall"]["credentials_errors"]


def seen(api: httpx.Client) -> tuple[list[str], list[str]]:
    """The paths in the request log, and what the report card found."""
    entries, report = api.get("/sandbox/requests").json()["requests"], api.get("/sandbox/report").json()
    return [entry["path"] for entry in entries], [finding["rule"] for finding in report["findings"]]


def elsewhere(api: httpx.Client) -> httpx.Client:
    """A client at another address."""
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    return httpx.Client(transport=transport, base_url=api.base_url, auth=api.auth)


def until(true) -> None:
    give_up_at = time.monotonic() + 30
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_what_is_refused_takes_nobodys_place_and_is_counted_for_whom_it_names(start):
    api = start(request_log=20)
    assert api.post("/start").status_code == 202
    statuses = [api.get("/jobs", auth=("admin", "wrong")).status_code for _ in range(40)]
    assert statuses == [401] * 10 + [429] * 30
    with elsewhere(api) as other:
        assert other.get("/jobs", auth=("nobody", "x")).status_code == 401
        assert [entry["status"] for entry in other.get("/sandbox/requests").json()["requests"]] == [202]
        assert denied(other) == 10
        assert other.get("/jobs").status_code == 200
        assert [entry["refused"] for entry in other.get("/sandbox/requests").json()["requests"]] == [0, 10]
        assert denied(other) == 10
        assert other.post("/sandbox/reset").status_code == 200
        assert denied(other) == 0


def test_who_brings_no_credentials_is_counted_for_the_only_user(start):
    api = start()
    assert {httpx.get(f"{api.base_url}/jobs").status_code for _ in range(50)} == {401}
    assert api.get("/sandbox/requests").json()["requests"] == []
    assert denied(api) == 50
    assert "credentials" in [finding["rule"] for finding in api.get("/sandbox/report").json()["findings"]]


NOWHERE = ["/favicon.ico", "/", "/robots.txt", "/jobs/a/b", "/docs", "/sandbox"]


@pytest.mark.parametrize("path", NOWHERE)
def test_unknown_paths_and_health_checks_are_not_recorded(start, path):
    api = start()
    assert httpx.get(f"{api.base_url}{path}").status_code == 401
    assert seen(api) == ([], [])


def test_where_nobody_needs_credentials_only_what_addresses_the_sandbox_is_in_its_log():
    with TranslationServer() as server, httpx.Client(base_url=server.url) as api:
        statuses = [api.get(path).status_code for path in NOWHERE]
        assert statuses == [404, 404, 404, 404, 200, 200]
        assert seen(api) == ([], [])
        assert [api.get(path).status_code for path in ("/jobs", "/status/x", "/start")] == [200, 404, 405]
        assert seen(api)[0] == ["/jobs", "/status/x", "/start"]


def test_what_is_refused_before_a_reset_is_not_counted_after_it(start):
    """Two servers over one database stand for two processes."""
    here, there = start(), start()
    assert httpx.get(f"{here.base_url}/jobs").status_code == 401
    assert denied(here) == 1
    assert there.post("/sandbox/reset").status_code == 200
    until(lambda: denied(here) == 0)
    assert here.get("/jobs").status_code == 200
    assert [entry["refused"] for entry in here.get("/sandbox/requests").json()["requests"]] == [0]


def test_refusals_of_one_process_are_counted_with_the_next_record(start):
    here, there = start(), start()
    assert httpx.get(f"{here.base_url}/jobs").status_code == 401
    assert (denied(here), denied(there)) == (1, 0)
    assert here.get("/jobs").status_code == 200
    assert denied(here) == 1
    assert denied(there) == 1
