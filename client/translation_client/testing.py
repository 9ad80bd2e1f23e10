"""For tests of your own: a server to test against, with a sandbox for each test.

In a `conftest.py`:

    pytest_plugins = ["translation_client.testing"]

and in a test:

    def test_my_client_waits_well(sandbox):
        sandbox.scenario("flaky")
        my_client = MyClient(sandbox.url, sandbox.username, sandbox.password)
        ...
        assert not sandbox.report().warnings

Without pytest, `with server() as running, sandbox_on(running.url) as sandbox: …` does the same.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from translation_client.sandbox import Sandbox

try:
    from translation_server import TranslationServer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "translation_client.testing starts a server, and translation-server is not installed: "
        "pip install 'translation-client[testing]', or ./server from the project's folder"
    ) from error

PASSWORD = "nobody checks it"  # noqa: S105 - the server lets everybody of this machine in, each to their own sandbox


@contextmanager
def server(
    completion_time: float = 5.0, error_rate: float = 0.0, seed: str | None = None
) -> Iterator[TranslationServer]:
    """Run a server on a free port of this machine while this lasts; its `url` says where.

    Args:
        completion_time: Seconds that a job takes, unless its sandbox has it otherwise.
        error_rate: The probability that a job ends with ``error``, likewise.
        seed: The same seed, the same fates.
    """
    with TranslationServer(completion_time, error_rate, seed=seed) as running:
        yield running


@contextmanager
def sandbox_on(url: str) -> Iterator[Sandbox]:
    """A new user's sandbox on a server that `server` runs; it is emptied at the end."""
    with Sandbox(url, username=f"test-{secrets.token_hex(8)}", password=PASSWORD) as sandbox:
        try:
            yield sandbox
        finally:
            sandbox.reset()


@pytest.fixture(scope="session")
def translation_server() -> Iterator[TranslationServer]:
    """One server for all tests; its jobs take 5 seconds and end well, unless a sandbox has it otherwise."""
    with server() as running:
        yield running


@pytest.fixture
def sandbox(translation_server: TranslationServer) -> Iterator[Sandbox]:
    """A sandbox of the test's own."""
    with sandbox_on(translation_server.url) as sandbox:
        yield sandbox
