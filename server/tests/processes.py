"""The server as a process, for the tests."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.api import Api
from tests.patience import PATIENCE

FOLDER = Path(__file__).parents[1]
MODULE = [sys.executable, "-m", "translation_server"]
UVICORN = [sys.executable, "-m", "uvicorn", "--app-dir", str(FOLDER), "main:app"]

ENVIRONMENT = {
    "API_USERNAME": "admin",
    "API_PASSWORD": "secretpassword",
    "MIN_DELAY": "0",
    "MAX_DELAY": "0",
    "ERROR_PROBABILITY": "0",
}


def wait_until(condition, what=None):
    """Waits until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def refuses(url):
    """Whether an address refuses connections."""
    with socket.socket() as probe:
        return probe.connect_ex((url.host, url.port)) != 0


class Server:
    """A running server process."""

    def __init__(self, process, log):
        self.process = process
        self._log = log
        found = self.wait_for(r"(?:listening|running) on (http://[\d.]+:\d+)")
        self.client = Api(base_url=found[1], auth=("admin", "secretpassword"), timeout=PATIENCE)

    def log(self):
        return self._log.read_text()

    def wait_for(self, pattern):
        """Waits until the log has the pattern, and returns the match."""
        wait_until(lambda: self.process.poll() is not None or re.search(pattern, self.log()), pattern)
        found = re.search(pattern, self.log())
        assert found, self.log()
        return found

    def stop(self, sign=signal.SIGINT):
        self.process.send_signal(sign)
        return self.process.wait(PATIENCE)


@contextmanager
def unfinished_request(server):
    """Begins a submission; yields its connection and the missing part."""
    url = server.client.base_url
    request = server.client.build_request("POST", "/start", content=b"{}", headers={"Content-Type": "application/json"})
    signed = next(httpx.BasicAuth("admin", "secretpassword").sync_auth_flow(request))
    lines = [b"POST /start HTTP/1.1", *(name + b": " + value for name, value in signed.headers.raw)]
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\nExpect: 100-continue\r\n\r\n")
        assert b"100 Continue" in connection.recv(65536)
        connection.sendall(b"{")
        yield connection, b"}"


def begin(folder, command, **settings):
    """Runs a server that must refuse to start."""
    environment = os.environ | ENVIRONMENT | settings
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def refusal(process):
    """Returns the one line that such a server prints."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 2, err
    assert out == ""
    return err.strip().removeprefix("translation-server: ")


def refused(tmp_path, command, **settings):
    """Runs a server that must refuse to start, and returns the one line that it prints."""
    return refusal(begin(tmp_path, command, **settings))


WAYS = pytest.mark.parametrize(
    "command",
    [[*MODULE, "--port", "0"], [*MODULE, "--port", "0", "--workers", "2"], [*UVICORN, "--port", "0"]],
    ids=["module", "workers", "uvicorn"],
)
