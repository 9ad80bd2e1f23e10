"""The settings of a sandbox and its jobs, over HTTP against a real server."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from tests.api import Api
from tests.examples import rule
from tests.processes import wait_until
from translation_server import TranslationServer
from translation_server.core.faults.rules import KINDS
from translation_server.service import staleness
from translation_server.storage import open_store

HALF_AN_HOUR = {"kind": "fixed", "seconds": 1800}


class TestSettings:
    def test_settings_begin_with_the_servers_values(self, start):
        api = start(min_delay=3, max_delay=7, error_probability=0.25, seed="s", per_video_second=2)
        shown = api.get("/sandbox").json()
        assert shown["delay"] == {"kind": "uniform", "min": 3, "max": 7}
        assert (shown["error_probability"], shown["seed"], shown["per_video_second"]) == (0.25, "s", 2)
        assert (shown["scenario"], shown["faults"], shown["user"]) == (None, [], "admin")

    def test_the_servers_delay_may_be_any_distribution(self, start):
        api = start(delay="lognormal(600, 0.5)")
        assert api.get("/sandbox").json()["delay"] == {"kind": "lognormal", "median": 600, "sigma": 0.5}

    def test_changes_apply_to_new_jobs_and_null_restores_the_servers_value(self, start):
        api = start(max_delay=0)
        shown = api.change_sandbox(delay=HALF_AN_HOUR, error_probability=1)
        assert shown["delay"] == HALF_AN_HOUR
        pending = api.submit()
        assert api.job(pending)["status"] == "pending"
        assert api.change_sandbox(delay=None)["delay"] == {"kind": "uniform", "min": 0, "max": 0}
        assert api.job(api.submit())["status"] == "error"
        assert api.job(pending)["status"] == "pending"

    def test_a_longer_video_takes_longer(self, start):
        api = start(max_delay=0)
        api.change_sandbox(per_video_second=100)
        assert api.job(api.submit({"video_length": 10}))["status"] == "pending"
        assert api.job(api.submit())["status"] == "completed"

    @pytest.mark.parametrize(
        "delay",
        [
            {"kind": "fixed", "seconds": 0},
            {"kind": "uniform", "min": 0, "max": 0},
            {"kind": "exponential", "mean": 1e-9},
            {"kind": "lognormal", "median": 1e-9, "sigma": 0.1},
        ],
        ids=lambda delay: delay["kind"],
    )
    def test_every_distribution_can_be_set(self, start, delay):
        api = start()
        assert api.change_sandbox(delay=delay)["delay"] == delay
        job_id = api.submit()
        assert api.get(f"/status/{job_id}", headers={"Prefer": "wait=5"}).json()["status"] == "completed"

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"delay": {"kind": "fixed", "seconds": -1}}, "delay.seconds"),
            ({"delay": {"kind": "uniform", "min": 2, "max": 1}}, "delay"),
            ({"delay": {"kind": "never"}}, "delay"),
            ({"delay": 5}, "delay"),
            ({"error_probability": 2}, "error_probability"),
            ({"error_probability": "0.5"}, "error_probability"),
            ({"seed": True}, "seed"),
            ({"seed": 42.0}, "seed"),
            ({"seed": ""}, "seed"),
            ({"seed": [5]}, "seed"),
            ({"scenario": "monday"}, "scenario"),
            ({"faults": [{"kind": "status"}]}, "faults[0].code"),
            ({"faults": [{"kind": "reset", "probability": 1.5}]}, "faults[0].probability"),
            ({"faults": [{"kind": "reset", "times": 0}]}, "faults[0].times"),
            ({"faults": [{"kind": "status", "code": 503, "headers": {"a b": "c"}}]}, "faults[0]"),
            ({"faults": [{"kind": "status", "code": 503, "headers": {"Content-Length": "5"}}]}, "faults[0]"),
            ({"faults": [{"kind": "status", "code": 503, "headers": {"X": " a"}}]}, "faults[0]"),
            ({"faults": [{"kind": "status", "code": 503, "retry_after": 0.5}]}, "faults[0].retry_after"),
            ({"faults": [{"kind": "wrong-type", "content_type": "a\r\nb: c"}]}, "faults[0]"),
            ({"faults": [{"kind": "status", "code": 304, "body": ""}]}, "faults[0]"),
            ({"faults": [{"kind": "latency", "delay": {"kind": "fixed", "seconds": -1}}]}, "faults[0].delay.seconds"),
            ({"faults": [{"kind": "reset"}] * 101}, "faults"),
            ({"faults": [{"kind": "drip", "rate": 1e-300}]}, "faults[0].rate"),
            ({"faults": [{"kind": "hang", "seconds": 5e-324}]}, "faults[0].seconds"),
            ({"delay": {"kind": "exponential", "mean": 5e-324}}, "delay.mean"),
            ({"delay": {"kind": "lognormal", "median": 1e-300, "sigma": 1}}, "delay.median"),
            ({"delay": {"kind": "lognormal", "median": 1, "sigma": 5e-324}}, "delay.sigma"),
            ({"poll_cost": 1e-7}, "poll_cost"),
            ({"clock": {}}, "clock"),
        ],
        ids=str,
    )
    def test_invalid_settings_are_refused_and_change_nothing(self, start, body, field):
        api = start()
        before = api.get("/sandbox").json()
        answer = api.patch("/sandbox", json=body | {"paused": True})
        assert answer.status_code == 422
        assert field in [error["field"] for error in answer.json()["errors"]]
        after = api.get("/sandbox").json()
        assert before | {"clock": None} == after | {"clock": None}

    @pytest.mark.parametrize(("seed", "text"), [(42, "42"), (-(10**30), f"-1{'0' * 30}"), ("007", "007")])
    def test_a_seed_is_a_whole_number_or_a_string(self, start, seed, text):
        api, outcomes = start(error_probability=0.5, max_delay=0), []
        for given in (seed, text):
            assert api.change_sandbox(seed=given)["seed"] == text
            outcomes.append([api.job(api.submit())["status"] for _ in range(8)])
            api.reset()
        assert outcomes[0] == outcomes[1]

    async def test_stored_settings_that_are_invalid_now_are_ignored(self, start, tmp_path):
        stored = '{"settings": {"seed": "s", "faults": [{"kind": "drip", "rate": 1e-300}]}}'
        store = open_store(f"sqlite:///{tmp_path}/jobs.db")
        await store.change_sandbox("admin", lambda _: stored)
        await store.close()
        api = start()
        sandbox = api.get("/sandbox").json()
        assert (sandbox["seed"], sandbox["faults"]) == ("s", [])
        assert api.change_sandbox(error_probability=0.5)["seed"] == "s"

    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            (
                {"delay": {"kind": "never"}},
                "delay: kind must be one of fixed, uniform, exponential, lognormal, empirical",
            ),
            ({"delay": {"seconds": 5}}, "delay: kind is missing"),
            ({"faults": [{"kind": "never"}]}, f"faults[0]: kind must be one of {', '.join(KINDS)}"),
            (
                {"faults": [{"kind": "latency", "delay": {"kind": "never"}}]},
                "faults[0].delay: kind must be one of fixed, uniform, exponential, lognormal, empirical",
            ),
        ],
        ids=str,
    )
    def test_errors_list_the_known_kinds(self, start, body, detail):
        answer = start().patch("/sandbox", json=body)
        assert (answer.status_code, answer.json()["detail"]) == (422, detail)

    @pytest.mark.parametrize(("content", "code"), [(b"{", 400), (b"[]", 422), (b"", 400)])
    def test_bodies_that_are_no_objects_are_refused(self, start, content, code):
        answer = start().patch("/sandbox", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == code

    def test_settings_survive_a_restart(self, start):
        api = start()
        api.change_sandbox(seed="kept", delay=HALF_AN_HOUR, faults=[{"kind": "status", "code": 503, "nth": [7]}])
        api.set_clock(advance=1000)
        again = start().get("/sandbox").json()
        assert (again["seed"], again["delay"]) == ("kept", HALF_AN_HOUR)
        assert again["faults"] == [{"kind": "status", "code": 503, "nth": [7], "fired": 0}]
        assert again["clock"]["ahead"] == pytest.approx(1000, abs=1)

    def test_other_processes_have_new_settings_within_a_second(self, start):
        here, there = start(), start()
        assert there.get("/sandbox").json()["seed"] is None
        here.change_sandbox(seed="new")
        assert staleness.MAX_AGE < 1
        wait_until(lambda: there.get("/sandbox").json()["seed"] == "new")

    def test_sandboxes_of_other_users_do_not_change(self):
        with TranslationServer(1000, 0) as server:
            ann, bob = (Api(base_url=server.url, auth=(name, ""), timeout=60) for name in ("ann", "bob"))
            with ann, bob:
                ann.change_sandbox(scenario="stuck", seed="ann's")
                ann.set_clock(frozen=True)
                shown = bob.get("/sandbox").json()
                assert (shown["user"], shown["scenario"], shown["seed"]) == ("bob", None, None)
                assert not shown["clock"]["frozen"]
                job_id = bob.submit()
                assert ann.post(f"/sandbox/jobs/{job_id}", json={"do": "finish"}).status_code == 404

    def test_the_same_seed_gives_every_user_the_same_fates_and_faults(self):
        faults = [rule("status", probability=0.4, route=[route]) for route in ("submit", "poll")]
        settings = {"error_probability": 0.5, "faults": faults, "delay": {"kind": "uniform", "min": 0, "max": 0.001}}

        def answers(name, seed):
            with Api(base_url=server.url, auth=(name, ""), timeout=60) as api:
                api.change_sandbox(seed=seed, **settings)
                submitted = [api.post("/start") for _ in range(40)]
                api.set_clock(advance=1)
                jobs = [answer.json()["job_id"] for answer in submitted if answer.status_code == 202]
                polls = [api.get(f"/status/{job_id}") for job_id in jobs for _ in range(3)]
                took = [poll.json()["elapsed_time"] if poll.status_code == 200 else poll.status_code for poll in polls]
                return [answer.status_code for answer in submitted], took

        with TranslationServer() as server:
            ann = answers("ann", 42)
            assert {503} < set(ann[0])
            assert ann == answers("bob", "42") != answers("cid", 43)

    def test_a_reset_empties_everything(self, start):
        api = start(seed="s")
        job_id = api.submit()
        api.change_sandbox(scenario="flaky", paused=True)
        api.set_clock(advance=1000, frozen=True)
        shown = api.post("/sandbox/reset").json()
        assert (shown["scenario"], shown["paused"], shown["faults"]) == (None, False, [])
        assert shown["clock"] | {"now": None} == {"now": None, "speed": 1, "frozen": False, "ahead": 0}
        assert api.get(f"/status/{job_id}").status_code == 404
        assert [each["status"] for each in api.requests()] == [404]

    def test_the_same_fates_come_again_after_a_reset(self, start):
        api = start(error_probability=0.5, max_delay=0, seed="s")

        def fates():
            return [api.job(api.submit())["status"] for _ in range(20)]

        before = fates()
        api.reset()
        assert fates() == before
        assert len(set(before)) == 2

    def test_the_sandbox_can_be_turned_off(self, start):
        api = start(sandbox="off", max_delay=0)
        assert {api.get(path).status_code for path in ("/sandbox", "/sandbox/scenarios", "/sandbox/report")} == {404}
        assert api.patch("/sandbox", json={"paused": True}).status_code == 404
        refused = api.post("/start", json={"simulate": {"delay": 1}})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "simulate")
        path = f"/status/{api.submit()}"
        refused = api.get(path, headers={"Simulate-Fault": "reset"})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "Simulate-Fault")
        assert api.get(path, headers={"Simulate-Fault": ""}).status_code == 200
        assert "/sandbox" not in api.get("/openapi.json").json()["paths"]


class TestJobs:
    def test_a_paused_job_stays_pending_until_it_is_unpaused(self, start):
        api = start(max_delay=0.2)
        api.change_sandbox(paused=True)
        job_id = api.submit()
        job = api.get(f"/status/{job_id}", headers={"Prefer": "wait=1"}).json()
        assert (job["status"], job["progress"]) == ("pending", 0)
        assert [job["job_id"] for job in api.get("/jobs?status=pending").json()["jobs"]] == [job_id]
        unpaused = api.post(f"/sandbox/jobs/{job_id}", json={"do": "unpause"}).json()["job"]
        assert unpaused["status"] == "pending"
        end = api.get(f"/status/{job_id}", headers={"Prefer": "wait=9"}).json()
        assert (end["status"], end["elapsed_time"] >= 0.9) == ("completed", True)

    @pytest.mark.parametrize("frozen", [False, True])
    def test_finishing_a_job_ends_its_long_polls(self, start, frozen):
        api = start()
        job_id = api.submit()
        api.set_clock(frozen=frozen)
        with ThreadPoolExecutor() as pool:
            long_poll = pool.submit(api.get, f"/status/{job_id}", headers={"Prefer": "wait=50"}, timeout=60)
            action = {"do": "finish", "outcome": "error", "message": "no speech found"}
            job = api.post(f"/sandbox/jobs/{job_id}", json=action).json()["job"]
            assert long_poll.result(40).json()["status"] == "error"
        assert (job["status"], job["error_message"]) == ("error", "no speech found")
        assert api.post(f"/sandbox/jobs/{job_id}", json={"do": "finish"}).json()["job"] == job

    def test_a_submission_may_set_the_fate_of_its_job(self, start):
        api = start()
        job_id = api.submit({"simulate": {"delay": 0, "outcome": "error", "message": "no speech found"}})
        job = api.get(f"/status/{job_id}").json()
        assert (job["status"], job["error_message"]) == ("error", "no speech found")
        assert api.job(api.submit({"simulate": {"paused": True, "delay": 0}}))["status"] == "pending"

    def test_an_idempotency_key_covers_the_fate(self, start):
        api = start()
        headers = {"Idempotency-Key": "k"}
        assert api.post("/start", json={"simulate": {"delay": 1}}, headers=headers).status_code == 202
        assert api.post("/start", json={"simulate": {"delay": 2}}, headers=headers).status_code == 422

    @pytest.mark.parametrize(
        "fate_override", [{"delay": -1}, {"outcome": "pending"}, {"message": ""}, {"soon": 1}, 5], ids=str
    )
    def test_invalid_fates_are_refused(self, start, fate_override):
        api = start()
        assert api.post("/start", json={"simulate": fate_override}).status_code == 422
        assert api.get("/jobs").json()["jobs"] == []

    @pytest.mark.parametrize("body", [{}, {"do": "explode"}, {"do": "finish", "outcome": "pending"}], ids=str)
    def test_invalid_actions_on_jobs_are_refused(self, start, body):
        api = start()
        assert api.post(f"/sandbox/jobs/{api.submit()}", json=body).status_code == 422

    @pytest.mark.parametrize("output", [{"a": [1, 2.5, None, "é\\0%s\U0001f600"]}, [], "", 0, False, [None]], ids=repr)
    def test_a_completed_job_has_the_output_that_was_chosen(self, start, output):
        api = start()
        job_id = api.submit({"simulate": {"output": output}})
        assert api.job(job_id)["output"] is None
        api.finish(job_id)
        assert api.job(job_id)["output"] == output
        assert start().get(f"/jobs/{job_id}").json()["output"] == output
        assert api.get("/jobs").json()["jobs"][0]["output"] == output

    def test_output_comes_from_the_submission_then_from_the_sandbox(self, start):
        api = start(max_delay=0)
        assert api.job(api.submit())["output"].keys() == {"video_url"}
        assert api.change_sandbox(output={"of": ["the sandbox", None]})["output"] == {"of": ["the sandbox", None]}
        assert start().get("/sandbox").json()["output"] == {"of": ["the sandbox", None]}
        accepted = api.submit()
        assert api.job(api.submit({"simulate": {"output": 1}}))["output"] == 1
        api.change_sandbox(output="later")
        assert api.job(accepted)["output"] == {"of": ["the sandbox", None]}
        assert api.change_sandbox(output=None)["output"] is None
        assert api.job(api.submit())["output"].keys() == {"video_url"}

    def test_finishing_chooses_an_output_or_an_error_code(self, start):
        api = start()
        jobs = [api.submit({"simulate": {"output": 1, "message": "no speech", "code": "E1"}}) for _ in range(4)]
        api.finish(jobs[0], output=2)
        api.finish(jobs[1])
        api.finish(jobs[2], "error", code="E2")
        api.finish(jobs[3], "error", message="no sound")
        ends = [(job["output"], job["error_message"], job["error_code"]) for job in map(api.job, jobs)]
        assert ends == [(2, None, None), (1, None, None), (None, "no speech", "E2"), (None, "no sound", "E1")]

    def test_cancelled_job_has_no_output_and_no_code(self, start):
        api = start()
        job_id = api.submit({"simulate": {"output": 1, "code": "E1"}})
        job = api.delete(f"/jobs/{job_id}").json()
        assert (job["status"], job["output"], job["error_code"]) == ("cancelled", None, None)

    @pytest.mark.parametrize("simulate", [b'{"output": NaN}', b'{"code": ""}', b'{"code": 5}', b'{"code": "a\\u0007"}'])
    def test_unusable_outputs_and_codes_are_refused(self, start, simulate):
        api, headers = start(), {"Content-Type": "application/json"}
        assert api.post("/start", content=b'{"simulate": %s}' % simulate, headers=headers).status_code in {400, 422}
        assert api.patch("/sandbox", content=b'{"output": [Infinity]}', headers=headers).status_code == 400
        assert api.get("/jobs").json()["jobs"] == []

    def test_large_outputs_make_pages_shorter_and_batches_smaller(self, start):
        api = start(max_delay=0)
        jobs = [api.submit({"simulate": {"output": "x" * 250_000}}) for _ in range(20)]
        first = api.get("/jobs?limit=100").json()
        second = api.get("/jobs", params={"limit": 100, "after": first["next"]}).json()
        assert [job["job_id"] for job in first["jobs"] + second["jobs"]] == jobs[::-1]
        assert (len(first["jobs"]), second["next"]) == (17, None)
        assert len(api.get("/jobs", params={"job_id": jobs[:15]}).json()["jobs"]) == 15
        refused = api.get("/jobs", params={"job_id": jobs})
        assert (refused.status_code, "poll fewer at once" in refused.json()["detail"]) == (422, True)
        assert api.get("/sandbox/report", headers={"Accept": "application/json"}).json()["jobs"]

    def test_a_job_is_shown_with_everything_that_its_caller_sent(self, start):
        api = start()
        body = {"source_language": "en", "simulate": {"message": "é"}}
        job_id = api.post("/jobs?video_length=7", json=body).json()["job_id"]
        shown = api.get(f"/sandbox/jobs/{job_id}").json()
        assert shown["input"] == body | {"video_length": 7.0}
        assert shown.items() >= {"job_id": job_id, "api": "native", "kind": "translation", "status": "pending"}.items()
        assert api.get(f"/sandbox/jobs/{api.submit()}").json()["input"] == {}
        api.reset()
        assert api.get(f"/sandbox/jobs/{job_id}").status_code == 404

    def test_a_job_is_shown_with_its_pauses(self, start):
        api = start()
        api.set_clock(frozen=True)
        job_id = api.submit()

        def shown():
            job = api.get(f"/sandbox/jobs/{job_id}").json()
            accepted_at = datetime.fromisoformat(job["created_at"])
            times = [(pause["from"], pause["to"]) for pause in job["pauses"]]
            return job["paused_for"], [
                tuple(at and (datetime.fromisoformat(at) - accepted_at).seconds for at in pause) for pause in times
            ]

        assert shown() == (0, [])
        for seconds, action in [(5, "pause"), (10, "pause"), (20, "unpause"), (40, "pause")]:
            api.set_clock(advance=seconds)
            api.change_job(job_id, do=action)
        assert shown() == (30, [(5, 35), (75, None)])
        api.set_clock(advance=80)
        api.change_job(job_id, do="cancel")
        assert shown() == (30, [(5, 35), (75, 155)])

    def test_an_unknown_job_is_not_found(self, start):
        assert start().post("/sandbox/jobs/unknown", json={"do": "pause"}).status_code == 404
