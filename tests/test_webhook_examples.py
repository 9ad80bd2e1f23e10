"""The ready receivers of webhooks in `examples/webhooks`, as programs against the real server."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from translation_client import Client, Sandbox
from translation_server import TranslationServer

FOLDER = Path(__file__).parents[1] / "examples" / "webhooks"
SECRET = "whsec_c2VjcmV0"
BODY = json.dumps({"type": "job.completed", "timestamp": "", "data": {"job_id": "j1", "status": "completed"}})
PROGRAMS = {
    "fastapi_app": ["-m", "uvicorn", "--app-dir", str(FOLDER), "fastapi_app:app", "--port", "0", "--no-access-log"],
    "http_server": [str(FOLDER / "http_server.py"), "0"],
    "wsgi_app": [str(FOLDER / "wsgi_app.py"), "0"],
}


class Program:
    """A running example."""

    def __init__(self, process):
        self.url, self._out = "", process.stdout
        for line in process.stderr:
            if found := re.search(r"(?:listening|running) on (http\S+)", line):
                self.url = found[1]
                break
        self._rest = threading.Thread(target=process.stderr.read)  # so that its log does not fill the pipe
        self._rest.start()

    def lines(self, count):
        return [self._out.readline().strip() for _ in range(count)]

    def post(self, event_id="m1", *, body=BODY, **headers):
        sent = datetime.fromtimestamp(int(time.time()), UTC)
        signed = {
            "webhook-id": event_id,
            "webhook-timestamp": str(int(sent.timestamp())),
            "webhook-signature": Webhook(SECRET).sign(event_id, sent, BODY),
        }
        return httpx.post(self.url, content=body, headers=signed | headers).status_code


@pytest.fixture(params=PROGRAMS)
def program(request, tmp_path):
    path = os.pathsep.join(str(FOLDER.parents[1] / side) for side in ("server", "client"))
    environment = os.environ | {"PYTHONPATH": path, "WEBHOOK_SECRET": SECRET, "PYTHONUNBUFFERED": "1"}
    environment |= {"WEBHOOK_EVENTS": str(tmp_path / "events.db")}
    command = [sys.executable, "-W", "error", *PROGRAMS[request.param]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        running = Program(process)
        yield running
        process.kill()
        running._rest.join()  # noqa: SLF001 - of this module


def test_event_is_handled_once_and_what_is_not_genuine_is_refused(program):
    assert program.post(body=BODY + " ") == 400
    assert [program.post(), program.post(), program.post("m2")] == [204, 204, 204]
    assert program.lines(2) == ["j1 completed", "j1 completed"]
    assert program.post(body=b"x" * (1 << 20) + b"x") == 413
    assert program.post("m3", body=b"") == 400
    assert httpx.get(program.url).status_code in {405, 501}
    assert program.post("m4") == 204
    assert program.lines(1) == ["j1 completed"]


def test_every_job_ends_once_although_webhooks_are_lossy(program):
    with TranslationServer(completion_time=1, error_rate=0) as server, Sandbox(server.url) as sandbox:
        sandbox.scenario("lossy-webhooks")
        sandbox.set(webhook={"url": program.url, "secret": SECRET})
        sandbox.speed(100_000)  # the retries take hours of the sandbox's time
        with Client(server.url) as client:
            ids = {client.start().id for _ in range(15)}
        ends = program.lines(len(ids))
        assert sorted(ends) == sorted(f"{job_id} completed" for job_id in ids)
