"""Runs the install lines of docs/testing.md in a new environment."""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
INSTALL, FROM_WHEELS = (block for block in BLOCKS if "[testing]" in block)

pytestmark = pytest.mark.takes(60)

TEST = """
import httpx


def test_naive(sandbox):
    with httpx.Client(base_url=sandbox.url, auth=(sandbox.username, sandbox.password)) as api:
        job_id = api.post("/start").json()["job_id"]
        for _ in range(5):
            api.get(f"/status/{job_id}")
    sandbox.assert_good()


def test_ours(sandbox):
    sandbox.set(delay={"kind": "fixed", "seconds": 0.1})
    with sandbox.client() as client:
        client.run()
    sandbox.assert_good()
"""


def run(command, folder, *, python=Path(sys.prefix), **environment):
    """Runs a shell command with an environment's `python`; returns its exit status and all that it printed."""
    ran = subprocess.run(
        ["/bin/bash", "-c", f"set -e\n{command}"],
        cwd=folder,
        env=os.environ | {"PATH": f"{python / 'bin'}{os.pathsep}{os.environ['PATH']}"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    return ran.returncode, ran.stdout


@pytest.fixture
def index(tmp_path):
    """Skips where pip can fetch no package."""
    code, printed = run("python -m pip download --quiet --no-deps --retries 0 --timeout 10 iniconfig", tmp_path)
    if code:
        pytest.skip(f"pip cannot fetch packages: {printed.strip().splitlines()[-1]}")


@pytest.mark.usefixtures("index")
def test_the_install_lines_fetch_neither_of_our_packages_and_install_the_plugin(tmp_path):
    for side in ("server", "client"):
        shutil.copytree(ROOT / side, tmp_path / side, ignore=shutil.ignore_patterns("tests", "data", "__pycache__"))
    pins = [ROOT / name / "requirements.txt" for name in ("server", "client")]
    pins = "".join(path.read_text() for path in [ROOT / "requirements" / "development.txt", *pins])
    constraints, log = tmp_path / "constraints.txt", tmp_path / "log"
    constraints.write_text("\n".join(sorted(set(re.findall(r"^[\w.-]+==\S+", pins, re.MULTILINE)))))
    (tmp_path / "test_mine.py").write_text(TEST)
    venv.create(tmp_path / "venv", with_pip=True)
    clean = {"python": tmp_path / "venv", "PIP_CONSTRAINT": str(constraints), "PIP_LOG": str(log)}
    for lines in (INSTALL, FROM_WHEELS):
        code, printed = run(lines.replace("pip", "python -m pip"), tmp_path, **clean)
        assert code == 0, printed
        code, printed = run("python -m pip check && pytest -q -W error test_mine.py", tmp_path, **clean)
        verdicts = re.findall(r"^test_mine.py::\w+: .*|^\d of .*", printed, re.MULTILINE)
        assert verdicts == ["test_mine.py::test_naive: 2 warnings: early-polls, busy-polling", "1 of 2 good"], printed
        code, printed = run("python -m pip uninstall --yes translation-server translation-client", tmp_path, **clean)
        assert code == 0, printed
    fetched = re.findall(r"\S+/simple/\S+", log.read_text())
    assert any("fastapi" in address for address in fetched)
    assert [address for address in fetched if "translation" in address] == []
