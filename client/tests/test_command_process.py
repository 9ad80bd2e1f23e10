"""The command as a process of its own, and on a terminal."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command_line import CLIENT, LOGIN, PROGRAM, QUICK, Terminal, completed_jobs, scripted_jobs
from translation_client import __version__

if TYPE_CHECKING:
    from tests.conftest import Job, Request, Server, Spawn

CALLS = [
    ([sys.executable, "client.py"], "python3 client.py"),
    ([sys.executable, "-m", "translation_client"], "python3 -m translation_client"),
    ([shutil.which("translation-client", path=str(Path(sys.executable).parent))], "translation-client"),
]


class TestProcess:
    """The command as a process of its own."""

    def test_version_and_help_are_printed(self) -> None:
        version = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=True)
        assert version.stdout == f"translation-client {__version__}\n"
        assert "exit status" in subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout

    @pytest.mark.parametrize(("command", "name"), CALLS)
    def test_messages_name_the_program_as_it_was_called(
        self, server: Server, job: Job, command: list[str], name: str
    ) -> None:
        server.says((202, job(job_id="j1")), (200, b"no job"))
        arguments = ["--url", server.url, *LOGIN, *QUICK, "--log-file", "none"]
        process = subprocess.run([*command, *arguments], cwd=CLIENT, capture_output=True, text=True, check=False)
        assert process.returncode == 5
        assert process.stdout.startswith("j1 pending")
        assert f"Resume with: {name} --url" in process.stderr

    @pytest.mark.parametrize("command", [command for command, _ in CALLS])
    def test_ctrl_c_during_the_imports_prints_no_traceback(
        self, spawn: Spawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
    ) -> None:
        for library in ("httpx", "httpx2"):
            slow = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
            (tmp_path / f"{library}.py").write_text(slow)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.chdir(CLIENT)
        with spawn([*command, "list"]) as process:
            assert process.stdout.readline() == "importing\n"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == -signal.SIGINT

    def test_closed_pipe_ends_the_command_silently(self, server: Server, job: Job, spawn: Spawn) -> None:
        server.script = scripted_jobs(job, polls=1000)
        command = [*PROGRAM, "--url", server.url, *LOGIN, *QUICK, "--jobs", "3"]
        with spawn(command) as process:
            process.stdout.readline()
            process.stdout.close()
            server.script = completed_jobs(job)
            assert process.stderr.read() == ""
            assert process.wait(60) == 141

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
    def test_full_disk_for_the_output_is_one_line(self, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        with Path("/dev/full").open("w") as full:
            command = [*PROGRAM, "--url", server.url, *LOGIN, *QUICK]
            process = subprocess.run(command, stdout=full, stderr=-1, text=True, check=False)
        assert process.returncode == 2
        assert "the output cannot be written" in process.stderr
        assert process.stderr.count("\n") == 1

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
    @pytest.mark.parametrize(
        ("arguments", "status"), [(["--bogus"], 2), (["--log-file", "/dev/full"], 1), (["--verbose"], 1)]
    )
    def test_full_disk_for_stderr_keeps_the_exit_status(
        self, server: Server, job: Job, arguments: list[str], status: int
    ) -> None:
        server.script = scripted_jobs(job, end="error")
        with Path("/dev/full").open("w") as full:
            command = [*PROGRAM, "--url", server.url, *LOGIN, *QUICK, *arguments]
            process = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=full, check=False)
        assert process.returncode == status

    def test_closed_outputs_keep_the_exit_status(self, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job, end="error")
        command = [*PROGRAM, "--url", server.url, *LOGIN, *QUICK]
        process = subprocess.run(["/bin/sh", "-c", '"$@" >&- 2>&-', "-", *command], capture_output=True, check=False)
        assert (process.returncode, process.stdout, process.stderr) == (1, b"", b"")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_signals_print_how_to_resume(self, server: Server, job: Job, spawn: Spawn, number: signal.Signals) -> None:
        server.script = scripted_jobs(job, polls=1000)
        command = [*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "8", "--jobs", "2"]
        with spawn(command) as process:
            assert {process.stdout.readline().split()[0] for _ in range(2)} == {"j1", "j2"}
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        assert out == "2 jobs: 2 pending\n"
        assert re.fullmatch(
            rf"python3 -m translation_client: interrupted\. "
            rf"Resume with: python3 -m translation_client --url={server.url} --username=admin "
            r"--initial-interval=8\.0 wait -- j[12] j[12]\n",
            err,
        )

    def test_example_of_an_earlier_system_runs_unchanged(self, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
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
        command = [sys.executable, "-X", "dev", "-W", "error", "-"]
        process = subprocess.run(command, input=example, cwd=CLIENT, capture_output=True, text=True, check=False)
        assert process.stderr == ""
        assert process.stdout == "Started job with ID: j1\nTest completed with final status: completed\n"


class TestTerminal:
    def test_password_prompt_does_not_echo(self, server: Server, job: Job) -> None:
        server.says((200, job("completed", "a")))
        terminal = Terminal([*PROGRAM, "--url", server.url, "status", "a"])
        terminal.until("Username: ")
        terminal.type("admin\n")
        terminal.until("Password: ")
        terminal.type("secretpassword\n")
        assert terminal.end() == 0
        assert "secretpassword" not in terminal.seen
        assert server.requests[0].headers["authorization"] == "Basic YWRtaW46c2VjcmV0cGFzc3dvcmQ="

    def test_destination_of_credentials_is_shown_before_the_prompt(self, server: Server, job: Job) -> None:
        server.says((200, job("completed", "a")))
        Path(".env").write_text(f"SERVER_URL={server.url}\n")
        terminal = Terminal([*PROGRAM, "status", "a"])
        terminal.until("Username: ")
        assert f"credentials from the terminal go to {server.url}, the SERVER_URL of .env" in terminal.seen
        terminal.interrupt()
        assert terminal.end() == 130
        assert server.requests == []

    @pytest.mark.parametrize("command", ["list", "report"])
    @pytest.mark.parametrize("status", [130, 2])
    def test_prompt_can_be_interrupted(self, command: str, status: int) -> None:
        for arguments, question in (((), "Username: "), (("--username", "admin"), "Password: ")):
            terminal = Terminal([*PROGRAM, command, *arguments])
            terminal.until(question)
            if status == 130:
                terminal.interrupt()
            else:
                terminal.type("\x04")
            assert terminal.end() == status
            assert "Traceback" not in terminal.seen

    def test_jobs_are_shown_live_and_then_as_lines(self, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job, polls=1000)
        terminal = Terminal(
            [*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "0.3", "--max-interval", "0.3", "--jobs", "2"]
        )
        terminal.until(r"next poll in 0\.\d s")
        server.script = completed_jobs(job)
        assert terminal.end() == 0
        assert "━" in terminal.seen
        lines = terminal.seen.split("\x1b[2K")[-1]
        assert "j1 completed 100% after 4.0 s\r\nj2 completed 100% after 4.0 s\r\n2 jobs: 2 completed" in lines
        assert terminal.seen.count("\x1b[?25h") == 1

    def test_more_jobs_than_lines_are_summarised(self, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job, polls=2)
        command = [*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "0.5", "--max-interval", "0.5"]
        terminal = Terminal([*command, "--jobs", "60"])
        terminal.until(r"60 jobs: ")
        assert terminal.end() == 0
        assert "60 jobs: 60 completed" in terminal.seen.split("\x1b[2K")[-1]

    @pytest.mark.parametrize("lines", ["2", "24"])
    def test_summary_fits_on_every_terminal(self, server: Server, job: Job, lines: str) -> None:
        server.script = scripted_jobs(job, polls=1000)
        command = [*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "0.5", "--max-interval", "0.5"]
        terminal = Terminal([*command, "--jobs", "60"], LINES=lines)
        terminal.until(r"60 jobs: 60 (starting|pending)")
        server.script = completed_jobs(job)
        assert terminal.end() == 0

    def test_table_shows_failed_jobs(self, server: Server, job: Job) -> None:
        polls = Counter[str]()

        def script(request: Request) -> tuple[int, object]:
            polls[request.path] += 1
            if request.path != "/status/b":
                return 404, {"title": "Not Found"}
            return 200, job("error", "b") if polls[request.path] > 2 else job("queued", "b", progress=None)

        server.script = script
        intervals = ["--initial-interval", "0.3", "--max-interval", "0.3"]
        terminal = Terminal([*PROGRAM, "--url", server.url, *LOGIN, *intervals, "wait", "b", "c"])
        assert terminal.end() == 2
        assert "failed" in terminal.seen

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signals_restore_the_terminal(self, server: Server, job: Job, number: signal.Signals) -> None:
        server.script = scripted_jobs(job, polls=1000)
        terminal = Terminal([*PROGRAM, "--url", server.url, *LOGIN, "--initial-interval", "5"])
        terminal.until("poll in")
        os.kill(terminal.pid, number)
        assert terminal.end() == 128 + number
        assert "Resume with: python3 -m translation_client" in terminal.seen
        assert terminal.seen.rindex("\x1b[?25h") > terminal.seen.rindex("\x1b[?25l")

    def test_dumb_terminal_gets_lines(self, server: Server, job: Job) -> None:
        server.script = scripted_jobs(job)
        terminal = Terminal([*PROGRAM, "--url", server.url, *LOGIN, *QUICK], TERM="dumb")
        assert terminal.end() == 0
        assert terminal.seen == "j1 pending  50% after 2.0 s\r\nj1 completed 100% after 4.0 s\r\n"
