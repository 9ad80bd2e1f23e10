"""The metrics, as Prometheus reads them from a running server."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api import is_problem
from tests.examples import CREDENTIALS
from tests.processes import MODULE, wait_until
from tests.promtool import promtool
from translation_server.core.metrics import Metrics

TOKEN = "a-token-for-prometheus"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


class Figures(Counter):
    """The numbers of the metrics by name, or by name and some of their labels."""

    def __init__(self, text):
        super().__init__()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self[sample.name] += sample.value
                for label, value in sample.labels.items():
                    self[sample.name, label, value] += sample.value


def figures(api, **headers):
    """Reads the metrics."""
    answer = api.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    return Figures(answer.text)


@pytest.fixture
def metered(start):
    """Starts a server with metrics, whose jobs stay pending."""
    return start(metrics="on", metrics_token=TOKEN)


def test_metrics_are_off_by_default(start):
    api = start()
    assert is_problem(api.get("/metrics"), 404)
    assert is_problem(api.get("/metrics", auth=("", "")), 401)


def test_metrics_need_the_token_or_credentials(metered):
    assert httpx.get(metered.base_url.join("/metrics")).status_code == 401
    for sent, status in ((f"Bearer {TOKEN}", 200), (f"Bearer {TOKEN}x", 401), (f"bearer{TOKEN}", 401)):
        assert httpx.get(metered.base_url.join("/metrics"), headers={"Authorization": sent}).status_code == status
    assert figures(metered)["translation_auth_failures_total"] == 3
    assert httpx.get(metered.base_url.join("/jobs"), headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401


def test_guesses_of_the_token_lock_the_address_out(metered):
    statuses = [
        httpx.get(metered.base_url.join("/metrics"), headers={"Authorization": f"Bearer wrong-{number}"}).status_code
        for number in range(12)
    ]
    assert statuses == [401] * 10 + [429] * 2
    seen = Figures(httpx.get(metered.base_url.join("/metrics"), headers={"Authorization": f"Bearer {TOKEN}"}).text)
    assert seen["translation_auth_failures_total"] == 10
    assert seen["translation_auth_lockouts_total", "of", "address"] == 1


@pytest.mark.parametrize("accept", ["text/plain", OPEN_METRICS, "*/*"])
def test_metrics_come_in_the_accepted_format(metered, accept):
    answer = metered.get("/metrics", headers={"Accept": accept})
    is_open = accept == OPEN_METRICS
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text" if is_open else "text/plain")
    assert answer.text.endswith("# EOF\n") is is_open
    assert metered.head("/metrics").status_code == 200


def test_figures_equal_those_of_the_report_card(start):
    """Submits jobs and polls them on a bad day, some too often, then compares all that both say."""
    api = start(metrics="on", max_delay=0.05, error_probability=0.5, seed="s", request_log=1000)
    api.change_sandbox(
        faults=[
            {"kind": "status", "code": 503, "route": ["poll"], "probability": 0.3},
            {"kind": "latency", "delay": {"kind": "fixed", "seconds": 0.01}, "route": ["poll"], "probability": 0.3},
            {"kind": "garbage", "route": ["poll"], "probability": 0.2},
        ]
    )
    jobs = [api.submit() for _ in range(20)]

    def poll_to_the_end(job_id):
        while True:
            with suppress(httpx.RemoteProtocolError):
                answer = api.get(f"/status/{job_id}")
                if answer.status_code == 200 and answer.json()["status"] != "pending":
                    break

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(poll_to_the_end, jobs))
    assert api.get("/jobs", params={"job_id": jobs[:3]}).status_code == 200
    assert api.get("/jobs", auth=(CREDENTIALS[0], "wrong")).status_code == 401
    card, seen = api.get("/sandbox/report").json(), figures(api)
    overall = card["overall"]
    assert seen["translation_jobs_accepted_total"] == overall["jobs"] == 20
    assert seen["translation_polls_total"] == overall["polls"] > 20
    assert seen["translation_polls_total"] / seen["translation_jobs_accepted_total"] == overall["polls_per_job"]
    assert seen["translation_auth_failures_total"] == overall["credentials_errors"] == 1
    lateness = [job["lateness"] for job in card["jobs"]]
    assert seen["translation_lateness_seconds_count"] == len(lateness) == 20
    assert seen["translation_lateness_seconds_sum"] == pytest.approx(sum(lateness))
    late = sum(seconds <= 0.1 for seconds in lateness)
    assert seen["translation_lateness_seconds_bucket", "le", "0.1"] == late
    faults = {fault["kind"]: fault["fired"] for fault in card["faults"]}
    assert {kind: seen["translation_faults_total", "kind", kind] for kind in faults} == faults
    assert faults.keys() == {"status", "latency", "garbage"}
    ends = Counter(job["status"] for job in api.get("/jobs").json()["jobs"])
    assert {end: seen["translation_jobs_ended_total", "outcome", end] for end in ends} == ends
    assert seen["translation_jobs_pending"] == 0
    count = "http_server_request_duration_seconds_count"
    assert seen[count, "http_route", "/status/{job_id}"] == overall["polls"] - 1
    assert seen[count, "http_route", "/start"] == overall["submits"]


def test_each_request_is_counted_by_its_route(metered):
    job_id = metered.submit()
    for _ in range(3):
        metered.job(job_id)
    assert metered.get("/jobs/unknown").status_code == 404
    assert metered.get("/nowhere").status_code == 404
    assert metered.request("PROPFIND", "/nowhere").status_code == 404
    metered.cancel(job_id)
    assert metered.get("/livez").status_code == 200
    seen, count = figures(metered), "http_server_request_duration_seconds_count"
    routes = {"/start": 1, "/status/{job_id}": 3, "/jobs/{job_id}": 2, "": 2, "/livez": 1}
    assert {route: seen[count, "http_route", route] for route in routes} == routes
    assert seen[count, "http_request_method", "_OTHER"] == 1
    assert seen[count, "status_class", "4xx"] == 3
    assert seen["translation_jobs_ended_total", "outcome", "cancelled"] == 1
    assert seen["translation_lateness_seconds_count"] == 0
    assert seen["translation_store_commits_total", "result", "ok"] == 1
    assert seen["translation_store_wait_seconds_count"] == seen["translation_store_batch_jobs_sum"] == 1
    assert seen["translation_build_info", "store", "sqlite"] == 1


def test_open_long_polls_are_counted(metered):
    job_id = metered.submit()
    with ThreadPoolExecutor() as pool:
        polled = pool.submit(metered.get, f"/status/{job_id}", headers={"Prefer": "wait=60"})
        wait_until(lambda: figures(metered)["translation_long_polls_open"] == 1)
        metered.finish(job_id)
        assert polled.result().json()["status"] == "completed"
    seen = figures(metered)
    assert seen["translation_long_polls_open"] == 0
    assert seen["translation_jobs_ended_total", "outcome", "completed"] == 1


def test_no_label_names_a_user_or_a_job(metered):
    job_id = metered.submit()
    metered.job(job_id)
    text = metered.get("/metrics").text
    assert job_id not in text
    assert CREDENTIALS[0] not in text


def test_pending_jobs_are_those_of_all_clocks(start):
    api = start(metrics="on", max_delay=1000)
    api.submit()
    api.submit()
    assert figures(api)["translation_jobs_pending"] == 2
    api.set_clock(advance=2000)
    assert figures(api)["translation_jobs_pending"] == 0
    api.submit()
    assert figures(api)["translation_jobs_pending"] == 1
    api.reset()
    assert figures(api)["translation_jobs_pending"] == 0


def test_an_end_counts_once_over_several_servers_and_restarts(start):
    servers = [start(metrics="on", max_delay=0) for _ in range(2)]
    job_id = servers[0].submit()
    for _ in range(2):
        for server in servers:
            server.job(job_id)
    servers.append(start(metrics="on", max_delay=0))
    servers[2].job(job_id)
    seen = [figures(server) for server in servers]
    assert sum(one["translation_jobs_ended_total"] for one in seen) == 1
    assert sum(one["translation_lateness_seconds_count"] for one in seen) == 1
    assert sum(one["translation_jobs_accepted_total"] for one in seen) == 1


@pytest.mark.takes(10)
def test_any_worker_answers_for_all(run):
    """Polls over many connections, so that each worker answers some, and reads the metrics after each poll."""
    server = run(MODULE, group=True, WORKERS="2", PORT="0", METRICS="on", METRICS_TOKEN=TOKEN)
    job_id, url, auth = server.client.submit(), server.client.base_url, server.client.auth
    polls = []
    for _ in range(30):
        with httpx.Client(base_url=url, auth=auth) as client:
            assert client.get(f"/status/{job_id}").status_code == 200
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            polls.append(figures(client)["translation_polls_total"])
    assert sorted(polls) == polls
    wait_until(lambda: figures(server.client)["translation_polls_total"] == 30)
    assert figures(server.client)["translation_jobs_accepted_total"] == 1
    assert figures(server.client)["translation_jobs_ended_total"] == 1


def test_promtool_finds_nothing_to_correct(metered):
    job_id = metered.submit()
    metered.job(job_id)
    promtool("check", "metrics", sent=metered.get("/metrics").text)


def test_gauges_of_ended_processes_do_not_count():
    metrics, total = Metrics(), Metrics()
    metrics.long_polls.add()
    metrics.polls.add("poll")
    metrics.requests.observe(0.2, "GET", "/", "2xx")
    for is_alive in (True, False):
        total.add_up(metrics.save(), is_alive=is_alive)
    assert total.long_polls == {(): [1.0]}
    assert total.polls["poll",] == [2.0]
    assert total.requests["GET", "/", "2xx"][-1] == 0.4
