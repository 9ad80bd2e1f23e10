"""What the command leaves on a terminal.

The screens are in `screens/`, with X for digits that differ each time, and with one line for all retries of a wait.
With RECORD in the environment, the tests write them anew.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from tests.command_line import LOGIN, PROGRAM, Terminal, lines_on_screen
from tests.conftest import LOGIN as SETTINGS
from tests.conftest import serving
from tests.ports import free_port

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.conftest import Job, Request, Server

    Handler = Callable[[socket.socket, threading.Event], None]
    Listen = Callable[[Handler], AbstractContextManager[str]]

pytestmark = pytest.mark.takes(60)

SCREENS = Path(__file__).parent / "screens"
WIDTHS = pytest.mark.parametrize("width", [40, 80, 200])


def ended_or_pending(job: Job, pending: int = 0) -> object:
    """Returns a script with jobs j0, j1, …: every fourth has failed, and the first ones are pending."""

    def answer(name: str) -> object:
        number = int(name.removeprefix("j"))
        return job("pending" if number < pending else "error" if number % 4 == 3 else "completed", name)

    def script(request: Request) -> tuple[int, object]:
        match request.path.split("/"):
            case ["", "jobs"]:
                found = [answer(name) for name in parse_qs(request.query)["job_id"]]
                return 200, {"jobs": found, "unknown": [], "next": None}
            case ["", "status", name]:
                return 200, answer(name)
        return 404, {"title": "Not Found"}

    return script


def start(width: int, url: str, *words: str) -> Terminal:
    # Addresses of the same length wrap at the same place.
    return Terminal([*PROGRAM, "--url", url, *LOGIN, *words], COLUMNS=str(width), LINES="24")


def check(terminal: Terminal, name: str, width: int) -> None:
    """Compares what is left on the screen with the record."""
    seen = re.sub(r"(?<=127\.0\.0\.1:)\d{5}", "XXXXX", terminal.seen)  # here, no address is wrapped yet
    text = "\n".join(lines_on_screen(seen, width)).rstrip() + "\n"
    text = re.sub(r"\bin(\s)\d\.\d(?= s$)", r"in\1X.X", text, flags=re.MULTILINE)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", f"{'X' * 8}-XXXX-XXXX-XXXX-{'X' * 12}", text)
    text = re.sub(r"((?:.*\n){,2}?.*retry )\d( of 7 .*\n)(\1\d\2)*", r"\1N\2", text)
    record = SCREENS / f"{name}-at-{width}.txt"
    if "RECORD" in os.environ:
        record.write_text(text, encoding="utf-8")
    assert text == record.read_text(encoding="utf-8")


@WIDTHS
@pytest.mark.parametrize("count", [1, 5, 200, 1000])
def test_ended_jobs_are_listed_or_counted(server: Server, job: Job, count: int, width: int) -> None:
    server.script = ended_or_pending(job)
    terminal = start(width, server.url, "wait", *(f"j{number}" for number in range(count)))
    assert terminal.end() == (0 if count == 1 else 1)
    check(terminal, f"ended-{count}", width)


@WIDTHS
def test_interrupted_command_says_how_to_resume(server: Server, job: Job, width: int) -> None:
    server.script = ended_or_pending(job, pending=2)
    terminal = start(width, server.url, "wait", *(f"j{number}" for number in range(5)))
    terminal.until(r"j4.*100%")
    os.kill(terminal.pid, signal.SIGINT)
    assert terminal.end() == 130
    check(terminal, "interrupted", width)


@WIDTHS
def test_interrupt_during_a_start_says_that_jobs_may_have_been_accepted(listen: Listen, width: int) -> None:
    def hang(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65_536)
        over.wait()

    with listen(hang) as url:
        terminal = start(width, url, "--jobs", "5")
        terminal.until("waiting for the server")
        os.kill(terminal.pid, signal.SIGINT)
        assert terminal.end() == 130
    check(terminal, "interrupted-start", width)


@WIDTHS
def test_command_without_a_server_shows_its_retries_above_the_table(width: int) -> None:
    terminal = start(width, f"http://127.0.0.1:{free_port()}", "--jobs", "5")
    assert terminal.end() == 5
    first_table, first_line = (terminal.seen.index(text) for text in ("starting", "POST"))
    assert first_table < first_line
    check(terminal, "no-server", width)


@WIDTHS
def test_wrong_password_is_one_line_for_all_jobs(server: Server, width: int) -> None:
    server.says((401, {"title": "Unauthorized", "detail": "The credentials are wrong or malformed."}))
    terminal = start(width, server.url, "--jobs", "5")
    assert terminal.end() == 3
    check(terminal, "wrong-password", width)


def test_wait_goes_on_across_a_restart(tmp_path: Path) -> None:
    settings = {"port": free_port(), "DATABASE_URL": "sqlite:///jobs.db", "MIN_DELAY": "4", "MAX_DELAY": "4"} | SETTINGS
    with serving(tmp_path, **settings) as url:
        words = ("--jobs", "2", "--no-long-poll", "--initial-interval", "0.5")
        terminals = {width: start(width, url, *words) for width in (40, 80, 200)}
        for terminal in terminals.values():
            terminal.until("next poll in")
    for terminal in terminals.values():
        terminal.until(r"retry\s+2\s+of")
    with serving(tmp_path, **settings):
        assert [terminal.end() for terminal in terminals.values()] == [0, 0, 0]
    for width, terminal in terminals.items():
        check(terminal, "restart", width)
