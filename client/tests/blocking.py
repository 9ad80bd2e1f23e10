"""An async client as a sync one, for tests of both."""

import asyncio
from contextlib import contextmanager

from translation_client import AsyncClient, Client


class Blocking:
    """Has the methods of an async client, each of which blocks until it is done."""

    def __init__(self, client, runner):
        self._client, self._runner = client, runner

    def __getattr__(self, name):
        return lambda *args, **options: self._runner.run(getattr(self._client, name)(*args, **options))


@contextmanager
def blocking(client):
    with asyncio.Runner() as runner:
        client = Blocking(client, runner)
        try:
            yield client
        finally:
            client.aclose()


def open_client(kind, *args, **options):
    """Opens a client of a kind, "sync" or "async", with methods that block."""
    return Client(*args, **options) if kind == "sync" else blocking(AsyncClient(*args, **options))
