"""The clock of a sandbox, over HTTP against a real server."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest


def test_a_header_has_the_elapsed_wall_time_if_the_clock_was_set(start):
    api = start(min_delay=1800, max_delay=1800)
    unchanged = api.post("/start")
    assert unchanged.status_code == 202
    with api.stream("GET", f"/jobs/{unchanged.json()['job_id']}/events") as stream:
        assert "wall-elapsed-time" not in next(stream.iter_text())
    answers = [
        unchanged,
        *(api.get(path) for path in (unchanged.headers["location"], f"/jobs?job_id={unchanged.json()['job_id']}")),
    ]
    assert [answer.headers.get("wall-elapsed-time") for answer in answers] == [None] * 3

    assert api.post("/sandbox/clock", json={"speed": 60}).status_code == 200
    job_id = api.submit()
    for end in (False, True):
        assert api.post("/sandbox/clock", json={"advance": 3600 * end, "speed": 60}).status_code == 200
        for headers in ({}, {}, {"Prefer": "wait=0"}, {"If-None-Match": "none"}):
            answer = api.get(f"/status/{job_id}", headers=headers)
            assert answer.status_code == 200
            assert answer.json()["status"] == ("completed" if end else "pending")
            assert 0 <= float(answer.headers["wall-elapsed-time"]) < 30
        batch = api.get("/jobs", params={"job_id": [job_id, unchanged.json()["job_id"]]})
        ages = [float(age) for age in batch.headers["wall-elapsed-time"].split(",")]
        assert len(ages) == len(batch.json()["jobs"]) == 2
        assert ages[0] <= ages[1] < 30
    assert float(api.delete(f"/jobs/{job_id}").headers["wall-elapsed-time"]) < 30
    with api.stream("GET", f"/jobs/{job_id}/events") as stream:
        [block] = [block for block in "".join(stream.iter_text()).split("\n\n") if "event: completed" in block]
    assert float(re.search(r"^wall-elapsed-time: (\S+)$", block, re.MULTILINE)[1]) < 30


def test_advancing_the_clock_ends_long_polls_and_streams_events(start):
    api = start(max_delay=1800)
    job_id = api.submit()
    with ThreadPoolExecutor() as pool, api.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line.startswith("id"))
        long_poll = pool.submit(api.get, f"/status/{job_id}", headers={"Prefer": "wait=50"}, timeout=60)
        api.set_clock(advance=1800)
        assert long_poll.result(40).json()["status"] == "completed"
        assert next(line for line in lines if line.startswith("event")) == "event: completed"


def test_times_are_virtual_and_hints_are_in_wall_time(start):
    api = start(max_delay=600)
    api.set_clock(speed=1000)
    accepted = api.post("/start")
    assert 0 < int(accepted.headers["retry-after-ms"]) <= 700
    end = api.get(accepted.headers["Location"], headers={"Prefer": "wait=20"}).json()
    took = datetime.fromisoformat(end["completed_at"]) - datetime.fromisoformat(end["created_at"])
    assert (end["status"], end["elapsed_time"], took.total_seconds()) == (
        "completed",
        600,
        pytest.approx(600, abs=0.01),
    )


def test_a_frozen_clock_stands_still(start):
    api = start(max_delay=0.01)
    frozen = api.post("/sandbox/clock", json={"frozen": True}).json()["clock"]["now"]
    job = api.get(f"/status/{api.submit()}", headers={"Prefer": "wait=1"}).json()
    assert (job["status"], job["progress"], job["created_at"]) == ("pending", 0, frozen)
    api.set_clock(frozen=False)
    assert api.get(f"/status/{job['job_id']}", headers={"Prefer": "wait=9"}).json()["status"] == "completed"


def test_advancing_the_clock_ends_long_polls_of_other_processes(start):
    here, there = start(max_delay=1800), start(max_delay=1800)
    job_id = here.submit()
    with ThreadPoolExecutor() as pool:
        long_poll = pool.submit(here.get, f"/status/{job_id}", headers={"Prefer": "wait=50"}, timeout=60)
        there.set_clock(advance=1800)
        assert long_poll.result(40).json()["status"] == "completed"


@pytest.mark.parametrize(
    "body",
    [{}, {"speed": 0}, {"speed": 1e-9}, {"speed": -1}, {"advance": -1}, {"advance": 1e10}, {"frozen": 1}, {"back": 1}],
    ids=str,
)
def test_invalid_changes_of_the_clock_are_refused(start, body):
    assert start().post("/sandbox/clock", json=body).status_code == 422


def test_the_clock_may_be_advanced_very_far(start):
    api = start(max_delay=1e9)
    api.set_clock(speed=1e6)
    for _ in range(300):
        assert api.post("/sandbox/clock", json={"advance": 1e9}).status_code == 200
    assert api.job(api.submit())["status"] == "pending"
