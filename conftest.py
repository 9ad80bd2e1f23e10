"""Fixtures and hooks of all tests: a check that no error is ignored, and the division among processes."""

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.pair import PairTests

EXAMPLES = Path(__file__).parent / "examples"
LIBRARIES = [import_module(name) for name in ("httpx", "httpx2") if find_spec(name)]


class Watched:
    """The part of a response that notes whether its status code was read."""

    seen = False

    @property
    def status_code(self) -> int:
        """The status code; reading it counts."""
        self.seen = True
        return int(self.__dict__["status_code"])

    @status_code.setter
    def status_code(self, code: int) -> None:
        self.__dict__["status_code"] = code


@pytest.fixture(autouse=True)
def _check_that_errors_are_noticed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test that got an error response and did not check its status: such a test may test nothing."""
    errors: list[Any] = []
    for library in LIBRARIES:
        _watch_responses(library, errors, monkeypatch)
    yield
    if request.path.is_relative_to(EXAMPLES):  # one example is careless
        return
    if unseen := [error for error in errors if not error.seen]:
        unchecked = dict.fromkeys(f"{error.request.method} {error.request.url}: {error}" for error in unseen)
        pytest.fail("the test did not check the status of\n" + "\n".join(unchecked))


def _watch_responses(library: Any, errors: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401 - a module
    """Notes all error responses of a library's clients."""
    watched = type("WatchedResponse", (Watched, library.Response), {})
    send, send_async = library.Client.send, library.AsyncClient.send

    def watch(response: Any, *, stream: bool = False, **_: object) -> Any:  # noqa: ANN401 - a response of the library
        if response.is_error and not stream:  # a stream may end before its status is read
            response.__class__ = watched
            errors.append(response)
        return response

    async def send_watched(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - as the library has it
        return watch(await send_async(*args, **options), **options)

    monkeypatch.setattr(library.Client, "send", lambda *args, **options: watch(send(*args, **options), **options))
    monkeypatch.setattr(library.AsyncClient, "send", send_watched)


@pytest.fixture
def untraced() -> Iterator[None]:
    """Switches off the tracer of coverage, which would make a test of millions of lines take several times as long."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture
def anyio_backend() -> str:
    """Returns the event loop of asynchronous tests."""
    return "asyncio"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Returns how many processes run the tests for `-n auto`: two per core, as most tests wait for others."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes, runs the longest tests first."""

    def seconds(item: pytest.Item) -> float:
        if issubclass(getattr(item, "cls", None) or object, PairTests):
            return 100  # pytest's marks are not for these: they run without pytest, too
        mark = item.get_closest_marker("takes")
        return float(mark.args[0]) if mark else 0

    if hasattr(config, "workerinput"):
        items.sort(key=seconds, reverse=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option `--containers`, which the scripts have too."""
    parser.addoption(
        "--containers",
        action="store_true",
        help="where Docker does not answer, fail the tests that need it instead of skipping them (REQUIRE_DOCKER=1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Passes `--containers` on to the tests, through the variable that also works without pytest."""
    if config.getoption("containers"):
        os.environ["REQUIRE_DOCKER"] = "1"
