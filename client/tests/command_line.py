"""Helpers for tests of the command: scripted jobs, and the command on a pseudo-terminal."""

import contextlib
import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path

import pytest

LOGIN = ("--username", "admin", "--password", "secretpassword")
QUICK = ("--initial-interval", "0.01", "--max-interval", "0.02")
CLIENT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-W", "default", "-m", "translation_client"]


def scripted_jobs(job, *, polls=1, end="completed", age=2.0):
    """Returns a script that makes a job for each start, `age` seconds old, and ends it after so many polls."""
    seen = {}

    def script(request):
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


def completed_jobs(job):
    """Returns a script in which every job has completed."""

    def script(request):
        job_id = request.path.rpartition("/")[2]
        return (404, {"title": "Not Found"}) if job_id == "jobs" else (200, job("completed", job_id))

    return script


def lines_on_screen(output, width):
    """Returns the lines that a terminal of this width shows after an output, without spaces at their ends."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|.", output, re.DOTALL):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            row, column = (row + 1, 0) if column == width else (row, column)
            lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + 1 :]
            column += 1
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines[:-1]]


class Terminal:
    """The command on a pseudo-terminal."""

    def __init__(self, command, **environment):
        self.seen = ""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, os.environ | {"TERM": "xterm"} | environment)  # noqa: S606 - the program under test

    def until(self, pattern):
        while not re.search(pattern, self.seen):
            self.seen += self._read()
        return self.seen

    def _read(self):
        if not select.select([self.terminal], [], [], 60)[0]:
            os.kill(self.pid, signal.SIGKILL)
            pytest.fail(f"nothing more came after {self.seen!r}")
        return os.read(self.terminal, 65_536).decode(errors="replace")

    def type(self, text):
        os.write(self.terminal, text.encode())

    def interrupt(self):
        """Types Ctrl-C once the program waits for input: just before that, Python would handle it after the input."""
        state, give_up_at = Path(f"/proc/{self.pid}/stat"), time.monotonic() + 60
        while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        self.type("\x03")

    def end(self):
        with contextlib.suppress(OSError):  # a terminal whose program has ended
            while chunk := self._read():
                self.seen += chunk
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
