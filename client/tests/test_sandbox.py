"""The sandbox from the client's side: its methods and its subcommands."""

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.blocking import blocking
from translation_client import (
    AuthenticationError,
    Fixed,
    InvalidRequest,
    JobFailed,
    NotFound,
    Sandbox,
    State,
    TransportError,
)
from translation_client.cli import main
from translation_client.core.builtin_dialects import START

HALF_AN_HOUR = {"kind": "fixed", "seconds": 1800}


class TestMethods:
    def test_settings_are_changed_and_shown(self, sandbox):
        assert sandbox.set(error_probability=1, delay=HALF_AN_HOUR)["delay"] == HALF_AN_HOUR
        shown = sandbox.show()
        assert (shown["error_probability"], shown["user"]) == (1, sandbox.username)
        assert sandbox.set(error_probability=None)["error_probability"] == 0

    def test_scenarios_are_listed_and_chosen(self, sandbox):
        assert "flaky" in sandbox.scenarios()
        assert sandbox.scenario("flaky")["scenario"] == "flaky"
        assert sandbox.faults({"kind": "reset", "route": ["poll"], "times": 2})["faults"][0]["fired"] == 0
        assert sandbox.faults()["faults"] == []

    def test_clock_is_changed(self, sandbox):
        assert sandbox.advance(100)["clock"]["ahead"] >= 100
        assert sandbox.speed(60)["clock"]["speed"] == 60
        assert sandbox.freeze()["clock"]["frozen"]
        assert not sandbox.unfreeze()["clock"]["frozen"]

    def test_job_is_paused_unpaused_and_finished(self, sandbox):
        with sandbox.client() as client:
            job = client.start()
            assert sandbox.pause(job)["job"]["status"] == "pending"
            assert sandbox.unpause(job.id)["job"]["status"] == "pending"
            assert sandbox.finish(job, "error", "no speech found")["job"]["error_message"] == "no speech found"
            assert client.status(job.id).error == "no speech found"

    def test_job_is_finished_with_an_output_or_an_error_code(self, sandbox):
        with sandbox.client() as client:
            one, other = client.start(), client.start()
            assert (one.output, one.error_code) == (None, None)
            sandbox.finish(one, output={"video_url": "http://127.0.0.1/a.mp4"})
            assert client.wait(one.id).output == {"video_url": "http://127.0.0.1/a.mp4"}
            sandbox.finish(other, "error", "no speech found", code="E42")
            failed = client.wait(other.id)
            assert (failed.error_code, failed.output) == ("E42", None)
            with pytest.raises(JobFailed) as error:
                failed.raise_for_error()
            assert error.value.code == "E42"

    def test_request_log_and_report_show_the_client(self, sandbox):
        sandbox.set(delay={"kind": "fixed", "seconds": 0.1})
        with sandbox.client() as client:
            client.run()
        assert [record["action"] for record in sandbox.requests()] == ["submit", "poll"]
        report = sandbox.report()
        assert (report.warnings, report.raw["overall"]["submits"], str(report)) == ((), 1, "no findings")
        assert "no findings" in sandbox.report_as("text/plain")

    def test_eager_client_gets_a_warning(self, sandbox):
        sandbox.set(delay={"kind": "fixed", "seconds": 1})
        with sandbox.client(schedule=lambda: every(0.05), long_poll=0) as client:
            client.run()
        [finding] = [warning for warning in sandbox.report().warnings if warning.rule == "early-polls"]
        assert "early-polls" in str(sandbox.report())
        assert finding.jobs

    def test_reset_deletes_all_jobs(self, sandbox):
        with sandbox.client() as client:
            client.start()
            sandbox.reset()
            assert list(client.list()) == []

    def test_refused_changes_raise(self, sandbox):
        with pytest.raises(InvalidRequest, match="error_probability"):
            sandbox.set(error_probability=2)
        with pytest.raises(NotFound):
            sandbox.finish("unknown")
        with pytest.raises(TransportError, match="cannot be reached"), Sandbox("http://127.0.0.1:1") as unreachable:
            unreachable.show()
        with pytest.raises(ValueError, match="base_url"):
            Sandbox("nonsense")

    def test_wrong_credentials_raise(self, admins_server):
        with pytest.raises(AuthenticationError), Sandbox(admins_server, username="admin", password="x") as sandbox:
            sandbox.show()


def every(delay):
    """A schedule that polls after every `delay` seconds."""
    while True:
        yield delay


