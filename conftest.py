"""What all tests share: no error goes unseen, and what pytest's command line can say of the tests of the pair."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

EXAMPLES = Path(__file__).parent / "examples"


class Watched(httpx.Response):
    """A response that knows whether anybody has looked at its status."""

    seen = False

    @property
    def status_code(self) -> int:
        """The status; whoever asks for it has looked."""
        self.seen = True
        return int(self.__dict__["status_code"])

    @status_code.setter
    def status_code(self, code: int) -> None:
        self.__dict__["status_code"] = code


@pytest.fixture(autouse=True)
def _no_error_goes_unseen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test that has got an error from a server and has not looked at its status: it proves something else."""
    errors: list[httpx.Response] = []
    send, send_async = httpx.Client.send, httpx.AsyncClient.send

    def watch(response: httpx.Response, *, stream: bool = False, **_: object) -> httpx.Response:
        careless = stream or request.path.is_relative_to(
            EXAMPLES
        )  # our client may stop before it looks; one example is
        if response.is_error and not careless:
            response.__class__ = Watched
            errors.append(response)
        return response

    async def watched(*args: Any, **options: Any) -> httpx.Response:  # noqa: ANN401 - whatever httpx takes
        return watch(await send_async(*args, **options), **options)

    monkeypatch.setattr(httpx.Client, "send", lambda *args, **options: watch(send(*args, **options), **options))
    monkeypatch.setattr(httpx.AsyncClient, "send", watched)
    yield
    if unseen := [error for error in errors if isinstance(error, Watched) and not error.seen]:
        told = dict.fromkeys(f"{error.request.method} {error.request.url}: {error}" for error in unseen)
        pytest.fail("the test did not look at the status of\n" + "\n".join(told))


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
