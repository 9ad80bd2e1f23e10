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
        api.change_job(first, do="unpause")
        unpaused = seen(following, lambda one: one["job_id"] == first and one["pauses"])
        [[began, ended]] = unpaused["pauses"]
        assert (unpaused["paused_at"], unpaused["paused_for"]) == (None, ended - began)
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


def test_state_is_what_a_stream_begins_with(api):
    job_id = api.submit()
    api.job(job_id)
    with live(api) as following:
        sandbox, jobs, requests = following("sandbox"), following("jobs"), following("requests")
    state = api.get("/dashboard/state").json()
    assert (state["jobs"], state["requests"], state["more"]) == (jobs, requests, False)
    assert state["sandbox"]["user"] == sandbox["user"]
    later = api.get("/dashboard/state", params={"after": requests[0]["number"]}).json()
    assert later["requests"] == requests[1:]
    api.reset()
    assert api.get("/dashboard/state").json()["reset_at"] != state["reset_at"]


def test_job_of_any_age_is_found_by_its_id(api):
    job_id = api.submit()
    state = api.get("/dashboard/state").json()
    assert api.get(f"/dashboard/jobs/{job_id}").json()["jobs"] == state["jobs"]
    is_problem(api.get("/dashboard/jobs/unknown"), 404)


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
    for path in (
        "/",
        "/dashboard",
        "/dashboard/main.js",
        "/dashboard/live",
        "/dashboard/state",
        "/dashboard/submissions",
    ):
        is_problem(api.get(path), 404)


@pytest.fixture
def other_apis(start):
    """Runs a server with other APIs; returns its client."""
    return start(dialects="openai,fal,deepl")


def submit_to(api, target, body=None, **headers):
    """Submits a job as the page does."""
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"} | headers
    return api.post("/dashboard/submissions", params={"target": target}, json=body or {}, headers=headers)


def test_every_listed_submission_is_accepted_as_its_example_says(other_apis):
    submissions = other_apis.get("/dashboard/submissions").json()["submissions"]
    assert {one["api"] for one in submissions} == {"openai", "fal", "deepl"}
    for one in submissions:
        if not one["form"]:
            answer = submit_to(other_apis, one["path"].replace("{", "").replace("}", ""), one["example"])
            assert answer.is_success, (one, answer.text)
            assert other_apis.get("/jobs?limit=1").json()["jobs"]


def test_submission_of_the_page_is_one_of_its_user(other_apis):
    answer = submit_to(other_apis, "/fal/acme/cats?fal_webhook=http://127.0.0.1:9/", {"prompt": "A cat"})
    assert answer.status_code == 200
    job_id = answer.json()["request_id"]
    assert answer.json()["status_url"].endswith(f"/fal/acme/cats/requests/{job_id}/status")
    job = other_apis.get(f"/sandbox/jobs/{job_id}").json()
    assert (job["api"], job["input"]["prompt"]) == ("fal", "A cat")
    [record] = other_apis.requests()[:1]
    assert (record["action"], record["path"]) == ("submit", "/fal/acme/cats")


def test_errors_and_faults_of_a_submission_are_those_of_its_api(other_apis):
    refused = submit_to(other_apis, "/openai/v1/videos")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "prompt")
    other_apis.set_faults({"kind": "status", "code": 503, "route": ["submit"], "times": 1})
    refused = submit_to(other_apis, "/openai/v1/videos", {"prompt": "A cat"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "server_error")
    assert other_apis.get("/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    "target",
    [
        "/sandbox/reset",
        "/start",
        "/jobs",
        "/translate",
        "/openai/v1/videos/video_0/content",
        "/openai/v1/responses/resp_0/cancel",
        "/dashboard/submissions?target=/fal/a/b",
        "/files/a",
        "/livez",
        "/nothing",
        "/%2e%2e/sandbox/reset",
        "//fal/a/b",
    ],
)
def test_page_passes_on_submissions_only(other_apis, target):
    is_problem(submit_to(other_apis, target), 404)


def test_target_of_a_submission_must_be_a_path(other_apis):
    for target in ("http://example.com/", "fal/a/b", ""):
        is_problem(submit_to(other_apis, target), 422)
    is_problem(other_apis.post("/dashboard/submissions"), 422)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_origins_submit_nothing(other_apis, site):
    is_problem(submit_to(other_apis, "/fal/a/b", **{"Sec-Fetch-Site": site}), 403)
    token = {"Sec-Fetch-Site": site, "Origin": "http://example.com", "Content-Type": "text/plain"}
    is_problem(submit_to(other_apis, "/fal/a/b", **token), 403)
    assert other_apis.get("/jobs").json()["jobs"] == []


def test_submission_needs_credentials(other_apis):
    answer = other_apis.post("/dashboard/submissions", params={"target": "/fal/a/b"}, auth=("admin", "wrong"))
    is_problem(answer, 401)
