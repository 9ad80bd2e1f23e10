"""What the ancestors with async methods have in common."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Self

from translation_client.client import AsyncClient, Callback
from translation_client.core.model import State, Status


class Session:
    """Has an `AsyncClient` for as long as an `async with` lasts, else one for each call, so that nothing stays open.

    Args:
        connect: Makes the client.

    Raises:
        ValueError: The client cannot be made; the message names the argument.
    """

    def __init__(self, connect: Callable[[], AsyncClient]) -> None:
        connect()  # opens nothing, but shows a bad argument here
        self._connect = connect
        self._lasting: AsyncClient | None = None

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


def on_change(call: Callback) -> Callback:
    """A callback for every update that calls the given one, sync or async, only when the state is another."""
    told: State | None = None

    def update(status: Status) -> object:
        nonlocal told
        if status.state is told:
            return None
        told = status.state
        return call(status)

    return update
