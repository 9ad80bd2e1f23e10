"""The answers to invented requests are those of `/openapi.json`: schemathesis finds no other one.

A fault rule makes an answer that is not documented, on purpose. So the routes of the sandbox, which no rule changes,
are tried apart, and the others without a sandbox. The event stream of all jobs, which has no end, is not tried.
"""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.processes import ENVIRONMENT, MODULE, Server, wait_until

PROGRAM = Path(sys.executable).with_name("schemathesis")
CHECKS = [
    "content_type_conformance",
    "not_a_server_error",
    "response_headers_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "unsupported_method",
]
COMMAND = [PROGRAM, "run", "--no-color", "--seed=1", "--request-timeout=10", "--max-examples=5"]
COMMAND += ["--phases=examples,coverage,fuzzing", "--auth={API_USERNAME}:{API_PASSWORD}".format(**ENVIRONMENT)]


@pytest.fixture
def run(tmp_path):
    """Starts servers with settings of their own, and returns a client of each."""
    with ExitStack() as running:

        def run(**settings):
            log, given = running.enter_context((tmp_path / "server.log").open("w")), {"PORT": "0", "MAX_DELAY": "0.2"}
            environment = os.environ | ENVIRONMENT | {"DATABASE_URL": "memory:"} | given | settings
            process = running.enter_context(subprocess.Popen(MODULE, cwd=tmp_path, env=environment, stderr=log))
            running.callback(process.kill)
            return running.enter_context(Server(process, Path(log.name)).client)

        yield run


@pytest.fixture
def examine(tmp_path):
    """Sends invented requests to the routes of a pattern; each of these parameters of a path has this value."""

    def examine(api, routes, checks=CHECKS, **parameters):
        values = [f'"path.{name}" = "{value}"\n' for name, value in parameters.items()]
        (tmp_path / "schemathesis.toml").write_text("[parameters]\n" + "".join(values))
        options = [f"--checks={','.join(checks)}", f"--include-path-regex={routes}"]
        command = [*COMMAND, *options, f"{api.base_url}/openapi.json"]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return examine


@pytest.mark.parametrize(
    ("routes", "settings"),
    [
        (r"^/(start|translate|jobs?|status|livez|readyz|files)\b", {"SANDBOX": "off", "DIALECTS": "openai"}),
        (r"^/openai/", {"SANDBOX": "off", "DIALECTS": "openai", "AUTH": "off"}),
        (r"^/sandbox\b", {"DIALECTS": "openai"}),
    ],
    ids=["native", "described", "sandbox"],
)
def test_invented_requests_get_documented_answers(run, examine, routes, settings):
    examine(run(**settings), routes)


def test_requests_for_a_job_get_documented_answers(run, examine):
    api = run(SANDBOX="off", DIALECTS="openai")
    checks = CHECKS[:-1]  # DELETE /jobs/{job_id}/events is for a job whose id ends with "/events"
    shown = examine(api, r"^/(jobs?|status)/\{job_id\}", checks, job_id=api.submit())
    assert "404 responses" not in shown


def test_requests_for_a_job_and_a_delivery_of_the_sandbox_get_documented_answers(run, examine):
    api = run()
    webhook = {"url": f"http://127.0.0.1:{free_port()}/", "events": ["completed"]}  # nobody listens there
    job_id = api.submit({"simulate": {"delay": 0}, "webhook": webhook})

    def deliveries():
        return api.get("/sandbox/webhooks").json()["deliveries"]

    wait_until(lambda: deliveries() and deliveries()[0]["attempts"])
    shown = examine(api, r"^/sandbox/(jobs|webhooks/\{)", job_id=job_id, delivery_id=deliveries()[0]["id"])
    assert "404 responses" not in shown
