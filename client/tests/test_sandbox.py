"""The sandbox from the client's side: its methods, its commands, and what users' own tests are given."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import httpx
import pytest

from translation_client import AuthenticationError, Fixed, InvalidRequest, NotFound, Sandbox, State, TransportError
from translation_client.cli import main
from translation_client.core.dialects import START
from translation_client.testing import sandbox_on, server

if TYPE_CHECKING:
    from pathlib import Path

HALF_AN_HOUR = {"kind": "fixed", "seconds": 1800}


def effect(sandbox: Sandbox, *words: str) -> list[str]:
    return [*words, "--url", sandbox.url, "--username", str(sandbox.username), "--password", str(sandbox.password)]


class TestMethods:
    def test_settings_are_changed_and_shown(self, sandbox):
        assert sandbox.set(error_probability=1, delay=HALF_AN_HOUR)["delay"] == HALF_AN_HOUR
        shown = sandbox.show()
        assert (shown["error_probability"], shown["user"]) == (1, sandbox.username)
        assert sandbox.set(error_probability=None)["error_probability"] == 0

    def test_days_are_listed_and_chosen(self, sandbox):
        assert "flaky" in sandbox.scenarios()
        assert sandbox.scenario("flaky")["scenario"] == "flaky"
        assert sandbox.faults({"kind": "reset", "route": ["poll"], "times": 2})["faults"][0]["fired"] == 0
        assert sandbox.faults()["faults"] == []

    def test_the_clock_is_set(self, sandbox):
        assert sandbox.advance(100)["clock"]["ahead"] >= 100
        assert sandbox.speed(60)["clock"]["speed"] == 60
        assert sandbox.freeze()["clock"]["frozen"]
        assert not sandbox.unfreeze()["clock"]["frozen"]

    def test_a_job_is_held_released_and_finished(self, sandbox):
        with sandbox.client() as client:
            job = client.start()
            assert sandbox.pause(job)["job"]["status"] == "pending"
            assert sandbox.unpause(job.id)["job"]["status"] == "pending"
            assert sandbox.finish(job, "error", "no speech found")["job"]["error_message"] == "no speech found"
            assert client.status(job.id).error == "no speech found"

    def test_the_journal_and_the_report_tell_of_the_client(self, sandbox):
        sandbox.set(delay={"kind": "fixed", "seconds": 0.1})
        with sandbox.client() as client:
            client.run()
        assert [entry["action"] for entry in sandbox.requests()] == ["submit", "poll"]
        report = sandbox.report()
        assert (report.warnings, report.raw["overall"]["submits"], str(report)) == ((), 1, "no findings")
        assert "no findings" in sandbox.report_as("text/plain")

    def test_a_bad_client_is_told_what_to_change(self, sandbox):
        sandbox.set(delay={"kind": "fixed", "seconds": 1})
        with sandbox.client(schedule=lambda: iter_of(0.05), long_poll=0) as client:
            client.run()
        [finding] = [found for found in sandbox.report().warnings if found.rule == "early-polls"]
        assert "early-polls" in str(sandbox.report())
        assert finding.jobs

    def test_a_reset_empties_it(self, sandbox):
        with sandbox.client() as client:
            client.start()
            sandbox.reset()
            assert list(client.list()) == []

    def test_what_cannot_be_done_is_told(self, sandbox):
        with pytest.raises(InvalidRequest, match="error_probability"):
            sandbox.set(error_probability=2)
        with pytest.raises(NotFound):
            sandbox.finish("unknown")
        with pytest.raises(TransportError, match="cannot be reached"), Sandbox("http://127.0.0.1:1") as nobody:
            nobody.show()
        with pytest.raises(ValueError, match="base_url"):
            Sandbox("nonsense")

    def test_wrong_credentials_are_told(self, admins_server):
        with pytest.raises(AuthenticationError), Sandbox(admins_server, username="admin", password="x") as sandbox:
            sandbox.show()


def iter_of(delay: float):
    """A schedule that looks ever again after so many seconds."""
    while True:
        yield delay


class TestLateness:
    """It is wall time, whatever the sandbox's clock does, as it is on the report card."""

    @pytest.mark.parametrize(
        ("clock", "way", "asynchronous"),
        [
            ("it runs faster", "one", False),
            ("it runs faster", "one", True),
            ("it runs faster", "one of several", True),
            ("it jumps", "one", False),
            ("it jumps", "one of several", False),
            ("it jumps", "alone among several", False),
            ("it stands still for a while", "one", True),
            ("it stands still for a while", "one of several", False),
        ],
    )
    def test_it_is_that_of_the_report_card(self, sandbox, clock, way, asynchronous):
        sandbox.set(delay={"kind": "fixed", "seconds": 15})
        sandbox.clock(speed=60, frozen=clock == "it stands still for a while")

        def update(status):
            if status.state is State.PENDING and clock != "it runs faster":
                sandbox.clock(advance=1800 if clock == "it jumps" else 0, frozen=False)

        options = {"schedule": Fixed(1), "on_update": update}
        if way == "alone among several":
            options["dialect"] = replace(START, list=None)

        async def asynchronously():
            async with sandbox.async_client(**options) as client:
                job = await client.start()
                return await client.wait(job.id) if way == "one" else (await client.wait_all([job.id]))[job.id]

        if asynchronous:
            final = asyncio.run(asynchronously())
        else:
            with sandbox.client(**options) as client:
                job = client.start()
                final = client.wait(job.id) if way == "one" else client.wait_all([job.id])[job.id]
        told = sandbox.report().raw["overall"]["lateness_max"]
        assert final.cost.lateness > 0.5, "a second from look to look, and the job takes a quarter of one at most"
        assert abs(final.cost.lateness - told) < 0.5

    def test_it_is_known_of_a_stream_too(self, sandbox):
        sandbox.set(delay={"kind": "fixed", "seconds": 60})
        sandbox.speed(60)
        with sandbox.client() as client:
            [final] = client.wait_all([client.start().id]).values()
        told = sandbox.report().raw["overall"]["lateness_max"]
        assert abs(final.cost.lateness - told) < 0.5


