"""The packages as they would be published, and what to try them in. `make packages` runs these tests."""

import pytest

from tests.packages.environments import Distributions, Environment, find_python


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
