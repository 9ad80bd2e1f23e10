"""Fault rules: which requests they match, how often they fire, and that the same seed gives the same faults."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import rule
from tests.processes import wait_until
from translation_server.core.entropy import seeded_entropy
from translation_server.core.faults.rules import (
    APPLICABILITY,
    KINDS,
    Break,
    FalseAnswer,
    FaultContext,
    Latency,
    Status,
    decide,
)


def fired(api):
    return [fault["fired"] for fault in api.get("/sandbox").json()["faults"]]


class TestRules:
    def test_rules_apply_to_matching_requests(self, start):
        api = start()
        job_id = api.submit()
        api.set_faults(rule("status", code=500, route=["poll"], nth=[2, 3], method="GET", dialect="start"))
        assert [api.get(f"/status/{job_id}").status_code for _ in range(4)] == [200, 500, 500, 200]
        assert {api.get("/jobs").status_code for _ in range(4)} == {200}
        other = api.submit()
        assert [api.get(f"/status/{other}").status_code for _ in range(2)] == [200, 500]
        assert fired(api) == [3]

    def test_rules_fire_up_to_their_times_and_start_again_when_set(self, start):
        api = start()
        for _ in range(2):
            api.set_faults(rule("status", times=2))
            assert [api.get("/jobs").status_code for _ in range(4)] == [503, 503, 200, 200]

    def test_after_and_until_count_on_the_sandboxs_clock(self, start):
        api = start()
        api.set_clock(frozen=True)
        api.set_faults(rule("status", after=10, until=20))
        statuses = []
        for _ in range(4):
            statuses.append(api.get("/jobs").status_code)
            api.set_clock(advance=7)
        assert statuses == [200, 200, 503, 200]

    def test_a_rule_that_is_not_applicable_does_not_count_as_fired(self, start):
        api = start(max_delay=0.001)
        api.set_faults(rule("back-to-pending", times=1))
        assert api.get("/jobs").status_code == 200
        assert api.get("/status/unknown").status_code == 404
        assert fired(api) == [0]
        job_id = api.submit()
        time.sleep(0.01)
        assert api.get(f"/status/{job_id}").json()["status"] == "pending"
        assert fired(api) == [1]

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if APPLICABILITY[kind].body])
    def test_rules_that_need_a_body_skip_head_requests(self, start, kind):
        api = start()
        api.set_faults(rule(kind), rule("status"))
        assert api.head("/jobs").status_code == 503
        assert fired(api) == [0, 1]

    @pytest.mark.parametrize("kind", ["back-to-pending", "no-details"])
    def test_false_answers_about_ends_skip_pending_jobs(self, start, kind):
        api = start()
        job_id = api.submit()
        api.set_faults(rule(kind), rule("status"))
        assert api.get(f"/status/{job_id}").status_code == 503
        assert fired(api) == [0, 1]

    def test_false_answers_about_pending_jobs_skip_ended_ones(self, start):
        api = start()
        job_id = api.submit({"simulate": {"delay": 0}})
        api.set_faults(rule("huge-retry-after"), rule("status"))
        assert api.get(f"/status/{job_id}").status_code == 503
        assert fired(api) == [0, 1]

    @pytest.mark.parametrize("kind", ["unknown-status", "back-to-pending", "no-details"])
    def test_false_answers_skip_answers_without_jobs(self, start, kind):
        api = start()
        api.set_faults(rule(kind), rule("status"))
        assert [api.post("/start").status_code, api.get("/status/unknown").status_code] == [503, 503]
        assert api.get("/events").status_code == 503
        assert fired(api) == [0, 3]

    @pytest.mark.parametrize("kind", ["reset", "empty", "truncate", "malformed", "garbage", "hang"])
    @pytest.mark.parametrize(("method", "path"), [("GET", "/status/unknown"), ("POST", "/start")])
    def test_faults_can_break_errors_as_well(self, start, kind, method, path):
        api = start()
        api.set_faults(rule(kind, times=1))
        wrong = {"content": b"{", "headers": {"Content-Type": "application/json"}} if method == "POST" else {}
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            api.request(method, path, **wrong)
        assert (fired(api), api.requests()[0]["faults"]) == ([1], [kind])
        assert api.request(method, path, **wrong).status_code == (400 if method == "POST" else 404)

    def test_an_error_can_have_another_content_type(self, start):
        api = start()
        api.set_faults(rule("wrong-type"))
        answer = api.get("/status/unknown")
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html")

    def test_a_304_cannot_be_truncated(self, start):
        api = start()
        path = f"/status/{api.submit()}"
        tag = {"If-None-Match": api.get(path).headers["ETag"]}
        api.set_faults(rule("truncate", times=1))
        assert (api.get(path, headers=tag).status_code, fired(api), api.requests()[-1]["faults"]) == (304, [0], [])
        with pytest.raises(httpx.RemoteProtocolError):
            api.get(path)
        assert fired(api) == [1]

    def test_a_long_poll_gets_a_false_answer_once_its_job_has_ended(self, start):
        api = start()
        job_id = api.submit({"simulate": {"paused": True}})
        path, long_poll = f"/status/{job_id}", {"Prefer": "wait=1"}
        api.set_faults(rule("no-details", times=1))
        assert (api.get(path, headers=long_poll).json()["progress"], fired(api)) == (0, [0])
        with ThreadPoolExecutor() as pool:
            poll = pool.submit(api.get, path, headers={"Prefer": "wait=30"}, timeout=60)
            api.change_job(job_id, do="finish")
            assert set(poll.result().json()) == {"job_id", "status", "result"}
        assert fired(api) == [1]

    @pytest.mark.parametrize(
        "kind", ["latency", "drip", "wrong-type", "unknown-status", "back-to-pending", "no-details", "huge-retry-after"]
    )
    def test_an_end_learned_from_a_broken_stream_counts_as_collected(self, start, kind):
        api = start()
        job_id = api.submit({"simulate": {"delay": 0}})
        api.set_faults(rule(kind))
        assert "event: completed" in api.get(f"/jobs/{job_id}/events").text
        [job] = api.get("/sandbox/report").json()["jobs"]
        assert job["collected"]
        assert fired(api) == [int("events" in APPLICABILITY[kind].routes)]

    def test_rules_for_head_apply_to_head_requests(self, start):
        api = start()
        api.set_faults(rule("status", method="HEAD"))
        assert [api.head("/jobs").status_code, api.get("/jobs").status_code] == [503, 200]

    def test_rules_of_a_request_must_match_it(self, start):
        api = start()
        job_id = api.submit()

        def poll(*faults):
            return api.get(f"/status/{job_id}", headers=[("Simulate-Fault", json.dumps(fault)) for fault in faults])

        for condition in ({"route": ["submit"]}, {"probability": 0}, {"method": "POST"}, {"nth": [99]}, {"after": 1e9}):
            assert poll(rule("status", **condition)).status_code == 200
        assert poll(rule("status", probability=0), rule("status", code=502), rule("status")).status_code == 502
        began = time.monotonic()
        assert poll(rule("latency"), rule("status", times=1)).status_code == 503
        assert time.monotonic() - began >= 0.3
        assert [record["faults"] for record in api.requests()][-2:] == [["status"], ["latency", "status"]]

    def test_rules_of_a_request_replace_those_of_the_sandbox_and_are_not_counted(self, start):
        api = start()
        job_id = api.submit()
        api.set_faults(rule("status"))
        for fault, status in (("wrong-type", 200), ("no-details", 200), ("", 503)):
            assert api.get(f"/status/{job_id}", headers={"Simulate-Fault": fault}).status_code == status
        assert fired(api) == [1]

    def test_times_is_a_limit_across_processes(self, start):
        apis = [start(), start()]
        apis[0].set_faults(rule("status", times=10))
        wait_until(lambda: apis[1].get("/sandbox").json()["faults"])
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda number: apis[number % 2].get("/jobs").status_code, range(100)))
        assert statuses.count(503) == 10

    def test_the_same_seed_gives_the_same_fates_and_faults_in_any_order(self, start, tmp_path):
        """64 connections and two servers, and a third server for the second half."""
        outcomes = []
        for turn in range(2):
            database = f"sqlite:///{tmp_path}/{turn}.db"
            settings = {"seed": "s", "database_url": database, "error_probability": 0.5, "min_delay": 1, "max_delay": 9}
            apis = [start(**settings), start(**settings)]
            faults = {"status": 0.3, "reset": 0.2}
            apis[0].set_faults(*(rule(kind, probability=faults[kind], route=["poll"]) for kind in faults))
            wait_until(lambda apis=apis: apis[1].get("/sandbox").json()["faults"])

            def drive(number, apis=apis):
                job_id = apis[number % len(apis)].submit()
                answers = []
                for poll in range(3):
                    try:
                        answer = apis[(number + poll) % len(apis)].get(f"/status/{job_id}")
                        answers.append(answer.status_code)
                    except httpx.ReadError:
                        answers.append("reset")
                return job_id, answers

            with ThreadPoolExecutor(64) as pool:
                statuses = list(pool.map(drive, range(30)))
                apis.append(start(**settings))
                statuses += list(pool.map(drive, range(30, 60)))
            statuses = dict(statuses)
            apis[0].set_clock(advance=10)
            jobs = apis[0].get("/jobs", params={"limit": 100}).json()["jobs"]
            outcomes.append([(statuses[job["job_id"]], job["status"], job["elapsed_time"]) for job in jobs])
        assert outcomes[0] == outcomes[1]
        assert len(outcomes[0]) == 60


requests = st.builds(
    FaultContext,
    st.sampled_from(["submit", "poll", "batch_poll", "list", "cancel", "events"]),
    st.frozensets(st.sampled_from(["start", "jobs"])),
    st.sampled_from(["GET", "POST"]),
    st.booleans(),
    st.integers(1, 5),
    st.floats(0, 100),
)
rule_lists = st.lists(
    st.one_of(
        st.builds(Latency, probability=st.floats(0, 1)),
        st.builds(FalseAnswer, kind=st.sampled_from(["back-to-pending", "not-found"])),
        st.builds(
            Break, kind=st.sampled_from(["reset", "empty"]), times=st.integers(1, 3), nth=st.tuples(st.integers(1, 5))
        ),
        st.builds(Status, code=st.just(500), after=st.floats(0, 50), until=st.floats(0, 100), route=st.just(("poll",))),
    ),
    max_size=8,
)


@given(rule_lists, requests, st.lists(st.integers(0, 4), min_size=8, max_size=8))
def test_at_most_one_rule_fires_besides_latencies_and_all_match(rules, request, fired):
    firings = decide(rules, request, fired[: len(rules)], lambda number: seeded_entropy("s", number))
    assert [firing.rule.kind == "latency" for firing in firings[:-1]] == [True] * (len(firings) - 1 if firings else 0)
    assert all(firing.rule.matches(request, fired[firing.number]) for firing in firings)
    assert all(request.is_applicable(firing.rule.kind) for firing in firings)
    assert firings == decide(rules, request, fired[: len(rules)], lambda number: seeded_entropy("s", number))
