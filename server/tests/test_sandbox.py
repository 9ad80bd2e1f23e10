"""What a user can set, over HTTP against a real server; and that nobody else feels it."""

import re
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime

import httpx
import pytest

from translation_server import TranslationServer
from translation_server.config.fault_files import FaultsError
from translation_server.config.settings import SettingsError
from translation_server.core.faults.rules import KINDS
from translation_server.core.scenarios import SCENARIOS
from translation_server.service import freshness
from translation_server.storage import open_store

HALF_AN_HOUR = {"kind": "fixed", "seconds": 1800}


def impatient(start, monkeypatch):
    """A server whose connections do not wait long for a lock."""
    with monkeypatch.context() as patched:
        patched.setattr("translation_server.storage.sqlite.database.LOCK_TIMEOUT", 0.1)
        return start()


@contextmanager
def locked(path):
    """Within it, another program holds the write lock of the store's file."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


def submit(api, **body) -> str:
    answer = api.post("/start", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["job_id"]


def status(api, job_id: str) -> str:
    return api.get(f"/status/{job_id}").json()["status"]


def changed(api, **settings) -> dict:
    answer = api.patch("/sandbox", json=settings)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_jobs_age_is_told_in_wall_time_too_where_the_clock_was_set(start):
    api = start(min_delay=1800, max_delay=1800)
    plain = api.post("/start")
    assert plain.status_code == 202
    with api.stream("GET", f"/jobs/{plain.json()['job_id']}/events") as stream:
        assert "wall-elapsed-time" not in next(stream.iter_text())
    answers = [
        plain,
        *(api.get(path) for path in (plain.headers["location"], f"/jobs?job_id={plain.json()['job_id']}")),
    ]
    assert [answer.headers.get("wall-elapsed-time") for answer in answers] == [None] * 3

    assert api.post("/sandbox/clock", json={"speed": 60}).status_code == 200
    job_id = submit(api)
    for end in (False, True):
        assert api.post("/sandbox/clock", json={"advance": 3600 * end, "speed": 60}).status_code == 200
        for headers in ({}, {}, {"Prefer": "wait=0"}, {"If-None-Match": "none"}):
            answer = api.get(f"/status/{job_id}", headers=headers)
            assert answer.status_code == 200
            assert answer.json()["status"] == ("completed" if end else "pending")
            assert 0 <= float(answer.headers["wall-elapsed-time"]) < 30
        several = api.get("/jobs", params={"job_id": [job_id, plain.json()["job_id"]]})
        ages = [float(age) for age in several.headers["wall-elapsed-time"].split(",")]
        assert len(ages) == len(several.json()["jobs"]) == 2
        assert ages[0] <= ages[1] < 30
    assert float(api.delete(f"/jobs/{job_id}").headers["wall-elapsed-time"]) < 30
    with api.stream("GET", f"/jobs/{job_id}/events") as stream:
        [block] = [block for block in "".join(stream.iter_text()).split("\n\n") if "event: completed" in block]
    assert float(re.search(r"^wall-elapsed-time: (\S+)$", block, re.MULTILINE)[1]) < 30


class TestSettings:
    def test_they_begin_as_the_server_has_them(self, start):
        api = start(min_delay=3, max_delay=7, error_probability=0.25, seed="s", per_video_second=2)
        shown = api.get("/sandbox").json()
        assert shown["delay"] == {"kind": "uniform", "min": 3, "max": 7}
        assert (shown["error_probability"], shown["seed"], shown["per_video_second"]) == (0.25, "s", 2)
        assert (shown["scenario"], shown["faults"], shown["user"]) == (None, [], "admin")

    def test_a_distribution_can_be_given_to_the_server(self, start):
        api = start(delay="lognormal(600, 0.5)")
        assert api.get("/sandbox").json()["delay"] == {"kind": "lognormal", "median": 600, "sigma": 0.5}

    def test_what_is_set_holds_for_jobs_from_then_on_and_null_is_the_servers(self, start):
        api = start(max_delay=0)
        shown = changed(api, delay=HALF_AN_HOUR, error_probability=1)
        assert shown["delay"] == HALF_AN_HOUR
        pending = submit(api)
        assert status(api, pending) == "pending"
        assert changed(api, delay=None)["delay"] == {"kind": "uniform", "min": 0, "max": 0}
        assert status(api, submit(api)) == "error"
        assert status(api, pending) == "pending"

    def test_a_longer_video_takes_longer(self, start):
        api = start(max_delay=0)
        changed(api, per_video_second=100)
        assert status(api, submit(api, video_length=10)) == "pending"
        assert status(api, submit(api)) == "completed"

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
    def test_every_distribution_serves(self, start, delay):
        api = start()
        assert changed(api, delay=delay)["delay"] == delay
        job_id = submit(api)
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
    def test_what_makes_no_sense_is_refused_and_changes_nothing(self, start, body, field):
        api = start()
        before = api.get("/sandbox").json()
        answer = api.patch("/sandbox", json=body | {"paused": True})
        assert answer.status_code == 422
        assert field in [error["field"] for error in answer.json()["errors"]]
        after = api.get("/sandbox").json()
        assert before | {"clock": None} == after | {"clock": None}

    @pytest.mark.parametrize(
        ("seed", "text"), [(42, "42"), (42.0, "42"), (0.5, "0.5"), (-(10**30), f"-1{'0' * 30}"), ("007", "007")]
    )
    def test_a_seed_is_a_number_or_a_string(self, start, seed, text):
        api, outcomes = start(error_probability=0.5, max_delay=0), []
        for given in (seed, text):
            assert changed(api, seed=given)["seed"] == text
            outcomes.append([status(api, submit(api)) for _ in range(8)])
            api.post("/sandbox/reset")
        assert outcomes[0] == outcomes[1]

    @pytest.mark.anyio
    async def test_settings_that_an_older_version_took_are_left_out(self, start, tmp_path):
        stored = '{"settings": {"seed": "s", "faults": [{"kind": "drip", "rate": 1e-300}]}}'
        store = open_store(f"sqlite:///{tmp_path}/jobs.db")
        await store.change_sandbox("admin", lambda _: stored)
        await store.close()
        api = start()
        sandbox = api.get("/sandbox").json()
        assert (sandbox["seed"], sandbox["faults"]) == ("s", [])
        assert changed(api, error_probability=0.5)["seed"] == "s"

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ({"delay": {"kind": "never"}}, "delay: kind must be one of fixed, uniform, exponential, lognormal"),
            ({"delay": {"seconds": 5}}, "delay: kind is missing"),
            ({"faults": [{"kind": "never"}]}, f"faults[0]: kind must be one of {', '.join(KINDS)}"),
            (
                {"faults": [{"kind": "latency", "delay": {"kind": "never"}}]},
                "faults[0].delay: kind must be one of fixed, uniform, exponential, lognormal",
            ),
        ],
        ids=str,
    )
    def test_an_unknown_kind_is_told_which_there_are(self, start, body, told):
        answer = start().patch("/sandbox", json=body)
        assert (answer.status_code, answer.json()["detail"]) == (422, told)

    @pytest.mark.parametrize(("content", "code"), [(b"{", 400), (b"[]", 422), (b"", 400)])
    def test_what_is_no_object_is_refused(self, start, content, code):
        answer = start().patch("/sandbox", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == code

    def test_they_outlive_a_restart(self, start):
        api = start()
        changed(api, seed="kept", delay=HALF_AN_HOUR, faults=[{"kind": "status", "code": 503, "nth": [7]}])
        api.post("/sandbox/clock", json={"advance": 1000})
        again = start().get("/sandbox").json()
        assert (again["seed"], again["delay"]) == ("kept", HALF_AN_HOUR)
        assert again["faults"] == [{"kind": "status", "code": 503, "nth": [7], "fired": 0}]
        assert again["clock"]["ahead"] == pytest.approx(1000, abs=1)

    def test_another_process_has_them_within_a_second(self, start):
        here, there = start(), start()
        assert there.get("/sandbox").json()["seed"] is None
        changed(here, seed="new")
        assert freshness.MAX_AGE < 1
        until = time.monotonic() + 60
        while there.get("/sandbox").json()["seed"] != "new":
            assert time.monotonic() < until
            time.sleep(0.05)

    def test_another_user_feels_nothing(self):
        with TranslationServer(1000, 0) as server:
            ann, bob = (httpx.Client(base_url=server.url, auth=(name, ""), timeout=60) for name in ("ann", "bob"))
            with ann, bob:
                changed(ann, scenario="stuck", seed="ann's")
                ann.post("/sandbox/clock", json={"frozen": True})
                shown = bob.get("/sandbox").json()
                assert (shown["user"], shown["scenario"], shown["seed"], shown["clock"]["frozen"]) == (
                    "bob",
                    None,
                    None,
                    False,
                )
                job_id = submit(bob)
                assert ann.post(f"/sandbox/jobs/{job_id}", json={"do": "finish"}).status_code == 404

    def test_a_reset_empties_everything(self, start):
        api = start(seed="s")
        job_id = submit(api)
        changed(api, scenario="flaky", paused=True)
        api.post("/sandbox/clock", json={"advance": 1000, "frozen": True})
        shown = api.post("/sandbox/reset").json()
        assert (shown["scenario"], shown["paused"], shown["faults"]) == (None, False, [])
        assert shown["clock"] | {"now": None} == {"now": None, "speed": 1, "frozen": False, "ahead": 0}
        assert api.get(f"/status/{job_id}").status_code == 404
        assert [each["status"] for each in api.get("/sandbox/requests").json()["requests"]] == [404]

    def test_the_same_fates_come_again_after_a_reset(self, start):
        api = start(error_probability=0.5, max_delay=0, seed="s")

        def fates():
            return [status(api, submit(api)) for _ in range(20)]

        before = fates()
        api.post("/sandbox/reset")
        assert fates() == before
        assert len(set(before)) == 2

    def test_it_can_be_turned_off(self, start):
        api = start(sandbox="off", max_delay=0)
        assert {api.get(path).status_code for path in ("/sandbox", "/sandbox/scenarios", "/sandbox/report")} == {404}
        assert api.patch("/sandbox", json={"paused": True}).status_code == 404
        refused = api.post("/start", json={"simulate": {"delay": 1}})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "simulate")
        path = f"/status/{submit(api)}"
        refused = api.get(path, headers={"Simulate-Fault": "reset"})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "Simulate-Fault")
        assert api.get(path, headers={"Simulate-Fault": ""}).status_code == 200
        assert "/sandbox" not in api.get("/openapi.json").json()["paths"]


class TestClock:
    def test_half_an_hour_ends_in_a_blink(self, start):
        api = start(max_delay=1800)
        job_id = submit(api)
        held = ("GET", f"/status/{job_id}", {"Prefer": "wait=50"})
        with ThreadPoolExecutor() as pool, api.stream("GET", "/events") as stream:
            lines = stream.iter_lines()
            next(line for line in lines if line.startswith("id"))
            snapshot = pool.submit(api.request, held[0], held[1], headers=held[2], timeout=60)
            api.post("/sandbox/clock", json={"advance": 1800})
            assert snapshot.result(40).json()["status"] == "completed"
            assert next(line for line in lines if line.startswith("event")) == "event: completed"

    def test_its_speed_is_that_of_all_times_on_the_wire_and_hints_are_in_real_time(self, start):
        api = start(max_delay=600)
        api.post("/sandbox/clock", json={"speed": 1000})
        accepted = api.post("/start")
        assert 0 < int(accepted.headers["retry-after-ms"]) <= 700
        end = api.get(accepted.headers["Location"], headers={"Prefer": "wait=20"}).json()
        took = datetime.fromisoformat(end["completed_at"]) - datetime.fromisoformat(end["created_at"])
        assert (end["status"], end["elapsed_time"], took.total_seconds()) == (
            "completed",
            600,
            pytest.approx(600, abs=0.01),
        )

    def test_frozen_time_stands_still(self, start):
        api = start(max_delay=0.01)
        frozen = api.post("/sandbox/clock", json={"frozen": True}).json()["clock"]["now"]
        job = api.get(f"/status/{submit(api)}", headers={"Prefer": "wait=1"}).json()
        assert (job["status"], job["progress"], job["created_at"]) == ("pending", 0, frozen)
        api.post("/sandbox/clock", json={"frozen": False})
        assert api.get(f"/status/{job['job_id']}", headers={"Prefer": "wait=9"}).json()["status"] == "completed"

    def test_a_jump_in_another_process_ends_the_wait_too(self, start):
        here, there = start(max_delay=1800), start(max_delay=1800)
        job_id = submit(here)
        with ThreadPoolExecutor() as pool:
            held = pool.submit(here.get, f"/status/{job_id}", headers={"Prefer": "wait=50"}, timeout=60)
            there.post("/sandbox/clock", json={"advance": 1800})
            assert held.result(40).json()["status"] == "completed"

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"speed": 0},
            {"speed": 1e-9},
            {"speed": -1},
            {"advance": -1},
            {"advance": 1e10},
            {"frozen": 1},
            {"back": 1},
        ],
        ids=str,
    )
    def test_it_cannot_be_set_to_nonsense(self, start, body):
        assert start().post("/sandbox/clock", json=body).status_code == 422

    def test_the_end_of_time_is_no_error(self, start):
        api = start(max_delay=1e9)
        api.post("/sandbox/clock", json={"speed": 1e6})
        for _ in range(300):
            assert api.post("/sandbox/clock", json={"advance": 1e9}).status_code == 200
        assert status(api, submit(api)) == "pending"


class TestJobs:
    def test_a_paused_job_stays_pending_until_it_is_unpaused(self, start):
        api = start(max_delay=0.2)
        changed(api, paused=True)
        job_id = submit(api)
        snapshot = api.get(f"/status/{job_id}", headers={"Prefer": "wait=1"}).json()
        assert (snapshot["status"], snapshot["progress"]) == ("pending", 0)
        assert [job["job_id"] for job in api.get("/jobs?status=pending").json()["jobs"]] == [job_id]
        released = api.post(f"/sandbox/jobs/{job_id}", json={"do": "unpause"}).json()["job"]
        assert released["status"] == "pending"
        end = api.get(f"/status/{job_id}", headers={"Prefer": "wait=9"}).json()
        assert (end["status"], end["elapsed_time"] >= 0.9) == ("completed", True)

    @pytest.mark.parametrize("frozen", [False, True])
    def test_a_job_is_finished_as_asked_whoever_waits_for_it(self, start, frozen):
        api = start()
        job_id = submit(api)
        api.post("/sandbox/clock", json={"frozen": frozen})
        with ThreadPoolExecutor() as pool:
            held = pool.submit(api.get, f"/status/{job_id}", headers={"Prefer": "wait=50"}, timeout=60)
            asked = {"do": "finish", "outcome": "error", "message": "no speech found"}
            job = api.post(f"/sandbox/jobs/{job_id}", json=asked).json()["job"]
            assert held.result(40).json()["status"] == "error"
        assert (job["status"], job["error_message"]) == ("error", "no speech found")
        assert api.post(f"/sandbox/jobs/{job_id}", json={"do": "finish"}).json()["job"] == job

    def test_a_submission_brings_its_fate(self, start):
        api = start()
        job_id = submit(api, simulate={"delay": 0, "outcome": "error", "message": "no speech found"})
        job = api.get(f"/status/{job_id}").json()
        assert (job["status"], job["error_message"]) == ("error", "no speech found")
        assert status(api, submit(api, simulate={"paused": True, "delay": 0})) == "pending"

    def test_the_fate_is_part_of_what_an_idempotency_key_stands_for(self, start):
        api = start()
        headers = {"Idempotency-Key": "k"}
        assert api.post("/start", json={"simulate": {"delay": 1}}, headers=headers).status_code == 202
        assert api.post("/start", json={"simulate": {"delay": 2}}, headers=headers).status_code == 422

    @pytest.mark.parametrize(
        "fate_override", [{"delay": -1}, {"outcome": "pending"}, {"message": ""}, {"soon": 1}, 5], ids=str
    )
    def test_a_fate_that_makes_no_sense_is_refused(self, start, fate_override):
        api = start()
        assert api.post("/start", json={"simulate": fate_override}).status_code == 422
        assert api.get("/jobs").json()["jobs"] == []

    @pytest.mark.parametrize("body", [{}, {"do": "explode"}, {"do": "finish", "outcome": "pending"}], ids=str)
    def test_what_cannot_be_done_to_a_job_is_refused(self, start, body):
        api = start()
        assert api.post(f"/sandbox/jobs/{submit(api)}", json=body).status_code == 422

    def test_an_unknown_job_is_not_found(self, start):
        assert start().post("/sandbox/jobs/unknown", json={"do": "pause"}).status_code == 404


class TestScenarios:
    def test_each_is_listed_with_what_it_sets_and_can_be_chosen(self, start):
        api = start()
        scenarios = {each["scenario"]: each for each in api.get("/sandbox/scenarios").json()["scenarios"]}
        assert set(scenarios) == set(SCENARIOS)
        for name, scenario in scenarios.items():
            shown = changed(api, scenario=name)
            assert shown["scenario"] == name
            assert [{key: value for key, value in rule.items() if key != "fired"} for rule in shown["faults"]] == (
                scenario["settings"]["faults"]
            )

    def test_a_new_scenario_replaces_the_settings_that_scenarios_set(self, start):
        api = start()
        changed(api, faults=[{"kind": "reset"}], paused=True, seed="kept")
        shown = changed(api, scenario="perfect")
        assert (shown["faults"], shown["paused"], shown["error_probability"], shown["seed"]) == ([], False, 0, "kept")
        assert changed(api, scenario=None)["error_probability"] == 0

    def test_one_may_be_that_of_every_sandbox(self, start):
        api = start(scenario="stuck")
        assert api.get("/sandbox").json()["paused"]
        assert changed(api, scenario="perfect")["paused"] is False

    def test_a_file_of_faults_holds_for_every_sandbox(self, start, tmp_path):
        path = tmp_path / "faults.toml"
        path.write_text('[[faults]]\nkind = "status"\ncode = 418\nroute = ["submit"]\ntimes = 1\n')
        api = start(faults=path)
        assert [api.post("/start").status_code for _ in range(2)] == [418, 202]
        assert changed(api, scenario="perfect")["faults"] == []

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (None, "cannot be read: No such file"),
            (b"[[faults", "must be UTF-8 TOML"),
            (b"\xff", "must be UTF-8 TOML"),
            (b"faults = 2026-01-01", "faults: input should be a valid array"),
            (b"faults = " + b"[" * 100_000, "must be UTF-8 TOML"),
            (b"", "faults: field required"),
            (b"[[faults]]\nkind = 'status'\n", "faults[0].code: field required"),
            (b"[[faults]]\nkind = 'reset'\nrout = ['look']\n", "faults[0].rout: there is no such field"),
        ],
    )
    def test_a_file_of_faults_that_makes_no_sense_stops_the_server(self, start, tmp_path, content, told):
        path = tmp_path / "faults.toml"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(FaultsError, match=re.escape(told)):
            start(faults=path)

    @pytest.mark.parametrize("settings", [{"scenario": "flaky"}, {"faults": "faults.toml"}])
    def test_what_goes_wrong_needs_a_sandbox(self, start, tmp_path, monkeypatch, settings):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "faults.toml").write_text("[[faults]]\nkind = 'reset'\n")
        with pytest.raises(SettingsError, match="SANDBOX=off: must be on"):
            start(sandbox="off", **settings)


class TestJournal:
    def test_it_tells_what_was_asked_and_answered(self, start):
        api = start(max_delay=0)
        job_id = api.post("/start", headers={"Idempotency-Key": "k"}).json()["job_id"]
        api.get(f"/status/{job_id}", headers={"Prefer": "wait=5", "User-Agent": "mine"})
        assert api.get("/nothing").status_code == 404
        first, second, third = api.get("/sandbox/requests").json()["requests"]
        assert (first["number"], first["action"], first["key"], first["status"]) == (1, "submit", "k", 202)
        assert first["jobs"][0]["job_id"] == job_id
        assert (second["action"], second["wait"], second["agent"]) == ("poll", 5, "mine")
        assert (second["jobs"][0]["state"], second["jobs"][0]["ended_at"] > 0) == ("completed", True)
        assert (third["action"], third["path"], third["status"]) == (None, "/nothing", 404)

    def test_a_submission_that_was_refused_can_be_told_from_others(self, start):
        api = start()
        for key, body in (
            ("one", {"target_language": "es"}),
            (None, {"target_language": "es"}),
            (None, {"x": "y" * 70000}),
        ):
            headers = {"Simulate-Fault": '{"kind": "status", "code": 503}'} | ({"Idempotency-Key": key} if key else {})
            assert api.post("/start", json=body, headers=headers).status_code == 503
        first, second, third = api.get("/sandbox/requests").json()["requests"]
        assert [entry["key"] for entry in (first, second, third)] == ["one", None, None]
        assert first["digest"] == second["digest"] is not None
        assert third["digest"] is None  # too large to be read

    def test_it_can_be_paged_and_the_oldest_go_first(self, start):
        api = start(request_log=5)
        for number in range(8):
            api.get(f"/jobs?limit={number + 1}")
        page = api.get("/sandbox/requests?limit=2").json()
        assert ([entry["number"] for entry in page["requests"]], page["next"], page["dropped"]) == ([4, 5], 5, 3)
        rest = api.get(f"/sandbox/requests?after={page['next']}").json()
        assert ([entry["number"] for entry in rest["requests"]], rest["next"]) == ([6, 7, 8], None)

    def test_what_cannot_be_written_now_is_written_later(self, start, tmp_path, monkeypatch):
        api = impatient(start, monkeypatch)
        monkeypatch.setattr("translation_server.service.request_log.BATCH_SIZE", 2)
        with locked(tmp_path / "jobs.db"):
            for number in range(5):
                assert api.get(f"/jobs?limit={number + 1}").status_code == 200
            assert api.get("/sandbox/requests").status_code == 503
        told = api.get("/sandbox/requests").json()
        assert (len(told["requests"]), told["dropped"]) == (5, 0)
        assert told["requests"] == sorted(told["requests"], key=lambda entry: entry["at"])

    def test_what_is_lost_is_told(self, start, tmp_path, monkeypatch):
        api = impatient(start, monkeypatch)
        monkeypatch.setattr("translation_server.service.request_log.MAX_WAITING", 3)
        with locked(tmp_path / "jobs.db"):
            for number in range(5):
                assert api.get(f"/jobs?limit={number + 1}").status_code == 200
            assert api.get("/sandbox/report").status_code == 503
        told = api.get("/sandbox/requests").json()
        assert (len(told["requests"]), told["dropped"]) == (3, 2)
        assert api.get("/sandbox/report").json()["overall"]["dropped"] == 2
        api.post("/sandbox/reset")
        assert api.get("/sandbox/requests").json()["dropped"] == 0

    def test_it_can_be_left_out(self, start):
        api = start(request_log=0)
        api.get("/jobs")
        assert api.get("/sandbox/requests").json() == {"requests": [], "next": None, "dropped": 0}

    @pytest.mark.parametrize(
        ("path", "fields"), [("/jobs", "status, job_id, limit, after"), ("/sandbox/requests", "limit, after")]
    )
    def test_a_question_that_makes_no_sense_is_told_what_may_be_asked(self, start, path, fields):
        answer = start().get(f"{path}?foo=1")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["message"] == f"there is no such field; the fields are {fields}"

    def test_what_a_stream_tells_is_in_it_as_it_happens(self, start):
        api = start(max_delay=0.1)
        with api.stream("GET", "/events") as stream:
            lines = stream.iter_lines()
            next(lines)
            job_id = submit(api)
            next(line for line in lines if line.startswith("event: completed"))
            entries = api.get("/sandbox/requests").json()["requests"]
        told = [
            (entry["action"], [job["state"] for job in entry["jobs"]])
            for entry in entries
            if entry["action"] == "event"
        ]
        assert told[-1] == ("event", ["completed"])
        assert entries[-1]["jobs"][0]["job_id"] == job_id

    def test_a_report_comes_as_json_as_text_and_as_junit(self, start):
        api = start(max_delay=0)
        status(api, submit(api))
        card = api.get("/sandbox/report")
        assert (card.headers["Content-Type"], card.json()["overall"]["submits"]) == ("application/json", 1)
        text = api.get("/sandbox/report", headers={"Accept": "text/plain"})
        assert text.headers["Content-Type"].startswith("text/plain")
        junit = api.get("/sandbox/report", headers={"Accept": "application/xml"})
        assert junit.text.lstrip().startswith("<")
