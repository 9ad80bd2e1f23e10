"""The command, from end to end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from translation_client import __version__
from translation_client.cli import main
from translation_client.cli.commands import COMMAND, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Job, Listen, Request, Server, Spawn

LOGIN = ("--username", "admin", "--password", "secretpassword")
QUICK = ("--initial-interval", "0.01", "--max-interval", "0.02")
CLIENT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-W", "default", "-m", "translation_client"]

MINE = """
[mine]
poll = "/tasks/{job_id}"
job = {state = "{status}"}
words = {pending = "busy", completed = "done", error = "failed"}
auth = "X-Key"
"""

CALLS = [
    ([sys.executable, "client.py"], "python3 client.py"),
    ([sys.executable, "-m", "translation_client"], "python3 -m translation_client"),
    ([shutil.which("translation-client", path=str(Path(sys.executable).parent))], "translation-client"),
]

Run = "Callable[..., tuple[int, list[str], list[str]]]"


@pytest.fixture
def run(server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple]:
    """Runs the command against the scripted server; gives its exit status and the lines of its two outputs."""
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/translation-client"])

    def run(*arguments: str) -> tuple[int, list[str], list[str]]:
        status = main(["--url", server.url, *LOGIN, *arguments])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err.splitlines()

    return run


def book(
    job: Job, *, polls: int = 1, end: str = "completed", age: float = 2.0
) -> Callable[[Request], tuple[int, object]]:
    """A server that makes up a job of this age in seconds for each start, and ends it after so many looks."""
    seen: dict[str, int] = {}

    def script(request: Request) -> tuple[int, object]:
        if request.method == "POST":
            job_id = f"j{len(seen) + 1}"
            seen[job_id] = 0
            return 202, job(job_id=job_id, elapsed_time=age)
        job_id = request.path.rsplit("/", 1)[-1]
        if job_id not in seen:
            return 404, {"title": "Not Found"}
        seen[job_id] += 1
        return 200, job(end if seen[job_id] > polls else "pending", job_id)

    return script


def ended(job: Job) -> Callable[[Request], tuple[int, object]]:
    """A server on which every job has completed."""

    def script(request: Request) -> tuple[int, object]:
        job_id = request.path.rpartition("/")[2]
        return (404, {"title": "Not Found"}) if job_id == "jobs" else (200, job("completed", job_id))

    return script


class TestRun:
    def test_it_is_the_default_and_shows_each_change(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job)
        status, out, err = run(*QUICK, "--source-language", "en", "--target-language", "es", "--video-length", "90")
        assert status == 0
        assert out == ["j1 pending  50% after 2.0 s", "j1 completed 100% after 4.0 s"]
        assert err == []
        assert json.loads(server.requests[0].body) == {
            "source_language": "en",
            "target_language": "es",
            "video_length": 90,
        }

    @pytest.mark.parametrize("end", ["error", "cancelled"])
    def test_a_job_that_fails_is_exit_status_1(self, run: Run, server: Server, job: Job, end: str) -> None:
        server.script = book(job, polls=0, end=end)
        status, out, err = run("run", *QUICK)
        assert status == 1
        assert out[-1].startswith(f"j1 {end} 100% after 4.0 s")
        (line,) = err
        assert line.startswith("translation-client: job j1 ")
        assert line.endswith("Start a new job to try again.")

    def test_several_jobs_run_at_once(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job)
        status, out, err = run("--jobs", "3", *QUICK)
        assert (status, err) == (0, [])
        assert server.asked[:3] == ["POST /start"] * 3
        assert len({request.headers["idempotency-key"] for request in server.requests[:3]}) == 3
        assert len(out) == 7
        assert out[-1] == "3 jobs: 3 completed"

    def test_the_exit_status_of_several_jobs_is_the_highest(self, run: Run, server: Server, job: Job) -> None:
        server.says((202, job("completed", "a")), (202, job("error", "b")), (422, {"title": "No"}))
        status, out, err = run("--jobs", "4")
        assert status == 2
        assert out[-1] == "4 jobs: 1 completed, 1 error, 2 failed"
        assert err == [
            "translation-client: job b ended with an error: the video has no sound. Start a new job to try again.",
            "translation-client: 422 No. Correct the request: unchanged, it will be refused again.",
        ]

    def test_json_is_one_object_per_change_and_nothing_else(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job, end="error")
        status, out, err = run("run", *QUICK, "--jobs", "2", "--json")
        assert (status, len(err)) == (1, 2)
        told = [json.loads(line) for line in out]
        assert [one["state"] for one in told if one["id"] == "j2"] == ["pending", "error"]
        assert told[-1].keys() == {"id", "state", "progress", "elapsed", "error"}
        assert told[-1]["error"] == "the video has no sound"

    def test_quiet_leaves_only_failures(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job)
        assert run("--quiet", "run", *QUICK) == (0, [], [])
        server.script = book(job, end="error")
        status, out, err = run("--quiet", "run", *QUICK)
        assert (status, out, len(err)) == (1, [], 1)

    def test_verbose_shows_the_log(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job)
        status, out, err = run("--verbose", *QUICK)
        assert status == 0
        assert len(out) == 2
        assert err[0].endswith(" INFO POST /start: 202")
        assert any(line.endswith(" DEBUG GET /status/j1: 200") for line in err)


class TestOtherCommands:
    def test_start_leaves_the_job_to_itself(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job)
        assert run("start", "--quiet") == (0, ["j1 pending  50% after 2.0 s"], [])
        assert server.asked == ["POST /start"]

    def test_status_tells_how_jobs_stand(self, run: Run, server: Server, job: Job) -> None:
        server.says((200, job("completed", "a")))
        assert run("status", "a")[0] == 0
        server.says((200, job("error", "a")))
        assert run("status", "a", "--json")[0] == 1
        server.script = book(job)
        status, out, err = run("status", "unknown", "unknown too")
        assert (status, out[-1]) == (2, "2 jobs: 2 failed")
        assert err == ["translation-client: 404 Not Found. Check the job's id and owner, and the server's address."]

    def test_wait_waits_for_the_end(self, run: Run, server: Server, job: Job) -> None:
        server.says((200, job(job_id="a")), (200, job("completed", "a")))
        status, out, _ = run("wait", "a", *QUICK)
        assert status == 0
        assert [line.split()[1] for line in out] == ["pending", "completed"]

    def test_cancel_succeeds_whatever_became_of_the_job(self, run: Run, server: Server, job: Job) -> None:
        server.says((200, job("cancelled", "a")), (200, job("error", "b")))
        status, out, _ = run("cancel", "a", "b")
        assert status == 0
        assert len(out) == 3
        assert sorted(server.asked) == ["DELETE /jobs/a", "DELETE /jobs/b"]

    def test_list_shows_the_newest_first(self, run: Run, server: Server, job: Job) -> None:
        server.says((200, {"jobs": [job(job_id="b"), job("error", "a")], "next": None}))
        status, out, _ = run("list")
        assert status == 0
        assert [line.split()[:2] for line in out] == [["b", "pending"], ["a", "error"]]


class TestWaiting:
    def test_stats_tell_what_the_wait_has_cost(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job)
        status, out, _ = run(*QUICK, "--stats")
        assert status == 0
        assert re.fullmatch(r"j1: 2 polls, \d+ bytes, 0\.0 s asleep, \d+\.\d\d\d s late", out[-2])
        assert re.fullmatch(r"in all: 3 requests, \d+ bytes, .* late on average, .* at most", out[-1])

    def test_stats_are_a_part_of_the_json(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job)
        _, out, _ = run(*QUICK, "--stats", "--json")
        assert json.loads(out[-1])["cost"]["polls"] == 2
        assert "cost" not in json.loads(out[0])

    @pytest.mark.parametrize(
        "schedule", ["fixed:0.01", "exponential:0.01,1,0.02", "exponential", "progressive", "hinted", "learned"]
    )
    def test_a_schedule_is_taken_by_its_name(self, run: Run, server: Server, job: Job, schedule: str) -> None:
        server.script = book(job, polls=0, age=1.1)
        status, _, err = run("--schedule", schedule)
        assert (status, err) == (0, [])
        assert not any("prefer" in request.headers for request in server.requests)

    @pytest.mark.parametrize("schedule", ["auto", "learned"])
    def test_what_is_learned_is_kept_by_its_kind(self, run: Run, server: Server, job: Job, schedule: str) -> None:
        server.script = book(job, polls=0, age=1.1)
        assert run("--schedule", schedule, "--history", "waits", "--kind", "films")[0] == 0
        assert "films" in Path("waits").read_text()

    @pytest.mark.parametrize("learning", [("--history", "waits"), ("--kind", "films")])
    @pytest.mark.parametrize("chosen", [("--schedule", "hinted"), ("--initial-interval", "1")])
    def test_what_would_not_be_learned_from_is_refused(
        self, run: Run, chosen: tuple[str, ...], learning: tuple[str, ...]
    ) -> None:
        status, _, (line,) = run(*chosen, *learning)
        assert status == 2
        assert "--kind and --history are for the schedules auto and learned" in line
        assert not Path("waits").exists()

    @pytest.mark.parametrize("schedule", ["soon", "fixed", "fixed:x", "fixed:-1", "auto:3", "exponential:2,1,1"])
    def test_an_unusable_schedule_is_refused(self, run: Run, schedule: str) -> None:
        status, _, (line,) = run("--schedule", schedule)
        assert status == 2
        assert line.startswith("translation-client: --schedule ")

    @pytest.mark.parametrize(
        "schedule",
        ["auto:", "fixed:1,2", "exponential:1,2,3,0.5", "progressive:1", "progressive:", "hinted:5", "learned:0.5"],
    )
    def test_an_unknown_schedule_is_refused(self, run: Run, schedule: str) -> None:
        status, _, (line,) = run("--schedule", schedule)
        assert status == 2
        assert line.startswith("translation-client: --schedule ")

    def test_a_schedule_and_intervals_exclude_each_other(self, run: Run) -> None:
        status, _, (line,) = run("--schedule", "progressive", *QUICK)
        assert status == 2
        assert "exclude each other" in line

    def test_a_start_that_hangs_does_not_outlast_the_timeout(
        self, capsys: pytest.CaptureFixture[str], listen: Listen
    ) -> None:
        with listen(lambda connection, over: connection.recv(65_536) and over.wait()) as url:
            began = time.monotonic()
            assert main(["--url", url, *LOGIN, "--jobs", "2", "--timeout", "0.1"]) == 5
            assert time.monotonic() - began < 8  # a request that hangs gives up after 10 s
        assert "start again" in capsys.readouterr().err

    def test_a_job_that_was_just_started_is_not_told_twice_to_be_pending(
        self, run: Run, server: Server, job: Job
    ) -> None:
        polls = Counter[str]()

        def script(request: Request) -> tuple[int, object]:
            polls[request.path] += 1
            if request.method == "POST":
                return 202, job(job_id=f"j{polls['/start']}", elapsed_time=0.0)
            if request.path == "/jobs":
                return 404, {"title": "Not Found"}
            job_id, seen = request.path.rpartition("/")[2], polls[request.path]
            return 200, job("completed" if seen > 2 else "pending", job_id, elapsed_time=float(seen))

        server.script = script
        _, out, _ = run("--jobs", "2", *QUICK)
        assert [line.partition(" after ")[2] for line in out if line.startswith("j2 ")] == ["0.0 s", "2.0 s", "3.0 s"]

    @pytest.mark.parametrize("flag", ["--wait", "--no-wait"])
    def test_looks_may_be_held_or_not(self, run: Run, server: Server, job: Job, flag: str) -> None:
        server.script = book(job, polls=0, age=1.1)
        assert run(flag)[0] == 0
        assert any("prefer" in request.headers for request in server.requests) == (flag == "--wait")

    def test_of_many_failures_not_each_is_a_line(self, run: Run, server: Server) -> None:
        server.says((404, {"title": "Not Found"}))
        status, out, err = run("wait", *(f"j{n}" for n in range(120)), *QUICK)
        assert (status, len(err)) == (2, 1)
        assert out[-1] == "120 jobs: 120 failed"


class TestFailures:
    def test_refused_credentials(self, run: Run, server: Server) -> None:
        server.says((401, {"title": "Unauthorized"}))
        for effect in ("run", "list"):
            status, out, err = run(effect)
            assert (status, out) == (3, [])
            assert err == ["translation-client: 401 Unauthorized. Check the user name and the password."]

    def test_the_time_is_up(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job, polls=1000)
        status, out, err = run("--timeout", "0.5", *QUICK, "--jobs", "2")
        assert status == 4
        assert out[-1] == "2 jobs: 2 timed out"
        *_, first, second = err  # a busy machine may have missed an answer before
        assert first.startswith("translation-client: job j1 was still pending when the time was up. ")
        assert second.endswith(
            f" Resume with: translation-client --url={server.url} --username=admin --timeout=0.5"
            " --initial-interval=0.01 --max-interval=0.02 wait -- j1 j2"
        )

    def test_a_resumed_wait_is_told_the_same_but_the_password(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job, polls=1000)
        Path("a secret").write_text("secretpassword")
        flags = ["--username", "the admin", "--password-file", "a secret", "--quiet", "--log-file", "my.log"]
        status, _, (line,) = run("run", *flags, "--target-language", "es", "--timeout", "0.5", *QUICK)
        assert status == 4
        assert "--password " not in line
        assert "secretpassword" not in line
        assert "es" not in shlex.split(line)
        told = shlex.split(line.split("Resume with: ")[1])
        before = len(server.requests)
        assert main(told[1:]) == 4
        assert server.asked[before] == "GET /status/j1"
        assert server.requests[before].headers["authorization"] == server.requests[0].headers["authorization"]

    def test_the_line_to_resume_with_has_the_dialect(self, run: Run, server: Server) -> None:
        server.says((200, {"status": "pending"}))
        status, _, err = run("--dialect", "status", "--timeout", "0")
        assert status == 4
        assert f"Resume with: translation-client --url={server.url} " in err[0]
        assert " --dialect=status " in err[0]
        assert err[0].endswith(" wait -- current")

    def test_nobody_is_there(self, capsys: pytest.CaptureFixture[str], listen: Listen) -> None:
        with listen(lambda *_: None) as url:
            pass
        assert main([*LOGIN, "--url", url, "run", "--timeout", "0.1"]) == 5
        line = capsys.readouterr().err.splitlines()[-1]
        assert f"{url} could not be reached" in line
        assert "start again" in line

    def test_another_kind_of_server_is_there(self, run: Run, server: Server) -> None:
        server.says((200, b"<html>Welcome!"))
        status, _, err = run("wait", "a b")
        assert status == 5
        assert "'<html>Welcome!'" in err[0]
        assert err[-1].endswith(f"Resume with: translation-client --url={server.url} --username=admin wait -- 'a b'")

    def test_the_first_failure_is_told_at_once_and_the_others_go_to_the_log(
        self, run: Run, server: Server, job: Job
    ) -> None:
        tries = Counter[str]()

        def script(request: Request) -> tuple[int, object]:
            key = request.headers["idempotency-key"]
            tries[key] += 1
            return (503, None) if tries[key] <= 2 else (202, job("completed", "a"))

        server.script = script
        status, out, err = run("--json", "--jobs", "2", *QUICK)
        assert status == 0
        assert [json.loads(line)["state"] for line in out] == ["completed"] * 2
        assert err == ["translation-client: POST /start: the server answered 503; retry 1 of 7"]
        assert Path("client.log").read_text().count("retry 2 of 7") == 2
        assert run("--quiet", *QUICK) == (0, [], [])

    def test_a_failed_start_can_be_repeated_with_its_key(self, run: Run, server: Server, job: Job) -> None:
        server.says((202, job("completed", "a")))
        for effect in ("run", "start"):
            assert run(effect, "--idempotency-key", "mine")[0] == 0
        assert [request.headers["idempotency-key"] for request in server.requests] == ["mine"] * 2

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["frobnicate"], "invalid choice: 'frobnicate'"),
            (["--frobnicate"], "unrecognized arguments: --frobnicate"),
            (["--time=3"], "unrecognized arguments: --time=3"),
            (["status"], "the following arguments are required: ID"),
            (["--jobs", "0"], "'0' is not a number of jobs"),
            (["--jobs", "many"], "'many' is not a number of jobs"),
            (["--jobs", "10001"], "'10001' is not a number of jobs from 1 to 10,000"),
            (["--jobs", "9" * 5000], "is not a number of jobs from 1 to 10,000"),
            (["--jobs", "2", "--idempotency-key", "mine"], "--idempotency-key makes all of --jobs one job"),
            (["start", "--idempotency-key", 'a"b'], "--idempotency-key must be 1 to 255 visible ASCII characters"),
            (["--username", "\udcff"], "--username must be text that UTF-8 can encode"),
            (["--timeout", "-1"], "--timeout must be a finite number of at least 0, not -1.0"),
            (["--timeout", "soon"], "invalid float value: 'soon'"),
            (["--initial-interval", "0"], "--initial-interval must be"),
            (["--max-interval", "0.1"], "--max-interval must be a finite number of at least 0.5"),
            (["--video-length", "nan"], "--video-length must be"),
            (["--url", "localhost:8000"], "--url must be an address such as"),
            (["--url", "http://admin:secretpassword@localhost"], "--url must not contain credentials"),
            (["--username", "a:b"], "--username must not contain a colon"),
            (["wait", ".."], "ID must be the id of a job"),
            (
                ["--dialect", "nowhere"],
                "--dialect nowhere: is neither one of start, jobs, status, translate, result nor a",
            ),
            (["--dialect", "status", "wait", "j1"], "ID must be 'current': the dialect status has no job ids"),
            (["--dialect", "status", "list"], "list: the dialect status has no route for this"),
            (["--dialect", "status", "cancel", "current"], "cancel: the dialect status has no route for this"),
            (
                ["--dialect", "translate", "--video-length", "3"],
                "--video-length is not a field of the dialect translate",
            ),
            (["--token", "t"], "--token does not fit the dialect start"),
            (["--password-file", "missing"], "the password file 'missing' cannot be read"),
            (["--log-file", "missing/client.log"], "the log file cannot be written"),
            (["--log-file", "."], "the log file cannot be written"),
        ],
    )
    def test_wrong_usage_is_one_line(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
    ) -> None:
        login = () if "--password-file" in arguments else ("--password", "secretpassword")
        assert main(["--username", "admin", *login, *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert expected in err
        assert err.count("\n") == 1
        assert "secretpassword" not in err

    @pytest.mark.parametrize(("name", "what"), [("ALL_PROXY", "a proxy"), ("SSL_CERT_FILE", "certificates")])
    def test_an_unusable_environment(self, run: Run, monkeypatch: pytest.MonkeyPatch, name: str, what: str) -> None:
        monkeypatch.setenv(name, "gopher://nowhere")
        status, _, (line,) = run()
        assert status == 2
        assert f"unusable settings of {what} in the environment" in line


class TestCredentials:
    @pytest.fixture
    def login(self, server: Server, job: Job) -> Callable[..., tuple[str, str]]:
        """Runs the command without credentials on the command line; gives the ones that reached the server."""
        server.says((200, job("completed", "a")))

        def login(*arguments: str) -> str:
            assert main(["status", "a", "--log-file", "none", *arguments]) == 0
            return server.requests[-1].headers["authorization"]

        return login

    def test_every_place_in_its_order(
        self, server: Server, login: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def basic(username: str, password: str) -> str:
            return next(httpx.BasicAuth(username, password).auth_flow(httpx.Request("GET", "http://a"))).headers[
                "authorization"
            ]

        Path("secret").write_text("of dotenv's file\n")
        Path(".env").write_text(f"SERVER_URL={server.url}\nAPI_USERNAME=dotty\nAPI_PASSWORD_FILE=secret\n")
        assert login() == basic("dotty", "of dotenv's file")
        Path(".env").write_text(f"SERVER_URL={server.url}\nAPI_USERNAME=dotty\nAPI_PASSWORD=pä ss # a comment\n")
        assert login() == basic("dotty", "pä ss")
        Path("secret").write_text("of the environment's file\r\n")
        monkeypatch.setenv("API_PASSWORD_FILE", "secret")
        monkeypatch.setenv("API_USERNAME", "env")
        assert login() == basic("env", "of the environment's file")
        monkeypatch.setenv("API_PASSWORD", "of the environment")
        assert login() == basic("env", "of the environment")
        Path("another").write_text(" of the flag's file ")
        assert login("--password-file", "another") == basic("env", " of the flag's file ")
        assert login("--password", "of the flag", "--password-file", "another") == basic("env", "of the flag")
        assert login("--username", "flag", "--password", "") == basic("flag", "")

    def test_a_token_comes_from_the_same_places(
        self, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("mine.toml").write_text(MINE)
        server.says((200, {"state": "done"}))

        def token(*arguments: str) -> str:
            server_of_ours = ["--url", server.url, "--dialect", "mine.toml", "--log-file", "none"]
            assert main([*server_of_ours, "status", "a", *arguments]) == 0
            return server.requests[-1].headers["x-key"]

        Path(".env").write_text("API_TOKEN=of dotenv\nAPI_USERNAME=nobody\n")
        assert token() == "of dotenv"
        Path("secret").write_text("of the environment's file\n")
        monkeypatch.setenv("API_TOKEN_FILE", "secret")
        assert token() == "of the environment's file"
        monkeypatch.setenv("API_TOKEN", "of the environment")
        assert token() == "of the environment"
        Path("another").write_text("of the flag's file")
        assert token("--token-file", "another") == "of the flag's file"
        assert token("--token", "of the flag", "--token-file", "another") == "of the flag"
        assert "authorization" not in server.requests[-1].headers

        assert main(["--dialect", "mine.toml", "--username", "admin", "status", "a"]) == 2
        assert "--username does not fit the dialect mine: give token" in capsys.readouterr().err
        assert main(["--dialect", "mine.toml", "--token-file", "missing", "status", "a"]) == 2
        assert "the token file 'missing' cannot be read" in capsys.readouterr().err
        monkeypatch.delenv("API_TOKEN")
        monkeypatch.delenv("API_TOKEN_FILE")
        Path(".env").unlink()
        assert main(["--dialect", "mine.toml", "status", "a"]) == 2
        assert "no token. Give --token, or set API_TOKEN" in capsys.readouterr().err

    def test_an_unreadable_dotenv(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path(".env").write_bytes(b"API_USERNAME=\xff")
        assert main(["list"]) == 2
        assert ".env cannot be read" in capsys.readouterr().err

    @pytest.mark.parametrize(("arguments", "missing"), [((), "username"), (("--username", "admin"), "password")])
    def test_without_a_terminal_nobody_is_asked(
        self, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], missing: str
    ) -> None:
        assert main(["list", *arguments]) == 2
        assert f"no {missing}. Give --{missing}, or set API_{missing.upper()}" in capsys.readouterr().err


class TestLog:
    def test_attempts_and_outcomes_are_in_the_log_file(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job)
        run(*QUICK)
        run("wait", "nobody's")
        log = Path("client.log").read_text()
        for line in (
            "INFO POST /start: 202",
            "DEBUG GET /status/j1: 200",
            "INFO job j1 completed",
            "ERROR 404 Not Found",
        ):
            assert line in log
        assert "secretpassword" not in log
        assert logging.getLogger("translation_client").handlers[1:] == []

    def test_it_can_be_elsewhere_or_nowhere(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job)
        run(*QUICK, "--log-file", "other.log")
        run(*QUICK, "--log-file", "none")
        assert [path.name for path in Path().iterdir()] == ["other.log"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
    def test_a_full_disk_costs_the_log_not_the_job(self, run: Run, server: Server, job: Job) -> None:
        server.script = book(job)
        status, out, err = run(*QUICK, "--log-file", "/dev/full")
        assert status == 0
        assert len(out) == 2
        (line,) = err
        assert "can no longer be written" in line
        assert line.endswith("not logged: POST /start: 202")


class TestProcess:
    """The command as a process of its own."""

    def test_version_and_help(self) -> None:
        version = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=True)
        assert version.stdout == f"translation-client {__version__}\n"
        assert "exit status" in subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout

    @pytest.mark.parametrize(("effect", "name"), CALLS)
    def test_it_can_be_called_in_three_ways(self, server: Server, job: Job, effect: list[str], name: str) -> None:
        server.says((202, job(job_id="j1")), (200, b"no job"))
        arguments = ["--url", server.url, *LOGIN, *QUICK, "--log-file", "none"]
        done = subprocess.run([*effect, *arguments], cwd=CLIENT, capture_output=True, text=True, check=False)
        assert done.returncode == 5
        assert done.stdout.startswith("j1 pending")
        assert f"Resume with: {name} --url" in done.stderr

    @pytest.mark.parametrize("effect", [effect for effect, _ in CALLS])
    def test_ctrl_c_during_the_imports_leaves_no_traceback(
        self, spawn: Spawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effect: list[str]
    ) -> None:
        (tmp_path / "httpx.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.chdir(CLIENT)
        with spawn([*effect, "list"]) as process:
            assert process.stdout.readline() == "importing\n"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == -signal.SIGINT

    def test_a_reader_that_leaves_is_left(self, server: Server, job: Job, spawn: Spawn) -> None:
        server.script = book(job, polls=1000)
        effect = [*PROGRAM, "--url", server.url, *LOGIN, *QUICK, "--jobs", "3"]
        with spawn(effect) as process:
            process.stdout.readline()
            process.stdout.close()
            server.script = ended(job)
            assert process.stderr.read() == ""
            assert process.wait(60) == 141

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
    def test_an_output_that_is_full_is_one_line(self, server: Server, job: Job) -> None:
        server.script = book(job)
        with Path("/dev/full").open("w") as full:
            effect = [*PROGRAM, "--url", server.url, *LOGIN, *QUICK]
            done = subprocess.run(effect, stdout=full, stderr=-1, text=True, check=False)
        assert done.returncode == 2
        assert "the output cannot be written" in done.stderr
        assert done.stderr.count("\n") == 1

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
    @pytest.mark.parametrize(
        ("arguments", "status"), [(["--bogus"], 2), (["--log-file", "/dev/full"], 1), (["--verbose"], 1)]
    )
    def test_a_full_stderr_changes_no_exit_status(
        self, server: Server, job: Job, arguments: list[str], status: int
    ) -> None:
        server.script = book(job, end="error")
        with Path("/dev/full").open("w") as full:
            effect = [*PROGRAM, "--url", server.url, *LOGIN, *QUICK, *arguments]
            done = subprocess.run(effect, stdout=subprocess.DEVNULL, stderr=full, check=False)
        assert done.returncode == status

    def test_closed_outputs_are_no_matter(self, server: Server, job: Job) -> None:
        server.script = book(job, end="error")
        effect = [*PROGRAM, "--url", server.url, *LOGIN, *QUICK]
        done = subprocess.run(["/bin/sh", "-c", '"$@" >&- 2>&-', "-", *effect], capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_ctrl_c_and_its_like_say_how_to_resume(
        self, server: Server, job: Job, spawn: Spawn, number: signal.Signals
    ) -> None:
        server.script = book(job, polls=1000)
        effect = [*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "8", "--jobs", "2"]
        with spawn(effect) as process:
            assert {process.stdout.readline().split()[0] for _ in range(2)} == {"j1", "j2"}
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert out == ""
        assert re.fullmatch(
            rf"python3 -m translation_client: interrupted\. "
            rf"Resume with: python3 -m translation_client --url={server.url} --username=admin "
            r"--initial-interval=8\.0 wait -- j[12] j[12]\n",
            err,
        )

    def test_the_example_of_the_ancestor_runs_as_it_stands(self, server: Server, job: Job) -> None:
        server.script = book(job)
        example = f"""
