"""The subcommand `listen`, and `run --webhook`."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from standardwebhooks import Webhook

from tests.command_line import PROGRAM
from translation_client.cli import main
from translation_client.receivers import Listener
from translation_server import TranslationServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Run

SECRET = "whsec_c2VjcmV0"


@contextmanager
def listening(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Runs the command; yields its process and its address."""
    command = [*PROGRAM, "listen", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline() if process.stderr else ""
            found = re.search(r"listening on (\S+),", line)
            assert found, line
            yield process, found[1]
        finally:
            process.kill()


def post(url: str, body: Any, event_id: str = "m1") -> int:
    text = json.dumps(body)
    sent = datetime.fromtimestamp(int(time.time()), UTC)
    signature = Webhook(SECRET).sign(event_id, sent, text)
    headers = {"webhook-id": event_id, "webhook-timestamp": str(int(sent.timestamp())), "webhook-signature": signature}
    return httpx.post(url, content=text, headers=headers).status_code


def event(**job: Any) -> dict[str, Any]:
    data = {"job_id": "j1", "status": "error"} | job
    return {"type": "job.error", "timestamp": "2026-01-02T03:04:05.000Z", "data": data}


class TestListen:
    def test_deliveries_are_shown_as_they_come(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(f"{SECRET}\n")
        with listening("--secret-file", "secret", "--deliveries", "4") as (process, url):
            assert post(url, event(error_message="no\x1b[31m sound")) == 204
            assert post(url, event()) == 204
            assert httpx.post(f"{url}hook%1B", content=b"\x1b[2J{").status_code == 400
            assert post(url, {"type": "ping", "timestamp": "", "data": {}}, "m2") == 204
            out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert out.splitlines() == [
            "verified job.error m1: j1 error: no\\x1b[31m sound",
            "repeated job.error m1: j1 error",
            "refused (the header webhook-id is missing) POST /hook%1B: \\x1b[2J{",
            "verified ping m2",
        ]

    def test_json_has_all_of_a_delivery(self) -> None:
        with listening("--secret", SECRET, "--json", "--deliveries", "2") as (process, url):
            assert post(url, event()) == 204
            assert httpx.post(url, content=b"text").status_code == 400
            out, _ = process.communicate(timeout=60)
        genuine, other = map(json.loads, out.splitlines())
        assert (genuine["verified"], genuine["new"], genuine["error"], genuine["path"]) == (True, True, None, "/")
        assert genuine["body"] == event()
        assert genuine["headers"]["webhook-id"] == "m1"
        assert (genuine["status"]["job_id"], genuine["status"]["status"]) == ("j1", "error")
        assert (other["verified"], other["body"], other["status"]) == (False, "text", None)
        assert "webhook-id is missing" in other["error"]

    def test_without_a_secret_everything_is_accepted(self) -> None:
        with listening("--deliveries", "1") as (process, url):
            assert httpx.post(url, json={"a": "\u202e"}).status_code == 204
            out, _ = process.communicate(timeout=60)
        assert out == 'received POST /: {"a": "\\u202e"}\n'

    def test_ctrl_c_ends_it_at_once_whatever_connections_are_open(self) -> None:
        with listening() as (process, url), ExitStack() as stack:
            for _ in range(80):
                stack.enter_context(socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)))
            with pytest.raises(httpx.TimeoutException):
                httpx.post(url, timeout=0.5)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=5)
        assert process.returncode == 130

    def test_ctrl_c_ends_it(self) -> None:
        with listening() as (process, _):
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (130, "")
        assert err.endswith(": interrupted\n")

    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            (["--port", "65536"], "--port must be a number from 0 to 65535, not 65536"),
            (["--deliveries", "0"], "--deliveries must be a number of at least 1, not 0"),
            (["--deliveries", "-1"], "--deliveries must be a number of at least 1, not -1"),
            (["--secret", "no"], "--secret must be whsec_ and base64"),
            (["--secret-file", "none"], "the secret file 'none' cannot be read"),
            (["--dialect", "none"], "--dialect none: is neither"),
            (["--host", "256.0.0.1"], "cannot listen on 256.0.0.1, port 0: "),
        ],
    )
    def test_unusable_options_are_usage_errors(
        self, arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["listen", *arguments]) == 2
        err = capsys.readouterr().err
        assert why in err
        assert "listening on" not in err

    def test_port_in_use_is_a_usage_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        with Listener() as other:
            assert main(["listen", "--port", str(other.port)]) == 2
        assert f"port {other.port}: " in capsys.readouterr().err


class TestRun:
    @pytest.mark.parametrize("jobs", ["1", "3"])
    def test_webhooks_end_the_wait(self, jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
        with TranslationServer(completion_time=0.5, error_rate=0) as server:
            login = ["--url", server.url, "--username", "a", "--password", "b"]
            assert main(["run", *login, "--webhook", "--jobs", jobs, "--timeout", "60", "--stats"]) == 0
        out = capsys.readouterr().out
        assert out.count(", ended by a delivery\n") == int(jobs)

    def test_other_api_is_a_usage_error(self, run: Run) -> None:
        status, _, err = run("--dialect", "status", "--webhook")
        assert status == 2
        assert err[0].startswith("translation-client: --webhook does not fit a submission to the dialect status: ")
