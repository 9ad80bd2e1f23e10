"""The page of official clients: what it shows of results, and that numbers which disagree are noticed."""

import importlib
from pathlib import Path

import pytest

from translation_server import TranslationServer

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SDK, SCENARIO = "twelvelabs", "flaky"
SUBMIT = {"method": "POST", "path": "/v1/tasks", "action": "submit", "digest": "d", "status": 201}
POLL = {"method": "GET", "action": "poll", "digest": None, "status": 200}
FINDINGS = [
    {"rule": "duplicate-submits", "severity": "warning", "count": 1},
    {"rule": "no-idempotency-key", "severity": "note", "count": 4},
]


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a module of the benchmarks, from whose folder they import one another."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def results(benchmark):
    return benchmark("sdk_results")


@pytest.fixture
def page(benchmark):
    return benchmark("sdk_page")


def record(at, kind, faults=(), state=None, job_id=None, ended_at=None, **facts):
    """A request of the log; its answer says the state of a job if one is given."""
    path = {"path": f"/v1/tasks/{job_id}"} if job_id and kind is POLL else {}
    jobs = [{"job_id": job_id, "state": state, "ended_at": ended_at}] if state else []
    return {
        **kind,
        **path,
        "at": at,
        "took": 0.5,
        "faults": [*faults],
        "jobs": jobs,
        "replayed": False,
        "hint": None,
    } | facts


def records():
    """One job is paid for twice, one is lost to a refused poll, one never begins, and the last one is late."""
    return [
        record(0, SUBMIT, ["reset"], status=0),
        record(1, SUBMIT, state="pending", job_id="b"),
        record(11, POLL, state="completed", job_id="b", ended_at=9.5),
        record(2, SUBMIT, state="pending", job_id="c", digest="e"),
        record(3, POLL, ["status"], job_id="c", status=503),
        record(4, SUBMIT, ["status"], status=503, digest="f"),
        record(5, SUBMIT, state="pending", job_id="d", digest="g"),
        record(30, POLL, state="completed", job_id="d", ended_at=10.5),
    ]


def card():
    numbers = {"requests": 8, "dropped": 0, "polls": 3, "submits": 5, "early_polls": 0, "polls_after_end": 0}
    jobs = [{"job_id": "b", "lateness": 2.0}, {"job_id": "c", "lateness": None}, {"job_id": "d", "lateness": 20.0}]
    return {"overall": numbers, "jobs": jobs, "findings": FINDINGS}


@pytest.fixture
def theirs(results):
    said = ["completed", "ApiError", "ApiError", "completed"]
    jobs = [
        results.Job("job-01", said[0], ["a", "b"], 9.5, 11.6),
        results.Job("job-02", said[1], ["c"], 20.0, 3.6),
        results.Job("job-03", said[2], [], None, 4.6),
        results.Job("job-04", said[3], ["d"], 10.5, 30.7),
    ]
    return results.Result(SDK, "1.2.9", "theirs", SCENARIO, jobs, card(), records())


@pytest.fixture
def ours(results):
    jobs = [results.Job(f"job-{number:02}", "completed", [str(number)], 9.0, 9.5) for number in range(1, 5)]
    return results.Result(SDK, "1.2.9", "ours", SCENARIO, jobs, {"findings": []}, [record(8, POLL)])


def test_table_has_the_numbers_of_both_clients(page, theirs, ours):
    parts = page.render([theirs, ours], began=0)
    assert parts["overview"].splitlines() == [
        "Measured on 1 January 1970, with 8 jobs.",
        "",
        "| client | flaky |",
        "|---|---|",
        "| [twelvelabs](#twelvelabs-twelvelabs-129) | 2 of 4 +1 |",
        "| translation-client, in all these APIs | 4 of 4 |",
    ]
    title, _, call, _, head, _, row, _, notes = parts["clients"].splitlines()
    assert (title, notes) == ("### twelvelabs: twelvelabs 1.2.9", "Notes: no-idempotency-key.")
    assert call == "`client.tasks.create(…)`, then `client.tasks.wait_for_done(…)`. Polls every 5 seconds."
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "flaky",
        "2",
        "1: `ApiError` 1",
        "1: `ApiError` 1",
        "1",
        "0.8",
        "11.1, 20.2",
        "duplicate-submits 1",
        "4 ended; 0.2 polls; 0.5, 0.5 s",
    ]
    assert head.count("|") == row.count("|")


def test_traces_show_the_requests_of_jobs_of_different_clients(page, theirs, ours):
    results = [one._replace(sdk=name) for name in (SDK, "runpod") for one in (theirs, ours)]
    traces = page.render(results, began=0)["traces"]
    assert "**twelvelabs, flaky, job-01: paid for twice.**" in traces
    assert "| 0.00 | `POST /v1/tasks` | none |  | reset |" in traces
    assert "| 11.00 | `GET /v1/tasks/B` | 200 completed |  |  |" in traces
    assert "**runpod, flaky, job-02: refused polls end the wait.**" in traces
    assert "raised `ApiError`. The server went on with the job, which completed 17.0 s later." in traces


def test_job_whose_id_no_request_shows_has_no_trace(page, theirs, ours):
    theirs.records[:] = [one for one in theirs.records if one["faults"] == ["reset"]]
    assert not page.render([theirs, ours], began=0)["traces"]


def test_results_can_be_saved_and_read(results, theirs):
    assert results.read(theirs.as_json()) == theirs


def test_numbers_that_agree_are_accepted(results, theirs):
    assert results.disagreements(theirs) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda one: one.records.pop(4), "polls of the card and of the log: 3 and 2"),
        (lambda one: one.records.pop(0), "accepted jobs of the store and of the log: 4 and 3 to 3"),
        (lambda one: one.records.pop(0), "jobs paid for twice of the store and of the log: 1 and 0 to 0"),
        (lambda one: one.report["overall"].update(dropped=2), "dropped requests of the card and none: 2 and 0"),
        (lambda one: one.records[7].update(jobs=[]), "ended jobs and those whose end the log shows: 2 and 1"),
        (
            lambda one: one.report["jobs"].pop(),
            "lateness of the card and of the log: {'b': 2.0} and {'b': 2.0, 'd': 20.0}",
        ),
    ],
)
def test_numbers_that_differ_are_named(results, theirs, change, expected):
    change(theirs)
    assert expected in results.disagreements(theirs)


def test_page_has_the_marks_that_the_benchmark_writes_between(page, theirs, ours):
    text = (BENCHMARKS.parent / "docs" / page.PAGE).read_text()
    for name in page.render([theirs, ours], began=0):
        assert text.index(f"<!-- {name}:begin -->") < text.index(f"<!-- {name}:end -->")


def test_our_client_runs_a_job_in_the_api_of_each_official_client(benchmark):
    sdks = benchmark("sdk_table").SDKS
    with TranslationServer(completion_time=0, error_rate=0, dialects="all") as server:
        for sdk in sdks:
            with sdk.api.client(server.url, f"user-{sdk.name}") as client:
                assert client.run(input=sdk.api.input("job-01"), timeout=60).state == "completed", sdk.name
