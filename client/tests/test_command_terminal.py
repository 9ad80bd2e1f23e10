"""What a person at a terminal sees, and how the command deals with servers that are not there."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command_line import CLIENT, LOGIN, PROGRAM, QUICK, Terminal, scripted_jobs
from tests.conftest import BOTH_SIDES, serving
from tests.ports import free_port
from translation_client.cli import main
from translation_client.sandbox import Sandbox
from translation_client.testing import sandbox_on

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.command_line import Run
    from tests.conftest import Job, Request, Server

    Listen = Callable[[Callable[[socket.socket, threading.Event], None]], AbstractContextManager[str]]


def three_jobs(job: Job, *, last: str = "pending") -> object:
    """Returns a script with a completed job, a failed one, and one in this state."""
    states = {"a": "completed", "b": "error", "c": last}

    def script(request: Request) -> tuple[int, object]:
        job_id = request.path.rpartition("/")[2]
        return (200, job(states[job_id], job_id)) if job_id in states else (404, {"title": "Not Found"})

    return script


class TestTerminal:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted_table_leaves_what_had_ended(self, server: Server, job: Job, number: signal.Signals) -> None:
        server.script = three_jobs(job)
        command = [*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "9", "--max-interval", "9"]
        terminal = Terminal([*command, "wait", "a", "b", "c"])
        terminal.until("poll in 8")
        os.kill(terminal.pid, number)
        assert terminal.end() == 128 + number
        lines = terminal.seen.split("\x1b[2K")[-1]
        assert "a completed 100% after 4.0 s\r\nb error 100% after 4.0 s: the video has no sound\r\n" in lines
        assert "3 jobs: 1 pending, 1 completed, 1 error\r\n" in lines
        assert " wait -- c\r\n" in lines

    @pytest.mark.parametrize("columns", ["40", "80", "200"])
    def test_line_after_a_completed_job_says_how_to_read_its_answer(
        self, server: Server, job: Job, columns: str
    ) -> None:
        server.script = three_jobs(job, last="completed")
        terminal = Terminal([*PROGRAM, "--url", server.url, *LOGIN, "wait", "c"], COLUMNS=columns)
        assert terminal.end() == 0
        *_, status, hint, _ = terminal.seen.split("\r\n")
        assert status.endswith("c completed 100% after 4.0 s")
        name = "python3 -m translation_client"
        assert hint.endswith(f"says about this job: {name} --url={server.url} --username=admin list --json -- c")

    @pytest.mark.parametrize(("flags", "shown"), [([], "0 jobs\r\n"), (["--json"], "")])
    def test_empty_list_says_so_to_a_person(self, server: Server, flags: list[str], shown: str) -> None:
        server.says((200, {"jobs": [], "next": None}))
        terminal = Terminal([*PROGRAM, "--url", server.url, *LOGIN, "list", *flags])
        assert terminal.end() == 0
        assert terminal.seen == shown

    def test_typed_keys_are_not_shown_in_the_table(self, server: Server, job: Job) -> None:
        server.script = three_jobs(job)
        command = shlex.join([*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "9", "wait", "a", "b", "c"])
        terminal = Terminal(["sh", "-c", f"trap : INT; {command}; stty -a"])
        terminal.until("poll in 8")
        terminal.type("typed\r\r")
        terminal.until("poll in 7")
        terminal.type("\x03")
        assert terminal.end() == 0
        assert "typed" not in terminal.seen
        assert re.search(r"[^-]echo ", terminal.seen), "what is typed afterwards is shown"

    def test_table_in_the_background_leaves_the_terminal_alone(self, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job, polls=3)
        command = shlex.join([*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "0.1"])
        terminal = Terminal(["sh", "-c", f"set -m; {command} & wait $!; stty -a"])
        assert terminal.end() == 0
        assert "j1 completed" in terminal.seen
        assert re.search(r"[^-]echo ", terminal.seen)

    @pytest.mark.parametrize(("dialect", "shown"), [("jobs", True), ("status", False)])
    def test_interrupted_start_says_how_to_see_the_jobs_if_the_api_lists_them(
        self, listen: Listen, dialect: str, *, shown: bool
    ) -> None:
        def hang(connection: socket.socket, over: threading.Event) -> None:
            connection.recv(65_536)
            over.wait()

        with listen(hang) as url:
            terminal = Terminal([*PROGRAM, "--url", url, *LOGIN, "--dialect", dialect], COLUMNS="200")
            terminal.until("waiting for the server")
            terminal.interrupt()
            assert terminal.end() == 130
        assert "interrupted. 1 job may have been accepted without an answer" in terminal.seen
        assert ("list)\r\n" in terminal.seen) is shown

    def test_command_that_cannot_be_called_again_suggests_nothing(self, server: Server, job: Job) -> None:
        server.script = three_jobs(job, last="completed")
        command = [*PROGRAM, "--url", server.url, *LOGIN, "wait", "c"]
        terminal = Terminal(command, TRANSLATION_CLIENT_COMMAND="")
        assert terminal.end() == 0
        assert terminal.seen.endswith("c completed 100% after 4.0 s\r\n")

    def test_dialect_without_a_list_is_read_with_json(self, server: Server) -> None:
        server.says((200, {"status": "completed"}))
        terminal = Terminal([*PROGRAM, "--url", server.url, *LOGIN, "--dialect", "status"])
        assert terminal.end() == 0
        assert "says about this job: give --json to this command" in terminal.seen

    def test_progress_is_estimated_during_a_long_poll(self, tmp_path: Path) -> None:
        with (
            serving(tmp_path, AUTH="off", MIN_DELAY="60", MAX_DELAY="60") as url,
            Sandbox(url, username="admin", password="-") as sandbox,
        ):
            terminal = Terminal([*PROGRAM, "--url", url, *LOGIN])
            terminal.until(r"~\d+%")
            sandbox.advance(60)
            assert terminal.end() == 0
            assert sandbox.report().findings == ()

    def test_history_file_gives_an_estimate(self, server: Server, job: Job) -> None:
        Path("waits").write_text('{"kind": "k", "seconds": 8}\n' * 5)

        def script(request: Request) -> tuple[int, object]:
            return (202 if request.method == "POST" else 200), job(job_id="a", progress=None, elapsed_time=2.0)

        server.script = script
        terminal = Terminal([*PROGRAM, "--url", server.url, *LOGIN, "--kind", "k", "--history", "waits"])
        terminal.until(r"~2\d%")
        terminal.interrupt()
        assert terminal.end() == 130


class TestManyJobs:
    def test_200_failures_are_one_line_per_kind(self, run: Run, server: Server, job: Job) -> None:
        def script(request: Request) -> tuple[int, object]:
            job_id = request.path.rpartition("/")[2]
            if job_id == "jobs":
                return 404, {"title": "Not Found"}
            error = "the video has no sound" if int(job_id[1:]) % 2 else "the voice is unknown"
            return 200, job("completed" if int(job_id[1:]) < 100 else "error", job_id, error_message=error)

        server.script = script
        status, out, err = run("wait", *(f"j{number}" for number in range(200)), "--quiet")
        assert (status, out) == (1, [])
        assert err == [
            "translation-client: 50 jobs ended with an error: the voice is unknown (j100, j102, j104, …).",
            "translation-client: 50 jobs ended with an error: the video has no sound (j101, j103, j105, …).",
        ]

    def test_line_to_resume_very_many_jobs_does_not_list_them(self, run: Run, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job, polls=1000)
        status, _, err = run("--jobs", "30", "--timeout", "0.5", *QUICK)
        assert status == 4
        assert err[-1].endswith(" wait --pending (for all your pending jobs)")

    def test_all_pending_jobs_are_awaited(self, run: Run, server: Server, job: Job) -> None:
        def script(request: Request) -> tuple[int, object]:
            if request.path == "/jobs" and not request.query:
                return 200, {"jobs": [job(job_id="b"), job("error", "a")], "next": None}
            return 200, job("completed", "b")

        server.script = script
        assert run("wait", "--pending") == (0, ["b completed 100% after 4.0 s", "1 job: 1 completed"], [])
        server.says((200, {"jobs": [job("error", "a")], "next": None}))
        assert run("wait", "--pending") == (0, ["0 jobs"], [])

    @pytest.mark.parametrize("arguments", [(), ("a", "--pending")])
    def test_wait_takes_either_ids_or_all_pending_jobs(self, run: Run, arguments: tuple[str, ...]) -> None:
        status, _, (line,) = run("wait", *arguments)
        assert (status, line) == (2, "translation-client: wait takes either the ids of jobs or --pending")

    def test_stats_of_one_poll_are_in_the_singular(self, run: Run, server: Server, job: Job) -> None:
        server.says((200, job("completed", "a")))
        _, out, _ = run("wait", "a", "--stats")
        assert out[1].startswith("a: 1 poll, ")
        assert out[2].startswith("in all: 1 request, ")


class TestNoServer:
    @pytest.fixture
    def nowhere(self) -> str:
        return f"http://127.0.0.1:{free_port()}"

    @pytest.mark.parametrize("words", ["run", "start", "status a", "list", "cancel a", "run --jobs 3"])
    def test_server_that_never_answered_is_given_up_after_three_retries(
        self, capsys: pytest.CaptureFixture[str], nowhere: str, words: str
    ) -> None:
        assert main(["--url", nowhere, *LOGIN, *words.split()]) == 5
        *retries, last = capsys.readouterr().err.splitlines()
        assert [line.split("; ")[1][:12] for line in retries] == [f"retry {number} of 3" for number in (1, 2, 3)]
        assert all(line.endswith(" s") and f"{nowhere} refused the connection" in line for line in retries)
        assert "refused the connection" in last

    def test_wait_for_a_known_job_goes_on(self, capsys: pytest.CaptureFixture[str], nowhere: str) -> None:
        assert (
            main(["--url", nowhere, *LOGIN, "wait", "a", "--initial-interval", "0.01", "--max-interval", "0.02"]) == 5
        )
        *retries, last = capsys.readouterr().err.splitlines()
        assert len(retries) == 7
        assert "retry 7 of 7" in retries[-1]
        assert last.endswith(" wait -- a")

    def test_refusal_with_a_reason_says_why_and_how_long(self, run: Run, server: Server, job: Job) -> None:
        problem = {"title": "Too Many Requests", "detail": "10 wrong passwords came from here."}
        server.says((429, problem, {"retry-after-ms": "20"}), (202, job("completed", "a")))
        status, _, err = run(*QUICK)
        assert status == 0
        why = "Too Many Requests. 10 wrong passwords came from here"
        assert err == [f"translation-client: POST /start: the server answered 429: {why}; retry 1 of 7 in 0.0 s"]


@pytest.mark.takes(30)
class TestReportCard:
    @pytest.mark.parametrize("dialect", ["start", "jobs", "translate"])
    def test_start_status_and_wait_in_turn_are_not_too_early(self, tmp_path: Path, dialect: str) -> None:
        with serving(tmp_path, AUTH="off", MIN_DELAY="3600", MAX_DELAY="3600") as url, sandbox_on(url) as sandbox:
            options = ["--url", url, "--username", sandbox.username, "--password", sandbox.password, "--json"]
            command = [sys.executable, "-m", "translation_client", *options, "--dialect", dialect]

            def run(*words: str) -> str:
                environment = os.environ | BOTH_SIDES
                return subprocess.run(
                    [*command, *words], env=environment, capture_output=True, text=True, check=True
                ).stdout

            job_id = run("start").split('"')[3]
            for _ in range(2):
                assert '"pending"' in run("status", job_id)
            sandbox.speed(600)  # the job ends in about six seconds
            assert '"completed"' in run("wait", job_id)
            assert sandbox.report().warnings == ()


def test_program_of_the_first_version_keeps_its_log_file(server: Server, job: Job, tmp_path: Path) -> None:
    server.script = scripted_jobs(job)
    command = [sys.executable, str(CLIENT / "client.py"), "--url", server.url, *LOGIN, *QUICK]
    subprocess.run(command, check=True, capture_output=True)
    assert "POST /start: 202" in (tmp_path / "client.log").read_text()