class TestLateness:
    """Lateness is wall time, whatever the sandbox's clock does."""

    @pytest.mark.parametrize(
        ("clock", "way", "asynchronous"),
        [
            ("fast", "wait", False),
            ("fast", "wait", True),
            ("fast", "wait_all", True),
            ("jumping", "wait", False),
            ("jumping", "wait_all", False),
            ("jumping", "wait_all without a list", False),
            ("frozen at first", "wait", True),
            ("frozen at first", "wait_all", False),
        ],
    )
    def test_lateness_equals_that_of_the_report_card(self, sandbox, clock, way, asynchronous):
        sandbox.set(delay={"kind": "fixed", "seconds": 15})
        sandbox.clock(speed=60, frozen=clock == "frozen at first")

        def update(status):
            if status.state is State.PENDING and clock != "fast":
                sandbox.clock(advance=1800 if clock == "jumping" else 0, frozen=False)

        options = {"schedule": Fixed(1), "on_update": update}
        if way == "wait_all without a list":
            options["dialect"] = replace(START, operations=START.operations[:2])

        with blocking(sandbox.async_client(**options)) if asynchronous else sandbox.client(**options) as client:
            job = client.start()
            final = client.wait(job.id) if way == "wait" else client.wait_all([job.id])[job.id]
        reported = sandbox.report().raw["overall"]["lateness_max"]
        assert final.cost.lateness > 0.5, "polls are a second apart, and the job takes a quarter of a second at most"
        assert abs(final.cost.lateness - reported) < 0.5

    def test_lateness_is_known_with_a_stream(self, sandbox):
        sandbox.set(delay={"kind": "fixed", "seconds": 60})
        sandbox.speed(60)
        with sandbox.client() as client:
            [final] = client.wait_all([client.start().id]).values()
        reported = sandbox.report().raw["overall"]["lateness_max"]
        assert abs(final.cost.lateness - reported) < 0.5


class TestHalfAnHour:
    """A job of half an hour ends at once when the clock is advanced."""

    @pytest.mark.parametrize("way", ["long-poll", "events", "polling"])
    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_long_job_ends_when_the_clock_is_advanced(self, sandbox, way, asynchronous):
        sandbox.set(delay=HALF_AN_HOUR)
        options = {"schedule": lambda: every(0.1)} if way == "polling" else {}

        def advance(status):
            if status.state is State.PENDING:
                sandbox.advance(1800)

        with blocking(sandbox.async_client(**options)) if asynchronous else sandbox.client(**options) as client:
            job = client.start()
            if way == "events":
                [final] = client.wait_all([job.id], timeout=60, on_update=advance).values()
            else:
                final = client.wait(job.id, timeout=60, on_update=advance)
        assert (final.state, final.elapsed) == (State.COMPLETED, 1800)
        actions = [record["action"] for record in sandbox.requests()]
        assert ("events" in actions or "event" in actions) is (way == "events")