from client import TranslationStatusClient

# Initialize the client
client = TranslationStatusClient(
    base_url="{server.url}",
    username="admin",
    password="secretpassword"
)

# Start a new job
job_id = client.start_job()
if not job_id:
    raise Exception("Failed to start a new job.")

print(f"Started job with ID: {{job_id}}")

# Wait for the job to complete
final_status = client.wait_for_completion(job_id)
print(f"Test completed with final status: {{final_status}}")
"""
        effect = [sys.executable, "-X", "dev", "-W", "error", "-"]
        done = subprocess.run(effect, input=example, cwd=CLIENT, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        assert done.stdout == "Started job with ID: j1\nTest completed with final status: completed\n"


class Terminal:
    """The command on a pseudo-terminal."""

    def __init__(self, effect: list[str], **environment: str) -> None:
        self.seen = ""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(effect[0], effect, os.environ | {"TERM": "xterm"} | environment)  # noqa: S606 - the program under test

    def until(self, pattern: str) -> str:
        while not re.search(pattern, self.seen):
            self.seen += self._read()
        return self.seen

    def _read(self) -> str:
        if not select.select([self.terminal], [], [], 60)[0]:
            os.kill(self.pid, signal.SIGKILL)
            pytest.fail(f"nothing more came after {self.seen!r}")
        return os.read(self.terminal, 65_536).decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def end(self) -> int:
        with contextlib.suppress(OSError):  # how a terminal says that everyone has left
            while chunk := self._read():
                self.seen += chunk
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class TestTerminal:
    def test_credentials_are_asked_for_without_echo(self, server: Server, job: Job) -> None:
        server.says((200, job("completed", "a")))
        terminal = Terminal([*PROGRAM, "--url", server.url, "status", "a"])
        terminal.until("Username: ")
        terminal.type("admin\n")
        terminal.until("Password: ")
        terminal.type("secretpassword\n")
        assert terminal.end() == 0
        assert "secretpassword" not in terminal.seen
        assert server.requests[0].headers["authorization"] == "Basic YWRtaW46c2VjcmV0cGFzc3dvcmQ="

    def test_where_the_answers_go_is_told_before_they_are_asked_for(self, server: Server, job: Job) -> None:
        server.says((200, job("completed", "a")))
        Path(".env").write_text(f"SERVER_URL={server.url}\n")
        terminal = Terminal([*PROGRAM, "status", "a"])
        terminal.until("Username: ")
        assert f"credentials from the terminal go to {server.url}, the SERVER_URL of .env" in terminal.seen
        terminal.type("\x03")
        assert terminal.end() == 130
        assert server.requests == []

    @pytest.mark.parametrize("effect", ["list", "report"])
    @pytest.mark.parametrize(("typed", "status"), [("\x03", 130), ("\x04", 2)])
    def test_whoever_does_not_answer_is_let_go(self, effect: str, typed: str, status: int) -> None:
        for arguments, question in (((), "Username: "), (("--username", "admin"), "Password: ")):
            terminal = Terminal([*PROGRAM, effect, *arguments])
            terminal.until(question)
            terminal.type(typed)
            assert terminal.end() == status
            assert "Traceback" not in terminal.seen

    def test_jobs_are_shown_live_and_then_as_lines(self, server: Server, job: Job) -> None:
        server.script = book(job, polls=1000)
        terminal = Terminal(
            [*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "0.3", "--max-interval", "0.3", "--jobs", "2"]
        )
        terminal.until(r"poll in 0\.\d s")
        server.script = ended(job)
        assert terminal.end() == 0
        assert "━" in terminal.seen
        lines = terminal.seen.split("\x1b[2K")[-1]
        assert "j1 completed 100% after 4.0 s\r\nj2 completed 100% after 4.0 s\r\n2 jobs: 2 completed" in lines
        assert terminal.seen.count("\x1b[?25h") == 1

    def test_more_jobs_than_lines_are_summed_up(self, server: Server, job: Job) -> None:
        server.script = book(job, polls=2)
        effect = [*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "0.5", "--max-interval", "0.5"]
        terminal = Terminal([*effect, "--jobs", "60"])
        terminal.until(r"60 jobs: ")
        assert terminal.end() == 0
        assert "60 jobs: 60 completed" in terminal.seen.split("\x1b[2K")[-1]

    @pytest.mark.parametrize("lines", ["2", "24"])
    def test_every_terminal_has_room_for_the_summary(self, server: Server, job: Job, lines: str) -> None:
        server.script = book(job, polls=1000)
        effect = [*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "0.5", "--max-interval", "0.5"]
        terminal = Terminal([*effect, "--jobs", "60"], LINES=lines)
        terminal.until(r"60 jobs: 60 (starting|pending)")
        server.script = ended(job)
        assert terminal.end() == 0

    def test_rows_of_every_kind_are_shown(self, server: Server, job: Job) -> None:
        polls = Counter[str]()

        def script(request: Request) -> tuple[int, object]:
            polls[request.path] += 1
            if request.path != "/status/b":
                return 404, {"title": "Not Found"}
            return 200, job("error", "b") if polls[request.path] > 2 else job("queued", "b", progress=None)

        server.script = script
        terminal = Terminal(
            [
                *PROGRAM,
                "--url",
                server.url,
                *LOGIN,
                "--initial-interval",
                "0.3",
                "--max-interval",
                "0.3",
                "wait",
                "b",
                "c",
            ]
        )
        assert terminal.end() == 2
        assert "failed" in terminal.seen

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_ctrl_c_and_its_like_restore_the_terminal(self, server: Server, job: Job, number: signal.Signals) -> None:
        server.script = book(job, polls=1000)
        terminal = Terminal([*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "5"])
        terminal.until("poll in")
        os.kill(terminal.pid, number)
        assert terminal.end() == 128 + number
        assert "Resume with: python3 -m translation_client" in terminal.seen
        assert terminal.seen.rindex("\x1b[?25h") > terminal.seen.rindex("\x1b[?25l")

    def test_a_dumb_terminal_gets_lines(self, server: Server, job: Job) -> None:
        server.script = book(job)
        terminal = Terminal([*PROGRAM, "--url", server.url, *LOGIN, *QUICK], TERM="dumb")
        assert terminal.end() == 0
        assert terminal.seen == "j1 pending  50% after 2.0 s\r\nj1 completed 100% after 4.0 s\r\n"


def commands(command: Command) -> Iterator[Command]:
    """Yields the command and all its subcommands."""
    yield command
    for each in command.subcommands:
        yield from commands(each)


class TestTable:
    @pytest.mark.parametrize("command", [*commands(COMMAND)], ids=lambda command: command.name)
    def test_every_subcommand_has_a_handler(self, command: Command) -> None:
        assert callable(command.handler)

    def test_subcommand_without_a_handler_is_an_error(self) -> None:
        with pytest.raises(TypeError, match="handler"):
            Command("nonsense", "do nothing")

    @pytest.mark.parametrize("words", [["nonsense"], ["sandbox", "nonsense"]])
    def test_unknown_subcommand_is_a_usage_error(self, run: Run, server: Server, words: list[str]) -> None:
        status, out, (line,) = run(*words)
        assert (status, out, server.requests) == (2, [], [])
        assert "invalid choice: 'nonsense'" in line