class TestHalfAnHour:
    """A job of half an hour ends in a blink, whichever way it is awaited."""

    @pytest.mark.parametrize("way", ["long-poll", "events", "polling"])
    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_a_job_is_submitted_advanced_and_awaited(self, sandbox, way, asynchronous):
        sandbox.set(delay=HALF_AN_HOUR)
        options = {"schedule": lambda: iter_of(0.1)} if way == "polling" else {}

        def advance(status):
            if status.state is State.PENDING:
                sandbox.advance(1800)

        async def asynchronously():
            async with sandbox.async_client(**options) as client:
                job = await client.start()
                if way == "events":
                    [final] = (await client.wait_all([job.id], timeout=60, on_update=advance)).values()
                    return final
                return await client.wait(job.id, timeout=60, on_update=advance)

        if asynchronous:
            final = asyncio.run(asynchronously())
        else:
            with sandbox.client(**options) as client:
                job = client.start()
                if way == "events":
                    [final] = client.wait_all([job.id], timeout=60, on_update=advance).values()
                else:
                    final = client.wait(job.id, timeout=60, on_update=advance)
        assert (final.state, final.elapsed) == (State.COMPLETED, 1800)
        actions = [entry["action"] for entry in sandbox.requests()]
        assert ("events" in actions or "event" in actions) is (way == "events")