class TestCommand:
    @pytest.fixture
    def run(self, sandbox, capsys):
        """Runs the command in the sandbox; returns its exit status and both outputs."""

        def run(*words):
            login = ["--url", sandbox.url, "--username", sandbox.username, "--password", sandbox.password]
            return main([*words, *login]), capsys.readouterr()

        return run

    def test_shown_sandbox_fits_on_a_screen(self, run):
        lines = run("sandbox", "scenario", "flaky")[1].out.splitlines()
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 100

    def test_sandbox_is_shown_and_changed(self, sandbox, run):
        assert json.loads(run("sandbox")[1].out)["user"] == sandbox.username
        code, output = run("sandbox", "set", "seed=abc", "paused=true", f"delay={json.dumps(HALF_AN_HOUR)}")
        shown = json.loads(output.out)
        assert (code, shown["seed"], shown["paused"], shown["delay"]) == (0, "abc", True, HALF_AN_HOUR)
        assert json.loads(run("sandbox", "scenario", "liar")[1].out)["scenario"] == "liar"
        assert "stuck" in json.loads(run("sandbox", "scenarios")[1].out)
        clock = json.loads(run("sandbox", "clock", "--freeze", "--advance", "60", "--speed", "2")[1].out)["clock"]
        assert (clock["speed"], clock["frozen"]) == (2, True)
        assert 0 < clock["ahead"] <= 60  # a frozen clock falls back by the time that has passed since
        assert clock.keys() == {"now", "speed", "frozen", "ahead"}
        assert not json.loads(run("sandbox", "clock", "--unfreeze")[1].out)["clock"]["frozen"]
        assert json.loads(run("sandbox", "reset")[1].out)["seed"] is None

    @pytest.mark.parametrize("seed", ["42", "true", "NaN", "abc"])
    def test_seed_is_always_text(self, run, seed):
        assert json.loads(run("sandbox", "set", f"seed={seed}")[1].out)["seed"] == seed
        assert json.loads(run("sandbox", "set", "seed=null")[1].out)["seed"] is None

    def test_partly_refused_clock_change_changes_nothing(self, sandbox, run):
        code, output = run("sandbox", "clock", "--freeze", "--speed", "-1")
        assert (code, output.err.count("speed:")) == (2, 1)
        assert not sandbox.show()["clock"]["frozen"]

    def test_jobs_are_paused_unpaused_and_finished(self, sandbox, run):
        with sandbox.client() as client:
            ids = [client.start().id, client.start().id]
        for action in ("pause", "unpause"):
            output = run("sandbox", action, *ids)[1].out
            assert output.splitlines() == [f"{job_id} {action}d: pending" for job_id in ids]
        failing = ("sandbox", "finish", "--outcome", "error", "--message", "no speech")
        assert run(*failing, ids[0])[1].out == f"{ids[0]} finished: error\n"
        first, second = map(json.loads, run(*failing, "--json", *ids)[1].out.splitlines())
        assert (first["error_message"], second["job_id"]) == ("no speech", ids[1])
        assert len(json.loads(run("sandbox", "requests")[1].out)) == 2

    def test_jobs_before_an_unknown_one_are_shown_as_changed(self, sandbox, run):
        with sandbox.client() as client:
            job = client.start().id
        code, output = run("sandbox", "finish", job, "unknown")
        assert (code, output.out, "404" in output.err) == (2, f"{job} finished: completed\n", True)
        assert run("sandbox", "pause", job)[1].out == f"{job} had already ended: completed\n"
        assert run("sandbox", "finish", "--outcome", "error", job)[1].out == f"{job} had already ended: completed\n"

    def test_report_prints_the_card_of_the_server(self, sandbox, run):
        with sandbox.client() as client:
            client.start()
        assert run("report")[1].out.rstrip("\n") == sandbox.report_as("text/plain").rstrip("\n")
        assert json.loads(run("report", "--json")[1].out) == sandbox.report().raw

    def test_fail_on_sets_the_exit_status_of_report(self, sandbox, run):
        assert run("report", "--fail-on", "notes")[0] == 0
        sandbox.set(delay={"kind": "fixed", "seconds": 1})
        with sandbox.client(schedule=lambda: every(0.05), long_poll=0) as client:
            client.run()
        assert run("report")[0] == 0
        for report_format in ("text", "json", "junit"):
            code, output = run("report", "--fail-on", "warnings", "--format", report_format)
            assert (code, "early-polls" in output.out) == (1, True)
        assert ET.fromstring(output.out).tag == "testsuites"  # noqa: S314 - the test's own server has written it
        assert json.loads(run("report", "--json")[1].out)["findings"]

    @pytest.mark.parametrize("report_format", ["text", "json", "junit"])
    def test_notes_are_no_warnings_in_any_format(self, sandbox, run, report_format):
        # A start without an idempotency key gets a note.
        httpx.post(f"{sandbox.url}/start", auth=(sandbox.username, sandbox.password), timeout=60)
        codes = [run("report", "--format", report_format, "--fail-on", on)[0] for on in ("warnings", "notes")]
        assert codes == [0, 1]

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["sandbox", "explode"], "invalid choice"),
            (["sandbox", "set", "seed"], "NAME=VALUE"),
            (["sandbox", "set", "scenario=monday"], "scenario"),
            (["sandbox", "set", "error_probability=1e400"], "not representable as JSON"),
            (["sandbox", "set", "self=1"], "self: there is no such field"),
            (["sandbox", "set", "seed=[1]"], "seed: "),
            (["sandbox", "clock"], "--advance"),
            (["sandbox", "clock", "--advance", "nan"], "--advance must be a finite number, not nan"),
            (["sandbox", "clock", "--speed", "1e400"], "--speed must be a finite number, not inf"),
            (["sandbox", "pause", "\udcff"], "ID must be the id of a job"),
            (["sandbox", "finish", ".."], "ID must be the id of a job"),
            (["report", "--json", "--format", "junit"], "--json and --format junit exclude each other"),
            (["sandbox", "finish", "unknown"], "404"),
            (["report", "--fail-on", "everything"], "invalid choice"),
        ],
    )
    def test_usage_error_is_one_line(self, run, words, expected):
        code, output = run(*words)
        assert (code, output.out, output.err.count("\n")) == (2, "", 1)
        assert expected in output.err
