"""A server and sandboxes for tests: `with server() as running, sandbox_on(running.url) as sandbox: …`.

In pytest, the fixtures `translation_server` and `sandbox` need no line in `conftest.py`: see docs/testing.md.
`TranslationContainer` is a server in a container, for Testcontainers: see docs/testcontainers.md.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from translation_client.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from translation_client.testing.container import TranslationContainer
    from translation_server import TranslationServer

__all__ = ["PASSWORD", "TranslationContainer", "sandbox_on", "server"]

PASSWORD = "not checked"  # noqa: S105 - the server accepts every local user, each with their own sandbox


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute
    """Imports Testcontainers on first use, because only `TranslationContainer` needs it."""
    if name == "TranslationContainer":
        from translation_client.testing.container import TranslationContainer  # noqa: PLC0415 - only now

        return TranslationContainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@contextmanager
def server(
    completion_time: float = 5.0, error_rate: float = 0.0, seed: int | str | None = None
) -> Iterator[TranslationServer]:
    """Runs a server on a free local port; its address is `url`.

    Args:
        completion_time: Seconds per job; a sandbox can change them.
        error_rate: The probability that a job ends with ``error``; a sandbox can change it.
        seed: A whole number or a string; the same seed gives the same fates.

    Raises:
        ModuleNotFoundError: The package of the server is not installed.
    """
    try:
        from translation_server import TranslationServer  # noqa: PLC0415 - the rest works without it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "translation_client.testing starts a server, but translation-server is not installed: "
            "run pip install ./server './client[testing]' in the project's folder"
        ) from error
    with TranslationServer(completion_time, error_rate, seed=seed) as running:
        yield running


@contextmanager
def sandbox_on(url: str) -> Iterator[Sandbox]:
    """Makes a sandbox for a new user on a server that `server` runs, and empties it at the end."""
    with Sandbox(url, username=f"test-{secrets.token_hex(8)}", password=PASSWORD) as sandbox:
        try:
            yield sandbox
        finally:
            sandbox.reset()
