"""The common parts of the earlier systems' classes with async methods."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Self

from translation_client import validation
from translation_client.client import AsyncClient, Callback
from translation_client.core.status import State, Status


class Session(ABC):
    """Uses one `AsyncClient` within `async with`, else a new one for each call, so that no connection stays open."""

    def __init__(self, username: str | None, password: str | None) -> None:
        self._login: dict[str, Any] = {"username": username, "password": password}
        self._connect()  # checks the arguments; opens no connection
        self._lasting: AsyncClient | None = None

    @abstractmethod
    def _connect(self) -> AsyncClient:
        """Makes a client from the attributes, which users may have changed."""

    async def close(self) -> None:
        """Closes all connections."""
        if self._lasting:
            await self._lasting.aclose()
        self._lasting = None

    async def __aenter__(self) -> Self:
        self._lasting = self._lasting or self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[AsyncClient, None]:
        if self._lasting:
            yield self._lasting
            return
        async with self._connect() as client:
            yield client


def delays(**values: float) -> tuple[float, float]:
    """Returns the first and the longest of two delays in seconds, given under the names of their arguments.

    Unlike `Client`, the earlier systems accept a first delay above the longest. ValueError names an unusable one.
    """
    first, longest = (validation.number(name, delay, validation.LEAST) for name, delay in values.items())
    return min(first, longest), longest


def on_change(call: Callback) -> Callback:
    """Makes a callback that calls another, sync or async, only if the state has changed."""
    last: State | None = None

    def update(status: Status) -> object:
        nonlocal last
        if status.state is last:
            return None
        last = status.state
        return call(status)

    return update
