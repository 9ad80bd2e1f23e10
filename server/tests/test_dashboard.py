"""The dashboard: its page, and the stream that keeps it up to date."""

import json
import re
from contextlib import contextmanager

import pytest

from tests.api import Api, is_problem
from tests.examples import CREDENTIALS, TLS
from translation_server.api.dashboard.live import MAX_JOBS

HOSTILE = "<script>alert(1)</script>\u202e\n"


@contextmanager
def live(api):
    """Connects to the stream; yields a function that returns the data of the next event of a name."""
    with api.stream("GET", "/dashboard/live") as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = answer.iter_lines()

        def following(name):
            for line in lines:
                if line == f"event: {name}":
                    return json.loads(next(lines).removeprefix("data: "))
            pytest.fail(f"the stream ended before an event {name}")

        yield following


def seen(following, wanted):
    """Returns the next job event for which a predicate holds."""
    while True:
        for job in following("jobs"):
            if wanted(job):
                return job


def test_root_leads_browsers_to_the_dashboard_and_others_to_an_index(api):
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    answer = api.get("/", headers=browser)
    assert answer.status_code == 307
    assert answer.headers["Location"] == "dashboard"
    index = api.get("/").json()
    assert index["dashboard"] == "dashboard"
    for path in (index["dashboard"], index["docs"], index["openapi"]):
        assert api.get(f"/{path}").status_code == 200


def test_page_and_its_files_come_from_this_server_alone(api):
    page = api.get("/dashboard")
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    names = re.findall(r'(?:src|href)="dashboard/([^"]+)"', page.text)
    assert {"main.js", "style.css", "icon.svg"} == set(names)
    scripts = ["main.js"]
    for name in scripts:
        answer = api.get(f"/dashboard/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith(("text/javascript", "application/javascript"))
        assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "innerHTML" not in answer.text
        scripts += [found for found in re.findall(r'from "\./([^"]+)"', answer.text) if found not in scripts]


@pytest.mark.parametrize("name", ["nothing.js", "dashboard.html", "../pages.py", "%2e%2e%2fpages.py", "..%5cpages.py"])
def test_only_its_own_files_are_served(api, name):
    is_problem(api.get(f"/dashboard/{name}"), 404)


def test_stream_begins_with_all_and_goes_on_with_what_changes(api):
    first = api.submit({"source_language": HOSTILE.strip("\u202e\n")})
    api.job(first)
    with live(api) as following:
        assert following("sandbox")["user"] == api.get("/sandbox").json()["user"]
        job = seen(following, lambda one: one["job_id"] == first)
        assert (job["due_at"], job["cancelled_at"], job["ordinal"]) == (job["created_at"] + job["delay"], None, 1)
        actions = [entry["action"] for entry in following("requests")]
        assert actions == ["submit", "poll"]
        second = api.submit()
        seen(following, lambda one: one["job_id"] == second)
        api.change_job(first, do="pause")
        assert seen(following, lambda one: one["job_id"] == first and one["paused_at"])["due_at"] is None
        api.finish(second, "error", message="broken")
        ended = seen(following, lambda one: one["job_id"] == second and one["error_message"])
        assert (ended["outcome"], ended["error_message"]) == ("error", "broken")
        api.change_sandbox(seed=7)
        assert following("sandbox")["seed"] == "7"
        api.set_clock(advance=60)
        assert following("sandbox")["clock"]["ahead"] == pytest.approx(60, abs=0.01)
        api.job(second)
        assert any(entry["action"] == "poll" for entry in following("requests"))


def test_stream_shows_the_callers_own_sandbox_only(api, shared):
    url, users = shared
    with Api(base_url=url, auth=(next(users), CREDENTIALS[1]), timeout=60, verify=TLS) as other, live(api) as following:
        other.submit()
        own = api.submit()
        assert [job["job_id"] for job in following("jobs")] == [own]


def test_stream_begins_with_the_newest_jobs(api):
    jobs = [api.submit() for _ in range(MAX_JOBS + 2)]
    with live(api) as following:
        assert [job["job_id"] for job in following("jobs")] == jobs[2:]


def test_stream_and_page_leave_no_trace_in_the_request_log(api):
    api.submit()
    api.get("/dashboard")
    with live(api) as following:
        following("jobs")
    assert [entry["action"] for entry in api.requests()] == ["submit"]


def test_reset_ends_the_stream_so_that_the_page_begins_again(api):
    api.submit()
    with api.stream("GET", "/dashboard/live") as answer:
        lines = answer.iter_lines()
        for line in lines:
            if line.startswith("event: jobs"):
                break
        api.reset()
        for _ in lines:
            pass
    with live(api) as following:
        again = api.submit()
        assert [job["job_id"] for job in following("jobs")] == [again]


def test_head_of_the_stream_has_no_body(api):
    answer = api.head("/dashboard/live")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")


def test_job_can_be_cancelled_without_a_request_of_its_client(api):
    job_id = api.submit()
    api.change_job(job_id, do="cancel")
    assert api.job(job_id)["status"] == "cancelled"
    assert [entry["action"] for entry in api.requests()] == ["submit", "poll"]


def test_dashboard_is_absent_without_sandboxes(start):
    api = start(sandbox="off")
    for path in ("/", "/dashboard", "/dashboard/main.js", "/dashboard/live"):
        is_problem(api.get(path), 404)
