"""What the ancestors with async methods have in common."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self

from translation_client import validation
from translation_client.client import AsyncClient, Callback
from translation_client.core.status import State, Status


class Session(ABC):
    """Has an `AsyncClient` for as long as an `async with` lasts, else one for each call, so that nothing stays open.

    Raises:
        ValueError: The client cannot be made; the message names the argument.
    """

    def __init__(self) -> None:
        self._connect()  # opens nothing, but shows a bad argument here
        self._lasting: AsyncClient | None = None

    @abstractmethod
    def _connect(self) -> AsyncClient:
        """Make a client of what the attributes say now: the ancestors' callers set them anew."""

    async def close(self) -> None:
        """Close every connection."""
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


def delays(**given: float) -> tuple[float, float]:
    """The first delay and the longest, both named; unlike ours, the ancestors take a longest that is the shorter.

    Raises:
        ValueError: One of them is unusable; the message names it.
    """
    first, longest = (validation.number(name, delay, validation.LEAST) for name, delay in given.items())
    return min(first, longest), longest


def on_change(call: Callback) -> Callback:
    """A callback for every update that calls the given one, sync or async, only when the state is another."""
    reported: State | None = None

    def update(status: Status) -> object:
        nonlocal reported
        if status.state is reported:
            return None
        reported = status.state
        return call(status)

    return update
