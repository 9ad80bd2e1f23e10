"""The packages in clean environments, on every version of Python that is installed here."""

import re
import tarfile
import zipfile
from email import message_from_string

import pytest

from tests.packages.environments import ROOT, TOOLS, run

VERSION = re.search(r'"(.*)"', (ROOT / "server/translation_server/version.py").read_text().split("=")[1])[1]
SIDES = pytest.mark.parametrize("side", ["server", "client"])

MOST_PACKAGES = {"server": 40, "client": 20}
"""How many packages an installation may have, itself included."""

MOST_MODULES = {"server": 60, "client": 700}
"""How many modules `import` may load, those of Python itself included."""

DEMO = """
from translation_client.testing import sandbox_on, server

with server(0.2) as running, sandbox_on(running.url) as sandbox, sandbox.client() as client:
    print(client.run().state)
    sandbox.assert_good()
"""

SUITE = """
import httpx
import pytest


@pytest.mark.scenario("flaky", seed=7)
def test_ours(sandbox):
    with sandbox.client() as client:
        assert client.run().state == "completed"
    sandbox.assert_good()


def test_naive(sandbox):
    with httpx.Client(base_url=sandbox.url, auth=(sandbox.username, sandbox.password)) as api:
        job_id = api.post("/start").json()["job_id"]
        for _ in range(5):
            api.get(f"/status/{job_id}")
    with pytest.raises(AssertionError, match="early-polls"):
        sandbox.assert_good()
"""


def test_the_index_would_accept_the_files(dist):
    printed = run(TOOLS / "twine", "check", "--strict", *dist.files)
    assert printed.count("PASSED") == len(dist.files) == 4


def test_the_wheels_contain_the_packages_and_nothing_else(dist):
    contents = {"server": "translation_server", "client": "translation_client,pytest_translation_client.py"}
    for side, names in contents.items():
        printed = run(TOOLS / "check-wheel-contents", "--toplevel", names, "--ignore", "W009", dist.wheel(side))
        assert printed.endswith(": OK\n")


def info(side):
    """The name of the folder with a wheel's metadata."""
    return f"translation_{side}-{VERSION}.dist-info"


@SIDES
def test_a_wheel_has_types_the_licence_and_what_a_visitor_reads(dist, side):
    with zipfile.ZipFile(dist.wheel(side)) as wheel:
        assert f"translation_{side}/py.typed" in wheel.namelist()
        assert wheel.read(f"{info(side)}/licenses/LICENSE").decode() == (ROOT / "LICENSE").read_text()
        metadata = message_from_string(wheel.read(f"{info(side)}/METADATA").decode())
    assert metadata["Version"] == VERSION
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Author"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    keywords = set(metadata["Keywords"].split(","))
    assert keywords >= {"job API simulator", "mock server", "polling", "long-running operations", "webhooks"}
    assert re.findall(r"\]\((?!https:)", metadata.get_payload()) == [], "a link that leads nowhere on another page"


@SIDES
def test_every_requirement_has_a_lower_bound(dist, side):
    with zipfile.ZipFile(dist.wheel(side)) as wheel:
        metadata = message_from_string(wheel.read(f"{info(side)}/METADATA").decode())
    unbounded = [line for line in metadata.get_all("Requires-Dist") if ">=" not in line]
    assert [line for line in unbounded if not line.startswith("translation-server")] == []


@SIDES
def test_a_source_distribution_has_no_tests_and_no_settings(dist, side):
    with tarfile.open(dist.sdist(side)) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert not [name for name in names if "__pycache__" in name]
    tops = {name.split("/")[0] for name in names}
    others = {"pytest_translation_client.py"} if side == "client" else set()
    assert tops - others - {".gitignore"} == {
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "pyproject.toml",
        f"translation_{side}",
    }


@SIDES
def test_few_packages_and_modules_are_needed(dist, make_environment, side, measured):
    environment = make_environment("3.11")
    environment.install(dist.wheel(side))
    installed = environment.installed()
    count = f"import sys, translation_{side}; print(len(sys.modules))"
    modules = int(environment("python", "-c", count))
    timed = environment("python", "-X", "importtime", "-c", f"import translation_{side}").splitlines()[-1]
    milliseconds = int(timed.split("|")[1]) / 1000
    measured(
        f"wheel of the {side}: {len(installed)} packages of {MOST_PACKAGES[side]} at most, "
        f"{modules} modules of {MOST_MODULES[side]} at most, {milliseconds:.0f} ms to import them"
    )
    assert len(installed) <= MOST_PACKAGES[side]
    assert modules <= MOST_MODULES[side]


@pytest.fixture(scope="module", params=["3.11", "3.12", "3.13", "3.14"])
def environment(dist, make_environment, request):
    """An environment with both packages from wheels alone, without pytest."""
    environment = make_environment(request.param)
    environment.install(dist.wheel("server"), f"{dist.wheel('client')}[testing]")
    return environment


def test_the_demo_runs_without_pytest(environment, tmp_path):
    assert not [line for line in environment.installed() if line.startswith("pytest==")]
    (tmp_path / "demo.py").write_text(DEMO)
    assert environment("python", "demo.py", folder=tmp_path) == "completed\n"


def test_the_commands_say_their_version(environment):
    assert environment("translation-server", "--version") == f"{VERSION}\n"
    assert environment("translation-client", "--version") == f"translation-client {VERSION}\n"


def test_the_plugin_works_in_a_suite(environment, tmp_path):
    environment.install("pytest")
    (tmp_path / "test_mine.py").write_text(SUITE)
    printed = environment("pytest", "-q", "-W", "error", "test_mine.py", folder=tmp_path)
    assert "1 of 2 good" in printed
    assert "2 passed" in printed
