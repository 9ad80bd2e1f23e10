"""A terminal: a shell that runs one command after another, and shows what they print."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from threading import Condition, Thread

from tests.documentation.pages import BASH

PATIENCE = 300.0
"""How long a command may take, in seconds; installing takes longest."""

DONE = "@done"
"""Begins the line that the shell prints after each command; the exit status follows."""


class Terminal:
    """A shell with its own folder and variables.

    Args:
        folder: where it starts.
        environment: its variables.
    """

    def __init__(self, folder, environment):
        self._printed = f"\n{DONE} 0\n"
        self._changed = Condition()
        self._shell = subprocess.Popen(
            [BASH, "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._ended = False
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        self._type("trap : INT")  # Ctrl-C ends what the shell runs, and not the shell

    def start(self, command):
        """Starts a command."""
        assert not self.is_busy
        self._printed = ""
        self._type(f"{{ {command}\n}} </dev/null\nstatus=$?; printf '\\n{DONE} %d\\n' $status; (exit $status)")

    @property
    def is_busy(self):
        """Whether a command runs."""
        return self.status is None

    @property
    def output(self):
        """What the command has printed so far."""
        return self._printed.split(f"\n{DONE} ")[0]

    @property
    def status(self):
        """The exit status of the command; None while it runs."""
        _, done, status = self._printed.partition(f"\n{DONE} ")
        return int(status) if done and status.endswith("\n") else None

    def wait(self, condition=lambda: False):
        """Waits until the command has ended or the condition is fulfilled; returns whether one of both came about."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while self.status is None and not condition():
                if self._ended or not self._changed.wait(deadline - time.monotonic()):
                    return False
        return True

    def press_ctrl_c(self):
        """Interrupts the command and waits for its end; returns whether it came."""
        os.killpg(self._shell.pid, signal.SIGINT)
        return self.wait()

    def close(self):
        """Ends the shell, and what runs in it."""
        if self.is_busy:
            self.press_ctrl_c()
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        self._reader.join()
        for pipe in (self._shell.stdin, self._shell.stdout):
            assert pipe
            pipe.close()

    def _type(self, line):
        assert self._shell.stdin
        self._shell.stdin.write(line + "\n")
        self._shell.stdin.flush()

    def _read(self):
        assert self._shell.stdout
        for line in self._shell.stdout:
            with self._changed:
                self._printed += line
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
