"""The scripts of the GitHub Action, as GitHub runs them, with the packages as wheels."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.packages.environments import ROOT, TOOLS, run

BASH = shutil.which("bash")
ACTION = ROOT / "deploy" / "action"
ACTIONS = pytest.mark.parametrize("path", ["action.yml", "report/action.yml"])

CLIENT = """
import os
import httpx

login = os.environ["API_USERNAME"], os.environ["API_PASSWORD"]
with httpx.Client(base_url=os.environ["SERVER_URL"], auth=login) as api:
    job_id = api.post("/start").json()["job_id"]
    for _ in range(5):
        api.get(f"/status/{job_id}")
"""


class Runner:
    """What a machine of GitHub does for the steps of a job."""

    def __init__(self, folder):
        self.folder = folder
        self.files = {name: folder / name for name in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in self.files.values():
            file.touch()

    def step(self, path, **inputs):
        """Runs the only step of an action."""
        action = yaml.safe_load((ACTION / path).read_text())
        [step] = action["runs"]["steps"]
        defaults = {name: given["default"] for name, given in action["inputs"].items()}
        unknown = inputs.keys() - defaults.keys()
        assert not unknown
        values = {key.replace("_", "-"): value for key, value in (defaults | inputs).items()}
        environment = {
            name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: values[found[1]], text)
            for name, text in step["env"].items()
        }
        return subprocess.run(
            [BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env=os.environ
            | self.exported()
            | environment
            | {name: str(file) for name, file in self.files.items()}
            | {"RUNNER_TEMP": str(self.folder / "temp"), "GITHUB_ACTION_PATH": str((ACTION / path).parent)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def exported(self):
        """Returns the variables that the steps gave to those that follow."""
        lines = self.files["GITHUB_ENV"].read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def runner(tmp_path):
    """A machine on which the server stops at the end, whatever happens."""
    runner = Runner(tmp_path)
    yield runner
    pid = tmp_path / "temp" / "job-api" / "pid"
    if pid.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGTERM)


def test_a_job_gets_a_server_and_its_summary_the_report_card(runner, dist):
    packages = f"{dist.wheel('server')} {dist.wheel('client')}"
    started = runner.step("action.yml", packages=packages, settings="MIN_DELAY=600\nMAX_DELAY=600\n")
    assert started.returncode == 0, started.stdout + started.stderr
    exported = runner.exported()
    assert f"::add-mask::{exported['API_PASSWORD']}\n" in started.stdout
    assert runner.files["GITHUB_OUTPUT"].read_text() == f"url={exported['SERVER_URL']}\n"

    run(TOOLS / "python", "-c", CLIENT, **exported)
    reported = runner.step("report/action.yml")
    assert reported.returncode == 1, reported.stdout + reported.stderr
    summary = runner.files["GITHUB_STEP_SUMMARY"].read_text()
    assert summary.startswith("### Report card\n```text\n")
    assert "warning early-polls: 5 polls of 1 job" in summary
    [junit] = re.findall(r"^junit=(.*)$", runner.files["GITHUB_OUTPUT"].read_text(), re.MULTILINE)
    assert "early-polls" in Path(junit).read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(int((runner.folder / "temp" / "job-api" / "pid").read_text()), 0)


def test_a_server_that_does_not_start_fails_the_step_with_its_reason(runner, dist):
    packages = f"{dist.wheel('server')} {dist.wheel('client')}"
    started = runner.step("action.yml", packages=packages, settings="MIN_DELAY=soon")
    assert started.returncode == 1
    assert "The server did not start:\n" in started.stderr
    assert "MIN_DELAY" in started.stderr


@ACTIONS
def test_an_action_has_a_valid_file(path):
    printed = run(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-actions", ACTION / path)
    assert printed == "ok -- validation done\n"
