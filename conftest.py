"""What pytest's command line can say about the tests of the pair, `test_integration.py` and `test_scale.py`."""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--containers`, as the script itself has it."""
    parser.addoption(
        "--containers",
        action="store_true",
        help="where Docker does not answer, fail the tests that need it instead of skipping them (REQUIRE_DOCKER=1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tells the tests in the way in which they are told without pytest."""
    if config.getoption("containers"):
        os.environ["REQUIRE_DOCKER"] = "1"
