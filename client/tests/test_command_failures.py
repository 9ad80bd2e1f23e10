"""Failures of the command, and its log."""

from __future__ import annotations

import json
import logging
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command_line import LOGIN, QUICK, scripted_jobs
from translation_client.cli import main

if TYPE_CHECKING:
    from tests.command_line import Run
    from tests.conftest import Job, Listen, Request, Server


class TestFailures:
    def test_refused_credentials_give_exit_status_3(self, run: Run, server: Server) -> None:
        server.says((401, {"title": "Unauthorized"}))
        for command in ("run", "list"):
            status, out, err = run(command)
            assert (status, out) == (3, [])
            assert err == ["translation-client: 401 Unauthorized. Check the user name and the password."]

    def test_failed_start_names_the_flag_that_repeats_it(self, run: Run, server: Server) -> None:
        server.says((503, None))
        status, _, err = run("run", "--idempotency-key", "mine", "--timeout", "0.5", *QUICK)
        assert status == 5
        assert err[-1].endswith("start again with --idempotency-key='mine': it stays one job.")

    def test_timeout_prints_how_to_resume(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job, polls=1000)
        status, out, err = run("--timeout", "0.5", *QUICK, "--jobs", "2")
        assert status == 4
        assert out[-1] == "2 jobs: 2 timed out"
        assert err[-1] == (  # on a busy machine, a failed request may be shown before it
            "translation-client: 2 jobs were still pending when the time was up (j1, j2)."
            f" Resume with: translation-client --url={server.url} --username=admin --timeout=0.5"
            " --initial-interval=0.01 --max-interval=0.02 wait -- j1 j2"
        )

    def test_suggested_command_lines_begin_with_the_command_of_the_environment(
        self, run: Run, server: Server, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.script = scripted_jobs(job, polls=1000)
        monkeypatch.setenv("TRANSLATION_CLIENT_COMMAND", "docker compose run --rm client")
        assert " Resume with: docker compose run --rm client --url=" in run("--timeout", "0.5", *QUICK)[2][-1]
        assert run("--no")[2][-1].endswith("; see docker compose run --rm client --help")
        monkeypatch.setenv("TRANSLATION_CLIENT_COMMAND", "")
        assert "Resume with" not in run("--timeout", "0.5", *QUICK)[2][-1]

    def test_resumed_wait_has_the_same_options_without_the_password(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job, polls=1000)
        Path("a secret").write_text("secretpassword")
        flags = ["--username", "the admin", "--password-file", "a secret", "--quiet", "--log-file", "my.log"]
        status, _, (line,) = run("run", *flags, "--target-language", "es", "--timeout", "0.5", *QUICK)
        assert status == 4
        assert "--password " not in line
        assert "secretpassword" not in line
        assert "es" not in shlex.split(line)
        resumed = shlex.split(line.split("Resume with: ")[1])
        before = len(server.requests)
        assert main(resumed[1:]) == 4
        assert server.asked[before] == "GET /status/j1"
        assert server.requests[before].headers["authorization"] == server.requests[0].headers["authorization"]

    def test_line_to_resume_has_the_dialect(self, run: Run, server: Server) -> None:
        server.says((200, {"status": "pending"}))
        status, _, err = run("--dialect", "status", "--timeout", "0")
        assert status == 4
        assert f"Resume with: translation-client --url={server.url} " in err[0]
        assert " --dialect=status " in err[0]
        assert err[0].endswith(" wait -- current")

    def test_unreachable_server_gives_exit_status_5(self, capsys: pytest.CaptureFixture[str], listen: Listen) -> None:
        with listen(lambda *_: None) as url:
            pass
        assert main([*LOGIN, "--url", url, "run", "--timeout", "0.1"]) == 5
        line = capsys.readouterr().err.splitlines()[-1]
        assert f"{url} refused the connection" in line
        assert line.endswith("Start the server, or correct its address.")

    def test_server_of_another_kind_gives_exit_status_5(self, run: Run, server: Server) -> None:
        server.says((200, b"<html>Welcome!"))
        status, _, err = run("wait", "a b")
        assert status == 5
        assert "'<html>Welcome!'" in err[0]
        assert err[-1].endswith(f"Resume with: translation-client --url={server.url} --username=admin wait -- 'a b'")

    def test_each_retry_is_shown_once_and_logged_for_every_job(self, run: Run, server: Server, job: Job) -> None:
        tries = Counter[str]()

        def script(request: Request) -> tuple[int, object]:
            key = request.headers["idempotency-key"]
            tries[key] += 1
            return (503, None) if tries[key] <= 2 else (202, job("completed", "a"))

        server.script = script
        status, out, err = run("--json", "--jobs", "2", *QUICK, "--log-file", "client.log")
        assert status == 0
        assert [json.loads(line)["status"] for line in out] == ["completed"] * 2
        assert err == [
            f"translation-client: POST /start: the server answered 503; retry {retry} of 7 in 0.0 s" for retry in (1, 2)
        ]
        assert Path("client.log").read_text().count("retry 2 of 7") == 2
        assert run("--quiet", *QUICK) == (0, [], [])

    def test_start_can_be_repeated_with_its_idempotency_key(self, run: Run, server: Server, job: Job) -> None:
        server.says((202, job("completed", "a")))
        for command in ("run", "start"):
            assert run(command, "--idempotency-key", "mine")[0] == 0
        assert [request.headers["idempotency-key"] for request in server.requests] == ["mine"] * 2

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["frobnicate"], "invalid choice: 'frobnicate'"),
            (["--frobnicate"], "unrecognized arguments: --frobnicate"),
            (["--time=3"], "unrecognized arguments: --time=3"),
            (["status"], "the following arguments are required: ID"),
            (["list", "--status", "nonsense"], "'nonsense' (choose from"),
            (["--jobs", "0"], "'0' is not a number of jobs"),
            (["--jobs", "many"], "'many' is not a number of jobs"),
            (["--jobs", "10001"], "'10001' is not a number of jobs from 1 to 10,000"),
            (["--jobs", "9" * 5000], "is not a number of jobs from 1 to 10,000"),
            (
                ["--jobs", "2", "--idempotency-key", "mine"],
                "with one --idempotency-key, all --jobs would be the same job",
            ),
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
                "--dialect nowhere: is neither one of start, jobs, status, translate, result, ",
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
    def test_usage_error_is_one_line(
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
    def test_unusable_environment_is_a_usage_error(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, name: str, what: str
    ) -> None:
        monkeypatch.setenv(name, "gopher://localhost")
        status, _, (line,) = run()
        assert status == 2
        assert f"unusable settings of {what} in the environment" in line


class TestLog:
    def test_log_file_has_attempts_and_outcomes(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        run(*QUICK, "--log-file", "client.log")
        run("wait", "unknown", "--log-file", "client.log")
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

    def test_log_is_written_only_where_asked_for(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        run(*QUICK)
        run(*QUICK, "--log-file", "none")
        assert [*Path().iterdir()] == []
        run(*QUICK, "--log-file", "other.log")
        assert [path.name for path in Path().iterdir()] == ["other.log"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
    def test_full_disk_stops_the_log_and_not_the_job(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        status, out, err = run(*QUICK, "--log-file", "/dev/full")
        assert status == 0
        assert len(out) == 2
        (line,) = err
        assert "can no longer be written" in line
        assert line.endswith("not logged: POST /start: 202")
