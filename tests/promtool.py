"""promtool, which checks metrics, rules and configurations of Prometheus; Debian has it in the package prometheus."""

import os
import shutil
import subprocess

import pytest

PROGRAM = shutil.which("promtool")


def promtool(*arguments, sent=None, folder=None):
    """Runs promtool, which must find nothing to correct; skips the test where there is none."""
    if PROGRAM is None:
        assert not os.environ.get("REQUIRE_PROMTOOL"), "REQUIRE_PROMTOOL=1, but there is no promtool"
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run([PROGRAM, *arguments], input=sent, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
