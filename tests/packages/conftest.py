"""The packages as they would be published, and what to try them in. `make packages` runs these tests."""

import os
import shutil

import pytest

from tests.packages.environments import NODE, Distributions, Environment, find_python


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """The packages."""
    return Distributions(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def make_environment(tmp_path_factory):
    """Makes a virtual environment of a version of Python; skips where that is not installed."""

    def make(version):
        python = find_python(version)
        if python is None:
            pytest.skip(f"Python {version} is not installed here")
        return Environment(tmp_path_factory.mktemp(f"python{version}-") / "venv", python)

    return make


@pytest.fixture(scope="session")
def node():
    """Node, with the packages of this folder."""
    if not (NODE / "node_modules").exists():
        if os.environ.get("REQUIRE_NODE") == "1":
            pytest.fail("the packages for Node are not installed, and REQUIRE_NODE=1")
        pytest.skip("the packages for Node are not installed: `make packages` does that where there is npm")
    return shutil.which("node")
