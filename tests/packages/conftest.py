"""The packages as they would be published, and what to try them in. `make packages` runs these tests."""

import os
import shutil
import unittest

import pytest

from tests.packages.environments import (
    BAKE,
    BASE,
    IMAGE_PREFIX,
    NODE,
    ROOT,
    Distributions,
    Environment,
    find_python,
    run,
)
from tests.pair import find_engine, need_package_index, pull_images
from translation_server.version import __version__

MEASURED = pytest.StashKey()


@pytest.fixture(scope="session")
def measured(pytestconfig):
    """Takes a line that the run prints at its end."""
    return pytestconfig.stash.setdefault(MEASURED, []).append


def pytest_terminal_summary(terminalreporter, config):
    if lines := config.stash.get(MEASURED, []):
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(lines))


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


@pytest.fixture(scope="session")
def engine():
    """The Docker engine, with the images built."""
    try:
        engine = find_engine()
        pull_images(engine, BASE)
        need_package_index()
    except unittest.SkipTest as reason:
        pytest.skip(str(reason))
    run(*BAKE, folder=ROOT, IMAGE_PREFIX=IMAGE_PREFIX)
    yield engine
    for side in ("server", "client"):
        engine.images.remove(f"{IMAGE_PREFIX}translation-{side}:{__version__}", force=True)
    engine.close()