class TestCommand:
    def run(self, sandbox, capsys, *words: str):
        code = main(effect(sandbox, *words))
        return code, capsys.readouterr()

    def test_the_sandbox_is_shown_and_changed(self, sandbox, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert json.loads(self.run(sandbox, capsys, "sandbox")[1].out)["user"] == sandbox.username
        code, told = self.run(
            sandbox, capsys, "sandbox", "set", "seed=abc", "paused=true", f"delay={json.dumps(HALF_AN_HOUR)}"
        )
        shown = json.loads(told.out)
        assert (code, shown["seed"], shown["paused"], shown["delay"]) == (0, "abc", True, HALF_AN_HOUR)
        assert json.loads(self.run(sandbox, capsys, "sandbox", "scenario", "liar")[1].out)["scenario"] == "liar"
        assert "stuck" in json.loads(self.run(sandbox, capsys, "sandbox", "scenarios")[1].out)
        told = self.run(sandbox, capsys, "sandbox", "clock", "--freeze", "--advance", "60", "--speed", "2")[1]
        assert json.loads(told.out)["clock"] | {"now": "", "ahead": 60} == {
            "now": "",
            "speed": 2,
            "frozen": True,
            "ahead": 60,
        }
        assert not json.loads(self.run(sandbox, capsys, "sandbox", "clock", "--unfreeze")[1].out)["clock"]["frozen"]
        assert json.loads(self.run(sandbox, capsys, "sandbox", "reset")[1].out)["seed"] is None

    @pytest.mark.parametrize("seed", ["42", "true", "NaN", "abc"])
    def test_a_seed_is_text_whatever_it_looks_like(self, sandbox, capsys, tmp_path, monkeypatch, seed):
        monkeypatch.chdir(tmp_path)
        assert json.loads(self.run(sandbox, capsys, "sandbox", "set", f"seed={seed}")[1].out)["seed"] == seed
        assert json.loads(self.run(sandbox, capsys, "sandbox", "set", "seed=null")[1].out)["seed"] is None

    def test_a_clock_that_is_refused_in_part_is_not_set_at_all(self, sandbox, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        code, told = self.run(sandbox, capsys, "sandbox", "clock", "--freeze", "--speed", "-1")
        assert (code, told.err.count("speed:")) == (2, 1)
        assert not sandbox.show()["clock"]["frozen"]

    def test_jobs_are_held_released_and_finished(self, sandbox, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with sandbox.client() as client:
            ids = [client.start().id, client.start().id]
        for action in ("pause", "unpause"):
            assert [
                job["job_id"] for job in json.loads(self.run(sandbox, capsys, "sandbox", action, *ids)[1].out)
            ] == ids
        told = self.run(sandbox, capsys, "sandbox", "finish", "--outcome", "error", "--message", "no speech", *ids)[1]
        assert [job["error_message"] for job in json.loads(told.out)] == ["no speech"] * 2
        assert len(json.loads(self.run(sandbox, capsys, "sandbox", "requests")[1].out)) == 2

    def test_a_report_fails_where_it_is_told_to(self, sandbox, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert self.run(sandbox, capsys, "report", "--fail-on", "notes")[0] == 0
        sandbox.set(delay={"kind": "fixed", "seconds": 1})
        with sandbox.client(schedule=lambda: iter_of(0.05), long_poll=0) as client:
            client.run()
        assert self.run(sandbox, capsys, "report")[0] == 0
        for form in ("text", "json", "junit"):
            code, told = self.run(sandbox, capsys, "report", "--fail-on", "warnings", "--format", form)
            assert (code, "early-polls" in told.out) == (1, True)
        assert ET.fromstring(told.out).tag == "testsuites"  # noqa: S314 - our own server made it
        assert json.loads(self.run(sandbox, capsys, "report", "--json")[1].out)["findings"]

    @pytest.mark.parametrize("form", ["text", "json", "junit"])
    def test_a_note_is_no_warning_in_any_form(self, sandbox, capsys, tmp_path, monkeypatch, form):
        monkeypatch.chdir(tmp_path)
        httpx.post(f"{sandbox.url}/start", auth=(sandbox.username, sandbox.password), timeout=60)  # without a key
        codes = [
            self.run(sandbox, capsys, "report", "--format", form, "--fail-on", on)[0] for on in ("warnings", "notes")
        ]
        assert codes == [0, 1]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["sandbox", "explode"], "invalid choice"),
            (["sandbox", "set", "seed"], "NAME=VALUE"),
            (["sandbox", "set", "scenario=monday"], "scenario"),
            (["sandbox", "set", "error_probability=1e400"], "not representable as JSON"),
            (["sandbox", "set", "self=1"], "self: there is no such field"),
            (["sandbox", "set", "seed=[1]"], "seed: "),
            (["sandbox", "clock"], "--advance"),
            (["sandbox", "clock", "--advance", "nan"], "not representable as JSON"),
            (["sandbox", "clock", "--speed", "inf"], "not representable as JSON"),
            (["sandbox", "pause", "\udcff"], "ID must be the id of a job"),
            (["sandbox", "finish", ".."], "ID must be the id of a job"),
            (["report", "--json", "--format", "junit"], "--json and --format junit exclude each other"),
            (["sandbox", "finish", "unknown"], "404"),
            (["report", "--fail-on", "everything"], "invalid choice"),
        ],
    )
    def test_what_makes_no_sense_is_one_line(self, sandbox, capsys, tmp_path, monkeypatch, words, said):
        monkeypatch.chdir(tmp_path)
        code, told = self.run(sandbox, capsys, *words)
        assert (code, told.out, told.err.count("\n")) == (2, "", 1)
        assert said in told.err


class TestTesting:
    def test_each_test_has_a_sandbox_of_its_own_on_one_server(self, translation_server):
        with sandbox_on(translation_server.url) as one, sandbox_on(translation_server.url) as other:
            one.freeze()
            assert one.username != other.username
            assert not other.show()["clock"]["frozen"]

    def test_it_works_without_pytest(self):
        with (
            server(completion_time=0, error_rate=1) as running,
            sandbox_on(running.url) as sandbox,
            sandbox.client() as client,
        ):
            assert client.run().state is State.ERROR

    def test_it_is_a_plugin(self, tmp_path: Path):
        (tmp_path / "conftest.py").write_text('pytest_plugins = ["translation_client.testing"]\n')
        (tmp_path / "test_mine.py").write_text(
            "import pytest\n"
            "seen = []\n"
            "@pytest.mark.parametrize('turn', range(2))\n"
            "def test_mine(sandbox, translation_server, turn):\n"
            "    with sandbox.client() as client:\n"
            "        job = client.start()\n"
            "        sandbox.finish(job, 'error')\n"
            "        assert client.wait(job.id, timeout=60).state == 'error'\n"
            "    seen.append((translation_server, sandbox.username))\n"
            "    assert len({name for _, name in seen}) == len(seen)\n"
            "    assert len({id(server) for server, _ in seen}) == 1\n"
        )
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
